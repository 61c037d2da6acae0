"""Intervals are as wide as the clusters make them."""

from __future__ import annotations

import numpy as np
import pytest

from locationnet.evaluation.bootstrap import Bootstrap


def test_a_constant_has_no_spread() -> None:
    assert Bootstrap.of(None, 5).mean([2.0] * 5) == (2.0, 2.0, 2.0)


def test_the_interval_of_many_photos_is_the_normal_one() -> None:
    values = np.random.default_rng(1).normal(10, 2, 4000)
    value, low, high = Bootstrap.of(None, 4000).mean(values)
    assert value == values.mean()
    assert high - low == pytest.approx(2 * 1.96 * values.std() / 4000**0.5, rel=0.08)


def test_photos_of_one_uploader_are_one_draw() -> None:
    """A hundred uploaders with forty equal photos each: as if there were a hundred photos."""
    one_each = np.random.default_rng(2).normal(0, 1, 100)
    names = [f"uploader {index}" for index in range(100) for _ in range(40)]
    clustered = Bootstrap.of(names, 4000).mean(np.repeat(one_each, 40))
    single = Bootstrap.of(None, 100).mean(one_each)
    assert clustered == pytest.approx(single)


def test_large_clusters_weigh_as_much_as_they_hold() -> None:
    bootstrap = Bootstrap.of(["a", "a", "a", "b"], 4)
    assert bootstrap.count == 2
    value, low, high = bootstrap.mean([1.0, 1.0, 1.0, 0.0])
    assert (value, low, high) == (0.75, 0.0, 1.0)


def test_many_clusters_are_drawn_in_parts_with_the_same_number_of_resamples(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("locationnet.evaluation.bootstrap._CELLS", 70)
    bootstrap = Bootstrap(np.arange(10), resamples=25)
    assert [len(draw) for draw in bootstrap._draws] == [7, 7, 7, 4]
    assert all((draw.sum(axis=1) == 10).all() for draw in bootstrap._draws)


def test_the_same_clusters_give_the_same_interval() -> None:
    values = np.arange(20.0)
    assert Bootstrap.of(None, 20).mean(values) == Bootstrap.of(None, 20).mean(values)


@pytest.mark.parametrize("bad", [[1.0], [1.0, np.nan], [[1.0, 2.0]]])
def test_values_that_do_not_fit_are_refused(bad: list[float]) -> None:
    with pytest.raises(ValueError, match="expected 2 finite values"):
        Bootstrap.of(None, 2).mean(bad)


def test_photos_whose_uploader_is_not_known_are_not_one_cluster() -> None:
    assert Bootstrap.of(["a", "", "a", "", None], 5).count == 4


@pytest.mark.parametrize(("photos", "sigma"), [(400, 1.0), (2500, 30.0)])
def test_the_interval_of_a_median_is_as_wide_as_the_theory_says(photos: int, sigma: float) -> None:
    """The median of n normal values varies by sqrt(pi / 2) times the error of their mean."""
    widths = []
    for seed in range(20):
        values = np.random.default_rng(seed).normal(7, sigma, photos)
        value, low, high = Bootstrap.of(None, photos).median(values)
        assert value == np.median(values)
        assert low <= value <= high
        widths.append(high - low)
    theory = 2 * 1.96 * sigma * np.sqrt(np.pi / 2 / photos)
    assert np.mean(widths) == pytest.approx(theory, rel=0.15)


def test_the_interval_of_a_median_covers_the_truth_about_as_often_as_it_says() -> None:
    random = np.random.default_rng(4)
    covered = 0
    for _ in range(200):
        _, low, high = Bootstrap(np.arange(101), resamples=200).median(random.exponential(1, 101))
        covered += low <= np.log(2) <= high
    assert 0.88 <= covered / 200 <= 0.99
