"""Densities between two known places, worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from locationnet.geo.sphere import great_circle_km
from locationnet.library.density import (
    USUAL,
    Density,
    Spread,
    between,
    fit_spread,
    on_the_way,
    travel_hours,
)


def test_people_drive_short_ways_and_fly_long_ones() -> None:
    assert travel_hours([30, 1400]).tolist() == [0.5, 4.5]


def test_who_had_no_time_to_stay_was_on_the_way() -> None:
    # 400 km in two hours is faster than either: a train, evenly on its way.
    way = between(400, since_h=0.5, until_h=1.5, silence=0.25)
    assert (way.before, way.moving, way.after, way.fraction) == (0, 1, 0, 0.25)


def test_a_journey_may_have_begun_at_any_time() -> None:
    # 60 km take an hour of four: begun between 0 and 3 h, under way at 2 h if between 1 and 2 h,
    # a third of the time; and half as many photos are taken then: 1/6 to 2/3.
    way = between(60, since_h=2, until_h=2, silence=0.5)
    assert way.moving == pytest.approx(1 / 5)
    assert [way.before, way.after] == pytest.approx([2 / 5, 2 / 5])
    assert [way.fraction, way.slack] == pytest.approx([0.5, 0.5])


def test_most_went_in_the_long_silence() -> None:
    # One place, an hour apart or five: silences of 1 h before and 3 h after, by their squares.
    way = between(0, since_h=1, until_h=3, silence=1 / 10)
    assert (way.before, way.moving, way.after) == (0.9, 0, 0.1)


def test_times_that_nobody_can_travel_say_nothing_of_the_way() -> None:
    assert between(500, 1 / 3600, 1 / 3600, 0.5).moving == 0


def test_the_middle_of_a_way_over_the_antimeridian() -> None:
    lat, lng = on_the_way((0, 0), (170, -170), 0.5)
    assert lat == pytest.approx(0, abs=1e-9)
    assert abs(lng) == pytest.approx(180)


def test_half_of_one_centre_lies_within_its_median() -> None:
    one = Density(np.array([10.0]), np.array([20.0]), np.ones(1), np.array([7.0]), 1.3)
    assert one.radius_km(10, 20) == pytest.approx(7, rel=0.02)
    # Log-logistic: three quarters within median · 3^(1/shape).
    assert one.radius_km(10, 20, 0.75) == pytest.approx(7 * 3 ** (1 / 1.3), rel=0.1)


def test_the_radius_reaches_the_other_place_when_that_is_as_likely() -> None:
    lat, lng = np.array([0.0, 0.0]), np.array([0.0, 9.0])
    near = Density(lat, lng, np.array([0.9, 0.1]), np.full(2, 1.0), 3.0)
    even = Density(lat, lng, np.array([0.45, 0.55]), np.full(2, 1.0), 3.0)
    assert near.radius_km(0, 0) < 2
    assert even.radius_km(0, 0) == pytest.approx(float(great_circle_km(0, 0, 0, 9)), rel=0.01)


def test_the_spread_of_a_library_is_found_again() -> None:
    generator = np.random.default_rng(1)
    hours = 10 ** generator.uniform(-1, 3, 600)
    share = generator.uniform(0, 1, 600)
    km = 5 * hours**0.8 * (share / (1 - share)) ** (1 / 1.5)
    found = fit_spread(hours, km)
    assert found.km == pytest.approx(5, rel=0.2)
    assert found.growth == pytest.approx(0.8, rel=0.1)
    assert found.shape == pytest.approx(1.5, rel=0.1)


def test_three_photos_change_what_is_believed_but_little() -> None:
    found = fit_spread([1.0, 1.0, 1.0], [2.0, 2.0, 2.0])
    assert found.km == pytest.approx(USUAL.km, rel=0.3)
    assert found.growth == pytest.approx(USUAL.growth, rel=0.05)


@given(
    km=st.floats(0, 20000),
    since=st.floats(0, 1e4),
    until=st.floats(0, 1e4),
    silence=st.floats(0, 1),
)
def test_the_shares_are_a_distribution(
    km: float, since: float, until: float, silence: float
) -> None:
    way = between(km, since, until, silence)
    assert way.before + way.moving + way.after == pytest.approx(1)
    assert min(way.before, way.moving, way.after, way.slack) >= 0
    assert 0 <= way.fraction <= 1


@given(
    lat=st.floats(-90, 90),
    lng=st.floats(-180, 180),
    km=st.floats(0.02, 10000),
    shape=st.floats(0.3, 4),
)
def test_points_stay_on_the_globe_and_half_of_them_near(
    lat: float, lng: float, km: float, shape: float
) -> None:
    density = Density(np.array([lat]), np.array([lng]), np.ones(1), np.array([km]), shape)
    points_lat, points_lng, shares = density.points
    assert np.abs(points_lat).max() <= 90
    assert np.abs(points_lng).max() <= 180
    assert shares.sum() == pytest.approx(1)
    assert density.radius_km(lat, lng) <= math.pi * 6371


def test_a_median_grows_with_the_silent_hours() -> None:
    assert Spread(3, 1, 1).median_km(10 - 1 / 60) == pytest.approx(30)
