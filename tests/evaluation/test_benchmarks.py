"""Anybody's table of photos is a benchmark; a wrong row is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from locationnet.errors import InputError
from locationnet.evaluation.benchmarks import Rule, from_table
from locationnet.evaluation.layouts import degrees, load_benchmark

ROWS = "path,lat,lng,uploader\na/1.jpg,48.5,-2.25,ann\n2.jpg,-90,180,ben\n"


def _csv(folder: Path, text: str = ROWS) -> Path:
    path = folder / "holidays.csv"
    path.write_text(text)
    return path


def test_a_table_is_a_benchmark(tmp_path: Path) -> None:
    found = from_table(_csv(tmp_path))
    assert found.name == "holidays"
    assert found.ids == ("a/1.jpg", "2.jpg")
    assert found.paths == (tmp_path / "a" / "1.jpg", tmp_path / "2.jpg")
    assert found.lat.dtype == found.lng.dtype == np.float64
    assert found.lat.tolist() == [48.5, -90]
    assert found.lng.tolist() == [-2.25, 180]
    assert found.uploaders == ("ann", "ben")
    assert found.rule == Rule("haversine", False, (1, 25, 200, 750, 2500))
    assert found.notes == ()
    assert len(found) == 2


def test_load_benchmark_takes_a_table_by_its_path(tmp_path: Path) -> None:
    path = _csv(tmp_path)
    assert load_benchmark(str(path)).ids == from_table(path).ids
    assert load_benchmark(str(path), cluster_column="lat").uploaders == ("48.5", "-90")


def test_paths_start_at_another_folder_where_one_is_given(tmp_path: Path) -> None:
    found = from_table(_csv(tmp_path), tmp_path / "photos")
    assert found.paths == (tmp_path / "photos" / "a" / "1.jpg", tmp_path / "photos" / "2.jpg")


def test_a_photo_that_is_not_there_stays(tmp_path: Path) -> None:
    found = from_table(_csv(tmp_path))
    assert not any(path.exists() for path in found.paths)
    assert len(found.paths) == 2


def test_a_parquet_says_the_same(tmp_path: Path) -> None:
    path = tmp_path / "holidays.parquet"
    columns = {"path": ["a/1.jpg", "2.jpg"], "lat": [48.5, -90.0], "lng": [-2.25, 180.0]}
    parquet.write_table(pa.table({**columns, "uploader": ["ann", "ben"]}), path)
    ours, theirs = from_table(path), from_table(_csv(tmp_path))
    assert (ours.name, ours.ids, ours.paths) == (theirs.name, theirs.ids, theirs.paths)
    assert ours.lat.tolist() == theirs.lat.tolist()
    assert ours.lng.tolist() == theirs.lng.tolist()
    assert ours.uploaders == theirs.uploaders


def test_usual_names_of_columns_are_known(tmp_path: Path) -> None:
    found = from_table(_csv(tmp_path, "Image,LATITUDE,Long,Author,lens\n1.jpg,1,2,ann,x\n"))
    assert (found.ids, found.uploaders) == (("1.jpg",), ("ann",))
    assert (found.lat[0], found.lng[0]) == (1, 2)


def test_photographers_may_be_unknown_or_another_column(tmp_path: Path) -> None:
    path = _csv(tmp_path, "path,lat,lng,trip\n1.jpg,1,2,alps\n2.jpg,1,2,alps\n")
    assert from_table(path).uploaders is None
    assert from_table(path, cluster_column="trip").uploaders == ("alps", "alps")
    with pytest.raises(InputError, match=r"holidays\.csv: no column 'tour'; there are 'path'"):
        from_table(path, cluster_column="tour")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("path,lat,lng\n1.jpg,1,2\n2.jpg,91,2\n", "row 2: '91' is not a valid latitude"),
        ("path,lat,lng\n1.jpg,1,-180.5\n", "row 1: '-180.5' is not a valid longitude"),
        ("path,lat,lng\n1.jpg,nan,2\n", "row 1: 'nan' is not a valid latitude"),
        ("path,lat,lng\n1.jpg,1,\n", "row 1: '' is not a valid longitude"),
        ("path,lat,lng\n1.jpg,48° N,2\n", "row 1: '48° N' is not a valid latitude"),
        ("path,lat,lng\n1.jpg,1,2\n,1,2\n", "row 2: contains no path"),
        ("lat,lng\n1,2\n", "no column of paths among 'lat', 'lng'"),
        ("path,lng\n1.jpg,2\n", "no column of latitudes among"),
        ("path,lat\n1.jpg,2\n", "no column of longitudes among"),
        ("path,lat,lng\n", "contains no rows"),
    ],
)
def test_a_wrong_row_or_column_is_named(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(InputError, match=rf"holidays\.csv: {said}"):
        from_table(_csv(tmp_path, text))


def test_an_empty_cell_of_a_parquet_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    parquet.write_table(pa.table({"path": ["1", "2"], "lat": [1.0, None], "lng": [0, 0]}), path)
    with pytest.raises(InputError, match=r"a\.parquet: row 2: None is not a valid latitude"):
        from_table(path)


def test_a_table_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holidays\.csv"):
        load_benchmark(str(tmp_path / "holidays.csv"))


@given(st.lists(st.floats(-180, 180)), st.floats(), st.integers(0, 10))
def test_degrees_are_exact_or_named(good: list[float], odd: float, place: int) -> None:
    table = Path("t.csv")
    texts = [repr(value) for value in good]
    assert degrees(table, texts, 180, "longitude").tolist() == good
    if not abs(odd) <= 180:
        texts.insert(place, repr(odd))
        with pytest.raises(InputError, match=f"row {min(place, len(good)) + 1}: "):
            degrees(table, texts, 180, "longitude")


def test_a_rule_says_how_it_compares() -> None:
    assert str(Rule()) == "haversine distance, <="
    assert str(Rule("karney", strict=True)) == "karney distance, <"
