"""The coordinates in tables of photos: CSV (plain or compressed) and Parquet, chunk by chunk.

Knows nothing of cells. Rows that hold no usable coordinate are counted by reason, never passed on
and never silently dropped.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from locationnet.data.streams import find_name, header, stream_columns
from locationnet.errors import InputError, MissingExtraError
from locationnet.geo.s2 import valid_coordinates

LAT_NAMES = ("lat", "latitude")
LNG_NAMES = ("lng", "lon", "long", "longitude")

MISSING = "coordinate missing"
NO_NUMBER = "not a number"
OUT_OF_RANGE = "out of range (|lat| > 90 or |lng| > 180)"
WRONG_COLUMNS = "wrong number of columns"

_NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"

FloatArray = NDArray[np.float64]
Advance = Callable[[int], object]
# Values, and where there are none.
_Column = tuple[FloatArray, NDArray[np.bool_]]


@dataclass
class CoordinateFiles:
    """Tables with a latitude and a longitude column, to be read as often as needed.

    Parameters
    ----------
    paths
        CSV files with a header (``.gz``, ``.bz2``, ``.zst`` too) or Parquet files.
    lat_column, lng_column
        Column names; None finds the usual ones (lat, latitude; lng, lon, long, longitude).

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
        try:
            import pyarrow as pa  # noqa: F401 - here only to say early that it is missing
        except ImportError as error:
            raise MissingExtraError("reading tables", "data") from error
        for path in self.paths:
            if not path.is_file():
                raise InputError(f"{path}: no such file")
        self._columns = {path: self._find_columns(path) for path in self.paths}

    @property
    def total_bytes(self) -> int:
        """Size of all files, for a progress bar."""
        return sum(path.stat().st_size for path in self.paths)

    def chunks(self, advance: Advance | None = None) -> Iterator[tuple[FloatArray, FloatArray]]:
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
            A file cannot be read as a table, or no row of any file holds a usable coordinate.
        """
        import pyarrow as pa

        self.bad.clear()
        found = 0
        for path in self.paths:
            names = self._columns[path]
            lat_place, lng_place = (f"{path}: column {name!r}" for name in names)
            for batch, count in stream_columns(path, names, pa.string(), self._wrong_columns):
                chunk = self._valid(
                    floats(batch.column(0), lat_place),
                    floats(batch.column(1), lng_place),
                )
                found += len(chunk[0])
                yield chunk
                if advance is not None:
                    advance(count)
        if not found:
            raise InputError(self._nothing_usable())

    def _wrong_columns(self) -> None:
        self.bad[WRONG_COLUMNS] += 1

    def _nothing_usable(self) -> str:
        where = str(self.paths[0])
        if len(self.paths) > 1:
            where += f" and {len(self.paths) - 1} more"
        reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(self.bad.items()))
        return f"{where}: no usable coordinate in {self.bad.total()} rows ({reasons or 'no rows'})"

    def _valid(self, lat: _Column, lng: _Column) -> tuple[FloatArray, FloatArray]:
        valid = np.ones(len(lat[0]), np.bool_)
        for reason, bad in faults(lat, lng).items():
            valid &= ~bad
            if count := int(bad.sum()):
                self.bad[reason] += count
        return lat[0][valid], lng[0][valid]

    def _find_columns(self, path: Path) -> tuple[str, str]:
        names = header(path)
        if not names:
            raise InputError(
                f"{path}: empty; expected a header with a latitude and a longitude column"
            )
        return (
            _pick(path, names, self.lat_column, LAT_NAMES, "latitude", "--lat-column"),
            _pick(path, names, self.lng_column, LNG_NAMES, "longitude", "--lng-column"),
        )


def faults(lat: _Column, lng: _Column) -> dict[str, NDArray[np.bool_]]:
    """Return which points are unusable, each by one reason; the columns are those of `floats`."""
    (lat_values, lat_missing), (lng_values, lng_missing) = lat, lng
    missing = lat_missing | lng_missing
    no_number = ~missing & ~(np.isfinite(lat_values) & np.isfinite(lng_values))
    valid = valid_coordinates(lat_values, lng_values)
    return {
        MISSING: missing,
        NO_NUMBER: no_number,
        OUT_OF_RANGE: ~valid & ~missing & ~no_number,
    }


def _pick(
    path: Path,
    header: list[str],
    wanted: str | None,
    usual: tuple[str, ...],
    what: str,
    option: str,
) -> str:
    shown = ", ".join(repr(name) for name in header[:20])
    if wanted is not None:
        if wanted not in header:
            raise InputError(f"{path}: no column {wanted!r}; there are {shown}")
        return wanted
    found = find_name(header, usual)
    if found is not None:
        return found
    raise InputError(f"{path}: no column of {what}s among {shown}; name it with {option}")


def numbers(column: Any, place: str) -> FloatArray:
    """Return a whole Arrow column as float64, NaN for what is empty or no number.

    Raises
    ------
    InputError
        The column's type is none that coordinates come in; the message names `place`.
    """
    return floats(column.combine_chunks(), place)[0]


def floats(column: Any, place: str) -> _Column:
    """Return an Arrow column as float64 with NaN for what is no number, and where it is empty.

    Raises
    ------
    InputError
        The column's type is none that numbers come in; the message names `place`.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = column.type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
        column = pc.cast(column, kind)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        column = pc.utf8_trim_whitespace(column)
        missing = pc.or_kleene(pc.is_null(column), pc.equal(pc.fill_null(column, ""), ""))
        numbers = pc.if_else(pc.match_substring_regex(column, _NUMBER), column, None)
        values = pc.cast(numbers, pa.float64())
    elif pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_decimal(kind):
        missing = pc.is_null(column)
        values = pc.cast(column, pa.float64(), safe=False)
    else:
        raise InputError(f"{place} holds {kind}, not numbers")
    return (
        pc.fill_null(values, np.nan).to_numpy(zero_copy_only=False),
        missing.to_numpy(zero_copy_only=False),
    )
