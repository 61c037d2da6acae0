"""The map inside a static picture: land, cells, circles, places and the true place, on axes.

Knows nothing of files, or of what stands around the map. matplotlib must be there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from locationnet.model.prediction import Prediction
from locationnet.viz import shapes
from locationnet.viz.shapes import Cells, FloatArray, Frame, LatLng

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Extent = Literal["world", "places"]
Dashes = Literal["solid"] | tuple[float, tuple[float, float]]

# Antarctica has no photos to speak of; it is shown where something lies on it.
_WORLD = Frame(-180.0, -60.0, 180.0, 85.0)
# Further ranks would only cover the map.
_NUMBERED = 20
_MARKER_POINTS = 15.0
ALPHA = 0.75


def draw_map(axes: Axes, prediction: Prediction, truth: LatLng | None, part: Frame) -> None:
    """Draw a part of the world with an answer, its legend below and its radii above."""
    colours = shapes.palette()
    draw_land(axes, part)
    shown = shapes.cells(prediction)
    draw_cells(axes, shown, part)
    best = prediction.best
    styles: list[tuple[float, Dashes]] = [(0.9, (0, (5, 3))), (0.5, "solid")]
    for share, dashes in styles:
        ring = shapes.circle(best.lat, best.lng, shapes.radius(prediction, share))
        _draw_line(axes, ring, part, colours["circle"], 1.4, dashes)
    if truth is not None:
        _draw_error(axes, prediction, truth, part)
    _draw_places(axes, prediction, truth, part)
    _draw_legend(axes, shapes.colour_ranges(shown), with_truth=truth is not None)
    _draw_title(axes, prediction)


def frame(prediction: Prediction, truth: LatLng | None, extent: Extent) -> Frame:
    """Return the part of the world to draw."""
    part = shapes.frame(prediction, truth)
    if extent == "world":
        far_south, far_north = part.south < _WORLD.south, part.north > _WORLD.north
        return _WORLD._replace(
            south=-90.0 if far_south else _WORLD.south, north=90.0 if far_north else _WORLD.north
        )
    # A margin for the markers, and at least a coastline's width of land around a single place.
    tall = min(170.0, max(1.25 * (part.north - part.south), 3.0))
    wide = max(1.25 * (part.east - part.west), 1.8 * tall * aspect(part))
    wide, tall = min(360.0, wide), max(tall, min(wide, 360.0) / 3.2)
    middle = (part.west + part.east) / 2
    south = float(np.clip((part.south + part.north - tall) / 2, -90, 90 - tall))
    return Frame(middle - wide / 2, south, middle + wide / 2, south + tall)


def aspect(part: Frame) -> float:
    """Return how much longer a degree of latitude is drawn than one of longitude."""
    if part.east - part.west >= 360:
        return 1.0
    # Equal steps on the ground are equal on the paper in the middle of the map.
    return float(1 / np.cos(np.radians(np.clip((part.south + part.north) / 2, -70, 70))))


def draw_land(axes: Axes, part: Frame) -> None:
    """Turn axes into a map of a part of the world: sea, land, coasts and borders."""
    from matplotlib.collections import LineCollection, PathCollection
    from matplotlib.path import Path as Outline

    land, colours = shapes.land(), shapes.palette()
    axes.set(xlim=(part.west, part.east), ylim=(part.south, part.north), xticks=[], yticks=[])
    axes.set_aspect(aspect(part))
    axes.set_facecolor(colours["sea"])
    axes.spines[:].set_color(colours["rule"])
    outlines = [
        Outline.make_compound_path(
            *(Outline(shapes.moved(ring, turn), closed=True) for ring in rings)
        )
        for rings in land.polygons
        for turn in shapes.turns(rings[0], part.west, part.east)
    ]
    # The thin edge closes the seam between two worlds.
    paper = colours["land"]
    fill = PathCollection(outlines, zorder=1, facecolor=paper, edgecolor=paper, linewidth=0.3)
    axes.add_collection(fill, autolim=False)
    coasts = [line for rings in land.polygons for ring in rings for line in shapes.coasts(ring)]
    for lines, name, width in ((land.borders, "border", 0.4), (coasts, "coast", 0.5)):
        copies = [copy for line in lines for copy in shapes.copies(line, part)]
        strokes = LineCollection(copies, colors=colours[name], linewidths=width, zorder=3)
        axes.add_collection(strokes, autolim=False)


def draw_cells(
    axes: Axes, shown: Cells, part: Frame, *, edge: str | None = None, width: float = 0.4
) -> None:
    """Draw cells on a map, between land and coasts; their edges in one colour, or in their own."""
    from matplotlib.collections import PolyCollection

    drawn = [
        (copy, colour)
        for parts, colour in zip(shown.outlines, shown.colours, strict=True)
        for ring in parts
        for copy in shapes.copies(np.array(ring), part)
    ]
    fills = [colour for _, colour in drawn]
    collection = PolyCollection(
        [ring for ring, _ in drawn],
        facecolors=fills,
        edgecolors=edge or fills,
        linewidths=width,
        alpha=ALPHA,
        zorder=2,
    )
    collection.set_gid("cells")
    axes.add_collection(collection, autolim=False)


def _draw_line(
    axes: Axes, line: FloatArray, part: Frame, colour: str, width: float, dashes: Dashes
) -> None:
    from matplotlib.collections import LineCollection

    copies = shapes.copies(line, part)
    halo = shapes.palette()["halo"]
    for stroke, thick, style in ((halo, width + 2, "solid"), (colour, width, dashes)):
        strokes = LineCollection(copies, color=stroke, linewidth=thick, capstyle="round", zorder=4)
        strokes.set_linestyle(style)
        axes.add_collection(strokes, autolim=False)


def _draw_error(axes: Axes, prediction: Prediction, truth: LatLng, part: Frame) -> None:
    best, colour = prediction.best, shapes.palette()["truth"]
    line = shapes.great_circle((best.lat, best.lng), truth)
    _draw_line(axes, line, part, colour, 1.8, (0, (0.1, 2)))
    lng = _seen(truth[1], part)
    axes.plot(lng, truth[0], "X", color=colour, markeredgecolor="white", markersize=11, zorder=6)
    middle_lng, middle_lat = line[len(line) // 2]
    middle_lng = _seen(middle_lng, part)
    # Not over the edge of the map, where the label would be cut.
    margin = 0.05 * (part.east - part.west)
    across = np.digitize(middle_lng, [part.west + margin, part.east - margin])
    axes.annotate(
        shapes.distance_text(shapes.error_km(prediction, truth)),
        (middle_lng, middle_lat),
        xytext=(0, 9),
        textcoords="offset points",
        ha=("left", "center", "right")[int(across)],
        va="bottom",
        fontsize=9,
        fontweight="bold",
        color=colour,
        zorder=9,
        bbox={"boxstyle": "round,pad=0.2", "facecolor": "white", "edgecolor": "none", "alpha": 0.8},
    )


def _draw_places(axes: Axes, prediction: Prediction, truth: LatLng | None, part: Frame) -> None:
    colours = shapes.palette()
    best = prediction.best
    lng = _seen(best.lng, part)
    axes.plot(
        lng,
        best.lat,
        "D",
        color="white",
        markeredgecolor=colours["pin"],
        markersize=10,
        markeredgewidth=1.6,
        zorder=6,
    )
    places = prediction.places[:_NUMBERED]
    spots = [(_seen(place.lng, part), place.lat) for place in places]
    # The numbers make way for the best guess and the true place, which stay where they are.
    fixed = [(lng, best.lat)] + ([(_seen(truth[1], part), truth[0])] if truth is not None else [])
    scale = _points_per_degree(axes, part)
    corners = np.array([[part.west, part.south], [part.east, part.north]]) * scale
    offsets = _apart(np.array(spots) * scale, np.array(fixed) * scale, corners)
    for place, spot, offset in zip(places, spots, offsets, strict=True):
        axes.annotate(
            str(place.rank),
            spot,
            xytext=tuple(offset),
            textcoords="offset points",
            ha="center",
            va="center",
            fontsize=8,
            fontweight="bold",
            color=colours["pin-ink"],
            zorder=8 - place.rank / 200,
            bbox={
                "boxstyle": "circle,pad=0.25",
                "facecolor": colours["pin"],
                "edgecolor": "white",
            },
            arrowprops={"arrowstyle": "-", "color": colours["pin"], "linewidth": 0.9}
            if offset.any()
            else None,
        )


def _apart(points: FloatArray, fixed: FloatArray, corners: FloatArray) -> FloatArray:
    """Return how to move markers, best rank first, so that none hides another.

    All in points of 1/72 inch, float64 ``(…, 2)``; `fixed` are markers that stay, `corners` the
    lower left and upper right of the map. A marker that finds no room nearby stays as well.
    """
    placed, offsets = fixed, np.zeros_like(points)
    bearings = np.radians(np.arange(0, 360, 30))
    distances = _MARKER_POINTS * np.array([1.3, 2.4, 3.5])
    around = np.stack([np.sin(bearings), np.cos(bearings)], axis=-1)
    candidates = [np.zeros(2), *(distances[:, None, None] * around).reshape(-1, 2)]
    low, high = corners[0] + _MARKER_POINTS / 2, corners[1] - _MARKER_POINTS / 2
    for index, point in enumerate(points):
        for offset in candidates:
            spot = point + offset
            apart = np.hypot(*(placed - spot).T) >= _MARKER_POINTS
            if apart.all() and (low <= spot).all() and (spot <= high).all():
                offsets[index] = offset
                break
        placed = np.concatenate([placed, [point + offsets[index]]])
    return offsets


def _points_per_degree(axes: Axes, part: Frame) -> FloatArray:
    """Estimate the map's scale before it is laid out: longitude and latitude."""
    figure, box, aspect = figure_of(axes), axes.get_position(), float(axes.get_aspect())
    wide, tall = figure.get_size_inches() * 72 * [box.width, box.height]
    scale = min(wide / (part.east - part.west), tall / (part.north - part.south) / aspect)
    return np.array([scale, scale * aspect])


def _seen(lng: float, part: Frame) -> float:
    return float(shapes.nearest_turn(lng, (part.west + part.east) / 2))


def _draw_legend(axes: Axes, ranges: dict[str, str], *, with_truth: bool) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    colours = shapes.palette()
    cells = [Patch(facecolor=colour, alpha=ALPHA, label=text) for colour, text in ranges.items()]
    cells.insert(0, Patch(alpha=0, label="Cell, %:"))
    pin: dict[str, Any] = {
        "marker": "D",
        "color": "none",
        "markeredgecolor": colours["pin"],
        "markersize": 8,
    }
    signs = [
        Line2D([], [], label="best guess", markerfacecolor="white", **pin),
        Line2D([], [], color=colours["circle"], label="holds 50 %"),
        Line2D([], [], color=colours["circle"], linestyle=(0, (5, 3)), label="holds 90 %"),
    ]
    if with_truth:
        sign: dict[str, Any] = {"marker": "X", "color": colours["truth"], "linestyle": "none"}
        signs.append(Line2D([], [], label="true place", markersize=8, **sign))
    axes.legend(
        handles=[*cells, *signs],
        loc="upper center",
        bbox_to_anchor=(0.5, -0.005),
        ncols=len(cells) + len(signs),
        frameon=False,
        fontsize=8,
        handlelength=1.9,
        columnspacing=0.8,
        handletextpad=0.5,
    )


def _draw_title(axes: Axes, prediction: Prediction) -> None:
    radii = " · ".join(
        f"{100 * share:.0f} % within {shapes.distance_text(prediction.radius_km(share))}"
        for share in (0.5, 0.9)
    )
    if prediction.abstained:
        text = f"The photo says too little about its place · {radii}"
    else:
        text = f"Best guess: {shapes.title(prediction.best)} · {radii}"
    axes.set_title(text, loc="left", fontsize=10, color=shapes.palette()["ink"], parse_math=False)


def figure_of(axes: Axes) -> Figure:
    """Return the whole figure that axes belong to."""
    figure = axes.get_figure(root=True)
    if figure is None:
        raise ValueError("the axes belong to no figure")
    return figure
