"""Metrics of predictions in pure NumPy: distances, ranks, calibration.

Knows nothing of photos, networks or grids; whoever calls it has turned them into arrays.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from locationnet.geo.sphere import THRESHOLDS_KM, geoscore


def within_km(
    km: ArrayLike, thresholds: Sequence[float] = THRESHOLDS_KM, *, strict: bool = False
) -> dict[float, float]:
    """Return the share of predictions at most so many kilometres off, by threshold.

    Parameters
    ----------
    km
        float64 ``(n,)``, at least one distance.
    thresholds
        Radii in kilometres.
    strict
        Count ``<`` as the Placing task does, instead of ``<=`` as the IM2GPS papers do.

    Raises
    ------
    ValueError
        There are no distances, or one is NaN or negative.
    """
    distances = _distances(km)
    compare = np.less if strict else np.less_equal
    return {float(limit): float(compare(distances, limit).mean()) for limit in thresholds}


def median_km(km: ArrayLike) -> float:
    """Return the median of distances ``(n,)``; the mean of the middle two for an even number."""
    return float(np.median(_distances(km)))


def mean_geoscore(km: ArrayLike) -> float:
    """Return the mean GeoScore, 0–5000, of distances ``(n,)`` in kilometres."""
    return float(geoscore(_distances(km)).mean())


def ranks(probabilities: ArrayLike, classes: ArrayLike) -> NDArray[np.int64]:
    """Return at which rank each true class stands, 0 for the best.

    A class that shares its probability with others is ranked behind those of a lower number, as a
    stable sort would rank it. A row with a NaN ranks its true class last.

    Parameters
    ----------
    probabilities
        float ``(n, classes)``.
    classes
        int ``(n,)``; −1 (a photo in no cell) is never found and gets the number of classes.

    Raises
    ------
    ValueError
        The shapes do not match or a class is not a column.
    """
    table = np.asarray(probabilities)
    truth = np.asarray(classes, np.int64)
    if table.ndim != 2 or truth.shape != table.shape[:1]:
        raise ValueError(f"probabilities {table.shape} and classes {truth.shape} do not match")
    width = table.shape[1]
    if len(truth) and not (truth.min() >= -1 and truth.max() < width):
        raise ValueError(f"a class is not one of the {width} columns")
    own = np.take_along_axis(table, np.maximum(truth, 0)[:, None], axis=1)
    above = (table > own).sum(axis=1)
    level_before = ((table == own) & (np.arange(width) < truth[:, None])).sum(axis=1)
    lost = (truth < 0) | np.isnan(table).any(axis=1)
    return np.where(lost, width, above + level_before)


def expected_calibration_error(confidence: ArrayLike, correct: ArrayLike, bins: int = 15) -> float:
    """Return the mean gap between the confidence and the accuracy of predictions.

    Guo et al., "On Calibration of Modern Neural Networks" (ICML 2017), equation 3: bins of equal
    width over (0, 1], each weighted by its number of predictions.

    Parameters
    ----------
    confidence
        float ``(n,)`` in 0–1: the probability of each answer given.
    correct
        bool ``(n,)``: whether that answer was right.

    Raises
    ------
    ValueError
        There are no predictions, the shapes differ, or a confidence is not a probability.
    """
    values = np.asarray(confidence, np.float64)
    right = np.asarray(correct, np.float64)
    if values.ndim != 1 or values.shape != right.shape or not len(values):
        raise ValueError(
            f"confidence {values.shape} and correct {right.shape} must be equally long"
        )
    # Sums of float32 probabilities may end a hair above 1.
    if not np.all((values >= 0) & (values <= 1 + 1e-5)):
        raise ValueError("a confidence is not between 0 and 1")
    gaps = np.bincount(confidence_bins(values, bins), values - right, minlength=bins)
    return float(np.abs(gaps).sum() / len(values))


def confidence_bins(confidence: ArrayLike, bins: int) -> NDArray[np.int64]:
    """Return which of equal bins of (0, 1] each confidence ``(n,)`` lies in, int64 ``(n,)``."""
    index = np.ceil(np.asarray(confidence, np.float64) * bins).astype(np.int64) - 1
    return np.asarray(np.clip(index, 0, bins - 1))


def summary(
    km: ArrayLike | None, found: ArrayLike, *, top: Sequence[int] = (1, 5)
) -> dict[str, float]:
    """Return the metrics that training and export report, by name.

    Parameters
    ----------
    km
        float64 ``(n,)``: distance between the truth and the answer; None where classes are no
        places.
    found
        int ``(n,)``: rank of the true class, see `ranks`.

    Returns
    -------
    dict
        ``top1``, ``top5``, ``within_1_km`` … ``within_2500_km`` (shares), ``median_km``,
        ``geoscore``; without distances only the first two.
    """
    places = np.asarray(found)
    values = {f"top{k}": float((places < k).mean()) for k in top}
    if km is None:
        return values
    values |= {f"within_{limit:g}_km": share for limit, share in within_km(km).items()}
    return values | {"median_km": median_km(km), "geoscore": mean_geoscore(km)}


def summary_line(values: Mapping[str, float]) -> str:
    """Return a `summary` as one readable line."""
    hits = f"top-1 {values['top1']:.1%}, top-5 {values['top5']:.1%}"
    if "median_km" not in values:
        return hits
    shares = "/".join(f"{values[f'within_{limit:g}_km']:.1%}" for limit in THRESHOLDS_KM)
    radii = "/".join(f"{limit:g}" for limit in THRESHOLDS_KM)
    return (
        f"{hits}, within {radii} km {shares}, median {values['median_km']:,.1f} km,"
        f" GeoScore {values['geoscore']:,.0f}"
    )


def _distances(km: ArrayLike) -> NDArray[np.float64]:
    distances = np.asarray(km, np.float64)
    if distances.ndim != 1 or not len(distances):
        raise ValueError(f"expected a row of at least one distance, not shape {distances.shape}")
    if not np.all(distances >= 0):
        raise ValueError("a distance is NaN or negative")
    return distances
