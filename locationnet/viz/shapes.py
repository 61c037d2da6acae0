"""What every map draws of an answer: its colours, circles, lines and land, as plain arrays.

Knows nothing of matplotlib, of Jupyter or of Google. Longitudes of a line run on past ±180° instead
of jumping, so that whoever draws it can cut, wrap or repeat it.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from functools import cache
from itertools import pairwise
from operator import itemgetter
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from locationnet.geo import s2, sphere
from locationnet.model import heatmap
from locationnet.model.heatmap import SHARE, top_cells
from locationnet.model.prediction import TELLING_KM, Place, Prediction
from locationnet.model.rollups import Group
from locationnet.model.summary import percent_text, times_text
from locationnet.viz import assets, lift_scale, payload

FloatArray = NDArray[np.float64]
LatLng = tuple[float, float]
Outlines = list[list[FloatArray]]
Colouring = Literal["lift", "probability"]

COLOURS = 6
# What a picture's list names; further ranks would only cover the map.
LISTED = 6
_PRIOR = "Without a photo: where photos are taken"
_RULE = re.compile(r":root\s*\{(.*?)\}", re.DOTALL)
_VARIABLE = re.compile(r"--([\w-]+):\s*(#[0-9a-f]{6})\b")
# Web Mercator ends here; it also makes the far north and south too large to frame.
_MERCATOR_LIMITS = (-65.0, 78.0)
_TILE_PIXELS = 256


class Frame(NamedTuple):
    """A part of the world, degrees; `west` and `east` may lie beyond ±180°."""

    west: float
    south: float
    east: float
    north: float


class Entry(NamedTuple):
    """A city, country or place of an answer's list; `lat` and `lng` are its likeliest cell's."""

    rank: int
    name: str
    probability: float
    lift: float
    cells: int
    class_index: int
    lat: float
    lng: float


class Cells(NamedTuple):
    """Cells to draw, the least probable first, so that what matters lies on top.

    `outlines` holds for each its open rings of [lng, lat], cut at ±180°; `centroids` are lng and
    lat, float64 ``(cells, 2)``; `values`, probabilities or lifts as `by` says, and `opacities`, 0
    to 1, are float64 ``(cells,)``; `colours` are ``#rrggbb``.
    """

    outlines: list[list[list[list[float]]]]
    centroids: FloatArray
    values: FloatArray
    colours: list[str]
    opacities: FloatArray
    by: Colouring


class Land(NamedTuple):
    """Polygons as lists of closed rings (first the outer one, holes run backwards), and lines.

    Each ring and line is float64 ``(points, 2)``: longitude and latitude, degrees, within ±180°.
    """

    polygons: list[list[FloatArray]]
    borders: list[FloatArray]


@cache
def palette() -> dict[str, str]:
    """Return the light colours of ``map.css``, ``#rrggbb`` by name, the same for all maps."""
    rule = _RULE.search(assets.style())
    return dict(_VARIABLE.findall(rule[1] if rule else ""))


def colour_steps(probabilities: ArrayLike) -> list[float]:
    """Return the probabilities at which one of the `COLOURS` colours ends and the next begins.

    As in ``map.js``: equal ratios from the least to the most probable cell. Nearly equal cells stay
    pale, and what is far below the top shares the palest colour.

    Parameters
    ----------
    probabilities
        float64 ``(cells,)``, above 0, at least one.
    """
    low, top = float(np.min(probabilities)), float(np.max(probabilities))
    ratio = max(1.3, min(3.0, (top / low) ** (1 / COLOURS)))
    least = max(low, top / ratio**COLOURS)
    return [float(f"{least * ratio**step:.2g}") for step in range(1, COLOURS)]


def is_prior(prediction: Prediction) -> bool:
    """Return whether this is an answer without a photo: it has places, but nothing was raised."""
    return np.array_equal(prediction.probabilities, prediction.prior)


def headline(prediction: Prediction) -> str:
    """Return what stands above a map."""
    return _PRIOR if is_prior(prediction) else prediction.summary


def is_marked(prediction: Prediction) -> bool:
    """Return whether a map marks places: not where the photo does not say where it was taken."""
    return is_prior(prediction) or not prediction.abstained


def cells(
    prediction: Prediction, limit: int = payload.MAX_CELLS, *, by: Colouring | None = None
) -> Cells:
    """Return the cells that hold most of the probability, at most `limit`.

    Colours stand for lifts, of an answer without a photo for probabilities, unless `by` says which.
    """
    by = by or ("probability" if is_prior(prediction) else "lift")
    classes = top_cells(prediction.probabilities, SHARE, limit)[::-1]
    probabilities, lifts = prediction.probabilities[classes], prediction.lifts[classes]
    abstained = by == "lift" and prediction.abstained
    # Colours of probabilities say already how probable a cell is, but not how large.
    weights = probabilities if by == "lift" else np.ones(len(classes))
    levels = prediction.grid.levels[classes].astype(np.int64)
    opacities = lift_scale.opacities(weights, levels, abstained=abstained)
    if by == "lift":
        values = lifts
        shades = lift_scale.shades(values, abstained=abstained)
    else:
        values = probabilities
        shades = np.searchsorted(colour_steps(values), values, side="right")
    name = {"lift": "lift", "probability": "cell"}[by]
    colours = [palette()[f"{name}-{shade}"] for shade in shades]
    grid = prediction.grid
    centroids = np.stack([grid.lng[classes], grid.lat[classes]], axis=-1)
    return Cells(payload.outlines(grid.ids[classes]), centroids, values, colours, opacities, by)


def legend(drawn: Cells) -> tuple[str, list[tuple[str, str]]]:
    """Return what the colours mean, and colours with the values that they stand for.

    Those of lifts are the whole scale, the same on every map; those of probabilities the ones in
    use.
    """
    if drawn.by == "lift":
        steps = [f"{step:g}" for step in lift_scale.lift_steps()]
        between = [f"{low}–{high}" for low, high in pairwise(steps)]
        names = [f"below {steps[0]}", *between, f"{steps[-1]} or more"]
        colours = [palette()[f"lift-{shade}"] for shade in range(len(names))]
        return "Times as likely as without the photo:", list(zip(colours, names, strict=True))
    ranges: dict[str, list[str]] = {}
    for colour, value in sorted(zip(drawn.colours, drawn.values, strict=True), key=itemgetter(1)):
        ranges.setdefault(colour, []).append(f"{float(f'{100 * value:.2g}'):g}")
    texts = [own[0] if own[0] == own[-1] else f"{own[0]}–{own[-1]}" for own in ranges.values()]
    return "Cell, %:", list(zip(ranges, texts, strict=True))


def likely_area(prediction: Prediction) -> Outlines:
    """Return the outlines of the least area that holds half of the probability."""
    return _outlines(heatmap.likely_area(prediction))


def outlines_of(prediction: Prediction, places: Sequence[Place | Entry]) -> Outlines:
    """Return the outlines of places' cells."""
    return _outlines(prediction.grid.ids[[place.class_index for place in places]])


def _outlines(ids: s2.Ids) -> Outlines:
    return [[np.array([*ring, ring[0]]) for ring in rings] for rings in payload.outlines(ids)]


def circle(lat: float, lng: float, km: float, points: int = 181) -> FloatArray:
    """Return the points `km` from a place, in order: float64 ``(points, 2)``, lng and lat, degrees.

    The line ends where it began, or 360° further where the circle holds a pole.
    """
    # From due east: due north and south may lie beyond a pole, where ±180° are the same.
    bearing = np.radians(90.0) + np.linspace(0, 2 * np.pi, points)
    return _unwrapped(*sphere.destination(lat, lng, bearing, km))


def great_circle(start: LatLng, end: LatLng, points: int = 129) -> FloatArray:
    """Return the shortest way from `start` to `end`, (lat, lng): float64 ``(points, 2)``, lng, lat.

    Between antipodes every way is as short; one of them is returned.
    """
    a, b = sphere.unit_vectors(*start), sphere.unit_vectors(*end)
    # Gram and Schmidt: the direction in which to leave `a`.
    ahead = b - (a @ b) * a
    if np.linalg.norm(ahead) < 1e-9:
        ahead = np.cross(a, np.eye(3)[np.argmin(np.abs(a))])
    ahead /= np.linalg.norm(ahead)
    angle = math.atan2(float(np.linalg.norm(np.cross(a, b))), float(a @ b))
    along = np.linspace(0, angle, points)[:, None]
    line = _unwrapped(*sphere.direction_degrees(np.cos(along) * a + np.sin(along) * ahead))
    return moved(line, start[1] - line[0, 0])


def nearest_turn(lng: ArrayLike, to: float) -> FloatArray:
    """Return longitudes moved by full turns to within 180° of `to`, degrees."""
    lng = np.asarray(lng, np.float64)
    return np.asarray(lng + 360 * np.round((to - lng) / 360))


def turns(line: FloatArray, west: float, east: float) -> list[float]:
    """Return by how many degrees to move a line so that each of its copies meets a range."""
    low, high = float(line[:, 0].min()), float(line[:, 0].max())
    first, last = math.ceil((west - high) / 360), math.floor((east - low) / 360)
    return [360.0 * turn for turn in range(first, last + 1)]


def moved(line: FloatArray, turn: float) -> FloatArray:
    """Return a line moved eastwards by degrees."""
    return np.asarray(line + np.array([turn, 0.0]))


def copies(line: FloatArray, part: Frame) -> list[FloatArray]:
    """Repeat a line every 360°, wherever a part of the world shows it."""
    return [moved(line, turn) for turn in turns(line, part.west, part.east)]


def frame(prediction: Prediction, truth: LatLng | None = None) -> Frame:
    """Return the part of the world with the places, the smallest circle and the error line.

    Raises
    ------
    ValueError
        `truth` is not a latitude and longitude.
    """
    if truth is not None and not (abs(truth[0]) <= 90 and math.isfinite(truth[1])):
        raise ValueError(f"truth is (latitude, longitude) in degrees, not {truth}")
    first, best = prediction.mode, prediction.best
    points = [np.array([[place.lng, place.lat]]) for place in prediction.places]
    points += [np.array([[one.lng, one.lat]]) for one in telling(prediction, LISTED)]
    points += [circle(first.lat, first.lng, km) for km in radii(prediction).values()][:1]
    if truth is not None:
        points.append(great_circle((best.lat, best.lng), truth))
    lng, lat = np.concatenate(points).T
    lng = nearest_turn(lng, first.lng)
    return Frame(float(lng.min()), float(lat.min()), float(lng.max()), float(lat.max()))


def mercator_view(
    part: Frame, width: float, height: float, step: float = 1.0
) -> tuple[LatLng, float]:
    """Return the centre (lat, lng) and the zoom level at which a web map shows a part.

    Parameters
    ----------
    part
        What to show.
    width, height
        Of the map, pixels.
    step
        Zoom levels are multiples of it, from 1 to 9.
    """
    low, high = np.clip([part.south, part.north], *_MERCATOR_LIMITS)
    bottom, top = (math.asinh(math.tan(math.radians(lat))) for lat in (low, high))
    # 0.8 leaves a margin for markers and the legend.
    across = 0.8 * width / _TILE_PIXELS * 360 / max(part.east - part.west, 1e-6)
    upright = 0.8 * height / _TILE_PIXELS * 2 * math.pi / max(top - bottom, 1e-6)
    middle = math.degrees(math.atan(math.sinh((bottom + top) / 2)))
    zoom = math.floor(math.log2(min(across, upright)) / step) * step
    return (middle, (part.west + part.east) / 2), min(9.0, max(1.0, zoom))


def listed(prediction: Prediction, count: int) -> list[Entry]:
    """Return what a list names: cities, else countries, else places; the most probable first."""
    groups = (prediction.cities or prediction.countries)[:count]
    if groups:
        return _entries(prediction, groups)
    return [
        Entry(
            place.rank, title(place), place.probability, place.lift, 1, place.class_index,
            place.lat, place.lng,
        )
        for place in prediction.places[:count]
    ]  # fmt: skip


def raised(prediction: Prediction, count: int) -> list[Entry]:
    """Return what the photo made more probable, the largest lift first."""
    return _entries(prediction, prediction.raised[:count])


def telling(prediction: Prediction, count: int) -> list[Entry]:
    """Return the few entries that say most: what is probable, or where nothing is, what was raised.

    None where the photo does not say where it was taken.
    """
    if not is_marked(prediction):
        return []
    unsure = prediction.likely is None and not is_prior(prediction)
    return (raised(prediction, count) if unsure else []) or listed(prediction, count)


def _entries(prediction: Prediction, groups: Sequence[Group]) -> list[Entry]:
    grid = prediction.grid
    return [
        Entry(
            rank, one.name, one.probability, one.lift, one.cells, one.class_index,
            float(grid.lat[one.class_index]), float(grid.lng[one.class_index]),
        )
        for rank, one in enumerate(groups, 1)
    ]  # fmt: skip


def radii(prediction: Prediction) -> dict[float, float]:
    """Return the radii around the most probable place that say something: of 50 %, of 90 %, km."""
    found = {share: prediction.radius_km(share, around=prediction.mode) for share in (0.5, 0.9)}
    return {share: km for share, km in found.items() if km < TELLING_KM}


def error_km(prediction: Prediction, truth: LatLng) -> float:
    """Return how far the best guess is from the true place, kilometres."""
    best = prediction.best
    return float(sphere.great_circle_km(best.lat, best.lng, *truth))


def distance_text(km: float) -> str:
    """Return a distance as maps write it: tenths of kilometres below 10 km, else whole ones."""
    return f"{km:.1f} km" if km < 10 else f"{km:,.0f} km"


def title(place: Place) -> str:
    """Return what to call a place: its name, or its cell where it has none."""
    return place.name or f"cell {place.cell}"


def label(entry: Entry) -> str:
    """Return what a marker says of its place: rank, name, probability and lift."""
    share, lift = percent_text(entry.probability), times_text(entry.lift, before=True)
    return f"{entry.rank}. {entry.name} · {share} · {lift}"


def best_label(prediction: Prediction) -> str:
    """Return what the marker of the point with the highest expected score says."""
    return f"Highest expected score: {title(prediction.best)}"


@cache
def land() -> Land:
    """Return the land of ``land.json``; not to be changed."""
    data = json.loads(assets.land())
    polygons = [
        [_closed(_decoded(ring, data["steps"])) for ring in rings] for rings in data["land"]
    ]
    borders = [_decoded(line, data["steps"]) for line in data["borders"]]
    return Land([_oriented(rings) for rings in polygons], borders)


def coasts(ring: FloatArray) -> list[FloatArray]:
    """Split a ring where land was cut, along ±180° and the pole: there is no coast.

    A ring that was not cut is one line, itself.
    """
    start, end = ring[:-1], ring[1:]
    cut = (np.abs(start[:, 0]) == 180) & (np.abs(end[:, 0]) == 180)
    cut |= (start[:, 1] == -90) | (end[:, 1] == -90)
    lines = np.split(ring, np.flatnonzero(cut) + 1)
    return [line for line in lines if len(line) > 1]


def _unwrapped(lat: FloatArray, lng: FloatArray) -> FloatArray:
    return np.stack([np.unwrap(lng, period=360), lat], axis=-1)


def _decoded(flat: list[int], steps: int) -> FloatArray:
    return np.asarray(np.cumsum(np.reshape(flat, (-1, 2)), axis=0) / steps)


def _closed(ring: FloatArray) -> FloatArray:
    return np.concatenate([ring, ring[:1]])


def _oriented(rings: list[FloatArray]) -> list[FloatArray]:
    """Put the largest ring first, counterclockwise; the others, its holes, turn clockwise."""
    areas = [float(np.sum(r[:-1, 0] * r[1:, 1] - r[1:, 0] * r[:-1, 1])) for r in rings]
    order = np.argsort(-np.abs(areas))
    return [
        rings[index] if (areas[index] > 0) == (place == 0) else rings[index][::-1]
        for place, index in enumerate(order)
    ]
