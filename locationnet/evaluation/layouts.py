"""The published benchmarks, in the files that their authors give out.

Knows layouts; what a benchmark is stands in `benchmarks`. None of the photos ships with us.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from locationnet.containers import JPEG_COMMENT, is_photo_name, jpeg_segments
from locationnet.data.commons import image_key
from locationnet.data.metadata.layouts import PLACING_2016_START, YFCC_25
from locationnet.errors import InputError
from locationnet.evaluation.benchmarks import Benchmark, Floats, Rule, from_table
from locationnet.geo.sphere import great_circle_km
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
# Where the two sources of IM2GPS's truth differ by more, the reader is told.
_DOUBT_KM = 1.0


def load_benchmark(
    name: str, images: Path | None = None, *, cluster_column: str | None = None
) -> Benchmark:
    """Read a benchmark.

    Parameters
    ----------
    name
        ``im2gps``, ``im2gps3k``, ``yfcc4k``, ``placing2016``, or a table; see `from_table`.
    images
        The folder that holds a published benchmark's files; where a table's paths start.
    cluster_column
        Of a table: the column whose values belong together, instead of the uploader's.

    Raises
    ------
    InputError
        A file is missing or a row is wrong; the message names it.
    """
    layouts = {
        "im2gps": im2gps,
        "im2gps3k": im2gps3k,
        "yfcc4k": yfcc4k,
        "placing2016": placing2016,
    }
    read = layouts.get(name.lower())
    if read is None:
        return from_table(Path(name), images, cluster_column=cluster_column)
    if images is None or not images.is_dir():
        raise InputError(f"{name}: give --images, the folder that its files lie in")
    if cluster_column is not None:
        raise InputError(f"{name}: its photographers are known by themselves; drop --cluster")
    return read(images)


def im2gps(folder: Path) -> Benchmark:
    """Read IM2GPS (Hays and Efros, CVPR 2008): 237 JPEGs with the truth in their comments.

    ``im2gps_places365.csv`` beside them adds the photographers; where it places a photo more than
    a kilometre from the comment, a note says so.
    """
    table = folder / "im2gps_places365.csv"
    listed = {_stem(row["IMG_ID"]): row for _, row in _csv_rows(table)} if table.is_file() else {}
    authors: list[str] = []
    ids, paths, places, notes = [], [], [], []
    for path in _photos(folder):
        place = comment_place(path.read_bytes())
        row = _listed(listed, path.stem)
        if row is not None:
            authors.append(row["AUTHOR"])
            other = _place(table, path.name, row["LAT"], row["LON"])
            if place is None:
                place = other
            elif (km := float(great_circle_km(*place, *other))) > _DOUBT_KM:
                notes.append(f"{path.name}: its comment and {table.name} are {km:,.0f} km apart")
        if place is None:
            raise InputError(f"{path}: no comment says latitude and longitude")
        ids.append(path.stem)
        paths.append(path)
        places.append(place)
    if not ids:
        raise InputError(f"{folder}: holds no photos")
    if listed and len(authors) < len(ids):
        notes.append(f"{table.name} lists {len(authors)} of {len(ids)} photos")
    uploaders = tuple(authors) if len(authors) == len(ids) else None
    lat, lng = np.array(places).T
    return Benchmark(
        "IM2GPS", tuple(ids), tuple(paths), lat, lng, uploaders=uploaders, notes=tuple(notes)
    )


def im2gps3k(folder: Path) -> Benchmark:
    """Read IM2GPS3k (Vo et al., ICCV 2017): photos and ``im2gps3k_places365.csv``."""
    table = folder / "im2gps3k_places365.csv"
    rows = [
        (number, row)
        for number, row in _csv_rows(table)
        if _stem(row["IMG_ID"]) not in IM2GPS3K_WITHOUT_TRUTH
    ]
    places = [_place(table, f"row {number}", row["LAT"], row["LON"]) for number, row in rows]
    if not rows:
        raise InputError(f"{table}: holds no photo with a known place")
    lat, lng = np.array(places).T
    lie = {path.stem: path for path in _photos(folder)}
    return Benchmark(
        "IM2GPS3k",
        tuple(_stem(row["IMG_ID"]) for _, row in rows),
        tuple(lie.get(_stem(row["IMG_ID"]), folder / row["IMG_ID"]) for _, row in rows),
        lat,
        lng,
        tuple(row["AUTHOR"] for _, row in rows),
        notes=("three photos without a known place are left out, as everybody does",),
    )


def yfcc4k(folder: Path) -> Benchmark:
    """Read YFCC4k (Vo et al., ICCV 2017): ``info.txt`` in YFCC100M's 25 columns, and photos."""
    rows = _tab_rows(folder / "info.txt", len(YFCC_25))
    photo, user, lng, lat = map(YFCC_25.index, ("photoid", "uid", "longitude", "latitude"))
    ids = tuple(row[photo] for _, row in rows)
    lie = {path.stem: path for path in _photos(folder)}
    return Benchmark(
        "YFCC4k",
        ids,
        tuple(lie.get(name, folder / f"{name}.jpg") for name in ids),
        degrees(folder / "info.txt", [row[lat] for _, row in rows], 90, "latitude"),
        degrees(folder / "info.txt", [row[lng] for _, row in rows], 180, "longitude"),
        tuple(row[user] for _, row in rows),
        notes=("its photographers are also in YFCC100M, which many models were trained on",),
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


def _listed(listed: dict[str, dict[str, str]], stem: str) -> dict[str, str] | None:
    """Return a photo's row: files are named ``Rome_00024_<id>``, rows by the id alone."""
    parts = stem.split("_")
    tails = ("_".join(parts[start:]) for start in range(len(parts)))
    return next((listed[tail] for tail in tails if tail in listed), None)


def _photos(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if is_photo_name(path))


def _stem(name: str) -> str:
    return Path(name).stem if is_photo_name(Path(name)) else name


def _find(folder: Path, name: str) -> Path:
    """Return where a photo lies: beside its table, or as Multimedia Commons sorts its images."""
    if Path(name).name != name:
        raise InputError(f"{folder}: {name!r} is no photo's name")
    sorted_in = folder / image_key(name)
    return sorted_in if sorted_in.is_file() else folder / f"{name}.jpg"


def _csv_rows(path: Path) -> list[tuple[int, dict[str, str]]]:
    wanted = {"IMG_ID", "AUTHOR", "LAT", "LON"}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            rows = list(enumerate(reader, 1))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({error})") from error
    missing = wanted - set(reader.fieldnames or ())
    if missing:
        raise InputError(f"{path}: no column {', '.join(sorted(missing))}")
    for number, row in rows:
        if any(row[name] is None for name in wanted):
            raise InputError(f"{path}: row {number}: too few columns")
    if not rows:
        raise InputError(f"{path}: holds no rows")
    return rows


def _tab_rows(path: Path, columns: int | None) -> list[tuple[int, list[str]]]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({error})") from error
    rows = [(number, line.split("\t")) for number, line in enumerate(text.split("\n"), 1) if line]
    if not rows:
        raise InputError(f"{path}: holds no rows")
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


def _place(path: Path, what: str, lat: str, lng: str) -> tuple[float, float]:
    try:
        place = float(lat), float(lng)
    except ValueError:
        place = (np.nan, np.nan)
    if not (abs(place[0]) <= 90 and abs(place[1]) <= 180):
        raise InputError(f"{path}: {what}: {lat!r}, {lng!r} is no place")
    return place
