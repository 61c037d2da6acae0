"""The rows of a table, chunk by chunk, in bounded memory.

Knows rows and their columns; not what stands in them. Every row is either yielded or counted as
refused: a quote that is never closed ends the reading with an error, because nothing says where
its row ends.

A block of delimited text whose quotes are beyond doubt is split by Arrow; any other by the standard
library's parser, which is slower and says where a quote goes wrong.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from locationnet.errors import InputError
from locationnet.tables.table_file import TableFile, Text, arrow_file, damaged_parquet, open_text

if TYPE_CHECKING:
    import pyarrow as pa

Lines = NDArray[np.int64]

WRONG_COLUMNS = "wrong number of columns"

_BLOCK_BYTES = 4 << 20
_BATCH_ROWS = 1 << 18
# Many times the longest row that anybody has; more is not a table.
_MAX_ROW_BYTES = 16 << 20


@dataclass(frozen=True)
class BadRow:
    """A row of delimited text that is refused.

    Parameters
    ----------
    row, line
        Its number among the rows below the header, and the line of the file that it begins in,
        both from 1.
    problem
        What is wrong with it.
    values
        What stands in it.
    """

    row: int
    line: int
    problem: str
    values: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"row {self.row} (line {self.line}): {self.problem}"


def stream_rows(
    table: TableFile, names: Sequence[str], bad_row: Callable[[BadRow], object]
) -> Iterator[tuple[pa.RecordBatch, int]]:
    """Yield some columns of a table with the bytes of the file that were read for them.

    Parameters
    ----------
    table
        From `locationnet.tables.table_file.open_table`.
    names
        The columns, in the order in which they are wanted.
    bad_row
        Called for each row of text that has too few or too many columns; it is left out.

    Yields
    ------
    RecordBatch, int
        Columns of text come as bytes, which may not be UTF-8; those of Parquet have types of their
        own.

    Raises
    ------
    InputError
        The file is damaged, or a quote of it is never closed.
    """
    import pyarrow as pa

    if table.form == "csv":
        yield from _text_rows(table, names, bad_row)
        return
    try:
        yield from _parquet_rows(table.path, names)
    except (pa.ArrowException, OSError) as error:
        raise damaged_parquet(table.path, error) from error


def numbered_rows(
    table: TableFile,
    names: Sequence[str],
    bad_row: Callable[[BadRow], object],
    blank_line: Callable[[int], object],
) -> Iterator[tuple[pa.RecordBatch, Lines]]:
    """Yield some columns of a table with where each row stands; see `stream_rows`.

    Parameters
    ----------
    blank_line
        Called with the number of each blank line below the header of text, from 1.

    Yields
    ------
    RecordBatch, int64 (rows,)
        The line of the file that each row begins in, from 1; of Parquet the number of the row.
    """
    if table.form == "csv":
        with open_text(table.path) as text:
            yield from _Splitter(table, names, text, bad_row, blank_line).batches()
        return
    before = 0
    for batch, _ in stream_rows(table, names, bad_row):
        yield batch, np.arange(before, before + batch.num_rows) + 1
        before += batch.num_rows


def _parquet_rows(path: Path, names: Sequence[str]) -> Iterator[tuple[pa.RecordBatch, int]]:
    from pyarrow import parquet

    size = path.stat().st_size
    # By default whole columns are read ahead.
    with (
        arrow_file(path) as raw,
        parquet.ParquetFile(raw, pre_buffer=False, buffer_size=_BLOCK_BYTES) as file,
    ):
        rows = max(1, file.metadata.num_rows)
        for batch in file.iter_batches(batch_size=_BATCH_ROWS, columns=list(names)):
            yield batch.select(list(names)), size * batch.num_rows // rows


def _text_rows(
    table: TableFile, names: Sequence[str], bad_row: Callable[[BadRow], object]
) -> Iterator[tuple[pa.RecordBatch, int]]:
    before = 0
    with open_text(table.path) as text:
        for batch, _ in _Splitter(table, names, text, bad_row).batches():
            position = text.tell()
            yield batch, position - before
            before = position


class _Splitter:
    """Splits a text into rows, and rows into columns."""

    def __init__(
        self,
        table: TableFile,
        names: Sequence[str],
        text: Text,
        bad_row: Callable[[BadRow], object],
        blank_line: Callable[[int], object] = lambda _: None,
    ) -> None:
        self._table, self._text = table, text
        self._wanted = {str(table.names.index(name)): name for name in names}
        self._bad_row, self._blank_line = bad_row, blank_line
        self._columns = len(table.names)
        self._row, self._line = 0, table.header_lines

    def batches(self) -> Iterator[tuple[pa.RecordBatch, Lines]]:
        """Yield the rows below the header, and the line that each begins in."""
        blocks = self._blocks()
        for block in blocks:
            if _is_plain(block, self._table.delimiter):
                yield from self._split(block)
            else:
                yield self._parse_quoted(block, blocks)

    def _blocks(self) -> Iterator[bytes]:
        """Yield whole lines, many at a time, without those of the header."""
        header = self._table.header_lines
        tail = bytearray()
        while True:
            data = self._text.read(_BLOCK_BYTES)
            if not data:
                break
            tail += data
            while header and (end := tail.find(b"\n") + 1):
                del tail[:end]
                header -= 1
            end = tail.rfind(b"\n") + 1
            if not header and end and len(tail) >= _BLOCK_BYTES // 2:
                yield bytes(tail[:end])
                del tail[:end]
            if len(tail) > _MAX_ROW_BYTES:
                raise InputError(
                    f"{self._table.path}: line {self._line + tail.count(10) + 1} is longer than"
                    f" {_MAX_ROW_BYTES >> 20} MiB; not a table of text"
                )
        if tail and not header:
            yield bytes(tail if tail.endswith(b"\n") else tail + b"\n")

    def _split(self, block: bytes) -> Iterator[tuple[pa.RecordBatch, Lines]]:
        """Split lines with plain quotes."""
        import pyarrow as pa

        try:
            rows = self._arrow(block)
        except pa.ArrowInvalid:  # a row has too few or too many columns, which is rare
            yield self._parse_quoted(block, iter(()))
            return
        lines = self._line + 1 + np.arange(block.count(b"\n"))
        if rows.num_rows < len(lines):
            blank = np.array([not line for line in block.split(b"\n")[:-1]])
            for line in lines[blank]:
                self._blank_line(int(line))
            lines = lines[~blank]
        self._row += rows.num_rows
        self._line += block.count(b"\n")
        for batch in rows.combine_chunks().to_batches():
            yield batch, lines[: batch.num_rows]
            lines = lines[batch.num_rows :]

    def _arrow(self, block: bytes) -> pa.Table:
        import pyarrow as pa
        from pyarrow import csv as arrow_csv

        rows = arrow_csv.read_csv(
            pa.BufferReader(block),
            arrow_csv.ReadOptions(
                use_threads=False,
                block_size=len(block) + 1,  # a row never lies across two
                column_names=[str(index) for index in range(self._columns)],
            ),
            arrow_csv.ParseOptions(
                delimiter=self._table.delimiter,
                quote_char='"',
                double_quote=True,
                escape_char=False,
                newlines_in_values=False,
            ),
            arrow_csv.ConvertOptions(
                include_columns=list(self._wanted),
                column_types=dict.fromkeys(self._wanted, pa.binary()),
                strings_can_be_null=False,
                check_utf8=False,
            ),
        )
        return rows.rename_columns(list(self._wanted.values()))

    def _parse_quoted(self, block: bytes, more: Iterator[bytes]) -> tuple[pa.RecordBatch, Lines]:
        """Split lines that may hold quotes; the last row may take lines of the next blocks too."""
        import pyarrow as pa

        lines = _Lines(block, more)
        reader = csv.reader(lines, delimiter=self._table.delimiter, strict=True)
        columns: list[list[str]] = [[] for _ in self._wanted]
        starts: list[int] = []
        indexes = [int(index) for index in self._wanted]
        while lines.pending:
            start, taken = self._line + 1, lines.taken
            values: list[str] | None
            try:
                values = next(reader)
            except csv.Error as error:
                if "new-line character" not in str(error):
                    raise self._bad_quote(start, error) from error
                values = None
            self._line += lines.taken - taken
            if values is None:
                self._row += 1
                self._refuse(start, "a carriage return outside quotes")
                continue
            if not values or (len(values) == 1 < self._columns and not values[0].strip()):
                self._blank_line(start)
                continue
            self._row += 1
            if self._line > start:
                self._check_breaks(values, start)
            if len(values) != self._columns:
                self._refuse(start, f"{len(values)} columns, expected {self._columns}", values)
            elif any("\0" in value for value in values):
                self._refuse(start, "a NUL byte", values)
            else:
                starts.append(start)
                for column, index in zip(columns, indexes, strict=True):
                    column.append(values[index])
        arrays = [_as_binary(column) for column in columns]
        batch = pa.RecordBatch.from_arrays(arrays, names=list(self._wanted.values()))
        return batch, np.array(starts, np.int64)

    def _refuse(self, line: int, problem: str, values: Sequence[str] = ()) -> None:
        self._bad_row(BadRow(self._row, line, problem, tuple(values)))

    def _bad_quote(self, line: int, error: csv.Error) -> InputError:
        what = "unexpected end of data" in str(error) or "field larger" in str(error)
        problem = (
            "a quote opens here and is never closed"
            if what
            else "a quote opens here, and what follows its end is not a delimiter"
        )
        row = BadRow(self._row + 1, line, f"{problem}; a quote within a value is written twice")
        return InputError(f"{self._table.path}: {row}")

    def _check_breaks(self, values: list[str], line: int) -> None:
        """Refuse a row over several lines where a missing quote is likelier than a long value.

        Raises
        ------
        InputError
            The row does not fit, or lines within a value look like rows of their own.
        """
        delimiters = self._columns - 1
        inside = [text for value in values for text in value.split("\n")[1:-1]]
        like_rows = sum(text.count(self._table.delimiter) == delimiters for text in inside)
        if len(values) != self._columns:
            problem = f"in a row of {len(values)} columns, expected {self._columns}"
        elif delimiters and like_rows > len(inside) / 2:
            problem = "beyond lines that look like rows of their own"
        else:
            return
        closes = f"a quote opens here and closes {self._line - line} lines below, {problem}"
        raise InputError(f"{self._table.path}: {BadRow(self._row, line, closes)}")


def _is_plain(block: bytes, delimiter: str) -> bool:
    """Return whether all quotes of a block stand around values of one line, or are doubled there.

    Nor may it hold bytes by which Arrow would split it otherwise.
    """
    if b"\0" in block or b"\r" in block:
        return False
    if b'"' not in block:
        return True
    text = np.frombuffer(block, np.uint8)
    quotes = np.flatnonzero(text == ord('"'))
    if len(quotes) % 2:
        return False
    opening, closing = quotes[0::2], quotes[1::2]
    # A doubled quote closes and opens at once.
    ends = np.frombuffer(f'{delimiter}\n"'.encode(), np.uint8)
    breaks = np.flatnonzero(text == ord("\n"))
    return bool(
        np.isin(text[opening[opening > 0] - 1], ends).all()
        and np.isin(text[closing + 1], ends).all()
        and (np.searchsorted(breaks, opening) == np.searchsorted(breaks, closing)).all()
    )


class _Lines:
    """The lines of a block, and those of the next ones when a row goes on there."""

    def __init__(self, block: bytes, more: Iterator[bytes]) -> None:
        self._lines = _decoded(block)
        self._more = more
        self._next = 0
        self.taken = 0

    @property
    def pending(self) -> bool:
        """Whether lines of the current blocks are left."""
        return self._next < len(self._lines)

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        if not self.pending:
            self._lines, self._next = _decoded(next(self._more)), 0
        line = self._lines[self._next]
        self._next += 1
        self.taken += 1
        return line


def _decoded(block: bytes) -> list[str]:
    text = block.decode(errors="surrogateescape")
    return [f"{line}\n" for line in text.removesuffix("\n").split("\n")]


def _as_binary(values: list[str]) -> Any:
    import pyarrow as pa

    try:
        return pa.array(values, pa.string()).cast(pa.binary())
    except UnicodeEncodeError:  # bytes that were not UTF-8
        return pa.array([value.encode(errors="surrogateescape") for value in values], pa.binary())
