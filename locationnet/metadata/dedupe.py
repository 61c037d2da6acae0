"""What can only be decided with all rows at hand: duplicates, the list of hashes, the cap.

Knows keys and positions; not what a row holds. Records are spread over files by key, each file is
decided in memory, and the verdicts are spread again by position, so that memory is bounded by
the size of one file however many rows there are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from locationnet.metadata.keys import mixed
from locationnet.metadata.records import OPTED_OUT
from locationnet.metadata.row_groups import GROUP_BITS
from locationnet.metadata.spill import Buckets

DUPLICATE = "the same photo again"
OVER_CAP = "over the cap of its uploader's photos in a cell"

# Rows in one file of records: a few tens of megabytes with all that sorting them needs.
_BUCKET_ROWS = 1 << 18
_MOST_BUCKETS = 1024
_HASH_BYTES = 32
# Verdicts of so many row groups share a file.
_SHARED_BITS = 3

# A position is the number of a row group, counted through all parts, then that of a row in it.
KEYED = np.dtype([("key", "u8"), ("group", "u8"), ("content", "u8"), ("position", "u8")])
LISTED = np.dtype([("key", "u8"), ("hash", f"S{_HASH_BYTES}")])
_CAPPED = np.dtype([("group", "u8"), ("priority", "u8"), ("position", "u8")])
_VERDICT = np.dtype([("position", "u8"), ("reason", "u1"), ("hash", f"S{_HASH_BYTES}")])
# A verdict's reason is an index here, from 1; 0 gives the row a hash.
_REASONS = (DUPLICATE, OPTED_OUT, OVER_CAP)

Records = NDArray[Any]


@dataclass(frozen=True)
class Fate:
    """What becomes of the rows of one row group.

    Parameters
    ----------
    keep
        bool ``(n,)``.
    hashed
        int64: the rows that get a hash from the list.
    hashes
        Their hashes, bytes.
    """

    keep: NDArray[np.bool_]
    hashed: NDArray[np.int64]
    hashes: NDArray[np.bytes_]


class Settlement:
    """Decides, and then tells for each row group what was decided.

    Parameters
    ----------
    folder
        For the records; must not exist.
    rows
        How many rows there are, and how many hashes are listed, about: the greater.
    """

    def __init__(self, folder: Path, rows: int) -> None:
        self._count = int(np.clip(-(-rows // _BUCKET_ROWS), 1, _MOST_BUCKETS))
        self._keyed = Buckets(folder / "keys", KEYED)
        self._listed = Buckets(folder / "hashes", LISTED)
        self._capped = Buckets(folder / "groups", _CAPPED)
        self._verdicts = Buckets(folder / "verdicts", _VERDICT)
        self._loaded: tuple[int, Records] = (-1, np.empty(0, _VERDICT))
        self.dropped: Counter[str] = Counter()

    def add_rows(self, records: Records) -> None:
        """Take in rows, of dtype `KEYED`."""
        self._keyed.add(records, self._bucket(records["key"]))

    def add_hashes(self, records: Records) -> None:
        """Take in hashes by photo, of dtype `LISTED`."""
        self._listed.add(records, self._bucket(records["key"]))

    def decide(
        self, opt_out: Iterable[str], per_cell: int | None, advance: Callable[[], object]
    ) -> None:
        """Decide about all rows; `advance` is called once for each of `steps`."""
        refused = np.array(sorted(_hash_bytes(opt_out)), f"S{_HASH_BYTES}")
        for bucket in range(self._count):
            rows = self._once(self._keyed.load(bucket))
            rows = self._hashed(rows, self._listed.load(bucket), refused)
            if per_cell is not None:
                capped = np.empty(len(rows), _CAPPED)
                capped["group"], capped["position"] = rows["group"], rows["position"]
                capped["priority"] = mixed(rows["key"])
                self._capped.add(capped, self._bucket(capped["group"]))
            advance()
        if per_cell is not None:
            for bucket in range(self._count):
                self._cap(self._capped.load(bucket), per_cell)
                advance()

    def steps(self, per_cell: int | None) -> int:
        """Return how often `decide` calls `advance`."""
        return self._count * (1 if per_cell is None else 2)

    def fate(self, group: int, rows: int) -> Fate:
        """Tell what becomes of a row group; cheapest when asked in order."""
        bucket = group >> _SHARED_BITS
        if self._loaded[0] != bucket:
            verdicts = self._verdicts.load(bucket)
            self._loaded = bucket, verdicts[np.argsort(verdicts["position"], kind="stable")]
        verdicts = self._loaded[1]
        ends = np.array([group << GROUP_BITS, (group + 1) << GROUP_BITS], np.uint64)
        first, last = np.searchsorted(verdicts["position"], ends)
        verdicts = verdicts[first:last]
        places = (verdicts["position"] - ends[0]).astype(np.int64)
        keep = np.ones(rows, np.bool_)
        keep[places[verdicts["reason"] > 0]] = False
        hashed = verdicts["reason"] == 0
        return Fate(keep, places[hashed], verdicts["hash"][hashed])

    def _once(self, rows: Records) -> Records:
        """Keep each photo once: of different rows the one with the least content."""
        order = np.lexsort((rows["position"], rows["content"], rows["key"]))
        rows = rows[order]
        again = np.zeros(len(rows), np.bool_)
        again[1:] = rows["key"][1:] == rows["key"][:-1]
        self._drop(rows["position"][again], DUPLICATE)
        return rows[~again]

    def _hashed(self, rows: Records, listed: Records, refused: NDArray[np.bytes_]) -> Records:
        """Give rows their hashes from the list, and drop those that a hash opts out."""
        if not len(listed) or not len(rows):
            return rows
        listed = listed[np.lexsort((listed["hash"], listed["key"]))]
        index = np.searchsorted(listed["key"], rows["key"]).clip(max=len(listed) - 1)
        found = listed["key"][index] == rows["key"]
        verdicts = np.zeros(int(found.sum()), _VERDICT)
        verdicts["position"] = rows["position"][found]
        verdicts["hash"] = listed["hash"][index[found]]
        self._judge(verdicts)
        out = np.zeros(len(rows), np.bool_)
        out[found] = np.isin(verdicts["hash"], refused)
        self._drop(rows["position"][out], OPTED_OUT)
        return rows[~out]

    def _cap(self, rows: Records, most: int) -> None:
        if not len(rows):
            return
        rows = rows[np.lexsort((rows["priority"], rows["group"]))]
        starts = np.flatnonzero(np.r_[True, rows["group"][1:] != rows["group"][:-1]])
        sizes = np.diff(np.r_[starts, len(rows)])
        rank = np.arange(len(rows)) - np.repeat(starts, sizes)
        self._drop(rows["position"][rank >= most], OVER_CAP)

    def _drop(self, positions: NDArray[np.uint64], reason: str) -> None:
        if not len(positions):
            return
        verdicts = np.zeros(len(positions), _VERDICT)
        verdicts["position"] = positions
        verdicts["reason"] = 1 + _REASONS.index(reason)
        self.dropped[reason] += len(positions)
        self._judge(verdicts)

    def _judge(self, verdicts: Records) -> None:
        shared = verdicts["position"] >> np.uint64(GROUP_BITS + _SHARED_BITS)
        self._verdicts.add(verdicts, shared.astype(np.int64))

    def _bucket(self, keys: NDArray[np.uint64]) -> NDArray[np.int64]:
        return (mixed(keys) % np.uint64(self._count)).astype(np.int64)


def _hash_bytes(opt_out: Iterable[str]) -> Iterator[bytes]:
    return (text.encode() for text in opt_out if text.isascii() and len(text) <= _HASH_BYTES)
