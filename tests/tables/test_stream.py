"""Rows, quotes and what is refused: every line of a file is accounted for."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from locationnet.errors import InputError
from locationnet.tables import stream
from locationnet.tables.read import read_table
from locationnet.tables.stream import BadRow, numbered_rows, stream_rows
from locationnet.tables.table_file import open_table

pa = pytest.importorskip("pyarrow", reason="needs the extra 'data'")
parquet = pytest.importorskip("pyarrow.parquet")

GOOD = [f"{number}.jpg,photo,{number % 80},3" for number in range(1000)]


def _read(path: Path) -> tuple[list[tuple[bytes, ...]], list[BadRow]]:
    bad: list[BadRow] = []
    table = open_table(path)
    rows: list[tuple[bytes, ...]] = []
    for batch, _ in stream_rows(table, table.names, bad.append):
        rows += zip(*(column.to_pylist() for column in batch.columns), strict=True)
    return rows, bad


def _write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(["path,title,lat,lng", *lines]) + "\n", newline="")
    return path


@pytest.fixture(params=[16, 64, 1 << 22], ids=["tiny blocks", "small blocks", "one block"])
def block(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Rows lie across blocks of any size."""
    monkeypatch.setattr(stream, "_BLOCK_BYTES", request.param)
    return int(request.param)


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ('a.jpg,"x,1,2', "is never closed"),
        ('"a.jpg,x,1,2', "is never closed"),
        ('a.jpg,x,1,"2', "is never closed"),
        ('a.jpg,"x"y,1,2', "not a delimiter"),
    ],
)
@pytest.mark.parametrize("before", [0, 1, 998])
def test_a_quote_that_is_never_closed_names_its_row(
    tmp_path: Path, row: str, why: str, before: int
) -> None:
    path = _write(tmp_path / "t.csv", *GOOD[:before], row, *GOOD[before:])
    with pytest.raises(InputError, match=rf"row {before + 1} \(line {before + 2}\): .*{why}"):
        _read(path)


@pytest.mark.parametrize(
    "closing", ['z.jpg,"y",1,2', 'z.jpg,"",1,2', 'z.jpg,6",1,2', '"z.jpg",y,1,2', 'z.jpg,y,1,"2"']
)
def test_a_quote_that_is_closed_by_another_row_names_the_row_where_it_opens(
    tmp_path: Path, closing: str
) -> None:
    path = _write(tmp_path / "t.csv", 'a.jpg,"x,1,2', *GOOD[:300], closing, *GOOD[300:])
    with pytest.raises(InputError, match=r"row 1 \(line 2\): a quote opens here"):
        _read(path)


def test_values_of_several_lines_are_values(tmp_path: Path, block: int) -> None:
    title = 'first, line\n\nthird "line"\r\nlast'
    cell = '"' + title.replace('"', '""') + '"'
    path = _write(tmp_path / "t.csv", GOOD[0], f"a.jpg,{cell},1,2", GOOD[1])
    rows, bad = _read(path)
    assert not bad
    assert rows[1] == (b"a.jpg", title.replace("\r\n", "\n").encode(), b"1", b"2")
    assert [row[0] for row in rows] == [b"0.jpg", b"a.jpg", b"1.jpg"]


def test_quotes_within_a_value_that_has_none_around_it_are_kept(tmp_path: Path) -> None:
    rows, bad = _read(_write(tmp_path / "t.csv", 'a.jpg,6" lens,1,2', 'b.jpg,say "hi",1,2'))
    assert [row[1] for row in rows] == [b'6" lens', b'say "hi"']
    assert not bad


def test_rows_that_do_not_fit_are_named(tmp_path: Path, block: int) -> None:
    path = _write(
        tmp_path / "t.csv", "a.jpg,x,1,2", "", 'b.jpg,"x",1', "c.jpg,x,1,2,3", "d.jpg,x\0,1,2",
        "e,x,1,2",
    )  # fmt: skip
    rows, bad = _read(path)
    assert [row[0] for row in rows] == [b"a.jpg", b"e"]
    assert list(map(str, bad)) == [
        "row 2 (line 4): 3 columns, expected 4",
        "row 3 (line 5): 5 columns, expected 4",
        "row 4 (line 6): a NUL byte",
    ]


def test_a_carriage_return_is_part_of_a_value_only_within_quotes(tmp_path: Path) -> None:
    path = _write(tmp_path / "t.csv", '"a\rb.jpg",x,1,2', "c\rd.jpg,x,1,2", "e.jpg,x,1,2\r")
    rows, bad = _read(path)
    assert [row[0] for row in rows] == [b"a\rb.jpg", b"e.jpg"]
    assert list(map(str, bad)) == ["row 2 (line 3): a carriage return outside quotes"]


def test_a_whole_table_has_no_bad_rows(tmp_path: Path) -> None:
    path = _write(tmp_path / "t.csv", *GOOD[:10], "c.jpg,x,1")
    with pytest.raises(InputError, match=r"t\.csv: row 11 \(line 12\): 3 columns, expected 4"):
        read_table(path)
    path.write_bytes(b"path,title\na,x\nb,caf\xe9\n")
    with pytest.raises(InputError, match=r"t\.csv: row 2: column 'title' is not UTF-8"):
        read_table(path)


def test_a_line_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "_MAX_ROW_BYTES", 1000)
    monkeypatch.setattr(stream, "_BLOCK_BYTES", 100)
    path = _write(tmp_path / "t.csv", GOOD[0], "x" * 200_000)
    with pytest.raises(InputError, match="line 3 is longer than"):
        _read(path)


CELLS = st.text(st.sampled_from('ab,;"\n \t|0é'), max_size=8)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.lists(CELLS, min_size=2, max_size=4), max_size=20),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    st.sampled_from(",;\t|"),
    st.integers(20, 200),
)
def test_every_row_that_a_program_writes_is_read_or_refused(
    tmp_path: Path, rows: list[list[str]], quoting: int, delimiter: str, block: int
) -> None:
    text = io.StringIO()
    # QUOTE_MINIMAL quotes what needs it; a row of one empty column cannot come up.
    writer = csv.writer(text, delimiter=delimiter, quoting=quoting, lineterminator="\n")  # type: ignore[arg-type]
    writer.writerows([["id", "lat", "lng"], *rows])
    path = tmp_path / "t.csv"
    path.write_text(text.getvalue(), encoding="utf-8", newline="")
    before = stream._BLOCK_BYTES
    stream._BLOCK_BYTES = block
    try:
        found, bad = _read(path)
    except InputError as error:
        # Only where values with line breaks look like rows, or such a row does not fit.
        assert any("\n" in cell for row in rows for cell in row)
        assert "(line " in str(error)
        return
    finally:
        stream._BLOCK_BYTES = before
    assert len(found) + len(bad) == len(rows)
    assert found == [tuple(cell.encode() for cell in row) for row in rows if len(row) == 3]


def test_rows_are_numbered_by_their_lines(tmp_path: Path, block: int) -> None:
    lines = [
        "",
        "",
        '"1,a\n\nb",x,1,2',
        "",
        GOOD[1],
        "too,few",
        GOOD[2],
        " ",
        '2.jpg,"y",1,2',
        "",
        "",
    ]
    path = _write(tmp_path / "t.csv", *lines)
    bad: list[BadRow] = []
    blank: list[int] = []
    table = open_table(path)
    rows = [
        (int(line), str(name))
        for batch, at in numbered_rows(table, ["path"], bad.append, blank.append)
        for line, name in zip(at, batch.column(0).cast("string").to_pylist(), strict=True)
    ]
    assert rows == [(4, "1,a\n\nb"), (8, "1.jpg"), (10, "2.jpg"), (12, "2.jpg")]
    assert [(one.row, one.line, one.values) for one in bad] == [(3, 9, ("too", "few"))]
    assert blank == [2, 3, 7, 11, 13, 14]


def test_rows_of_a_parquet_are_numbered_from_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "_BATCH_ROWS", 2)
    path = tmp_path / "t.parquet"
    parquet.write_table(pa.table({"path": list("abcde")}), path)
    found = [at for _, at in numbered_rows(open_table(path), ["path"], print, print)]
    assert np.concatenate(found).tolist() == [1, 2, 3, 4, 5]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(["", " ", "a,b,1,2", '"a",b,1,2', '"a\nb",c,1,2', "a,b"])))
def test_every_line_is_a_row_or_blank_or_refused(tmp_path: Path, lines: list[str]) -> None:
    path = _write(tmp_path / "t.csv", *lines)
    found: list[int] = []
    batches = list(
        numbered_rows(open_table(path), ["path"], lambda bad: found.append(bad.line), found.append)
    )
    found += [int(line) for _, at in batches for line in at]
    starts, line = [], 2
    for text in lines:
        starts.append(line)
        line += text.count("\n") + 1
    assert sorted(found) == starts
