"""The coordinates in tables of photos: CSV (plain or compressed) and Parquet, chunk by chunk.

Knows nothing of cells. Rows that hold no usable coordinate are counted by reason, never passed on
and never silently dropped.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from locationnet.errors import InputError, MissingExtraError
from locationnet.geo.s2 import valid_coordinates

LAT_NAMES = ("lat", "latitude")
LNG_NAMES = ("lng", "lon", "long", "longitude")
PARQUET_SUFFIXES = frozenset({".parquet", ".pq"})

MISSING = "coordinate missing"
NO_NUMBER = "not a number"
OUT_OF_RANGE = "out of range (|lat| > 90 or |lng| > 180)"
WRONG_COLUMNS = "wrong number of columns"

_BLOCK_BYTES = 4 << 20
_BATCH_ROWS = 1 << 18
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
        self.bad.clear()
        found = 0
        for path in self.paths:
            read = self._parquet if path.suffix.lower() in PARQUET_SUFFIXES else self._csv
            lat_place, lng_place = (f"{path}: column {name!r}" for name in self._columns[path])
            for lat, lng, count in read(path):
                chunk = self._valid(_floats(lat, lat_place), _floats(lng, lng_place))
                found += len(chunk[0])
                yield chunk
                if advance is not None:
                    advance(count)
        if not found:
            raise InputError(self._nothing_usable())

    def _nothing_usable(self) -> str:
        where = str(self.paths[0])
        if len(self.paths) > 1:
            where += f" and {len(self.paths) - 1} more"
        reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(self.bad.items()))
        return f"{where}: no usable coordinate in {self.bad.total()} rows ({reasons or 'no rows'})"

    def _valid(self, lat: _Column, lng: _Column) -> tuple[FloatArray, FloatArray]:
        (lat_values, lat_missing), (lng_values, lng_missing) = lat, lng
        missing = lat_missing | lng_missing
        no_number = ~missing & ~(np.isfinite(lat_values) & np.isfinite(lng_values))
        valid = valid_coordinates(lat_values, lng_values) & ~missing
        for reason, count in (
            (MISSING, missing.sum()),
            (NO_NUMBER, no_number.sum()),
            (OUT_OF_RANGE, (~valid & ~missing & ~no_number).sum()),
        ):
            if count:
                self.bad[reason] += int(count)
        return lat_values[valid], lng_values[valid]

    def _csv(self, path: Path) -> Iterator[tuple[Any, Any, int]]:
        import pyarrow as pa
        from pyarrow import csv as arrow_csv

        names = self._columns[path]

        def skip(_row: object) -> str:
            self.bad[WRONG_COLUMNS] += 1
            return "skip"

        before = 0
        with path.open("rb") as raw:
            try:
                reader = arrow_csv.open_csv(
                    pa.input_stream(raw, compression=_compression(path)),
                    read_options=arrow_csv.ReadOptions(block_size=_BLOCK_BYTES),
                    parse_options=arrow_csv.ParseOptions(
                        newlines_in_values=True, invalid_row_handler=skip
                    ),
                    convert_options=arrow_csv.ConvertOptions(
                        include_columns=list(names),
                        column_types=dict.fromkeys(names, pa.string()),
                    ),
                )
                for batch in reader:
                    position = raw.tell()
                    yield batch.column(0), batch.column(1), position - before
                    before = position
            except (pa.ArrowInvalid, OSError) as error:
                raise InputError(f"{path}: {_first_line(error)}") from error

    def _parquet(self, path: Path) -> Iterator[tuple[Any, Any, int]]:
        import pyarrow as pa
        from pyarrow import parquet

        size = path.stat().st_size
        try:
            # By default whole columns are read ahead.
            with parquet.ParquetFile(path, pre_buffer=False, buffer_size=_BLOCK_BYTES) as file:
                rows = max(1, file.metadata.num_rows)
                names = list(self._columns[path])
                for batch in file.iter_batches(batch_size=_BATCH_ROWS, columns=names):
                    share = size * batch.num_rows // rows
                    yield batch.column(names[0]), batch.column(names[1]), share
        except (pa.ArrowInvalid, OSError) as error:
            raise InputError(f"{path}: {_first_line(error)}") from error

    def _find_columns(self, path: Path) -> tuple[str, str]:
        header = _header(path)
        return (
            _pick(path, header, self.lat_column, LAT_NAMES, "latitude", "--lat-column"),
            _pick(path, header, self.lng_column, LNG_NAMES, "longitude", "--lng-column"),
        )


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
    by_name = {name.strip().lower(): name for name in reversed(header)}
    for name in usual:
        if name in by_name:
            return by_name[name]
    raise InputError(f"{path}: no column of {what}s among {shown}; name it with {option}")


def _header(path: Path) -> list[str]:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        if path.suffix.lower() in PARQUET_SUFFIXES:
            return list(parquet.read_schema(path).names)
        with path.open("rb") as raw, pa.input_stream(raw, compression=_compression(path)) as file:
            start = file.read(1 << 16)
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(f"{path}: {_first_line(error)}") from error
    lines = start.decode("utf-8-sig", errors="replace").splitlines(keepends=True)
    header = next(csv.reader(lines), None)
    if not header:
        raise InputError(f"{path}: empty; expected a header with a latitude and a longitude column")
    return header


def _compression(path: Path) -> str | None:
    return {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd"}.get(path.suffix.lower())


def numbers(column: Any, place: str) -> FloatArray:
    """Return a whole Arrow column as float64, NaN for what is empty or no number.

    Raises
    ------
    InputError
        The column's type is none that coordinates come in; the message names `place`.
    """
    return _floats(column.combine_chunks(), place)[0]


def _floats(column: Any, place: str) -> _Column:
    """Return an Arrow column as float64 with NaN for what is no number, and where it is empty."""
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


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
