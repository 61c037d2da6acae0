from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from locationnet.export.temperature import (
    MAX_TEMPERATURE,
    Truth,
    calibration_error,
    fit_temperature,
    metrics,
)
from locationnet.geo import s2
from locationnet.geo.grid import Grid


def softmax(logits: NDArray[np.float64]) -> NDArray[np.float32]:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), np.float32)


def drawn(temperature: float, photos: int = 4000) -> tuple[NDArray[np.float32], Truth]:
    """Draw classes as probable as softmax(logits) and answer with softmax(logits · T)."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (photos, 10))
    sums = softmax(logits).astype(np.float64).cumsum(axis=1)
    classes = (rng.random((photos, 1)) * sums[:, -1:] > sums).sum(axis=1)
    return softmax(logits * temperature), Truth(classes, np.zeros(photos), np.zeros(photos))


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0, 5.0])
def test_the_temperature_that_spoiled_the_answers_is_found(temperature: float) -> None:
    probabilities, truth = drawn(temperature)
    assert fit_temperature(probabilities, truth) == pytest.approx(temperature, rel=0.05)


def test_the_fitted_temperature_calibrates() -> None:
    probabilities, truth = drawn(3.0)
    before = calibration_error(probabilities, truth)
    after = calibration_error(probabilities, truth, fit_temperature(probabilities, truth))
    assert before > 0.2
    assert after < 0.03


def test_probabilities_rounded_down_to_zero_stay_finite() -> None:
    probabilities = np.tile(np.array([[1, 0, 0]], np.float32), (6, 1))
    truth = Truth(np.array([0, 1, 2, 0, 1, 2]), np.zeros(6), np.zeros(6))
    assert fit_temperature(probabilities, truth) == pytest.approx(MAX_TEMPERATURE, rel=0.05)
    assert np.isfinite(calibration_error(probabilities, truth, 2.0))


def test_metrics_measure_from_the_photo_to_the_most_probable_cell() -> None:
    lat, lng = np.array([10.0, 50.0]), np.array([20.0, 60.0])
    ids = s2.parent_ids(s2.leaf_ids(lat, lng), 8)
    grid = Grid(ids, lat, lng)
    probabilities = np.array([[0.9, 0.1], [0.8, 0.2]], np.float32)
    found = metrics(probabilities, Truth(np.array([0, 1]), lat, lng), grid)
    assert found["top1"] == 0.5
    assert found["within_1_km"] == 0.5
    assert found["median_km"] > 2000
