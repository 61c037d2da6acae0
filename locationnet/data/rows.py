"""The rows of a table of photos as packing needs them: where each photo is, and its class.

Knows columns, grids and labels; nothing of pixels or shards.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from locationnet.classes import ClassSet
from locationnet.data.coordinates import LAT_NAMES, LNG_NAMES, numbers
from locationnet.data.download.wanted import (
    HASH_NAMES,
    URL_NAMES,
    in_text,
    photo_path,
    texts,
)
from locationnet.data.tables import PHOTO_NAMES, UPLOADER_NAMES, find_column, read_table
from locationnet.errors import InputError
from locationnet.geo.s2 import valid_coordinates
from locationnet.labels import LabelSet

if TYPE_CHECKING:
    import pyarrow as pa

NO_CELL = "in no cell of the grid"
BAD_COORDINATE = "no usable coordinate"
NO_LABEL = "its label is none of the classes"

# Columns that say whose a photo is and what may be done with it; kept beside the pack.
CREDITS = ("licence", "license", "attribution", "url", "page")
BOX_NAMES = ("x_min", "y_min", "x_max", "y_max")
# Which pixels a box is a share of: the photo's as stored, or those of the upright photo.
BOX_PIXELS = "box_pixels"
STORED, UPRIGHT = "stored", "upright"

_NOT_IN_CLASS, _NO_PLACE = -1, -2
_TEXTS = ("id", "uploader", "url", "hash", "path")
COLUMNS = (*_TEXTS, "lat", "lng", "label")

Box = tuple[float, float, float, float]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Columns:
    """Names of columns; None finds the usual ones."""

    lat: str | None = None
    lng: str | None = None
    group: str | None = None
    label: str | None = None


@dataclass(frozen=True)
class Rows:
    """Some rows, as plain lists that can travel to another process.

    Parameters
    ----------
    kind
        What the classes are.
    paths, ids, uploaders
        Text, ``""`` where there is none.
    urls
        Photos' own addresses, ``""`` where there is none.
    lat, lng
        float64 ``(n,)``, degrees; NaN where there is none.
    classes
        int64 ``(n,)``; −1 for a photo in no cell or with no label, −2 without a usable place.
    boxes
        Left, top, right and bottom of the part that is packed, as shares of width and height;
        None where photos are packed whole.
    boxes_of_stored
        Whether each box is of the pixels as stored; else it is of the upright photo.
    credits
        Columns of `CREDITS` that the table has.
    """

    kind: Literal["grid", "labels"]
    paths: list[str]
    ids: list[str]
    uploaders: list[str]
    urls: list[str]
    lat: Floats
    lng: Floats
    classes: NDArray[np.int64]
    boxes: list[Box] | None
    boxes_of_stored: list[bool]
    credits: dict[str, list[str]]

    def __len__(self) -> int:
        return len(self.paths)

    def no_class(self, row: int) -> str | None:
        """Return why a row has no class; None where it has one."""
        if self.classes[row] >= 0:
            return None
        if self.kind == "labels":
            return NO_LABEL
        return NO_CELL if self.classes[row] == _NOT_IN_CLASS else BAD_COORDINATE


@dataclass(frozen=True, eq=False)
class PhotoTable:
    """A whole table of photos; its rows become lists only as they are asked for.

    Parameters
    ----------
    kind
        What the classes are.
    table
        The columns that `Rows` has, under their names in the file.
    names
        The columns that are used, as far as there are any: of path, id, uploader, url and hash, and
        of lat, lng and label, which `table` does without.
    lat, lng, classes
        See `Rows`.
    boxes
        float64 ``(n, 4)``, see `Rows`; None where photos are packed whole.
    boxes_of_stored
        bool ``(n,)``, see `Rows`.
    remote
        Whether paths are those in the bucket, not those of files.
    """

    kind: Literal["grid", "labels"]
    table: pa.Table
    names: dict[str, str]
    lat: Floats
    lng: Floats
    classes: NDArray[np.int64]
    boxes: Floats | None
    boxes_of_stored: NDArray[np.bool_]
    remote: bool

    def __len__(self) -> int:
        return int(self.table.num_rows)

    @property
    def credited(self) -> bool:
        """Whether it says whose the photos are."""
        return any(name in self.table.column_names for name in CREDITS)

    def __getitem__(self, part: slice) -> Rows:
        start, stop, _ = part.indices(len(self))
        table = self.table.slice(start, stop - start)

        def column(what: str) -> list[str]:
            return texts(table, self.names.get(what))

        urls = column("url")
        if self.remote:
            paths = [photo_path(*pair) for pair in zip(column("hash"), urls, strict=True)]
        else:
            paths = column("path")
        sides = None if self.boxes is None else self.boxes[part].tolist()
        return Rows(
            kind=self.kind,
            paths=paths,
            ids=column("id") if "id" in self.names else paths,
            uploaders=column("uploader"),
            urls=urls,
            lat=self.lat[part],
            lng=self.lng[part],
            classes=self.classes[part],
            boxes=None if sides is None else [(a, b, c, d) for a, b, c, d in sides],
            boxes_of_stored=self.boxes_of_stored[part].tolist(),
            credits={name: texts(table, name) for name in CREDITS if name in table.column_names},
        )


def read_rows(
    file: Path, classes: ClassSet, columns: Columns, *, remote: bool = False
) -> PhotoTable:
    """Read a table of photos.

    Parameters
    ----------
    file
        CSV or Parquet.
    classes
        Decide the class of each row, by its place or by its label.
    columns
        Where the table has other names.
    remote
        Take the paths that photos have in the bucket, not those of files.

    Raises
    ------
    InputError
        A column is missing or holds something else.
    """
    table = read_table(file)
    names = table.column_names

    def find(wanted: str | None, usual: tuple[str, ...]) -> str | None:
        return find_column(file, names, wanted, usual)

    def need(wanted: str | None, usual: tuple[str, ...], what: str) -> str:
        found = find(wanted, usual)
        if found is None:
            shown = ", ".join(map(repr, names))
            raise InputError(f"{file}: no column of {what} among {shown}")
        return found

    def degrees(found: str | None) -> Floats:
        if found is None:
            return np.full(table.num_rows, np.nan)
        return numbers(table[found], f"{file}: column {found!r}")

    there = {
        "id": find(None, ("id", "photo_id")),
        "uploader": find(columns.group, UPLOADER_NAMES),
        "url": find(None, URL_NAMES),
        "hash": find(None, HASH_NAMES),
        "path": None if remote else need(None, PHOTO_NAMES, "paths"),
    }
    if remote and there["url"] is None:
        there["hash"] = need(None, HASH_NAMES, "hashes or URLs")
    if isinstance(classes, LabelSet):
        there["lat"] = find(columns.lat, LAT_NAMES)
        there["lng"] = find(columns.lng, LNG_NAMES)
        there["label"] = need(columns.label, ("label",), "labels")
    else:
        there["lat"] = need(columns.lat, LAT_NAMES, "latitudes")
        there["lng"] = need(columns.lng, LNG_NAMES, "longitudes")
    known = {what: name for what, name in there.items() if name is not None}
    lat, lng = degrees(there["lat"]), degrees(there["lng"])
    if isinstance(classes, LabelSet):
        of_rows = classes.assign(_labels(file, table, known["label"]))
    else:
        valid = valid_coordinates(lat, lng)
        of_rows = np.full(table.num_rows, _NO_PLACE, np.int64)
        of_rows[valid] = classes.assign(lat[valid], lng[valid])
    boxes = _boxes(file, table)
    kept = [name for name in names if name in {*map(there.get, _TEXTS), *CREDITS}]
    return PhotoTable(
        kind="labels" if isinstance(classes, LabelSet) else "grid",
        table=in_text(file, table.select(kept)),
        names=known,
        lat=lat,
        lng=lng,
        classes=of_rows,
        boxes=boxes,
        boxes_of_stored=_boxes_of_stored(file, table),
        remote=remote,
    )


def labels_of(file: Path, column: str) -> LabelSet:
    """Return the different labels of a table, sorted.

    Raises
    ------
    InputError
        There is no such column, or too few labels.
    """
    table = read_table(file)
    find_column(file, table.column_names, column, ())
    labels = _labels(file, table, column)
    try:
        return LabelSet.of(labels)
    except InputError as error:
        raise InputError(f"{file}: column {column!r}: {error}") from error


def _labels(file: Path, table: pa.Table, column: str) -> list[str]:
    return texts(in_text(file, table.select([column])), column)


def _boxes(file: Path, table: pa.Table) -> Floats | None:
    if not all(name in table.column_names for name in BOX_NAMES):
        return None
    sides = np.stack(
        [numbers(table[name], f"{file}: column {name!r}") for name in BOX_NAMES], axis=1
    )
    left, top, right, bottom = sides.T
    good = (left >= 0) & (top >= 0) & (right <= 1) & (bottom <= 1) & (left < right) & (top < bottom)
    if not good.all():
        row = int(np.flatnonzero(~good)[0])
        raise InputError(f"{file}: row {row + 1}: {', '.join(BOX_NAMES)} are no box within 0 to 1")
    return sides


def _boxes_of_stored(file: Path, table: pa.Table) -> NDArray[np.bool_]:
    if BOX_PIXELS not in table.column_names:
        return np.zeros(table.num_rows, bool)
    named = [text.strip() for text in texts(in_text(file, table.select([BOX_PIXELS])), BOX_PIXELS)]
    for row, text in enumerate(named, 1):
        if text not in ("", STORED, UPRIGHT):
            raise InputError(
                f"{file}: row {row}: {BOX_PIXELS} is {STORED} or {UPRIGHT}, not {text!r}"
            )
    return np.array([text == STORED for text in named], bool)
