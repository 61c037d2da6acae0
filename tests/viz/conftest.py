"""A world of equal cells with predictions over it, and pages opened in a real Chromium."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from locationnet.geo import s2, sphere
from locationnet.geo.grid import Grid
from locationnet.model.bundle import CellNames
from locationnet.model.cells import CellLayer
from locationnet.model.prediction import Evidence, Prediction

# Nothing that a browser does on its own account may look like a request of the page.
CHROMIUM_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--disable-quic",
]


@pytest.fixture(scope="session")
def world() -> CellLayer:
    """All 1536 cells of level 4, named after their tokens."""
    lat, lng = (
        values.ravel() for values in np.meshgrid(np.arange(-89.5, 90), np.arange(-179.5, 180))
    )
    ids = np.unique(s2.parent_ids(s2.leaf_ids(lat, lng), 4))
    assert len(ids) == 1536
    blank = [""] * len(ids)
    return CellLayer(Grid(ids, *s2.centers(ids)), CellNames(s2.tokens(ids), blank, blank))


@pytest.fixture(scope="session")
def predict(world: CellLayer) -> Callable[..., Prediction]:
    """Make an answer whose probability falls off around a point by a factor e per `km`."""

    def make(
        lat: float,
        lng: float,
        km: float = 800.0,
        threshold: float = 0.0,
        evidence: tuple[Evidence, ...] = (),
    ) -> Prediction:
        grid = world.grid
        weights = np.exp(-sphere.great_circle_km(lat, lng, grid.lat, grid.lng) / km)
        uniform = np.full(len(grid), 1 / len(grid))
        return Prediction(world, weights / weights.sum(), uniform, 5, threshold, evidence)

    return make


@dataclass
class Visit:
    """An opened page with all that it said and asked for."""

    page: Page
    messages: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def assert_quiet(self) -> None:
        """Nothing on the console, and nothing asked of a network."""
        assert self.messages == []
        assert [url for url in self.requests if not url.startswith(("file:", "data:"))] == []


@pytest.fixture(scope="module")  # while it runs, no event loop can be started
def browser(
    chromium: Path, browser_environment: dict[str, str | float | bool]
) -> Iterator[Browser]:
    """Debian's Chromium, headless."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=str(chromium), args=CHROMIUM_ARGUMENTS, env=browser_environment
        )
        yield browser
        browser.close()


@pytest.fixture
def visit(browser: Browser) -> Iterator[Callable[..., Visit]]:
    """Open a file; options go to the browser context (viewport, color_scheme, …)."""
    contexts = []

    def open_file(path: Path, **options: Any) -> Visit:
        context = browser.new_context(reduced_motion="reduce", **options)
        contexts.append(context)
        visited = Visit(context.new_page())
        visited.page.on("console", lambda message: visited.messages.append(message.text))
        visited.page.on("pageerror", lambda error: visited.messages.append(str(error)))
        visited.page.on("request", lambda request: visited.requests.append(request.url))
        visited.page.goto(path.as_uri())
        return visited

    yield open_file
    for context in contexts:
        context.close()
