"""Which layout a file has: what its header names, or what only that layout has; else none."""

from __future__ import annotations

from pathlib import Path

import pytest

from locationnet.data.metadata.build import build_table
from locationnet.errors import InputError

parquet = pytest.importorskip("pyarrow.parquet", reason="needs the extra 'data'")

HASH = "4ccb23d8746b8d9d76ffd603fc7988"


def _read(tmp_path: Path, text: str, name: str = "photos.tsv") -> list[dict[str, object]]:
    (tmp_path / name).write_text(text)
    build_table([str(tmp_path / name)], tmp_path / "out.parquet")
    rows: list[dict[str, object]] = parquet.read_table(tmp_path / "out.parquet").to_pylist()
    return rows


@pytest.mark.parametrize(
    "header",
    [
        "id\tuser\tlat\tlon\turl",
        "photo_id\tauthor\tLatitude\tLongitude\toriginal_url",
        "id\tuser\tlat\tlng\turl\ttitle\tyear",
        "photoid\tuid\tlatitude\tlongitude\tdownloadurl\t" + "\t".join("abcdefghijklmnopqr"),
        "photoid\tuid\tlatitude\tlongitude\tdownloadurl\t" + "\t".join("abcdefghijklmnopqrst"),
    ],
)
def test_a_header_that_names_columns_wins_over_every_layout(tmp_path: Path, header: str) -> None:
    width = header.count("\t") + 1
    row = ["7", "ann", "48.5", "2.25", "http://h.example/1.jpg", *["0"] * (width - 6), HASH]
    (found,) = _read(tmp_path, f"{header}\n" + "\t".join(row[:width]) + "\n")
    assert (found["id"], found["lat"], found["lng"]) == ("7", 48.5, 2.25)
    assert (found["uploader"], found["url"]) == ("ann", "http://h.example/1.jpg")


@pytest.mark.parametrize(
    "text",
    [
        "1\tann\t4\t12\thttp://h.example/1.jpg\n",
        "1\tann\t48.5\t2.5\thttp://h.example/1.jpg\n",
        "id\tuser\tmonth\tday\turl\n1\tann\t4\t12\tx\n",
        "1\t2\t3\t4\t5\n6\t7\t8\t9\t10\n",
        "1\tann\t4\t12\tnot-a-hash\textra\n",
        "1\tann\t4\t12\t4ccb23\n",
        "\t0\t2014\t17\tOslo\t10.5\t-20.25\n",
        "a\tlat\tlon\n1\t2\t3\n",
    ],
)
def test_numbers_in_the_third_and_fourth_column_are_no_layout(tmp_path: Path, text: str) -> None:
    with pytest.raises(InputError, match=r"photos\.tsv: (unknown layout|no column of photo ids)"):
        _read(tmp_path, text)
    assert [path.name for path in tmp_path.iterdir()] == ["photos.tsv"]


def test_a_tab_file_without_a_header_may_hold_quotes(tmp_path: Path) -> None:
    text = f'11\t"x\t10.5\t-20.25\tOslo "town\t{HASH}\n12\tx"\t10.5\t-20.5\t"\t{HASH[:-1]}\n'
    rows = _read(tmp_path, text, "mediaeval2016_test")
    assert [(row["lat"], row["lng"]) for row in rows] == [(-20.25, 10.5), (-20.5, 10.5)]


def test_a_header_of_old_mac_line_ends_is_a_header(tmp_path: Path) -> None:
    (tmp_path / "photos.csv").write_bytes(b"id,lat,lng\r1,2,3\r2,4,5\r")
    build_table([str(tmp_path / "photos.csv")], tmp_path / "out.parquet")
    assert parquet.read_table(tmp_path / "out.parquet").num_rows == 2


def test_a_mistake_leaves_nothing_that_keeps_the_next_call_away(tmp_path: Path) -> None:
    table = tmp_path / "photos.csv"
    table.write_text('id,lat,lng,title\n1,2,3,"x\n')
    with pytest.raises(InputError, match=r"row 1 \(line 2\): a quote opens here"):
        build_table([str(table)], tmp_path / "out.parquet")
    assert [path.name for path in tmp_path.iterdir()] == ["photos.csv"]
    table.write_text("id,lat,lng,title\n1,2,3,x\n")
    assert build_table([str(table)], tmp_path / "out.parquet").kept == 1
