"""The published benchmarks, in the files that their authors give out.

Knows layouts; what a benchmark is stands in `benchmarks`. None of the photos ships with us.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from locationnet.commons import image_key
from locationnet.errors import InputError
from locationnet.evaluation.benchmarks import Benchmark, Floats, Rule, from_table
from locationnet.evaluation.listings import (
    DOUBT_KM,
    IM2GPS,
    IM2GPS3K,
    YFCC4K,
    YFCC26K,
    Listing,
    find_listing,
    has_header,
)
from locationnet.evaluation.photo_files import find_files, photo_files
from locationnet.image_formats import JPEG_COMMENT, jpeg_segments
from locationnet.metadata.layouts import PLACING_2016_START, YFCC_25
from locationnet.tables.read import as_floats

# Photos of IM2GPS3k whose authors' table gives no place.
IM2GPS3K_WITHOUT_TRUTH = frozenset(
    {
        "199384251_7860f20c04_66_63163416@N00",
        "253668751_c8cce71b58_102_23601949@N00",
        "504935857_52562f0ee0_217_24311489@N00",
    }
)
# 10 m to 1000 km, on the ellipsoid: the rule of MediaEval's Placing task.
PLACING_RULE = Rule("karney", True, (0.01, 0.1, 1.0, 10.0, 100.0, 1000.0))
# The truth in a comment, which must say both numbers; spaces and case vary.
_COMMENT = re.compile(
    rb"^\s*(latitude|longitude)\s*[:=]\s*([-+]?\d+(?:\.\d*)?(?:e[-+]?\d+)?)",
    re.IGNORECASE | re.MULTILINE,
)
_SEEN = "its uploaders are also in YFCC100M, which many models were trained on"
# A photo of IM2GPS: its file, the place in its comment, its row in the table.
_Im2gpsPhoto = tuple[Path, tuple[float, float] | None, int | None]


def load_benchmark(
    name: str,
    images: Path | None = None,
    *,
    cluster_column: str | None = None,
    need_photos: bool = True,
) -> Benchmark:
    """Read a benchmark.

    Parameters
    ----------
    name
        One of `PUBLISHED`, or a table; see `from_table`.
    images
        The folder that holds a published benchmark's files; where a table's paths start.
    cluster_column
        Of a table: the column whose values belong together, instead of the uploader's.
    need_photos
        Whether the photos will be read; without, a benchmark is what its table lists.

    Raises
    ------
    InputError
        A file is missing or a row is wrong; the message names it.
    """
    key = name.lower()
    if key not in PUBLISHED:
        return from_table(
            Path(name), images, cluster_column=cluster_column, need_photos=need_photos
        )
    if images is None or not images.is_dir():
        raise InputError(f"{name}: give --images, the folder that its files lie in")
    if cluster_column is not None:
        raise InputError(f"{name}: its uploaders are known by themselves; drop --cluster")
    return im2gps(images, need_photos=need_photos) if key == "im2gps" else PUBLISHED[key](images)


def im2gps(folder: Path, *, need_photos: bool = True) -> Benchmark:
    """Read IM2GPS (Hays and Efros, CVPR 2008): 237 JPEGs with the truth in their comments.

    ``im2gps_places365.csv`` beside them adds the uploaders; where it places a photo more than
    a kilometre from the comment, a note says so.

    Parameters
    ----------
    folder
        Where they lie.
    need_photos
        Whether the benchmark is the photos that are there; without, it has those too that the
        table alone lists.
    """
    listing = find_listing(folder, IM2GPS)
    paths = photo_files(folder)
    comments = [comment_place(path.read_bytes()) for path in paths]
    ids: dict[str, int] = {}
    rows: list[int | None] = [None] * len(paths)
    if listing is not None:
        ids = {name: row for row, name in enumerate(listing.ids)}
        rows = [_listed(ids, path.stem) for path in paths]
        listing = listing.checked(
            {
                row: comment
                for row, comment in zip(rows, comments, strict=True)
                if row is not None and comment is not None
            }
        )
        if not need_photos:
            alone = sorted(set(ids.values()) - set(rows))
            paths += find_files(folder, [listing.names[row] for row in alone])
            rows += alone
            comments += [None] * len(alone)
    return _im2gps(folder, listing, list(zip(paths, comments, rows, strict=True)))


def _im2gps(folder: Path, listing: Listing | None, photos: list[_Im2gpsPhoto]) -> Benchmark:
    if not photos:
        raise InputError(f"{folder}: contains no photos")
    notes = list(listing.places.notes) if listing is not None else []
    authors, truth = [], []
    for path, comment, row in photos:
        place = comment
        if listing is not None and row is not None:
            authors.append(listing.authors[row])
            if place is None:
                place = float(listing.places.lat[row]), float(listing.places.lng[row])
            elif (km := listing.kilometres(row, place)) > DOUBT_KM:
                name = listing.path.name
                notes.append(f"{path.name}: its comment and {name} are {km:,.0f} km apart")
        if place is None:
            raise InputError(f"{path}: no comment says latitude and longitude")
        truth.append(place)
    if listing is not None and len(authors) < len(photos):
        notes.append(f"{listing.path.name} lists {len(authors)} of {len(photos)} photos")
    lat, lng = np.array(truth).T
    return Benchmark(
        "IM2GPS",
        tuple(path.stem for path, _, _ in photos),
        tuple(path for path, _, _ in photos),
        lat,
        lng,
        uploaders=tuple(authors) if len(authors) == len(photos) else None,
        notes=tuple(notes),
    )


def im2gps3k(folder: Path) -> Benchmark:
    """Read IM2GPS3k (Vo et al., ICCV 2017): photos and ``im2gps3k_places365.csv``."""
    listing = find_listing(folder, IM2GPS3K, IM2GPS3K_WITHOUT_TRUTH)
    if listing is None:
        raise InputError(f"{folder / IM2GPS3K}: no such file")
    paths = find_files(folder, listing.names)
    notes = ["three photos without a known place are left out, as everybody does"]
    if not listing.places.proven:
        comments = _comment_places(paths)
        listing = listing.checked(comments)
        far = [one for one in comments if listing.kilometres(one, comments[one]) > DOUBT_KM]
        if far:
            notes.append(
                f"{len(far):,} photos' comments and {listing.path.name} are more than"
                f" {DOUBT_KM:g} km apart, {paths[far[0]].name} first"
            )
    return _of_listing("IM2GPS3k", listing, paths, *notes)


def yfcc4k(folder: Path) -> Benchmark:
    """Read YFCC4k (Vo et al., ICCV 2017): photos, and ``info.txt`` or a table with a header.

    ``info.txt`` has YFCC100M's 25 columns.
    """
    info = folder / "info.txt"
    if not info.is_file() or has_header(info):
        listing = find_listing(folder, YFCC4K)
        if listing is None:
            raise InputError(f"{info}: cannot be read (no such file), and no table is beside it")
        return _of_listing("YFCC4k", listing, find_files(folder, listing.names), _SEEN)
    rows = _tab_rows(info, len(YFCC_25))
    photo, user, lng, lat = map(YFCC_25.index, ("photoid", "uid", "longitude", "latitude"))
    ids = tuple(row[photo] for _, row in rows)
    return Benchmark(
        "YFCC4k",
        ids,
        find_files(folder, ids),
        degrees(info, [row[lat] for _, row in rows], 90, "latitude"),
        degrees(info, [row[lng] for _, row in rows], 180, "longitude"),
        tuple(row[user] for _, row in rows),
        notes=(_SEEN,),
    )


def yfcc26k(folder: Path) -> Benchmark:
    """Read YFCC26k (GeoEstimation's test set): photos and ``yfcc25600_places365.csv``."""
    listing = find_listing(folder, YFCC26K)
    if listing is None:
        raise InputError(f"{folder / YFCC26K}: no such file")
    return _of_listing("YFCC26k", listing, find_files(folder, listing.names), _SEEN)


def _of_listing(name: str, listing: Listing, paths: tuple[Path, ...], *notes: str) -> Benchmark:
    return Benchmark(
        name,
        listing.ids,
        paths,
        listing.places.lat,
        listing.places.lng,
        listing.authors,
        notes=(*notes, *listing.places.notes),
    )


def placing2016(folder: Path) -> Benchmark:
    """Read the Placing task's test set: ``mediaeval2016_test``, and photos named by their hash.

    The last column is the hash.
    """
    table = folder / "mediaeval2016_test"
    lng, lat = map(PLACING_2016_START.index, ("longitude", "latitude"))
    rows = _tab_rows(table, None)
    ids = tuple(row[-1] for _, row in rows)
    return Benchmark(
        "Placing2016",
        ids,
        tuple(_find(folder, name) for name in ids),
        degrees(table, [row[lat] for _, row in rows], 90, "latitude"),
        degrees(table, [row[lng] for _, row in rows], 180, "longitude"),
        rule=PLACING_RULE,
    )


PUBLISHED: dict[str, Callable[[Path], Benchmark]] = {
    "im2gps": im2gps,
    "im2gps3k": im2gps3k,
    "yfcc4k": yfcc4k,
    "yfcc26k": yfcc26k,
    "placing2016": placing2016,
}


def comment_place(jpeg: bytes) -> tuple[float, float] | None:
    """Return the latitude and longitude that a JPEG's comments say, or None.

    All comment segments are read: IM2GPS has several in a photo, of which Pillow shows one.
    """
    found = {
        key.lower(): float(value)
        for segment in jpeg_segments(jpeg)
        if segment.marker == JPEG_COMMENT
        for key, value in _COMMENT.findall(segment.body)
    }
    if len(found) < 2 or abs(found[b"latitude"]) > 90 or abs(found[b"longitude"]) > 180:
        return None
    return found[b"latitude"], found[b"longitude"]


def _comment_places(paths: Sequence[Path]) -> dict[int, tuple[float, float]]:
    """Return what the comments of the photos that are there say, by their index."""
    found = {
        photo: comment_place(path.read_bytes())
        for photo, path in enumerate(paths)
        if path.is_file()
    }
    return {photo: place for photo, place in found.items() if place is not None}


def _listed(rows: dict[str, int], stem: str) -> int | None:
    """Return a photo's row: files are named ``Rome_00024_<id>``, some rows by the id alone."""
    parts = stem.split("_")
    tails = ("_".join(parts[start:]) for start in range(len(parts)))
    return next((rows[tail] for tail in tails if tail in rows), None)


def _find(folder: Path, name: str) -> Path:
    """Return where a photo lies: beside its table, or as Multimedia Commons sorts its images."""
    if Path(name).name != name:
        raise InputError(f"{folder}: {name!r} is not a valid name of a photo")
    sorted_in = folder / image_key(name)
    return sorted_in if sorted_in.is_file() else folder / f"{name}.jpg"


def _tab_rows(path: Path, columns: int | None) -> list[tuple[int, list[str]]]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({error})") from error
    rows = [(number, line.split("\t")) for number, line in enumerate(text.split("\n"), 1) if line]
    if not rows:
        raise InputError(f"{path}: contains no rows")
    for number, row in rows:
        if len(row) != columns if columns else len(row) < 5:
            expected = columns or "5 or more"
            raise InputError(f"{path}: row {number}: {len(row)} columns, expected {expected}")
    return rows


def degrees(path: Path, values: Sequence[str], most: float, what: str) -> Floats:
    """Return texts as float64 ``(n,)`` degrees.

    Raises
    ------
    InputError
        One is not a number between −most and most; the message names its row, from 1.
    """
    import pyarrow as pa

    found = as_floats(pa.array(values, pa.string()), str(path))[0]
    bad = np.flatnonzero(~(np.abs(found) <= most))
    if len(bad):
        raise InputError(f"{path}: row {bad[0] + 1}: {values[bad[0]]!r} is not a valid {what}")
    return found
