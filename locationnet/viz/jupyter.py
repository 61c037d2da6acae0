"""Show an answer as a map in a notebook: Leaflet by default, offline and without any key.

Knows nothing of how Google's maps are made, only when to ask for one.
"""

from __future__ import annotations

import base64
import html
import os
from contextlib import suppress
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

from locationnet.errors import MissingExtraError
from locationnet.model.prediction import Prediction
from locationnet.viz import picture, shapes
from locationnet.viz.shapes import Colouring, FloatArray, Frame, LatLng

if TYPE_CHECKING:
    from ipyleaflet import GeoJSON, Map, Marker

KEY_VARIABLE = "GOOGLE_API_KEY"

_HEIGHT = 460
# What a notebook's column usually leaves; only the first view depends on it.
_WIDTH = 900
_ZOOM_STEP = 0.25
# The world is drawn once and a half around the best guess, so that ±180° is a place like any other.
_HALF_WORLD = 270.0
_EDGE_OF_MERCATOR = 85.06
# Of degrees: land.json has two, cells need a third at the deepest zoom.
_DECIMALS = 3
_DASHES = {0.9: "5 7", 0.5: None}
_SIGNS = {0.9: "- -", 0.5: "—"}


def show_map(
    prediction: Prediction,
    *,
    truth: LatLng | None = None,
    by: Colouring | None = None,
    google_key: str | None = None,
) -> Any:
    """Return a map of an answer that a notebook shows; pan and zoom it, click its markers.

    The map that needs no key asks no server for anything: land and borders come with the package.

    Parameters
    ----------
    prediction
        The answer.
    truth
        Where the photo was really taken, (latitude, longitude) in degrees, where that is known.
    by
        What the cells' colours stand for: ``"lift"``, how many times more likely the photo made
        each, or ``"probability"``.
    google_key
        A key for Google's Maps JavaScript API: the map is then Google's, and Google sees what is
        looked at. Unless given, that of the environment variable ``GOOGLE_API_KEY`` counts where
        gmaps is installed; ``""`` never asks Google.

    Returns
    -------
    ipyleaflet.Map or gmaps.Figure
        A widget.

    Raises
    ------
    MissingExtraError
        ipyleaflet is not installed, or a key is given and gmaps is not.
    ValueError
        `truth` is not a latitude and longitude.
    """
    if google_key is None and find_spec("gmaps") is not None:
        google_key = os.environ.get(KEY_VARIABLE)
    if google_key:
        from locationnet.viz import google

        return google.figure(prediction, google_key, truth=truth, by=by)
    try:
        import ipyleaflet
        import ipywidgets
    except ImportError as error:
        raise MissingExtraError("drawing maps", "notebook") from error
    cells = shapes.cells(prediction, by=by)
    center, zoom = shapes.mercator_view(
        shapes.frame(prediction, truth), _WIDTH, _HEIGHT, _ZOOM_STEP
    )
    part = Frame(center[1] - _HALF_WORLD, -90.0, center[1] + _HALF_WORLD, 90.0)
    # Given layers replace the default one, which would ask OpenStreetMap for its tiles.
    world = _map_class()(
        prediction,
        truth,
        by,
        layers=[
            _land(part),
            _cells(cells, part),
            _lines(prediction, truth, part),
            *_markers(prediction, truth, center[1]),
        ],
        center=center,
        zoom=zoom,
        zoom_snap=_ZOOM_STEP,
        min_zoom=1,
        max_zoom=12,
        scroll_wheel_zoom=True,
        attribution_control=False,
        prefer_canvas=True,
        layout={"height": f"{_HEIGHT}px"},
    )
    legend = ipywidgets.HTML(_legend(prediction, cells, with_truth=truth is not None))
    world.add(ipyleaflet.WidgetControl(widget=legend, position="bottomleft"))
    world.add(ipyleaflet.ScaleControl(position="bottomright", imperial=False))
    return world


@cache
def _map_class() -> type[Map]:
    import ipyleaflet

    class DrawnMap(ipyleaflet.Map):  # type: ignore[misc]  # ipyleaflet has no types
        """A map that is a picture where widgets do not run: on GitHub, in nbconvert's pages."""

        def __init__(
            self,
            prediction: Prediction,
            truth: LatLng | None,
            by: Colouring | None,
            **options: Any,
        ) -> None:
            self._drawn = prediction, truth, by
            super().__init__(**options)

        def _repr_mimebundle_(self, **options: Any) -> dict[str, Any]:
            shown: dict[str, Any] = super()._repr_mimebundle_(**options)
            prediction, truth, by = self._drawn
            with suppress(MissingExtraError):
                content = picture.map_png(prediction, truth=truth, by=by)
                shown["image/png"] = base64.b64encode(content).decode("ascii")
            return shown

    return DrawnMap


def _land(part: Frame) -> GeoJSON:
    land, colours = shapes.land(), shapes.palette()
    edge = _EDGE_OF_MERCATOR
    sea = [[part.west, -edge], [part.east, -edge], [part.east, edge], [part.west, edge]]
    features = [_feature("Polygon", [[*sea, sea[0]]], _filled(colours["sea"], 1.0))]
    # Land is edged by its coast. What is cut at ±180° has its coasts drawn apart; not all land has,
    # because the notebook keeps every point.
    cut: list[list[FloatArray]] = []
    whole: list[list[FloatArray]] = []
    for rings in land.polygons:
        at_seam = any((np.abs(ring[:, 0]) == 180).any() for ring in rings)
        (cut if at_seam else whole).append(rings)
    for polygons, edge_colour in ((whole, "coast"), (cut, "land")):
        copies = [
            [_points(shapes.moved(ring, turn)) for ring in rings]
            for rings in polygons
            for turn in shapes.turns(rings[0], part.west, part.east)
        ]
        style = _filled(colours["land"], 1.0) | {"color": colours[edge_colour]}
        features.append(_feature("MultiPolygon", copies, style))
    coasts = [line for rings in cut for ring in rings for line in shapes.coasts(ring)]
    for lines, name in ((land.borders, "border"), (coasts, "coast")):
        strokes = [_points(copy) for line in lines for copy in shapes.copies(line, part)]
        features.append(_feature("MultiLineString", strokes, _stroke(colours[name], 0.8)))
    return _layer(features, "Land")


def _cells(cells: shapes.Cells, part: Frame) -> GeoJSON:
    features = []
    for parts, value, colour, opacity in zip(
        cells.outlines, cells.values, cells.colours, cells.opacities, strict=True
    ):
        copies = [
            [_points(copy)]
            for ring in parts
            for copy in shapes.copies(np.array([*ring, ring[0]]), part)
        ]
        style = _filled(colour, round(float(opacity), 3)) | {"opacity": round(float(opacity), 3)}
        feature = _feature("MultiPolygon", copies, style)
        feature["properties"][cells.by] = float(f"{value:.3g}")
        features.append(feature)
    return _layer(features, "Cells")


def _lines(prediction: Prediction, truth: LatLng | None, part: Frame) -> GeoJSON:
    colours, features = shapes.palette(), []
    drawn: list[tuple[str, FloatArray, dict[str, Any]]] = []
    if shapes.is_marked(prediction):
        first, circles = prediction.mode, shapes.radii(prediction)
        drawn += [
            (
                f"{100 * share:.0f} %",
                shapes.circle(first.lat, first.lng, km),
                _stroke(colours["circle"], 1.8, _DASHES[share]),
            )
            for share, km in circles.items()
        ]
        edges = _stroke(colours["pin"], 1.5)
        outlines = shapes.outlines_of(prediction, prediction.places)
        features.append(_feature("MultiLineString", _copied(outlines, part), edges))
        if not circles:
            area = [[ring] for ring in _copied(shapes.likely_area(prediction), part)]
            shaded = _filled(colours["circle"], 0.16) | {"weight": 0}
            features.append(_feature("MultiPolygon", area, shaded))
    if truth is not None:
        best = prediction.best
        line = shapes.great_circle((best.lat, best.lng), truth)
        drawn.append(("error", line, _stroke(colours["truth"], 2.5, "1 6")))
    for name, line, style in drawn:
        copies = [_points(copy) for copy in shapes.copies(line, part)]
        halo = _stroke(colours["halo"], style["weight"] + 2.7)
        features += [_feature("MultiLineString", copies, look) for look in (halo, style)]
        features[-1]["properties"]["name"] = name
    return _layer(features, "Circles")


def _copied(outlines: shapes.Outlines, part: Frame) -> list[list[list[float]]]:
    return [
        _points(copy) for rings in outlines for ring in rings for copy in shapes.copies(ring, part)
    ]


def _markers(prediction: Prediction, truth: LatLng | None, middle: float) -> list[Marker]:
    best, colours = prediction.best, shapes.palette()
    markers = []
    if truth is not None:
        sign = _sign("◆", colours["pin"], colours["paper"])
        markers.append(
            _marker((best.lat, best.lng), middle, sign, shapes.best_label(prediction), -1000)
        )
        text = shapes.distance_text(shapes.error_km(prediction, truth))
        lng, lat = shapes.great_circle((best.lat, best.lng), truth)[64]
        label = f'<b style="{_LABEL}color:{colours["truth"]}">{text}</b>'
        markers.append(_marker((lat, lng), middle, label, f"Error: {text}", -2000))
        sign = _sign("✕", colours["pin-ink"], colours["truth"])
        markers.append(_marker(truth, middle, sign, f"True place, {text} away", 15_000))
    entries = shapes.telling(prediction, prediction.top_k)
    for entry in reversed(entries):
        sign = _pin(str(entry.rank), colours["pin-ink"], colours["pin"])
        # Better ranks lie on top.
        height = 100 * max(1, 101 - entry.rank)
        spot = (entry.lat, entry.lng)
        markers.append(_marker(spot, middle, sign, shapes.label(entry), height))
    return markers


# Leaflet frames an icon: without a size its frame is a dot, and what it holds is laid around it.
_CENTRED = "position:absolute;transform:translate(-50%,-50%);"
_ABOVE = "position:absolute;transform:translate(-50%,-100%);"
_DISC = (
    "width:22px;height:22px;border:2px solid #fff;border-radius:50%;box-shadow:0 0 2px #000;"
    "text-align:center;font:bold 12px/22px sans-serif;"
)
_SMALL = "font:11px/1.45 sans-serif"
_LABEL = (
    "position:absolute;transform:translate(-50%,-150%);white-space:nowrap;padding:0 4px;"
    "border-radius:4px;background:#ffffffcc;font:bold 12px/1.5 sans-serif;"
)


def _sign(text: str, ink: str, ground: str) -> str:
    return f'<div style="{_CENTRED}{_DISC}background:{ground};color:{ink}">{text}</div>'


def _pin(text: str, ink: str, ground: str) -> str:
    """Return a number on a stem above its place, which it does not hide."""
    return (
        f'<div style="{_ABOVE}"><div style="{_DISC}background:{ground};color:{ink}">{text}</div>'
        f'<div style="width:2px;height:10px;margin:0 auto;background:{ground}"></div></div>'
    )


def _legend(prediction: Prediction, cells: shapes.Cells, *, with_truth: bool) -> str:
    heading, ranges = shapes.legend(cells)
    swatch = "display:inline-block;width:14px;height:11px;margin-right:5px"
    rows = [f'<span style="{swatch};background:{colour}"></span>{text}' for colour, text in ranges]
    signs = []
    if shapes.is_marked(prediction):
        circles = shapes.radii(prediction)
        signs = [f"{_SIGNS[share]} holds {share:.0%}" for share in circles]
        signs = signs or ["shaded: holds 50 %"]
    signs += ["◆ highest expected score", "✕ true place"] * with_truth
    lines = "<br>".join([f"<b>{heading}</b>", *rows, *signs])
    # Maps are light even where the notebook is dark.
    return f'<div style="padding:3px 8px;background:#fff;color:#1c2530;{_SMALL}">{lines}</div>'


def _marker(place: LatLng, middle: float, content: str, text: str, height: int) -> Marker:
    import ipyleaflet
    import ipywidgets

    return ipyleaflet.Marker(
        location=[float(place[0]), float(shapes.nearest_turn(place[1], middle))],
        icon=ipyleaflet.DivIcon(html=content, icon_size=[0, 0]),
        popup=ipywidgets.HTML(html.escape(text)),
        title=text,
        alt=text,
        draggable=False,
        rise_on_hover=True,
        z_index_offset=height,
    )


def _layer(features: list[dict[str, Any]], name: str) -> GeoJSON:
    from ipyleaflet import GeoJSON

    return GeoJSON(data={"type": "FeatureCollection", "features": features}, name=name)


def _feature(kind: str, coordinates: list[Any], style: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "Feature",
        "geometry": {"type": kind, "coordinates": coordinates},
        "properties": {"style": style},
    }


def _filled(colour: str, opacity: float) -> dict[str, Any]:
    # The thin edge closes the seam between neighbours.
    return {"color": colour, "weight": 0.7, "fillColor": colour, "fillOpacity": opacity}


def _stroke(colour: str, weight: float, dashes: str | None = None) -> dict[str, Any]:
    return {
        "color": colour,
        "weight": weight,
        "fill": False,
        "dashArray": dashes,
        "smoothFactor": 0.4,
    }


def _points(line: FloatArray) -> list[list[float]]:
    return np.round(line, _DECIMALS).tolist()  # type: ignore[no-any-return]
