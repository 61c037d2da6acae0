"""Tab-separated lines to columns of bytes: whole rows or none.

Knows how rows are damaged; not what a column means. A row with too few or too many columns is
dropped whole, so that a stray tab never moves a value into its neighbour's column.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from locationnet.metadata.layouts import Layout
from locationnet.metadata.sources import CorruptError, Text
from locationnet.tables.stream import WRONG_COLUMNS

if TYPE_CHECKING:
    import pyarrow as pa

CONTROL = "NUL or stray carriage return in the row"
CUT_OFF = "cut off where the file is damaged"
TOO_LONG = "longer than a row can be"

BLOCK_BYTES = 8 << 20
# Many times the longest row of YFCC100M.
_MAX_ROW_BYTES = 4 << 20


def read_blocks(text: Text, dropped: Counter[str]) -> Iterator[bytes]:
    """Yield a shard's lines, many at a time, each ended by a line feed.

    Lines that cannot be read are counted in `dropped`: the one that damage cuts off, and any
    that is longer than a few megabytes.

    Raises
    ------
    CorruptError
        After the last block before the damage.
    """
    tail = bytearray()
    skipping = False
    corrupt: CorruptError | None = None
    while corrupt is None:
        try:
            data = text.read(BLOCK_BYTES - len(tail))
        except CorruptError as error:
            corrupt = error
            break
        if not data:
            break
        if skipping:
            _, end, data = data.partition(b"\n")
            if not end:
                continue
            skipping = False
        tail += data
        if len(tail) < BLOCK_BYTES // 2:  # decompressors return little at a time
            continue
        end_of_rows = tail.rfind(b"\n") + 1
        if end_of_rows:
            yield bytes(tail[:end_of_rows])
            del tail[:end_of_rows]
        if len(tail) > _MAX_ROW_BYTES:
            dropped[TOO_LONG] += 1
            tail.clear()
            skipping = True
    if corrupt is not None:
        end_of_rows = tail.rfind(b"\n") + 1
        if len(tail) > end_of_rows:
            dropped[CUT_OFF] += 1
        del tail[end_of_rows:]
    elif tail and not tail.endswith(b"\n"):
        tail += b"\n"
    if tail:
        yield bytes(tail)
    if corrupt is not None:
        raise corrupt


def parse_block(block: bytes, layout: Layout, dropped: Counter[str]) -> pa.Table:
    """Return the fields of a block's rows as binary columns.

    Blank lines are no rows. Rows that are damaged are counted in `dropped`.
    """
    import pyarrow as pa

    block = _without_control(block, dropped)
    try:
        return _parse(block, layout)
    except pa.ArrowInvalid:  # a row has too few or too many columns, which is rare
        return _parse(_with_columns(block, len(layout.columns), dropped), layout)


def _parse(block: bytes, layout: Layout) -> pa.Table:
    import pyarrow as pa
    from pyarrow import csv

    wanted = {str(index): field for field, index in layout.wanted.items()}
    table = csv.read_csv(
        pa.BufferReader(block),
        csv.ReadOptions(
            use_threads=False,
            block_size=len(block) + 1,  # a row never lies across two
            column_names=[str(index) for index in range(len(layout.columns))],
        ),
        csv.ParseOptions(
            delimiter="\t",
            quote_char=False,
            double_quote=False,
            escape_char=False,
            newlines_in_values=False,
        ),
        csv.ConvertOptions(
            include_columns=list(wanted),
            column_types=dict.fromkeys(wanted, pa.binary()),
            strings_can_be_null=False,
            check_utf8=False,
        ),
    )
    return table.rename_columns(list(wanted.values()))


def _with_columns(block: bytes, columns: int, dropped: Counter[str]) -> bytes:
    """Take out the rows with another number of columns.

    Arrow would call back for each, but not for those that are not UTF-8.
    """
    lines = [line for line in block.split(b"\n") if line]
    good = [line for line in lines if line.count(b"\t") == columns - 1]
    dropped[WRONG_COLUMNS] += len(lines) - len(good)
    return b"\n".join(good) + b"\n"


def _without_control(block: bytes, dropped: Counter[str]) -> bytes:
    """Take Windows' line ends for line ends, and out the rows that contain other control bytes.

    Arrow would end a row at any carriage return.
    """
    if b"\r" in block:
        block = block.replace(b"\r\n", b"\n")
    if b"\r" not in block and b"\0" not in block:
        return block
    lines = block.split(b"\n")
    good = [line for line in lines if b"\r" not in line and b"\0" not in line]
    dropped[CONTROL] += len(lines) - len(good)
    return b"\n".join(good) + b"\n"
