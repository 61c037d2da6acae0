"""Whole tables: written, read, and what their columns may hold."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from locationnet.download.input_table import InputTable
from locationnet.errors import InputError
from locationnet.tables.read import (
    names_column,
    number_column,
    read_table,
    table_suffix,
    texts,
    write_table,
)

pa = pytest.importorskip("pyarrow", reason="needs the extra 'data'")


@pytest.mark.parametrize("name", ["photos.csv", "photos.parquet"])
@pytest.mark.parametrize("read", [read_table, InputTable])
def test_a_table_that_is_not_there_is_named_once(
    tmp_path: Path, read: Callable[[Path], object], name: str
) -> None:
    path = tmp_path / name
    with pytest.raises(InputError) as caught:
        read(path)
    assert str(caught.value) == f"{path}: no such file"


ROWS = [{"path": "a,b.jpg", "title": 'say "hi"\nthere'}, {"path": "ü.jpg", "title": ""}]
NAMES = [f"t{form}{packed}" for form in (".csv", ".tsv") for packed in ("", ".gz", ".bz2", ".xz")]


@pytest.mark.parametrize("name", [*NAMES, "t.parquet", "t.PQ", "T.CSV.GZ", "a.b.tsv"])
def test_what_is_written_is_read_again(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    write_table(path, pa.Table.from_pylist(ROWS))
    assert read_table(path).to_pylist() == ROWS
    assert [file.name for file in tmp_path.iterdir()] == [name]
    again = tmp_path / f"again{table_suffix(path)}"
    write_table(again, read_table(path))
    assert again.read_bytes()[:4] == path.read_bytes()[:4]


@pytest.mark.parametrize("name", ["t", "t.gz", "t.txt", "t.xlsx", "t.csv.zip", "t.csv.zst"])
def test_a_name_that_says_no_form_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=r"name it \.parquet, \.csv or \.tsv"):
        write_table(tmp_path / name, pa.Table.from_pylist(ROWS))
    assert not list(tmp_path.iterdir())


def test_a_column_that_text_cannot_hold_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"t\.csv: cannot be written as text"):
        write_table(tmp_path / "t.csv", pa.table({"a": [[1]]}))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pa.array(["a", None]), ["a", ""]),
        (pa.array(["a", None], pa.large_string()), ["a", ""]),
        (pa.array([b"a", None]), ["a", ""]),
        (pa.array(["a", None]).dictionary_encode(), ["a", ""]),
        (pa.array([7, None]), ["7", ""]),
        (pa.array([7.0, float("nan")]), ["7", ""]),
        (pa.array([None, None]), ["", ""]),
        (pa.array([True, None]), ["true", ""]),
    ],
)
def test_columns_of_many_types_are_texts(column: Any, expected: list[str]) -> None:
    assert texts("t", pa.table({"x": column}), "x") == expected
    assert texts("t", pa.table({"x": column}), None) == ["", ""]


def _not_utf8() -> Any:
    """A column of strings that no string is, as other programs write them."""
    return pa.Array.from_buffers(
        pa.string(),
        2,
        [None, pa.py_buffer(b"\0\0\0\0\1\0\0\0\3\0\0\0"), pa.py_buffer(b"a\xff\xfe")],
    )


@pytest.mark.parametrize(
    ("column", "said"),
    [
        (pa.array([[1], [2]]), "column 'x' holds list<.*>, not texts"),
        (pa.array([{"a": 1}, {"a": 2}]), "column 'x' holds struct<.*>, not texts"),
        (pa.array([b"a", b"\xff"]), "column 'x': row 2 is not UTF-8"),
        (_not_utf8(), "column 'x': row 2 is not UTF-8"),
        (pa.array([1.0, 2.5]), "not exact whole numbers"),
        (pa.array([1.0, 2.0**60]), "not exact whole numbers"),
    ],
)
def test_columns_that_hold_no_texts_are_named(column: Any, said: str) -> None:
    with pytest.raises(InputError, match=f"^t: {said}" if "column" in said else said):
        texts("t", pa.table({"x": column}), "x")


def test_what_programs_write_for_nothing_is_no_name() -> None:
    column = [" ann ", "", "  ", "nan", "NaN", "null", "None", "N/A", "<NA>", None, "\u00a0"]
    assert names_column("t", pa.table({"x": column}), "x") == ["ann", *[""] * 10]


@pytest.mark.parametrize("column", [pa.array([[1.0]]), pa.array([True]), pa.array([{"a": 1}])])
def test_columns_that_hold_no_numbers_are_named(column: Any) -> None:
    with pytest.raises(InputError, match=r"^t: column 'x' holds .*, not numbers"):
        number_column("t", pa.table({"x": column}), "x")
