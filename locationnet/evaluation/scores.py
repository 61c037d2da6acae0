"""What answers are worth: every measure of a model and of the guesses beside it, with intervals.

Knows tables of answers; nothing of photos, networks or how a report looks.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from locationnet.evaluation import calibration as conf
from locationnet.evaluation.benchmarks import Rule
from locationnet.evaluation.bootstrap import Bootstrap, Interval
from locationnet.geo.sphere import (
    EARTH_RADIUS_KM,
    GEOSCORE_MAX,
    GEOSCORE_SCALE_KM,
    geodesic_km,
    geoscore,
    great_circle_km,
)
from locationnet.metrics import expected_calibration_error

if TYPE_CHECKING:
    import pyarrow as pa

Floats = NDArray[np.float64]

# Distances computed together: their temporaries then stay in the processor's cache.
_CHUNK = 16_384


@dataclass(frozen=True)
class Guess:
    """How near one kind of answer comes.

    Parameters
    ----------
    within
        Share of photos within each radius, by radius in kilometres.
    median_km, mean_km, geoscore
        As they say; None where they are not known.
    km
        How far off each photo's answer is, float64 ``(n,)``; None where no photo was answered.
    """

    within: dict[float, Interval]
    median_km: Interval | None
    mean_km: Interval | None
    geoscore: Interval
    km: Floats | None = field(default=None, repr=False, compare=False)


def kilometres(rule: Rule, lat: Floats, lng: Floats, to_lat: Floats, to_lng: Floats) -> Floats:
    """Return distances by a benchmark's rule, float64 ``(n,)``; single points are broadcast."""
    measure = great_circle_km if rule.distance == "haversine" else geodesic_km
    points = np.broadcast_arrays(*(np.atleast_1d(part) for part in (lat, lng, to_lat, to_lng)))
    km = np.empty(points[0].shape)
    for start in range(0, len(km), _CHUNK):
        part = slice(start, start + _CHUNK)
        km[part] = measure(*(values[part] for values in points))
    return km


def guess(km: Floats, rule: Rule, bootstrap: Bootstrap) -> Guess:
    """Measure distances ``(n,)``."""
    compare = np.less if rule.strict else np.less_equal
    return Guess(
        {limit: bootstrap.mean(compare(km, limit)) for limit in rule.thresholds_km},
        bootstrap.median(km),
        bootstrap.mean(km),
        bootstrap.mean(geoscore(km)),
        km,
    )


def uniform_guess(rule: Rule) -> Guess:
    """Return what a point drawn anywhere on the sphere is worth, exactly.

    A share ``(1 - cos(d / R)) / 2`` of the sphere lies within d of any place.
    """
    within = {
        limit: _exactly((1 - np.cos(limit / EARTH_RADIUS_KM)) / 2) for limit in rule.thresholds_km
    }
    quarter = _exactly(EARTH_RADIUS_KM * np.pi / 2)
    # The mean of M·exp(-R·θ / s) over the sphere, whose density is sin(θ) / 2.
    fall = EARTH_RADIUS_KM / GEOSCORE_SCALE_KM
    score = GEOSCORE_MAX / 2 * (1 + np.exp(-fall * np.pi)) / (1 + fall**2)
    return Guess(within, quarter, quarter, _exactly(score))


def columns(table: pa.Table) -> dict[str, NDArray[Any]]:
    """Return the numbers of a table of answers as arrays; lists and texts are left out."""
    import pyarrow as pa

    return {
        field.name: table[field.name].to_numpy()
        for field in table.schema
        if not (pa.types.is_list(field.type) or pa.types.is_string(field.type))
    }


def model_scores(table: pa.Table, rule: Rule, bootstrap: Bootstrap) -> dict[str, Any]:
    """Measure a model's answers.

    Parameters
    ----------
    table
        From `locationnet.evaluation.model_predictions.answer`.
    rule
        The benchmark's.
    bootstrap
        Over its photos.

    Returns
    -------
    dict
        ``mode``, ``best``: a `Guess` of the most probable cell's centroid and of the point with
        the highest expected GeoScore. ``top5``: a `Guess` of the nearest of the five most probable
        cells. ``top1``, ``top5_accuracy``, ``inside_50``, ``inside_90``, ``abstained``,
        ``information_bits``, ``calibration_error``: an `Interval` each. ``reliability``,
        ``risk_coverage``: for the plots. ``broken``: photos that could not be read.
    """
    found = columns(table)
    truth = found["lat"], found["lng"]
    readable = np.array(table["problem"].is_null())
    mode_km = kilometres(rule, *truth, found["mode_lat"], found["mode_lng"])
    km = best_km(table, rule)
    right = found["rank"] == 0
    confidence = np.minimum(found["mode_probability"], 1)
    bits = np.where(
        readable, conf.information_bits(found["near_probability"], found["near_prior"]), 0
    )
    error = expected_calibration_error(confidence, right)
    return {
        "mode": guess(mode_km, rule, bootstrap),
        "best": guess(km, rule, bootstrap),
        "top5": guess(nearest_km(table, rule), rule, bootstrap),
        "top1": bootstrap.mean(right),
        "top5_accuracy": bootstrap.mean(found["rank"] < 5),
        "inside_50": bootstrap.mean(km <= found["radius_50_km"]),
        "inside_90": bootstrap.mean(km <= found["radius_90_km"]),
        "abstained": bootstrap.mean(found["abstained"]),
        "information_bits": bootstrap.mean(bits),
        "calibration_error": error,
        "reliability": conf.reliability(confidence, right),
        "risk_coverage": conf.risk_coverage(found["information_bits"], GEOSCORE_MAX - geoscore(km)),
        "broken": int((~readable).sum()),
    }


def best_km(table: pa.Table, rule: Rule) -> Floats:
    """Return how far off the best points of a table of answers are, float64 ``(n,)``."""
    found = columns(table)
    return kilometres(rule, found["lat"], found["lng"], found["best_lat"], found["best_lng"])


def paired(km: Floats, other: Floats, rule: Rule, bootstrap: Bootstrap) -> dict[str, Interval]:
    """Return by how much answers beat others to the same photos.

    Parameters
    ----------
    km, other
        How far off they are, float64 ``(n,)``.

    Returns
    -------
    dict
        ``geoscore`` and ``within_25_km`` …: the mean difference.
    """
    compare = np.less if rule.strict else np.less_equal
    return {
        "geoscore": bootstrap.mean(geoscore(km) - geoscore(other)),
        **{
            f"within_{limit:g}_km": bootstrap.mean(
                compare(km, limit).astype(float) - compare(other, limit)
            )
            for limit in rule.thresholds_km
        },
    }


def nearest_km(table: pa.Table, rule: Rule) -> Floats:
    """Return the distance to the nearest of the first places of each answer, float64 ``(n,)``."""
    truth = table["lat"].to_numpy(), table["lng"].to_numpy()
    lengths = np.array(table["top_lat"].combine_chunks().value_lengths())
    lat, lng = (
        table[name].combine_chunks().flatten().to_numpy() for name in ("top_lat", "top_lng")
    )
    photo = np.repeat(np.arange(len(lengths)), lengths)
    km = kilometres(rule, truth[0][photo], truth[1][photo], lat, lng)
    return np.minimum.reduceat(km, np.r_[0, np.cumsum(lengths)[:-1]])


def _exactly(value: float) -> Interval:
    return Interval(float(value), float(value), float(value))
