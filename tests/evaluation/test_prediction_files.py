"""Rows of answers: each is read or named, and only lines below the last photo are skipped."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from locationnet.errors import InputError
from locationnet.evaluation.prediction_files import PredictionsFile, read_predictions

HEADER = "img_id,gt_lat,predicted_lat,gt_long,predicted_long,great_circle_distance"
ROWS = [
    "1_7@N00.jpg,32.3,26.1,-64.7,-77.8,1437.19",
    "2_7@N00.jpg,29.9,35.5,122.3,126.8,742.93",
    "3_7@N00.jpg,46.4,19.4,30.7,-99.1,11129.42",
]
STATISTICS = [
    "",
    "street acc (1km),city acc (25km),region acc (200km),country acc (750km),continent,mean",
    "0.097431,0.27027,0.356356,0.491491,0.659993,3277.97",
]
# The same with ids that have no suffix.
BARE_ROWS = [row.replace("_7@N00.jpg", "0000001") for row in ROWS]


def _file(folder: Path, lines: list[str], header: str = HEADER) -> Path:
    path = folder / "answers.csv"
    path.write_text("\n".join([header, *lines]) + "\n")
    return path


def _known(name: str) -> bool:
    return name in {"1_7@N00.jpg", "2_7@N00.jpg", "3_7@N00.jpg", "10000001", "20000001", "30000001"}


def _read(path: Path, known: bool) -> PredictionsFile:
    return read_predictions(path, _known if known else None)


ends = pytest.mark.parametrize(
    ("end", "called"),
    [
        ([""], "line 5"),
        (["", ""], "lines 5 and 6"),
        (STATISTICS, "lines 5, 6 and 7"),
        ([*STATISTICS, "", ""], "lines 5, 6, 7, 8 and 9"),
        (STATISTICS[1:], "lines 5 and 6"),
        (STATISTICS[2:], "line 5"),
        (["mean,36.2,27,29.4,-16.7,4436.5"], "line 5"),
        (["mean,,,,,4436.5"], "line 5"),
        ([",,,,,"], "line 5"),
        ([",,,,,4436.5"], "line 5"),
        (["# 9.7 % within 1 km"], "line 5"),
        (["metric,,,,,km", "street (1 km),1,2,3,4,5", "25 km,1,2,3,4,5"], "lines 5, 6 and 7"),
        (["", "total: 3", "9.7%"], "lines 5, 6 and 7"),
        (["25%,1,2,3,4,5", "50%,1,2,3,4,5"], "lines 5 and 6"),
        (['"mean, of all\n three",,,,,1'], "line 5"),
        ([""] * 20, "lines 5 to 24"),
    ],
)


@ends
@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize("rows", [ROWS, BARE_ROWS], ids=["files", "bare ids"])
def test_what_stands_below_the_last_photo_is_skipped_and_said(
    tmp_path: Path, rows: list[str], known: bool, end: list[str], called: str
) -> None:
    found = _read(_file(tmp_path, [*rows, *end]), known)
    assert found.ids["img_id"] == [row.split(",")[0] for row in rows]
    assert len(found.notes) == 1
    assert f"answers.csv: {called} at its end" in found.notes[0]


def test_a_file_that_just_ends_needs_no_note(tmp_path: Path) -> None:
    path = _file(tmp_path, ROWS)
    assert _read(path, known=False).notes == ()
    path.write_text(path.read_text().rstrip())
    assert _read(path, known=False).notes == ()
    assert _read(_file(tmp_path, ["", ROWS[0], "", *ROWS[1:]]), known=False).notes == ()


wrong = pytest.mark.parametrize(
    ("row", "said"),
    [
        ("9_7@N00.jpg,1,x,2,3,4", r"'x' is not a valid latitude \(predicted_lat\)"),
        ("9_7@N00.jpg,1,2,3,,4", r"'' is not a valid longitude \(predicted_long\)"),
        ("9_7@N00.jpg,1,2,3", "4 columns, expected 6"),
        ("9_7@N00.jpg,1,2,3,4,5,6", "7 columns, expected 6"),
        (",1,2,3,4,5", "contains no id"),
        (",,,,,", "contains no id"),
        ("mean,,,,,1", r"'' is not a valid latitude \(predicted_lat\)"),
        (STATISTICS[1], "'region acc .200km.' is not a valid latitude"),
        ("no columns at all", "1 columns, expected 6"),
        ("9_7@N00.jpg,1,2,3,1_0,5", "'1_0' is not a valid longitude"),
    ],
)


@wrong
@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize("rows", [ROWS, BARE_ROWS], ids=["files", "bare ids"])
@pytest.mark.parametrize("index", [0, 2])
def test_what_is_wrong_above_the_last_photo_is_named(
    tmp_path: Path, rows: list[str], known: bool, index: int, row: str, said: str
) -> None:
    path = _file(tmp_path, [*rows[:index], row, *rows[index:], *STATISTICS])
    with pytest.raises(
        InputError, match=rf"answers\.csv: row {index + 1} \(line {index + 2}\): {said}"
    ):
        _read(path, known)


@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize(
    "last",
    [
        "9_7@N00.jpg,1,x,2,3,4",
        "9_7@N00.jpg,1,2",
        "9_7@N00.jpg",
        "folder/9_7@N00.jpg,,,,,",
        "1_7@N00.jpg,1,,2,,",
    ],
)
def test_a_photo_that_is_wrong_is_no_end(tmp_path: Path, last: str, known: bool) -> None:
    path = _file(tmp_path, [*ROWS, last, "", "9.7 %"])
    with pytest.raises(InputError, match=r"row 4 \(line 5\)"):
        _read(path, known)


def test_a_bare_id_with_a_truth_or_that_is_known_is_a_photo(tmp_path: Path) -> None:
    path = _file(tmp_path, [*BARE_ROWS, "40000001,1,x,2,3,4"])
    with pytest.raises(InputError, match=r"row 4 \(line 5\): 'x'"):
        _read(path, known=False)
    path = _file(tmp_path, [*BARE_ROWS[:2], "30000001,,x,,3,4"])
    with pytest.raises(InputError, match=r"row 3 \(line 4\): 'x'"):
        _read(path, known=True)


def test_a_long_end_is_a_damaged_table(tmp_path: Path) -> None:
    path = _file(tmp_path, [*ROWS, *(f"{number},,,,,5" for number in range(200))])
    with pytest.raises(InputError, match=r"row 4 \(line 5\): '' is not a valid"):
        _read(path, known=False)


def test_a_file_of_nothing_else_is_named(tmp_path: Path) -> None:
    for lines, said in (
        ([], "contains no rows"),
        ([""], "contains no rows"),
        (STATISTICS[2:], "contains no predictions"),
        (STATISTICS, "row 1"),
        (["a,b"], r"row 1 \(line 2\): 2 columns"),
    ):
        with pytest.raises(InputError, match=rf"answers\.csv: {said}"):
            _read(_file(tmp_path, lines), known=True)


def test_a_cell_that_is_not_utf8_is_named(tmp_path: Path) -> None:
    path = _file(tmp_path, ROWS)
    path.write_bytes(path.read_bytes().replace(b"2_7", b"\xff_7"))
    with pytest.raises(InputError, match=r"row 2 \(line 3\): contains no id"):
        _read(path, known=False)


@pytest.mark.parametrize(
    ("header", "places", "truth"),
    [
        ("id,lat,lng", ("lat", "lng"), None),
        ("Path,Latitude,Long,gt_lat,gt_lon", ("lat", "lng"), ("true_lat", "true_lng")),
        ("photo,pred_lat,pred_lon,lat,lon", ("predicted_lat", "predicted_lng"), ("lat", "lng")),
        (
            "name,lat,lon,predicted_latitude,predicted_longitude,true_lat,true_long",
            ("predicted_lat", "predicted_lng"),
            ("true_lat", "true_lng"),
        ),
        ("image_id,lat,best_lat,lng,best_lng", ("predicted_lat", "predicted_lng"), ("lat", "lng")),
    ],
)
def test_usual_names_of_columns_are_known(
    tmp_path: Path, header: str, places: tuple[str, str], truth: tuple[str, str] | None
) -> None:
    path = _file(tmp_path, ["1" + ",1" * header.count(",")], header)
    assert read_predictions(path, lambda _: True).places == places
    if truth is None:
        with pytest.raises(InputError, match="give --benchmark, or columns such as gt_lat"):
            read_predictions(path)
    else:
        found = read_predictions(path)
        assert (found.places, found.truth) == (places, truth)


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("lat,lng", "no column of photo ids or paths"),
        ("id,lat", "no column of longitudes"),
        ("id,predicted_lat,lat,lng", "no column of predicted longitudes"),
        ("id,lat,lng,gt_lat", "no column of true longitudes"),
        ("id,lat,lat,lng", "two columns are named 'lat'"),
    ],
)
def test_a_column_that_is_missing_is_named(tmp_path: Path, header: str, said: str) -> None:
    path = _file(tmp_path, ["1" + ",1" * header.count(",")], header)
    with pytest.raises(InputError, match=rf"answers\.csv: {said}"):
        _read(path, known="gt" not in header)


def test_a_parquet_says_the_same_by_rows(tmp_path: Path) -> None:
    path = tmp_path / "answers.parquet"
    good = {"id": [1, 2, None], "lat": [1.5, 2.5, None], "lng": [3.5, 4.5, 100.0]}
    parquet.write_table(pa.table(good), path)
    found = read_predictions(path, lambda name: name in {"1", "2"})
    assert found.ids == {"id": ["1", "2"]}
    assert "row 3 at its end" in found.notes[0]
    parquet.write_table(pa.table({**good, "lat": [None, 2.5, None]}), path)
    with pytest.raises(InputError, match=r"answers\.parquet: row 1: None is not a valid latitude"):
        read_predictions(path, lambda name: name in {"1", "2"})
    parquet.write_table(pa.table({"id": [["a"]], "lat": [1.0], "lng": [2.0]}), path)
    with pytest.raises(InputError, match="'id' holds list"):
        read_predictions(path, lambda _: True)


LINES = [*ROWS, *STATISTICS, "x.jpg,,,,,", "a,b", "4,1,2,3,4,5", "mean,1,2,3,4,5", "", ",,,,,"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(LINES), max_size=8))
def test_every_line_is_read_or_skipped_or_named(tmp_path: Path, lines: list[str]) -> None:
    path = _file(tmp_path, lines)
    try:
        found = _read(path, known=True)
    except InputError as error:
        assert str(path) in str(error)
        assert "row" in str(error) or "no predictions" in str(error)
        return
    read = [line.split(",")[0] for line in lines if line][: len(found.labels)]
    assert found.ids["img_id"] == read
    last = int(found.labels[-1].split("line ")[1].rstrip(")"))
    assert bool(found.notes) == (last < len(lines) + 1)
