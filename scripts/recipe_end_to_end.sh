#!/bin/sh
# From metadata as Multimedia Commons has it to a bundle and its report, on a drawn world.
#
# usage: recipe_end_to_end.sh OUT [options of train]
#
# 100,000 rows in the layout of YFCC100M, of which 2,000 have a photo in a bucket that runs on this
# machine; the steps are those of the real thing. There, `metadata` reads the shards of
# yfcc100m_dataset wherever they are, and `download` needs no --endpoint-url. Killed at any moment,
# the same command goes on. ROWS, IMAGES, MAX_PHOTOS and MIN_PHOTOS make it smaller.
set -eu

out=$1
shift
here=$(dirname "$0")
mkdir -p "$out"

# 0. The world, its metadata, and its bucket, which answers 404 for the rows without a photo, as the
#    real one does for photos that are gone.
rm -f "$out/address"  # of a bucket that was killed
python "$here/synthetic_bucket.py" "$out/world" --rows "${ROWS:-100000}" \
    --images "${IMAGES:-2000}" --address "$out/address" &
bucket=$!
trap 'kill $bucket 2> /dev/null || true' EXIT INT TERM
until [ -f "$out/address" ]; do
    kill -0 $bucket
    sleep 0.2
done
endpoint=$(cat "$out/address")

# 1. Rows: photos with a place, placed to a street. The parts of an interrupted call are kept.
[ -f "$out/photos.parquet" ] || locationnet metadata s3://multimedia-commons/metadata/ \
    --endpoint-url "$endpoint" -o "$out/photos.parquet" --min-accuracy 11

# 2. No uploader is in two sets.
locationnet split "$out/photos.parquet" -o "$out/sets" --uploader-column uploader \
    --val 0.15 --test 0.15

# 3. Cells over the places of the training set, whether their photos can be had or not; from the
#    others, cells would know where the photos are that the report asks for.
[ -f "$out/grids.txt" ] || locationnet partition "$out/sets/train.parquet" -o "$out/grids.txt" \
    --max-photos "${MAX_PHOTOS:-1000}" --min-photos "${MIN_PHOTOS:-40}"

# 4. Straight to records; the photos of the test are kept as files, to be shown in the report.
for set in train val; do
    locationnet download "$out/sets/$set.parquet" --pack --grid "$out/grids.txt" \
        -o "$out/packs/$set" --endpoint-url "$endpoint"
done
locationnet download "$out/sets/test.parquet" -o "$out/test" --endpoint-url "$endpoint"

# 5. A small network; options of the caller come last and win.
run=$out/run
if ls "$run"/state-* > /dev/null 2>&1; then
    locationnet train --resume -o "$run"
else
    locationnet train "$out/packs/train" --val "$out/packs/val" -o "$run" \
        --network resnet-18 --image-size 64 --batch-size 32 --epochs 12 --rate 0.05 "$@"
fi

# 6. The best epoch as a bundle, and how good it is on uploaders that it has never seen.
locationnet export "$run" -o "$out/bundle" --overwrite --validation "$out/packs/val"
locationnet evaluate --benchmark "$out/test/photos.parquet" --images "$out/test" \
    --model "$out/bundle" --train "$out/packs/train" -o "$out/report"
