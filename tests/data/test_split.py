"""No group in two sets, stable under growth, every value everywhere it can be."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from locationnet.cli import app
from locationnet.data.split import TEST, TRAIN, VAL, split_groups
from locationnet.errors import InputError

names = st.lists(st.text("abcdefgh", min_size=1, max_size=3), min_size=1, max_size=60)


@given(names)
def test_no_group_is_in_two_sets(groups: list[str]) -> None:
    found = defaultdict(set)
    for group, place in zip(groups, split_groups(groups, val=0.3, test=0.3).tolist(), strict=True):
        found[group].add(place)
    assert all(len(places) == 1 for places in found.values())


@given(names, names)
def test_adding_photos_moves_nobody(groups: list[str], more: list[str]) -> None:
    before = split_groups(groups, val=0.3, test=0.3)
    after = split_groups(groups + more, val=0.3, test=0.3)
    assert after[: len(groups)].tolist() == before.tolist()


def test_the_shares_are_about_those_asked_for() -> None:
    sets = split_groups([f"user{index}" for index in range(20_000)], val=0.1, test=0.2)
    assert np.bincount(sets) / len(sets) == pytest.approx([0.7, 0.1, 0.2], abs=0.01)


def test_another_salt_is_another_split() -> None:
    groups = [f"user{index}" for index in range(200)]
    assert split_groups(groups).tolist() != split_groups(groups, salt="other").tolist()


@given(st.lists(st.tuples(st.sampled_from("uvwxyz"), st.sampled_from("ABC")), min_size=1))
def test_strata_tear_no_group_apart(photos: list[tuple[str, str]]) -> None:
    groups, strata = zip(*photos, strict=True)
    sets = split_groups(groups, val=0.3, test=0.3, strata=strata)
    assert len(set(zip(groups, sets.tolist(), strict=True))) == len(set(groups))


@given(st.lists(st.integers(1, 8), min_size=1, max_size=8), st.integers(0, 10**6))
def test_every_value_is_in_every_set_it_has_groups_for(sizes: list[int], seed: int) -> None:
    strata = [f"value{value}" for value, size in enumerate(sizes) for _ in range(size)]
    groups = [f"{seed}-{index}" for index in range(len(strata))]
    sets = split_groups(groups, strata=strata)
    for value, size in enumerate(sizes):
        own = set(sets[np.array(strata) == f"value{value}"].tolist())
        assert TRAIN in own
        if size >= 3:
            assert own == {TRAIN, VAL, TEST}
        elif size == 2:
            assert len(own) == 2


@pytest.mark.parametrize(("val", "test"), [(0.5, 0.5), (-0.1, 0.1), (0.1, 1.0)])
def test_shares_that_leave_nothing_are_refused(val: float, test: float) -> None:
    with pytest.raises(InputError, match="nothing to train on"):
        split_groups(["a"], val=val, test=test)


def _run(*words: object) -> tuple[int, str, str]:
    answer = CliRunner().invoke(app, ["split", *map(str, words)])
    return answer.exit_code, answer.stdout, str(answer.exception or answer.stderr)


def test_the_command_writes_three_tables_with_every_row_once(tmp_path: Path) -> None:
    table = tmp_path / "photos.csv"
    lines = [f'{index}.jpg,user{index % 40},"title, {index}"' for index in range(400)]
    table.write_text("\n".join(["path,uploader,title", *lines]) + "\n")
    code, out, _ = _run(table, "-o", tmp_path / "split")
    assert code == 0
    assert "different uploader" in out
    rows = []
    for name in ("train", "val", "test"):
        rows += (tmp_path / "split" / f"{name}.csv").read_text().splitlines()[1:]
    assert sorted(row.replace('"', "") for row in rows) == sorted(
        line.replace('"', "") for line in lines
    )
    assert code == _run(table, "-o", tmp_path / "again")[0]
    for name in ("train.csv", "val.csv", "test.csv"):
        again = (tmp_path / "again" / name).read_bytes()
        assert again == (tmp_path / "split" / name).read_bytes()


def test_without_photographers_a_row_stays_where_its_photo_is(tmp_path: Path) -> None:
    first, second = tmp_path / "a.csv", tmp_path / "b.csv"
    first.write_text("path,lat\n" + "".join(f"{index}.jpg,1\n" for index in range(100)))
    second.write_text("path,lat\n" + "".join(f"{index}.jpg,2\n" for index in range(200)))
    _run(first, "-o", tmp_path / "a")
    _run(second, "-o", tmp_path / "b")

    def paths(folder: str, name: str) -> set[str]:
        lines = (tmp_path / folder / f"{name}.csv").read_text().splitlines()[1:]
        return {line.split(",")[0] for line in lines}

    for name in ("train", "val", "test"):
        assert paths("a", name) <= paths("b", name)


def test_a_column_that_is_not_there_is_named(tmp_path: Path) -> None:
    table = tmp_path / "photos.csv"
    table.write_text("path,lat\na.jpg,1\n")
    for option in ("--group-column", "--stratify"):
        code, _, error = _run(table, "-o", tmp_path / "split", option, "owner")
        assert code == 1
        assert error == f"{table}: no column 'owner'; there are 'path', 'lat'"
    assert _run(table, "--val", 0.5, "--test", 0.5)[0] == 2


@pytest.mark.parametrize("text", ["", "path,lat\n"])
def test_an_empty_table_is_an_error(tmp_path: Path, text: str) -> None:
    table = tmp_path / "photos.csv"
    table.write_text(text)
    code, _, error = _run(table, "-o", tmp_path / "split")
    assert code == 1
    assert "photos.csv" in error
    assert not (tmp_path / "split").exists()
