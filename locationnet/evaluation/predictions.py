"""Anybody's answers to the photos of a benchmark: whose each is, and which comes first.

Knows photos by their names; what the answers are worth is `scores`' business, and no model is known
here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from locationnet.errors import InputError
from locationnet.evaluation.benchmarks import Benchmark, Floats, without_null_island
from locationnet.evaluation.model_predictions import TOP
from locationnet.evaluation.photo_files import PhotoNames
from locationnet.evaluation.prediction_files import PredictionsFile, read_predictions
from locationnet.geo.sphere import antipode
from locationnet.geo.towns import nearest_towns
from locationnet.names import valid_text
from locationnet.tables.read import Mask

if TYPE_CHECKING:
    import pyarrow as pa

NO_PREDICTION = "no prediction"


@dataclass(frozen=True, eq=False)
class Predictions:
    """Answers to the photos of a benchmark.

    Parameters
    ----------
    lat, lng
        Of each photo's first answer, float64 ``(n,)``, degrees; where there is none, the point
        farthest from the truth.
    answered
        Which photos have an answer, bool ``(n,)``.
    top_lat, top_lng
        Of each photo's first five answers, best first.
    notes
        What a reader must know.
    """

    lat: Floats
    lng: Floats
    answered: Mask
    top_lat: list[list[float]]
    top_lng: list[list[float]]
    notes: tuple[str, ...] = ()


def predictions_for(path: Path, benchmark: Benchmark) -> Predictions:
    """Read a table of answers to the photos of a benchmark.

    Parameters
    ----------
    path
        See `locationnet.evaluation.prediction_files.read_predictions`.
    benchmark
        Its photos' ids are found with or without folders and suffix.

    Raises
    ------
    InputError
        A row is wrong; it is about several photos at once; a photo is answered more than once and
        nothing ranks its answers; or no row is about a photo of the benchmark.
    """
    names = PhotoNames(benchmark.ids)
    file = read_predictions(path, lambda name: bool(names.find(name)))
    return _matched(file, names, benchmark)


def predictions_with_truth(
    path: Path, images: Path | None = None, cluster_column: str | None = None
) -> tuple[Benchmark, Predictions]:
    """Read a table of answers that says itself where the photos were taken.

    Parameters
    ----------
    path
        See `locationnet.evaluation.prediction_files.read_predictions`.
    images
        The folder that paths start at; the table's own by default.
    cluster_column
        The column whose values belong together, instead of the uploader's.

    Raises
    ------
    InputError
        As of `predictions_for`; or a photo has two truths.
    """
    file = read_predictions(path, cluster_column=cluster_column)
    benchmark = _own_benchmark(file, path.parent if images is None else images, cluster_column)
    return benchmark, _matched(file, PhotoNames(benchmark.ids), benchmark)


def answers_table(benchmark: Benchmark, predictions: Predictions) -> pa.Table:
    """Return answers in the columns of a model's, as far as they say the same.

    See `locationnet.evaluation.model_predictions.answer`: the most probable cell and the best point
    are both the first answer.
    """
    import pyarrow as pa

    answered = predictions.answered.tolist()
    towns = nearest_towns(predictions.lat, predictions.lng)
    numbers = pa.list_(pa.float64())
    return pa.table(
        {
            "id": pa.array(map(valid_text, benchmark.ids), pa.string()),
            "path": pa.array(map(valid_text, benchmark.paths), pa.string()),
            "uploader": pa.array(benchmark.uploaders or [None] * len(benchmark), pa.string()),
            "lat": benchmark.lat,
            "lng": benchmark.lng,
            "problem": pa.array([None if one else NO_PREDICTION for one in answered], pa.string()),
            "mode_lat": predictions.lat,
            "mode_lng": predictions.lng,
            "mode_country": [
                town.country if one else "" for town, one in zip(towns, answered, strict=True)
            ],
            "mode_region": [
                town.region if one else "" for town, one in zip(towns, answered, strict=True)
            ],
            "best_lat": predictions.lat,
            "best_lng": predictions.lng,
            "top_lat": pa.array(predictions.top_lat, numbers),
            "top_lng": pa.array(predictions.top_lng, numbers),
        }
    )


def _own_benchmark(file: PredictionsFile, folder: Path, cluster_column: str | None) -> Benchmark:
    """Return the photos of a file and their truths, a photo for each id."""
    places = file.known_places(file.truth or file.places)
    ids = max(file.ids.values(), key=lambda names: all(names))
    first: dict[str, int] = {}
    for row, name in enumerate(ids):
        seen = first.setdefault(name, row)
        if (places.lat[row], places.lng[row]) != (places.lat[seen], places.lng[seen]):
            raise InputError(
                f"{file.path}: {file.labels[row]}: {name!r} was taken elsewhere than in"
                f" {file.labels[seen]}"
            )
    rows = list(first.values())
    groups = file.names("uploader", cluster_column)
    made = Benchmark(
        file.path.stem,
        tuple(first),
        tuple(folder / name for name in first),
        places.lat[rows],
        places.lng[rows],
        uploaders=None if groups is None else tuple(groups[row] for row in rows),
        clustered_by=cluster_column or "uploader",
        notes=places.notes,
    )
    return without_null_island(made)


def _matched(file: PredictionsFile, names: PhotoNames, benchmark: Benchmark) -> Predictions:
    """Return the answers to a benchmark's photos, each photo's in order."""
    if not len(benchmark):
        raise InputError(f"{benchmark.name}: contains no photos")
    places = file.known_places(file.places)
    rows: list[list[int]] = [[] for _ in benchmark.ids]
    others = 0
    for row, photo in enumerate(_photos(file, names, benchmark)):
        if photo is None:
            others += 1
        else:
            rows[photo].append(row)
    _rank(file, rows)
    answered = np.array([bool(one) for one in rows], np.bool_)
    lat, lng = antipode(benchmark.lat, benchmark.lng)
    first = [one[0] for one in rows if one]
    lat[answered], lng[answered] = places.lat[first], places.lng[first]
    notes = [*file.notes, *places.notes]
    if others:
        notes.append(f"{others:,} predictions are for photos that are not in {benchmark.name}")
    if not answered.all():
        missing = int((~answered).sum())
        notes.append(f"{missing:,} photos have no prediction and count as wrong")
    return Predictions(
        lat,
        lng,
        answered,
        [
            places.lat[one[:TOP]].tolist() or [float(own)]
            for one, own in zip(rows, lat, strict=True)
        ],
        [
            places.lng[one[:TOP]].tolist() or [float(own)]
            for one, own in zip(rows, lng, strict=True)
        ],
        tuple(notes),
    )


def _photos(file: PredictionsFile, names: PhotoNames, benchmark: Benchmark) -> list[int | None]:
    """Return which photo each row is about, None for those of others.

    Of several columns that may name photos, the one counts that names most of the benchmark.
    """
    ids, found = max(
        ((ids, [names.find(name) if name else [] for name in ids]) for ids in file.ids.values()),
        key=lambda column: sum(len(photos) == 1 for photos in column[1]),
    )
    for row, photos in enumerate(found):
        if len(photos) > 1:
            one, other = (benchmark.ids[photo] for photo in photos[:2])
            what = f"may be {one!r} and {other!r} of {benchmark.name}"
            if one == other:
                what = f"stands in {benchmark.name} twice"
            raise InputError(f"{file.path}: {file.labels[row]}: {ids[row]!r} {what}")
    if not any(found):
        raise InputError(
            f"{file.path}: none of its {len(ids):,} rows is about a photo of {benchmark.name}:"
            f" {ids[0]!r}, expected such as {benchmark.ids[0]!r}"
        )
    return [photos[0] if photos else None for photos in found]


def _rank(file: PredictionsFile, rows: Sequence[list[int]]) -> None:
    """Put each photo's rows in order: by rank, or by probability.

    Raises
    ------
    InputError
        There is neither, or two rows of a photo have one rank.
    """
    ranks, probabilities = file.numbers("rank"), file.numbers("probability")
    what = "probability" if ranks is None else "rank"
    keys = ranks if ranks is not None else None if probabilities is None else -probabilities
    for one in rows:
        if len(one) < 2:
            continue
        if keys is None:
            raise InputError(f"{_again(file, *one[:2])}; expected a column rank or probability")
        without = [row for row in one if not np.isfinite(keys[row])]
        if without:
            raise InputError(
                f"{file.path}: {file.labels[without[0]]}: no {what}, and its photo has"
                f" {len(one)} answers"
            )
        one.sort(key=keys.__getitem__)
        for before, row in pairwise(one):
            if ranks is not None and ranks[before] == ranks[row]:
                raise InputError(f"{_again(file, before, row)} with rank {ranks[row]:g}")


def _again(file: PredictionsFile, before: int, row: int) -> str:
    return f"{file.path}: {file.labels[row]}: the photo of {file.labels[before]} again"
