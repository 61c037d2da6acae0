"""Documentation that cannot fall behind the program."""

from __future__ import annotations

import importlib.util
import re
from math import log2
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from locationnet.cli import app
from locationnet.geo.sphere import geoscore
from locationnet.tables.columns import ALIASES

ROOT = Path(__file__).parents[1]


def _commands(words: str, command: Any) -> dict[str, Any]:
    """Return what is below a command, by the words after ``locationnet``."""
    found: dict[str, Any] = {}
    for name, below in getattr(command, "commands", {}).items():
        found |= {f"{words}{name}": below, **_commands(f"{words}{name} ", below)}
    return found


COMMANDS = _commands("", get_command(app))
PAGES = [ROOT / "README.md", ROOT / "MODEL_CARD.md", *sorted((ROOT / "docs").rglob("*.md"))]


def test_the_generated_pages_are_what_the_code_says() -> None:
    path = ROOT / "scripts" / "build_reference_docs.py"
    spec = importlib.util.spec_from_file_location("build_reference_docs", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name, text in module.pages().items():
        assert (ROOT / "docs" / name).read_text(encoding="utf-8") == text, f"run {path.name}"


@pytest.mark.parametrize("verb", sorted(COMMANDS))
def test_every_verb_has_its_options_and_an_example_on_the_page(verb: str) -> None:
    text = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    section = text.split(f"## `locationnet {verb}`")[1].split("\n## ")[0]
    assert f"locationnet {verb}" in section.replace(f"sage: locationnet {verb}", "")
    for parameter in COMMANDS[verb].params:
        for option in (*parameter.opts, *parameter.secondary_opts):
            assert option in section or not option.startswith("-")


def test_every_name_of_a_column_is_on_the_page_of_what_is_read() -> None:
    text = (ROOT / "docs" / "inputs.md").read_text(encoding="utf-8")
    for alias in {alias for aliases in ALIASES.values() for alias in aliases}:
        assert f"`{alias}`" in text


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_to_files_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), target


def _rows(page: str, head: str) -> list[list[str]]:
    """The rows of a page's table whose first column is called so."""
    lines = (ROOT / "docs" / page).read_text(encoding="utf-8").split(f"| {head} |", 1)[1]
    table = lines.partition("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("| ").split("|")] for line in table]


def test_the_example_of_lift_and_bits_adds_up() -> None:
    bits = 0.0
    for place, prior, after, lift, part in _rows("explanation/numbers.md", "place"):
        before, now = (float(text.removesuffix(" %")) / 100 for text in (prior, after))
        assert float(lift) == round(now / before, 1), place
        found = now * log2(now / before)
        assert float(part.replace("−", "-")) == pytest.approx(found, abs=0.006), place
        bits += found
    assert round(bits, 2) == 0.5


def test_the_points_of_a_guess_are_those_of_geoscore() -> None:
    for off, points in _rows("explanation/numbers.md", "off by"):
        km = float(off.removesuffix(" km").replace(",", ""))
        assert float(points.replace(",", "")) == round(float(geoscore(km))), off
