"""The generated land: whole, cut at ±180°, and the cutting itself on shapes made by hand."""

from __future__ import annotations

import importlib.util
import json
import math
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locationnet.viz import assets

Line = list[tuple[float, float]]


def _load() -> ModuleType:
    path = Path(__file__).parents[2] / "scripts/build_land.py"
    spec = importlib.util.spec_from_file_location("build_land", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


build_land = _load()


@pytest.fixture(scope="module")
def land() -> dict[str, Any]:
    return dict(json.loads(assets.land()))


def _points(flat: list[int], steps: int) -> Line:
    x = y = 0
    points = []
    for dx, dy in zip(flat[::2], flat[1::2], strict=True):
        x, y = x + dx, y + dy
        points.append((x / steps, y / steps))
    return points


def _rings(land: dict[str, Any]) -> Iterator[Line]:
    for polygon in land["land"]:
        for flat in polygon:
            ring = _points(flat, land["steps"])
            yield [*ring, ring[0]]


def _share_of_sphere(ring: Line) -> float:
    """Signed, by the sine of latitude, as on a map of equal areas."""
    doubled = sum(
        math.radians(x1 - x0) * (math.sin(math.radians(y0)) + math.sin(math.radians(y1)))
        for (x0, y0), (x1, y1) in pairwise(ring)
    )
    return doubled / 2 / (4 * math.pi)


def _holds(ring: Line, x: float, y: float) -> bool:
    return bool(build_land._inside((x, y), ring))


def test_land_lies_within_180_degrees(land: dict[str, Any]) -> None:
    for ring in _rings(land):
        assert all(-180 <= lng <= 180 and -90 <= lat <= 90 for lng, lat in ring)
        assert len(ring) > 3


def test_no_edge_crosses_the_antimeridian(land: dict[str, Any]) -> None:
    """An uncut shape has an edge around most of the world: a false band on the map."""
    wide = [
        (start, end)
        for ring in _rings(land)
        for start, end in pairwise(ring)
        if abs(end[0] - start[0]) > 90
    ]
    assert wide in (
        [((180.0, -90.0), (-180.0, -90.0))],
        [((-180.0, -90.0), (180.0, -90.0))],
    ), "only Antarctica's edge along the pole goes around the world"


def test_borders_do_not_cross_the_antimeridian_either(land: dict[str, Any]) -> None:
    lines = [_points(flat, land["steps"]) for flat in land["borders"]]
    assert len(lines) > 300
    assert max(abs(b[0] - a[0]) for line in lines for a, b in pairwise(line)) < 40, (
        "the 49th parallel is the longest straight border"
    )


def test_land_is_29_percent_of_the_sphere(land: dict[str, Any]) -> None:
    total = 0.0
    for polygon in land["land"]:
        points = [_points(flat, land["steps"]) for flat in polygon]
        rings = [[*ring, ring[0]] for ring in points]
        for ring in rings:
            around = sum(_holds(other, *ring[1]) for other in rings if other is not ring)
            total += abs(_share_of_sphere(ring)) * (-1 if around % 2 else 1)
    assert total == pytest.approx(0.291, abs=0.004)


@pytest.mark.parametrize(
    ("name", "lat", "lng", "expected"),
    [
        ("Wrangel Island, which 180° runs through, west", 71.2, 179.5, True),
        ("and east", 71.2, -179.5, True),
        ("Chukotka", 66.5, -175.0, True),
        ("Taveuni, Fiji", -16.8, -179.95, True),
        ("the South Pole", -89.9, 10.0, True),
        ("Kansas", 38.5, -98.0, True),
        ("the Pacific", 0.0, -150.0, False),
        ("the Pacific on the other side", 10.0, 170.0, False),
        ("the Ross Sea", -72.0, -178.0, False),
        ("the Caspian Sea, a hole", 42.0, 50.5, False),
    ],
)
def test_places_are_on_land_or_at_sea(
    land: dict[str, Any], name: str, lat: float, lng: float, expected: bool
) -> None:
    assert sum(_holds(ring, lng, lat) for ring in _rings(land)) % 2 == expected, name


def test_every_country_has_a_name_on_the_map(land: dict[str, Any]) -> None:
    names = [name for name, *_ in land["names"]]
    assert len(names) > 230
    assert {"France", "Japan", "Fiji", "Kenya", "New Zealand"} <= set(names)
    assert all(abs(lng) <= 18_000 and abs(lat) <= 9_000 for _, lng, lat, _ in land["names"])


def test_the_file_says_where_it_comes_from(land: dict[str, Any]) -> None:
    assert "Natural Earth, public domain" in land["attribution"]


def test_a_square_over_180_degrees_becomes_two() -> None:
    square = [(170.0, 0.0), (190.0, 0.0), (190.0, 10.0), (170.0, 10.0), (170.0, 0.0)]
    parts = list(build_land.cut_polygon([square]))
    assert [_box(ring) for (ring,) in parts] == [(170, 0, 180, 10), (-180, 0, -170, 10)]


def test_a_hole_over_180_degrees_is_cut_with_its_polygon() -> None:
    outer = [(160.0, -20.0), (200.0, -20.0), (200.0, 20.0), (160.0, 20.0), (160.0, -20.0)]
    hole = [(175.0, -5.0), (175.0, 5.0), (185.0, 5.0), (185.0, -5.0), (175.0, -5.0)]
    (west,), (east,) = build_land.cut_polygon([outer, hole])
    assert _holds(west, 170, 0) and not _holds(west, 179, 0) and _holds(west, 179, 10)
    assert _holds(east, -170, 0) and not _holds(east, -179, 0) and _holds(east, -179, -10)


def test_a_ring_around_the_pole_reaches_it() -> None:
    arcs = [[(float(lng), -70.0) for lng in range(-180, 181, 10)]]
    ring = build_land.closed_ring(arcs, [0])
    ((cut,),) = build_land.cut_polygon([ring])
    assert _holds(cut, 45, -80) and not _holds(cut, 45, -60)


def test_a_ring_around_the_pole_that_starts_elsewhere_is_cut_too() -> None:
    arcs = [[(float(lng), -70.0 - lng % 3) for lng in range(-30, 331, 10)]]
    ring = build_land.closed_ring(arcs, [0])
    parts = [ring for part in build_land.cut_polygon([ring]) for ring in part]
    for lng in (-179, -90, -31, -29, 0, 90, 179):
        assert sum(_holds(part, lng, -80) for part in parts) == 1


@given(
    center=st.floats(150, 210),
    radii=st.lists(st.floats(2, 60), min_size=5, max_size=40),
)
def test_cutting_keeps_the_area(center: float, radii: list[float]) -> None:
    turns = [2 * math.pi * i / len(radii) for i in range(len(radii))]
    ring = [(center + r * math.cos(t), r * math.sin(t)) for t, r in zip(turns, radii, strict=True)]
    ring.append(ring[0])
    parts = [part for parts in build_land.cut_polygon([ring]) for part in parts]
    assert all(-180 <= lng <= 180 for part in parts for lng, _ in part)
    assert sum(abs(_plane_area(part)) for part in parts) == pytest.approx(
        abs(_plane_area(ring)), rel=1e-6
    )


@given(
    st.lists(st.tuples(st.floats(-50, 50), st.floats(-50, 50)), min_size=5, max_size=60),
    st.floats(0.01, 5),
)
def test_simplified_lines_stay_near_and_keep_their_ends(line: Line, tolerance: float) -> None:
    simple = build_land.simplified(line, tolerance)
    assert (simple[0], simple[-1]) == (line[0], line[-1])
    for point in line:
        distances = (build_land._distance2(point, a, b) for a, b in pairwise(simple))
        assert min(distances) <= tolerance**2 * (1 + 1e-9) + 1e-18


def test_a_small_island_survives_simplification() -> None:
    island = [(0.0, 0.0), (0.01, 0.002), (0.012, 0.01), (0.005, 0.014), (-0.002, 0.01), (0.0, 0.0)]
    assert len(set(build_land.simplified(island, 1.0))) >= 3


def test_lines_are_cut_at_180_degrees() -> None:
    pieces = list(build_land.cut_line([(178.0, 1.0), (179.0, 2.0), (180.0, 3.0), (181.0, 4.0)]))
    assert pieces == [[(178.0, 1.0), (179.0, 2.0), (180.0, 3.0)], [(-180.0, 3.0), (-179.0, 4.0)]]


def _box(ring: Line) -> tuple[float, float, float, float]:
    lngs, lats = zip(*ring, strict=True)
    return min(lngs), min(lats), max(lngs), max(lats)


def _plane_area(ring: Line) -> float:
    return sum(x0 * y1 - x1 * y0 for (x0, y0), (x1, y1) in pairwise(ring)) / 2
