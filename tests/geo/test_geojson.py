"""Cells as polygons that a map can draw."""

from __future__ import annotations

import json

import numpy as np
import pytest
import s2sphere
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from locationnet.geo import geojson, s2

POINTS = st.tuples(st.floats(-90, 90), st.floats(-180, 180))
FACE_IDS = np.array([(face << 61) | (1 << 60) for face in range(6)], np.uint64)


def signed_area(ring: geojson.Ring) -> float:
    """Return the area of a closed ring in square degrees, positive if anticlockwise."""
    lng, lat = np.array(ring).T
    return float(np.sum(lng[:-1] * lat[1:] - lng[1:] * lat[:-1]) / 2)


def holds(ring: geojson.Ring, lat: float, lng: float) -> bool:
    """Tell whether a ray towards the east leaves the ring an odd number of times."""
    x, y = np.array(ring).T
    crossing = (y[:-1] > lat) != (y[1:] > lat)
    x, x_next, y, y_next = x[:-1][crossing], x[1:][crossing], y[:-1][crossing], y[1:][crossing]
    at = x + (lat - y) / (y_next - y) * (x_next - x)
    return bool((at > lng).sum() % 2)


def is_drawable(rings: list[geojson.Ring]) -> bool:
    """Tell whether rings are closed, anticlockwise, on the map and free of leaps across it."""
    for ring in rings:
        lng, lat = np.array(ring).T
        if ring[0] != ring[-1] or np.abs(lng).max() > 180 or np.abs(lat).max() > 90:
            return False
        if np.ptp(lng) > 180 or signed_area(ring) <= 0:
            return False
    return bool(rings)


@given(POINTS, st.integers(0, 24))
def test_a_cell_is_drawn_around_its_centre_and_not_around_its_neighbours(
    point: tuple[float, float], level: int
) -> None:
    cell = s2sphere.CellId.from_lat_lng(s2sphere.LatLng.from_degrees(*point)).parent(level)
    (rings,) = geojson.rings(np.array([cell.id()], np.uint64))
    assert is_drawable(rings)
    around = [cell.child(k) for k in range(4)]
    lat, lng = s2.centers(np.array([child.id() for child in around], np.uint64))
    # A centre on the cut at ±180° or at a pole is on the edge of what is drawn.
    for inner_lat, inner_lng in zip(lat, lng, strict=True):
        if abs(inner_lng) < 180 and abs(inner_lat) < 90:
            assert sum(holds(ring, inner_lat, inner_lng) for ring in rings) == 1
    for neighbour in cell.get_edge_neighbors():
        centre = neighbour.to_lat_lng()
        assert not any(holds(ring, centre.lat().degrees, centre.lng().degrees) for ring in rings)


@pytest.mark.parametrize("level", [0, 1, 2, 3, 4])
def test_the_cells_of_a_level_tile_the_map(level: int) -> None:
    ids = FACE_IDS
    for _ in range(level):
        ids = s2.child_ids(ids).ravel()
    drawn = geojson.rings(ids)
    assert all(is_drawable(rings) for rings in drawn)
    total = sum(signed_area(ring) for rings in drawn for ring in rings)
    assert total == pytest.approx(360 * 180, rel=1e-9)


def test_cells_beside_the_antimeridian_stay_on_their_side() -> None:
    lat = np.array([10.0, 10.0, 70.0, 70.0, -70.0, -70.0, -10.0, -10.0])
    lng = np.array([179.999, -179.999] * 4)
    for level in range(1, 18):
        ids = s2.parent_ids(s2.leaf_ids(lat, lng), level)
        for side, rings in zip(np.sign(lng), geojson.rings(ids), strict=True):
            (ring,) = rings
            assert (np.array(ring)[:, 0] * side > 0).any()
            assert (np.array(ring)[:, 0] * side >= 0).all()
            assert is_drawable(rings)


@pytest.mark.parametrize("pole", [90.0, -90.0])
@pytest.mark.parametrize("level", [0, 1, 2, 5, 10, 18])
def test_a_cell_at_a_pole_reaches_the_edge_of_the_map(pole: float, level: int) -> None:
    cells = s2.parent_ids(s2.leaf_ids([pole], [0.0]), level)
    (rings,) = geojson.rings(cells)
    assert is_drawable(rings)
    at_pole = [x for ring in rings for x, y in ring if y == pole]
    assert len(at_pole) >= 2
    width = 360 if level == 0 else 90
    assert max(at_pole) - min(at_pole) == pytest.approx(width)


def test_edges_are_cut_finer_the_larger_the_cell() -> None:
    for level in range(8):
        ids = s2.parent_ids(s2.leaf_ids([48.0], [11.0]), level)
        lng, lat = np.array(geojson.rings(ids)[0][0]).T
        steps = np.hypot(np.diff(lng) * np.cos(np.radians(lat[1:])), np.diff(lat))
        assert steps.max() < 5


def test_a_feature_carries_its_cell_and_properties() -> None:
    ids = np.array([s2.id_from_token("47e7"), s2.id_from_token("89c25")], np.uint64)
    made = geojson.feature_collection(ids, {"photos": [7, 5]})
    assert json.loads(json.dumps(made)) == made
    assert made["type"] == "FeatureCollection"
    assert [feature["properties"] for feature in made["features"]] == [
        {"cell": "47e7", "photos": 7},
        {"cell": "89c25", "photos": 5},
    ]
    geometry = made["features"][0]["geometry"]
    assert geometry["type"] == "MultiPolygon"
    assert geometry["coordinates"] == [[ring] for ring in geojson.rings(ids[:1])[0]]
    bare: NDArray[np.uint64] = ids[:0]
    assert geojson.feature_collection(bare) == {"type": "FeatureCollection", "features": []}


@pytest.mark.parametrize("level", [0, 1, 5, 10, 13, 20, 24, 30])
def test_decimals_draw_a_cell_to_a_hundredth_of_its_width(level: int) -> None:
    ids = s2.parent_ids(s2.leaf_ids(np.array([48.8]), np.array([2.3])), level)
    decimals = geojson.enough_decimals(ids)
    width = 90 / 2**level
    if decimals < 8:  # a centimetre, which is enough for any cell
        assert 0.5 * 10.0**-decimals <= width / 100 / 2
    if decimals > 2:  # and no more than that
        assert 10.0 ** -(decimals - 1) > width / 100
