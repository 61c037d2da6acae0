"""Show an answer as a map in a notebook: Leaflet by default, offline and without any key.

Knows nothing of how Google's maps are made, only when to ask for one.
"""

from __future__ import annotations

import html
import os
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

from locationnet.errors import MissingExtraError
from locationnet.model.prediction import Place, Prediction
from locationnet.viz import shapes
from locationnet.viz.shapes import FloatArray, Frame, LatLng

if TYPE_CHECKING:
    from ipyleaflet import GeoJSON, Marker

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


def show_map(
    prediction: Prediction,
    *,
    truth: LatLng | None = None,
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

        return google.figure(prediction, google_key, truth=truth)
    try:
        import ipyleaflet
        import ipywidgets
    except ImportError as error:
        raise MissingExtraError("drawing maps", "notebook") from error
    cells = shapes.cells(prediction)
    center, zoom = shapes.mercator_view(
        shapes.frame(prediction, truth), _WIDTH, _HEIGHT, _ZOOM_STEP
    )
    part = Frame(center[1] - _HALF_WORLD, -90.0, center[1] + _HALF_WORLD, 90.0)
    # Given layers replace the default one, which would ask OpenStreetMap for its tiles.
    world = ipyleaflet.Map(
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
    legend = ipywidgets.HTML(_legend(cells, with_truth=truth is not None))
    world.add(ipyleaflet.WidgetControl(widget=legend, position="bottomleft"))
    world.add(ipyleaflet.ScaleControl(position="bottomright", imperial=False))
    return world


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
    for parts, probability, colour in zip(*cells, strict=True):
        copies = [
            [_points(copy)]
            for ring in parts
            for copy in shapes.copies(np.array([*ring, ring[0]]), part)
        ]
        feature = _feature("MultiPolygon", copies, _filled(colour, 0.72))
        feature["properties"]["probability"] = float(f"{probability:.3g}")
        features.append(feature)
    return _layer(features, "Cells")


def _lines(prediction: Prediction, truth: LatLng | None, part: Frame) -> GeoJSON:
    best, colours = prediction.best, shapes.palette()
    drawn: list[tuple[str, FloatArray, dict[str, Any]]] = [
        (
            f"{100 * share:.0f} %",
            shapes.circle(best.lat, best.lng, shapes.radius(prediction, share)),
            _stroke(colours["circle"], 1.8, dashes),
        )
        for share, dashes in ((0.9, "5 7"), (0.5, None))
    ]
    if truth is not None:
        line = shapes.great_circle((best.lat, best.lng), truth)
        drawn.append(("error", line, _stroke(colours["truth"], 2.5, "1 6")))
    features = []
    for name, line, style in drawn:
        copies = [_points(copy) for copy in shapes.copies(line, part)]
        halo = _stroke(colours["halo"], style["weight"] + 2.7)
        features += [_feature("MultiLineString", copies, look) for look in (halo, style)]
        features[-1]["properties"]["name"] = name
    return _layer(features, "Circles")


def _markers(prediction: Prediction, truth: LatLng | None, middle: float) -> list[Marker]:
    best, colours = prediction.best, shapes.palette()
    markers = [
        _marker(
            (best.lat, best.lng),
            middle,
            _sign("◆", colours["pin"], colours["paper"]),
            f"Best single guess: {shapes.title(best)}",
            -1000,
        )
    ]
    if truth is not None:
        text = shapes.distance_text(shapes.error_km(prediction, truth))
        lng, lat = shapes.great_circle((best.lat, best.lng), truth)[64]
        label = f'<b style="{_LABEL}color:{colours["truth"]}">{text}</b>'
        markers.append(_marker((lat, lng), middle, label, f"Error: {text}", -2000))
        sign = _sign("✕", colours["pin-ink"], colours["truth"])
        markers.append(_marker(truth, middle, sign, f"True place, {text} away", 15_000))
    for place in reversed(prediction.places):
        sign = _sign(str(place.rank), colours["pin-ink"], colours["pin"])
        # Better ranks lie on top.
        height = 100 * max(1, 101 - place.rank)
        marker = _marker((place.lat, place.lng), middle, sign, _text(place), height)
        markers.append(marker)
    return markers


# Leaflet frames an icon: without a size its frame is a dot, and what it holds is laid around it.
_CENTRED = "position:absolute;transform:translate(-50%,-50%);text-align:center;"
_SMALL = "font:11px/1.45 sans-serif"
_LABEL = (
    "position:absolute;transform:translate(-50%,-150%);white-space:nowrap;padding:0 4px;"
    "border-radius:4px;background:#ffffffcc;font:bold 12px/1.5 sans-serif;"
)


def _sign(text: str, ink: str, ground: str) -> str:
    return (
        f'<div style="{_CENTRED}width:22px;height:22px;border:2px solid #fff;border-radius:50%;'
        f"box-shadow:0 0 2px #000;background:{ground};color:{ink};"
        f'font:bold 12px/22px sans-serif">{text}</div>'
    )


def _legend(cells: shapes.Cells, *, with_truth: bool) -> str:
    ranges = shapes.colour_ranges(cells).items()
    swatch = "display:inline-block;width:14px;height:11px;margin-right:5px"
    rows = [f'<span style="{swatch};background:{colour}"></span>{text}' for colour, text in ranges]
    signs = ["◆ best guess", "— holds 50 %", "- - holds 90 %"] + ["✕ true place"] * with_truth
    lines = "<br>".join(["<b>Cell, %</b>", *rows, *signs])
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


def _text(place: Place) -> str:
    return f"{place.rank}. {shapes.title(place)} · {shapes.percent_text(place.probability)}"


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
