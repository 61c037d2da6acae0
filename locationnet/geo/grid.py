"""The grid: the ordered cells of ``grids.txt``, where class *i* is line *i*.

Knows how to read, check, write and search them; not how they were chosen nor what they predict.
"""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from locationnet.errors import GridError
from locationnet.files import write_text
from locationnet.geo import s2, sphere

# Labelling starts from a table over all cells of this level.
_BUCKET_LEVEL = 8
_BUCKET_SHIFT = np.uint64(2 * (s2.MAX_LEVEL - _BUCKET_LEVEL) + 1)
_CHUNK = 16_384
# Python's float() also reads "1_000", "nan", blanks around a number and the digits of any script.
_TOKEN = re.compile(r"[0-9a-f]{0,15}[1-9a-f]")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")


class _Search(NamedTuple):
    """Cells in curve order behind one that no leaf is in, so that "before all of them" is index 0.

    `first` is padded with entries that no leaf reaches: a stride may overshoot.
    """

    classes: NDArray[np.int64]
    first: s2.Ids
    last: s2.Ids
    buckets: NDArray[np.int64]
    strides: list[int]


@dataclass(frozen=True, eq=False, repr=False)
class Grid:
    """Disjoint S2 cells with a centroid each.

    Parameters
    ----------
    ids
        uint64 ``(classes,)``.
    lat, lng
        float64 ``(classes,)``: the centroids, degrees.
    """

    ids: s2.Ids
    lat: s2.FloatArray
    lng: s2.FloatArray

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Grid:
        """Read ``token TAB lat TAB lng`` lines and check every rule of the format.

        Raises
        ------
        GridError
            Names the file and the line that breaks a rule: three columns; a canonical token, read
            as text; a centroid inside its cell; no cell twice or inside another.
        """
        path = Path(path)
        try:
            text = path.read_text(encoding="utf-8")
        except OSError as error:
            raise GridError(f"{path}: cannot be read ({error.strerror})") from error
        except UnicodeDecodeError as error:
            raise GridError(f"{path}: not a text file in UTF-8") from error
        return cls._parse(text, path)

    @classmethod
    def _parse(cls, text: str, path: Path) -> Grid:
        lines = text.removesuffix("\n").split("\n") if text else []
        rows = [_parse_line(f"{path}:{number}", line) for number, line in enumerate(lines, 1)]
        if not rows:
            raise GridError(f"{path}: contains no cells")
        ids, lat, lng = zip(*rows, strict=True)
        grid = cls(np.array(ids, np.uint64), np.array(lat), np.array(lng))
        grid._check(path)
        return grid

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write the grid, numbers as ``%.12g``, whole or not at all.

        Raises
        ------
        GridError
            The grid breaks a rule of the format, so that it could not be read back.
        LocationNetError
            The file cannot be written.
        """
        path = Path(path)
        # What counts is the text: rounding may carry a centroid out of a cell one centimetre wide.
        self._parse(self._text, path)
        write_text(path, self._text)

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        levels = f", S2 levels {self.levels.min()} to {self.levels.max()}" if len(self) else ""
        return f"Grid({len(self):,} cells{levels})"

    @cached_property
    def tokens(self) -> list[str]:
        """S2 tokens, in class order."""
        return s2.tokens(self.ids)

    @cached_property
    def levels(self) -> NDArray[np.int64]:
        """S2 levels, int64 ``(classes,)``."""
        return s2.levels(self.ids)

    @cached_property
    def sha256(self) -> str:
        """The checksum of the file that `write` makes of this grid."""
        return hashlib.sha256(self._text.encode()).hexdigest()

    def nearest(self, lat: ArrayLike, lng: ArrayLike) -> NDArray[np.int64]:
        """Return the class of each point, or of the nearest centroid where it is in no cell."""
        lat, lng = np.asarray(lat, np.float64), np.asarray(lng, np.float64)
        classes = self.assign(lat, lng)
        outside = np.flatnonzero(classes < 0)
        if not len(outside):
            return classes
        centroids = sphere.unit_vectors(self.lat, self.lng)
        for start in range(0, len(outside), 1024):
            some = outside[start : start + 1024]
            classes[some] = (sphere.unit_vectors(lat[some], lng[some]) @ centroids.T).argmax(axis=1)
        return classes

    def assign(self, lat: ArrayLike, lng: ArrayLike) -> NDArray[np.int64]:
        """Return the class of each point, or −1 for a point in no cell.

        Parameters
        ----------
        lat, lng
            float64 ``(n,)``, degrees.

        Raises
        ------
        InputError
            A coordinate is NaN, infinite or out of range.
        """
        return self.assign_leaves(s2.leaf_ids(lat, lng))

    def assign_leaves(self, leaves: s2.Ids) -> NDArray[np.int64]:
        """Return the class of each leaf cell, or −1; see `assign`."""
        classes = np.empty(leaves.shape, np.int64)
        for start in range(0, len(leaves), _CHUNK):
            chunk = slice(start, start + _CHUNK)
            classes[chunk] = self._classes_of(leaves[chunk])
        return classes

    def _classes_of(self, leaves: s2.Ids) -> NDArray[np.int64]:
        search = self._search
        index = search.buckets.take((leaves >> _BUCKET_SHIFT).view(np.int64))
        # A binary search without branches, from the last cell that starts at or before the bucket.
        for stride in search.strides:
            index += (search.first.take(index + stride) <= leaves) * stride
        return np.where(leaves <= search.last.take(index), search.classes.take(index), -1)

    @cached_property
    def curve_order(self) -> NDArray[np.int64]:
        """The classes in the order of their cells along the S2 curve, int64 ``(classes,)``."""
        return np.argsort(self.ids, kind="stable")

    @cached_property
    def _search(self) -> _Search:
        order = self.curve_order
        first, last = s2.range_min(self.ids[order]), s2.range_max(self.ids[order])
        starts = np.arange(s2.FACES * 4**_BUCKET_LEVEL + 1, dtype=np.uint64) << _BUCKET_SHIFT
        buckets = np.searchsorted(first, starts, side="right").astype(np.int64)
        strides = [1 << bit for bit in reversed(range(int(np.diff(buckets).max()).bit_length()))]
        nothing, unreached = np.zeros(1, np.uint64), np.full(sum(strides), ~np.uint64(0))
        return _Search(
            np.concatenate([[-1], order]),
            np.concatenate([nothing, first, unreached]),
            np.concatenate([nothing, last]),
            buckets,
            strides,
        )

    @cached_property
    def _text(self) -> str:
        rows = zip(self.tokens, self.lat.tolist(), self.lng.tolist(), strict=True)
        return "".join(f"{token}\t{lat:.12g}\t{lng:.12g}\n" for token, lat, lng in rows)

    def _check(self, path: Path) -> None:
        for row in np.flatnonzero(~s2.is_valid(self.ids)):
            raise GridError(
                f"{path}:{row + 1}: {self.tokens[row]!r} is not the token of any S2 cell"
            )
        for row in np.flatnonzero(~s2.valid_coordinates(self.lat, self.lng)):
            raise GridError(
                f"{path}:{row + 1}: ({self.lat[row]}, {self.lng[row]}) is not a latitude and a"
                " longitude in degrees"
            )
        leaves = s2.leaf_ids(self.lat, self.lng)
        first, last = s2.range_min(self.ids), s2.range_max(self.ids)
        outside = np.flatnonzero((leaves < first) | (leaves > last))
        if len(outside):
            row = int(outside[0])
            raise GridError(
                f"{path}:{row + 1}: the centroid ({self.lat[row]:.12g}, {self.lng[row]:.12g}) lies"
                f" outside its cell {self.tokens[row]}"
            )
        # By start, the larger first: then a cell that overlaps any earlier one lies inside it.
        order = np.lexsort((np.arange(len(first)), self.levels, first))
        reach = np.maximum.accumulate(last[order])
        inside = np.flatnonzero(first[order][1:] <= reach[:-1])
        if len(inside):
            index = int(inside[0])
            holder = int(np.searchsorted(reach, first[order][index + 1]))
            outer, inner = int(order[holder]), int(order[index + 1])
            line, other = max(outer, inner) + 1, min(outer, inner) + 1
            if self.ids[outer] == self.ids[inner]:
                raise GridError(
                    f"{path}:{line}: the cell {self.tokens[inner]} stands in line {other} already"
                )
            raise GridError(
                f"{path}:{line}: the cells {self.tokens[inner]} and {self.tokens[outer]}"
                f" (line {other}) overlap"
            )


def _parse_line(where: str, line: str) -> tuple[int, float, float]:
    """Return what a line says; whether that makes sense is checked for all lines at once."""
    columns = line.split("\t")
    if len(columns) != 3:
        raise GridError(f"{where}: expected token, lat, lng separated by tabs, not {line[:80]!r}")
    token, lat, lng = columns
    try:
        is_canonical = _TOKEN.fullmatch(token) is not None
        cell = int(token.ljust(16, "0"), 16) if is_canonical else s2.id_from_token(token)
    except ValueError as error:
        raise GridError(f"{where}: {error}") from error
    if not (_NUMBER.fullmatch(lat) and _NUMBER.fullmatch(lng)):
        raise GridError(f"{where}: {lat!r}, {lng!r} are not two numbers")
    return cell, float(lat), float(lng)
