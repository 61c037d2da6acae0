"""Cards and the page of `locate`: which files there are, and which it refuses to write."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from locationnet.cli import app

Run = Callable[..., Result]


@pytest.fixture
def folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_photo: Callable[..., bytes]
) -> Path:
    """The current folder, with three photos of one name, and a file that is not a photo."""
    monkeypatch.chdir(tmp_path)
    for name in ("a.jpg", "b/a.jpg", "b/A.png"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(make_photo((250, 250, 250)))
    (tmp_path / "bad.jpg").write_bytes(b"nothing")
    return tmp_path


@pytest.fixture
def run(tiny_bundle: Path, folder: Path) -> Run:
    """Run ``locate`` in that folder with the tiny bundle."""

    def run(*words: str) -> Result:
        return CliRunner().invoke(app, ["locate", "--model", str(tiny_bundle), *words])

    return run


def test_one_photo_has_one_card_and_several_have_a_folder_of_them(run: Run, folder: Path) -> None:
    answer = run("a.jpg", "--card", "card.PNG")
    assert (answer.exit_code, answer.stderr) == (0, "card: card.PNG\n")
    with Image.open(folder / "card.PNG") as image:
        assert image.size == (1200, 630)
    answer = run("a.jpg", "bad.jpg", "b", "--card", "cards", "--html", "map.html")
    assert answer.exit_code == 1
    assert "3 cards in cards\nmap: map.html\n" in answer.stderr
    assert sorted(path.name for path in (folder / "cards").iterdir()) == [
        "A-2-card.png", "a-3-card.png", "a-card.png",
    ]  # fmt: skip
    # Each photo lies in the page, small.
    page = (folder / "map.html").read_text(encoding="utf-8")
    assert page.count('"thumbnail":"data:image/jpeg;base64,') == 3


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["a.jpg", "--card", "card.jpg"], "ends in .png"),
        (["a.jpg", "--card", "none/card.png"], "does not exist"),
        (["b", "--card", "card.png"], "need a folder"),
        (["b", "--card", "bad.jpg"], "is a file"),
        (["b/A.png", "--card", "b/A.png"], "would replace"),
        (["a.jpg", "--html", "a.jpg"], "would replace"),
    ],
)
def test_what_cannot_be_or_would_replace_a_photo_is_refused_before_the_work(
    run: Run, folder: Path, words: list[str], reason: str
) -> None:
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    answer = run(*words)
    assert answer.exit_code == 2
    assert reason in " ".join(answer.stderr.split())
    assert answer.stdout == ""
    assert before == {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
