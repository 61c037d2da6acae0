"""Distances, directions and scores against known values and against each other."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from locationnet.errors import MissingExtraError
from locationnet.geo import sphere

LATS = st.floats(-90, 90)
LNGS = st.floats(-180, 180)
# Measured by GeographicLib's GeodSolve, whose documentation gives it as its example.
JFK, LHR, JFK_TO_LHR_KM = (40.6, -73.8), (51.6, -0.5), 5551.7594


def test_a_degree_of_the_equator_is_one_360th_of_the_circumference() -> None:
    expected = 2 * np.pi * 6371.0 / 360
    assert sphere.great_circle_km(0, 0, 0, 1) == pytest.approx(expected, rel=1e-14)
    assert sphere.great_circle_km(0, 179.5, 0, -179.5) == pytest.approx(expected, rel=1e-12)


def test_a_millimetre_and_the_antipode_are_both_measured_well() -> None:
    millimetre = np.degrees(1e-6 / 6371.0)
    assert sphere.great_circle_km(52, 13, 52 + millimetre, 13) == pytest.approx(1e-6, rel=1e-6)
    assert sphere.great_circle_km(37, -20, -37, 160) == pytest.approx(np.pi * 6371.0)


@given(LATS, LNGS, LATS, LNGS)
def test_the_haversine_agrees_with_the_angle_between_vectors(
    lat1: float, lng1: float, lat2: float, lng2: float
) -> None:
    a, b = sphere.unit_vectors(lat1, lng1), sphere.unit_vectors(lat2, lng2)
    angle = np.arctan2(np.linalg.norm(np.cross(a, b)), a @ b)
    km = sphere.great_circle_km(lat1, lng1, lat2, lng2)
    # Close to the antipode the haversine's inverse sine is flat: a hundred metres in 20,015 km.
    assert km == pytest.approx(6371.0 * angle, abs=1e-6 if angle < 3 else 0.2)
    assert km == sphere.great_circle_km(lat2, lng2, lat1, lng1)
    assert 0 <= km <= np.pi * 6371.0 * (1 + 1e-15)


def test_distances_broadcast_and_stay_float64() -> None:
    lat, lng = np.zeros((3, 1), np.float32), np.arange(3, dtype=np.int64)[:, None]
    km = sphere.great_circle_km(lat, lng, np.zeros(4), np.arange(4.0))
    assert km.shape == (3, 4)
    assert km.dtype == np.float64
    assert (np.diagonal(km) == 0).all()


def test_the_geodesic_is_that_of_the_ellipsoid() -> None:
    pytest.importorskip("pyproj", reason="needs the extra 'data'")
    assert sphere.geodesic_km(*JFK, *LHR) == pytest.approx(JFK_TO_LHR_KM, abs=1e-4)
    around = sphere.geodesic_km(*JFK, np.array([[51.6], [40.6]]), np.array([-0.5, -73.8, 0.0]))
    assert around.shape == (2, 3)
    assert around[1, 1] == 0
    sphere_km = sphere.great_circle_km(*JFK, *LHR)
    assert abs(around[0, 0] / sphere_km - 1) < 0.006


def test_without_pyproj_the_geodesic_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyproj", None)
    with pytest.raises(MissingExtraError, match=r"locationnet\[data\]"):
        sphere.geodesic_km(0, 0, 1, 1)


def test_unit_vectors_point_along_the_axes() -> None:
    vectors = sphere.unit_vectors(np.array([0, 0, 90, -90]), np.array([0, 90, 0, 77]))
    expected = [[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, -1]]
    np.testing.assert_allclose(vectors, expected, atol=1e-15)
    assert sphere.unit_vectors(np.zeros((2, 1)), np.zeros(5)).shape == (2, 5, 3)
    assert sphere.unit_vectors(np.zeros((2, 1)), 5).shape == (2, 1, 3)


@given(st.floats(-89.9, 89.9), LNGS)
def test_a_direction_gives_its_point_back(lat: float, lng: float) -> None:
    back = sphere.direction_degrees(3.5 * sphere.unit_vectors(lat, lng))
    assert sphere.great_circle_km(lat, lng, *back) < 1e-6


def test_the_geoscore_falls_from_5000() -> None:
    scores = sphere.geoscore([0.0, 1492.7, 20015.0])
    np.testing.assert_allclose(scores[:2], [5000, 5000 / np.e])
    assert scores[2] < 0.01
