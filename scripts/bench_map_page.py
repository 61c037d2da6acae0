"""Time between the frames of the map page while it is dragged, with and without a grid's cells.

Needs the chromium command. Example: python scripts/bench_map_page.py grids.txt
"""

from __future__ import annotations

import shutil
import sys
import threading
import time

import numpy as np
import uvicorn
from fastapi import FastAPI
from numpy.typing import NDArray
from playwright.sync_api import Page, sync_playwright

from locationnet.geo.grid import Grid
from locationnet.server import pages
from locationnet.server.settings import read_settings

RECORD = """() => { window.frames_ = []; let last = performance.now(); window.go = true;
  const tick = (now) => { window.frames_.push(now - last); last = now;
    if (window.go) requestAnimationFrame(tick); };
  requestAnimationFrame(tick); }"""


def main() -> None:
    """Serve the page over the grid, drag it, and print what was seen."""
    grid = Grid.read(sys.argv[1])
    app = FastAPI()
    app.include_router(pages.router(read_settings(), lambda: grid))
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning"))
    threading.Thread(target=server.run, daemon=True).start()
    while not server.started:
        time.sleep(0.05)
    address = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.goto(address)
        page.wait_for_selector(".leaflet-land-pane canvas", state="attached")
        page.wait_for_timeout(1000)
        before = dragged(page)
        start = time.perf_counter()
        page.click("#show-cells")
        page.wait_for_selector("#show-cells[aria-pressed=true]")
        shown = time.perf_counter() - start
        page.wait_for_timeout(1000)
        after = dragged(page)
        browser.close()
    server.should_exit = True
    print(f"{len(grid):,} cells fetched, parsed and drawn in {shown:.2f} s")
    for name, frames in (("land alone", before), ("with all cells", after)):
        half, most = np.percentile(frames, [50, 95])
        print(
            f"{name}: {len(frames)} frames, median {half:.1f} ms, 95 % {most:.1f} ms, "
            f"longest {frames.max():.0f} ms"
        )
    print(f"ratio of the means: {after.mean() / before.mean():.2f}")


def dragged(page: Page) -> NDArray[np.float64]:
    """Return the milliseconds between frames over several drags across the map."""
    page.evaluate(RECORD)
    for stroke in range(6):
        x, step = (1000, -8) if stroke % 2 == 0 else (600, 8)
        page.mouse.move(x, 400)
        page.mouse.down()
        for i in range(50):
            page.mouse.move(x + step * i, 400)
        page.mouse.up()
    frames = page.evaluate("() => { window.go = false; return window.frames_; }")
    return np.array(frames[1:])


if __name__ == "__main__":
    main()
