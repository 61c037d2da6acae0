"""No uploader in two sets, stable under growth, every value everywhere it can be."""

from __future__ import annotations

import gzip
import lzma
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from locationnet.cli import app
from locationnet.errors import InputError
from locationnet.pack.split import TEST, TRAIN, VAL, split_uploaders
from locationnet.tables.coordinates import CoordinateFiles
from locationnet.tables.read import read_table, write_table

pa = pytest.importorskip("pyarrow", reason="needs the extra 'data'")

names = st.lists(st.text("abcdefgh", min_size=1, max_size=3), min_size=1, max_size=60)


@given(names)
def test_no_uploader_is_in_two_sets(uploaders: list[str]) -> None:
    found = defaultdict(set)
    sets = split_uploaders(uploaders, val=0.3, test=0.3).tolist()
    for uploader, number in zip(uploaders, sets, strict=True):
        found[uploader].add(number)
    assert all(len(numbers) == 1 for numbers in found.values())


@given(names, names)
def test_adding_photos_moves_nobody(uploaders: list[str], more: list[str]) -> None:
    before = split_uploaders(uploaders, val=0.3, test=0.3)
    after = split_uploaders(uploaders + more, val=0.3, test=0.3)
    assert after[: len(uploaders)].tolist() == before.tolist()


def test_the_shares_are_about_those_asked_for() -> None:
    sets = split_uploaders([f"user{index}" for index in range(20_000)], val=0.1, test=0.2)
    assert np.bincount(sets) / len(sets) == pytest.approx([0.7, 0.1, 0.2], abs=0.01)


def test_another_salt_is_another_split() -> None:
    uploaders = [f"user{index}" for index in range(200)]
    assert split_uploaders(uploaders).tolist() != split_uploaders(uploaders, salt="other").tolist()


@given(st.lists(st.tuples(st.sampled_from("uvwxyz"), st.sampled_from("ABC")), min_size=1))
def test_strata_tear_no_uploader_apart(photos: list[tuple[str, str]]) -> None:
    uploaders, strata = zip(*photos, strict=True)
    sets = split_uploaders(uploaders, val=0.3, test=0.3, strata=strata)
    assert len(set(zip(uploaders, sets.tolist(), strict=True))) == len(set(uploaders))


@given(st.lists(st.integers(1, 8), min_size=1, max_size=8), st.integers(0, 10**6))
def test_every_value_is_in_every_set_it_has_uploaders_for(sizes: list[int], seed: int) -> None:
    strata = [f"value{value}" for value, size in enumerate(sizes) for _ in range(size)]
    uploaders = [f"{seed}-{index}" for index in range(len(strata))]
    sets = split_uploaders(uploaders, strata=strata)
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
        split_uploaders(["a"], val=val, test=test)


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


def test_without_uploaders_a_row_stays_where_its_photo_is(tmp_path: Path) -> None:
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
    for option in ("--uploader-column", "--group-column", "--stratify"):
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


ROWS = "".join(f"{index}.jpg,user{index % 30},{index % 80},3\n" for index in range(300))


@pytest.mark.parametrize("name", ["train.csv", "val.csv", "test.csv"])
@pytest.mark.parametrize("link", ["none", "symbolic", "hard", "folder", "input"])
def test_the_table_is_never_written_over(
    tmp_path: Path, name: str, link: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = f"path,uploader,lat,lng\n{ROWS}"
    folder = tmp_path / "sets"
    folder.mkdir()
    table, out = folder / name, folder
    table.write_text(text)
    if link == "symbolic":  # what would be written is a link to the table
        table = table.rename(tmp_path / "photos.csv")
        (folder / name).symlink_to(table)
    elif link == "hard":
        (tmp_path / "photos.csv").hardlink_to(table)
        table = tmp_path / "photos.csv"
    elif link == "folder":
        out = tmp_path / "link"
        out.symlink_to(folder)
    elif link == "input":
        (tmp_path / "photos.csv").symlink_to(table)
        table = tmp_path / "photos.csv"
    before = {path: path.read_text() for path in tmp_path.rglob("*.csv")}
    answer = CliRunner().invoke(app, ["split", str(table), "-o", str(out)])
    assert answer.exit_code == 2
    assert "would replace" in answer.stderr
    assert {path: path.read_text() for path in tmp_path.rglob("*.csv")} == before
    monkeypatch.chdir(folder)  # the default is the current folder
    assert CliRunner().invoke(app, ["split", str(table)]).exit_code == 2
    assert {path: path.read_text() for path in tmp_path.rglob("*.csv")} == before


def test_another_table_may_lie_beside_its_sets(tmp_path: Path) -> None:
    table = tmp_path / "photos.csv"
    table.write_text(f"path,uploader,lat,lng\n{ROWS}")
    for _ in range(2):
        assert _run(table, "-o", tmp_path)[0] == 0
        assert table.read_text().count("\n") == 301


def test_the_folder_to_write_may_not_be_a_file(tmp_path: Path) -> None:
    table = tmp_path / "photos.csv"
    table.write_text(f"path,uploader,lat,lng\n{ROWS}")
    assert _run(table, "-o", table)[0] == 2
    assert table.read_text().count("\n") == 301


@pytest.mark.parametrize("missing", ["", "  ", "NaN", "nan", "null", "None"])
def test_photos_without_an_uploader_stand_alone(tmp_path: Path, missing: str) -> None:
    table = tmp_path / "photos.csv"
    names = [f"user{index % 40}" if index % 2 else missing for index in range(4000)]
    table.write_text(
        "path,uploader\n" + "".join(f"{index}.jpg,{name}\n" for index, name in enumerate(names))
    )
    code, out, _ = _run(table, "-o", tmp_path / "sets", "--test", 0.2)
    assert code == 0
    assert "different uploader" in out
    sets = [read_table(tmp_path / "sets" / f"{name}.csv") for name in ("train", "val", "test")]
    alone = [sum(row == missing for row in part["uploader"].to_pylist()) for part in sets]
    assert np.array(alone) / 2000 == pytest.approx([0.7, 0.1, 0.2], abs=0.04)
    named = [set(part["uploader"].to_pylist()) - {missing} for part in sets]
    assert sum(map(len, named)) == len(set().union(*named)) == 20


def test_a_photo_without_an_uploader_stays_where_it_is_as_others_come(tmp_path: Path) -> None:
    first, second = tmp_path / "a.csv", tmp_path / "b.csv"
    first.write_text("path,user,lat\n" + "".join(f"{index}.jpg,,1\n" for index in range(100)))
    second.write_text("user,path,lat\n" + "".join(f",{index}.jpg,2\n" for index in range(200)))
    for table in (first, second):
        _run(table, "-o", tmp_path / table.stem)
    for name in ("train", "val", "test"):
        one, other = (
            set(read_table(tmp_path / stem / f"{name}.csv")["path"].to_pylist())
            for stem in ("a", "b")
        )
        assert one <= other


def test_parquet_uploaders_that_are_null_or_nan_stand_alone(tmp_path: Path) -> None:
    table = tmp_path / "photos.parquet"
    owners = pa.array([None, float("nan"), 7.0, 8.0] * 250, pa.float64())
    paths = [f"{index}.jpg" for index in range(1000)]
    write_table(table, pa.table({"path": paths, "owner": owners}))
    assert _run(table, "-o", tmp_path / "sets", "--test", 0.3)[0] == 0
    test = read_table(tmp_path / "sets" / "test.parquet")["owner"].to_pylist()
    alone = sum(owner is None or owner != owner for owner in test)
    assert alone == pytest.approx(150, abs=40)


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("name", ["t.csv", "t.txt", "t.tsv", "t.csv.gz", "t.csv.xz", "t"])
def test_what_split_writes_every_verb_reads(tmp_path: Path, delimiter: str, name: str) -> None:
    text = f"path,uploader,lat,lng\n{ROWS}".replace(",", delimiter).encode()
    table = tmp_path / name
    packed = {"gz": gzip.compress(text), "xz": lzma.compress(text)}
    table.write_bytes(packed.get(name.rpartition(".")[2], text))
    code, out, error = _run(table, "-o", tmp_path / "sets")
    assert code == 0, error
    written = sorted(path.name for path in (tmp_path / "sets").iterdir())
    assert [file.split(".", 1)[0] for file in written] == ["test", "train", "val"]
    assert all(file in out for file in written)
    sets = [read_table(tmp_path / "sets" / file) for file in written]
    assert sum(part.num_rows for part in sets) == 300
    users = [set(part["uploader"].to_pylist()) for part in sets]
    assert sum(map(len, users)) == len(set().union(*users)) == 30
    files = CoordinateFiles([tmp_path / "sets" / file for file in written])
    assert sum(len(lat) for lat, _ in files.chunks()) + files.bad.total() == 300
