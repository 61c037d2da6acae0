"""How fast photos are located: a plain loop, on all processors, as a table, and on a Dask cluster.

    python scripts/bench_locate.py [FOLDER] [--model demo] [--photos 1024] [--workers 2]

Without a folder it locates copies of a photo that ships with scikit-image. Runs alternate, and the
best of each is compared. The cluster's workers are processes of this machine.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import distributed
import pyarrow as pa
import skimage.data
from pyarrow import parquet

import locationnet
from locationnet.image_formats import is_photo_name
from locationnet.locating.locate_table import Job, answer_on_cluster, locate_table
from locationnet.model.answer import answer_row
from locationnet.processors import processors

ROUNDS = 3
PLAIN = "plain loop, one process"


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
    parser.add_argument("--photos", type=int, default=1024)
    parser.add_argument("--workers", type=int, default=processors())
    arguments = parser.parse_args()
    if arguments.folder is None:
        found = [Path(skimage.data.__file__).parent / "rocket.jpg"]
    else:
        found = sorted(path for path in arguments.folder.rglob("*") if is_photo_name(path))
    photos = list(itertools.islice(itertools.cycle(found), arguments.photos))
    dask: Any = distributed  # of its classes, few are typed
    with (
        tempfile.TemporaryDirectory() as folder,
        dask.LocalCluster(
            n_workers=arguments.workers, threads_per_worker=1, dashboard_address=None
        ) as cluster,
    ):
        runs = _runs(photos, arguments.model, Path(folder), cluster.scheduler_address)
        best: dict[str, float] = {}
        for _ in range(ROUNDS):
            for name, run in runs.items():
                start = time.perf_counter()
                run()
                seconds = time.perf_counter() - start
                best[name] = min(seconds, best.get(name, seconds))
    print(cpu_features())
    for name, seconds in best.items():
        speed, ratio = len(photos) / seconds, best[PLAIN] / seconds
        print(f"{name:<32} {speed:6.1f} photos/s, {ratio:.2f}x the plain loop")


def _runs(
    photos: list[Path], model: str, folder: Path, address: str
) -> dict[str, Callable[[], object]]:
    locator = locationnet.load_model(model)
    table, out = folder / "photos.parquet", folder / "places.parquet"
    parquet.write_table(pa.table({"path": [str(photo.resolve()) for photo in photos]}), table)

    def plain() -> None:
        for photo in photos:
            answer_row(locator.locate(photo))

    def streamed() -> None:
        for _, answer in locator.stream(photos):
            answer_row(answer)  # type: ignore[arg-type]  # errors end the stream

    on_cluster = partial(answer_on_cluster, address=address)
    return {
        PLAIN: plain,
        f"stream, {processors()} threads": streamed,
        f"table, {processors()} threads": lambda: locate_table(table, out, Job(model)),
        "table, cluster": lambda: locate_table(table, out, Job(model), make=on_cluster),
    }


if __name__ == "__main__":
    main()
