"""The rows of a table of photos as packing needs them: where each photo is, and its class.

Knows columns, grids and labels; nothing of pixels or shards.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from locationnet.classes import ClassSet, LabelSet
from locationnet.commons import photo_path
from locationnet.errors import InputError
from locationnet.geo.s2 import valid_coordinates
from locationnet.tables.columns import find_column, missing_columns, need_column, require_column
from locationnet.tables.coordinates import NULL_ISLAND, null_island
from locationnet.tables.read import names_column, number_column, read_table, texts

if TYPE_CHECKING:
    import pyarrow as pa

NO_CELL = "in no cell of the grid"
BAD_COORDINATE = "no usable coordinate"
NO_LABEL = "its label is not one of the classes"

# Columns that say whose a photo is and what may be done with it; kept beside the pack.
CREDITS = ("licence", "attribution", "url", "page")
BOX_NAMES = ("x_min", "y_min", "x_max", "y_max")
# Which pixels a box is a share of: the photo's as stored, or those of the upright photo.
BOX_PIXELS = "box_pixels"
STORED, UPRIGHT = "stored", "upright"

_NOT_IN_CLASS, _BAD_COORDINATE, _AT_ZERO = -1, -2, -3
_NAMES = ("id", "uploader", "url", "hash")
COLUMNS = (*_NAMES, "path", "lat", "lng", "label")

Box = tuple[float, float, float, float]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Columns:
    """Names of columns; None finds the usual ones."""

    lat: str | None = None
    lng: str | None = None
    uploader: str | None = None
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
        int64 ``(n,)``; −1 for a photo in no cell or with no label, −2 without a usable coordinate,
        −3 for one at 0, 0, which is where photos without coordinates are put.
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
        return {_NOT_IN_CLASS: NO_CELL, _AT_ZERO: NULL_ISLAND}.get(
            int(self.classes[row]), BAD_COORDINATE
        )


@dataclass(frozen=True, eq=False)
class PhotoTable:
    """A whole table of photos; its rows become lists only as they are asked for.

    Parameters
    ----------
    kind
        What the classes are.
    table
        Texts: the columns of `COLUMNS` and `CREDITS` that there are, under these names, but for
        lat, lng and label.
    names
        The columns' names in the file.
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

        def column(field: str) -> list[str]:
            there = field in table.column_names
            return table[field].to_pylist() if there else [""] * table.num_rows

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
            credits={name: column(name) for name in CREDITS if name in table.column_names},
        )


def read_rows(
    file: Path, classes: ClassSet, columns: Columns, *, remote: bool = False
) -> PhotoTable:
    """Read a table of photos.

    Parameters
    ----------
    file
        The table.
    classes
        Decide the class of each row, by its coordinates or by its label.
    columns
        Where the table has other names.
    remote
        Take the paths that photos have in the bucket, not those of files.

    Raises
    ------
    InputError
        A column is missing or contains something else.
    """
    import pyarrow as pa

    table = read_table(file)
    labelled = isinstance(classes, LabelSet)
    names = _find_columns(file, table.column_names, columns, labelled=labelled, remote=remote)
    lat, lng = (
        number_column(file, table, names[field])
        if field in names
        else np.full(table.num_rows, np.nan)
        for field in ("lat", "lng")
    )
    if isinstance(classes, LabelSet):
        of_rows = classes.assign(texts(file, table, names["label"]))
    else:
        at_zero = null_island(lat, lng)
        valid = valid_coordinates(lat, lng) & ~at_zero
        of_rows = np.where(at_zero, _AT_ZERO, _BAD_COORDINATE)
        of_rows[valid] = classes.assign(lat[valid], lng[valid])
    kept = {field: names_column(file, table, names[field]) for field in _NAMES if field in names}
    kept |= {
        field: texts(file, table, names[field]) for field in ("path", *CREDITS)
        if field in names and field not in kept
    }  # fmt: skip
    return PhotoTable(
        kind="labels" if labelled else "grid",
        table=pa.table({field: pa.array(column, pa.string()) for field, column in kept.items()}),
        names={field: name for field, name in names.items() if field in COLUMNS},
        lat=lat,
        lng=lng,
        classes=of_rows,
        boxes=_boxes(file, table),
        boxes_of_stored=_boxes_of_stored(file, table),
        remote=remote,
    )


def _find_columns(
    file: Path, names: list[str], columns: Columns, *, labelled: bool, remote: bool
) -> dict[str, str]:
    """Return the columns of the fields that there are.

    Raises
    ------
    InputError
        One that is needed is not there.
    """
    own = {"uploader": columns.uploader, "lat": columns.lat, "lng": columns.lng}
    optional = {*_NAMES, "lat", "lng", *CREDITS}
    found = {field: find_column(file, names, field, own.get(field)) for field in optional}
    if not remote:
        found["path"] = need_column(file, names, "path")
    elif found["url"] is None and found["hash"] is None:
        raise missing_columns(file, names, "hash", "url")
    if labelled:
        found["label"] = need_column(file, names, "label", columns.label)
    else:
        for field in ("lat", "lng"):
            option = f"--{field}-column"
            found[field] = need_column(file, names, field, own[field], option)
    return {field: name for field, name in found.items() if name is not None}


def labels_of(file: Path, column: str) -> LabelSet:
    """Return the different labels of a table, sorted.

    Raises
    ------
    InputError
        There is no such column, or too few labels.
    """
    table = read_table(file)
    labels = texts(file, table, require_column(file, table.column_names, column))
    try:
        return LabelSet.of(labels)
    except InputError as error:
        raise InputError(f"{file}: column {column!r}: {error}") from error


def _boxes(file: Path, table: pa.Table) -> Floats | None:
    names = [find_column(file, table.column_names, side) for side in BOX_NAMES]
    there = [name for name in names if name is not None]
    if len(there) < len(BOX_NAMES):
        return None
    sides = np.stack([number_column(file, table, name) for name in there], axis=1)
    left, top, right, bottom = sides.T
    good = (left >= 0) & (top >= 0) & (right <= 1) & (bottom <= 1) & (left < right) & (top < bottom)
    if not good.all():
        row = int(np.flatnonzero(~good)[0])
        raise InputError(
            f"{file}: row {row + 1}: {', '.join(BOX_NAMES)} are not a valid box within 0 to 1"
        )
    return sides


def _boxes_of_stored(file: Path, table: pa.Table) -> NDArray[np.bool_]:
    named = names_column(file, table, find_column(file, table.column_names, BOX_PIXELS))
    for row, name in enumerate(named, 1):
        if name not in ("", STORED, UPRIGHT):
            raise InputError(
                f"{file}: row {row}: {BOX_PIXELS} is {STORED} or {UPRIGHT}, not {name!r}"
            )
    return np.array([name == STORED for name in named], bool)
