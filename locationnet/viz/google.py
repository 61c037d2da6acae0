"""Draw an answer on Google's map in a classic notebook, through gmaps 0.9.0.

Knows nothing of when to ask Google. gmaps 0.9.0 (2019) is its last version: it renders in
Notebook 6.5 with ipywidgets 7 only, which the extra ``gmaps`` installs, once its script is enabled:
``jupyter nbextension enable --py --sys-prefix gmaps``.
"""

from __future__ import annotations

import html
import importlib
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from locationnet.errors import MissingExtraError
from locationnet.model.prediction import Prediction
from locationnet.viz import shapes
from locationnet.viz.shapes import Colouring, FloatArray, LatLng

# Each cell is a widget of its own, with its own line to the browser.
MAX_CELLS = 300
_WIDTH, _HEIGHT = 900, 460


def figure(
    prediction: Prediction,
    key: str,
    *,
    truth: LatLng | None = None,
    by: Colouring | None = None,
) -> Any:
    """Return a map of an answer that a classic notebook shows.

    Cells are polygons rather than a heatmap, which would blur their borders and hide how large they
    are.

    Parameters
    ----------
    prediction
        The answer.
    key
        A key for Google's Maps JavaScript API. It is part of the widget: who saves the notebook
        with its widgets saves the key.
    truth
        Where the photo was really taken, (latitude, longitude) in degrees, where that is known.
    by
        What the cells' colours stand for: ``"lift"`` or ``"probability"``.

    Returns
    -------
    gmaps.Figure
        Layers: the cells, the circles and error line, the markers with info boxes.

    Raises
    ------
    MissingExtraError
        gmaps is not installed.
    """
    with _quiet():
        gmaps = _gmaps()
        gmaps.configure(api_key=key)
        center, zoom = shapes.mercator_view(shapes.frame(prediction, truth), _WIDTH, _HEIGHT)
        world = gmaps.figure(
            center=(center[0], _within(center[1])),
            zoom_level=int(zoom),
            tilt=0,
            layout={"height": f"{_HEIGHT}px"},
        )
        # Made of gmaps's classes and not by its ``…_layer`` functions, which read
        # ``collections.Iterable``, a name that Python 3.10 dropped, and check every polygon.
        layer = _unframed(gmaps)
        world.add_layer(layer(features=_cells(gmaps, prediction, by)))
        world.add_layer(layer(features=_lines(gmaps, prediction, truth)))
        world.add_layer(gmaps.Markers(markers=_markers(gmaps, prediction, truth)))
    return world


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence what gmaps and ipywidgets 7 say of a present Python and traitlets."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        yield


def _gmaps() -> Any:
    try:
        return importlib.import_module("gmaps")
    except ModuleNotFoundError as error:
        if error.name == "gmaps":
            raise MissingExtraError("drawing on Google's map", "gmaps") from error
        raise


def _unframed(gmaps: Any) -> Any:
    """Return gmaps's layer without its guess at what to show, which fails on some longitudes."""

    class Layer(gmaps.GeoJson):  # type: ignore[misc]  # gmaps has no types
        has_bounds = False

        def _set_bounds(self, features: Any) -> None:
            pass

    return Layer


def _cells(gmaps: Any, prediction: Prediction, by: Colouring | None) -> list[Any]:
    drawn = shapes.cells(prediction, MAX_CELLS, by=by)
    return [
        gmaps.GeoJsonFeature(
            feature=_feature("MultiPolygon", [[[*ring, ring[0]]] for ring in parts]),
            fill_color=colour,
            fill_opacity=float(opacity),
            stroke_color=colour,
            stroke_opacity=float(opacity),
            stroke_weight=1.0,
        )
        for parts, colour, opacity in zip(
            drawn.outlines, drawn.colours, drawn.opacities, strict=True
        )
    ]


def _lines(gmaps: Any, prediction: Prediction, truth: LatLng | None) -> list[Any]:
    first, best, colours = prediction.mode, prediction.best, shapes.palette()
    drawn = []
    if shapes.is_marked(prediction):
        # gmaps knows no dashes: the 90 % circle is the thinner one.
        drawn = [
            (shapes.circle(first.lat, first.lng, km), "circle", 2.5 if share == 0.5 else 1.0)
            for share, km in shapes.radii(prediction).items()
        ]
        outlines = shapes.outlines_of(prediction, prediction.places)
        drawn += [(ring, "pin", 1.5) for rings in outlines for ring in rings]
    if truth is not None:
        drawn.append((shapes.great_circle((best.lat, best.lng), truth), "truth", 3.0))
    return [
        gmaps.GeoJsonFeature(
            feature=_feature("LineString", _points(line)),
            stroke_color=colours[name],
            stroke_opacity=0.9,
            stroke_weight=weight,
        )
        for line, name, weight in drawn
    ]


def _markers(gmaps: Any, prediction: Prediction, truth: LatLng | None) -> list[Any]:
    entries = shapes.telling(prediction, prediction.top_k)
    markers = [
        _marker(gmaps, (entry.lat, entry.lng), str(entry.rank), shapes.label(entry))
        for entry in entries
    ]
    if truth is not None:
        best, text = prediction.best, shapes.best_label(prediction)
        markers.append(_marker(gmaps, (best.lat, best.lng), "◆", text))
        distance = shapes.distance_text(shapes.error_km(prediction, truth))
        markers.append(_marker(gmaps, truth, "✕", f"True place, {distance} away"))
    return markers


def _marker(gmaps: Any, place: LatLng, label: str, text: str) -> Any:
    # The box is read as HTML, the hover text is not.
    return gmaps.Marker(
        (float(place[0]), _within(place[1])),
        label=label,
        hover_text=text,
        info_box_content=html.escape(text),
    )


def _feature(kind: str, coordinates: list[Any]) -> dict[str, Any]:
    geometry = {"type": kind, "coordinates": coordinates}
    return {"type": "Feature", "geometry": geometry, "properties": {}}


def _points(line: FloatArray) -> list[list[float]]:
    """Bring longitudes back within ±180°: Google draws each step the short way around."""
    return [[_within(lng), float(lat)] for lng, lat in np.round(line, 4)]


def _within(lng: float) -> float:
    return float(shapes.nearest_turn(lng, 0.0))
