"""The table of photos to fetch, a batch at a time, and the rows of it that were fetched.

Knows columns; nothing of servers. A photo's path follows from its hash, or from that of its URL, so
that no two photos share one and any two tables agree.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from locationnet.data.commons import image_key, is_photo_hash, photo_hash
from locationnet.data.streams import is_parquet
from locationnet.data.tables import find_column, read_table, unreadable
from locationnet.errors import InputError, MissingExtraError

if TYPE_CHECKING:
    import pyarrow as pa

HASH_NAMES = ("hash", "photo_hash")
URL_NAMES = ("url", "download_url", "downloadurl", "original_url", "originalurl")
ID_NAMES = ("id", "photo_id", "imageid", "image_id")

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


class Wanted:
    """A table of photos to fetch, CSV or Parquet.

    Parameters
    ----------
    file
        Has a column of hashes or of URLs, or both.

    Raises
    ------
    MissingExtraError
        pyarrow is not installed.
    InputError
        The file is missing, is no table, has no rows or neither column, or one is no text.
    """

    def __init__(self, file: Path) -> None:
        try:
            from pyarrow import ArrowInvalid, parquet
        except ImportError as error:
            raise MissingExtraError("reading tables", "data") from error
        self.file = file
        # A CSV is read whole: whoever has millions of photos has Parquet.
        self._table = None if is_parquet(file) else read_table(file)
        if self._table is None:
            try:
                facts = parquet.read_metadata(file)
            except (ArrowInvalid, OSError) as error:
                raise unreadable(file, error) from error
            schema, self._count = facts.schema.to_arrow_schema(), facts.num_rows
        else:
            schema, self._count = self._table.schema, self._table.num_rows
        names = schema.names
        self._hash, self._url, self._id = (
            find_column(file, names, None, usual) for usual in (HASH_NAMES, URL_NAMES, ID_NAMES)
        )
        if self._hash is None and self._url is None:
            shown = ", ".join(map(repr, names))
            raise InputError(f"{file}: no column of hashes or URLs among {shown}")
        if not self._count:
            raise InputError(f"{file}: holds no rows")
        self._used = [name for name in (self._hash, self._url, self._id) if name is not None]
        in_text(file, schema.empty_table().select(self._used))

    def __len__(self) -> int:
        return int(self._count)

    def batches(self) -> Iterator[Batch]:
        """Yield the table from the beginning."""
        start = 0
        for rows in self._tables():
            table = in_text(self.file, rows.select(self._used))
            hashes, urls, ids = (texts(table, name) for name in (self._hash, self._url, self._id))
            paths = [photo_path(*pair) for pair in zip(hashes, urls, strict=True)]
            yield Batch(start, rows, ids, urls, paths)
            start += rows.num_rows

    def _tables(self) -> Iterator[pa.Table]:
        import pyarrow as pa
        from pyarrow import parquet

        if self._table is not None:
            for start in range(0, self._count, _BATCH_ROWS):
                yield self._table.slice(start, _BATCH_ROWS)
            return
        with parquet.ParquetFile(self.file) as file:
            for batch in file.iter_batches(_BATCH_ROWS):
                yield pa.Table.from_batches([batch])


def with_paths(rows: pa.Table, paths: list[str]) -> pa.Table:
    """Return rows with a column ``path`` in the place of theirs, or first."""
    import pyarrow as pa

    column = pa.array(paths, pa.string())
    index = rows.schema.get_field_index("path")
    if index < 0:
        return rows.add_column(0, "path", column)
    return rows.set_column(index, "path", column)


def in_text(file: Path, table: pa.Table) -> pa.Table:
    """Return a table with all columns as text.

    Raises
    ------
    InputError
        A column holds something else; the message names it and the file.
    """
    import pyarrow as pa

    for index, name in enumerate(table.column_names):
        column = table[name]
        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            continue
        try:
            table = table.set_column(index, name, column.cast(pa.string()))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            why = str(error).splitlines()[0]
            raise InputError(f"{file}: column {name!r} holds no text ({why})") from error
    return table


def texts(rows: pa.Table, column: str | None) -> list[str]:
    """Return a column of `in_text`, ``""`` for what is empty; all empty where there is none."""
    if column is None:
        return [""] * rows.num_rows
    return [text or "" for text in rows[column].to_pylist()]


def photo_path(photo: str, url: str) -> str:
    """Return where a photo goes, by its hash or else its URL; ``""`` where it has neither.

    Blanks around either are no part of it.
    """
    photo, url = photo.strip(), url.strip()
    if is_photo_hash(photo):
        return image_key(photo)
    return image_key(photo_hash(url)) if url else ""
