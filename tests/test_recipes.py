"""Recipes and documented commands name what there is, and the 2017 recipe runs from end to end."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.main import get_command

from locationnet.cli import app
from locationnet.server.settings import Settings

ROOT = Path(__file__).parents[1]
RECIPES = sorted((ROOT / "scripts").glob("recipe_*.sh"))
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
COMMANDS = get_command(app).commands  # type: ignore[attr-defined]  # a group has commands


def _invocations(text: str) -> Iterator[list[str]]:
    """Return the words of each call of locationnet in a shell text."""
    joined = re.sub(r"\\\n\s*", " ", text)
    for line in joined.splitlines():
        for call in re.split(r"&&|\|\||;|\|", line.partition(" #")[0]):
            match = re.match(r"\s*locationnet\s+(\w+.*)", call)
            if match:
                yield shlex.split(match[1].rstrip("&> "))


def _shell_blocks(page: Path) -> str:
    return "\n".join(re.findall(r"```sh\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL))


def _check(words: list[str]) -> None:
    verb, *rest = words
    assert verb in COMMANDS, verb
    command = COMMANDS[verb]
    if hasattr(command, "commands"):
        verb, *rest = rest
        assert verb in command.commands, words
        command = command.commands[verb]
    known = {name for option in command.params for name in option.opts}
    known |= {name for option in command.params for name in option.secondary_opts}
    if verb == "serve":  # its options are the service's settings
        known |= {f"--{name.replace('_', '-')}" for name in Settings.model_fields}
    for word in rest:
        if re.match(r"--?[a-z]", word):
            assert word.partition("=")[0] in {*known, "--help"}, f"{verb} {word}"


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.name)
def test_a_recipe_calls_what_there_is(recipe: Path) -> None:
    subprocess.run(["sh", "-n", recipe], check=True)
    calls = list(_invocations(recipe.read_text(encoding="utf-8")))
    assert len(calls) >= 5
    for words in calls:
        _check(words)


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_a_page_shows_commands_that_exist(page: Path) -> None:
    for words in _invocations(_shell_blocks(page)):
        _check(words)


def test_the_2017_recipe_runs_from_photos_to_a_bundle(tmp_path: Path) -> None:
    """On a small world with a small network, as its last words allow."""
    world = tmp_path / "world"
    subprocess.run(
        [sys.executable, ROOT / "scripts" / "synthetic_world.py", world, "--photos", "120",
         "--size", "48"], check=True,
    )  # fmt: skip
    words = [
        ROOT / "scripts" / "recipe_locationnet_2017.sh", world / "photos.csv", world,
        tmp_path / "out", "--devices", "cpu:2", "--network", "resnet-18", "--image-size", "32",
        "--batch-size", "8", "--epochs", "1",
    ]  # fmt: skip
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    variables = {"PATH": path, "MAX_PHOTOS": "20", "MIN_PHOTOS": "2", "HELD_OUT": "0.2"}
    done = subprocess.run(
        ["sh", *map(str, words)], env={**os.environ, **variables}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "out" / "bundle" / "model.onnx").is_file()
    assert "parity" in done.stdout
