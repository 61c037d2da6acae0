"""Writes docs/pictures/library-review.png from the real review page and scikit-image's photos.

Needs the chromium command. Example: python scripts/build_library_pictures.py
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

from locationnet.library.catalog import Catalog
from locationnet.library.propose import propose
from locationnet.library.scan import scan

PICTURE = Path(__file__).parents[1] / "docs/pictures/library-review.png"
# An afternoon at the launch site: which of scikit-image's photos, when, and whether it says where.
PHOTOS = [
    ("coffee.png", "09:12:00", True),
    ("astronaut.png", "10:40:00", False),
    ("rocket.jpg", "11:20:00", False),
    ("chelsea.png", "14:05:00", True),
]


def main() -> None:
    """Make a library, review it, and take a picture."""
    spec = find_spec("skimage")
    chromium = shutil.which("chromium")
    if spec is None or spec.origin is None or chromium is None:
        raise SystemExit("needs scikit-image and the chromium command")
    with tempfile.TemporaryDirectory() as made:
        photos, library = Path(made) / "photos", Path(made) / "library"
        photos.mkdir()
        for number, (name, time, known) in enumerate(PHOTOS, 2041):
            exif = Image.Exif()
            exif.get_ifd(0x8769)[0x9003] = f"2024:05:01 {time}"
            if known:
                place = {1: "N", 2: (28.0, 31.0, number % 60), 3: "W", 4: (80.0, 39.0, 0.0)}
                exif.get_ifd(0x8825).update(place)
            image = Image.open(Path(spec.origin).parent / "data" / name).convert("RGB")
            image.save(photos / f"IMG_{number}.jpg", exif=exif)
        with Catalog(library, create=True) as catalog:
            scan(photos, catalog)
            catalog.replace_proposals(propose(catalog.photos()).proposals)
        program = Path(sys.executable).parent / "locationnet"
        words = [str(program), "library", "review", str(library)]
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None  # noqa: S101
            picture(chromium, process.stdout.readline().split()[2])
            process.terminate()
    print(f"wrote {PICTURE.name}, {PICTURE.stat().st_size // 1024} kB")


def picture(chromium: str, address: str) -> None:
    """Take a picture of the page at an address."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1100, "height": 700}, color_scheme="light")
        page.goto(address)
        page.locator("#reasons li").first.wait_for()
        page.wait_for_timeout(5000)  # thumbnails are made when they are first asked for
        page.screenshot(path=PICTURE)
        browser.close()
    Image.open(PICTURE).convert("RGB").quantize(256).save(PICTURE, optimize=True)


if __name__ == "__main__":
    main()
