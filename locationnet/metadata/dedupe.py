"""What can only be decided with all rows at hand: duplicates, the list of hashes, the cap.

Knows keys and positions; not what a row holds. Records are spread over files by key, each file is
decided in memory, and the decisions are spread again by position, so that memory is bounded by
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

DUPLICATE = "the same photo again"
OVER_CAP = "over the cap of its uploader's photos in a cell"

# Rows in one file of records: a few tens of megabytes with all that sorting them needs.
_BUCKET_ROWS = 1 << 18
_MOST_BUCKETS = 1024
_HASH_BYTES = 32
# Decisions of so many row groups share a file.
_SHARED_BITS = 3

# A position is the number of a row group, counted through all parts, then that of a row in it.
KEYED = np.dtype([("key", "u8"), ("uploader_cell", "u8"), ("content", "u8"), ("position", "u8")])
LISTED = np.dtype([("key", "u8"), ("hash", f"S{_HASH_BYTES}")])
_CAPPED = np.dtype([("uploader_cell", "u8"), ("priority", "u8"), ("position", "u8")])
_DECISION = np.dtype([("position", "u8"), ("reason", "u1"), ("hash", f"S{_HASH_BYTES}")])
# A decision's reason is an index here, from 1; 0 gives the row a hash.
_REASONS = (DUPLICATE, OPTED_OUT, OVER_CAP)

Records = NDArray[Any]


@dataclass(frozen=True)
class Decision:
    """What was decided about the rows of one row group.

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


class _Buckets:
    """Files of fixed-size records in a folder of their own, spread by a number.

    Parameters
    ----------
    folder
        Created; must not exist.
    dtype
        Of a record.
    """

    def __init__(self, folder: Path, dtype: np.dtype[Any]) -> None:
        folder.mkdir(parents=True)
        self._folder = folder
        self._dtype = dtype

    def add(self, records: NDArray[Any], buckets: NDArray[np.int64]) -> None:
        """Append records, each to its bucket."""
        if not len(records):
            return
        order = np.argsort(buckets, kind="stable")
        numbers, starts = np.unique(buckets[order], return_index=True)
        parts = np.split(records[order], starts[1:])
        for number, part in zip(numbers.tolist(), parts, strict=True):
            with self._file(number).open("ab") as file:
                file.write(part.tobytes())

    def load(self, bucket: int) -> NDArray[Any]:
        """Return a bucket's records in the order in which they came."""
        file = self._file(bucket)
        if not file.is_file():
            return np.empty(0, self._dtype)
        return np.fromfile(file, self._dtype)

    def _file(self, bucket: int) -> Path:
        return self._folder / f"{bucket:05d}"


class Deduplicator:
    """Decides about rows, and then returns for each row group what was decided.

    Parameters
    ----------
    folder
        For the records; must not exist.
    rows
        How many rows there are, and how many hashes are listed, about: the greater.
    """

    def __init__(self, folder: Path, rows: int) -> None:
        self._count = int(np.clip(-(-rows // _BUCKET_ROWS), 1, _MOST_BUCKETS))
        self._keyed = _Buckets(folder / "keys", KEYED)
        self._listed = _Buckets(folder / "hashes", LISTED)
        self._capped = _Buckets(folder / "uploaders", _CAPPED)
        self._decisions = _Buckets(folder / "decisions", _DECISION)
        self._loaded: tuple[int, Records] = (-1, np.empty(0, _DECISION))
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
                capped["uploader_cell"] = rows["uploader_cell"]
                capped["position"] = rows["position"]
                capped["priority"] = mixed(rows["key"])
                self._capped.add(capped, self._bucket(capped["uploader_cell"]))
            advance()
        if per_cell is not None:
            for bucket in range(self._count):
                self._cap(self._capped.load(bucket), per_cell)
                advance()

    def steps(self, per_cell: int | None) -> int:
        """Return how often `decide` calls `advance`."""
        return self._count * (1 if per_cell is None else 2)

    def decision(self, group: int, rows: int) -> Decision:
        """Return what was decided about a row group; cheapest when asked in order."""
        bucket = group >> _SHARED_BITS
        if self._loaded[0] != bucket:
            decisions = self._decisions.load(bucket)
            self._loaded = bucket, decisions[np.argsort(decisions["position"], kind="stable")]
        decisions = self._loaded[1]
        ends = np.array([group << GROUP_BITS, (group + 1) << GROUP_BITS], np.uint64)
        first, last = np.searchsorted(decisions["position"], ends)
        decisions = decisions[first:last]
        indexes = (decisions["position"] - ends[0]).astype(np.int64)
        keep = np.ones(rows, np.bool_)
        keep[indexes[decisions["reason"] > 0]] = False
        hashed = decisions["reason"] == 0
        return Decision(keep, indexes[hashed], decisions["hash"][hashed])

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
        decisions = np.zeros(int(found.sum()), _DECISION)
        decisions["position"] = rows["position"][found]
        decisions["hash"] = listed["hash"][index[found]]
        self._record(decisions)
        out = np.zeros(len(rows), np.bool_)
        out[found] = np.isin(decisions["hash"], refused)
        self._drop(rows["position"][out], OPTED_OUT)
        return rows[~out]

    def _cap(self, rows: Records, most: int) -> None:
        if not len(rows):
            return
        rows = rows[np.lexsort((rows["priority"], rows["uploader_cell"]))]
        starts = np.flatnonzero(
            np.r_[True, rows["uploader_cell"][1:] != rows["uploader_cell"][:-1]]
        )
        sizes = np.diff(np.r_[starts, len(rows)])
        rank = np.arange(len(rows)) - np.repeat(starts, sizes)
        self._drop(rows["position"][rank >= most], OVER_CAP)

    def _drop(self, positions: NDArray[np.uint64], reason: str) -> None:
        if not len(positions):
            return
        decisions = np.zeros(len(positions), _DECISION)
        decisions["position"] = positions
        decisions["reason"] = 1 + _REASONS.index(reason)
        self.dropped[reason] += len(positions)
        self._record(decisions)

    def _record(self, decisions: Records) -> None:
        shared = decisions["position"] >> np.uint64(GROUP_BITS + _SHARED_BITS)
        self._decisions.add(decisions, shared.astype(np.int64))

    def _bucket(self, keys: NDArray[np.uint64]) -> NDArray[np.int64]:
        return (mixed(keys) % np.uint64(self._count)).astype(np.int64)


def _hash_bytes(opt_out: Iterable[str]) -> Iterator[bytes]:
    return (text.encode() for text in opt_out if text.isascii() and len(text) <= _HASH_BYTES)
