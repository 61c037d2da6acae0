"""What a benchmark is, photos with known places and a rule; and anybody's table as one.

Knows columns; published benchmarks are in `layouts`, and nothing here knows models.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from locationnet.data.tables import PHOTO_NAMES, UPLOADER_NAMES, find_column, read_table
from locationnet.errors import InputError
from locationnet.geo.sphere import THRESHOLDS_KM

Floats = NDArray[np.float64]
_Value = TypeVar("_Value")
_LAT, _LNG = ("lat", "latitude"), ("lng", "lon", "long", "longitude")


@dataclass(frozen=True)
class Rule:
    """How a benchmark scores.

    Parameters
    ----------
    distance
        Great circle on a sphere of 6371 km, or geodesic on the WGS84 ellipsoid (Karney).
    strict
        Whether a photo must be nearer than a radius, or may lie on it.
    thresholds_km
        The radii.
    """

    distance: Literal["haversine", "karney"] = "haversine"
    strict: bool = False
    thresholds_km: tuple[float, ...] = THRESHOLDS_KM

    def __str__(self) -> str:
        return f"{self.distance} distance, {'<' if self.strict else '<='}"


@dataclass(frozen=True, eq=False)
class Benchmark:
    """Photos and where they were taken.

    Parameters
    ----------
    name
        As published tables call it, or the table's name.
    ids, paths
        One for each photo; a photo that is not there counts as answered wrongly.
    lat, lng
        float64 ``(n,)``, degrees.
    uploaders
        Who took each, or whatever else belongs together, where it is known.
    clustered_by
        What `uploaders` holds.
    rule
        How answers are scored.
    notes
        What was left out or is in doubt.
    """

    name: str
    ids: tuple[str, ...]
    paths: tuple[Path, ...]
    lat: Floats
    lng: Floats
    uploaders: tuple[str, ...] | None = None
    clustered_by: str = "photographer"
    rule: Rule = Rule()
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.ids)


def from_table(
    path: Path, images: Path | None = None, *, cluster_column: str | None = None
) -> Benchmark:
    """Read a CSV or Parquet with path, lat, lng and, if known, uploader.

    Parameters
    ----------
    path
        The table.
    images
        The folder that paths start at; the table's own by default.
    cluster_column
        The column whose values belong together, instead of the uploader's.

    Raises
    ------
    InputError
        The file or a column is missing, or a row is wrong; the message names it.
    """
    table = read_table(path)

    def column(usual: tuple[str, ...], what: str) -> str:
        found = find_column(path, table.column_names, None, usual)
        if found is None:
            raise InputError(f"{path}: no column for the {what}, such as {', '.join(usual)}")
        return found

    files = _texts(path, table[column(PHOTO_NAMES, "photo")].to_pylist(), "photo")
    lat = degrees(path, table[column(_LAT, "latitude")].to_pylist(), 90, "latitude")
    lng = degrees(path, table[column(_LNG, "longitude")].to_pylist(), 180, "longitude")
    group = find_column(path, table.column_names, cluster_column, UPLOADER_NAMES)
    uploaders = (
        None
        if group is None
        else tuple("" if value is None else str(value) for value in table[group].to_pylist())
    )
    folder = path.parent if images is None else images
    return Benchmark(path.stem, files, tuple(folder / file for file in files), lat, lng, uploaders)


def _texts(path: Path, values: Sequence[object], what: str) -> tuple[str, ...]:
    return tuple(_each(path, values, what, lambda value: str(value) if value else None))


def degrees(path: Path, values: Sequence[object], most: float, what: str) -> Floats:
    """Return coordinates as float64 ``(n,)``.

    Raises
    ------
    InputError
        One is not a number between −most and most; the message names its row, from 1.
    """

    def read(value: object) -> float | None:
        number = float(str(value))
        return number if abs(number) <= most else None

    return np.array(_each(path, values, what, read), np.float64)


def _each(
    path: Path, values: Sequence[object], what: str, read: Callable[[object], _Value | None]
) -> list[_Value]:
    found = []
    for row, value in enumerate(values, 1):
        try:
            one = read(value)
        except ValueError:
            one = None
        if one is None:
            raise InputError(f"{path}: row {row}: {value!r} is no {what}")
        found.append(one)
    return found
