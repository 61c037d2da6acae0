"""Makes metadata in the layouts of YFCC100M: as many rows as wanted, the same for the same seed.

About half of the photos have a place, few uploaders took most of them, some rows are videos,
some repeat an earlier row, and a few are as wrong as rows of the real files are. Rows can be given
for photos that exist, at known places. Knows nothing of how metadata is read.

::

    python scripts/synthetic_commons.py commons --rows 1000000 --shards 4 --suffix .bz2
"""

from __future__ import annotations

import argparse
import bz2
import contextlib
import gzip
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote_plus

import numpy as np

from locationnet.commons import photo_hash

# Ids of generated rows start here; those of given photos lie below.
FIRST_ID = 2_000_000_000
UPLOADERS = 400
TOWNS = 300
# Shares of all rows, about those of YFCC100M where that is known, and of what goes wrong.
PLACED = 0.485
VIDEOS = 0.008
AGAIN = 0.002
NULL_ISLAND = 0.0005
SWAPPED = 0.0005
TORN = 0.00002
NO_HASH = 0.01

LICENCES = (
    ("Attribution License", "by", 0.17),
    ("Attribution-NonCommercial License", "by-nc", 0.14),
    ("Attribution-NonCommercial-NoDerivs License", "by-nc-nd", 0.27),
    ("Attribution-NonCommercial-ShareAlike License", "by-nc-sa", 0.28),
    ("Attribution-NoDerivs License", "by-nd", 0.05),
    ("Attribution-ShareAlike License", "by-sa", 0.09),
)
_TITLES = (
    "IMG_{0}", "DSC_{0}", "Sunset over the bay", "50% off & more", "Café Müller", "東京タワー",
    "Trip, day {0}", "", "a+b=c", "100_{0}", "Ночь в порту", "The old town (north)",
)  # fmt: skip
_CAMERAS = ("Canon PowerShot A60", "NIKON D90", "Apple iPhone 4S", "SONY DSC-W55", "")
_TAGS = ("beach", "night", "friends", "holiday", "architecture", "black and white", "sky", "music")
_CHUNK = 10_000

# Latitude, longitude and id of a photo that exists.
Placed = tuple[float, float, int]


@dataclass(frozen=True)
class Commons:
    """What was written: shards of metadata, and the list of hashes of the 23-column layout."""

    shards: tuple[Path, ...]
    hashes: Path | None


def photo_url(photo_id: int) -> str:
    """Return the download URL of a photo; `photo_hash` and `image_key` say where it would lie."""
    secret = f"{photo_id * 0x9E3779B97F4A7C15 % 2**40:010x}"
    return (
        f"http://farm{photo_id % 9 + 1}.staticflickr.com/{photo_id % 8999 + 1}"
        f"/{photo_id}_{secret}.jpg"
    )


def make_commons(
    folder: Path,
    rows: int,
    *,
    columns: int = 25,
    shards: int = 1,
    suffix: str = "",
    seed: int = 0,
    images: Sequence[Placed] = (),
) -> Commons:
    """Write metadata; the same arguments give the same bytes, but for compression.

    Parameters
    ----------
    folder
        Created if need be.
    rows
        How many, over all shards.
    columns
        25, with the hashes in the rows, or 23, with a list of them beside.
    shards
        Over how many files the rows are spread.
    suffix
        ``""``, ``.gz`` or ``.bz2``: how the files are compressed.
    seed
        Another seed gives other rows.
    images
        Photos that exist, spread evenly over the rows, which must be more. Their ids are below
        `FIRST_ID`.

    Returns
    -------
    Commons
    """
    if columns not in (23, 25) or len(images) > rows:
        raise ValueError("expected 23 or 25 columns, and no more images than rows")
    folder.mkdir(parents=True, exist_ok=True)
    made = _rows(rows, seed, images)
    paths = []
    with contextlib.ExitStack() as stack:
        listed = None
        if columns == 23:
            hashes = folder / f"yfcc100m_hash{suffix}"
            listed = stack.enter_context(_create(hashes))
        for shard in range(shards):
            path = folder / f"yfcc100m_dataset-{shard}{suffix}"
            paths.append(path)
            with _create(path) as file:
                for _ in range(rows * shard // shards, rows * (shard + 1) // shards):
                    row = next(made)
                    if listed is not None:
                        listed.write(f"{row[1]}\t{row[2] or photo_hash(row[16])}\n".encode())
                        row = [row[1], *row[3:]]
                    file.write(("\t".join(row) + "\n").encode())
    return Commons(tuple(paths), hashes if columns == 23 else None)


def _create(path: Path) -> IO[bytes]:
    kinds: dict[str, Any] = {".gz": gzip.open, ".bz2": bz2.open}
    made: IO[bytes] = kinds.get(path.suffix, open)(path, "wb")
    return made


def _rows(count: int, seed: int, images: Sequence[Placed]) -> Iterator[list[str]]:
    """Yield rows of 25 columns."""
    random = np.random.default_rng(seed)
    towns = np.column_stack([
        np.degrees(np.arcsin(random.uniform(-0.8, 0.95, TOWNS))),
        random.uniform(-180, 180, TOWNS),
    ])  # fmt: skip
    towns = towns[np.argsort(random.random(TOWNS))]
    people = [
        (f"{number}@N0{number % 9}", quote_plus(f"nick {name} é" if name % 5 == 0 else f"n{name}"))
        for name, number in enumerate(random.choice(90_000_000, UPLOADERS, replace=False).tolist())
    ]
    # Few uploaders took most photos, and each mostly in a few towns.
    busy = random.pareto(0.9, UPLOADERS)
    homes = random.integers(TOWNS, size=(UPLOADERS, 4))
    taken = {number * count // len(images): image for number, image in enumerate(images)}
    before: list[str] | None = None
    for start in range(0, count, _CHUNK):
        size = min(_CHUNK, count - start)
        who = random.choice(UPLOADERS, size, p=busy / busy.sum())
        where = towns[homes[who, random.integers(4, size=size)]]
        lat = np.clip(where[:, 0] + random.normal(0, 0.05, size), -90, 90)
        lng = (where[:, 1] + random.normal(0, 0.05, size) + 180) % 360 - 180
        fate = random.random((size, 5))
        licence = random.choice(len(LICENCES), size, p=[share for *_, share in LICENCES])
        number = random.integers(10_000, size=(size, 5))
        second = random.integers(1_050_000_000, 1_390_000_000, size)
        times = np.datetime_as_string(second.astype("datetime64[s]"))
        for row in range(size):
            line = start + row
            image = taken.get(line)
            if image is None and before is not None and fate[row, 0] < AGAIN:
                yield [str(line), *before[1:]]
                continue
            place = ("", "")
            if image is not None:
                place = (repr(image[1]), repr(image[0]))
            elif fate[row, 1] < NULL_ISLAND:
                place = ("0.0", "0.0")
            elif fate[row, 1] < NULL_ISLAND + SWAPPED:
                place = ("12.5", "-135.25")
            elif fate[row, 1] < PLACED:
                place = (f"{lng[row]:.6f}", f"{lat[row]:.6f}")
            photo = FIRST_ID + 13 * line + int(number[row, 0]) % 13 if image is None else image[2]
            made = _row(line, photo, people[who[row]], place, licence[row], number[row].tolist())
            made[5], made[6] = f"{times[row].replace('T', ' ')}.0", str(second[row] + 86_400)
            if image is None and fate[row, 2] < VIDEOS:
                made[23], made[24] = "mp4", "1"
            if fate[row, 3] < NO_HASH:
                made[2] = ""
            if image is None and fate[row, 4] < TORN:
                made[9] = "a stray\ttab"
            yield made
            if image is None and fate[row, 4] >= TORN:
                before = made


def _row(
    line: int,
    photo: int,
    person: tuple[str, str],
    place: tuple[str, str],
    licence: int,
    number: list[int],
) -> list[str]:
    url = photo_url(photo)
    secret = url[-14:-4]
    name, code, _ = LICENCES[licence]
    tags = ",".join(quote_plus(_TAGS[(number[2] + step) % len(_TAGS)]) for step in range(4))
    return [
        str(line), str(photo), photo_hash(url), *person, "", "",
        quote_plus(_CAMERAS[number[1] % len(_CAMERAS)]),
        quote_plus(_TITLES[number[1] % len(_TITLES)].format(number[3])),
        quote_plus("Taken on a walk. " * (number[4] % 7)), tags, "", *place,
        str(16 - number[2] % 6 * (number[3] % 3 == 0)) if place[0] else "",
        f"http://www.flickr.com/photos/{person[0]}/{photo}/", url, name,
        f"http://creativecommons.org/licenses/{code}/2.0/", str(photo % 8999 + 1),
        str(photo % 9 + 1), secret, secret[::-1], "jpg", "0",
    ]  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--columns", type=int, choices=(23, 25), default=25)
    parser.add_argument("--shards", type=int, default=1)
    parser.add_argument("--suffix", choices=("", ".gz", ".bz2"), default="")
    parser.add_argument("--seed", type=int, default=0)
    chosen = vars(parser.parse_args())
    for path in make_commons(chosen.pop("folder"), chosen.pop("rows"), **chosen).shards:
        print(f"wrote {path}")
