"""The notebook's map as the state of its widgets: what is on it, where, and what it may not ask."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import ipyleaflet
import numpy as np
import pytest
from ipywidgets.embed import dependency_state

from locationnet.errors import MissingExtraError
from locationnet.model.cells import CellLayer
from locationnet.model.prediction import Prediction
from locationnet.model.summary import times_text
from locationnet.viz import jupyter, shapes
from locationnet.viz.jupyter import show_map

Predict = Callable[..., Prediction]
FIJI, SAMOA = (-17.8, 178.0), (-14.0, -171.8)


def _layers(world: Any) -> tuple[dict[str, Any], list[Any]]:
    """Return the layers of GeoJSON by name, and the markers."""
    shapes_by_name = {
        layer.name: layer for layer in world.layers if isinstance(layer, ipyleaflet.GeoJSON)
    }
    return shapes_by_name, [m for m in world.layers if isinstance(m, ipyleaflet.Marker)]


def test_the_map_asks_no_server_for_anything(predict: Predict) -> None:
    world = show_map(predict(48.9, 2.3), truth=(51.5, -0.1))
    assert not any(isinstance(layer, ipyleaflet.TileLayer) for layer in world.layers)
    state = json.dumps(dependency_state(world))
    # The format's names and versions are the only things that look like addresses.
    assert "http" not in state.replace("http://www.w3.org", "")


def test_layers_lie_in_the_order_in_which_they_are_read(predict: Predict) -> None:
    world = show_map(predict(48.9, 2.3), truth=(51.5, -0.1))
    names = [layer.name for layer in world.layers[:3]]
    assert names == ["Land", "Cells", "Circles"]
    # Highest expected score, error, true place and five ranks.
    assert len(world.layers) == 3 + 3 + 5
    assert len(show_map(predict(48.9, 2.3)).layers) == 3 + 5
    assert len(show_map(predict(48.9, 2.3, threshold=99.0)).layers) == 3


def test_cells_have_the_colours_of_their_lift(predict: Predict) -> None:
    prediction = predict(48.9, 2.3)
    cells = shapes.cells(prediction)
    layers, _ = _layers(show_map(prediction))
    features = layers["Cells"].data["features"]
    colours = [feature["properties"]["style"]["fillColor"] for feature in features]
    assert colours == cells.colours
    drawn = [feature["properties"]["lift"] for feature in features]
    np.testing.assert_allclose(drawn, cells.values, rtol=0.01)
    probable, _ = _layers(show_map(prediction, by="probability"))
    assert "probability" in probable["Cells"].data["features"][0]["properties"]


def test_markers_stand_at_the_places_with_their_ranks(predict: Predict) -> None:
    prediction = predict(48.9, 2.3)
    _, markers = _layers(show_map(prediction))
    ranked = markers[-5:][::-1]
    for place, marker in zip(prediction.places, ranked, strict=True):
        assert marker.location == pytest.approx([place.lat, place.lng])
        assert f">{place.rank}</div>" in marker.icon.html
        assert marker.title.startswith(f"{place.rank}. {place.name} · ")
        assert marker.title.endswith(times_text(place.lift, before=True))
        assert not marker.draggable
    assert [marker.z_index_offset for marker in ranked] == [10_000, 9_900, 9_800, 9_700, 9_600]


def test_the_true_place_is_marked_with_the_error(predict: Predict) -> None:
    prediction = predict(48.9, 2.3, 300.0)
    _, markers = _layers(show_map(prediction, truth=(51.5, -0.1)))
    text = shapes.distance_text(shapes.error_km(prediction, (51.5, -0.1)))
    best, error, truth, *_ = markers
    assert best.title == f"Highest expected score: {prediction.best.name}"
    assert f">{text}</b>" in error.icon.html
    assert truth.location == [51.5, -0.1]
    assert truth.title == f"True place, {text} away"


def test_everything_stays_together_across_the_antimeridian(predict: Predict) -> None:
    world = show_map(predict(*FIJI, 50.0), truth=SAMOA)
    layers, markers = _layers(world)
    west, east = world.center[1] - 60, world.center[1] + 60
    assert all(west < marker.location[1] < east for marker in markers)
    lines = [
        np.array(line)
        for feature in layers["Circles"].data["features"]
        if feature["geometry"]["type"] == "MultiLineString"
        for line in feature["geometry"]["coordinates"]
    ]
    assert all(np.ptp(line[:, 0]) < 60 for line in lines)
    for line in lines[:2]:  # every copy but the one in view is a whole turn away
        middle = line[:, 0].mean() - world.center[1]
        assert abs(middle - 360 * round(middle / 360)) < 60


def test_land_reaches_around_the_view(predict: Predict) -> None:
    layers, _ = _layers(show_map(predict(*FIJI, 50.0)))
    sea, whole, cut, borders, coasts = layers["Land"].data["features"]
    low, high = sea["geometry"]["coordinates"][0][0][0], sea["geometry"]["coordinates"][0][1][0]
    assert high - low == pytest.approx(540)
    rings = [ring for polygon in whole["geometry"]["coordinates"] for ring in polygon]
    # Australia to the left of Fiji and the Americas to the right of it.
    assert any(min(lng for lng, _ in ring) < 114 < max(lng for lng, _ in ring) for ring in rings)
    assert any(max(lng for lng, _ in ring) > 270 for ring in rings)
    assert borders["geometry"]["coordinates"]
    # No coast runs along ±180°, where land was only cut.
    assert cut["properties"]["style"]["color"] == shapes.palette()["land"]
    for line in coasts["geometry"]["coordinates"]:
        seam = [abs(lng) % 360 == 180 for lng, _ in line]
        assert not any(seam[index] and seam[index + 1] for index in range(len(seam) - 1))


def test_names_are_text_and_no_markup(predict: Predict, world: CellLayer) -> None:
    names = replace(world.names, city=["<img src=x>"] * len(world.grid))
    prediction = replace(predict(48.9, 2.3), layer=CellLayer(world.grid, names))
    _, markers = _layers(show_map(prediction))
    assert all("<img" not in marker.popup.value for marker in markers)
    assert all("<img" not in marker.icon.html for marker in markers)
    assert "&lt;img src=x&gt;" in markers[-1].popup.value


def test_the_legend_says_what_the_colours_mean(predict: Predict) -> None:
    prediction = predict(48.9, 2.3)
    (legend,) = (
        control.widget.value
        for control in show_map(prediction).controls
        if isinstance(control, ipyleaflet.WidgetControl)
    )
    for colour, text in shapes.legend(shapes.cells(prediction))[1]:
        assert f'background:{colour}"></span>{text}<br>' in legend
    assert "true place" not in legend


def test_a_key_needs_gmaps(predict: Predict) -> None:
    with pytest.raises(MissingExtraError, match=r"Google's map needs .*locationnet\[gmaps\]"):
        show_map(predict(48.9, 2.3), google_key="key")


def test_a_key_of_the_environment_counts_only_where_gmaps_is(
    predict: Predict, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other programs of Google read the same variable."""
    monkeypatch.setenv(jupyter.KEY_VARIABLE, "key")
    assert isinstance(show_map(predict(48.9, 2.3)), ipyleaflet.Map)


def test_without_ipyleaflet_the_extra_is_named(
    predict: Predict, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ipyleaflet", None)
    with pytest.raises(MissingExtraError, match=r"drawing maps needs .*locationnet\[notebook\]"):
        show_map(predict(48.9, 2.3))
