"""Circles, lines, land and colours: right on the sphere, whole across ±180° and the poles."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from locationnet.geo import sphere
from locationnet.model.bundle import CellNames
from locationnet.model.cells import CellLayer
from locationnet.model.prediction import Prediction
from locationnet.viz import shapes
from locationnet.viz.shapes import Frame

Predict = Callable[..., Prediction]
LATS = st.floats(-89, 89)
LNGS = st.floats(-180, 180)


@given(LATS, LNGS, st.floats(1, 19_000))
def test_every_point_of_a_circle_is_as_far_from_its_centre(
    lat: float, lng: float, km: float
) -> None:
    ring = shapes.circle(lat, lng, km)
    distances = sphere.great_circle_km(lat, lng, ring[:, 1], ring[:, 0])
    np.testing.assert_allclose(distances, km, rtol=1e-6, atol=1e-3)
    assert np.abs(np.diff(ring[:, 0])).max() <= 180


def test_a_circle_closes_unless_it_holds_a_pole() -> None:
    for lat, around in ((0.0, 0.0), (80.0, 360.0), (-80.0, 360.0)):
        ring = shapes.circle(lat, 179.0, 2000.0)
        assert abs(ring[-1, 0] - ring[0, 0]) == pytest.approx(around, abs=1e-6)


@given(LATS, LNGS, LATS, LNGS)
def test_a_line_is_the_shortest_way_and_never_jumps(
    lat1: float, lng1: float, lat2: float, lng2: float
) -> None:
    line = shapes.great_circle((lat1, lng1), (lat2, lng2))
    steps = sphere.great_circle_km(line[:-1, 1], line[:-1, 0], line[1:, 1], line[1:, 0])
    whole = float(sphere.great_circle_km(lat1, lng1, lat2, lng2))
    assert steps.sum() == pytest.approx(whole, rel=1e-5, abs=1e-3)
    ends = sphere.great_circle_km(line[[0, -1], 1], line[[0, -1], 0], [lat1, lat2], [lng1, lng2])
    assert ends.max() < 0.1
    assert np.abs(np.diff(line[:, 0])).max() <= 180


def test_a_line_between_antipodes_is_half_a_great_circle() -> None:
    line = shapes.great_circle((10.0, 20.0), (-10.0, -160.0))
    steps = sphere.great_circle_km(line[:-1, 1], line[:-1, 0], line[1:, 1], line[1:, 0])
    assert steps.sum() == pytest.approx(math.pi * sphere.EARTH_RADIUS_KM, rel=1e-6)


def test_a_line_is_repeated_wherever_it_is_seen() -> None:
    line = np.array([[170.0, 0.0], [190.0, 5.0]])
    starts = [copy[0, 0] for copy in shapes.copies(line, Frame(-180, -90, 180, 90))]
    assert starts == [-190.0, 170.0]
    assert shapes.copies(line, Frame(-100, -90, 100, 90)) == []


def test_land_is_whole_and_its_outer_ring_comes_first() -> None:
    land = shapes.land()
    assert len(land.polygons) > 1000
    with_holes = [rings for rings in land.polygons if len(rings) > 1]
    assert with_holes
    for rings in with_holes:  # Eurasia and the Caspian Sea
        extents = [np.ptp(ring[:, 0]) for ring in rings]
        assert extents[0] == max(extents)
    assert all((ring[0] == ring[-1]).all() for rings in land.polygons for ring in rings)


def test_there_is_no_coast_where_land_was_cut() -> None:
    ring = np.array([[170.0, 0], [180, 0], [180, 10], [170, 10], [170, 0]], np.float64)
    first, second = shapes.coasts(ring)
    assert first.tolist() == [[170, 0], [180, 0]]
    assert second.tolist() == [[180, 10], [170, 10], [170, 0]]
    whole = ring - [20, 0]
    assert len(shapes.coasts(whole)) == 1


def test_more_probable_cells_are_darker_and_drawn_last(predict: Predict) -> None:
    cells = shapes.cells(predict(48.9, 2.3), by="probability")
    assert (np.diff(cells.values) >= 0).all()
    lightness = [sum(bytes.fromhex(colour[1:])) for colour in cells.colours]
    assert lightness == sorted(lightness, reverse=True)
    heading, ranges = shapes.legend(cells)
    assert heading == "Cell, %:"
    assert [colour for colour, _ in ranges] == [
        shapes.palette()[f"cell-{index}"] for index in range(shapes.COLOURS)
    ]
    few = shapes.cells(predict(48.9, 2.3), 7, by="probability")
    assert few.outlines == cells.outlines[-7:]
    equal = cells._replace(values=np.full(3, 0.33), colours=["#fae3a0"] * 3)
    assert shapes.legend(equal)[1] == [("#fae3a0", "33")]
    assert shapes.colour_steps([0.5]) == sorted(shapes.colour_steps([0.5]))


def test_the_scale_of_lifts_is_one_and_an_abstained_answer_is_paler_on_it(
    predict: Predict,
) -> None:
    sure, broad = shapes.cells(predict(48.9, 2.3, 300.0)), shapes.cells(predict(48.9, 2.3, 9000.0))
    assert shapes.legend(sure) == shapes.legend(broad)
    assert sure.colours[-1] == shapes.palette()["lift-5"]
    # It says little: no cell is much more probable than before, and none coloured like a sure one.
    assert set(broad.colours) <= {shapes.palette()[f"lift-{shade}"] for shade in range(3)}
    doubtful = shapes.cells(predict(48.9, 2.3, 300.0, threshold=99.0))
    assert set(doubtful.colours) <= {shapes.palette()[f"lift-{shade}"] for shade in range(2)}
    assert doubtful.opacities.max() < sure.opacities.max() / 2


def test_circles_are_around_the_first_place_and_only_where_they_say_something(
    predict: Predict,
) -> None:
    near, far = predict(48.9, 2.3, 300.0), predict(48.9, 2.3, 5000.0)
    assert shapes.radii(near) == {
        share: near.radius_km(share, around=near.mode) for share in (0.5, 0.9)
    }
    assert shapes.radii(far) == {}


def test_half_of_the_probability_lies_in_the_least_area(predict: Predict, world: CellLayer) -> None:
    prediction = predict(48.9, 2.3)
    area = shapes.likely_area(prediction)
    in_order = np.sort(prediction.probabilities)[::-1]
    assert len(area) == int(np.searchsorted(np.cumsum(in_order), 0.5)) + 1
    assert [tuple(ring.mean(axis=0)) for [ring] in area[:1]] == [
        tuple(ring.mean(axis=0)) for [ring] in shapes.outlines_of(prediction, [prediction.mode])
    ]


def test_a_list_names_cities_else_countries_else_cells(predict: Predict, world: CellLayer) -> None:
    prediction = predict(48.9, 2.3)
    city = prediction.cities[0]
    first = shapes.listed(prediction, 2)[0]
    assert (first.rank, first.name, first.lift) == (1, city.name, city.lift)
    assert (first.lat, first.lng) == (prediction.mode.lat, prediction.mode.lng)
    blank = [""] * len(world.grid)
    for country, name in (("FR", "France"), ("", f"cell {prediction.mode.cell}")):
        names = CellNames(blank, blank, [country] * len(blank))
        unnamed = replace(prediction, layer=CellLayer(world.grid, names))
        assert shapes.listed(unnamed, 2)[0].name == name


def test_the_frame_runs_across_the_antimeridian(predict: Predict) -> None:
    part = shapes.frame(predict(-17.8, 178.0, 50.0), (-14.0, -171.8))
    assert 120 < part.west < 180 < part.east < 240
    (lat, lng), zoom = shapes.mercator_view(part, 900, 460)
    assert part.south < lat < part.north
    assert part.west < lng < part.east
    assert 2 <= zoom <= 5
    assert zoom == int(zoom)


@pytest.mark.parametrize("truth", [(91.0, 0.0), (math.nan, 0.0), (0.0, math.inf)])
def test_a_truth_that_is_no_place_is_refused(predict: Predict, truth: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match=r"truth is \(latitude, longitude\) in degrees, not"):
        shapes.frame(predict(0.0, 0.0), truth)


def test_numbers_are_written_as_maps_write_them() -> None:
    assert shapes.distance_text(3.14159) == "3.1 km"
    assert shapes.distance_text(12345.6) == "12,346 km"
