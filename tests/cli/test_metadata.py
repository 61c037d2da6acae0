"""``locationnet metadata`` as a user runs it, and what partition and split make of its table."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from synthetic_commons import make_commons
from typer.testing import CliRunner, Result

from locationnet import cli
from locationnet.errors import InputError
from locationnet.geo.grid import Grid

parquet = pytest.importorskip("pyarrow.parquet", reason="needs the extra 'data'")

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a verb in an empty folder."""
    monkeypatch.chdir(tmp_path)
    runner = CliRunner()

    def run(*arguments: object) -> Result:
        return runner.invoke(cli.app, [*map(str, arguments)])

    return run


def test_shards_become_a_table_a_grid_and_a_split(run: Run, tmp_path: Path) -> None:
    make_commons(tmp_path / "commons", 5000, shards=2, suffix=".gz")
    answer = run("metadata", "commons", "--processes", 1)
    assert answer.exit_code == 0, answer.output
    said = [" ".join(text.split()) for text in answer.stdout.splitlines()]
    assert said[:2] == ["2 files: YFCC100M, 25 columns", "rows read 5,000"]
    assert said[-1] == "wrote photos.parquet"
    photos = parquet.read_table("photos.parquet")
    kept = photos.num_rows
    dropped = sum(int(text.split()[1].replace(",", "")) for text in said if "dropped" in text)
    assert f"photos kept {kept:,} {kept / 5000:.2%} of the rows" in said
    assert kept + dropped == 5000
    assert photos.schema.names == [
        "id", "path", "lat", "lng", "uploader", "accuracy", "taken", "url", "hash", "licence",
        "attribution",
    ]  # fmt: skip
    assert str(photos.schema.field("lat").type) == str(photos.schema.field("lng").type) == "double"

    answer = run("partition", "photos.parquet", "--max-photos", 100, "--min-photos", 10)
    assert answer.exit_code == 0, answer.output
    assert f"photos read {kept:,}" in " ".join(answer.stdout.split())
    assert "bad rows" not in answer.stdout
    assert len(Grid.read("grids.txt")) > 10

    answer = run("split", "photos.parquet", "-o", "sets")
    assert answer.exit_code == 0, answer.output
    assert "different uploader" in answer.stdout
    sets = [parquet.read_table(f"sets/{name}.parquet") for name in ("train", "val", "test")]
    assert sum(table.num_rows for table in sets) == kept
    people = [set(table["uploader"].to_pylist()) for table in sets]
    assert not people[0] & people[1] and not people[0] & people[2] and not people[1] & people[2]


def test_filters_reach_the_table(run: Run, tmp_path: Path) -> None:
    make_commons(tmp_path / "commons", 4000)
    run("metadata", "commons", "-o", "all.parquet", "--processes", 1)
    everything = parquet.read_table("all.parquet").to_pylist()
    gone = everything[0]["uploader"]
    (tmp_path / "gone.txt").write_text(f"# asked\n{gone}\n")
    answer = run(
        "metadata", "commons", "-o", "some.parquet", "--min-accuracy", 14, "--licence", "by",
        "--licence", "CC-BY-SA-2.0", "--bbox", "-170,-60,150,70", "--per-cell", 3,
        "--opt-out", "gone.txt", "--processes", 1,
    )  # fmt: skip
    assert answer.exit_code == 0, answer.output
    wanted = {
        row["id"]
        for row in everything
        if row["accuracy"] >= 14
        and row["licence"] in ("CC-BY-2.0", "CC-BY-SA-2.0")
        and -170 <= row["lng"] <= 150
        and -60 <= row["lat"] <= 70
        and row["uploader"] != gone
    }
    some = {row["id"] for row in parquet.read_table("some.parquet").to_pylist()}
    assert some < wanted
    for reason in ("accuracy too low", "another licence", "outside the box", "opted out", "cap"):
        assert reason in answer.stdout


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--bbox", "1,2,3"], "expected four numbers"),
        (["--bbox", "0,50,1,40"], "south below north"),
        (["--min-accuracy", "17"], "--min-accuracy"),
        (["--per-cell", "0"], "--per-cell"),
        (["-o", "none/photos.parquet"], "does not exist"),
        (["-o", "photos.csv"], "photos.csv: must be named .parquet"),
    ],
)
def test_wrong_usage_is_exit_code_2(
    arguments: list[str], reason: str, run: Run, tmp_path: Path
) -> None:
    (tmp_path / "a").write_text("x")
    answer = run("metadata", "a", *arguments)
    assert answer.exit_code == 2
    assert reason in " ".join(answer.stderr.replace("│", "").split())


def test_a_file_of_no_layout_is_refused_with_its_row(run: Run, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("one\ttwo\n")
    answer = run("metadata", "a")
    assert isinstance(answer.exception, InputError)
    assert str(answer.exception).startswith("a: unknown layout; row 1 has 2 tab-separated columns")
    assert not (tmp_path / "photos.parquet").exists()


def test_damage_is_said(run: Run, tmp_path: Path) -> None:
    (shard,) = make_commons(tmp_path / "commons", 3000, suffix=".gz").shards
    shard.write_bytes(shard.read_bytes()[:-2000])
    answer = run("metadata", "commons", "--processes", 1)
    assert answer.exit_code == 0, answer.output
    assert f"warning: {shard.relative_to(tmp_path)} is damaged" in answer.stderr
    assert "cut off where the file is damaged" in answer.stdout
