"""Makes a small world of photos whose look depends on where they were taken, to try training on.

A photo shows sky over land: the hue of the land follows the longitude, the height of the horizon
the latitude, and hills stand closer together the further north. Each photographer's camera tints
and blurs a little, and every photo holds noise, so that there is something to generalise over.
Knows nothing of cells or networks.

::

    python scripts/synthetic_world.py world --photos 2000
"""

from __future__ import annotations

import argparse
import colorsys
import csv
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

# Where photos are taken: far enough apart for their looks to differ, (latitude, longitude).
TOWNS = (
    (64.1, -21.9), (59.9, 10.8), (51.5, -0.1), (40.4, -3.7), (30.0, 31.2), (-1.3, 36.8),
    (-33.9, 18.4), (55.8, 37.6), (28.6, 77.2), (13.8, 100.5), (35.7, 139.7), (-33.9, 151.2),
    (-17.7, 168.3), (21.3, -157.9), (37.8, -122.4), (40.7, -74.0), (19.4, -99.1), (-22.9, -43.2),
    (-34.6, -58.4), (-53.2, -70.9),
)  # fmt: skip
PHOTOGRAPHERS = 40


def picture(
    lat: float, lng: float, size: int, random: np.random.Generator, tint: NDArray[np.float64]
) -> Image.Image:
    """Draw what a place looks like.

    Parameters
    ----------
    lat, lng
        Degrees.
    size
        Side of the square picture, pixels.
    random
        Draws clouds and noise.
    tint
        float64 ``(3,)``: the camera's factor for red, green and blue.
    """
    rows, columns = np.mgrid[0:size, 0:size] / size
    hills = 3 + 5 * (lat + 90) / 180
    height = 0.15 + 0.6 * (lat + 90) / 180
    horizon = 1 - height + 0.05 * np.sin(2 * np.pi * (hills * columns + random.uniform()))
    land = np.array(colorsys.hsv_to_rgb((lng + 180) / 360, 0.75, 0.75))
    sky = np.array([0.55, 0.75, 0.95]) + random.uniform(-0.05, 0.05, 3)
    pixels = np.where((rows > horizon)[..., None], land, sky) * tint
    pixels += random.normal(0, 0.06, pixels.shape)
    return Image.fromarray((255 * np.clip(pixels, 0, 1)).astype(np.uint8))


def make_world(
    folder: Path, photos: int, *, size: int = 96, seed: int = 0, towns: int = len(TOWNS)
) -> Path:
    """Write photos and a table of them; the same arguments give the same bytes.

    Parameters
    ----------
    folder
        Receives ``photos/`` and ``photos.csv``; created if need be.
    photos
        How many.
    size
        Side of each, pixels.
    seed
        Another seed gives another world of the same towns.
    towns
        How many of the towns photos are taken in.

    Returns
    -------
    Path
        The table: path, lat, lng, uploader.
    """
    random = np.random.default_rng(seed)
    tints = random.uniform(0.9, 1.1, (PHOTOGRAPHERS, 3))
    (folder / "photos").mkdir(parents=True, exist_ok=True)
    rows: list[tuple[object, ...]] = [("path", "lat", "lng", "uploader")]
    for index in range(photos):
        town = TOWNS[index % towns]
        lat, lng = (float(value) for value in np.round(random.normal(town, 0.3), 6))
        who = int(random.integers(PHOTOGRAPHERS))
        path = f"photos/{index:06d}.jpg"
        picture(lat, lng, size, random, tints[who]).save(folder / path, quality=90)
        rows.append((path, lat, lng, f"photographer {who}"))
    table = folder / "photos.csv"
    with table.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)
    return table


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--photos", type=int, default=2000)
    parser.add_argument("--size", type=int, default=96, help="side of each photo, pixels")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    made = make_world(chosen.folder, chosen.photos, size=chosen.size, seed=chosen.seed)
    print(f"wrote {chosen.photos} photos and {made}")
