"""A pack: photos as RecordIO shards, with a table that says what each record is.

Knows how a finished pack is laid out and how to check it; `locationnet.pack.build` makes one.

::

    shard-00000.rec/.idx …   the photos, short side 256, label = class
    photos.parquet           a row for each record, in record order
    attribution.parquet      whose each photo is and its licence, where that is known
    skipped.csv              photos that are not in the pack, and why
    grids.txt or labels.txt  what the classes are lines of
    pack.json                the summary; written last, so that a pack that has it is whole
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from locationnet.classes import ClassSet, read_classes, sha256_key
from locationnet.errors import InputError, MissingExtraError
from locationnet.geo.grid import Grid
from locationnet.pack.recordio import read_offsets, read_record
from locationnet.tables.table_file import arrow_file

SUMMARY = "pack.json"
PHOTOS = "photos.parquet"
ATTRIBUTION = "attribution.parquet"
SKIPPED = "skipped.csv"
FORMAT = 1


@dataclass(frozen=True, eq=False)
class Pack:
    """A finished pack.

    Parameters
    ----------
    path
        Its folder.
    summary
        What ``pack.json`` contains: ``records``, ``classes``, ``counts_per_class``, ``short_side``,
        ``grid_sha256`` or ``labels_sha256``, ``source_sha256``, ``skipped``
        (a count for each reason).
    """

    path: Path
    summary: dict[str, Any]

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Pack:
        """Open a pack and check that its files belong together.

        Raises
        ------
        InputError
            It is not a pack, was not finished, or a file does not fit the summary.
        """
        path = Path(path)
        file = path / SUMMARY
        if not file.is_file():
            raise InputError(f"{path}: not a finished pack (it has no {SUMMARY})")
        try:
            summary = json.loads(file.read_text(encoding="utf-8"))
            version = summary["format"]
        except (ValueError, TypeError, KeyError) as error:
            raise InputError(f"{file}: not the summary of a pack") from error
        if version != FORMAT:
            raise InputError(f"{file}: format {version} is not the {FORMAT} that is read here")
        pack = cls(path, summary)
        pack.check_classes(pack.class_set)
        if len(pack.classes_of_records) != pack.records:
            raise InputError(
                f"{path / PHOTOS}: {len(pack.classes_of_records)} rows for {pack.records} records"
            )
        return pack

    @property
    def records(self) -> int:
        """How many photos there are."""
        return int(self.summary["records"])

    @property
    def classes(self) -> int:
        """How many classes there are."""
        return int(self.summary["classes"])

    @cached_property
    def counts(self) -> NDArray[np.int64]:
        """Photos of each class, int64 ``(classes,)``."""
        return np.asarray(self.summary["counts_per_class"], np.int64)

    @cached_property
    def class_set(self) -> ClassSet:
        """What the classes are."""
        return read_classes(self.path)

    @property
    def grid(self) -> Grid:
        """The cells that the classes are.

        Raises
        ------
        InputError
            They are labels.
        """
        if not isinstance(self.class_set, Grid):
            raise InputError(f"{self.path}: its classes are labels, not places")
        return self.class_set

    @property
    def shards(self) -> list[Path]:
        """The ``.rec`` files, in order."""
        return [self.path / f"{shard_name(shard)}.rec" for shard in range(self.summary["shards"])]

    @property
    def classes_of_records(self) -> NDArray[np.int32]:
        """Class of each record, int32 ``(records,)``."""
        return np.asarray(self._columns["class"], np.int32)

    @property
    def lat(self) -> NDArray[np.float64]:
        """Latitude of each record, degrees, float64 ``(records,)``."""
        return np.asarray(self._columns["lat"], np.float64)

    @property
    def lng(self) -> NDArray[np.float64]:
        """Longitude of each record, degrees, float64 ``(records,)``."""
        return np.asarray(self._columns["lng"], np.float64)

    def check_classes(self, classes: ClassSet) -> None:
        """Make sure that the pack's classes are these.

        Raises
        ------
        InputError
            It was made with others.
        """
        what = "grid" if isinstance(classes, Grid) else "set of labels"
        mine = self.summary.get(sha256_key(classes))
        if mine is None:
            raise InputError(f"{self.path}: its classes are not a {what}")
        if classes.sha256 != mine or len(classes) != self.classes:
            raise InputError(
                f"{self.path}: made with another {what} ({mine[:12]}…, not"
                f" {classes.sha256[:12]}…); pack the photos again"
            )

    @cached_property
    def _columns(self) -> dict[str, NDArray[Any]]:
        try:
            from pyarrow import parquet
        except ImportError as error:
            raise MissingExtraError("reading packs", "data") from error
        path = self.path / PHOTOS
        try:
            with arrow_file(path) as file:
                table = parquet.read_table(file, columns=["class", "lat", "lng"])
        except (OSError, ValueError) as error:
            raise InputError(f"{path}: not the table of a pack") from error
        return {name: table[name].to_numpy() for name in table.column_names}


class PackedJpegs:
    """Reads a pack's photos by number, from many threads; holds no file open.

    A large pack has more shards than a process may have files.
    """

    def __init__(self, pack: Pack) -> None:
        from pyarrow import parquet

        with arrow_file(pack.path / PHOTOS) as file:
            table = parquet.read_table(file, columns=["shard", "record"])
        self._shards, self._numbers = (table[name].to_numpy() for name in ("shard", "record"))
        self._paths = pack.shards
        self._offsets: dict[int, NDArray[np.int64]] = {}

    def read(self, record: int) -> bytes:
        """Return a JPEG.

        Raises
        ------
        InputError
            The shard is missing, truncated or corrupt there.
        """
        shard = int(self._shards[record])
        path = self._paths[shard]
        if shard not in self._offsets:  # two threads may both read it, to the same end
            self._offsets[shard] = read_offsets(path)
        return read_record(path, int(self._offsets[shard][self._numbers[record]]))[1]


def shard_name(shard: int) -> str:
    """Return the name of a shard's files without their suffixes."""
    return f"shard-{shard:05d}"
