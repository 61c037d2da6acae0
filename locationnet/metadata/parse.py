"""A shard of any form to batches of raw fields: lines, the SQLite edition, own tables.

Knows forms; which rows are wanted is decided elsewhere.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from locationnet.errors import InputError
from locationnet.metadata.layouts import (
    FIELDS,
    SQLITE,
    SQLITE_TABLE,
    Layout,
    tab_layout,
    table_layout,
)
from locationnet.metadata.lines import parse_block, read_blocks
from locationnet.metadata.sources import CorruptError, Shard, open_text
from locationnet.progress import Advance
from locationnet.tables.columns import missing_columns
from locationnet.tables.stream import WRONG_COLUMNS, BadRow, stream_rows
from locationnet.tables.table_file import SQLITE_MAGIC, header_of, is_utf8_text, open_table

if TYPE_CHECKING:
    import pyarrow as pa

_SAMPLE_BYTES = 1 << 20
_SAMPLE_LINES = 100
_SQLITE_ROWS = 1 << 15


def detect(shard: Shard) -> Layout | None:
    """Return the layout of a shard, or None if it is empty.

    Raises
    ------
    InputError
        The layout is unknown, or cannot be read where the shard is; the message shows the row.
    """
    sample, damage = _sample(shard)
    if sample.startswith(SQLITE_MAGIC):
        return _sqlite_layout(_require_local(shard))
    if not is_utf8_text(sample):
        names = open_table(_require_local(shard)).names
        found = table_layout(shard.name, names)
        if found is None:
            raise missing_columns(shard.name, names, "lat", "lng")
        return found
    if b"\n" not in sample:
        sample = sample.replace(b"\r", b"\n")
    text = sample.decode("utf-8-sig", errors="replace")
    *lines, last = (line.removesuffix("\r") for line in text.split("\n"))
    if damage or len(sample) >= _SAMPLE_BYTES:
        last = ""  # cut off
    lines = [line for line in (*lines, last) if line.strip()]
    if not lines and (damage or sample.strip()):
        raise InputError(f"{shard.name}: {damage or 'too long'} before the first row ends")
    if not lines:
        return None
    found = _own_table(shard, lines)
    return found or tab_layout(shard.name, lines[:_SAMPLE_LINES])


def _own_table(shard: Shard, lines: list[str]) -> Layout | None:
    """Return the layout of a table whose header names columns; None where there is no header."""
    tabs = "\t" in lines[0]
    try:
        names = header_of(Path(shard.name), "\n".join(lines).encode()).names
    except InputError:
        if not tabs:  # what has tabs may be rows without a header, in which quotes mean nothing
            raise
        return None
    found = table_layout(shard.name, names)
    if found is not None:
        open_table(_require_local(shard))
    return found


def read_raw(
    shard: Shard, layout: Layout, dropped: Counter[str], advance: Advance, *, threads: int = 1
) -> Iterator[pa.RecordBatch]:
    """Yield a shard's rows, only the fields of `layout`, in bounded memory.

    Parameters
    ----------
    shard, layout
        What to read, and what `detect` found there.
    dropped
        Counts the rows that cannot be read.
    advance
        Called with the bytes of the file that were read since the last call.
    threads
        For decompression.

    Raises
    ------
    CorruptError
        After the last row before the shard is damaged.
    UnsureError
        The shard is damaged; only with one thread it is sure which rows come before.
    InputError
        The shard cannot be read.
    """
    if layout.form == "tab":
        yield from _lines(shard, layout, dropped, advance, threads)
        return
    path = _require_local(shard)
    if layout.form == "sqlite":
        yield from _sqlite(path, layout, advance)
    else:
        yield from _table(path, layout, dropped, advance)


def _require_local(shard: Shard) -> Path:
    if shard.path is None:
        raise InputError(f"{shard.name}: databases and tables must be on this machine")
    return shard.path


def _sample(shard: Shard) -> tuple[bytes, str]:
    """Return how a shard begins, and what is wrong with it, ``""`` for nothing."""
    sample = b""
    with open_text(shard) as text:
        try:
            while len(sample) < _SAMPLE_BYTES and (data := text.read(_SAMPLE_BYTES)):
                sample += data
        except CorruptError as error:
            return sample, str(error)
    return sample, ""


def _lines(
    shard: Shard, layout: Layout, dropped: Counter[str], advance: Advance, threads: int
) -> Iterator[pa.RecordBatch]:
    before = 0
    with open_text(shard, threads=threads) as text:
        for block in read_blocks(text, dropped):
            yield from parse_block(block, layout, dropped).combine_chunks().to_batches()
            position = text.tell()
            advance(position - before)
            before = position


def _table(
    path: Path, layout: Layout, dropped: Counter[str], advance: Advance
) -> Iterator[pa.RecordBatch]:
    import pyarrow as pa

    def wrong(_row: BadRow) -> None:
        dropped[WRONG_COLUMNS] += 1

    for batch, count in stream_rows(open_table(path), layout.columns, wrong):
        yield pa.RecordBatch.from_arrays(batch.columns, names=list(layout.fields))
        advance(count)


def _sqlite_layout(path: Path) -> Layout:
    try:
        with closing(_connect(path)) as database:
            found = database.execute(f"PRAGMA table_info({SQLITE_TABLE})").fetchall()
    except sqlite3.Error as error:
        raise InputError(f"{path}: cannot be read ({error})") from error
    missing = set(SQLITE.columns) - {str(row[1]) for row in found}
    if missing:
        raise InputError(
            f"{path}: no table {SQLITE_TABLE} with the column {', '.join(sorted(missing))}"
        )
    return SQLITE


def _sqlite(path: Path, layout: Layout, advance: Advance) -> Iterator[pa.RecordBatch]:
    import pyarrow as pa

    fields = [name for name in layout.columns if name in FIELDS]
    # As bytes, so that a row that is not UTF-8 is a bad row and not the end.
    columns = ", ".join(f"CAST({name} AS BLOB)" for name in fields)
    try:
        with closing(_connect(path)) as database:
            cursor = database.execute(f"SELECT {columns} FROM {SQLITE_TABLE}")  # noqa: S608 - our own names
            while rows := cursor.fetchmany(_SQLITE_ROWS):
                arrays = [pa.array(column, pa.binary()) for column in zip(*rows, strict=True)]
                yield pa.RecordBatch.from_arrays(arrays, names=fields)
                advance(sum(array.nbytes for array in arrays))
    except sqlite3.Error as error:
        raise InputError(f"{path}: cannot be read ({error})") from error


def _connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
