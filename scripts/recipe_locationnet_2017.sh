#!/bin/sh
# The 2017 LocationNet, from a table of geotagged photos to a bundle.
#
#   scripts/recipe_locationnet_2017.sh PHOTOS IMAGES OUT [options of `locationnet train`]
#
# PHOTOS is a CSV or Parquet of the training photos with path, lat, lng and uploader (2017: 33.9
# million geotagged photos of YFCC100M, as Multimedia Commons keeps them), IMAGES the folder that the
# paths start at. Every step goes on where an interruption left it; give the same command again.
#
# Where to run it. The mxnet 1.9.1 wheels hold machine code for certain GPUs only, none of them can
# compile for another:
#
#   p4d.24xlarge   8 x A100          mxnet-cu112   --gpus 0-7
#   g5.48xlarge    8 x A10G          mxnet-cu112   --gpus 0-7
#   two of those   16 GPUs as 2017   mxnet-cu112   --gpus 0-7 --hosts FILE   (a host name a line)
#   p2.16xlarge    16 x K80          mxnet-cu102   --gpus 0-15
#
# The last one is what 2017 used. AWS has retired it, and mxnet-cu112 does not run on a K80; whoever
# still owns K80s installs mxnet-cu102 instead. Hopper GPUs (p5) run neither. Nobody has run this
# recipe on GPUs with this package yet: it was tried on CPUs, with a small network (see docs/train.md).
#
# Extra options win over those below: `--devices cpu:2 --network resnet-18 --epochs 1` tries it out.
set -eu

photos=$1
images=$2
out=$3
shift 3
max_photos=${MAX_PHOTOS:-5000}  # t1 and t2 of 2017
min_photos=${MIN_PHOTOS:-500}
mkdir -p "$out"

# 1. Hold uploaders out, a thousandth for validation: 34,000 photos are more than enough.
held_out=${HELD_OUT:-0.001}
locationnet split "$photos" -o "$out" --uploader-column uploader --val "$held_out" --test 0

# 2. Cells: split above t1, drop below t2. 2017 had 15,527; its table is not ours to ship, but a copy
#    can be put at OUT/grids.txt before this step to train on exactly those classes.
suffix=${photos##*.}
[ -f "$out/grids.txt" ] || locationnet partition "$out/train.$suffix" -o "$out/grids.txt" \
    --max-photos "$max_photos" --min-photos "$min_photos"

# 3. Records: short side 256, JPEG, sharded. Killed at any moment, the same command goes on.
for set in train val; do
    locationnet pack "$out/$set.$suffix" --images "$images" --grid "$out/grids.txt" \
        --out "$out/packs/$set"
done

# 4. ResNet-101, 224 pixels, 12 epochs of SGD with momentum 0.9, 32 photos on each device; the rate
#    is 0.1 for 256 photos a step, so 0.2 on 16 GPUs, and falls at a half and three quarters.
#    A checkpoint every 30 minutes: an epoch took most of a day.
run=$out/run
if ls "$run"/state-* > /dev/null 2>&1; then
    locationnet train --resume -o "$run" "$@"
else
    locationnet train "$out/packs/train" --val "$out/packs/val" -o "$run" \
        --preset 2017 --every-minutes 30 "$@"
fi

# 5. The best epoch as a bundle; the temperature is fitted on the validation photos.
locationnet export "$run" -o "$out/bundle" --overwrite --validation "$out/packs/val"
locationnet models "$out/bundle" --verify
