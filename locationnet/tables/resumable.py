"""A table made part by part, so that who was killed goes on where it stopped.

Knows parts and what they belong to; not how they are made.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from locationnet.errors import LocationNetError
from locationnet.files import write_text, written_whole
from locationnet.tables.table_file import arrow_file

if TYPE_CHECKING:
    import pyarrow as pa

# Rows that are written together: what an interruption costs at most.
PART_ROWS = 256


class Parts:
    """The parts of one table in a folder; those of another are removed.

    Parameters
    ----------
    folder
        Made if need be.
    fingerprint
        Says what the parts depend on: parts of an earlier call with another one are of no use.

    Raises
    ------
    LocationNetError
        The folder cannot be written.
    """

    def __init__(self, folder: Path, fingerprint: str) -> None:
        self._folder = folder
        mark = folder / "begun"
        try:
            if not (mark.is_file() and mark.read_text() == fingerprint):
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir(parents=True)
                write_text(mark, fingerprint)
        except OSError as error:
            raise LocationNetError(f"{folder}: cannot be written ({error.strerror})") from error

    def __contains__(self, start: int) -> bool:
        """Return whether the part that begins with a row is there."""
        return self._path(start).is_file()

    def read(self, start: int) -> pa.Table:
        """Return a part."""
        from pyarrow import parquet

        with arrow_file(self._path(start)) as file:
            return parquet.read_table(file)

    def write(self, start: int, rows: pa.Table) -> None:
        """Write a part, whole or not at all."""
        write_parquet(self._path(start), rows)

    def remove(self) -> None:
        """Remove all: the table is complete elsewhere."""
        shutil.rmtree(self._folder)

    def _path(self, start: int) -> Path:
        return self._folder / f"{start:09d}.parquet"


def write_parquet(path: Path, table: pa.Table) -> None:
    """Write a table as Parquet whatever its name, whole or not at all."""
    from pyarrow import parquet

    with written_whole(path) as part, arrow_file(part, "wb") as file:
        parquet.write_table(table, file)
