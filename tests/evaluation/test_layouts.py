"""Each benchmark's own files, generated in exactly the published layout."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from locationnet.errors import InputError
from locationnet.evaluation.layouts import (
    IM2GPS3K_WITHOUT_TRUTH,
    PLACING_RULE,
    comment_place,
    load_benchmark,
)

YFCC_COLUMNS = 25


def _jpeg(*comments: bytes) -> bytes:
    """A JPEG with comment segments, in front of what Pillow writes."""
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "JPEG")
    data = buffer.getvalue()
    segments = b"".join(b"\xff\xfe" + (len(c) + 2).to_bytes(2, "big") + c for c in comments)
    return data[:2] + segments + data[2:]


def test_all_comments_of_a_photo_are_read() -> None:
    photo = _jpeg(b"owner: someone", b"latitude: 48.8584", b"longitude: -2.2945\n", b"tags: x")
    assert comment_place(photo) == (48.8584, -2.2945)
    assert comment_place(_jpeg(b"latitude: 1.5\nlongitude: 2\n")) == (1.5, 2.0)
    assert comment_place(_jpeg(b"latitude: 1.5")) is None
    assert comment_place(_jpeg(b"latitude: 91", b"longitude: 0")) is None
    assert comment_place(_jpeg()) is None


@given(
    st.floats(-90, 90).map(lambda value: round(value, 6)),
    st.floats(-180, 180).map(lambda value: round(value, 6)),
    st.lists(st.binary(max_size=40).filter(lambda text: b"itude" not in text.lower()), max_size=4),
)
def test_a_place_is_found_among_other_comments(lat: float, lng: float, other: list[bytes]) -> None:
    ours = [f"latitude: {lat:.6f}".encode(), f"longitude: {lng:.6f}".encode()]
    assert comment_place(_jpeg(*other, *ours)) == (lat, lng)


@given(st.binary(max_size=300), st.integers(0, 200))
def test_any_bytes_are_read_without_a_crash(noise: bytes, cut: int) -> None:
    comment_place(noise)
    comment_place(b"\xff\xd8" + noise)
    whole = _jpeg(b"latitude: 1", b"longitude: 2")
    comment_place(whole[:cut] + noise)


def _im2gps(folder: Path) -> None:
    (folder / "a.jpg").write_bytes(_jpeg(b"latitude: 10", b"longitude: 20"))
    (folder / "b.jpg").write_bytes(_jpeg(b"latitude: -5.5", b"longitude: 179"))


def test_im2gps_takes_its_truth_from_the_comments(tmp_path: Path) -> None:
    _im2gps(tmp_path)
    found = load_benchmark("im2gps", tmp_path)
    assert found.name == "IM2GPS"
    assert found.ids == ("a", "b")
    assert found.lat.tolist() == [10, -5.5]
    assert found.lng.tolist() == [20, 179]
    assert found.uploaders is None
    assert str(found.rule) == "haversine distance, <="


def test_im2gps_is_checked_against_its_table(tmp_path: Path) -> None:
    _im2gps(tmp_path)
    (tmp_path / "c.jpg").write_bytes(_jpeg())
    table = tmp_path / "im2gps_places365.csv"
    table.write_text(
        "IMG_ID,AUTHOR,LAT,LON,S3_Label\n"
        "a.jpg,ann,10.000001,20,1\nb.jpg,ben,-5.5,170,2\nc.jpg,ann,1,2,3\n"
    )
    found = load_benchmark("im2gps", tmp_path)
    assert found.uploaders == ("ann", "ben", "ann")
    assert found.lng.tolist() == [20, 179, 2]
    assert len(found.notes) == 1
    assert "b.jpg" in found.notes[0]
    table.unlink()
    with pytest.raises(InputError, match=r"c\.jpg: no comment"):
        load_benchmark("im2gps", tmp_path)


def test_im2gps_photos_are_known_by_the_number_at_the_end_of_their_name(tmp_path: Path) -> None:
    (tmp_path / "Rome_00024_97344248.jpg").write_bytes(_jpeg(b"latitude: 41.9", b"longitude: 12.5"))
    (tmp_path / "im2gps_places365.csv").write_text(
        "\ufeffIMG_ID,AUTHOR,LAT,LON\n97344248.jpg,ann,41.9,12.5\n", encoding="utf-8"
    )
    assert load_benchmark("im2gps", tmp_path).uploaders == ("ann",)


def test_a_photo_may_lie_in_the_folder_that_its_archive_made(tmp_path: Path) -> None:
    (tmp_path / "im2gps3k_places365.csv").write_text("IMG_ID,AUTHOR,LAT,LON\na_1.jpg,x,1,2\n")
    (tmp_path / "im2gps3ktest").mkdir()
    (tmp_path / "im2gps3ktest" / "a_1.jpg").write_bytes(_jpeg())
    assert load_benchmark("im2gps3k", tmp_path).paths[0].is_file()


def test_a_hash_that_leaves_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mediaeval2016_test").write_text("1\tu\t7.5\t50.25\tx\t../../secret\n")
    with pytest.raises(InputError, match="no photo's name"):
        load_benchmark("placing2016", tmp_path)


def test_im2gps3k_leaves_out_the_three_without_a_place(tmp_path: Path) -> None:
    rows = [f"{name}.jpg,x,," for name in sorted(IM2GPS3K_WITHOUT_TRUTH)]
    rows.insert(1, "1_2_3@N00.jpg,ann,-33.9,151.2")
    (tmp_path / "im2gps3k_places365.csv").write_text(
        "IMG_ID,AUTHOR,LAT,LON\n" + "\n".join(rows) + "\n"
    )
    found = load_benchmark("IM2GPS3k", tmp_path)
    assert found.ids == ("1_2_3@N00",)
    assert found.paths == (tmp_path / "1_2_3@N00.jpg",)
    assert found.uploaders == ("ann",)
    assert (found.lat[0], found.lng[0]) == (-33.9, 151.2)


def _yfcc_row(number: int, **values: str) -> str:
    row = [""] * YFCC_COLUMNS
    row[0], row[1], row[3] = str(number), f"photo{number}", f"{number % 2}@N01"
    row[12], row[13] = values.get("lng", "2.5"), values.get("lat", "-1.25")
    row[8] = "a+title"
    return "\t".join(row)


def test_yfcc4k_is_read_from_its_25_columns(tmp_path: Path) -> None:
    info = tmp_path / "info.txt"
    info.write_text("\n".join(_yfcc_row(number) for number in range(3)) + "\n")
    found = load_benchmark("yfcc4k", tmp_path)
    assert found.ids == ("photo0", "photo1", "photo2")
    assert found.lat.tolist() == [-1.25] * 3
    assert found.lng.tolist() == [2.5] * 3
    assert found.uploaders == ("0@N01", "1@N01", "0@N01")
    info.write_text(_yfcc_row(0) + "\n" + _yfcc_row(1, lat="2.5", lng="-190") + "\n")
    with pytest.raises(InputError, match=r"info\.txt: row 2: '-190' is not a valid longitude"):
        load_benchmark("yfcc4k", tmp_path)
    info.write_text(_yfcc_row(0) + "\nshort\trow\n")
    with pytest.raises(InputError, match="row 2: 2 columns, expected 25"):
        load_benchmark("yfcc4k", tmp_path)


def test_placing_is_scored_by_its_own_rule(tmp_path: Path) -> None:
    rows = [["1", "user", "7.5", "50.25", "x", "abc123def"], ["2", "u", "0", "0", "x", "ffe001"]]
    (tmp_path / "mediaeval2016_test").write_text("".join("\t".join(row) + "\n" for row in rows))
    sorted_in = tmp_path / "data" / "images" / "abc" / "123"
    sorted_in.mkdir(parents=True)
    (sorted_in / "abc123def.jpg").write_bytes(_jpeg())
    found = load_benchmark("placing2016", tmp_path)
    assert (found.lat[0], found.lng[0]) == (50.25, 7.5)
    assert found.paths == (sorted_in / "abc123def.jpg", tmp_path / "ffe001.jpg")
    assert found.rule == PLACING_RULE
    assert found.rule.strict
    assert np.isclose(found.rule.thresholds_km[0], 0.01)


@pytest.mark.parametrize(
    ("name", "file", "text", "said"),
    [
        ("im2gps3k", "im2gps3k_places365.csv", "IMG_ID,LAT,LON\na,1,2\n", "no column AUTHOR"),
        ("im2gps3k", "im2gps3k_places365.csv", "IMG_ID,AUTHOR,LAT,LON\na,b,x,2\n", "row 1: 'x'"),
        ("im2gps3k", "im2gps3k_places365.csv", "IMG_ID,AUTHOR,LAT,LON\na,b\n", "too few columns"),
        ("placing2016", "mediaeval2016_test", "\n", "holds no rows"),
        ("yfcc4k", "other.txt", "", "info.txt: cannot be read"),
        ("im2gps", "other.txt", "", "holds no photos"),
    ],
)
def test_wrong_files_are_named(tmp_path: Path, name: str, file: str, text: str, said: str) -> None:
    (tmp_path / file).write_text(text)
    with pytest.raises(InputError, match=said):
        load_benchmark(name, tmp_path)


def test_a_published_benchmark_needs_its_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="give --images"):
        load_benchmark("im2gps")
    with pytest.raises(InputError, match="drop --cluster"):
        load_benchmark("im2gps", tmp_path, cluster_column="trip")
