"""Writes docs/pictures/map-*.png from the real map page, the demo model and scikit-image's photo.

Needs the chromium command. Example: python scripts/build_map_screenshots.py
"""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import uvicorn
from PIL import Image
from playwright.sync_api import sync_playwright

from locationnet.model.locator import load_model
from locationnet.server.app import create_app
from locationnet.server.settings import read_settings

PICTURES = Path(__file__).parents[1] / "docs/pictures"
DESKTOP: dict[str, Any] = {"viewport": {"width": 1280, "height": 800}}
PHONE: dict[str, Any] = {
    "viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True,
}  # fmt: skip
VIEWS: dict[str, dict[str, Any]] = {
    "map-light": {**DESKTOP, "color_scheme": "light"},
    "map-dark": {**DESKTOP, "color_scheme": "dark"},
    "map-phone": {**PHONE, "color_scheme": "light"},
}


def main() -> None:
    """Serve the demo, send it the photo, and take a picture of each view."""
    spec = find_spec("skimage")
    chromium = shutil.which("chromium")
    if spec is None or spec.origin is None or chromium is None:
        raise SystemExit("needs scikit-image and the chromium command")
    photo = Path(spec.origin).parent / "data/rocket.jpg"
    PICTURES.mkdir(exist_ok=True)
    with served() as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for name, view in VIEWS.items():
            page = browser.new_context(**view, reduced_motion="reduce").new_page()
            page.goto(address)
            page.set_input_files("#file", photo)
            page.wait_for_selector(".place")
            page.wait_for_timeout(300)  # for the canvas
            path = PICTURES / f"{name}.png"
            page.screenshot(path=path)
            # 256 colours are enough for a flat page and a third of the bytes.
            Image.open(path).convert("RGB").quantize(256).save(path, optimize=True)
            print(f"wrote {path.name}, {path.stat().st_size // 1024} kB")
        browser.close()


@contextmanager
def served() -> Iterator[str]:
    """Serve the demo on a free port of this machine."""
    app = create_app(read_settings(), load_model())
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.05)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/"
    server.should_exit = True
    thread.join()


if __name__ == "__main__":
    main()
