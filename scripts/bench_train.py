"""Measures the input pipeline and training steps against MXNet's own, in the same run.

Baselines: a bare ``ImageRecordIter`` with the same random crops, flips and colours on the same
pack, and ``Module.fit`` with it on the same network. Knows only generated photos, or the pack that
it is given. Each pair is measured in turns and the best of each counts; the ratios are what carries
over to another machine.

::

    python scripts/bench_train.py
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from locationnet.geo import s2
from locationnet.geo.grid import Grid
from locationnet.pack.build import pack_photos
from locationnet.pack.format import Pack
from locationnet.train.backbones import resnet
from locationnet.train.compat import mx
from locationnet.train.config import Augmentation, Settings
from locationnet.train.data_iter import PackIter, Plan
from locationnet.train.log import LOG, read
from locationnet.train.loop import train
from locationnet.train.soft_labels import SoftLabels

SIDE = 256
PHOTOS = 1024
CLASSES = 20
# Batches of a run that are left out, while buffers fill and memory is found.
WARM_UP = 8


def make_pack(folder: Path) -> Path:
    """Pack generated photos, 256 × 341, as busy as real ones: noise at every scale."""
    random = np.random.default_rng(0)
    (folder / "photos").mkdir()
    lat, lng = np.arange(CLASSES) * 4.0 - 40, np.arange(CLASSES) * 17.0 - 170
    ids = np.unique(s2.parent_ids(s2.leaf_ids(lat, lng), 4))
    rows = ["path,lat,lng"]
    for index in range(PHOTOS):
        pixels = np.zeros((SIDE, 341, 3))
        for scale in (2, 4, 16, 64):
            coarse = random.normal(0, 12 * scale**0.4, (SIDE // scale + 1, 341 // scale + 2, 3))
            pixels += coarse.repeat(scale, 0).repeat(scale, 1)[:SIDE, :341]
        image = Image.fromarray(np.clip(128 + pixels, 0, 255).astype(np.uint8))
        image.save(folder / "photos" / f"{index}.jpg", quality=90)
        rows.append(f"photos/{index}.jpg,{lat[index % CLASSES]},{lng[index % CLASSES]}")
    table = folder / "photos.csv"
    table.write_text("\n".join(rows) + "\n")
    return pack_photos(table, folder, Grid(ids, *s2.centers(ids)), folder / "pack").path


def record_iter(pack: Path, size: int, batch: int, threads: int) -> mx.io.DataIter:
    """Return MXNet's iterator over a pack's first shard, varied as ours varies photos."""
    how = Augmentation()
    return mx.io.ImageRecordIter(
        path_imgrec=str(next(iter(Pack.open(pack).shards))),
        data_shape=(3, size, size),
        batch_size=batch,
        shuffle=True,
        preprocess_threads=threads,
        random_resized_crop=True,
        min_random_area=how.min_area,
        max_random_area=1.0,
        min_aspect_ratio=1 / how.max_aspect,
        max_aspect_ratio=how.max_aspect,
        rand_mirror=how.flip,
        brightness=how.colour,
        contrast=how.colour,
        saturation=how.colour,
        mean_r=123.68,
        mean_g=116.779,
        mean_b=103.939,
    )


def our_iter(pack: Path, size: int, batch: int, threads: int) -> PackIter:
    """Return ours."""
    settings = Settings(pack, pack, pack, image_size=size)
    opened = Pack.open(pack)
    return PackIter(
        opened,
        Plan(opened.records, batch, seed=0),
        SoftLabels(opened.grid),
        settings.preprocessing,
        augmentation=settings.augmentation,
        threads=threads,
    )


def decoded(photos: mx.io.DataIter, batch: int) -> float:
    """Return images/s of an epoch, the first batches left out."""
    photos.reset()
    count, began = -WARM_UP, 0.0
    for one in photos:
        one.data[0].wait_to_read()
        count += 1
        if count == 0:
            began = time.perf_counter()
    return count * batch / (time.perf_counter() - began)


def fitted(pack: Path, size: int, batch: int, threads: int) -> float:
    """Return images/s of ``Module.fit``."""
    times: list[float] = []
    module = mx.mod.Module(resnet(18, len(Pack.open(pack).grid), size), context=mx.cpu())
    module.fit(
        record_iter(pack, size, batch, threads),
        num_epoch=1,
        optimizer_params={"learning_rate": 0.01, "momentum": 0.9, "wd": 1e-4},
        initializer=mx.init.Xavier(),
        batch_end_callback=lambda _: times.append(time.perf_counter()),
    )
    return (len(times) - WARM_UP) * batch / (times[-1] - times[WARM_UP - 1])


def trained(pack: Path, size: int, batch: int, threads: int) -> float:
    """Return images/s of our loop, its metrics and log included, as its log says."""
    with tempfile.TemporaryDirectory() as folder:
        train(
            Settings(
                pack, pack, Path(folder) / "run", network="resnet-18", image_size=size,
                batch_size=batch, epochs=1, rate=0.01, warmup=0, threads=threads,
                log_every=WARM_UP,
            )
        )  # fmt: skip
        records = [one for one in read(Path(folder) / "run" / LOG) if one["kind"] == "batch"]
    seconds = [WARM_UP * batch / one["images_per_second"] for one in records[1:]]
    return len(seconds) * WARM_UP * batch / float(sum(seconds))


def compare(what: str, ours: Callable[[], float], baseline: Callable[[], float], runs: int) -> None:
    """Measure both in turns and print the best of each."""
    pairs = [(ours(), baseline()) for _ in range(runs)]
    mine, theirs = (max(values) for values in zip(*pairs, strict=True))
    print(f"{what:44}{mine:8.1f} images/s {theirs:8.1f} {mine / theirs:8.2f}x", flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--pack", type=Path, help="a pack of real photos; else generated ones")
    parser.add_argument("--threads", type=int, default=2, help="that decode, for both")
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        pack = options.pack or make_pack(Path(folder))
        print(f"{'':44}{'ours':>17}{'MXNet':>9}{'ratio':>10}")
        for size in (224, 112):
            ours = our_iter(pack, size, 32, options.threads)
            theirs = record_iter(pack, size, 32, options.threads)
            compare(
                f"input pipeline, {size} px, {options.threads} threads",
                partial(decoded, ours, 32),
                partial(decoded, theirs, 32),
                options.runs,
            )
            ours.close()
        for size in (64, 112):
            compare(
                f"ResNet-18 steps, {size} px, batches of 32",
                partial(trained, pack, size, 32, options.threads),
                partial(fitted, pack, size, 32, options.threads),
                options.runs,
            )


if __name__ == "__main__":
    main()
