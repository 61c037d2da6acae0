"""What a benchmark is, photos with known places and a rule; and anybody's table as one.

Knows columns; published benchmarks are in `layouts`, and nothing here knows models.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from locationnet.errors import InputError
from locationnet.geo.sphere import THRESHOLDS_KM
from locationnet.tables.columns import find_column, need_column
from locationnet.tables.coordinates import null_island
from locationnet.tables.read import names_column, number_column, read_table, texts

if TYPE_CHECKING:
    import pyarrow as pa

Floats = NDArray[np.float64]


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

    def chosen(self, photos: NDArray[np.int64]) -> Benchmark:
        """Return some of the photos, by their index."""
        return replace(
            self,
            ids=tuple(self.ids[photo] for photo in photos),
            paths=tuple(self.paths[photo] for photo in photos),
            lat=self.lat[photos],
            lng=self.lng[photos],
            uploaders=self.uploaders and tuple(self.uploaders[photo] for photo in photos),
        )


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
    names = table.column_names
    files = texts(path, table, need_column(path, names, "path"))
    if "" in files:
        raise InputError(f"{path}: row {files.index('') + 1}: contains no path")
    lat, lng = known_places(path, table)
    group = find_column(path, names, "uploader", cluster_column)
    uploaders = None if group is None else tuple(names_column(path, table, group))
    folder = path.parent if images is None else images
    made = Benchmark(
        path.stem, tuple(files), tuple(folder / file for file in files), lat, lng, uploaders
    )
    return without_null_island(made)


def known_places(path: Path, table: pa.Table) -> tuple[Floats, Floats]:
    """Return the latitudes and longitudes of a table, float64 ``(n,)`` degrees.

    Raises
    ------
    InputError
        A column is missing, or one is not a number in range; the message names its row, from 1.
    """
    found = []
    for field, most, what in (("lat", 90, "latitude"), ("lng", 180, "longitude")):
        name = need_column(path, table.column_names, field)
        degrees = number_column(path, table, name)
        bad = np.flatnonzero(~(np.abs(degrees) <= most))
        if len(bad):
            row = int(bad[0])
            value = table[name][row].as_py()
            raise InputError(f"{path}: row {row + 1}: {value!r} is not a valid {what}")
        found.append(degrees)
    return found[0], found[1]


def without_null_island(benchmark: Benchmark) -> Benchmark:
    """Return a benchmark without photos whose truth is 0, 0; a note counts them."""
    at_zero = null_island(benchmark.lat, benchmark.lng)
    if not at_zero.any():
        return benchmark
    left = benchmark.chosen(np.flatnonzero(~at_zero))
    note = f"{int(at_zero.sum()):,} photos whose truth is 0, 0 are left out"
    return replace(left, notes=(*benchmark.notes, note))
