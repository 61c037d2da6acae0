"""Coordinates out of tables: columns found, bad rows counted, memory bounded."""

from __future__ import annotations

import bz2
import gzip
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from locationnet.errors import InputError, MissingExtraError
from locationnet.tables.coordinates import (
    MISSING,
    NO_NUMBER,
    NULL_ISLAND,
    OUT_OF_RANGE,
    CoordinateFiles,
)
from locationnet.tables.stream import WRONG_COLUMNS

pa = pytest.importorskip("pyarrow", reason="needs the extra 'data'")
parquet = pytest.importorskip("pyarrow.parquet", reason="needs the extra 'data'")

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a table's text."""

    def write(text: str | bytes, name: str = "photos.csv") -> Path:
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def points(files: CoordinateFiles) -> list[tuple[float, float]]:
    """Read all of the valid points."""
    found: list[tuple[float, float]] = []
    for lat, lng in files.chunks():
        assert lat.dtype == lng.dtype == np.float64
        found += zip(lat.tolist(), lng.tolist(), strict=True)
    return found


def read(
    *paths: Path, lat_column: str | None = None, lng_column: str | None = None
) -> list[tuple[float, float]]:
    return points(CoordinateFiles(paths, lat_column, lng_column))


@pytest.mark.parametrize(
    "header",
    ["lat,lng", "latitude,longitude", "LAT,LON", "Latitude,Long", " lat , lon ", '"lat","lng"'],
)
def test_the_usual_column_names_are_found(header: str, write: Write) -> None:
    assert read(write(f"{header}\n1.5,2.5\n-3,4e1\n")) == [(1.5, 2.5), (-3, 40)]


def test_columns_may_stand_anywhere_among_others(write: Write) -> None:
    text = 'title,lon,id,lat\n"Rome, ""eternal""\ncity",12.5,1,41.9\n,2.35,2,48.85\n'
    assert read(write(text)) == [(41.9, 12.5), (48.85, 2.35)]


def test_columns_can_be_named(write: Write) -> None:
    path = write("lat,lng,y,x\n0,0,1,2\n")
    assert read(path, lat_column="y", lng_column="x") == [(1, 2)]
    assert read(path, lat_column="y") == [(1, 0)]


def test_a_missing_column_names_those_there_are(write: Write) -> None:
    path = write("breadth,length\n1,2\n")
    with pytest.raises(InputError, match=r"photos\.csv: no column of latitudes.*'breadth'"):
        CoordinateFiles([path])
    with pytest.raises(InputError, match=r"no column 'y'.*'breadth', 'length'"):
        CoordinateFiles([path], "y", "length")
    with pytest.raises(InputError, match=r"longitudes.*--lng-column"):
        CoordinateFiles([path], "breadth")


def test_a_byte_order_mark_and_windows_lines_are_read(write: Write) -> None:
    assert read(write("\ufefflat,lng\r\n1,2\r\n3,4\r\n")) == [(1, 2), (3, 4)]


@pytest.mark.parametrize(
    ("name", "pack"), [("p.csv.gz", gzip.compress), ("p.csv.bz2", bz2.compress)]
)
def test_compressed_tables_are_read(
    name: str, pack: Callable[[bytes], bytes], write: Write
) -> None:
    assert read(write(pack(b"lat,lng\n1,2\n"), name)) == [(1, 2)]


def test_bad_rows_are_counted_by_reason_and_the_rest_is_read(write: Write) -> None:
    rows = [
        "0,0", "-0.0,0e5",
        "1,2", "91,0", "0,-180.5", "nan,0", "inf,0", "north,5", "1_0,5", "0x1p3,0", "1e999,0",
        ",5", "5,", '" ",5', "1,2,3", "7", " 3 , 4 ", "+5,-.5", "90,-180", "-90,180",
    ]  # fmt: skip
    files = CoordinateFiles([write("\n".join(["lat,lng", *rows]) + "\n")])
    good = [(1, 2), (3, 4), (5, -0.5), (90, -180), (-90, 180)]
    assert points(files) == good
    expected = {NO_NUMBER: 6, OUT_OF_RANGE: 2, MISSING: 3, NULL_ISLAND: 2, WRONG_COLUMNS: 2}
    assert files.bad == expected
    # A second pass counts anew, not twice.
    assert points(files) == good
    assert files.bad == expected


def test_text_far_down_a_column_of_numbers_is_only_a_bad_row(write: Write) -> None:
    lines = ["1.25,2.5"] * 700_000
    lines[650_000] = "here,there"
    files = CoordinateFiles([write("lat,lng\n" + "\n".join(lines))])
    assert len(points(files)) == 699_999
    assert files.bad == {NO_NUMBER: 1}


def test_other_columns_may_hold_any_bytes(write: Write) -> None:
    assert read(write(b"title,lat,lng\ncaf\xe9,1,2\n\xff\xfe,3,4\n")) == [(1, 2), (3, 4)]


def test_a_coordinate_of_broken_bytes_is_a_bad_row(write: Write) -> None:
    files = CoordinateFiles([write(b"lat,lng\n1,2\n\xe9,4\n")])
    assert points(files) == [(1, 2)]
    assert files.bad == {NO_NUMBER: 1}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        ("\n\n", "empty"),
        ("lat,lng\n", "no usable coordinate"),
        ("lat,lng\nx,y\n91,5\n,\n", "no usable coordinate in 3 rows"),
    ],
)
def test_a_table_without_points_is_an_error(text: str, reason: str, write: Write) -> None:
    path = write(text)
    with pytest.raises(InputError, match=reason):
        read(path)


def test_an_error_about_bad_rows_tells_their_reasons(write: Write) -> None:
    path = write("lat,lng\nx,y\n91,5\n,\n")
    with pytest.raises(InputError, match=r"1 coordinate missing.*1 not a number.*1 out of range"):
        read(path)


def test_a_missing_or_unreadable_file_is_named(tmp_path: Path, write: Write) -> None:
    with pytest.raises(InputError, match=r"absent\.csv: no such file"):
        CoordinateFiles([tmp_path / "absent.csv"])
    with pytest.raises(InputError, match="not a file"):
        CoordinateFiles([tmp_path])
    with pytest.raises(InputError, match=r"torn\.parquet: corrupt"):
        CoordinateFiles([write("PAR1lat,lng\n1,2\n", "torn.parquet")])
    with pytest.raises(InputError, match=r"torn\.csv\.gz"):
        points(CoordinateFiles([write(gzip.compress(b"lat,lng\n1,2\n" * 9)[:-9], "torn.csv.gz")]))
    packed = gzip.compress(b"lat,lng\n" + np.random.default_rng(1).bytes(400_000).hex().encode())
    with pytest.raises(InputError, match=r"cut\.csv\.gz"):
        read(write(packed[:-20_000], "cut.csv.gz"))


def test_several_files_are_read_as_one(write: Write) -> None:
    first = write("lat,lng\n1,2\n", "a.csv")
    second = write("LON,LAT\n4,3\nx,5\n", "b.csv")
    third = first.with_name("c.parquet")
    parquet.write_table(pa.table({"latitude": [5.0], "longitude": [6.0]}), third)
    files = CoordinateFiles([first, second, third])
    assert points(files) == [(1, 2), (3, 4), (5, 6)]
    assert files.bad == {NO_NUMBER: 1}
    assert files.total_bytes == sum(path.stat().st_size for path in (first, second, third))


def test_a_file_of_bad_rows_beside_a_good_one_is_only_counted(write: Write) -> None:
    files = CoordinateFiles([write("lat,lng\nx,y\n", "a.csv"), write("lat,lng\n1,2\n", "b.csv")])
    assert points(files) == [(1, 2)]
    assert files.bad == {NO_NUMBER: 1}


@pytest.mark.parametrize(
    "column",
    [
        pa.array([1.5, None, float("nan"), 91.0]),
        pa.array(["1.5", None, "north", "91"]),
        pa.array(["1.5", "", "nan", "91"], pa.large_string()),
        pa.array(["1.5", None, "north", "91"]).dictionary_encode(),
        pa.array([Decimal("1.5"), None, Decimal("-91"), Decimal("91")]),
        pa.array([1.5, None, float("inf"), 91.0], pa.float32()),
    ],
    ids=["float64", "string", "large_string", "dictionary", "decimal", "float32"],
)
def test_parquet_columns_of_several_types_are_read(column: Any, tmp_path: Path) -> None:
    path = tmp_path / "photos.parquet"
    parquet.write_table(pa.table({"id": list("abcd"), "lat": column, "lng": [2, 2, 2, 2]}), path)
    files = CoordinateFiles([path])
    assert points(files) == [(1.5, 2)]
    assert files.bad[MISSING] == 1
    assert files.bad.total() == 3


def test_a_parquet_column_of_another_type_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "photos.parquet"
    parquet.write_table(pa.table({"lat": [[1.0], [2.0]], "lng": [1.0, 2.0]}), path)
    with pytest.raises(InputError, match=r"photos\.parquet: column 'lat' holds list"):
        read(path)


@pytest.mark.parametrize("name", ["photos.parquet", "photos.csv"])
def test_a_large_table_is_never_in_memory_as_a_whole(name: str, tmp_path: Path) -> None:
    csv = pytest.importorskip("pyarrow.csv", reason="needs the extra 'data'")
    rows = 4_000_000
    lat, lng = np.random.default_rng(40).uniform(-90, 90, (2, rows))
    table = pa.table({"lat": lat, "lng": lng})
    if name.endswith("csv"):
        csv.write_csv(table, tmp_path / name)
    else:
        # One group of rows: the hardest to read in pieces.
        parquet.write_table(table, tmp_path / name, row_group_size=rows)
    whole = table.nbytes
    del table
    before, peak, count = pa.total_allocated_bytes(), 0, 0
    for chunk, _ in CoordinateFiles([tmp_path / name]).chunks():
        count += len(chunk)
        peak = max(peak, pa.total_allocated_bytes() - before)
    assert count == rows
    assert peak < whole / 2


def test_progress_adds_up_to_the_size_of_the_files(tmp_path: Path, write: Write) -> None:
    text = "lat,lng\n" + "1.25,2.5\n" * 1_200_000
    table = tmp_path / "photos.parquet"
    parquet.write_table(pa.table({"lat": np.ones(600_000), "lng": np.zeros(600_000)}), table)
    for path in (write(text), table):
        steps: list[int] = []
        files = CoordinateFiles([path])
        assert sum(len(lat) for lat, _ in files.chunks(steps.append)) > 500_000
        assert len(steps) > 1
        assert files.total_bytes * 0.99 <= sum(steps) <= files.total_bytes


def test_without_pyarrow_the_error_names_the_extra(
    monkeypatch: pytest.MonkeyPatch, write: Write
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r"reading tables.*locationnet\[data\]"):
        CoordinateFiles([write("lat,lng\n1,2\n")])


CELLS = st.one_of(
    st.floats().map(repr),
    st.floats(-200, 200).map(repr),
    st.sampled_from(["", " ", "1,5", "N 5°", "1e3", "-0", "00012.5", "1.", ".", "-", "∞", "1 2"]),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=12))
def test_every_row_is_either_read_or_counted(tmp_path: Path, rows: list[tuple[str, str]]) -> None:
    path = tmp_path / "any.csv"
    lines = [f'"{lat}","{lng}"' for lat, lng in rows]
    path.write_text("\n".join(["lat,lng", *lines, '"1","0"']) + "\n", encoding="utf-8")
    files = CoordinateFiles([path])
    found = points(files)
    assert len(found) + files.bad.total() == len(rows) + 1
    for lat, lng in found:
        assert abs(lat) <= 90
        assert abs(lng) <= 180

    def number(text: str) -> float:
        try:
            return float(text)
        except ValueError:
            return float("nan")

    expected = [
        (number(lat), number(lng))
        for lat, lng in rows
        if abs(number(lat)) <= 90 and abs(number(lng)) <= 180 and (number(lat) or number(lng))
    ]
    assert found[:-1] == expected


def test_the_real_table_is_read_whole(shared_data: Path) -> None:
    table = np.loadtxt(shared_data / "coordinates_100k.csv", delimiter=",", skiprows=1)
    files = CoordinateFiles([shared_data / "coordinates_100k.csv"])
    chunks = list(files.chunks())
    together: list[NDArray[np.float64]] = [
        np.concatenate(axis) for axis in zip(*chunks, strict=True)
    ]
    np.testing.assert_array_equal(np.stack(together, axis=1), table)
    assert not files.bad
