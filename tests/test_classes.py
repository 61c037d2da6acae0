"""Labels are what their file says, in its order."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locationnet.classes import LabelSet
from locationnet.errors import InputError

NAMES = st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=12)


@given(st.lists(NAMES, min_size=2, max_size=20, unique=True))
def test_labels_come_back_as_they_were_written(
    tmp_path_factory: pytest.TempPathFactory, names: list[str]
) -> None:
    path = tmp_path_factory.mktemp("labels") / "labels.txt"
    written = LabelSet(tuple(names))
    written.write(path)
    read = LabelSet.read(path)
    assert read == written
    assert read.sha256 == written.sha256
    assert read.assign(names).tolist() == list(range(len(names)))
    assert read.assign(["", "no such label"]).tolist() == [-1, -1]


def test_labels_of_values_are_sorted() -> None:
    assert LabelSet.of(["b", "a", "", "b"]).names == ("a", "b")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("one\n", "too few"),
        ("a\na\n", "label 2, 'a': is there twice"),
        ("a\n\nb\n", "label 2, '': empty"),
        ("a\n b\n", "blanks"),
        ("a\nb\tc\n", "line breaks"),
    ],
)
def test_a_file_that_breaks_a_rule_is_refused(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "labels.txt"
    path.write_text(text)
    with pytest.raises(InputError, match=said):
        LabelSet.read(path)
    with pytest.raises(InputError, match="cannot be read"):
        LabelSet.read(tmp_path / "missing")
