"""The temperature, the abstention threshold and the worth of hints, from photos with known places.

Knows locators and benchmarks; not where a bundle's manifest lies.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from locationnet.calibrate.reduced import Reduced, measure_reduced
from locationnet.errors import InputError
from locationnet.evaluation.benchmarks import Benchmark
from locationnet.evaluation.bootstrap import Bootstrap
from locationnet.export.temperature import Truth, calibration_error, fit_temperature
from locationnet.geo import sphere
from locationnet.geo.towns import nearest_towns
from locationnet.model.locator import Locator
from locationnet.model.manifest import Calibration, HintRate, Precision, Rate
from locationnet.model.prediction import Prediction
from locationnet.processors import processors
from locationnet.progress import Progress

# Hints are counted by how much information their photo gave.
HINT_BITS = (0.0, 0.2, 0.5, 1.0)
HINT_KM = 750
_ROWS = 256

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Fit:
    """What a manifest is to say.

    Parameters
    ----------
    temperature
        Of the softmax.
    abstain_below_bits
        Answers with less information than this are worth no more than the prior.
    calibration
        How it was found.
    unread
        Photos that could not be read.
    precisions
        Reduced ones that were measured; empty where none was asked for.
    """

    temperature: float
    abstain_below_bits: float
    calibration: Calibration
    unread: int
    precisions: dict[Reduced, Precision]


class _Answers(NamedTuple):
    """The network's own probabilities float32 ``(n, classes)``, and which photos they are of."""

    probabilities: NDArray[np.float32]
    photos: NDArray[np.int64]


def fit(
    locator: Locator,
    benchmark: Benchmark,
    *,
    reduced: Sequence[Reduced] = (),
    folder: Path = Path(),
    threads: int | None = None,
    advance: Progress | None = None,
) -> Fit:
    """Measure a model on photos that it has not learned from.

    The temperature has the least negative log-likelihood (see `fit_temperature`); the class of a
    photo in no cell is that of the nearest centroid. The abstention threshold is the number of bits
    from which on answering, and giving the prior's best point below, has the highest GeoScore.

    Parameters
    ----------
    locator
        The model.
    benchmark
        Photos and their truth.
    reduced, folder
        Reduced precisions to measure too, and where an int8 network is written.
    threads
        Photos worked on at a time; as many as there are processors by default.
    advance
        Called with the photos answered so far and how many there are.

    Raises
    ------
    InputError
        No photo can be read, or too few for a reduced precision, or this machine cannot run it.
    MissingExtraError
        scipy, reverse_geocode or what quantises is not installed.
    """
    with _answered(locator.at_temperature(1.0), benchmark, threads, advance) as answers:
        photos = benchmark.chosen(answers.photos)
        truth = Truth(_classes(locator, photos), photos.lat, photos.lng)
        before = locator.bundle.manifest.temperature
        temperature = fit_temperature(answers.probabilities, truth)
        located = list(_located(locator, answers.probabilities, temperature, photos))
        errors = [
            calibration_error(answers.probabilities, truth, one) for one in (before, temperature)
        ]
        precisions: dict[Reduced, Precision] = {}
        if reduced:
            precisions = measure_reduced(
                locator.bundle, photos.paths, answers.probabilities, truth, reduced, folder,
                threads=threads or processors(),
            )  # fmt: skip
    bootstrap = Bootstrap.of(photos.uploaders, len(photos))
    bits, score, prior, country, near = (np.array(values) for values in zip(*located, strict=True))
    return Fit(
        temperature,
        threshold(bits, score - prior),
        Calibration(
            photos_of=photos.name,
            photos=len(photos),
            clustered_by=photos.clustered_by if photos.uploaders else "photo",
            error_before=errors[0],
            error_after=errors[1],
            geoscore=float(score.mean()),
            prior_geoscore=float(prior.mean()),
            hints=tuple(_hint_rates(bits, country, near, bootstrap.clusters)),
            replaced={},
        ),
        len(benchmark) - len(photos),
        precisions,
    )


def threshold(bits: Floats, gain: Floats) -> float:
    """Return the bits from which on answers are worth giving.

    Parameters
    ----------
    bits
        Information of each answer, float64 ``(n,)``.
    gain
        What it scores more than the answer without a photo, float64 ``(n,)``.

    Returns
    -------
    float
        Where the gains of all answers with at least so many bits add up to the most; the lowest
        such, 0 where all are worth giving, and above all bits where none is.
    """
    order = np.argsort(-bits, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(bits[order]) < 0, True))
    totals = np.cumsum(gain[order])[ends]
    best = int(len(totals) - 1 - np.argmax(totals[::-1]))
    if totals[best] <= 0:
        return float(np.nextafter(bits.max(), np.inf))
    return 0.0 if best == len(totals) - 1 else float(bits[order][ends[best]])


@contextmanager
def _answered(
    locator: Locator, benchmark: Benchmark, threads: int | None, advance: Progress | None
) -> Iterator[_Answers]:
    """Answer all photos; the answers lie in a temporary file, since they may be gigabytes."""
    with tempfile.TemporaryDirectory() as folder:
        shape = (len(benchmark), len(locator.grid))
        path = Path(folder) / "probabilities"
        table = np.memmap(path, np.float32, "w+", shape=shape)
        photos: list[int] = []
        answers = locator.stream(benchmark.paths, threads=threads, on_error="return")
        for photo, (_, answer) in enumerate(answers):
            if isinstance(answer, Prediction):
                table[len(photos)] = answer.probabilities
                photos.append(photo)
            if advance is not None:
                advance(photo + 1, len(benchmark))
        if not photos:
            raise InputError(f"{benchmark.name}: none of its {len(benchmark):,} photos can be read")
        try:
            yield _Answers(table[: len(photos)], np.array(photos))
        finally:
            del table


def _classes(locator: Locator, photos: Benchmark) -> NDArray[np.int64]:
    """Return each photo's class; of one in no cell, that of the nearest centroid."""
    grid = locator.grid
    classes = grid.assign(photos.lat, photos.lng)
    outside = np.flatnonzero(classes < 0)
    centroids = sphere.unit_vectors(grid.lat, grid.lng)
    points = sphere.unit_vectors(photos.lat[outside], photos.lng[outside])
    for start in range(0, len(outside), _ROWS):
        rows = slice(start, start + _ROWS)
        classes[outside[rows]] = (points[rows] @ centroids.T).argmax(axis=1)
    return classes


def _located(
    locator: Locator, probabilities: NDArray[np.float32], temperature: float, photos: Benchmark
) -> Iterator[tuple[float, float, float, bool, bool]]:
    """Yield what is measured of each photo, at a temperature.

    Its bits, the GeoScores of its best point and of the prior's, whether its strongest hint names
    the country, and whether that is within 750 km.
    """
    prior = locator.prior()
    towns = nearest_towns(photos.lat, photos.lng)
    for row, lat, lng, town in zip(probabilities, photos.lat, photos.lng, towns, strict=True):
        powered = row.astype(np.float64) ** (1 / temperature)
        answer = replace(prior, probabilities=powered / powered.sum())
        score, unseen = (
            float(sphere.geoscore(sphere.great_circle_km(lat, lng, one.best.lat, one.best.lng)))
            for one in (answer, prior)
        )
        hint = answer.hint
        in_country = near = False
        if hint is not None:
            own = answer.layer.names.country[hint.class_index]
            place = answer.place(hint.class_index)
            km = float(sphere.great_circle_km(lat, lng, place.lat, place.lng))
            in_country, near = own == town.country, km <= HINT_KM
        yield answer.information_bits, score, unseen, in_country, near


def _hint_rates(
    bits: Floats,
    country: NDArray[np.bool_],
    near: NDArray[np.bool_],
    clusters: NDArray[np.int64],
) -> Iterator[HintRate]:
    for low, high in zip(HINT_BITS, (*HINT_BITS[1:], None), strict=True):
        chosen = (bits >= low) & (bits < (np.inf if high is None else high))
        count = int(chosen.sum())
        rates: list[Rate | None] = [None, None]
        if count:
            _, own = np.unique(clusters[chosen], return_inverse=True)
            bootstrap = Bootstrap(own)
            rates = [Rate(**bootstrap.mean(right[chosen])._asdict()) for right in (country, near)]
        yield HintRate(
            from_bits=low, to_bits=high, photos=count, country=rates[0], within_750_km=rates[1]
        )
