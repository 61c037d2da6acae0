"""The documentation's site: built without a warning, whole, and loading nothing from elsewhere."""

from __future__ import annotations

import csv
import importlib.util
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import partial
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import ModuleType

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import sync_playwright

import locationnet

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PICTURES = DOCS / "pictures"
# Sphinx writes these for itself; they stand in no table of contents.
INDEXES = {"genindex", "py-modindex", "search"}
FIGURES = ("km1", "km25", "km200", "km750", "km2500")


class Page(HTMLParser):
    """What one built page names: links, what it loads, pictures without a text, ids."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: set[str] = set()
        self.loads: set[str] = set()
        self.ids: set[str] = set()
        self.without_text: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.ids.add(found.get("id", ""))
        if tag == "a":
            self.links.add(found.get("href", ""))
        elif tag == "link":
            self.loads.add(found["href"])
        for name in ("src", "srcset", "data", "poster"):
            if name in found:
                self.loads.add(found[name])
        if tag == "img" and not found.get("alt"):
            self.without_text.append(found["src"])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site as ``make docs`` builds it."""
    out = tmp_path_factory.mktemp("site")
    options = ["-W", "--keep-going", "-n", "-q"]
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", *options, DOCS, out], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return out


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[str, Page]:
    """Every built page by its name, such as ``howto/serve``."""
    paths = [path.relative_to(site).with_suffix("") for path in site.rglob("*.html")]
    return {path.as_posix(): Page(site / f"{path}.html") for path in paths}


class Quiet(SimpleHTTPRequestHandler):
    """Serves files without a line for each."""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # its name there
        pass


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    """Where the site is served: its search reads other pages, which a browser denies to files."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(site))) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def script() -> ModuleType:
    """The script that draws the pictures."""
    path = ROOT / "scripts" / "build_docs_pictures.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_page_is_built_and_in_the_table_of_contents(pages: dict[str, Page]) -> None:
    sources = {path.relative_to(DOCS).with_suffix("").as_posix() for path in DOCS.rglob("*.md")}
    sources = {name for name in sources if not name.startswith("_build/")}
    assert sources == set(pages) - INDEXES
    # The first page shows the whole table of contents beside it; its own links are left out here.
    reached = {link.partition("#")[0].removesuffix(".html") for link in pages["search"].links}
    assert sources <= reached


def test_a_page_loads_nothing_but_the_sites_own_files(site: Path, pages: dict[str, Page]) -> None:
    for name, page in pages.items():
        for target in page.loads:
            file = re.split("[?#]", target)[0]
            inside = not file or ((site / name).parent / file).is_file()
            assert inside or target.startswith("data:"), f"{name} loads {target}"
    for path in site.rglob("*.css"):
        loaded = re.findall(r"url\(\s*['\"]?([^)'\"]+)|@import\s+['\"]([^'\"]+)", path.read_text())
        for target in map("".join, loaded):
            assert not re.match(r"(\w+:)?//", target), f"{path.name} loads {target}"


def test_a_browser_asks_no_other_server(
    address: str, chromium: Path, browser_environment: dict[str, str | float | bool]
) -> None:
    asked: list[str] = []
    messages: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=str(chromium),
            args=["--no-sandbox", "--disable-gpu"],
            env=browser_environment,
        )
        tab = browser.new_page()
        tab.on("request", lambda request: asked.append(request.url))
        tab.on("console", lambda message: messages.append(message.text))
        tab.on("pageerror", lambda error: messages.append(str(error)))
        for name in ("index", "explanation/cells", "reference/api"):
            tab.goto(f"{address}/{name}.html")
        tab.goto(f"{address}/search.html?q=GeoScore")
        tab.wait_for_selector("ul.search li a")
        browser.close()
    assert len(asked) > 10
    assert [url for url in asked if not url.startswith((f"{address}/", "data:"))] == []
    assert messages == []


def test_links_to_the_repository_lead_to_what_is_there(pages: dict[str, Page]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    repository = project["urls"]["Documentation"].partition("/tree/")[0]
    found = set()
    for page in pages.values():
        for link in page.links:
            match = re.fullmatch(rf"{repository}/(blob|tree)/\w+/([^?#]+).*", link)
            if match:
                path = ROOT / match[2]
                assert path.is_file() if match[1] == "blob" else path.is_dir(), link
                found.add(match[2])
    assert {"locationnet/geo", "scripts/demo/README.md"} <= found


def test_a_link_to_the_model_card_stays_in_the_site(pages: dict[str, Page]) -> None:
    assert "model-card.html" in pages["compare"].links
    assert "../model-card.html" in pages["explanation/demo-model"].links


def test_the_reference_describes_every_public_name(pages: dict[str, Page]) -> None:
    for name in locationnet.__all__:
        assert f"locationnet.{name}" in pages["reference/api"].ids, name


def test_every_picture_says_what_it_shows(pages: dict[str, Page]) -> None:
    for name, page in pages.items():
        assert page.without_text == [], name


def test_the_pictures_are_what_the_script_draws(script: ModuleType, tmp_path: Path) -> None:
    # Pictures of pages come from a browser, through scripts of their own.
    pages = ("map-", "library-")
    drawn = {path.name for path in PICTURES.iterdir() if not path.name.startswith(pages)}
    assert drawn == set(script.PICTURES)
    texts = [path.read_text(encoding="utf-8") for path in DOCS.rglob("*.md")]
    total = 0
    for name, draw in script.PICTURES.items():
        assert any(f"pictures/{name})" in text for text in texts), f"no page shows {name}"
        content = (PICTURES / name).read_bytes()
        total += len(content)
        assert len(content) <= 100_000, name
        drawn = tmp_path / name
        drawn.write_bytes(script.png(draw()))
        # Another matplotlib or FreeType may smooth otherwise; what is shown must be the same.
        with Image.open(PICTURES / name) as kept, Image.open(drawn) as new:
            assert kept.size == new.size, f"run {script.__name__}.py"
            colours = [np.asarray(image.convert("RGB"), np.float64) for image in (kept, new)]
            assert np.abs(colours[0] - colours[1]).mean() < 4, f"run {script.__name__}.py"
    assert total < 1_000_000


def test_a_picture_is_drawn_the_same_every_time(script: ModuleType) -> None:
    draw = script.PICTURES["cells-london.png"]
    assert script.png(draw()) == script.png(draw())


def test_the_compared_figures_are_the_published_rows() -> None:
    text = (DOCS / "compare.md").read_text(encoding="utf-8")
    tables, _, sources = text.partition("\nSources, as seen:\n")
    # "1. [name](address), README: …" on one or more lines.
    names = {}
    for number, item in re.findall(r"^(\d+)\. (.+(?:\n   .+)*)", sources, re.MULTILINE):
        names[number] = re.sub(r"\[([^]]+)\]\([^)]+\)", r"\1", item).replace(",", "")
    shown = []
    for section in tables.split("\n### ")[1:]:
        benchmark, *lines = section.splitlines()
        for line in lines:
            if line.startswith("| ") and not line.startswith("| model"):
                model, year, *figures, source = [
                    cell.strip() for cell in line.strip("|").split("|")
                ]
                shares = [figure.replace("–", "") for figure in figures]
                seen_in = re.split(r"[:.]", " ".join(names[source].split()))[0]
                shown.append((benchmark, model, year, *shares, seen_in))
    with (ROOT / "locationnet" / "evaluation" / "published.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    published = [
        (
            row["benchmark"],
            row["model"],
            row["year"],
            *(row[key] for key in FIGURES),
            row["seen_in"],
        )
        for row in rows
    ]
    assert sorted(shown) == sorted(published)
