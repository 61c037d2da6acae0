"""Parquet files written a row group at a time, each group but the last of the same size.

Knows nothing of what the columns mean.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from locationnet.tables.source import arrow_file

if TYPE_CHECKING:
    import pyarrow as pa

GROUP_BITS = 16
GROUP_ROWS = 1 << GROUP_BITS
# The other texts of a photo are its own, and a dictionary of them would only cost memory.
_REPEATED = ["uploader", "licence"]


class PartWriter:
    """Gathers rows into row groups of `GROUP_ROWS`; a context manager.

    Parameters
    ----------
    path
        The file to write.
    schema
        Its columns.
    compression
        A codec of Parquet's.
    """

    def __init__(self, path: Path, schema: pa.Schema, compression: str) -> None:
        from pyarrow import parquet

        self._schema = schema
        self._waiting: list[pa.RecordBatch] = []
        self._count = 0
        self._file = arrow_file(path, "wb")
        self._writer = parquet.ParquetWriter(
            self._file, schema, compression=compression, use_dictionary=_REPEATED
        )
        self.rows = 0

    def __enter__(self) -> PartWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                self._flush(1)
        finally:
            with self._file:
                self._writer.close()

    def write(self, batch: pa.RecordBatch) -> None:
        """Append rows."""
        self._waiting.append(batch)
        self._count += batch.num_rows
        self.rows += batch.num_rows
        self._flush(GROUP_ROWS)

    def _flush(self, least: int) -> None:
        """Write row groups until fewer than `least` rows wait."""
        import pyarrow as pa

        if self._count < least:
            return
        table = pa.Table.from_batches(self._waiting, self._schema)
        start = 0
        while table.num_rows - start >= least:
            self._writer.write_table(table.slice(start, GROUP_ROWS), GROUP_ROWS)
            start = min(start + GROUP_ROWS, table.num_rows)
        # Copied, so that what was written can be freed.
        rest = table.slice(start).combine_chunks()
        self._waiting = rest.to_batches()
        self._count = rest.num_rows


def row_groups(path: Path, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
    """Yield the row groups of a file, only the columns that are named."""
    from pyarrow import parquet

    with arrow_file(path) as raw, parquet.ParquetFile(raw, pre_buffer=False) as file:
        for group in range(file.metadata.num_row_groups):
            yield file.read_row_group(group, columns=columns, use_threads=False)
