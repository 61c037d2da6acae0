"""Whole tables, read and written, and their columns as texts and numbers.

Knows types of columns; not what they mean.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from locationnet.errors import InputError
from locationnet.files import written_whole
from locationnet.tables.columns import NUMBER
from locationnet.tables.stream import BadRow, stream_rows
from locationnet.tables.table_file import (
    PARQUET_MAGIC,
    TableFile,
    arrow_file,
    damaged_parquet,
    first_line,
    open_table,
    opened,
)

if TYPE_CHECKING:
    import pyarrow as pa

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

_PARQUET_SUFFIXES = (".parquet", ".pq")
_DELIMITERS = {".csv": ",", ".tsv": "\t"}
_COMPRESSIONS: dict[str, Any] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
# How programs write that there is no text.
_NO_TEXT = ["", "nan", "null", "none", "n/a", "<na>"]


def read_table(path: Path) -> pa.Table:
    """Read a table; the columns of text stay text, so that nothing in them changes.

    Raises
    ------
    MissingExtraError
        pyarrow is not installed.
    InputError
        The file is missing, is not a table, has no rows, or a row is damaged; the message names it.
    """
    table = open_table(path)
    import pyarrow as pa
    from pyarrow import parquet

    if table.form == "parquet":
        try:
            with arrow_file(path) as file:
                rows = parquet.read_table(file)
        except (pa.ArrowException, OSError) as error:
            raise damaged_parquet(path, error) from error
    else:
        rows = _read_text(table)
    if not rows.num_rows:
        raise InputError(f"{path}: contains no rows")
    return rows


def _read_text(table: TableFile) -> pa.Table:
    import pyarrow as pa

    schema = pa.schema([(name, pa.string()) for name in table.names])
    return pa.Table.from_batches(stream_texts(table, table.names), schema)


def stream_texts(table: TableFile, names: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Yield some columns of delimited text, every row of it.

    Raises
    ------
    InputError
        A row has too few or too many columns or is not UTF-8; the message names it.
    """
    import pyarrow as pa

    def refuse(row: BadRow) -> None:
        raise InputError(f"{table.path}: {row}")

    count = 0
    for batch, _ in stream_rows(table, names, refuse):
        columns = []
        for name, column in zip(names, batch.columns, strict=True):
            texts, bad = as_utf8(column)
            if bad.any():
                row = count + int(bad.argmax()) + 1
                raise InputError(f"{table.path}: row {row}: column {name!r} is not UTF-8")
            columns.append(texts)
        count += batch.num_rows
        yield pa.RecordBatch.from_arrays(columns, names=list(names))


def is_parquet(path: Path) -> bool:
    """Return, by its first bytes, whether a file is Parquet.

    Raises
    ------
    InputError
        It cannot be read.
    """
    with opened(path) as file:
        return file.read(len(PARQUET_MAGIC)) == PARQUET_MAGIC


def named_parquet(path: Path) -> bool:
    """Return, by its name, whether a file to write is to be Parquet."""
    return path.suffix.lower() in _PARQUET_SUFFIXES


def table_suffix(path: Path) -> str:
    """Return a suffix for tables like another one, which `write_table` writes."""
    if is_parquet(path):
        return ".parquet"
    *_, form, compression = ["", "", *(suffix.lower() for suffix in path.suffixes)]
    if compression not in _COMPRESSIONS:
        form, compression = compression, ""
    return (form if form in _DELIMITERS else ".csv") + compression


def check_table_name(path: Path) -> None:
    """Refuse a name that does not say in which form a table is to be written.

    Raises
    ------
    InputError
        The message lists the names that do.
    """
    if not named_parquet(path) and _text_form(path) is None:
        raise InputError(
            f"{path}: name it .parquet, .csv or .tsv, the latter two with .gz, .bz2 or .xz or"
            " without"
        )


def _text_form(path: Path) -> tuple[str, str] | None:
    """Return the delimiter and the compression of delimited text that a name says."""
    suffix, compression = path.suffix.lower(), ""
    if suffix in _COMPRESSIONS:
        compression, suffix = suffix, Path(path.stem).suffix.lower()
    return (_DELIMITERS[suffix], compression) if suffix in _DELIMITERS else None


def write_table(path: Path, table: pa.Table) -> None:
    """Write a table in the form that its suffix names, whole or not at all.

    Raises
    ------
    InputError
        See `check_table_name`; or a column has a type that text cannot hold.
    LocationNetError
        The file cannot be written.
    """
    write_slices(path, table.schema, [table])


def write_slices(path: Path, schema: pa.Schema, slices: Iterable[pa.Table]) -> None:
    """Write a table of which some rows come at a time; see `write_table`.

    Parameters
    ----------
    schema
        The columns of each slice.
    """
    import pyarrow as pa
    from pyarrow import csv, parquet

    check_table_name(path)
    try:
        with written_whole(path) as part:
            if (form := _text_form(path)) is None:
                with arrow_file(part, "wb") as file, parquet.ParquetWriter(file, schema) as writer:
                    for rows in slices:
                        writer.write_table(rows)
            else:
                delimiter, compression = form
                options = csv.WriteOptions(quoting_style="needed", delimiter=delimiter)
                with (
                    _written(part, compression) as file,
                    csv.CSVWriter(file, schema, write_options=options) as writer,
                ):
                    for rows in slices:
                        writer.write_table(rows)
    except pa.ArrowException as error:
        raise InputError(f"{path}: cannot be written as text ({first_line(error)})") from error


def check_fits_text(path: Path, schema: pa.Schema) -> None:
    """Refuse a file of text for columns whose types it cannot hold.

    Raises
    ------
    InputError
        The message names the column.
    """
    import pyarrow as pa

    nested = [field for field in schema if pa.types.is_nested(field.type)]
    if nested and not named_parquet(path):
        name, kind = nested[0].name, nested[0].type
        raise InputError(f"{path}: column {name!r} holds {kind}; only Parquet can hold it")


@contextmanager
def _written(path: Path, compression: str) -> Iterator[IO[bytes]]:
    with _COMPRESSIONS.get(compression, Path.open)(path, "wb") as file:
        yield file


def as_utf8(column: Any) -> tuple[Any, Mask]:
    """Return bytes as texts, and which of them are not UTF-8; those are null.

    Parameters
    ----------
    column
        Binary ``(n,)``.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    try:
        return column.cast(pa.string()), np.zeros(len(column), np.bool_)
    except pa.ArrowInvalid:  # one of them, which is rare
        texts = pa.array([_utf8(value) for value in column.to_pylist()], pa.string())
    bad = pc.and_(pc.is_null(texts), pc.is_valid(column))
    return texts, bad.to_numpy(zero_copy_only=False)


def _utf8(value: bytes | None) -> str | None:
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError:
        return None


def text_column(path: Path | str, rows: pa.Table, name: str) -> Any:
    """Return a column as texts, null where there is none; whole numbers without a decimal point.

    Raises
    ------
    InputError
        The column holds something else, or bytes that are not UTF-8; the message names both.
    """
    import pyarrow as pa

    column = rows[name]
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    return as_texts(column, f"{path}: column {name!r}")


def as_texts(column: Any, where: str) -> Any:
    """Return an Arrow array as texts; see `text_column`, whose errors begin with `where`."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = column.type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
        column = pc.cast(column, kind)
    if pa.types.is_nested(kind):
        raise InputError(f"{where} holds {kind}, not texts")
    if pa.types.is_floating(kind):
        column = _whole(column, where)
    try:
        if pa.types.is_string(kind) or pa.types.is_large_string(kind):
            column.validate(full=True)  # Parquet files of other programs may hold any bytes
        return column.cast(pa.string())
    except pa.ArrowInvalid as error:
        bad = as_utf8(column.cast(pa.binary()))[1]
        raise InputError(f"{where}: row {int(bad.argmax()) + 1} is not UTF-8") from error
    except pa.ArrowException as error:
        raise InputError(f"{where} holds {kind}, not texts") from error


def _whole(column: Any, where: str) -> Any:
    """Return whole numbers as such; as texts of floats they would get an exponent."""
    import pyarrow as pa

    values = column.to_numpy(zero_copy_only=False)
    missing = np.isnan(values)
    # Beyond this, two whole numbers can be the same float.
    exact = 2.0 ** (np.finfo(values.dtype).nmant + 1)
    if not (missing | ((values == np.trunc(values)) & (np.abs(values) < exact))).all():
        raise InputError(f"{where} holds {column.type} that are not exact whole numbers")
    return pa.array(np.where(missing, 0, values).astype(np.int64), mask=missing)


def texts(path: Path | str, rows: pa.Table, name: str | None) -> list[str]:
    """Return a column as texts, ``""`` where there is none or no column."""
    if name is None:
        return [""] * rows.num_rows
    return [text or "" for text in text_column(path, rows, name).to_pylist()]


def names_column(path: Path | str, rows: pa.Table, name: str | None) -> list[str]:
    """Return a column of names, ids or addresses: `texts` without blanks around them.

    What programs write for a missing value (``nan``, ``null``, ``None``, ``n/a``) is one: ``""``.
    """
    if name is None:
        return [""] * rows.num_rows
    return list(as_names(text_column(path, rows, name)).to_pylist())


def as_names(column: Any) -> Any:
    """Return an Arrow array of texts as names; see `names_column`."""
    import pyarrow as pa
    import pyarrow.compute as pc

    column = pc.fill_null(pc.utf8_trim_whitespace(column), "")
    missing = pc.is_in(pc.utf8_lower(column), value_set=pa.array(_NO_TEXT, pa.string()))
    return pc.if_else(missing, "", column)


def number_column(path: Path | str, rows: pa.Table, name: str) -> Floats:
    """Return a column as float64 ``(n,)``, NaN for what is empty or not a number.

    Raises
    ------
    InputError
        The column's type is not one of numbers or texts.
    """
    return as_floats(rows[name].combine_chunks(), f"{path}: column {name!r}")[0]


def as_floats(column: Any, where: str) -> tuple[Floats, Mask]:
    """Return an Arrow array as float64 with NaN for what is not a number, and where it is empty.

    Raises
    ------
    InputError
        The column's type is not one of numbers or texts; the message begins with `where`.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = column.type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
        column = pc.cast(column, kind)
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        column, bad = as_utf8(column)
        column = pc.if_else(pa.array(bad), "?", column)
        kind = column.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        column = pc.utf8_trim_whitespace(column)
        missing = pc.or_kleene(pc.is_null(column), pc.equal(pc.fill_null(column, ""), ""))
        numbers = pc.if_else(pc.match_substring_regex(column, f"^{NUMBER}$"), column, None)
        values = pc.cast(numbers, pa.float64())
    elif pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_decimal(kind):
        missing = pc.is_null(column)
        values = pc.cast(column, pa.float64(), safe=False)
    else:
        raise InputError(f"{where} holds {kind}, not numbers")
    return (
        pc.fill_null(values, np.nan).to_numpy(zero_copy_only=False),
        missing.to_numpy(zero_copy_only=False),
    )
