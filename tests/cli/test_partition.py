"""``locationnet partition`` as a user runs it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from locationnet import cli
from locationnet.geo.grid import Grid

pytest.importorskip("pyarrow", reason="needs the extra 'data'")

Run = Callable[..., Result]
ROOT = Path(__file__).parents[2]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the verb in an empty folder, errors turned into an exit code as `main` does."""
    monkeypatch.chdir(tmp_path)
    runner = CliRunner()

    def run(*arguments: object) -> Result:
        return runner.invoke(cli.app, ["partition", *map(str, arguments)])

    return run


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Five photos in Paris, three in Lyon, one at sea and four bad rows."""
    rows = ["48.85,2.35"] * 5 + ["45.75,4.85"] * 3 + ["-40,-120", "91,2", "nan,2", ",2", "x,2"]
    path = tmp_path / "photos.csv"
    path.write_text("\n".join(["lat,lng", *rows]) + "\n")
    return path


def test_a_table_becomes_a_grid_and_a_summary(run: Run, photos: Path, tmp_path: Path) -> None:
    answer = run(photos, "--max-photos", 7, "--min-photos", 2, "-o", "cells.txt")
    assert answer.exit_code == 0, answer.output
    grid = Grid.read(tmp_path / "cells.txt")
    assert grid.assign([48.85, 45.75, -40.0], [2.35, 4.85, -120.0]).tolist() == [0, 1, -1]
    lines = [" ".join(line.split()) for line in answer.stdout.splitlines()]
    for expected in (
        "photos read 13",
        "bad rows 1 coordinate missing",
        "bad rows 2 not a number",
        "bad rows 1 out of range (|lat| > 90 or |lng| > 180)",
        "photos kept 8 88.89% of the good rows",
        "cells 2",
        "oracle upper bound: what an always right classifier scores on 9 photos",
        "within 1 km 88.89%",
        "within 2,500 km 88.89%",
        "(1 of them lie in no cell and get the nearest one)",
        "wrote cells.txt",
    ):
        assert expected in lines
    start = lines.index("cells by level") + 1
    levels, counts = np.unique(grid.levels, return_counts=True)
    for row, (level, count) in enumerate(zip(levels, counts, strict=True)):
        assert lines[start + row].startswith(f"{level} {count} █")
    assert answer.stderr == ""


def test_the_oracle_upper_bound_can_be_measured_on_other_photos(
    run: Run, photos: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.csv"
    other.write_text("lat,lng\n48.85,2.35\n48.95,2.35\n-91,0\n")
    answer = run(photos, "--max-photos", 7, "--min-photos", 2, "--check", other)
    lines = [" ".join(line.split()) for line in answer.stdout.splitlines()]
    assert "oracle upper bound: what an always right classifier scores on 2 photos" in lines
    assert "within 1 km 50.00%" in lines
    assert "within 25 km 100.00%" in lines
    assert lines.count("bad rows 1 out of range (|lat| > 90 or |lng| > 180)") == 2


def test_the_cells_can_be_drawn(run: Run, photos: Path, tmp_path: Path) -> None:
    answer = run(photos, "--max-photos", 7, "--min-photos", 2, "--geojson", "cells.geojson")
    assert answer.exit_code == 0
    drawn = json.loads((tmp_path / "cells.geojson").read_text())
    grid = Grid.read(tmp_path / "grids.txt")
    properties = [feature["properties"] for feature in drawn["features"]]
    assert [row["cell"] for row in properties] == grid.tokens
    assert [row["photos"] for row in properties] == [5, 3]
    assert [row["class"] for row in properties] == [0, 1]
    assert [row["level"] for row in properties] == grid.levels.tolist()


def test_columns_can_be_named(run: Run, tmp_path: Path) -> None:
    (tmp_path / "photos.csv").write_text("breite,laenge\n48.85,2.35\n48.85,2.35\n")
    arguments = ["photos.csv", "--max-photos", 2, "--min-photos", 1]
    assert run(*arguments).exit_code == 1
    named = run(*arguments, "--lat-column", "breite", "--lng-column", "laenge")
    assert named.exit_code == 0
    assert (tmp_path / "grids.txt").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["--max-photos", "5", "--min-photos", "6"],
        ["--max-photos", "0"],
        ["--min-photos", "0"],
        ["--min-photos", "-3"],
        ["--max-photos", "many"],
        ["-o", "absent/grids.txt"],
        ["--geojson", "absent/cells.geojson"],
    ],
)
def test_wrong_usage_ends_with_code_2_before_anything_is_read(
    arguments: list[str], run: Run, tmp_path: Path
) -> None:
    answer = run("absent.csv", *arguments)
    assert answer.exit_code == 2
    assert list(tmp_path.iterdir()) == []
    assert run().exit_code == 2


@pytest.mark.parametrize(
    ("text", "options", "reason"),
    [
        ("", [], "photos.csv: empty"),
        ("lat,lng\n", [], "no usable coordinate"),
        ("lat,lng\nx,y\n91,0\n", [], "1 not a number, 1 out of range"),
        ("a,b\n1,2\n", [], "no column of latitudes among 'a', 'b'; name it with --lat-column"),
        ("lat,lng\n1,2\n", [], "no cell holds 500 of the 1 photos"),
        ("lat,lng\n1,2\n", ["--check", "absent.csv"], "absent.csv: no such file"),
    ],
)
def test_a_failure_is_one_line_and_code_1_and_leaves_no_file(
    text: str,
    options: list[str],
    reason: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "photos.csv").write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["locationnet", "partition", "photos.csv", *options])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert len(printed.err.splitlines()) == 1
    assert reason in printed.err
    assert [path.name for path in tmp_path.iterdir()] == ["photos.csv"]


def test_the_grid_of_the_repository_is_made_by_the_command(
    run: Run, shared_data: Path, tmp_path: Path
) -> None:
    table = shared_data / "coordinates_100k.csv"
    answer = run(table, "--max-photos", 15, "--min-photos", 2)
    assert answer.exit_code == 0
    assert (tmp_path / "grids.txt").read_bytes() == (ROOT / "grids.txt").read_bytes()
