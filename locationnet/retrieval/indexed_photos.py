"""What is to be indexed: a table of photos, or a pack, as rows of an index and a way to the pixels.

Knows columns and packs. The place that a photo carries in itself is never read: who indexes a
folder says where its photos were taken.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from locationnet.errors import InputError
from locationnet.images import Photo
from locationnet.pack.format import ATTRIBUTION, PHOTOS, SUMMARY, Pack, PackedJpegs
from locationnet.tables.columns import find_column, need_column
from locationnet.tables.coordinates import faults
from locationnet.tables.read import as_floats, names_column, read_table, texts
from locationnet.tables.table_file import arrow_file

if TYPE_CHECKING:
    import pyarrow as pa

# The names of an index's columns for those of tables.
_TEXTS = {
    "uploader": "uploader", "taken": "taken", "licence": "licence", "author": "attribution",
    "page": "page",
}  # fmt: skip
_UPLOADER = "uploader:"
_TABLES = {".csv", ".tsv", ".parquet"}


@dataclass(frozen=True, eq=False)
class PhotosToIndex:
    """Photos with known places.

    Parameters
    ----------
    name
        Of the table or pack, for messages.
    rows
        The columns of `locationnet.retrieval.index.FIELDS`.
    photo
        Returns the photo of a row, by its index.
    skipped
        Why rows are not among them, each with its name.
    fingerprint
        What the rows and pixels depend on.
    """

    name: str
    rows: pa.Table
    photo: Callable[[int], Photo]
    skipped: tuple[tuple[str, str], ...]
    fingerprint: str

    def chosen(self, rows: list[int]) -> PhotosToIndex:
        """Return some of the rows."""
        return PhotosToIndex(
            self.name,
            self.rows.take(np.array(rows, np.int64)),
            lambda row: self.photo(rows[row]),
            self.skipped,
            hashlib.sha256(f"{self.fingerprint}{rows}".encode()).hexdigest(),
        )


def photos_to_index(source: Path, images: Path | None = None) -> PhotosToIndex:
    """Read a table, a pack, or a folder of photos with one table in it.

    Parameters
    ----------
    source
        Its path.
    images
        Where the paths of a table start; the table's own folder by default.

    Raises
    ------
    InputError
        It is another kind of file, or no photo has a usable place; the message names it.
    """
    if (source / SUMMARY).is_file():
        if images is not None:
            raise InputError(f"{source}: a pack holds its photos itself; drop --images")
        return _usable(*_pack(source))
    if source.is_dir():
        tables = sorted(path for path in source.iterdir() if path.suffix.lower() in _TABLES)
        if len(tables) != 1:
            found = "no table" if not tables else f"{len(tables)} tables"
            raise InputError(
                f"{source}: {found} in this folder says where its photos were taken, and the"
                " places in the photos themselves are not read; give a table with path, lat and"
                f" lng, and --images {source}"
            )
        source = tables[0]
    return _usable(*_table(source, source.parent if images is None else images))


_Raw = tuple[Path, "pa.Table", Any, Any, Callable[[int], Photo], str]


def _table(path: Path, images: Path) -> _Raw:
    import pyarrow as pa

    table = read_table(path)
    names = table.column_names
    paths = texts(path, table, need_column(path, names, "path"))
    if "" in paths:
        raise InputError(f"{path}: row {paths.index('') + 1}: contains no path")
    lat, lng = (
        as_floats(
            table[need_column(path, names, field)].combine_chunks(), f"{path}: column {field!r}"
        )
        for field in ("lat", "lng")
    )
    ids = names_column(path, table, find_column(path, names, "id"))
    columns: dict[str, Any] = {
        "id": [own or file for own, file in zip(ids, paths, strict=True)],
        "lat": lat[0],
        "lng": lng[0],
    }
    for field, known in _TEXTS.items():
        read = names_column if field == "uploader" else texts
        columns[field] = read(path, table, find_column(path, names, known))
    files = [str(images / file) for file in paths]
    mark = hashlib.sha256("\0".join(files).encode("utf-8", "surrogateescape")).hexdigest()
    return path, pa.table(columns), lat, lng, files.__getitem__, mark


def _pack(folder: Path) -> _Raw:
    import pyarrow as pa
    from pyarrow import parquet

    pack = Pack.open(folder)
    with arrow_file(folder / PHOTOS) as file:
        photos = parquet.read_table(file, columns=["id", "uploader", "lat", "lng"])
    credited = None
    if (folder / ATTRIBUTION).is_file():
        with arrow_file(folder / ATTRIBUTION) as file:
            credited = parquet.read_table(file)
        if credited["id"] != photos["id"]:
            raise InputError(f"{folder / ATTRIBUTION}: its photos are not those of {PHOTOS}")

    def column(field: str) -> Any:
        if credited is None or field not in credited.column_names:
            return pa.array([""] * photos.num_rows)
        return credited[field].combine_chunks().fill_null("")

    lat, lng = (as_floats(photos[name].combine_chunks(), str(folder)) for name in ("lat", "lng"))
    table = pa.table(
        {
            "id": photos["id"],
            "lat": lat[0],
            "lng": lng[0],
            "uploader": photos["uploader"].combine_chunks().fill_null(""),
            "taken": pa.array([""] * photos.num_rows),
            "licence": column("licence"),
            "author": column("attribution"),
            "page": column("page"),
        }
    )
    mark = hashlib.sha256((folder / SUMMARY).read_bytes()).hexdigest()
    return folder, table, lat, lng, PackedJpegs(pack).read, mark


def _usable(
    path: Path, table: pa.Table, lat: Any, lng: Any, photo: Callable[[int], Photo], mark: str
) -> PhotosToIndex:
    """Leave out the rows without a usable place."""
    names = table["id"].to_pylist()
    valid = np.ones(len(names), bool)
    skipped: list[tuple[str, str]] = []
    for reason, bad in faults(lat, lng).items():
        valid &= ~bad
        skipped += [(names[row], reason) for row in np.flatnonzero(bad)]
    rows = np.flatnonzero(valid).tolist()
    if not rows:
        raise InputError(f"{path}: no photo with a usable coordinate ({counts_text(skipped)})")
    state = hashlib.sha256(mark.encode())
    for column in ("id", "lat", "lng", *_TEXTS):
        state.update(repr(table[column].to_pylist()).encode("utf-8", "surrogateescape"))
    whole = PhotosToIndex(str(path), table, photo, tuple(skipped), state.hexdigest())
    return whole.chosen(rows)


def counts_text(skipped: Sequence[tuple[str, str]]) -> str:
    """Return how many photos were left out for each reason, in words."""
    counts = Counter(reason for _, reason in skipped)
    return ", ".join(f"{count} {reason}" for reason, count in sorted(counts.items())) or "no photos"


def read_opt_out(path: Path) -> tuple[list[str], list[str]]:
    """Return the photos and the uploaders of a list of who has opted out.

    A line holds a photo's id, or ``uploader:`` and an uploader; empty ones say nothing.

    Raises
    ------
    InputError
        The file cannot be read, or says nothing.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not a text file in UTF-8") from error
    entries = [line.strip() for line in lines if line.strip()]
    if not entries:
        raise InputError(f"{path}: names nobody; expected a photo's id or uploader:NAME in a line")
    marked = [entry.removeprefix(_UPLOADER).strip() for entry in entries if _is_uploader(entry)]
    if "" in marked:
        raise InputError(f"{path}: {_UPLOADER} needs a name behind it")
    return [entry for entry in entries if not _is_uploader(entry)], marked


def _is_uploader(entry: str) -> bool:
    return entry.startswith(_UPLOADER)
