"""Measures how many photos `library scan` lists a second: the first time, and when nothing changed.

Writes generated JPEGs with the metadata that phones write into a temporary folder, 1,000 to a
folder, each padded to `--kib`; the disk's cache holds them, so this is the processors' part.
"""

from __future__ import annotations

import argparse
import io
import tempfile
import time
from pathlib import Path

from PIL import Image

from locationnet.library.catalog import Catalog
from locationnet.library.scan import scan

LEAST_A_SECOND = 300


def write_photos(folder: Path, count: int, kib: int) -> None:
    """Write photos, no two the same."""
    pixels = Image.new("RGB", (64, 48), "teal")
    for number in range(count):
        exif = Image.Exif()
        exif[0x010F], exif[0x0110] = "Maker", f"Model {number % 3}"
        own = exif.get_ifd(0x8769)
        own[0x9003] = f"2024:05:{1 + number % 28:02} 10:{number // 60 % 60:02}:{number % 60:02}"
        own[0x9011], own[0xA431] = "+02:00", "0123456789"
        if number % 2:
            exif.get_ifd(0x8825).update(
                {1: "N", 2: (41.0, 53.0, number % 60 + 0.5), 3: "E", 4: (12.0, 30.0, 0.0), 31: 5.0}
            )
        file = io.BytesIO()
        pixels.save(file, "JPEG", exif=exif, comment=str(number))
        path = folder / f"{number // 1000:03}" / f"IMG_{number:06}.jpg"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(file.getvalue().ljust(kib << 10, b"\0"))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=int, default=100_000)
    parser.add_argument("--kib", type=int, default=4)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        photos, library = Path(made) / "photos", Path(made) / "library"
        photos.mkdir()
        write_photos(photos, options.photos, options.kib)
        for turn in ("first scan", "nothing changed"):
            started = time.perf_counter()
            with Catalog(library, create=True) as catalog:
                found = scan(photos, catalog)
            rate = options.photos / (time.perf_counter() - started)
            print(f"{turn}: {found.read:,} read, {found.unchanged:,} unchanged, {rate:,.0f}/s")
            if rate < LEAST_A_SECOND:
                raise SystemExit(f"fewer than {LEAST_A_SECOND} a second")


if __name__ == "__main__":
    main()
