"""A table of any length, some rows at a time and all columns of each.

Knows rows; not what stands in them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from locationnet.errors import InputError
from locationnet.tables.read import stream_texts
from locationnet.tables.table_file import arrow_file, damaged_parquet, open_table

if TYPE_CHECKING:
    import pyarrow as pa

_BATCH_ROWS = 1 << 12


class SlicedTable:
    """A table on disk; of delimited text, all columns stay text.

    Parameters
    ----------
    path
        The file.

    Raises
    ------
    MissingExtraError
        pyarrow is not installed.
    InputError
        It is missing, is not a table, has no rows, or a row of text is damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = open_table(path)
        import pyarrow as pa
        from pyarrow import parquet

        if self._file.form == "csv":
            self.schema = pa.schema([(name, pa.string()) for name in self._file.names])
            # Whatever is wrong with a row is said before any work.
            self._count = sum(batch.num_rows for batch in self._batches())
        else:
            try:
                with arrow_file(path) as raw:
                    fields = parquet.read_metadata(raw)
            except (pa.ArrowException, OSError) as error:
                raise damaged_parquet(path, error) from error
            self.schema, self._count = fields.schema.to_arrow_schema(), fields.num_rows
        if not self._count:
            raise InputError(f"{path}: contains no rows")

    def __len__(self) -> int:
        return int(self._count)

    @property
    def names(self) -> list[str]:
        """Its columns."""
        return list(self.schema.names)

    def slices(self, rows: int) -> Iterator[pa.Table]:
        """Yield `rows` rows at a time from the beginning, and what is left at the end."""
        import pyarrow as pa

        waiting = self.schema.empty_table()
        for batch in self._batches():
            waiting = pa.concat_tables([waiting, pa.Table.from_batches([batch])])
            while waiting.num_rows >= rows:
                yield waiting.slice(0, rows)
                waiting = waiting.slice(rows)
        if waiting.num_rows:
            yield waiting

    def _batches(self) -> Iterable[pa.RecordBatch]:
        if self._file.form == "csv":
            return stream_texts(self._file, self._file.names)
        return self._parquet_batches()

    def _parquet_batches(self) -> Iterator[pa.RecordBatch]:
        import pyarrow as pa
        from pyarrow import parquet

        try:
            with arrow_file(self.path) as raw, parquet.ParquetFile(raw) as file:
                yield from file.iter_batches(_BATCH_ROWS)
        except (pa.ArrowException, OSError) as error:
            raise damaged_parquet(self.path, error) from error
