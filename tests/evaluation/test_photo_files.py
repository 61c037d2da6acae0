"""Photos are found by name, with or without folders and suffix."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locationnet.evaluation.photo_files import PhotoNames, bare, find_files, has_suffix, photo_files

NAMES = ["a/1.jpg", "b/1.jpg", "2.png", "2.jpg", "45/77/3228511372", "x.y", "3_4@N00.JPG"]


@pytest.mark.parametrize(
    ("name", "places"),
    [
        ("a/1.jpg", [0]),
        ("a/1", [0]),
        ("a/1.jpeg", [0]),
        ("/home/me/a/1.jpg", [0]),
        (r"C:\photos\b\1.JPG", [1]),
        ("./b/1.jpg", [1]),
        ("1.jpg", [0, 1]),
        ("c/1.jpg", []),
        ("2.jpg", [3]),
        ("2", [2, 3]),
        ("photos/2.png", [2]),
        ("3228511372.jpg", [4]),
        ("77/3228511372", [4]),
        ("46/77/3228511372", []),
        ("x.y.jpg", [5]),
        ("x", []),
        ("3_4@N00", [6]),
        ("", []),
    ],
)
def test_a_name_means_the_photo_that_it_fits(name: str, places: list[int]) -> None:
    assert PhotoNames(NAMES).find(name) == places


def test_the_same_folders_win_over_fewer() -> None:
    assert PhotoNames(["1.jpg", "a/1.jpg"]).find("1.jpg") == [0]
    assert PhotoNames(["1.jpg", "a/1.jpg"]).find("a/1.jpg") == [1]
    assert PhotoNames(["1.jpg", "b/a/1.jpg"]).find("a/1.jpg") == [1]


@given(st.lists(st.from_regex(r"[a-c]{1,2}(/[a-c]{1,2}){0,2}", fullmatch=True), unique=True))
def test_every_photo_is_found_by_its_own_name(names: list[str]) -> None:
    known = PhotoNames(names)
    for index, name in enumerate(names):
        assert known.find(name) == [index]
        assert known.find(f"{name}.jpg") == [index]


@given(st.text())
def test_any_text_is_a_name(text: str) -> None:
    PhotoNames([text]).find(text)
    assert not has_suffix(bare(text)) or "." in bare(text)


def test_photos_lie_flat_or_nested_below_the_folder(tmp_path: Path) -> None:
    for name in ("45/77/1.jpg", "other/2.JPG", "3.jpeg", "._3.jpeg", "__MACOSX/4.jpg", "notes.txt"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    names = [path.relative_to(tmp_path).as_posix() for path in photo_files(tmp_path)]
    assert names == ["3.jpeg", "45/77/1.jpg", "other/2.JPG"]
    wanted = ["45/77/1.jpg", "46/88/2.jpg", "3", "4.jpg", "../../secret.png", "5"]
    found = [path.relative_to(tmp_path).as_posix() for path in find_files(tmp_path, wanted)]
    assert found == ["45/77/1.jpg", "other/2.JPG", "3.jpeg", "4.jpg", "secret.png", "5.jpg"]
