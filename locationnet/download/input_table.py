"""The table of photos to fetch, a batch at a time, and the rows of it that were fetched.

Knows columns; nothing of servers. A photo's path follows from its hash, or from that of its URL, so
that no two photos share one and any two tables agree.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from locationnet.commons import photo_path
from locationnet.errors import InputError
from locationnet.tables.columns import find_column, missing_columns
from locationnet.tables.read import names_column, read_table
from locationnet.tables.table_file import arrow_file, damaged_parquet, open_table

if TYPE_CHECKING:
    import pyarrow as pa

_BATCH_ROWS = 1 << 14


@dataclass(frozen=True)
class Batch:
    """Some rows of the table.

    Parameters
    ----------
    start
        The first one's number in the table, from 0.
    rows
        All columns.
    ids, urls
        ``""`` where there is none.
    paths
        Where the photos go, ``""`` for those that cannot be asked for.
    """

    start: int
    rows: pa.Table
    ids: list[str]
    urls: list[str]
    paths: list[str]


class InputTable:
    """A table of photos to fetch.

    Parameters
    ----------
    file
        Has a column of hashes or of URLs, or both.

    Raises
    ------
    MissingExtraError
        pyarrow is not installed.
    InputError
        The file is missing, is not a table, has no rows or neither column, or one is not text.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        opened = open_table(file)
        names = opened.names
        self._hash, self._url, self._id = (
            find_column(file, names, field) for field in ("hash", "url", "id")
        )
        if self._hash is None and self._url is None:
            raise missing_columns(file, names, "hash", "url")
        self._table, schema, self._count = self._open(opened.form)
        if not self._count:
            raise InputError(f"{file}: contains no rows")
        self._fields(schema.empty_table())

    def _open(self, form: str) -> tuple[pa.Table | None, pa.Schema, int]:
        """Return the table, if it is in memory, its columns and how many rows it has."""
        import pyarrow as pa
        from pyarrow import parquet

        # Text is read whole: whoever has millions of photos has Parquet.
        if form == "csv":
            table = read_table(self.file)
            return table, table.schema, table.num_rows
        try:
            with arrow_file(self.file) as raw:
                fields = parquet.read_metadata(raw)
        except (pa.ArrowException, OSError) as error:
            raise damaged_parquet(self.file, error) from error
        return None, fields.schema.to_arrow_schema(), fields.num_rows

    def __len__(self) -> int:
        return int(self._count)

    def batches(self) -> Iterator[Batch]:
        """Yield the table from the beginning."""
        start = 0
        for rows in self._tables():
            hashes, urls, ids = self._fields(rows)
            paths = [photo_path(*pair) for pair in zip(hashes, urls, strict=True)]
            yield Batch(start, rows, ids, urls, paths)
            start += rows.num_rows

    def _fields(self, rows: pa.Table) -> list[list[str]]:
        """Return hashes, URLs and ids."""
        return [names_column(self.file, rows, name) for name in (self._hash, self._url, self._id)]

    def _tables(self) -> Iterator[pa.Table]:
        import pyarrow as pa
        from pyarrow import parquet

        if self._table is not None:
            for start in range(0, self._count, _BATCH_ROWS):
                yield self._table.slice(start, _BATCH_ROWS)
            return
        with arrow_file(self.file) as raw, parquet.ParquetFile(raw) as file:
            for batch in file.iter_batches(_BATCH_ROWS):
                yield pa.Table.from_batches([batch])


def with_paths(rows: pa.Table, paths: list[str]) -> pa.Table:
    """Return rows with a column ``path`` instead of theirs, or first."""
    import pyarrow as pa

    column = pa.array(paths, pa.string())
    # A table that calls its own paths so has others, or the same.
    own = [name for name in rows.column_names if name.strip().lower() == "path"]
    if not own:
        return rows.add_column(0, "path", column)
    return rows.set_column(rows.column_names.index(own[0]), "path", column)
