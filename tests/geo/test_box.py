"""Boxes hold what lies between their edges, the short way and over the antimeridian."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from locationnet.geo.box import Box

LNG = st.floats(-180, 180)
LAT = st.floats(-90, 90)


@given(LNG, LNG, LAT, LAT)
def test_the_middle_of_a_box_lies_within_it(
    west: float, east: float, one: float, two: float
) -> None:
    box = Box(west, min(one, two), east, max(one, two))
    lat, lng = box.middle
    assert abs(lng) <= 180
    # An edge that rounding has moved by a hair is as good.
    wider = Box(max(west - 1e-9, -180), box.south, min(east + 1e-9, 180), box.north)
    near = wider if (west <= east) == (wider.west <= wider.east) else box
    assert near.contains(np.array([lat]), np.array([lng])).all()


@pytest.mark.parametrize(
    ("edges", "middle"),
    [
        ((10, 40, 20, 50), (45, 15)),
        ((170, -20, -170, 0), (-10, -180)),
        ((177, -20, -178, -15), (-17.5, 179.5)),
        ((-180, -90, 180, 90), (0, 0)),
    ],
)
def test_middles_by_hand(
    edges: tuple[float, float, float, float], middle: tuple[float, float]
) -> None:
    assert Box(*edges).middle == pytest.approx(middle)


def test_points_of_any_shape_are_told_apart() -> None:
    lat, lng = np.zeros((2, 3)), np.array([[169, 171, 180], [-180, -171, -169]])
    inside = Box(170, -1, -170, 1).contains(lat, lng)
    assert inside.tolist() == [[False, True, True], [True, True, False]]
