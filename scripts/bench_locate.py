"""How much faster a folder of photos is located on all processors than on one.

    python scripts/bench_locate.py [FOLDER] [--model demo] [--photos 200]

Without a folder it locates copies of a photo that ships with scikit-image. Runs alternate, and the
best of each is compared.
"""

from __future__ import annotations

import argparse
import itertools
import time
from pathlib import Path

import skimage.data

import locationnet
from locationnet.image_formats import is_photo_name
from locationnet.processors import processors

ROUNDS = 3


def cpu_features() -> str:
    """Return the processors and what they can do of what networks use."""
    path = Path("/proc/cpuinfo")
    flags = path.read_text().split() if path.exists() else []
    told = [
        flag
        for flag in ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile")
        if flag in flags
    ]
    return f"{processors()} processors, {' '.join(told) or 'features unknown'}"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--model", default="demo")
    parser.add_argument("--photos", type=int, default=200)
    arguments = parser.parse_args()
    if arguments.folder is None:
        found = [Path(skimage.data.__file__).parent / "rocket.jpg"]
    else:
        found = sorted(path for path in arguments.folder.rglob("*") if is_photo_name(path))
    photos = list(itertools.islice(itertools.cycle(found), arguments.photos))
    locator = locationnet.load_model(arguments.model)
    best: dict[int, float] = {}
    for _ in range(ROUNDS):
        for threads in (1, processors()):
            start = time.perf_counter()
            for _ in locator.stream(photos, threads=threads):
                pass
            seconds = time.perf_counter() - start
            best[threads] = min(seconds, best.get(threads, seconds))
    print(cpu_features())
    for threads, seconds in best.items():
        speed, ratio = len(photos) / seconds, best[1] / seconds
        print(f"{threads} threads: {speed:6.1f} photos/s, {ratio:.2f}x one thread")


if __name__ == "__main__":
    main()
