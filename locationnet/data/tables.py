"""Whole tables of photos, CSV or Parquet, for the steps that need all rows at once.

Knows files and columns; not what the columns mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from locationnet.data.streams import find_name, is_parquet
from locationnet.errors import InputError, LocationNetError, MissingExtraError

if TYPE_CHECKING:
    import pyarrow as pa

PHOTO_NAMES = ("path", "file", "filename", "image")
UPLOADER_NAMES = ("uploader", "user", "author", "photographer")


def read_table(path: Path) -> pa.Table:
    """Read a table; the columns of a CSV stay text, so that nothing in them changes.

    Raises
    ------
    MissingExtraError
        pyarrow is not installed.
    InputError
        The file is missing, is no table, or has no rows.
    """
    try:
        import pyarrow as pa
        from pyarrow import csv, parquet
    except ImportError as error:
        raise MissingExtraError("reading tables", "data") from error
    try:
        if is_parquet(path):
            table = parquet.read_table(path)
        else:
            # The types can only be given by name, so the header is read first.
            parse = csv.ParseOptions(newlines_in_values=True)
            with csv.open_csv(path, parse_options=parse) as reader:
                names = reader.schema.names
            text = csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()))
            table = csv.read_csv(path, parse_options=parse, convert_options=text)
    except (pa.ArrowInvalid, OSError) as error:
        raise unreadable(path, error) from error
    if not table.num_rows:
        raise InputError(f"{path}: holds no rows")
    return table


def unreadable(path: Path, error: Exception) -> InputError:
    """Return what to raise where pyarrow cannot read a file; its own words name files twice."""
    missing = isinstance(error, FileNotFoundError)
    return InputError(f"{path}: {'no such file' if missing else str(error).splitlines()[0]}")


def write_table(path: Path, table: pa.Table) -> None:
    """Write a table in the form that its suffix names, whole or not at all.

    Raises
    ------
    LocationNetError
        The file cannot be written.
    """
    from pyarrow import csv, parquet

    part = path.with_name(f".{path.name}.part")
    try:
        # Opened here: Arrow takes no path that is not UTF-8.
        with part.open("wb") as file:
            if is_parquet(path):
                parquet.write_table(table, file)
            else:
                csv.write_csv(table, file, csv.WriteOptions(quoting_style="needed"))
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise LocationNetError(f"{path}: cannot be written ({error.strerror})") from error


def find_column(
    path: Path, names: Sequence[str], wanted: str | None, usual: Sequence[str]
) -> str | None:
    """Return the column to use, or None where none of the usual names is there.

    Raises
    ------
    InputError
        The column that was asked for is not there.
    """
    if wanted is not None:
        if wanted not in names:
            shown = ", ".join(map(repr, list(names)[:20]))
            raise InputError(f"{path}: no column {wanted!r}; there are {shown}")
        return wanted
    return find_name(names, usual)
