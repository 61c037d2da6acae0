"""No verb writes over what it reads, by whatever links the two are one file."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from locationnet.cli import app

pytest.importorskip("pyarrow", reason="needs the extra 'data'")

TEXT = "id,path,url,lat,lng\n1,a.jpg,http://h.example/1.jpg,1.5,2.5\n"


def _run(*words: object) -> tuple[int, str]:
    answer = CliRunner().invoke(app, list(map(str, words)))
    return answer.exit_code, answer.output + str(answer.exception or "")


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "photos.csv"
    path.write_text(TEXT)
    return path


def _linked(table: Path, name: str, link: str) -> Path:
    """Return another path to the table."""
    path = table.with_name(name)
    if link == "hard":
        path.hardlink_to(table)
    else:
        path.symlink_to(table)
    return path


@pytest.mark.parametrize("link", ["symbolic", "hard"])
@pytest.mark.parametrize(
    "words",
    [
        ("partition", "TABLE", "-o", "OUT"),
        ("partition", "TABLE", "-o", "grids.txt", "--geojson", "OUT"),
        ("partition", "photos.csv", "other.csv", "--check", "TABLE", "-o", "OUT"),
        ("partition", "TABLE", "-o", "one.txt", "--geojson", "one.txt"),
        ("metadata", "TABLE", "-o", "OUT.parquet"),
        ("metadata", "other.csv", "--opt-out", "TABLE", "-o", "OUT.parquet"),
    ],
)
def test_a_file_that_is_read_is_not_written_over(
    table: Path, words: tuple[str, ...], link: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(table.parent)
    (table.parent / "other.csv").write_text(TEXT)
    out = _linked(table, "linked.parquet", link)
    given = [
        {"TABLE": str(table), "OUT": str(out), "OUT.parquet": str(out)}.get(w, w) for w in words
    ]
    before = sorted(table.parent.iterdir())
    code, said = _run(*given)
    assert code in (1, 2)
    assert "would replace" in said or "is also read" in said
    assert sorted(table.parent.iterdir()) == before
    assert table.read_text() == out.read_text() == TEXT


@pytest.mark.parametrize("name", ["photos.parquet", "problems.csv"])
def test_download_does_not_replace_its_table(table: Path, name: str) -> None:
    out = table.parent / "out"
    out.mkdir()
    (out / name).hardlink_to(table)
    code, said = _run("download", table, "--from", "urls", "-o", out)
    assert code == 1
    assert "would be replaced" in said
    assert (out / name).read_text() == TEXT


def test_labels_replaces_no_file_of_the_folder_it_reads(tmp_path: Path) -> None:
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat" / "list.csv").write_text(TEXT)
    code, said = _run("labels", tmp_path, "-o", tmp_path / "cat" / "list.csv")
    assert code == 2
    assert "would replace" in said
    assert (tmp_path / "cat" / "list.csv").read_text() == TEXT
