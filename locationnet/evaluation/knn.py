"""What similar photos say: k nearest neighbours on a bundle's embedding, as a baseline.

The way of IM2GPS (Hays and Efros, 2008): a photo was taken where the photos that resemble it were.
Knows packs, photos and the locator; what the answers are worth is `scores`' business.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from locationnet.errors import InputError, LocationNetError
from locationnet.evaluation.benchmarks import Benchmark
from locationnet.evaluation.model_predictions import photos_fingerprint
from locationnet.files import written_whole
from locationnet.geo.sphere import antipode, geoscore, great_circle_km
from locationnet.model.photo_stream import AnyPhoto, OnError, answer_photos
from locationnet.pack.format import Pack, PackedJpegs
from locationnet.progress import Progress

if TYPE_CHECKING:
    from locationnet.model.locator import Locator

STATE = "neighbours.npz"
NEIGHBOURS = 10
# Photos of the pack between two saves of what was found: what an interruption costs at most.
_PART = 1024
# Of a photo that cannot be read: no photo resembles it.
_NONE = -1

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
        The pack whose photos are the neighbours.
    out
        Folder for ``neighbours.npz``, created if need be; an interrupted call goes on there, and
        the caller removes the file when all is done.
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
        The folder is not a valid pack, or contains no photos.
    BundleError
        The network answers no embedding.
    """
    pack = Pack.open(training)
    if not pack.records:
        raise InputError(f"{training}: contains no photos to be neighbours")
    found = _search(locator, benchmark, pack, out / STATE, advance, threads)
    away = antipode(benchmark.lat, benchmark.lng)
    readable = found[:, 0] != _NONE
    answers = {}
    for count in (1, min(NEIGHBOURS, pack.records)):
        lat, lng = pack.lat[found[:, :count]], pack.lng[found[:, :count]]
        centre = _most_promising(lat, lng)
        name = "nearest photo" if count == 1 else f"{count} nearest photos"
        answers[name] = (
            np.where(readable, np.take_along_axis(lat, centre, axis=1)[:, 0], away[0]),
            np.where(readable, np.take_along_axis(lng, centre, axis=1)[:, 0], away[1]),
        )
    return answers


def _most_promising(lat: Floats, lng: Floats) -> NDArray[np.int64]:
    """Return which of the points ``(n, k)`` has the highest mean GeoScore to all, ``(n, 1)``."""
    km = great_circle_km(lat[:, :, None], lng[:, :, None], lat[:, None, :], lng[:, None, :])
    return np.asarray(geoscore(km).mean(axis=2).argmax(axis=1)[:, None])


def _search(
    locator: Locator,
    benchmark: Benchmark,
    pack: Pack,
    state: Path,
    advance: Progress | None,
    threads: int | None,
) -> NDArray[np.int64]:
    """Return the most similar records, int64 ``(n, k)``, best first; keep what was found."""
    count = min(NEIGHBOURS, pack.records)
    total = len(benchmark) + pack.records
    mark = _fingerprint(locator, benchmark, pack)
    state.parent.mkdir(parents=True, exist_ok=True)
    resumed = _resume(state, mark)
    if resumed is None:
        queries, readable = _embed_benchmark(locator, benchmark, total, advance, threads)
        found = np.full((len(benchmark), count), _NONE, np.int64)
        similarity = np.full((len(benchmark), count), -np.inf, np.float32)
        done = 0
    else:
        queries, readable, found, similarity, done = resumed
    jpegs = PackedJpegs(pack)
    for start in range(done, pack.records, _PART):
        stop = min(start + _PART, pack.records)
        photos = map(jpegs.read, range(start, stop))
        answers = _embed(locator, photos, threads, "raise")
        embedded = np.stack([answer for answer in answers if isinstance(answer, np.ndarray)])
        both = np.concatenate([similarity, queries @ embedded.T], axis=1)
        here = np.broadcast_to(np.arange(start, stop), (len(found), stop - start))
        records = np.concatenate([found, here], axis=1)
        # Stable, so that of two photos equally similar the earlier one stays.
        order = np.argsort(-both, axis=1, kind="stable")[:, :count]
        similarity = np.take_along_axis(both, order, axis=1)
        found = np.take_along_axis(records, order, axis=1)
        _save(state, mark, queries, readable, found, similarity, stop)
        if advance is not None:
            advance(len(benchmark) + stop, total)
    found[~readable] = _NONE
    return found


def _embed_benchmark(
    locator: Locator,
    benchmark: Benchmark,
    total: int,
    advance: Progress | None,
    threads: int | None,
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    readable = np.zeros(len(benchmark), bool)
    parts = []
    for index, part in enumerate(_embed(locator, benchmark.paths, threads, "return")):
        if isinstance(part, np.ndarray):
            readable[index] = True
            parts.append(part)
        if advance is not None:
            advance(index + 1, total)
    embedded = np.zeros((len(benchmark), len(parts[0]) if parts else 1), np.float32)
    if parts:
        embedded[readable] = parts
    return embedded, readable


def _embed(
    locator: Locator, photos: Iterable[AnyPhoto], threads: int | None, on_error: OnError
) -> Iterator[NDArray[np.float32] | LocationNetError | OSError]:
    """Yield each photo's embedding of length 1, float32 ``(features,)``, or why it has none."""

    def compute(images: NDArray[np.float32]) -> Sequence[NDArray[np.float32]]:
        embedded = locator.embed(images)
        lengths = np.linalg.norm(embedded, axis=1, keepdims=True)
        return list(embedded / np.maximum(lengths, np.finfo(np.float32).tiny))

    answers = answer_photos(photos, locator.prepare, compute, threads=threads, on_error=on_error)
    for _, answer in answers:
        yield answer


def _fingerprint(locator: Locator, benchmark: Benchmark, pack: Pack) -> str:
    """Return what the neighbours depend on, as a hash."""
    state = hashlib.sha256(photos_fingerprint(locator, benchmark).encode())
    state.update((pack.path / "pack.json").read_bytes())
    return state.hexdigest()


def _save(state: Path, mark: str, *arrays: NDArray[np.generic] | int) -> None:
    names = ("queries", "readable", "found", "similarity", "done")
    # Opened here, because numpy appends .npz to a name that lacks it.
    with written_whole(state) as part, part.open("wb") as file:
        np.savez(file, mark=mark, **dict(zip(names, arrays, strict=True)))


def _resume(
    state: Path, mark: str
) -> (
    tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.int64], NDArray[np.float32], int]
    | None
):
    if not state.is_file():
        return None
    with np.load(state, allow_pickle=False) as saved:
        if str(saved["mark"]) != mark:
            return None
        # States of earlier versions call it "alike".
        similarity = saved["similarity" if "similarity" in saved else "alike"]
        return (
            saved["queries"], saved["readable"], saved["found"], similarity,
            int(saved["done"]),
        )  # fmt: skip
