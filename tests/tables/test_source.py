"""Files as people have them: compressed, encoded, delimited in every way, or no tables at all."""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import lzma
import sqlite3
import tarfile
import zipfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from locationnet.errors import InputError
from locationnet.tables.read import read_table
from locationnet.tables.source import open_table

pa = pytest.importorskip("pyarrow", reason="needs the extra 'data'")
parquet = pytest.importorskip("pyarrow.parquet", reason="needs the extra 'data'")

TEXT = "path,lat,title\na.jpg,1.5,Zürich\nb.jpg,-2,“東京”\n"
ROWS = [
    {"path": "a.jpg", "lat": "1.5", "title": "Zürich"},
    {"path": "b.jpg", "lat": "-2", "title": "“東京”"},
]


def _zipped(data: bytes, *names: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.writestr(name, data)
    return file.getvalue()


def _zstd(data: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as file:
        file.write(data)
    return bytes(sink.getvalue())


PACKED: dict[str, Callable[[bytes], bytes]] = {
    "plain": lambda data: data,
    "gzip": gzip.compress,
    "two gzip members": lambda data: gzip.compress(data[:20]) + gzip.compress(data[20:]),
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zstd": _zstd,
    "zip": lambda data: _zipped(data, "photos.csv"),
    "zip of a Mac": lambda data: _zipped(data, "photos.csv", "__MACOSX/._photos.csv", ".DS_Store"),
}
ENCODED = {
    "UTF-8": TEXT.encode(),
    "UTF-8 with a mark": codecs.BOM_UTF8 + TEXT.encode(),
    "UTF-16": codecs.BOM_UTF16_LE + TEXT.encode("utf-16-le"),
    "UTF-16, big end first": codecs.BOM_UTF16_BE + TEXT.encode("utf-16-be"),
    "UTF-32": TEXT.encode("utf-32"),
    "Windows": TEXT.replace("\n", "\r\n").encode(),
    "old Mac": TEXT.replace("\n", "\r").encode(),
    "blank lines first": b"\n \r\n\t\n" + TEXT.encode(),
    "no end of the last line": TEXT.rstrip("\n").encode(),
    "blank lines between and last": TEXT.replace("\n", "\n\n").encode() + b"\n  \n\n",
}


@pytest.mark.parametrize("packed", PACKED)
@pytest.mark.parametrize("encoded", ENCODED)
@pytest.mark.parametrize("name", ["photos.csv", "photos.csv.gz", "photos.parquet", "photos"])
def test_a_table_is_read_by_what_it_is_and_not_by_its_name(
    tmp_path: Path, packed: str, encoded: str, name: str
) -> None:
    path = tmp_path / name
    path.write_bytes(PACKED[packed](ENCODED[encoded]))
    assert read_table(path).to_pylist() == ROWS


def test_a_parquet_file_is_one_under_any_name(tmp_path: Path) -> None:
    parquet.write_table(pa.Table.from_pylist(ROWS), tmp_path / "photos.csv")
    assert open_table(tmp_path / "photos.csv").form == "parquet"
    assert read_table(tmp_path / "photos.csv").to_pylist() == ROWS


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("said", [False, True])
def test_the_delimiter_is_seen_in_the_header(tmp_path: Path, delimiter: str, *, said: bool) -> None:
    path = tmp_path / "photos.csv"
    first = f"sep={delimiter}\n" if said else ""
    rows = [("path", "lat", "a, b; c | d"), ("x.jpg", "1", 'say "hi"'), ("y.jpg", "2", "3")]
    lines = [delimiter.join('"' + cell.replace('"', '""') + '"' for cell in row) for row in rows]
    path.write_text(first + "\n".join(lines) + "\n")
    assert open_table(path).names == rows[0]
    assert [tuple(row.values()) for row in read_table(path).to_pylist()] == rows[1:]


def test_names_that_are_known_decide_between_delimiters(tmp_path: Path) -> None:
    path = tmp_path / "photos.csv"
    path.write_text("id;lat;lng;a,b,c,d,e,f\n1;2;3;4\n")
    assert open_table(path).delimiter == ";"
    path.write_text("id,lat,a|b|c|d|e\n1,2,3\n")
    assert open_table(path).names == ("id", "lat", "a|b|c|d|e")


def test_a_header_may_be_of_several_lines(tmp_path: Path) -> None:
    path = tmp_path / "photos.csv"
    path.write_text('\n"path\nof the photo",lat\na,1\n')
    assert open_table(path).names == ("path\nof the photo", "lat")
    assert read_table(path).num_rows == 1


def _sqlite() -> bytes:
    with closing(sqlite3.connect(":memory:")) as database:
        database.execute("CREATE TABLE photos (id)")
        return database.serialize()


def _tar() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        member = tarfile.TarInfo("photos.csv")
        member.size = len(TEXT.encode())
        archive.addfile(member, io.BytesIO(TEXT.encode()))
    return file.getvalue()


def _parquet() -> bytes:
    file = io.BytesIO()
    parquet.write_table(pa.Table.from_pylist(ROWS), file)
    return file.getvalue()


OTHERS: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "empty; expected a header and rows"),
    "blank": (b"\n  \n\n", "empty"),
    "nothing, gzipped": (gzip.compress(b""), "empty"),
    "sqlite": (_sqlite(), "a SQLite database; expected CSV or Parquet"),
    "xlsx": (_zipped(b"x", "[Content_Types].xml", "xl/workbook.xml"), "a spreadsheet; save it"),
    "ods": (_zipped(b"x", "mimetype", "content.xml"), "a spreadsheet; save it"),
    "xls": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(100), "an old spreadsheet"),
    "two in a zip": (_zipped(TEXT.encode(), "a.csv", "b.csv"), "an archive of 2 files ('a.csv'"),
    "none in a zip": (_zipped(b""), "corrupt|an archive of 0 files"),
    "tar": (_tar(), r"an archive of files \(tar\)"),
    "7z": (b"7z\xbc\xaf\x27\x1c" + bytes(100), "a 7z archive"),
    "PDF": (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", "a PDF"),
    "UTF-16 without a mark": (TEXT.encode("utf-16-le"), "save the table as UTF-8"),
    "UTF-16 without a mark, other end": (TEXT.encode("utf-16-be"), "save the table as UTF-8"),
    "JPEG": (b"\xff\xd8\xff\xe0\0\x10JFIF\0" + bytes(range(256)) * 9, "control bytes|not UTF-8"),
    "program": (b"\x7fELF\x02\x01\x01\n" + bytes(range(256)), "not a table of text"),
    "cut gzip": (gzip.compress(TEXT.encode() * 99)[:-20], "corrupt"),
    "cut xz": (lzma.compress(TEXT.encode() * 99)[:-20], "corrupt"),
    "cut bzip2": (bz2.compress(TEXT.encode() * 99)[:-20], "corrupt"),
    "cut zip": (_zipped(TEXT.encode(), "a.csv")[:-30], "corrupt"),
    "cut zstd": (_zstd(TEXT.encode() * 99)[:-20], "corrupt"),
    "cut Parquet": (_parquet()[:-20], "corrupt Parquet"),
    "Parquet in gzip": (gzip.compress(_parquet()), "compressed once more"),
    "Latin-1 header": ("größe,lat\n1,2\n".encode("latin-1"), "its header is not UTF-8"),
    "open quote in the header": (b'path,"lat\na,1\n', "line 1: a quote in the header is never"),
    "rows without a header": (b"a.jpg,1.5,2.5\nb.jpg,3,4\n", "'1.5' is not the name of a column"),
    "one name twice": (b"path,lat,lat\na,1,2\n", "two columns are named 'lat'"),
    "two without a name": (b"path,lat,,\na,1,2,3\n", "two columns have no name"),
}


@pytest.mark.parametrize("what", OTHERS)
@pytest.mark.parametrize("name", ["photos.csv", "photos.parquet"])
def test_what_is_no_table_is_said_in_one_clean_line(tmp_path: Path, what: str, name: str) -> None:
    data, said = OTHERS[what]
    path = tmp_path / name
    path.write_bytes(data)
    pattern = said if "|" in said or "\\" in said else said.replace("(", r"\(").replace("[", r"\[")
    with pytest.raises(InputError, match=pattern) as caught:
        read_table(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert message.isprintable()


def test_a_folder_and_a_missing_file_are_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a file"):
        open_table(tmp_path)
    with pytest.raises(InputError, match="no such file"):
        open_table(tmp_path / "photos.csv")
