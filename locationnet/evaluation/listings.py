"""A published benchmark's table of photos, in the forms in which it is handed around.

Knows columns and names of tables; which benchmark needs which is in `benchmark_files`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from locationnet.errors import InputError
from locationnet.evaluation.benchmarks import Places, known_places
from locationnet.evaluation.photo_files import bare
from locationnet.geo.sphere import great_circle_km
from locationnet.tables.columns import find_column, missing_columns, need_column
from locationnet.tables.read import names_column, read_table
from locationnet.tables.table_file import open_table

IM2GPS, IM2GPS3K = "im2gps_places365.csv", "im2gps3k_places365.csv"
YFCC4K, YFCC26K = "yfcc4k_places365.csv", "yfcc25600_places365.csv"
_NAMES = frozenset({IM2GPS, IM2GPS3K, YFCC4K, YFCC26K})
_SUFFIX = re.compile(r"\.(csv|tsv|txt|parquet|pq)(\.(gz|bz2|xz|zst|zip))?$", re.IGNORECASE)
# A photo may be listed by its file or by its id; where both stand there, the file says more.
_PHOTO = ("path", "photo", "id")
# A user of Flickr; some tables have a part of the photo's name before it.
_FLICKR = re.compile(r"(?:.*_)?(\d+@N\d+)")
# Where two sources of the truth differ by more, the reader is notified.
DOUBT_KM = 1.0


@dataclass(frozen=True, eq=False)
class Listing:
    """What a table says of photos.

    Parameters
    ----------
    path
        The table.
    columns
        What it calls latitude and longitude.
    names, authors
        Each photo, as the table writes it, and its uploader.
    places
        Where they were taken.
    rows
        The row of each, from 1.
    """

    path: Path
    columns: tuple[str, str]
    names: tuple[str, ...]
    authors: tuple[str, ...]
    places: Places
    rows: tuple[int, ...]

    @property
    def ids(self) -> tuple[str, ...]:
        """The photos' names without folders and suffix."""
        return tuple(map(bare, self.names))

    def kilometres(self, photo: int, place: tuple[float, float]) -> float:
        """Return how far from a place the table has a photo."""
        return float(great_circle_km(*place, self.places.lat[photo], self.places.lng[photo]))

    def checked(self, comments: Mapping[int, tuple[float, float]]) -> Listing:
        """Return the table as its photos prove that it is meant.

        Parameters
        ----------
        comments
            Latitude and longitude by the JPEG comments of some photos, by their index. They are
            asked where no value proves which column is which.

        Raises
        ------
        InputError
            They prove some rows right and others the wrong way round.
        """
        if self.places.proven or not comments:
            return self
        photos = np.array(list(comments))
        lat, lng = np.array(list(comments.values())).T
        here, there = self.places.lat[photos], self.places.lng[photos]
        named = great_circle_km(lat, lng, here, there) <= DOUBT_KM
        other = great_circle_km(lat, lng, there, here) <= DOUBT_KM
        right, wrong = photos[named & ~other], photos[other & ~named]
        if not len(wrong):
            return self
        shown = f"row {self.rows[wrong[0]]} differs so from its photo's comment"
        if len(right):
            raise InputError(
                f"{self.path}: {shown}: {self.columns[0]!r} and {self.columns[1]!r} are the wrong"
                f" way round there, but not in row {self.rows[right[0]]}"
            )
        return replace(self, places=self.places.swapped(self.columns, shown))


def find_listing(
    folder: Path, name: str, without_truth: frozenset[str] = frozenset()
) -> Listing | None:
    """Read a benchmark's table in a folder, or return None where there is none.

    Parameters
    ----------
    folder
        The folder of its files.
    name
        What the table is called; else another table there with photos, places and uploaders.
    without_truth
        Photos, by their name without folders and suffix, that are left out.

    Raises
    ------
    InputError
        A row is wrong, or several tables could be the one; the message names it.
    """
    path = folder / name
    note = ""
    if not path.is_file():
        found = [one for one in sorted(folder.iterdir()) if _lists_photos(one)]
        if not found:
            return None
        if len(found) > 1:
            shown = ", ".join(one.name for one in found)
            raise InputError(f"{folder}: each of {shown} could be its table; name it {name}")
        path = found[0]
        note = f"the truth is that of {path.name}"
    table = read_table(path)
    columns = table.column_names
    photo = _photo_column(path, columns)
    if photo is None:
        raise missing_columns(path, columns, "id", "path")
    author = need_column(path, columns, "uploader")
    names = names_column(path, table, photo)
    if "" in names:
        raise InputError(f"{path}: row {names.index('') + 1}: names no photo")
    kept = [row for row, one in enumerate(names) if bare(one) not in without_truth]
    if not kept:
        raise InputError(f"{path}: contains no photo with a known place")
    authors = names_column(path, table, author)
    places = known_places(
        path, table.take(kept), proofs=1, label=lambda row: f"row {kept[row] + 1}"
    )
    lat, lng = (need_column(path, columns, field) for field in ("lat", "lng"))
    return Listing(
        path,
        (lat, lng),
        tuple(names[row] for row in kept),
        tuple(_uploader(authors[row]) for row in kept),
        places._replace(notes=(note, *places.notes) if note else places.notes),
        tuple(row + 1 for row in kept),
    )


def has_header(path: Path) -> bool:
    """Return whether a file names columns of coordinates."""
    try:
        names = open_table(path).names
    except InputError:
        return False
    return None not in (find_column(path, names, "lat"), find_column(path, names, "lng"))


def _lists_photos(path: Path) -> bool:
    """Return whether a file under a name of its own can be a benchmark's table."""
    if not _SUFFIX.search(path.name) or path.name.startswith(".") or path.name in _NAMES:
        return False
    try:
        names = open_table(path).names
        return (
            _photo_column(path, names) is not None
            and find_column(path, names, "predicted_lat") is None
            and None
            not in [find_column(path, names, field) for field in ("lat", "lng", "uploader")]
        )
    except InputError:
        return False


def _photo_column(path: Path, names: list[str] | tuple[str, ...]) -> str | None:
    found = (find_column(path, names, field) for field in _PHOTO)
    return next(filter(None, found), None)


def _uploader(name: str) -> str:
    found = _FLICKR.fullmatch(name)
    return found.group(1) if found else name
