"""Names as text: whatever a name holds, a file can hold the text and a terminal shows it."""

from __future__ import annotations

import csv
import io
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locationnet.files import csv_writer, write_text
from locationnet.names import printable, valid_text

ANYTHING = st.text(st.characters(exclude_categories=()))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("photo.jpg", "photo.jpg"),
        ("Zürich 日本 😀", "Zürich 日本 😀"),
        ("Z\udcfcrich", r"Z\xfcrich"),
        # UTF-8 that Python read in a locale of ASCII.
        ("Z\udcc3\udcbcrich", "Zürich"),
        ("\ud800 and \udcff", r"\ud800 and \udcff"),
        ("line\n", "line\n"),
    ],
)
def test_only_what_cannot_be_encoded_is_escaped(name: str, text: str) -> None:
    assert valid_text(name) == text
    assert valid_text(Path("a", name)) == f"a/{text}"


@given(st.binary())
def test_a_name_of_any_bytes_is_text(name: bytes) -> None:
    text = valid_text(os.fsdecode(name))
    assert text == name.decode("utf-8", "backslashreplace")


@given(ANYTHING)
def test_any_text_can_be_encoded_and_is_shown_in_one_line(name: str) -> None:
    valid_text(name).encode()
    shown = printable(name)
    assert len(shown.splitlines()) <= 1
    assert not any(ord(letter) < 32 or 127 <= ord(letter) < 160 for letter in shown)
    assert printable(shown) == shown


@pytest.mark.parametrize("code", [0x00, 0x61C, 0x200E, 0x202E, 0x2066, 0x2069, 0xFEFF])
def test_what_a_terminal_acts_upon_is_escaped(code: int) -> None:
    escape = chr(code).encode("unicode_escape").decode()
    assert printable(f"a{chr(code)}b") == f"a{escape}b"


@given(st.lists(st.tuples(ANYTHING, ANYTHING), min_size=1))
def test_rows_of_csv_read_back_the_same(rows: list[tuple[str, str]]) -> None:
    # Python's reader takes no zero byte.
    rows = [(valid_text(a).replace("\0", ""), valid_text(b).replace("\0", "")) for a, b in rows]
    file = io.StringIO(newline="")
    csv_writer(file).writerows(rows)
    file.seek(0)
    assert [tuple(row) for row in csv.reader(file)] == rows


def test_text_with_names_that_are_not_utf_8_is_written(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"\xff.txt")
    write_text(path, "the file Z\udcfcrich")
    assert path.read_bytes() == rb"the file Z\xfcrich"
