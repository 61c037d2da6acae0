import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from locationnet import metrics


def test_a_distance_on_the_radius_counts_unless_strict() -> None:
    km = [0.5, 1.0, 25.0, 26.0]
    assert metrics.within_km(km, (1, 25)) == {1.0: 0.5, 25.0: 0.75}
    assert metrics.within_km(km, (1, 25), strict=True) == {1.0: 0.25, 25.0: 0.5}


def test_the_usual_radii_are_the_papers() -> None:
    assert list(metrics.within_km([0.0])) == [1, 25, 200, 750, 2500]


def test_the_median_of_an_even_number_is_between_the_middle_two() -> None:
    assert metrics.median_km([1.0, 100.0, 3.0, 5.0]) == 4.0
    assert metrics.median_km([7.0, 100.0, 3.0]) == 7.0


def test_geoscore_is_five_thousand_at_the_spot_and_falls_by_e_each_scale() -> None:
    assert metrics.mean_geoscore([0.0]) == 5000.0
    assert_allclose(metrics.mean_geoscore([0.0, 1492.7]), 5000 * (1 + np.exp(-1)) / 2)


@pytest.mark.parametrize("bad", [[], [np.nan], [-1.0], [[1.0]]])
def test_distances_that_are_none_are_refused(bad: list[float]) -> None:
    with pytest.raises(ValueError, match="distance"):
        metrics.median_km(bad)


def test_ranks_count_the_columns_above() -> None:
    table = [[0.1, 0.2, 0.7], [0.5, 0.3, 0.2], [0.2, 0.2, 0.6]]
    assert_array_equal(metrics.ranks(table, [0, 0, 1]), [2, 0, 2])


def test_equal_probabilities_rank_by_column() -> None:
    assert_array_equal(metrics.ranks([[0.25] * 4] * 4, [0, 1, 2, 3]), [0, 1, 2, 3])


def test_a_photo_in_no_cell_and_a_nan_are_never_found() -> None:
    table = [[0.9, 0.1], [np.nan, 0.1], [0.5, np.nan]]
    assert_array_equal(metrics.ranks(table, [-1, 0, 0]), [2, 2, 2])


@pytest.mark.parametrize("classes", [[2], [-2], [0, 1]])
def test_classes_that_do_not_match_are_refused(classes: list[int]) -> None:
    with pytest.raises(ValueError, match=r"class"):
        metrics.ranks([[0.5, 0.5]], classes)


def test_calibration_error_of_two_bins_by_hand() -> None:
    # (0, 0.5]: mean 0.4, half right; (0.5, 1]: mean 0.9, a third right.
    confidence = [0.3, 0.5, 0.8, 0.9, 1.0]
    right = [True, False, True, False, False]
    expected = 2 / 5 * abs(0.4 - 0.5) + 3 / 5 * abs(0.9 - 1 / 3)
    assert_allclose(metrics.expected_calibration_error(confidence, right, bins=2), expected)


def test_a_sure_and_right_answer_has_no_calibration_error() -> None:
    assert metrics.expected_calibration_error([1.0, 0.0], [True, False]) == 0.0


@pytest.mark.parametrize(
    ("confidence", "right"), [([], []), ([0.5], [True, False]), ([1.1], [True]), ([np.nan], [True])]
)
def test_confidences_that_are_none_are_refused(confidence: list[float], right: list[bool]) -> None:
    with pytest.raises(ValueError, match="confidence"):
        metrics.expected_calibration_error(confidence, right)


def test_the_summary_holds_what_training_reports() -> None:
    values = metrics.summary([0.0, 30.0], [0, 4])
    assert values["top1"] == 0.5
    assert values["top5"] == 1.0
    assert values["within_25_km"] == 0.5
    assert values["median_km"] == 15.0
    line = metrics.summary_line(values)
    assert "top-1 50.0%" in line
    assert "50.0%/50.0%/100.0%/100.0%/100.0%" in line
