"""Curves of confidence, against values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from locationnet.evaluation.calibration import information_bits, reliability, risk_coverage
from locationnet.metrics import expected_calibration_error


def test_a_reliability_diagram_has_the_means_of_each_bin() -> None:
    found = reliability([0.05, 0.5, 0.45, 0.95], [False, True, False, True], bins=2)
    assert_array_equal(found.photos, [3, 1])
    assert_allclose(found.confidence, [1 / 3, 0.95])
    assert_allclose(found.accuracy, [1 / 3, 1])


def test_an_empty_bin_has_no_mean() -> None:
    found = reliability([0.9], [True], bins=3)
    assert np.isnan(found.accuracy[:2]).all()


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=40))
def test_the_diagram_and_the_error_agree(photos: list[tuple[float, bool]]) -> None:
    confidence, right = zip(*photos, strict=True)
    found = reliability(confidence, right, bins=10)
    seen = found.photos > 0
    gaps = np.abs(found.confidence - found.accuracy)[seen] * found.photos[seen]
    assert gaps.sum() / len(photos) == pytest.approx(
        expected_calibration_error(confidence, right, bins=10), abs=1e-9
    )


def test_the_most_confident_photos_come_first() -> None:
    found = risk_coverage([0.2, 0.9, 0.5, 0.7], [1.0, 0.0, 1.0, 0.0])
    assert_allclose(found.coverage, [0.25, 0.5, 0.75, 1])
    assert_allclose(found.risk, [0, 0, 1 / 3, 0.5])
    assert found.area == pytest.approx((0 + 0 + 1 / 3 + 0.5) / 4)


def test_equally_confident_photos_are_taken_together() -> None:
    first = risk_coverage([0.9, 0.5, 0.5, 0.1], [0.0, 1.0, 0.0, 1.0])
    other = risk_coverage([0.9, 0.5, 0.5, 0.1], [0.0, 0.0, 1.0, 1.0])
    assert_allclose(first.risk, [0, 1 / 3, 1 / 3, 0.5])
    assert_allclose(first.risk, other.risk)


def test_information_is_the_logarithm_of_the_gain() -> None:
    bits = information_bits([0.4, 0.1, 0.0, 0.0], [0.1, 0.1, 0.5, 0.0])
    assert_allclose(bits[:2], [2, 0], atol=1e-4)
    assert bits[2] == pytest.approx(np.log2(1e-6 / 0.500001))
    assert bits[3] == 0
