"""What a benchmark is, photos with known places and a rule; and anybody's table as one.

Knows columns; published benchmarks are in `benchmark_files`, and nothing here knows models.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from locationnet.errors import InputError
from locationnet.evaluation.photo_files import has_suffix
from locationnet.geo.s2 import valid_coordinates
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
        What `uploaders` holds: ``"uploader"``, or the name of a column.
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
    clustered_by: str = "uploader"
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
    path: Path,
    images: Path | None = None,
    *,
    cluster_column: str | None = None,
    need_photos: bool = True,
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
    need_photos
        Whether the photos will be read: without, an id does for a path.

    Raises
    ------
    InputError
        The file or a column is missing, or a row is wrong; the message names it.
    """
    table = read_table(path)
    names = table.column_names
    files = texts(path, table, _photo_column(path, table, need_photos))
    if "" in files:
        raise InputError(f"{path}: row {files.index('') + 1}: contains no path")
    places = known_places(path, table)
    group = find_column(path, names, "uploader", cluster_column)
    uploaders = None if group is None else tuple(names_column(path, table, group))
    folder = path.parent if images is None else images
    made = Benchmark(
        path.stem,
        tuple(files),
        tuple(folder / file for file in files),
        places.lat,
        places.lng,
        uploaders,
        clustered_by=cluster_column or "uploader",
        notes=places.notes,
    )
    return without_null_island(made)


def _photo_column(path: Path, table: pa.Table, need_photos: bool) -> str:
    """Return the column of paths, or of ids that will do."""
    names = table.column_names
    if (found := find_column(path, names, "path")) is not None:
        return found
    for field in ("photo", "id"):
        found = find_column(path, names, field)
        if found is not None and (
            not need_photos or all(map(has_suffix, texts(path, table, found)))
        ):
            return found
    return need_column(path, names, "path")


class Places(NamedTuple):
    """Where photos were taken.

    ``lat``, ``lng`` float64 ``(n,)``, degrees; whether their values ``proven`` which is which;
    ``notes`` for the reader.
    """

    lat: Floats
    lng: Floats
    proven: bool = False
    notes: tuple[str, ...] = ()

    def swapped(self, columns: Sequence[str], proof: str) -> Places:
        """Return the places of columns that are named the wrong way round, and say so."""
        note = f"columns {columns[0]!r} and {columns[1]!r} are named the wrong way round: {proof}"
        return Places(self.lng, self.lat, True, (*self.notes, note))


def known_places(
    path: Path,
    table: pa.Table,
    fields: tuple[str, str] = ("lat", "lng"),
    *,
    proofs: int = 2,
    label: Callable[[int], str] = lambda row: f"row {row + 1}",
) -> Places:
    """Return the latitudes and longitudes of a table.

    Parameters
    ----------
    path, table
        The file, for messages, and what it holds.
    fields
        The columns, see `locationnet.tables.columns.ALIASES`.
    proofs
        How many different places must be impossible as they are named and possible the other way
        round, and none the reverse, before the columns are swapped: of a table that anybody may
        have typed, one may be a slip.
    label
        What a row is called, by its index.

    Raises
    ------
    InputError
        A column is missing, or a row contains no place; the message names it.
    """
    names = [need_column(path, table.column_names, field) for field in fields]
    lat, lng = (number_column(path, table, name) for name in names)
    places = Places(lat, lng)
    named, other = valid_coordinates(lat, lng), valid_coordinates(lng, lat)
    if named.all():
        return places._replace(proven=not other.all())

    def value(row: int, column: int) -> str:
        return repr(table[names[column]][row].as_py())

    against, contrary = other & ~named, named & ~other
    different = {*zip(lat[against].tolist(), lng[against].tolist(), strict=True)}
    hint = ""
    if len(different) >= proofs and not contrary.any():
        row = int(against.argmax())
        proof = f"{label(row)} has {value(row, 0)} under {names[0]!r}"
        places, named = places.swapped(names, proof), other
        names.reverse()
        if named.all():
            return places
    row = int((~named).argmax())
    column, what = (1, "longitude") if abs(places.lat[row]) <= 90 else (0, "latitude")
    if against[row] and contrary.any():
        first = int(contrary.argmax())
        hint = (
            f", and {label(first)} has {value(first, 1)} under {names[1]!r}, which is not a valid"
            " one either"
        )
    elif against[row]:
        hint = f"; if {names[0]!r} and {names[1]!r} are named the wrong way round, rename them"
    raise InputError(f"{path}: {label(row)}: {value(row, column)} is not a valid {what}{hint}")


def without_null_island(benchmark: Benchmark) -> Benchmark:
    """Return a benchmark without photos whose truth is 0, 0; a note counts them."""
    at_zero = null_island(benchmark.lat, benchmark.lng)
    if not at_zero.any():
        return benchmark
    left = benchmark.chosen(np.flatnonzero(~at_zero))
    note = f"{int(at_zero.sum()):,} photos whose truth is 0, 0 are left out"
    return replace(left, notes=(*benchmark.notes, note))
