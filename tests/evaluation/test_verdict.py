"""What results mean is said in three sentences, and no more than the intervals bear."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from locationnet.evaluation.benchmarks import Benchmark
from locationnet.evaluation.bootstrap import Interval
from locationnet.evaluation.report import FIRST_ANSWER, Results
from locationnet.evaluation.scores import Guess
from locationnet.evaluation.verdict import verdict

SURE = Interval(0.5, 0.45, 0.55)


def _guess(shares: tuple[float, ...] = (0, 0.1, 0.25, 0.5, 0.9), median: float = 600.0) -> Guess:
    limits = (1.0, 25.0, 200.0, 750.0, 2500.0)
    within = {
        limit: Interval(share, share, share) for limit, share in zip(limits, shares, strict=True)
    }
    score = Interval(1234.0, 1000.0, 1500.0)
    return Guess(within, Interval(median, median, median), None, score)


def _results(photos: int = 20, guess: Guess | None = None, **measures: Any) -> Results:
    names = tuple(map(str, range(photos)))
    where = np.zeros(photos)
    benchmark = Benchmark("b", names, tuple(map(Path, names)), where, where)
    known = {
        "broken": 0,
        "over_prior": {"geoscore": Interval(0, -10, 10)},
        "inside_50": SURE,
        "inside_90": Interval(0.9, 0.85, 0.95),
        "abstained": Interval(0, 0, 0),
    }
    guesses = {"best point": guess or _guess(), "prior: best point": _guess()}
    return Results(benchmark, {}, guesses, known | measures, "20 photos")


def test_the_first_says_how_near_with_the_radius_that_holds_half() -> None:
    near, _, _ = verdict(_results())
    assert near == (
        "10 of 20 photos (50 %) are placed within 750 km of where they were taken, 5 (25 %) within"
        " 200 km; half of the answers are more than 600 km off."
    )
    near, _, _ = verdict(_results(guess=_guess((0.6, 1, 1, 1, 1), 0.123)))
    assert near.startswith(
        "12 of 20 photos (60 %) are placed within 1 km of where they were taken;"
    )
    assert "0.12 km off" in near
    near, _, _ = verdict(_results(guess=_guess((0, 0, 0, 0, 0.05)), broken=3))
    assert near.startswith(
        "1 of 20 photos (5.0 %) is placed within 2,500 km of where it was taken,"
    )
    assert near.endswith("; 3 photos could not be read and count as wrong.")
    near, _, _ = verdict(_results(1, _guess((0, 1, 1, 1, 1))))
    assert (
        near
        == "1 of 1 photo (100 %) is placed within 25 km of where it was taken, 0 (0 %) within 1 km."
    )


@pytest.mark.parametrize(
    ("low", "high", "says"),
    [
        (5, 30, "Looking at the photos helped: "),
        (-30, -5, "Looking at the photos did harm: "),
        (-5, 30, "Looking at the photos made no difference that they can show: "),
        (0, 30, "Looking at the photos made no difference that they can show: "),
    ],
)
def test_the_second_says_what_the_photos_were_worth(low: float, high: float, says: str) -> None:
    gain = Interval((low + high) / 2, low, high)
    _, worth, _ = verdict(_results(over_prior={"geoscore": gain}))
    assert worth.startswith(says)
    assert f"[{low:+,.0f}, {high:+,.0f}]" in worth


@pytest.mark.parametrize(
    ("half", "most", "says"),
    [
        ((0.4, 0.6), (0.85, 0.95), "they can be believed"),
        ((0.3, 0.49), (0.85, 0.95), "too small, so the model is surer than it should be"),
        ((0.4, 0.6), (0.7, 0.89), "too small, so the model is surer than it should be"),
        ((0.6, 0.7), (0.85, 0.95), "larger than they need be"),
        ((0.6, 0.7), (0.7, 0.8), "not to be believed"),
    ],
)
def test_the_third_says_whether_radii_can_be_believed(
    half: tuple[float, float], most: tuple[float, float], says: str
) -> None:
    intervals = (Interval(sum(bounds) / 2, *bounds) for bounds in (half, most))
    inside_50, inside_90 = intervals
    abstained = Interval(0.25, 0.2, 0.3)
    _, _, honesty = verdict(_results(inside_50=inside_50, inside_90=inside_90, abstained=abstained))
    assert says in honesty
    assert honesty.endswith("of 25 % of the photos it says that it cannot tell.")


def test_answers_of_a_model_that_nobody_knows_are_compared_with_any_point() -> None:
    photos = _results()
    measures = {"broken": 0, "country": SURE, "region": Interval(0.1, 0, 0.2)}
    guesses = {FIRST_ANSWER: _guess(), "anywhere": _guess()}
    _, worth, honesty = verdict(Results(photos.benchmark, {}, guesses, measures, "20 photos"))
    assert worth == (
        "The answers earn a GeoScore of 1,234 of 5,000, where pointing anywhere on Earth earns"
        " 1,234."
    )
    assert honesty.startswith("The country of the first answer is right for 50 % of the photos")
