"""Whether a model has seen what it is tested on: the same uploaders, or nearly the same photos.

Knows packs and hashes; nothing of models.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from locationnet.errors import ImageError
from locationnet.evaluation.benchmarks import Benchmark
from locationnet.images import open_image, shrunk
from locationnet.pack.format import PHOTOS, Pack
from locationnet.pack.shards import SHORT_SIDE, difference_hash
from locationnet.tables.table_file import arrow_file

# Of 64 bits, as many may differ in two versions of one photo; unrelated ones differ in about 32.
NEAR_BITS = 5
_CHUNK = 1 << 22
_ONES = np.array([value.bit_count() for value in range(256)], np.uint8)

Hashes = NDArray[np.uint64]


def leaks(benchmark: Benchmark, training: Path) -> tuple[str, ...]:
    """Return what of a benchmark is in a training pack, a line each; none if all is well.

    Parameters
    ----------
    benchmark
        Photos that cannot be read are left out.
    training
        A pack's folder.

    Raises
    ------
    InputError
        The folder is not a valid pack.
    """
    from pyarrow import parquet

    pack = Pack.open(training)
    with arrow_file(pack.path / PHOTOS) as file:
        table = parquet.read_table(file, columns=["uploader", "phash"])
    found = []
    if benchmark.uploaders is not None:
        seen = set(table["uploader"].to_pylist()) - {None, ""}
        shared = sum(name in seen for name in benchmark.uploaders)
        if shared:
            found.append(f"{shared:,} of {len(benchmark):,} photos are by uploaders of {training}")
    hashes = [photo_hash(path) for path in benchmark.paths]
    near = near_duplicates(
        np.array([one for one in hashes if one is not None], np.uint64), table["phash"].to_numpy()
    )
    if near.any():
        found.append(
            f"{int(near.sum()):,} of {len(benchmark):,} photos are nearly the same as one in"
            f" {training} (difference hash within {NEAR_BITS} of 64 bits)"
        )
    return tuple(found)


def photo_hash(path: Path) -> int | None:
    """Return a photo's difference hash as packs keep it, None where it cannot be read."""
    try:
        return difference_hash(shrunk(open_image(path.read_bytes()), SHORT_SIDE))
    except (ImageError, OSError):
        return None


def near_duplicates(hashes: Hashes, among: Hashes) -> NDArray[np.bool_]:
    """Return which hashes differ from one of the others in no more than `NEAR_BITS` bits.

    Parameters
    ----------
    hashes
        uint64 ``(n,)``.
    among
        uint64 ``(m,)``.

    Returns
    -------
    bool (n,)
    """
    near = np.zeros(len(hashes), bool)
    for start in range(0, len(among), _CHUNK):
        part = among[start : start + _CHUNK]
        for index, one in enumerate(hashes):
            if not near[index]:
                octets = (part ^ one).view(np.uint8).reshape(-1, 8)
                near[index] = bool((_ONES[octets].sum(axis=1) <= NEAR_BITS).any())
    return near
