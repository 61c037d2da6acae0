"""Whole tables from metadata, against a slow and obvious reader."""

from __future__ import annotations

import bz2
import gzip
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
import zlib
from collections import Counter, defaultdict
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import unquote_plus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic_commons import make_commons, photo_url

from locationnet.commons import image_key, photo_hash
from locationnet.errors import InputError, LocationNetError
from locationnet.geo.box import Box
from locationnet.metadata import records
from locationnet.metadata.build_table import Summary, build_table
from locationnet.metadata.dedupe import DUPLICATE, OVER_CAP
from locationnet.metadata.filters import Filters, licence_name
from locationnet.metadata.layouts import YFCC_23, YFCC_25
from locationnet.metadata.lines import CONTROL, CUT_OFF
from locationnet.tables.coordinates import MISSING, NO_NUMBER, NULL_ISLAND, OUT_OF_RANGE
from locationnet.tables.stream import WRONG_COLUMNS

parquet = pytest.importorskip("pyarrow.parquet", reason="needs the extra 'data'")

ROOT = Path(__file__).parents[2]
GOOD = {
    "line": "7", "photoid": "6162540254", "hash": "", "uid": "39089491@N00", "unickname": "an+na",
    "datetaken": "2012-02-16 09:56:37.0", "title": "caf%C3%A9", "longitude": "10.5",
    "latitude": "-20.25", "accuracy": "16", "pageurl": "http://www.flickr.com/photos/a/1/",
    "downloadurl": "http://farm7.staticflickr.com/6167/6162540254_5d22abd711.jpg",
    "licensename": "Attribution License",
    "licenseurl": "http://creativecommons.org/licenses/by/2.0/", "marker": "0",
}  # fmt: skip
KEPT_FIELDS = [name for name in YFCC_25 if name in {*GOOD} - {"line"}]


def line(columns: tuple[str, ...] = YFCC_25, **fields: str) -> bytes:
    """A row, good but for the fields that are given."""
    return "\t".join({**GOOD, **fields}.get(name, "") for name in columns).encode()


def read(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = parquet.read_table(path).to_pylist()
    return found


@dataclass
class Slow:
    """Reads rows one by one, as the documentation says that they are read."""

    columns: tuple[str, ...] = YFCC_25
    rows: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: defaultdict(list))
    dropped: Counter[str] = field(default_factory=Counter)

    def file(self, data: bytes) -> None:
        for text in data.removeprefix(b"\xef\xbb\xbf").split(b"\n"):
            text = text.removesuffix(b"\r")
            if not text:
                continue
            reason = self.one(text)
            if reason:
                self.dropped[reason] += 1

    def one(self, text: bytes) -> str:
        if b"\0" in text or b"\r" in text:
            return CONTROL
        parts = text.split(b"\t")
        if len(parts) != len(self.columns):
            return WRONG_COLUMNS
        raw = {name: part for name, part in zip(self.columns, parts, strict=True) if name in GOOD}
        raw.pop("line", None)
        try:
            row = {name: part.decode() for name, part in raw.items()}
        except UnicodeDecodeError:
            return records.NOT_TEXT
        if not re.fullmatch("[1-9][0-9]{0,18}", row["photoid"]):
            return records.NO_ID
        if row["marker"] != "0":
            return records.VIDEO if row["marker"] == "1" else records.NO_MARKER
        numbers = []
        for name in ("latitude", "longitude"):
            if not row[name].strip():
                return MISSING
            numbers.append(number(row[name].strip()))
        lat, lng = numbers
        if lat is None or lng is None:
            return NO_NUMBER
        if abs(lat) > 90 or abs(lng) > 180:
            return OUT_OF_RANGE
        if lat == 0 and lng == 0:
            return NULL_ISLAND
        self.rows[row["photoid"]].append(self.made(row, lat, lng))
        return ""

    def made(self, row: dict[str, str], lat: float, lng: float) -> dict[str, Any]:
        for name in ("uid", "unickname", "datetaken", "title", "licensename"):
            row[name] = re.sub(r"[\x00-\x1f]+", " ", plain(row[name]))
        found = row.get("hash", "")
        if not re.fullmatch("[0-9a-f]{16,32}", found):
            found = photo_hash(row["downloadurl"]) if row["downloadurl"] else ""
        licence = licence_name(row["licensename"], row["licenseurl"])
        title, name = row["title"].strip(), row["unickname"].strip() or row["uid"]
        text = (f'"{title}"' if title else "Photo") + f" by {name}, {row['pageurl']}, {licence}"
        if row["licenseurl"]:
            text += f" ({row['licenseurl']})"
        accuracy = row["accuracy"]
        return {
            "id": row["photoid"],
            "path": image_key(found) if found else None,
            "lat": lat,
            "lng": lng,
            "uploader": row["uid"] or None,
            "accuracy": int(accuracy) if re.fullmatch("[0-9]{1,2}", accuracy) else None,
            "taken": row["datetaken"] or None,
            "url": row["downloadurl"] or None,
            "hash": found or None,
            "licence": licence or None,
            "attribution": text,
        }


def plain(text: str) -> str:
    return unquote_plus(text)


def number(text: str) -> float | None:
    if not re.fullmatch(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?", text):
        return None
    found = float(text)
    return found if abs(found) != float("inf") else None


def check(made: Summary, out: Path, slow: Slow) -> None:
    """The table holds each of the slow reader's photos once, and the counts are its."""
    found = read(out)
    assert {row["id"] for row in found} == set(slow.rows)
    assert len(found) == made.kept == len(slow.rows)
    for row in found:
        assert row in slow.rows[row["id"]]
    again = sum(len(same) - 1 for same in slow.rows.values())
    assert made.dropped == slow.dropped + Counter({DUPLICATE: again} if again else {})


TEXT = st.text(max_size=8) | st.sampled_from(
    ["a+b", "%41%zz%", "%C3%A9", "%FF", "%00%0a%09", "x\ty", "\t\t", "a\0b", "a\rb", '"', '"a', "'",
     "\\", "\\N", "NULL", "%2B+%", "\x0b\x85\u2028", "%E2%82é", "\ufeff"]
)  # fmt: skip
PLACE = st.sampled_from(
    ["", " ", "0", "0.0", "-0", "12.5", " 45 ", "90", "-90.0000001", "135.25", "-180", "180.5", "x",
     "nan", "inf", "1e2", "1e999", "1_0", "0x1p3", ".5", "5.", "+.5e-3", "١٢", "1,5"]
)  # fmt: skip
CHANGES = st.fixed_dictionaries(
    {},
    optional={
        "photoid": st.sampled_from(["1", "2", "3", "12345678901234567890", "0", "007", "", "x"]),
        "latitude": PLACE,
        "longitude": PLACE,
        "marker": st.sampled_from(["0", "1", "", "2", "00", " 0"]),
        "accuracy": st.sampled_from(["", "1", "16", "x", "-1", "999"]),
        "hash": st.sampled_from(["", "ABC", "4ccb23d8746b8d9d76ffd603fc7988", "f" * 33]),
        "downloadurl": st.sampled_from(["", "http://a/b.jpg", "http://a/%20+é.jpg"]),
        "licenseurl": st.just("") | TEXT,
        **dict.fromkeys(("title", "unickname", "uid", "datetaken", "licensename", "pageurl"), TEXT),
        **dict.fromkeys(("description", "usertags", "line", "machinetags"), TEXT),
    },
)


@st.composite
def lines(draw: st.DrawFn, columns: tuple[str, ...] = YFCC_25) -> bytes:
    """A row with what is wrong with records."""
    made = line(columns, **draw(CHANGES))
    kind = draw(st.integers(0, 12))
    if kind == 0:
        made = draw(st.binary(max_size=40)).replace(b"\n", b"")
    elif kind == 1:
        at = draw(st.integers(0, len(made)))
        made = (
            made[:at] + draw(st.sampled_from([b"\xff", b"\t", b"\0", b"\r", b"\xc3"])) + made[at:]
        )
    elif kind == 2:
        made = made[: draw(st.integers(0, len(made)))]
    return made + draw(st.sampled_from([b"\n", b"\n", b"\n", b"\r\n", b"\n\n", b"\r\r\n"]))


FILE = st.lists(lines(), max_size=12).map(b"".join)


@settings(max_examples=40, deadline=None)
@given(st.lists(FILE, min_size=1, max_size=3), st.booleans(), st.binary(max_size=3))
def test_no_row_is_mixed_up_or_forgotten(files: list[bytes], ended: bool, noise: bytes) -> None:
    first = (line(photoid="99") + b"\n") * 2
    files = [first + data for data in files]
    if not ended:
        files[-1] = files[-1].removesuffix(b"\n") + noise.replace(b"\n", b"")
    slow = Slow()
    with TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for index, data in enumerate(files):
            (folder / f"{index}.tsv").write_bytes(data)
            slow.file(data)
        (folder / "3-empty").write_bytes(b"")
        out = folder / "out.parquet"
        names = [str(path) for path in folder.iterdir()]
        made = build_table(names, out)
        check(made, out, slow)
        assert made.layouts == {"YFCC100M, 25 columns": len(files), "empty": 1}
        # Neither the order of the names nor that of the shards decides anything.
        before = out.read_bytes()
        build_table(names[::-1], out)
        assert out.read_bytes() == before
        for index in range(len(files)):
            (folder / f"{index}.tsv").rename(folder / f"{9 - index}.tsv")
        build_table([str(path) for path in folder.glob("[0-9]*")], out)
        places = {row["id"]: (row["lat"], row["lng"]) for row in read(out)}
        out.write_bytes(before)
        assert places == {row["id"]: (row["lat"], row["lng"]) for row in read(out)}


@settings(max_examples=40, deadline=None)
@given(st.lists(lines(), min_size=3, max_size=30).map(b"".join), st.data())
def test_a_truncated_gzip_is_read_up_to_the_damage(content: bytes, data: st.DataObject) -> None:
    content = (line(photoid="99") + b"\n") * 3 + content
    packed = gzip.compress(content, 1)
    cut = packed[: data.draw(st.integers(0, len(packed) - 1))]
    there = zlib.decompressobj(wbits=31).decompress(cut)
    whole, _, rest = there.rpartition(b"\n")
    slow = Slow()
    slow.file(whole)
    if rest:
        slow.dropped[CUT_OFF] += 1
    with TemporaryDirectory() as scratch:
        path, out = Path(scratch) / "a.tsv.gz", Path(scratch) / "out.parquet"
        path.write_bytes(cut)
        if not slow.rows:
            with pytest.raises(InputError, match=r"a\.tsv\.gz|no photo is left of 0 rows"):
                build_table([str(path)], out)
            return
        made = build_table([str(path)], out)
        check(made, out, slow)
        assert list(made.corrupt) == [str(path)]


def test_blocks_and_row_groups_do_not_show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With blocks of a few rows, rows lie across their edges; so do row groups in the table."""
    made = make_commons(tmp_path / "c", 1200, shards=2)
    whole = build_table([str(tmp_path / "c")], tmp_path / "whole.parquet")
    monkeypatch.setattr("locationnet.metadata.lines.BLOCK_BYTES", 1900)
    monkeypatch.setattr("locationnet.metadata.lines._MAX_ROW_BYTES", 900)
    monkeypatch.setattr("locationnet.metadata.row_groups.GROUP_ROWS", 17)
    monkeypatch.setattr("locationnet.metadata.dedupe._BUCKET_ROWS", 100)
    small = build_table([str(path) for path in made.shards], tmp_path / "small.parquet")
    assert small.dropped == whole.dropped
    assert small.kept == whole.kept
    assert read(tmp_path / "small.parquet") == read(tmp_path / "whole.parquet")
    slow = Slow()
    for path in made.shards:
        slow.file(path.read_bytes())
    check(whole, tmp_path / "whole.parquet", slow)


def test_a_line_without_end_costs_no_memory_and_no_other_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("locationnet.metadata.lines.BLOCK_BYTES", 4000)
    monkeypatch.setattr("locationnet.metadata.lines._MAX_ROW_BYTES", 2000)
    rows_before = b"".join(line(photoid=str(number)) + b"\n" for number in range(1, 20))
    path = tmp_path / "a.tsv"
    path.write_bytes(rows_before + b"x" * 50_000 + b"\n" + line(photoid="20"))
    made = build_table([str(path)], tmp_path / "out.parquet")
    assert made.kept == 20
    assert made.dropped == {"longer than a row can be": 1}


@settings(max_examples=30, deadline=None)
@given(st.lists(lines(YFCC_23), max_size=10).map(b"".join), st.sets(st.sampled_from("123")))
def test_hashes_of_the_list_are_joined_to_23_columns(content: bytes, listed: set[str]) -> None:
    content = line(YFCC_23, photoid="99") + b"\n" + content
    slow = Slow(YFCC_23)
    slow.file(content)
    hashes = {name: photo_hash(name) for name in listed}
    for name, found in hashes.items():
        for row in slow.rows.get(name, ()):
            row |= {"hash": found, "path": image_key(found)}
    with TemporaryDirectory() as scratch:
        folder, out = Path(scratch), Path(scratch) / "out.parquet"
        (folder / "a").write_bytes(content)
        text = "".join(f"{name}\t{found}\n" for name, found in hashes.items())
        text += f"5\t{photo_hash('5')}\nx\t{photo_hash('6')}\n7\tshort\n8\n\n"
        (folder / "hashes").write_text(text)
        made = build_table([str(folder / "a")], out, hashes=str(folder / "hashes"))
        check(made, out, slow)
        assert made.bad_hashes == 3


def test_blanks_around_a_url_or_hash_are_no_part_of_it(tmp_path: Path) -> None:
    url, known = "http://h.example/a.jpg", "ab" * 10
    (tmp_path / "own.csv").write_text(
        f"id,lat,lng,url,hash\n1,1,1, {url}\t,\n2,2,2,\u00a0{url} , {known} \n3,3,3,  ,\n",
        encoding="utf-8",
    )
    build_table([str(tmp_path / "own.csv")], tmp_path / "out.parquet")
    found = [(row["url"], row["hash"]) for row in read(tmp_path / "out.parquet")]
    assert found == [(url, photo_hash(url)), (url, known), (None, None)]


def test_a_damaged_list_of_hashes_is_used_as_far_as_it_goes(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(line(YFCC_23, photoid="1") + b"\n" + line(YFCC_23, photoid="2"))
    packed = gzip.compress(b"1\t" + b"ab" * 10 + b"\n" + os.urandom(5000))
    (tmp_path / "hashes.gz").write_bytes(packed[:-1000])
    made = build_table(
        [str(tmp_path / "a")], tmp_path / "out.parquet", hashes=str(tmp_path / "hashes.gz")
    )
    found = [row["hash"] for row in read(tmp_path / "out.parquet")]
    assert found == ["ab" * 10, photo_hash(GOOD["downloadurl"])]
    assert list(made.corrupt) == [str(tmp_path / "hashes.gz")]


def test_a_hash_that_is_there_wins_and_one_that_is_missing_is_computed(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(line() + b"\n" + line(photoid="2", hash="ab" * 10) + b"\n")
    build_table([str(tmp_path / "a")], tmp_path / "out.parquet")
    found = read(tmp_path / "out.parquet")
    assert [row["hash"] for row in found] == ["4ccb23d8746b8d9d76ffd603fc7988", "ab" * 10]
    assert found[0]["path"] == "data/images/4cc/b23/4ccb23d8746b8d9d76ffd603fc7988.jpg"
    assert found[0]["attribution"] == (
        '"café" by an na, http://www.flickr.com/photos/a/1/, CC-BY-2.0'
        " (http://creativecommons.org/licenses/by/2.0/)"
    )


def test_filters_drop_and_count_what_is_not_wanted(tmp_path: Path) -> None:
    wanted = line(photoid="1", accuracy="12")
    others = {
        records.LOW_ACCURACY: line(photoid="2", accuracy="11"),
        records.OUTSIDE: line(photoid="3", longitude="-10.5"),
        records.LICENCE: line(
            photoid="4", licenseurl="http://creativecommons.org/licenses/by-nc/2.0/"
        ),
        records.OPTED_OUT: line(photoid="5", uid="12%40N01"),
    }
    (tmp_path / "a").write_bytes(
        b"\n".join([wanted, *others.values(), line(photoid="6", hash="ef" * 9)])
    )
    filters = Filters(
        min_accuracy=12,
        licences=frozenset({"by"}),
        box=Box(10, -30, 11, 0),
        opt_out=frozenset({"12@N01", "ef" * 9}),
    )
    made = build_table([str(tmp_path / "a")], tmp_path / "out.parquet", filters)
    assert [row["id"] for row in read(tmp_path / "out.parquet")] == ["1"]
    assert made.dropped == {**dict.fromkeys(others, 1), records.OPTED_OUT: 2}
    assert made.read == 6


def test_the_cap_counts_an_uploader_in_a_cell_whatever_the_shards(tmp_path: Path) -> None:
    made = [
        line(photoid=str(number), uid=f"{number % 3}@N00" if number % 10 else "",
             latitude=str(10 * (number % 2) + 1), longitude="7.5")
        for number in range(1, 101)
    ]  # fmt: skip
    seen = set()
    for seed, count in enumerate((1, 2, 5)):
        folder = tmp_path / str(seed)
        folder.mkdir()
        for shard in range(count):
            (folder / f"{shard}").write_bytes(b"\n".join(made[(shard + seed) % count :: count]))
        summary = build_table([str(folder)], folder / "out.parquet", Filters(per_cell=4))
        found = read(folder / "out.parquet")
        groups = Counter((row["uploader"], row["lat"]) for row in found)
        assert groups.pop((None, 1.0)) == 10  # photos of nobody stand alone
        assert set(groups.values()) == {4}
        assert len(groups) == 6
        assert summary.dropped == {OVER_CAP: 90 - 24}
        seen.add(frozenset(row["id"] for row in found))
    assert len(seen) == 1


@pytest.mark.parametrize("suffix", ["", ".gz", ".bz2", ".zst"])
@pytest.mark.parametrize("columns", [23, 25])
def test_every_form_of_yfcc_gives_the_same_table(columns: int, suffix: str, tmp_path: Path) -> None:
    expected = tmp_path / "expected.parquet"
    plainly = make_commons(tmp_path / "plain", 400, shards=2)
    build_table([str(path) for path in plainly.shards], expected)
    form = make_commons(
        tmp_path / "form", 400, columns=columns, shards=2, suffix=suffix.replace(".zst", "")
    )
    files = [str(path) for path in form.shards]
    if suffix == ".zst":
        files = [str(zstd(path)) for path in form.shards]
    out = tmp_path / "out.parquet"
    made = build_table(files, out, hashes=None if form.hashes is None else str(form.hashes))
    assert made.layouts == {f"YFCC100M, {columns} columns": 2}
    assert read(out) == read(expected)


def zstd(path: Path) -> Path:
    pa = pytest.importorskip("pyarrow")
    packed = path.with_name(f"{path.name}.zst")
    with pa.output_stream(packed, compression="zstd") as file:
        file.write(path.read_bytes())
    return packed


def test_the_sqlite_edition_gives_the_same_table(tmp_path: Path) -> None:
    form = make_commons(tmp_path / "c", 500, columns=23)
    (shard,) = form.shards
    taken = [text.split("\t") for text in shard.read_text().splitlines()]
    good = [row for row in taken if len(row) == 23]
    database = tmp_path / "yfcc.sql"
    names = ", ".join(f"{name} TEXT" for name in YFCC_23)
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute(f"CREATE TABLE yfcc100m_dataset ({names})")
        marks = ", ".join("?" * 23)
        connection.executemany(f"INSERT INTO yfcc100m_dataset VALUES ({marks})", good)
    build_table([str(shard)], tmp_path / "expected.parquet", hashes=str(form.hashes))
    made = build_table([str(database)], tmp_path / "out.parquet", hashes=str(form.hashes))
    assert made.layouts == {"YFCC100M, SQLite edition": 1}
    assert made.read == len(good)
    assert read(tmp_path / "out.parquet") == read(tmp_path / "expected.parquet")


def test_another_database_is_refused(tmp_path: Path) -> None:
    database = tmp_path / "other.db"
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("CREATE TABLE photos (id TEXT)")
    with pytest.raises(InputError, match=r"other\.db: no table yfcc100m_dataset"):
        build_table([str(database)], tmp_path / "out.parquet")
    database.write_bytes(database.read_bytes()[:100])
    with pytest.raises(InputError, match=r"other\.db"):
        build_table([str(database)], tmp_path / "out.parquet")


def test_the_placing_files_are_read(tmp_path: Path) -> None:
    found = "4ccb23d8746b8d9d76ffd603fc7988"
    (tmp_path / "mediaeval2016_test").write_text(
        f"11\tx\t10.5\t-20.25\tNorway@Oslo\t{found}\n12\tx\t181\t0\tsea\t{found}\n"
    )
    (tmp_path / "mediaeval2015_placing_locale_train").write_text(
        f"{found[:-1]}\t0\t2014\t17\tOslo@Norway\t10.5\t-20.25\n{found}\t1\t2014\t17\tx\t1\t2\n"
    )
    (tmp_path / "mediaeval2016_placing_train_photo").write_text("13\tx\t1.5\t2.5\t7:Oslo:Town\n")
    made = build_table([str(tmp_path)], tmp_path.with_suffix(".parquet"))
    assert made.layouts == {"Placing task 2016": 2, "Placing task 2015": 1}
    assert made.without_path == 1
    assert made.dropped == {OUT_OF_RANGE: 1, records.VIDEO: 1}
    table = [
        (row["id"], row["lat"], row["lng"], row["path"])
        for row in read(tmp_path.with_suffix(".parquet"))
    ]
    assert table == [
        (found[:-1], -20.25, 10.5, image_key(found[:-1])),
        ("13", 2.5, 1.5, None),
        ("11", -20.25, 10.5, image_key(found)),
    ]


def test_own_tables_are_read_and_come_through_unchanged(tmp_path: Path) -> None:
    (tmp_path / "own.csv").write_text(
        'path,Latitude,lon,author,title\na/1.jpg,1.5,2.5,"Ann, A+B%41",x\na/2.jpg,91,0,b,x\n'
        "a/1.jpg,1.5,2.5,again,x\na/3.jpg,1,2,\na/4.jpg,,1,c,x\n"
    )
    made = build_table([str(tmp_path / "own.csv")], tmp_path / "out.parquet")
    assert made.layouts == {"table": 1}
    assert made.dropped == {OUT_OF_RANGE: 1, DUPLICATE: 1, WRONG_COLUMNS: 1, MISSING: 1}
    (row,) = read(tmp_path / "out.parquet")
    assert row["uploader"] == "Ann, A+B%41"
    assert (row["id"], row["path"], row["hash"]) == ("a/1.jpg", "a/1.jpg", None)
    # The table is one of the forms, and comes through as it is.
    make_commons(tmp_path / "c", 300)
    build_table([str(tmp_path / "c")], tmp_path / "once.parquet")
    build_table([str(tmp_path / "once.parquet")], tmp_path / "twice.parquet")
    assert read(tmp_path / "twice.parquet") == read(tmp_path / "once.parquet")


def test_ids_that_are_floats_are_whole_numbers_or_refused(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    table, out = tmp_path / "own.parquet", tmp_path / "out.parquet"

    def build(ids: list[float | None], kind: Any) -> Summary:
        places = pa.array([1.5] * len(ids))
        own = {"id": pa.array(ids, kind), "lat": places, "lng": places}
        parquet.write_table(pa.table({**own, "uploader": own["id"]}), table)
        return build_table([str(table)], out)

    made = build([61625402540.0, None, float("nan"), 12.0], pa.float64())
    assert made.dropped == {records.NO_ID: 2}
    assert [(row["id"], row["uploader"]) for row in read(out)] == [
        ("61625402540", "61625402540"), ("12", "12"),
    ]  # fmt: skip
    for wrong, kind in ((1.5, pa.float64()), (2.0**53, pa.float64()), (2.0**24, pa.float32())):
        with pytest.raises(InputError, match=r"own\.parquet: the column of photoid holds .* exact"):
            build([1.0, wrong], kind)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.tsv", b"1\t2\t3\nx\n", r"a\.tsv: unknown layout; row 1 has 3 .*'1\\t2\\t3'"),
        ("a.csv", b"id,breadth\n1,2\n", r"a\.csv: unknown layout; row 1 .*'id,breadth'"),
        ("a.csv", b"lat,lng\n1,2\n", r"a\.csv: no column of photo ids or paths"),
        ("a.tsv", b"1\t" + b"ab" * 10 + b"\n", r"a\.tsv: contains the hashes .*--hashes"),
        ("a.gz", b"not gzip at all\n", r"a\.gz: unknown layout; row 1 .*'not gzip at all'"),
        ("a.gz", gzip.compress(b"x" * 99, mtime=0)[:12], r"a\.gz: .*before the first row"),
        ("a.bz2", bz2.compress(b"x" * 99)[:20], r"a\.bz2: .*before the first row"),
        ("a.tsv", b"", r"no photo is left of 0 rows \(all empty\)"),
        ("a.tsv", line(marker="1"), r"no photo is left of 1 rows \(1 video\)"),
        ("a.dat", b"PAR1xxxx", r"a\.dat: corrupt Parquet"),
        ("a.parquet", b"PAR1xxxx", r"a\.parquet: "),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_read_is_named(
    name: str, content: bytes, message: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message):
        build_table([str(tmp_path / name)], tmp_path / "out.parquet")
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_names_that_lead_nowhere_are_refused(tmp_path: Path) -> None:
    out = tmp_path / "out.parquet"
    with pytest.raises(InputError, match="no such file"):
        build_table([str(tmp_path / "none")], out)
    with pytest.raises(InputError, match="contains no files"):
        build_table([str(tmp_path)], out)
    out.write_bytes(line())
    with pytest.raises(InputError, match="is also read"):
        build_table([str(out)], out)
    (tmp_path / "a").write_bytes(line())
    with pytest.raises(InputError, match="expected photo ids and hashes"):
        build_table([str(out)], tmp_path / "b.parquet", hashes=str(tmp_path / "a"))


def test_an_interrupted_call_goes_on_with_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make_commons(tmp_path / "c", 900, shards=3)
    names = [str(path) for path in made.shards]
    build_table(names, tmp_path / "expected.parquet")
    out = tmp_path / "out.parquet"

    def stop(stage: str, done: int, total: int, count: int) -> None:
        if count > 650:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_table(names, out, progress=stop)
    assert not out.exists()
    parts = tmp_path / ".out.parquet.parts"
    finished = {path: path.stat().st_mtime_ns for path in parts.glob("*.json")}
    assert len(finished) == 3  # two shards, and what was begun
    # Other filters or other files are noticed, and what was done stays.
    with pytest.raises(
        InputError, match=r"begun it with other min accuracy; .*\.out\.parquet\.parts"
    ):
        build_table(names, out, Filters(min_accuracy=3))
    with pytest.raises(InputError, match="with other files"):
        build_table(names[:2], out)
    seen: list[int] = []
    build_table(names, out, progress=lambda stage, done, total, count: seen.append(count))
    assert seen[0] == 600  # the finished shards were not read again
    assert read(out) == read(tmp_path / "expected.parquet")
    assert not parts.exists()


def test_a_changed_file_is_noticed(tmp_path: Path) -> None:
    (shard,) = make_commons(tmp_path / "c", 100).shards
    out = tmp_path / "out.parquet"
    with pytest.raises(KeyboardInterrupt):
        build_table([str(shard)], out, progress=interrupt)
    shard.write_bytes(shard.read_bytes() + line())
    with pytest.raises(InputError, match="with other files"):
        build_table([str(shard)], out)


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("gone", ["state.json", "00000.parquet"])
def test_a_call_that_is_killed_as_parts_go_leaves_nothing_to_another(
    gone: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (make_commons(tmp_path / name, 200, seed=seed).shards
                     for seed, name in enumerate("ab"))  # fmt: skip
    build_table([str(second[0])], tmp_path / "expected.parquet")
    out = tmp_path / "out.parquet"
    rmtree = shutil.rmtree

    def killed(path: Path, **options: Any) -> None:
        if (path / gone).exists():
            (path / gone).unlink()
            raise KeyboardInterrupt
        rmtree(path, **options)

    monkeypatch.setattr(shutil, "rmtree", killed)
    with pytest.raises(KeyboardInterrupt):
        build_table([str(first[0])], out)
    monkeypatch.undo()
    build_table([str(second[0])], out)
    assert read(out) == read(tmp_path / "expected.parquet")
    assert sorted(path.name for path in tmp_path.glob(".*")) == []


def test_parts_that_nothing_is_known_of_are_not_used(tmp_path: Path) -> None:
    (shard,) = make_commons(tmp_path / "c", 200).shards
    out, parts = tmp_path / "out.parquet", tmp_path / ".out.parquet.parts"
    build_table([str(shard)], tmp_path / "expected.parquet")
    (parts / "deduplicating").mkdir(parents=True)
    (parts / "00000.json").write_text('{"kept": 1, "dropped": {}, "corrupt": ""}')
    (parts / "00000.parquet").write_bytes(b"of something else")
    build_table([str(shard)], out)
    assert read(out) == read(tmp_path / "expected.parquet")
    assert not parts.exists()


def test_a_second_call_at_a_time_is_refused(tmp_path: Path) -> None:
    (shard,) = make_commons(tmp_path / "c", 200).shards
    out = tmp_path / "out.parquet"
    refused: list[bool] = []

    def again(*_: object) -> None:
        if not refused:
            with pytest.raises(LocationNetError, match=r"out\.parquet: another call is writing"):
                build_table([str(shard)], out)
            refused.append(True)

    build_table([str(shard)], out, progress=again)
    assert refused
    build_table([str(shard)], tmp_path / "expected.parquet")
    assert read(out) == read(tmp_path / "expected.parquet")
    assert not (tmp_path / ".out.parquet.parts").exists()


def test_a_call_that_is_killed_in_many_processes_goes_on(tmp_path: Path) -> None:
    # The small file is finished long before the large one.
    make_commons(tmp_path / "c" / "large", 80_000)
    make_commons(tmp_path / "c" / "small", 500, seed=1)
    words = [
        str(Path(sys.executable).with_name("locationnet")),
        "metadata",
        "c",
        "-o",
        "out.parquet",
    ]
    words += ["--processes", "2"]
    parts = tmp_path / ".out.parquet.parts"
    running = subprocess.Popen(words, cwd=tmp_path, start_new_session=True)
    while not list(parts.glob("0*.json")) and running.poll() is None:
        time.sleep(0.01)
    os.killpg(running.pid, signal.SIGKILL)
    assert running.wait() == -signal.SIGKILL
    assert not (tmp_path / "out.parquet").exists()
    assert [path.name for path in parts.glob("0*.json")] == ["00001.json"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    whole = build_table([str(tmp_path / "c")], tmp_path / "expected.parquet")
    assert f"{whole.kept:,}" in done.stdout
    assert read(tmp_path / "out.parquet") == read(tmp_path / "expected.parquet")


def test_given_photos_stand_among_generated_rows(tmp_path: Path) -> None:
    images = [(59.9, 10.75, 17), (-1.29, 36.82, 18), (37.77, -122.42, 19)]
    made = make_commons(tmp_path / "c", 500, images=images)
    build_table([str(path) for path in made.shards], tmp_path / "out.parquet")
    found = {row["id"]: row for row in read(tmp_path / "out.parquet")}
    for lat, lng, number in images:
        row = found[str(number)]
        assert (row["lat"], row["lng"]) == (lat, lng)
        assert row["path"] == image_key(photo_hash(photo_url(number)))
    again = make_commons(tmp_path / "d", 500, images=images)
    assert again.shards[0].read_bytes() == made.shards[0].read_bytes()
    other = make_commons(tmp_path / "e", 500, seed=1)
    assert other.shards[0].read_bytes() != made.shards[0].read_bytes()
