"""What similar photos say: k nearest neighbours on a bundle's embedding, as a baseline.

The way of IM2GPS (Hays and Efros, 2008): a photo was taken where the photos that resemble it were.
Knows the benchmark and the index; what the answers are worth is `scores`' business.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from locationnet.errors import InputError
from locationnet.evaluation.benchmarks import Benchmark
from locationnet.geo.sphere import antipode, geoscore, great_circle_km
from locationnet.pack.format import Pack
from locationnet.progress import Progress
from locationnet.retrieval.embedding import embed_photos
from locationnet.retrieval.index import MANIFEST, Index
from locationnet.retrieval.indexed_photos import photos_to_index
from locationnet.retrieval.indexing import add
from locationnet.retrieval.kinds import Kind

if TYPE_CHECKING:
    from locationnet.model.locator import Locator

# Where the index of a pack lies until all is done.
FOLDER = "neighbours"
NEIGHBOURS = 10

Floats = NDArray[np.float64]


def nearest(
    locator: Locator,
    benchmark: Benchmark,
    training: Path,
    out: Path,
    advance: Progress | None = None,
    *,
    threads: int | None = None,
) -> dict[str, tuple[Floats, Floats]]:
    """Answer each photo with the places of the photos of a pack that resemble it most.

    Parameters
    ----------
    locator
        Its bundle's network answers an ``embedding``; similarity is the cosine between two.
    benchmark
        The photos to answer.
    training
        The pack, or the index, whose photos are the neighbours.
    out
        Folder for an index of the pack, created if need be; an interrupted call goes on there, and
        the caller removes `FOLDER` in it when all is done.
    advance
        Called with the photos embedded so far and those to embed in all.
    threads
        Photos worked on at a time; as many as there are processors by default.

    Returns
    -------
    dict
        By name, latitudes and longitudes in degrees, float64 ``(n,)``: of the one nearest photo,
        and of the one among the `NEIGHBOURS` nearest that promises the highest GeoScore if the
        truth is at any of them with the same probability. A photo that cannot be read is answered
        with the point farthest from its truth.

    Raises
    ------
    InputError
        The folder is neither a valid pack nor an index of this network, or contains no photos.
    BundleError
        The network answers no embedding.
    """
    index = _index_of(locator, training, out / FOLDER, len(benchmark), advance, threads)
    found = _search(locator, benchmark, index, advance, threads)
    away = antipode(benchmark.lat, benchmark.lng)
    readable = found[:, 0] >= 0
    answers = {}
    for count in (1, found.shape[1]):
        # Of a photo that cannot be read, any: it is answered otherwise.
        lat, lng = index.lat[found[:, :count]], index.lng[found[:, :count]]
        centre = _most_promising(lat, lng)
        name = "nearest photo" if count == 1 else f"{count} nearest photos"
        answers[name] = (
            np.where(readable, np.take_along_axis(lat, centre, axis=1)[:, 0], away[0]),
            np.where(readable, np.take_along_axis(lng, centre, axis=1)[:, 0], away[1]),
        )
    return answers


def _index_of(
    locator: Locator,
    photos: Path,
    made: Path,
    queries: int,
    advance: Progress | None,
    threads: int | None,
) -> Index:
    """Return an index that is there, or make one of a pack."""
    if (photos / MANIFEST).is_file():
        return Index.open(photos, locator.bundle)
    if not Pack.open(photos).records:
        raise InputError(f"{photos}: contains no photos to be neighbours")

    def embedded(done: int, total: int) -> None:
        if advance is not None:
            advance(done, total + queries)

    if not (made / MANIFEST).is_file():
        pack = photos_to_index(photos)
        add(made, locator, pack, kind=Kind.flat, threads=threads, advance=embedded)
    return Index.open(made, locator.bundle)


def _search(
    locator: Locator,
    benchmark: Benchmark,
    index: Index,
    advance: Progress | None,
    threads: int | None,
) -> NDArray[np.int64]:
    """Return the most similar photos, int64 ``(n, k)``, best first; −1 for one not to be read."""
    count = min(NEIGHBOURS, len(index))
    found = np.full((len(benchmark), count), -1, np.int64)
    answers = embed_photos(locator, benchmark.paths, threads)
    for photo, answer in enumerate(answers):
        if isinstance(answer, tuple) and np.isfinite(answer[0]).all():
            found[photo] = index.search(answer[0][None], count).numbers[0]
        if advance is not None:
            advance(len(index) + photo + 1, len(index) + len(benchmark))
    return found


def _most_promising(lat: Floats, lng: Floats) -> NDArray[np.int64]:
    """Return which of the points ``(n, k)`` has the highest mean GeoScore to all, ``(n, 1)``."""
    km = great_circle_km(lat[:, :, None], lng[:, :, None], lat[:, None, :], lng[:, None, :])
    return np.asarray(geoscore(km).mean(axis=2).argmax(axis=1)[:, None])
