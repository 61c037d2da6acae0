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
from locationnet.evaluation.benchmark_files import (
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
    with pytest.raises(InputError, match="not a valid name of a photo"):
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
        ("im2gps3k", "im2gps3k_places365.csv", "IMG_ID,LAT,LON\na,1,2\n", "no column of uploaders"),
        ("im2gps3k", "im2gps3k_places365.csv", "IMG_ID,AUTHOR,LAT,LON\na,b,x,2\n", "row 1: 'x'"),
        (
            "im2gps3k",
            "im2gps3k_places365.csv",
            "IMG_ID,AUTHOR,LAT,LON\na,b\n",
            r"row 1 \(line 2\): 2 columns",
        ),
        ("placing2016", "mediaeval2016_test", "\n", "contains no rows"),
        ("yfcc4k", "other.txt", "", "info.txt: cannot be read"),
        ("im2gps", "other.txt", "", "contains no photos"),
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


# Latitude, longitude: the last two prove which is which.
WORLD = [(48.85, 2.35), (-1.29, 36.82), (35.68, 139.69), (37.77, -122.42)]


def _table(folder: Path, name: str, header: str, rows: list[str], ends: str = "\n") -> Path:
    path = folder / name
    path.write_text(ends.join([header, *rows, ""]), newline="")
    return path


def _im2gps3k(folder: Path, header: str, places: list[tuple[float, float]]) -> Path:
    rows = [f"{number}_x@N00.jpg,7@N00,{a},{b},2" for number, (a, b) in enumerate(places)]
    return _table(folder, "im2gps3k_places365.csv", f"IMG_ID,AUTHOR,{header},S3_Label", rows)


@pytest.mark.parametrize("header", ["LAT,LON", "LON,LAT", "longitude,latitude", "lng,lat"])
def test_columns_that_are_named_the_wrong_way_round_are_swapped(
    tmp_path: Path, header: str
) -> None:
    _im2gps3k(tmp_path, header, WORLD)
    found = load_benchmark("im2gps3k", tmp_path)
    assert list(zip(found.lat.tolist(), found.lng.tolist(), strict=True)) == WORLD
    said = [note for note in found.notes if "named the wrong way round: row 3 has '139.69'" in note]
    assert len(said) == (header != "LAT,LON")


def test_one_row_of_a_published_table_proves_it(tmp_path: Path) -> None:
    _im2gps3k(tmp_path, "LON,LAT", WORLD[:3])
    assert load_benchmark("im2gps3k", tmp_path).lng.tolist() == [2.35, 36.82, 139.69]


def test_without_a_proof_the_header_is_believed(tmp_path: Path) -> None:
    _im2gps3k(tmp_path, "LON,LAT", WORLD[:2])
    found = load_benchmark("im2gps3k", tmp_path)
    assert found.lng.tolist() == [48.85, -1.29]
    assert len(found.notes) == 1


def test_rows_that_prove_both_ways_are_refused(tmp_path: Path) -> None:
    _im2gps3k(tmp_path, "LON,LAT", [*WORLD[:3], (-122.42, 37.77)])
    with pytest.raises(
        InputError,
        match=r"row 3: '139.69' is not a valid latitude, and row 4 has '-122.42' under 'LON'",
    ):
        load_benchmark("im2gps3k", tmp_path)


def test_a_photo_without_truth_proves_nothing_and_keeps_rows_numbered(tmp_path: Path) -> None:
    without = min(IM2GPS3K_WITHOUT_TRUTH)
    path = _im2gps3k(tmp_path, "LON,LAT", WORLD)
    header, *rows = path.read_text().splitlines()
    path.write_text("\n".join([header, f"{without}.jpg,7@N00,,,1", *rows]) + "\n")
    notes = load_benchmark("im2gps3k", tmp_path).notes
    assert any("row 4 has '139.69' under 'LAT'" in note for note in notes)
    path.write_text(path.read_text() + "9.jpg,7@N00,200,1,2\n")
    with pytest.raises(InputError, match=r"row 6: '200' is not a valid latitude$"):
        load_benchmark("im2gps3k", tmp_path)


def _commented(path: Path, place: tuple[float, float]) -> None:
    path.write_bytes(_jpeg(f"latitude: {place[0]}".encode(), f"longitude: {place[1]}".encode()))


@pytest.mark.parametrize("name", ["im2gps", "im2gps3k"])
def test_comments_prove_what_no_value_does(tmp_path: Path, name: str) -> None:
    path = _im2gps3k(tmp_path, "LON,LAT", WORLD[:2])
    path.rename(tmp_path / f"{name}_places365.csv")
    _commented(tmp_path / "0_x@N00.jpg", WORLD[0])
    (tmp_path / "1_x@N00.jpg").write_bytes(_jpeg())
    found = load_benchmark(name, tmp_path)
    assert list(zip(found.lat.tolist(), found.lng.tolist(), strict=True)) == WORLD[:2]
    assert any("row 1 differs so from its photo's comment" in note for note in found.notes)
    assert not any("km apart" in note for note in found.notes)


@pytest.mark.parametrize("name", ["im2gps", "im2gps3k"])
def test_comments_that_prove_both_ways_are_refused(tmp_path: Path, name: str) -> None:
    _im2gps3k(tmp_path, "LON,LAT", [WORLD[0], (36.82, -1.29)]).rename(
        tmp_path / f"{name}_places365.csv"
    )
    for number in range(2):
        _commented(tmp_path / f"{number}_x@N00.jpg", WORLD[number])
    with pytest.raises(InputError, match=r"places365\.csv: row 1 .* but not in row 2"):
        load_benchmark(name, tmp_path)


def test_comments_that_agree_with_neither_are_a_note(tmp_path: Path) -> None:
    _im2gps3k(tmp_path, "LAT,LON", WORLD[:2])
    _commented(tmp_path / "0_x@N00.jpg", (10, 10))
    found = load_benchmark("im2gps3k", tmp_path)
    assert found.lat.tolist() == [48.85, -1.29]
    assert any("1 photos' comments and im2gps3k_places365.csv" in note for note in found.notes)


def test_a_part_of_the_photos_name_is_no_part_of_the_uploaders(tmp_path: Path) -> None:
    (tmp_path / "Ankara_00003_60_9f0_12_8504005@N07.jpg").write_bytes(
        _jpeg(b"latitude: 39.9", b"longitude: 32.8")
    )
    rows = ["Ankara_00003_60_9f0_12_8504005@N07.jpg,9f0_12_8504005@N07,39.9,32.8"]
    _table(tmp_path, "im2gps_places365.csv", "IMG_ID,AUTHOR,LAT,LON", rows)
    assert load_benchmark("im2gps", tmp_path).uploaders == ("8504005@N07",)


def test_im2gps_is_its_table_where_no_photos_are_needed(tmp_path: Path) -> None:
    rows = [f"{number}.jpg,{number}@N00,{a},{b}" for number, (a, b) in enumerate(WORLD)]
    _table(tmp_path, "im2gps_places365.csv", "IMG_ID,AUTHOR,LAT,LON", rows)
    with pytest.raises(InputError, match="contains no photos"):
        load_benchmark("im2gps", tmp_path)
    found = load_benchmark("im2gps", tmp_path, need_photos=False)
    assert found.ids == ("0", "1", "2", "3")
    assert list(zip(found.lat.tolist(), found.lng.tolist(), strict=True)) == WORLD
    assert found.uploaders == ("0@N00", "1@N00", "2@N00", "3@N00")
    # A photo that is there speaks for itself, and once.
    _commented(tmp_path / "Rome_00024_2.jpg", (35.7, 139.7))
    found = load_benchmark("im2gps", tmp_path, need_photos=False)
    assert sorted(found.ids) == ["0", "1", "3", "Rome_00024_2"]
    assert found.lat[0] == 35.7


YFCC26K = "name,AUTHOR,lat,lon,S3_Label,S16_Label"


@pytest.mark.parametrize(
    ("header", "row"),
    [
        (YFCC26K, "{path},{author},{lat},{lng},1,2"),
        ("IMG_ID,AUTHOR,LAT,LON,S3_Label", "{path},{author},{lat},{lng},1"),
        ("lon,extra,IMG_ID,lat,AUTHOR", "{lng},x,{path},{lat},{author}"),
        ("name,AUTHOR,lon,lat", "{path},{author},{lat},{lng}"),
    ],
)
def test_yfcc26k_is_read_in_the_forms_that_are_handed_around(
    tmp_path: Path, header: str, row: str
) -> None:
    rows = [
        row.format(path=f"45/7{number}/32285{number}.jpg", author=f"{number % 2}@N00", lat=a, lng=b)
        for number, (a, b) in enumerate(WORLD)
    ]
    _table(tmp_path, "yfcc25600_places365.csv", header, rows)
    (tmp_path / "images" / "45" / "71").mkdir(parents=True)
    places = [tmp_path / "322850.jpg", tmp_path / "images" / "45" / "71" / "322851.jpg"]
    for place in places:
        place.write_bytes(b"")
    found = load_benchmark("yfcc26k", tmp_path)
    assert found.name == "YFCC26k"
    assert found.ids == ("322850", "322851", "322852", "322853")
    assert list(zip(found.lat.tolist(), found.lng.tolist(), strict=True)) == WORLD
    assert found.uploaders == ("0@N00", "1@N00", "0@N00", "1@N00")
    assert found.paths[:2] == tuple(places)
    assert found.paths[2] == tmp_path / "45" / "72" / "322852.jpg"
    assert str(found.rule) == "haversine distance, <="


YFCC4K = "RecordNumber,name,Secret,OwnerNSID,Username,Title,lon,lat,Accuracy,Page"
YFCC4K_ROWS = [
    f'{number},1020{number}.jpg,s,{number}@N00,Ann,"a, b",{b},{a},16,http://x'
    for number, (a, b) in enumerate(WORLD)
]


@pytest.mark.parametrize("name", ["yfcc4k_places365.csv", "my copy.csv", "yfcc4k.txt", "info.txt"])
@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_yfcc4k_is_read_from_a_table_with_a_header(tmp_path: Path, name: str, ends: str) -> None:
    # Not the benchmark's: answers, and a table of another benchmark.
    (tmp_path / "answers.csv").write_text("id,lat,lng\n10200.jpg,0,0\n")
    (tmp_path / "yfcc25600_places365.csv").write_text(f"{YFCC26K}\n1.jpg,a,1,2,3,4\n")
    (tmp_path / "10203.jpg").write_bytes(b"")
    path = _table(tmp_path, name, YFCC4K, YFCC4K_ROWS, ends)
    if name == "info.txt":
        path.rename(tmp_path / "yfcc4k_places365.csv")
    found = load_benchmark("yfcc4k", tmp_path)
    assert found.name == "YFCC4k"
    assert found.ids == ("10200", "10201", "10202", "10203")
    assert list(zip(found.lat.tolist(), found.lng.tolist(), strict=True)) == WORLD
    assert found.uploaders == ("0@N00", "1@N00", "2@N00", "3@N00")
    assert found.paths[3].is_file()
    assert (f"the truth is that of {name}" in found.notes) == (
        name in {"my copy.csv", "yfcc4k.txt"}
    )


def test_two_tables_that_could_be_the_one_are_named(tmp_path: Path) -> None:
    for name in ("one.csv", "two.csv"):
        _table(tmp_path, name, YFCC4K, YFCC4K_ROWS)
    with pytest.raises(InputError, match=r"each of one\.csv, two\.csv could be its table"):
        load_benchmark("yfcc4k", tmp_path)
    with pytest.raises(InputError, match=r"name it yfcc25600_places365\.csv"):
        load_benchmark("yfcc26k", tmp_path)


def test_a_table_of_answers_is_never_taken_for_the_truth(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,author,lat,lng,pred_lat,pred_lng\n1,x,1,2,1,2\n")
    (tmp_path / "b.csv").write_text("id,lat,lng\n1,1,2\n")
    for name in ("yfcc4k", "yfcc26k", "im2gps3k"):
        with pytest.raises(InputError, match=r"no such file"):
            load_benchmark(name, tmp_path)


def test_a_photo_without_name_is_named_by_its_row(tmp_path: Path) -> None:
    _table(tmp_path, "yfcc25600_places365.csv", YFCC26K, ["1.jpg,a,1,2,3,4", " ,a,1,2,3,4"])
    with pytest.raises(InputError, match="row 2: names no photo"):
        load_benchmark("yfcc26k", tmp_path)
