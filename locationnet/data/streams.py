"""Columns of CSV and Parquet tables, chunk by chunk, in bounded memory.

Knows files and names of columns; not what a column means.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from locationnet.errors import InputError

if TYPE_CHECKING:
    import pyarrow as pa

PARQUET_SUFFIXES = frozenset({".parquet", ".pq"})
_BLOCK_BYTES = 4 << 20
_BATCH_ROWS = 1 << 18


def is_parquet(path: Path) -> bool:
    """Tell the two forms apart by the suffix."""
    return path.suffix.lower() in PARQUET_SUFFIXES


def stream_columns(
    path: Path, names: Sequence[str], kind: pa.DataType, bad_row: Callable[[], object]
) -> Iterator[tuple[pa.RecordBatch, int]]:
    """Yield some columns of a table with the bytes of the file that were read for them.

    Parameters
    ----------
    path
        CSV with a header (``.gz``, ``.bz2``, ``.zst`` too) or Parquet.
    names
        The columns, in the order in which they are wanted.
    kind
        The type that a CSV's columns get, text or bytes; Parquet has types of its own.
    bad_row
        Called for each row of a CSV that has too few or too many columns; it is left out.

    Raises
    ------
    InputError
        The file cannot be read as a table.
    """
    import pyarrow as pa

    read = _parquet(path, names) if is_parquet(path) else _csv(path, names, kind, bad_row)
    try:
        yield from read
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(f"{path}: {_first_line(error)}") from error


def _csv(
    path: Path, names: Sequence[str], kind: pa.DataType, bad_row: Callable[[], object]
) -> Iterator[tuple[pa.RecordBatch, int]]:
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    def skip(_row: object) -> str:
        bad_row()
        return "skip"

    before = 0
    with path.open("rb") as raw:
        reader = arrow_csv.open_csv(
            pa.input_stream(raw, compression=_compression(path)),
            read_options=arrow_csv.ReadOptions(block_size=_BLOCK_BYTES),
            parse_options=arrow_csv.ParseOptions(newlines_in_values=True, invalid_row_handler=skip),
            convert_options=arrow_csv.ConvertOptions(
                include_columns=list(names), column_types=dict.fromkeys(names, kind)
            ),
        )
        for batch in reader:
            position = raw.tell()
            yield batch, position - before
            before = position


def _parquet(path: Path, names: Sequence[str]) -> Iterator[tuple[pa.RecordBatch, int]]:
    from pyarrow import parquet

    size = path.stat().st_size
    # By default whole columns are read ahead.
    with parquet.ParquetFile(path, pre_buffer=False, buffer_size=_BLOCK_BYTES) as file:
        rows = max(1, file.metadata.num_rows)
        for batch in file.iter_batches(batch_size=_BATCH_ROWS, columns=list(names)):
            yield batch.select(list(names)), size * batch.num_rows // rows


def header(path: Path) -> list[str]:
    """Return the names of a table's columns; none for an empty CSV.

    Raises
    ------
    InputError
        The file cannot be read.
    """
    import pyarrow as pa
    from pyarrow import parquet

    try:
        if is_parquet(path):
            return list(parquet.read_schema(path).names)
        with path.open("rb") as raw, pa.input_stream(raw, compression=_compression(path)) as file:
            start = file.read(1 << 16)
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(f"{path}: {_first_line(error)}") from error
    lines = start.decode("utf-8-sig", errors="replace").splitlines(keepends=True)
    return next(csv.reader(lines), [])


def find_name(names: Sequence[str], usual: Sequence[str]) -> str | None:
    """Return the first of the usual names that is there, as it is written there."""
    by_name = {name.strip().lower(): name for name in reversed(names)}
    return next((by_name[name] for name in usual if name in by_name), None)


def _compression(path: Path) -> str | None:
    return {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd"}.get(path.suffix.lower())


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
