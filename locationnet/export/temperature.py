"""Accuracy and confidence of a network on photos whose places are known.

Knows answers and truths as arrays; not where photos are stored or which runtime answered.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from locationnet.classes import ClassSet
from locationnet.geo.grid import Grid
from locationnet.geo.sphere import great_circle_km
from locationnet.metrics import expected_calibration_error, ranks, summary

# A temperature beyond these says that the network has learned nothing, or the wrong thing.
MIN_TEMPERATURE, MAX_TEMPERATURE = 0.05, 20.0

_ROWS = 256


@dataclass(frozen=True)
class Truth:
    """Where n photos were taken.

    ``classes`` int64 ``(n,)``; ``lat`` and ``lng`` float64 ``(n,)``, degrees.
    """

    classes: NDArray[np.int64]
    lat: NDArray[np.float64]
    lng: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.classes)


def metrics(
    probabilities: NDArray[np.float32], truth: Truth, classes: ClassSet
) -> dict[str, float]:
    """Return the metrics of `locationnet.metrics.summary`.

    Distances are those between a photo and the centre of its most probable cell.
    """
    km = None
    if isinstance(classes, Grid):
        best = probabilities.argmax(axis=1)
        km = great_circle_km(truth.lat, truth.lng, classes.lat[best], classes.lng[best])
    return summary(km, ranks(probabilities, truth.classes))


def fit_temperature(probabilities: NDArray[np.float32], truth: Truth) -> float:
    """Return the temperature that makes the true classes most likely.

    Guo et al., "On Calibration of Modern Neural Networks" (ICML 2017), section 4.2: softmax(z / T)
    with the T of the least negative log-likelihood, found on a logarithmic scale by bounded search.

    Parameters
    ----------
    probabilities
        float32 ``(n, classes)`` at temperature 1.
    truth
        Of the same n photos.
    """
    from scipy.optimize import minimize_scalar

    def loss(log_temperature: float) -> float:
        return _negative_log_likelihood(
            probabilities, truth.classes, float(np.exp(log_temperature))
        )

    found = minimize_scalar(
        loss,
        bounds=(np.log(MIN_TEMPERATURE), np.log(MAX_TEMPERATURE)),
        method="bounded",
        options={"xatol": 1e-3},
    )
    return float(np.exp(found.x))


def calibration_error(
    probabilities: NDArray[np.float32], truth: Truth, temperature: float = 1.0
) -> float:
    """Return the expected calibration error (15 bins) of the most probable class."""
    best = probabilities.argmax(axis=1)
    confidence = np.concatenate(
        [np.exp(rows.max(axis=1)) for _, rows in _tempered(probabilities, temperature)]
    )
    return expected_calibration_error(confidence, best == truth.classes)


def _negative_log_likelihood(
    probabilities: NDArray[np.float32], classes: NDArray[np.int64], temperature: float
) -> float:
    total = 0.0
    for start, rows in _tempered(probabilities, temperature):
        own = classes[start : start + len(rows)]
        total -= float(rows[np.arange(len(rows)), own].sum())
    return total / len(classes)


def _tempered(
    probabilities: NDArray[np.float32], temperature: float
) -> Iterator[tuple[int, NDArray[np.float64]]]:
    """Yield the first row's index and log-probabilities at a temperature, a few rows at a time.

    The whole table in float64 would be gigabytes for a large grid.
    """
    # What float32 rounds down to zero gets the smallest positive float32 instead.
    tiny = np.finfo(np.float32).smallest_subnormal
    for start in range(0, len(probabilities), _ROWS):
        rows = probabilities[start : start + _ROWS].astype(np.float64)
        logits = np.log(np.maximum(rows, tiny)) / temperature
        logits -= logits.max(axis=1, keepdims=True)
        yield start, logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
