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
from locationnet.evaluation.benchmark_files import degrees, load_benchmark
from locationnet.evaluation.benchmarks import Rule, from_table, known_places

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


def test_uploaders_may_be_unknown_or_another_column(tmp_path: Path) -> None:
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
def test_degrees_are_exact_or_named(good: list[float], odd: float, index: int) -> None:
    table = Path("t.csv")
    texts = [repr(value) for value in good]
    assert degrees(table, texts, 180, "longitude").tolist() == good
    if not abs(odd) <= 180:
        texts.insert(index, repr(odd))
        with pytest.raises(InputError, match=f"row {min(index, len(good)) + 1}: "):
            degrees(table, texts, 180, "longitude")


def test_a_rule_says_how_it_compares() -> None:
    assert str(Rule()) == "haversine distance, <="
    assert str(Rule("karney", strict=True)) == "karney distance, <"


def test_own_columns_named_the_wrong_way_round_are_swapped_by_two_places(tmp_path: Path) -> None:
    rows = "a.jpg,48.85,2.35\nb.jpg,35.68,139.69\nc.jpg,-33.86,151.2\n"
    found = from_table(_csv(tmp_path, f"path,lng,lat\n{rows}"))
    assert found.lat.tolist() == [48.85, 35.68, -33.86]
    assert found.lng.tolist() == [2.35, 139.69, 151.2]
    assert found.notes == (
        "columns 'lat' and 'lng' are named the wrong way round: row 2 has '139.69' under 'lat'",
    )


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        # A slip, twice the same, is not proof enough; the reader is told what may be wrong.
        ("a,48,2\nb,148.5,2\n", "row 2: '148.5' is not a valid latitude; if 'lat' and 'lng' are"),
        ("a,48,2\nb,148.5,2\nc,148.5,2\n", "row 2: '148.5' is not a valid latitude; if"),
        ("a,48,-122\nb,91,2\n", "row 2: '91' is not a valid latitude, and row 1 has '-122'"),
        ("a,139,35\nb,151,-33\nc,37,-122\n", "row 1: '139' is not a valid latitude, and row 3 has"),
        # Turned round or not, a row is wrong.
        ("a,139,35\nb,151,-33\nc,200,1\n", "row 3: '200' is not a valid longitude"),
        ("a,139,35\nb,,-33\nc,151,-33\n", "row 2: '' is not a valid longitude"),
        ("a,139,35\nb,151,-33\nc,1,\n", "row 3: '' is not a valid latitude"),
    ],
)
def test_what_is_not_proven_is_refused(tmp_path: Path, rows: str, said: str) -> None:
    with pytest.raises(InputError, match=f"holidays.csv: {said}"):
        from_table(_csv(tmp_path, f"path,lat,lng\n{rows}"))


@given(
    st.lists(st.tuples(st.floats(-90, 90), st.floats(-180, 180)), min_size=1, max_size=20),
    st.booleans(),
)
def test_places_are_right_or_refused(points: list[tuple[float, float]], swap: bool) -> None:
    lat, lng = map(list, zip(*points, strict=True))
    proofs = len({point for point in points if abs(point[1]) > 90})
    table = pa.table({"lat": lng if swap else lat, "lng": lat if swap else lng})
    if swap and proofs == 1:
        with pytest.raises(InputError, match="is not a valid latitude; if"):
            known_places(Path("t.csv"), table)
        return
    found = known_places(Path("t.csv"), table)
    assert found.proven == (proofs > 0)
    turned = swap and not proofs
    assert found.lat.tolist() == (lng if turned else lat)
    assert found.lng.tolist() == (lat if turned else lng)


def test_ids_do_for_paths_where_no_photo_is_read(tmp_path: Path) -> None:
    path = _csv(tmp_path, "IMG_ID,LAT,LON\n1,2,3\n")
    with pytest.raises(InputError, match="no column of paths"):
        from_table(path)
    assert from_table(path, need_photos=False).ids == ("1",)
    assert from_table(_csv(tmp_path, "IMG_ID,LAT,LON\n1.jpg,2,3\n")).ids == ("1.jpg",)
