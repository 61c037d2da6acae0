"""The map inside a static picture: land, cells, circles, places and the true place, on axes.

Knows nothing of files, or of what stands around the map. matplotlib must be there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from locationnet.model.prediction import Prediction
from locationnet.viz import shapes
from locationnet.viz.lift_scale import STRONGEST
from locationnet.viz.shapes import Cells, Colouring, Entry, FloatArray, Frame, LatLng, Outlines

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.path import Path as Outline

Extent = Literal["world", "places"]
Dashes = Literal["solid"] | tuple[float, tuple[float, float]]

# Where there are photos to speak of; the rest is shown where something lies on it.
_WORLD = Frame(-180.0, -60.0, 180.0, 78.0)
_MARKER_POINTS = 15.0
# Cells of this colour and up are dots at least: the eye would miss them on a map of the world.
_DOTTED, _DOT_POINTS, _FAINT = 2, 4.5, 0.4
_RING_POINTS = 7.0
# Of how opaque a cell is on land.
_AT_SEA = 0.25
_STYLES: dict[float, Dashes] = {0.9: (0, (5, 3)), 0.5: "solid"}


def draw_map(
    axes: Axes,
    prediction: Prediction,
    truth: LatLng | None,
    part: Frame,
    entries: list[Entry],
    *,
    by: Colouring | None = None,
    legend: bool = True,
) -> None:
    """Draw a part of the world with an answer, numbers at some entries, and its legend below."""
    draw_land(axes, part)
    shown = shapes.cells(prediction, by=by)
    draw_cells(axes, shown, part, fading=True)
    if shown.by == "lift" and not prediction.abstained:
        _draw_raised(axes, shown, part)
    if shapes.is_marked(prediction):
        _draw_likely(axes, prediction, part)
        _outline_places(axes, prediction, part)
    if truth is not None:
        _draw_error(axes, prediction, truth, part)
    _draw_places(axes, entries, prediction, truth, part)
    if legend:
        _draw_legend(axes, prediction, shown, with_truth=truth is not None)


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

    land, colours = shapes.land(), shapes.palette()
    axes.set(xlim=(part.west, part.east), ylim=(part.south, part.north), xticks=[], yticks=[])
    axes.set_aspect(aspect(part))
    axes.set_facecolor(colours["sea"])
    axes.spines[:].set_color(colours["rule"])
    # The thin edge closes the seam between two worlds.
    paper = colours["land"]
    fill = PathCollection(
        _outlines_of_land(part), zorder=1, facecolor=paper, edgecolor=paper, linewidth=0.3
    )
    axes.add_collection(fill, autolim=False)
    coasts = [line for rings in land.polygons for ring in rings for line in shapes.coasts(ring)]
    for lines, name, width in ((land.borders, "border", 0.4), (coasts, "coast", 0.5)):
        copies = [copy for line in lines for copy in shapes.copies(line, part)]
        strokes = LineCollection(copies, colors=colours[name], linewidths=width, zorder=3)
        axes.add_collection(strokes, autolim=False)


def draw_cells(
    axes: Axes,
    shown: Cells,
    part: Frame,
    *,
    edge: str | None = None,
    width: float = 0.4,
    fading: bool = False,
) -> None:
    """Draw cells on a map, between land and coasts; their edges in one colour, or in their own.

    Where they are `fading`, the sea shows through them.
    """
    from matplotlib.collections import PolyCollection
    from matplotlib.colors import to_rgba_array
    from matplotlib.path import Path as Outline

    drawn = [
        (copy, colour, opacity)
        for parts, colour, opacity in zip(
            shown.outlines, shown.colours, shown.opacities, strict=True
        )
        for ring in parts
        for copy in shapes.copies(np.array(ring), part)
    ]
    opacities = np.array([opacity for *_, opacity in drawn])
    # Faintly everywhere, and once more where there is land: together as opaque as they should be.
    faint = _AT_SEA * opacities
    layers = {"sea": faint, "land": 1 - (1 - opacities) / (1 - faint)}
    for name, alphas in (layers if fading else {"all": opacities}).items():
        fills = to_rgba_array([colour for _, colour, _ in drawn], alphas)
        collection = PolyCollection(
            [ring for ring, *_ in drawn],
            facecolors=fills,
            edgecolors=edge or fills,
            linewidths=width,
            zorder=2,
        )
        collection.set_gid(f"cells of {name}")
        axes.add_collection(collection, autolim=False)
        if name == "land":
            coast = Outline.make_compound_path(*_outlines_of_land(part))
            collection.set_clip_path(coast, axes.transData)


def _whole(rings: list[FloatArray], turn: float = 0.0) -> Outline:
    from matplotlib.path import Path as Outline

    return Outline.make_compound_path(
        *(Outline(shapes.moved(ring, turn), closed=True) for ring in rings)
    )


def _outlines_of_land(part: Frame) -> list[Outline]:
    return [
        _whole(rings, turn)
        for rings in shapes.land().polygons
        for turn in shapes.turns(rings[0], part.west, part.east)
    ]


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


def _draw_raised(axes: Axes, shown: Cells, part: Frame) -> None:
    """Draw a dot where a cell that the photo raised much is too small or too faint to be seen."""
    strong = {shapes.palette()[f"lift-{shade}"] for shade in range(_DOTTED, shapes.COLOURS)}
    scale = _points_per_degree(axes, part)
    found = [
        ((_seen(lng, part), lat), colour)
        for (ring, *_), (lng, lat), colour, opacity in zip(
            shown.outlines, shown.centroids, shown.colours, shown.opacities, strict=True
        )
        if colour in strong
        and (opacity < _FAINT or (np.ptp(ring, axis=0) * scale).max() < _DOT_POINTS)
    ]
    if found:
        spots, colours = zip(*found, strict=True)
        lng, lat = np.transpose(spots)
        dots = axes.scatter(lng, lat, _DOT_POINTS**2, colours, zorder=3.5, linewidths=0)
        dots.set_gid("raised")


def _draw_likely(axes: Axes, prediction: Prediction, part: Frame) -> None:
    """Draw the circles around the first place; where they say nothing, the area that holds half."""
    first, circles = prediction.mode, shapes.radii(prediction)
    for share, km in circles.items():
        ring = shapes.circle(first.lat, first.lng, km)
        _draw_line(axes, ring, part, shapes.palette()["circle"], 1.4, _STYLES[share])
    if not circles:
        _draw_area(axes, shapes.likely_area(prediction), part)


def _draw_area(axes: Axes, outlines: Outlines, part: Frame) -> None:
    from matplotlib.collections import PolyCollection

    area = PolyCollection(
        [copy for rings in outlines for ring in rings for copy in shapes.copies(ring, part)],
        zorder=2.5,
        **_hatched(),
    )
    area.set_gid("likely area")
    axes.add_collection(area, autolim=False)


def _hatched() -> dict[str, Any]:
    from matplotlib.colors import to_rgba

    colour = to_rgba(shapes.palette()["circle"], 0.45)
    return {"facecolor": "none", "edgecolor": colour, "hatch": "/" * 7, "linewidth": 0}


def _outline_places(axes: Axes, prediction: Prediction, part: Frame) -> None:
    from matplotlib.collections import LineCollection

    scale = _points_per_degree(axes, part)
    lines = [
        copy
        for rings in shapes.outlines_of(prediction, prediction.places)
        for ring in rings
        if _is_seen(ring, scale)
        for copy in shapes.copies(ring, part)
    ]
    outlines = LineCollection(lines, colors=shapes.palette()["pin"], linewidths=1.3, zorder=4)
    outlines.set_gid("top places")
    axes.add_collection(outlines, autolim=False)


def _draw_places(
    axes: Axes,
    entries: list[Entry],
    prediction: Prediction,
    truth: LatLng | None,
    part: Frame,
) -> None:
    colours = shapes.palette()
    spots = [(_seen(entry.lng, part), entry.lat) for entry in entries]
    scale = _points_per_degree(axes, part)
    # A ring around what is too small for its outline to be seen.
    small = [
        spot
        for spot, rings in zip(spots, shapes.outlines_of(prediction, entries), strict=True)
        if not any(_is_seen(ring, scale) for ring in rings)
    ]
    axes.plot(*np.reshape(small, (-1, 2)).T, "o", markersize=_RING_POINTS, zorder=6, **_ring())
    # Numbers stand beside what they mean, and off the best guess and the true place.
    fixed = list(spots)
    if truth is not None:
        best = prediction.best
        fixed += [(_seen(best.lng, part), best.lat), (_seen(truth[1], part), truth[0])]
        axes.plot(
            *fixed[-2], "D", color="white", markeredgecolor=colours["pin"], markersize=6, zorder=6
        )
    corners = np.array([[part.west, part.south], [part.east, part.north]]) * scale
    offsets = _beside(
        np.reshape(spots, (-1, 2)) * scale, np.reshape(fixed, (-1, 2)) * scale, corners
    )
    for entry, spot, offset in zip(entries, spots, offsets, strict=True):
        axes.annotate(
            str(entry.rank),
            spot,
            xytext=tuple(offset),
            textcoords="offset points",
            ha="center",
            va="center",
            fontsize=8,
            fontweight="bold",
            color=colours["pin-ink"],
            zorder=8 - entry.rank / 200,
            bbox={
                "boxstyle": "circle,pad=0.25",
                "facecolor": colours["pin"],
                "edgecolor": "white",
            },
            arrowprops={"arrowstyle": "-", "color": colours["pin"], "linewidth": 0.9},
        )


def _is_seen(ring: FloatArray, scale: FloatArray) -> bool:
    """Whether a cell is wide enough on the map for its outline to be told from a dot."""
    return bool((np.ptp(ring, axis=0) * scale).max() > _RING_POINTS)


def _ring() -> dict[str, Any]:
    colour = shapes.palette()["pin"]
    return {
        "color": "none", "markerfacecolor": "none", "markeredgecolor": colour,
        "markeredgewidth": 1.2,
    }  # fmt: skip


def _beside(points: FloatArray, fixed: FloatArray, corners: FloatArray) -> FloatArray:
    """Return where to put markers beside their points, best rank first, so that none hides another.

    All in points of 1/72 inch, float64 ``(…, 2)``; `fixed` is what they may not hide, `corners` the
    lower left and upper right of the map. A marker that finds no room stands to the right.
    """
    placed, offsets = fixed, np.full_like(points, [1.3 * _MARKER_POINTS, 0])
    bearings = np.radians(np.arange(30, 390, 30))
    distances = _MARKER_POINTS * np.array([1.3, 2.4, 3.5])
    around = np.stack([np.sin(bearings), np.cos(bearings)], axis=-1)
    candidates = (distances[:, None, None] * around).reshape(-1, 2)
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


def _draw_legend(axes: Axes, prediction: Prediction, shown: Cells, *, with_truth: bool) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    colours = shapes.palette()
    heading, ranges = shapes.legend(shown)
    handles: list[Any] = [Patch(alpha=0, label=heading)]
    handles += [Patch(facecolor=colour, alpha=STRONGEST, label=text) for colour, text in ranges]
    is_marked = shapes.is_marked(prediction)
    circles = shapes.radii(prediction) if is_marked else {}
    if shapes.is_marked(prediction):
        ring = Line2D([], [], marker="o", markersize=_RING_POINTS, label="top", **_ring())
        handles.append(ring)
    handles += [
        Line2D([], [], color=colours["circle"], linestyle=_STYLES[share], label=f"{share:.0%}")
        for share in circles
    ]
    if not circles and is_marked:
        handles.append(Patch(label="holds 50 %", **_hatched()))
    if with_truth:
        handles += [
            Line2D(
                [], [], marker="D", markersize=6, label="best",
                **_ring() | {"markerfacecolor": "white"},
            ),
            Line2D(
                [], [], marker="X", markersize=8, color=colours["truth"], linestyle="none",
                label="true place",
            ),
        ]  # fmt: skip
    axes.legend(
        handles=handles,
        loc="upper center",
        bbox_to_anchor=(0.5, -0.005),
        ncols=len(handles),
        frameon=False,
        fontsize=8,
        handlelength=1.5,
        columnspacing=0.9,
        handletextpad=0.5,
    )


def figure_of(axes: Axes) -> Figure:
    """Return the whole figure that axes belong to."""
    figure = axes.get_figure(root=True)
    if figure is None:
        raise ValueError("the axes belong to no figure")
    return figure
