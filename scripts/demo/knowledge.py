"""The demo's table of geographic knowledge: what is photographed where more often than elsewhere.

Reads the three CSV files beside it (their README has the format) and evaluates them at points whose
surroundings are given; knows nothing of networks, of cells or of where the surroundings come from.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from locationnet.geo.sphere import great_circle_km

HERE = Path(__file__).parent
LOWEST, HIGHEST = 0.01, 300.0
CLIMATES = ("trop", "arid", "semi", "med", "temp", "cont", "subpol")
CONDITIONS = ("coast", "near", "inl", "urban", "town", "rural", *CLIMATES, "lat50", "lat58")
CLASSES = 1000

_COUNTRY = re.compile(r"[A-Z]{2}")


@dataclass(frozen=True)
class Row:
    """One concept of the table.

    Parameters
    ----------
    concept
        Class of ImageNet, 0–999.
    label
        What the concept is called in an answer.
    group
        Kind of concept: animal, arch, scene, ...
    ratios
        Key → how many times more often than in an average photo; see the README for the keys.
    """

    concept: int
    label: str
    group: str
    ratios: Mapping[str, float]


@dataclass(frozen=True)
class Area:
    """A named box (degrees; never across the antimeridian) or circle (degrees, kilometres)."""

    shape: str
    numbers: tuple[float, ...]

    def contains(self, lat: NDArray[np.float64], lng: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Tell which points lie inside; ``(n,)`` degrees each."""
        if self.shape == "box":
            south, north, west, east = self.numbers
            return (lat >= south) & (lat <= north) & (lng >= west) & (lng <= east)
        centre_lat, centre_lng, radius_km = self.numbers
        return np.asarray(great_circle_km(centre_lat, centre_lng, lat, lng) <= radius_km)


@dataclass(frozen=True)
class Surroundings:
    """What is known of ``n`` points.

    Parameters
    ----------
    lat, lng
        float64 ``(n,)``, degrees.
    country
        ISO 3166-1 alpha-2 codes, str ``(n,)``.
    climate
        One of `CLIMATES`, or ``""``; str ``(n,)``.
    coast_km
        Distance to the sea, float64 ``(n,)``; 0 on it.
    photos
        Photos of the reference sample within 5 km, int64 ``(n,)``.
    """

    lat: NDArray[np.float64]
    lng: NDArray[np.float64]
    country: NDArray[np.str_]
    climate: NDArray[np.str_]
    coast_km: NDArray[np.float64]
    photos: NDArray[np.int64]


@dataclass(frozen=True)
class Knowledge:
    """The parsed table: its rows in order of their class, the named areas and the regions."""

    rows: tuple[Row, ...]
    areas: Mapping[str, Area]
    regions: Mapping[str, frozenset[str]]

    def likelihood_ratios(self, row: Row, where: Evaluator) -> NDArray[np.float64]:
        """Evaluate one row at every point of `where`, float64 ``(n,)`` in 0.01–300."""
        ratios = row.ratios
        base = np.full(where.size, ratios.get("*", 1.0), np.float64)
        # A later region overrides an earlier one, and a country its regions.
        for region in self.regions:
            if f"@{region}" in ratios:
                base[where.region(region)] = ratios[f"@{region}"]
        for key, ratio in ratios.items():
            if _COUNTRY.fullmatch(key):
                base[where.country(key)] = ratio
        for key, ratio in ratios.items():
            if key.startswith("#") or key in CONDITIONS:
                base[where.condition(key)] *= ratio
        return np.clip(base, LOWEST, HIGHEST)


class Evaluator:
    """Remembers at which of the points each key of the table holds."""

    def __init__(self, knowledge: Knowledge, points: Surroundings) -> None:
        self.size = len(points.lat)
        self._knowledge = knowledge
        self._points = points
        self._masks = _conditions(points)

    def country(self, code: str) -> NDArray[np.bool_]:
        """Tell which points lie in a country, bool ``(n,)``."""
        return self._remember(code, lambda: self._points.country == code)

    def region(self, name: str) -> NDArray[np.bool_]:
        """Tell which points lie in a region, bool ``(n,)``."""
        members = sorted(self._knowledge.regions[name])
        return self._remember(f"@{name}", lambda: np.isin(self._points.country, members))

    def condition(self, key: str) -> NDArray[np.bool_]:
        """Tell at which points a condition or ``#area`` holds, bool ``(n,)``."""
        points = self._points
        return self._remember(
            key, lambda: self._knowledge.areas[key[1:]].contains(points.lat, points.lng)
        )

    def _remember(self, key: str, compute: Callable[[], NDArray[np.bool_]]) -> NDArray[np.bool_]:
        if key not in self._masks:
            self._masks[key] = compute()
        return self._masks[key]


def read_knowledge(folder: Path = HERE) -> Knowledge:
    """Read ``table.csv``, ``places.csv`` and ``regions.csv``.

    Raises
    ------
    ValueError
        Names the file and line of the first entry that breaks the format.
    """
    areas = dict(_read_areas(folder / "places.csv"))
    regions = {
        name: frozenset(countries.split())
        for name, countries in _lines(folder / "regions.csv", ["region", "countries"])
    }
    rows = tuple(_read_rows(folder / "table.csv", areas, regions))
    return Knowledge(rows, areas, regions)


def _conditions(points: Surroundings) -> dict[str, NDArray[np.bool_]]:
    coast, photos, north = points.coast_km, points.photos, np.abs(points.lat)
    return {
        "coast": coast < 3,
        "near": (coast >= 3) & (coast < 30),
        "inl": coast >= 30,
        "urban": photos >= 100,
        "town": (photos >= 8) & (photos < 100),
        "rural": photos < 8,
        "lat50": north >= 50,
        "lat58": north >= 58,
        **{name: points.climate == name for name in CLIMATES},
    }


def _read_rows(
    path: Path, areas: Mapping[str, Area], regions: Mapping[str, frozenset[str]]
) -> Iterator[Row]:
    previous = -1
    columns = ["class_index", "label", "group", "likelihood_ratios"]
    for number, (index, label, group, ratios) in enumerate(_lines(path, columns), start=2):
        place = f"{path.name}:{number}"
        if not index.isdecimal() or not previous < int(index) < CLASSES:
            raise ValueError(
                f"{place}: class_index {index!r} is not an ascending number below 1000"
            )
        if not label:
            raise ValueError(f"{place}: the label is empty")
        previous = int(index)
        yield Row(previous, label, group, dict(_read_ratios(ratios, place, areas, regions)))


def _read_ratios(
    text: str, place: str, areas: Mapping[str, Area], regions: Mapping[str, frozenset[str]]
) -> Iterator[tuple[str, float]]:
    seen = set()
    for item in text.split():
        key, _, number = item.partition("=")
        known = (
            key == "*"
            or key in CONDITIONS
            or _COUNTRY.fullmatch(key) is not None
            or (key.startswith("@") and key[1:] in regions)
            or (key.startswith("#") and key[1:] in areas)
        )
        if not known:
            raise ValueError(f"{place}: unknown key {key!r}")
        if key in seen:
            raise ValueError(f"{place}: {key!r} appears twice")
        seen.add(key)
        try:
            ratio = float(number)
        except ValueError:
            ratio = float("nan")
        if not 0 < ratio <= HIGHEST:
            raise ValueError(f"{place}: {item!r} is not key=ratio with a ratio in (0, {HIGHEST:g}]")
        yield key, ratio
    if not seen:
        raise ValueError(f"{place}: no likelihood ratio")


def _read_areas(path: Path) -> Iterator[tuple[str, Area]]:
    seen = set()
    columns = ["name", "shape", "a", "b", "c", "d"]
    for number, (name, shape, *texts) in enumerate(_lines(path, columns), start=2):
        place = f"{path.name}:{number}"
        if name in seen:
            raise ValueError(f"{place}: {name!r} appears twice")
        seen.add(name)
        try:
            a, b, c, *d = (float(text) for text in texts if text)
        except ValueError:
            raise ValueError(f"{place}: expected three or four numbers, got {texts}") from None
        if shape == "box" and d and -90 <= a < b <= 90 and -180 <= c < d[0] <= 180:
            yield name, Area("box", (a, b, c, d[0]))
        elif shape == "circle" and not d and abs(a) <= 90 and abs(b) <= 180 and c > 0:
            yield name, Area("circle", (a, b, c))
        else:
            raise ValueError(
                f"{place}: expected box,south,north,west,east or circle,lat,lng,radius_km"
            )


def _lines(path: Path, columns: list[str]) -> Iterator[list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.reader(file)
        header = next(reader, [])
        if header != columns:
            raise ValueError(f"{path.name}:1: expected the columns {','.join(columns)}")
        for number, row in enumerate(reader, start=2):
            if len(row) != len(columns):
                raise ValueError(f"{path.name}:{number}: expected {len(columns)} fields")
            yield row
