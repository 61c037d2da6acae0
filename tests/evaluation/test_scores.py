"""Measures against values worked out by hand, on a handful of answers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from numpy.testing import assert_allclose

from locationnet.evaluation.benchmarks import Rule
from locationnet.evaluation.bootstrap import Bootstrap
from locationnet.evaluation.scores import (
    best_km,
    guess,
    kilometres,
    model_scores,
    paired,
    uniform_guess,
)
from locationnet.geo.sphere import geoscore, great_circle_km

# A degree of a meridian on a sphere of 6371 km.
DEGREE = 111.19492664455873
ALONE = Bootstrap.of(None, 4)


def _answers(**changes: Any) -> pa.Table:
    """Four photos at (0, 0): answered at the spot, a degree off, ten degrees off, not at all."""
    usual: dict[str, Any] = {
        "id": ["a", "b", "c", "d"],
        "lat": [0.0] * 4,
        "lng": [0.0] * 4,
        "problem": [None, None, None, "not an image"],
        "mode_lat": [0.0, 1.0, 10.0, 0.0],
        "mode_lng": [0.0, 0.0, 0.0, -180.0],
        "mode_probability": [0.9, 0.6, 0.3, 0.0],
        "best_lat": [0.0, 0.0, 10.0, 0.0],
        "best_lng": [0.0, 1.0, 0.0, -180.0],
        "top_lat": [[0.0, 5.0], [1.0, 0.0], [10.0], [0.0]],
        "top_lng": [[0.0, 0.0], [0.0, 0.0], [0.0], [-180.0]],
        "rank": [0, 1, 7, 40],
        "near_probability": [0.8, 0.4, 0.0, 0.0],
        "near_prior": [0.1, 0.1, 0.1, 0.0],
        "radius_50_km": [10.0, 10.0, 2000.0, 0.0],
        "radius_90_km": [20.0, 500.0, 3000.0, 0.0],
        "information_bits": [3.0, 2.0, 1.0, 0.0],
        "abstained": [False, False, True, True],
    }
    return pa.table({**usual, **changes})


def test_guesses_are_measured_at_the_mode_the_best_point_and_the_nearest_of_the_first() -> None:
    found = model_scores(_answers(), Rule(), ALONE)
    shares = [found["mode"].within[km].value for km in (1, 25, 200, 750, 2500)]
    assert shares == [0.25, 0.25, 0.5, 0.5, 0.75]
    assert found["top5"].within[1].value == 0.5
    assert found["best"].within[200].value == 0.5
    assert found["mode"].median_km.value == pytest.approx(5.5 * DEGREE)
    half = np.pi * 6371
    assert found["mode"].mean_km.value == pytest.approx((11 * DEGREE + half) / 4)
    scores = 5000 * np.exp(-np.array([0, DEGREE, 10 * DEGREE, half]) / 1492.7)
    assert found["mode"].geoscore.value == pytest.approx(scores.mean())


def test_ranks_radii_and_abstention_are_shares() -> None:
    found = model_scores(_answers(), Rule(), ALONE)
    assert found["top1"].value == 0.25
    assert found["top5_accuracy"].value == 0.5
    # The second photo's answer is a degree off, outside 10 km and inside 500; the last is broken.
    assert found["inside_50"].value == 0.5
    assert found["inside_90"].value == 0.75
    assert found["abstained"].value == 0.5
    assert found["broken"] == 1


def test_a_broken_photo_brings_no_information_and_takes_none() -> None:
    found = model_scores(_answers(), Rule(), ALONE)
    bits = [np.log2(0.8 / 0.1), np.log2(0.4 / 0.1), np.log2(1e-6 / 0.100001), 0]
    assert found["information_bits"].value == pytest.approx(np.mean(bits), abs=1e-4)


def test_calibration_is_the_gap_in_each_bin() -> None:
    found = model_scores(_answers(), Rule(), ALONE)
    assert found["calibration_error"] == pytest.approx((0.1 + 0.6 + 0.3 + 0) / 4)


def test_the_rule_decides_about_a_distance_on_the_radius() -> None:
    km = np.array([1.0, 2.0, 3.0, 4.0])
    assert guess(km, Rule(thresholds_km=(1.0,)), ALONE).within[1.0].value == 0.25
    assert guess(km, Rule(strict=True, thresholds_km=(1.0,)), ALONE).within[1.0].value == 0.0


def test_karney_measures_on_the_ellipsoid() -> None:
    zero, one = np.array([0.0]), np.array([1.0])
    assert_allclose(kilometres(Rule(), zero, zero, one, zero), [DEGREE])
    assert_allclose(kilometres(Rule("karney"), zero, zero, one, zero), [110.574], atol=1e-3)


def test_anywhere_is_what_a_point_drawn_on_the_sphere_is_worth() -> None:
    random = np.random.default_rng(0)
    lat = np.degrees(np.arcsin(random.uniform(-1, 1, 400_000)))
    km = great_circle_km(48.0, 2.0, lat, random.uniform(-180, 180, len(lat)))
    found = uniform_guess(Rule())
    assert found.within[2500].value == pytest.approx((km <= 2500).mean(), abs=2e-3)
    assert found.geoscore.value == pytest.approx(geoscore(km).mean(), rel=0.01)
    assert found.median_km is not None
    assert found.median_km.value == pytest.approx(np.median(km), rel=0.01)


def test_two_models_are_compared_photo_by_photo() -> None:
    better = best_km(_answers(best_lat=[0.0] * 4, best_lng=[0.0] * 4), Rule())
    found = paired(better, best_km(_answers(), Rule()), Rule(), ALONE)
    assert found["within_25_km"].value == 0.75
    assert found["geoscore"].value > 0
    assert paired(better, better, Rule(), ALONE)["geoscore"] == (0, 0, 0)


def test_the_first_five_are_ranks_0_to_4() -> None:
    found = model_scores(_answers(rank=[0, 4, 5, 6]), Rule(), ALONE)
    assert found["top1"].value == 0.25
    assert found["top5_accuracy"].value == 0.5
