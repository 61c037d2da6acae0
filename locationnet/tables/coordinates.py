"""The coordinates in tables of photos, chunk by chunk.

Knows points; nothing of cells. Rows without a usable coordinate are counted by reason, never
passed on and never silently dropped.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from locationnet.errors import InputError
from locationnet.geo.s2 import valid_coordinates
from locationnet.progress import Advance
from locationnet.tables.columns import need_column
from locationnet.tables.read import Floats, Mask, as_floats
from locationnet.tables.stream import WRONG_COLUMNS, BadRow, stream_rows
from locationnet.tables.table_file import TableFile, open_table

MISSING = "coordinate missing"
NO_NUMBER = "not a number"
OUT_OF_RANGE = "out of range (|lat| > 90 or |lng| > 180)"
NULL_ISLAND = "at 0, 0"


@dataclass
class CoordinateFiles:
    """Tables with a latitude and a longitude column, to be read as often as needed.

    Parameters
    ----------
    paths
        The files.
    lat_column, lng_column
        Column names; None finds the usual ones.

    Raises
    ------
    MissingExtraError
        pyarrow is not installed.
    InputError
        A file is missing, or has no such columns.
    """

    paths: Sequence[Path]
    lat_column: str | None = None
    lng_column: str | None = None
    bad: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._tables = [self._open(path) for path in self.paths]

    @property
    def total_bytes(self) -> int:
        """Size of all files, for a progress bar."""
        return sum(path.stat().st_size for path in self.paths)

    def chunks(self, advance: Advance | None = None) -> Iterator[tuple[Floats, Floats]]:
        """Yield the valid coordinates as float64 ``(n,)`` degrees, in bounded memory.

        Parameters
        ----------
        advance
            Called with the number of bytes read since the last call.

        Notes
        -----
        `bad` counts the other rows by reason; it starts anew at each call.

        Raises
        ------
        InputError
            A file cannot be read as a table, or no row of any file has a usable coordinate.
        """
        self.bad.clear()
        found = 0
        for table, names in self._tables:
            lat_name, lng_name = (f"{table.path}: column {name!r}" for name in names)
            for batch, count in stream_rows(table, names, self._refuse):
                chunk = self._valid(
                    as_floats(batch.column(0), lat_name),
                    as_floats(batch.column(1), lng_name),
                )
                found += len(chunk[0])
                yield chunk
                if advance is not None:
                    advance(count)
        if not found:
            raise InputError(self._nothing_usable())

    def _refuse(self, _row: BadRow) -> None:
        self.bad[WRONG_COLUMNS] += 1

    def _nothing_usable(self) -> str:
        where = str(self.paths[0])
        if len(self.paths) > 1:
            where += f" and {len(self.paths) - 1} more"
        reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(self.bad.items()))
        return f"{where}: no usable coordinate in {self.bad.total()} rows ({reasons or 'no rows'})"

    def _valid(self, lat: tuple[Floats, Mask], lng: tuple[Floats, Mask]) -> tuple[Floats, Floats]:
        valid = np.ones(len(lat[0]), np.bool_)
        for reason, bad in faults(lat, lng).items():
            valid &= ~bad
            if count := int(bad.sum()):
                self.bad[reason] += count
        return lat[0][valid], lng[0][valid]

    def _open(self, path: Path) -> tuple[TableFile, tuple[str, str]]:
        table = open_table(path)
        return table, (
            need_column(path, table.names, "lat", self.lat_column, "--lat-column"),
            need_column(path, table.names, "lng", self.lng_column, "--lng-column"),
        )


def faults(lat: tuple[Floats, Mask], lng: tuple[Floats, Mask]) -> dict[str, Mask]:
    """Return which points are unusable, each by one reason.

    Parameters
    ----------
    lat, lng
        From `locationnet.tables.read.as_floats`: degrees ``(n,)``, and where they are missing.
    """
    (lat_values, lat_missing), (lng_values, lng_missing) = lat, lng
    missing = lat_missing | lng_missing
    no_number = ~missing & ~(np.isfinite(lat_values) & np.isfinite(lng_values))
    valid = valid_coordinates(lat_values, lng_values)
    return {
        MISSING: missing,
        NO_NUMBER: no_number,
        OUT_OF_RANGE: ~valid & ~missing & ~no_number,
        NULL_ISLAND: null_island(lat_values, lng_values),
    }


def null_island(lat: Floats, lng: Floats) -> Mask:
    """Return which points lie at 0, 0: in practice photos whose location is not known."""
    return np.asarray((lat == 0) & (lng == 0))
