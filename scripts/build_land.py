"""Build ``land.json``, the coasts, borders and names on the maps, from Natural Earth.

Takes the TopoJSON of the npm package world-atlas, simplifies it and cuts it at ±180°; knows nothing
of how the maps draw it.

Example: python scripts/build_land.py --world-atlas world-atlas-2.0.2.tgz
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tarfile
import tempfile
from collections.abc import Iterable, Iterator
from itertools import pairwise
from math import cos, radians, sqrt
from pathlib import Path
from typing import Any

PACKAGE = "world-atlas@2.0.2"
MEMBER = "package/countries-50m.json"
ATTRIBUTION = "Natural Earth, public domain (1:50m, through world-atlas 2.0.2)"
OUT = Path(__file__).parents[1] / "locationnet/viz/static/land.json"

# Steps per degree in the file: 0.01° is 1.1 km, as fine as a 1:50m map is true.
STEPS = 100
# A coast may move by this many degrees when points are dropped from it.
TOLERANCE = 0.015
# Where a pole lies inside a shape its edge is led along this parallel, outside every map that we
# draw: Web Mercator ends at 85.05°.
POLAR_LATITUDE = 90.0

Point = tuple[float, float]  # longitude, latitude in degrees
Line = list[Point]


def main() -> None:
    """Read the command line and write the file."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--world-atlas", type=Path, metavar="FILE", help=f"{PACKAGE} as .tgz")
    parser.add_argument("-o", "--out", type=Path, default=OUT)
    options = parser.parse_args()
    text = json.dumps(
        land(read_topology(options.world_atlas)), ensure_ascii=False, separators=(",", ":")
    )
    options.out.write_text(text + "\n", encoding="utf-8")
    print(f"{options.out}: {len(text.encode()) / 1024:.0f} KiB")


def read_topology(archive: Path | None) -> dict[str, Any]:
    """Return the countries' TopoJSON, out of a package file or fetched by npm.

    Parameters
    ----------
    archive
        The package as ``npm pack`` writes it; None to fetch it.
    """
    with tempfile.TemporaryDirectory() as folder:
        if archive is None:
            command = ["npm", "pack", "--silent", PACKAGE, "--pack-destination", folder]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            (archive,) = Path(folder).glob("*.tgz")
        with tarfile.open(archive) as package:
            member = package.extractfile(MEMBER)
            if member is None:
                raise SystemExit(f"{archive}: {MEMBER} is not a file")
            topology: dict[str, Any] = json.load(member)
            return topology


def land(topology: dict[str, Any]) -> dict[str, Any]:
    """Return the file's content.

    Parameters
    ----------
    topology
        TopoJSON with the objects ``land`` and ``countries``.

    Returns
    -------
    dict
        ``attribution``; ``steps`` to the degree; ``land``, polygons as lists of rings in any
        order (holes by the even-odd rule), and ``borders``, lines. A ring or line is a flat list
        of steps: longitude and latitude of its first point, then the change to each next point.
        Rings close by themselves: their first point is not repeated. ``names`` says what to write
        where: name, longitude, latitude and room for it, the last three in steps.
    """
    arcs = [simplified(arc, TOLERANCE) for arc in decoded_arcs(topology)]
    polygons: list[list[list[int]]] = []
    for polygon in polygon_arcs(topology["objects"]["land"]):
        rings = [closed_ring(arcs, indices) for indices in polygon]
        for part in cut_polygon(rings):
            drawn = [flat(ring, closed=True) for ring in part]
            # The source leads Antarctica's edge along the pole in a ring without area.
            if kept := [ring for ring in drawn if len(ring) >= 6]:
                polygons.append(kept)
    shared = border_arcs(topology["objects"]["countries"])
    borders = [flat(piece, closed=False) for index in shared for piece in cut_line(arcs[index])]
    return {
        "attribution": ATTRIBUTION,
        "steps": STEPS,
        "land": polygons,
        "borders": [line for line in borders if len(line) > 2],
        "names": [
            label(country, arcs) for country in topology["objects"]["countries"]["geometries"]
        ],
    }


def decoded_arcs(topology: dict[str, Any]) -> list[Line]:
    """Return the arcs of a quantised topology in degrees: running sums, scaled and shifted."""
    (scale_x, scale_y), (shift_x, shift_y) = (
        topology["transform"]["scale"],
        topology["transform"]["translate"],
    )
    arcs = []
    for deltas in topology["arcs"]:
        x = y = 0
        arc = []
        for dx, dy in deltas:
            x, y = x + dx, y + dy
            arc.append((x * scale_x + shift_x, y * scale_y + shift_y))
        arcs.append(unwrapped(arc))
    return arcs


def unwrapped(line: Line) -> Line:
    """Return a line whose longitudes run on past ±180° instead of jumping."""
    result = line[:1]
    for lng, lat in line[1:]:
        turns = round((lng - result[-1][0]) / 360)
        result.append((lng - 360 * turns, lat))
    return result


def simplified(line: Line, tolerance: float) -> Line:
    """Return a line with fewer points, nowhere further than `tolerance` degrees from it.

    Douglas and Peucker's algorithm (1973). A closed line keeps its two most distant points and the
    one furthest from them, so that it stays a shape.
    """
    if len(line) <= 4:
        return line
    if line[0] == line[-1]:
        middle = max(range(len(line)), key=lambda i: _distance2(line[i], line[0], line[0]))
        if middle == 0:
            return [line[0], line[0]]  # all its points are one
        return simplified(line[: middle + 1], tolerance)[:-1] + simplified(line[middle:], tolerance)
    keep = {0, len(line) - 1}
    spans = [(0, len(line) - 1)]
    while spans:
        first, last = spans.pop()
        if last - first < 2:
            continue
        offsets = [_distance2(line[i], line[first], line[last]) for i in range(first + 1, last)]
        furthest = max(offsets)
        # Three points at least, or the two halves of a small island would fall onto each other.
        if furthest > tolerance**2 or len(keep) < 3:
            index = first + 1 + offsets.index(furthest)
            keep.add(index)
            spans += [(first, index), (index, last)]
    return [line[index] for index in sorted(keep)]


def _distance2(point: Point, start: Point, end: Point) -> float:
    (x, y), (dx, dy) = point, (end[0] - start[0], end[1] - start[1])
    length2 = dx * dx + dy * dy
    along = ((x - start[0]) * dx + (y - start[1]) * dy) / length2 if length2 else 0.0
    along = min(1.0, max(0.0, along))
    return (x - start[0] - along * dx) ** 2 + (y - start[1] - along * dy) ** 2


def polygon_arcs(geometry: dict[str, Any]) -> Iterator[list[list[int]]]:
    """Yield the polygons of a TopoJSON object, each as rings of arc indices."""
    if geometry["type"] == "GeometryCollection":
        for part in geometry["geometries"]:
            yield from polygon_arcs(part)
    elif geometry["type"] == "MultiPolygon":
        yield from geometry["arcs"]
    elif geometry["type"] == "Polygon":
        yield geometry["arcs"]


def border_arcs(countries: dict[str, Any]) -> list[int]:
    """Return the arcs that two countries share; an arc of one country alone is its coast."""
    owners: dict[int, set[int]] = {}
    for number, country in enumerate(countries["geometries"]):
        for polygon in polygon_arcs(country):
            for ring in polygon:
                for index in ring:
                    owners.setdefault(_arc(index), set()).add(number)
    return sorted(index for index, who in owners.items() if len(who) > 1)


def _arc(index: int) -> int:
    return index if index >= 0 else ~index  # TopoJSON writes an arc run backwards as ~index


def closed_ring(arcs: list[Line], indices: Iterable[int]) -> Line:
    """Join arcs to a ring with running longitudes, its first point repeated at its end.

    A ring around a pole ends 360° from where it began; it is led to the pole and back.
    """
    ring: Line = []
    for index in indices:
        arc = arcs[_arc(index)]
        ring += (arc if index >= 0 else arc[::-1])[1 if ring else 0 :]
    ring = unwrapped(ring)
    (first, latitude), (last, _) = ring[0], ring[-1]
    if abs(last - first) > 180:
        pole = POLAR_LATITUDE if latitude > 0 else -POLAR_LATITUDE
        ring += [(last, pole), (first, pole), ring[0]]
    return ring


def cut_polygon(rings: list[Line]) -> Iterator[list[Line]]:
    """Cut a polygon with running longitudes at every odd multiple of 180°.

    Yields
    ------
    list
        Rings of one part within −180…180°, the first point of each repeated at its end.
    """
    low = min(lng for ring in rings for lng, _ in ring)
    high = max(lng for ring in rings for lng, _ in ring)
    for turn in range(round(low / 360) - 1, round(high / 360) + 2):
        west, east = 360 * turn - 180, 360 * turn + 180
        if low >= east or high <= west:
            continue
        part = clipped(clipped(rings, west, keep_above=True), east, keep_above=False)
        if part:
            yield [[(lng - 360 * turn, lat) for lng, lat in ring] for ring in part]


def clipped(rings: list[Line], meridian: float, *, keep_above: bool) -> list[Line]:
    """Return the part of a polygon on one side of a meridian.

    All rings are cut into the pieces that lie inside; where the pieces meet the meridian they are
    joined along it, in pairs from south to north, as the even-odd rule wants.
    """
    sign = 1 if keep_above else -1
    whole: list[Line] = []
    pieces: list[Line] = []
    for ring in rings:
        inside = [sign * (lng - meridian) > 0 for lng, _ in ring]
        if all(sign * (lng - meridian) >= 0 for lng, _ in ring):
            whole.append(ring)
        elif any(inside):
            pieces += _inside_pieces(ring, inside, meridian)
    ends = sorted(
        ((piece[end][1], number, end) for number, piece in enumerate(pieces) for end in (0, -1)),
    )
    partner = {}
    for (_, *one), (_, *other) in zip(ends[::2], ends[1::2], strict=True):
        partner[tuple(one)], partner[tuple(other)] = tuple(other), tuple(one)
    left = set(range(len(pieces)))
    while left:
        start = number = min(left)
        ring = []
        forward = True
        while number in left:
            left.discard(number)
            ring += pieces[number] if forward else pieces[number][::-1]
            number, end = partner[number, -1 if forward else 0]
            forward = end == 0
        if number != start:
            raise ValueError(f"pieces along {meridian}° do not close")
        whole.append([*ring, ring[0]])
    return whole


def _inside_pieces(ring: Line, inside: list[bool], meridian: float) -> Iterator[Line]:
    """Yield the runs of a closed ring that lie inside, each from the meridian to the meridian."""
    points = ring[:-1]
    count = len(points)
    for first in range(count):
        if not inside[first] or inside[first - 1 if first else count - 1]:
            continue
        piece = [crossing(points[first - 1], points[first], meridian)]
        index = first
        while inside[index]:
            piece.append(points[index])
            index = (index + 1) % count
        piece.append(crossing(points[index - 1], points[index], meridian))
        yield piece


def crossing(start: Point, end: Point, meridian: float) -> Point:
    """Return where a straight edge meets a meridian."""
    share = (meridian - start[0]) / (end[0] - start[0])
    return meridian, start[1] + share * (end[1] - start[1])


def cut_line(line: Line) -> Iterator[Line]:
    """Cut a line with running longitudes at odd multiples of 180°, into −180…180°."""
    piece: Line = []
    turn = 0
    for start, end in pairwise(line):
        middle = (start[0] + end[0]) / 2
        new_turn = round(middle / 360)
        if piece and new_turn != turn:
            yield [(lng - 360 * turn, lat) for lng, lat in piece]
            piece = []
        turn = new_turn
        piece = piece or [start]
        piece.append(end)
    yield [(lng - 360 * turn, lat) for lng, lat in piece]


def label(country: dict[str, Any], arcs: list[Line]) -> list[str | int]:
    """Return a country's name and the middle of its largest part: name, lng, lat, room, in steps.

    The middle is the point of a 24 × 24 lattice, inside the part, that is furthest from its edge;
    the room is the diameter of the circle around it that stays inside.
    """
    parts = [
        part[0]
        for polygon in polygon_arcs(country)
        for part in cut_polygon([closed_ring(arcs, indices) for indices in polygon])
    ]
    ring = max(parts, key=_area)
    lngs, lats = [lng for lng, _ in ring], [lat for _, lat in ring]
    west, east, south, north = min(lngs), max(lngs), min(lats), max(lats)
    best, middle = 0.0, ((west + east) / 2, (south + north) / 2)
    for column in range(24):
        for row in range(24):
            point = (
                west + (column + 0.5) / 24 * (east - west),
                south + (row + 0.5) / 24 * (north - south),
            )
            shrink = cos(radians(point[1]))
            flattened = [((lng - point[0]) * shrink, lat - point[1]) for lng, lat in ring]
            room = min(_distance2((0, 0), start, end) for start, end in pairwise(flattened))
            if room > best and _inside(point, ring):
                best, middle = room, point
    # What is a degree of latitude here is 1/cos of a degree of longitude.
    room = 2 * sqrt(best) / cos(radians(middle[1]))
    return [country["properties"]["name"], *(round(value * STEPS) for value in (*middle, room))]


def _area(ring: Line) -> float:
    middle = sum(lat for _, lat in ring) / len(ring)
    doubled = sum(x0 * y1 - x1 * y0 for (x0, y0), (x1, y1) in pairwise(ring))
    return abs(doubled) / 2 * cos(radians(middle))


def _inside(point: Point, ring: Line) -> bool:
    x, y = point
    crossings = sum(
        (y0 > y) != (y1 > y) and x < x0 + (y - y0) / (y1 - y0) * (x1 - x0)
        for (x0, y0), (x1, y1) in pairwise(ring)
    )
    return crossings % 2 == 1


def flat(line: Line, *, closed: bool) -> list[int]:
    """Return a line as whole steps, each point but the first as its change; repeats dropped."""
    points = [(round(lng * STEPS), round(lat * STEPS)) for lng, lat in line]
    points = [point for i, point in enumerate(points) if i == 0 or point != points[i - 1]]
    if closed and len(points) > 1 and points[0] == points[-1]:
        points.pop()
    steps = [*points[0]]
    for (x0, y0), (x1, y1) in pairwise(points):
        steps += [x1 - x0, y1 - y0]
    return steps


if __name__ == "__main__":
    main()
