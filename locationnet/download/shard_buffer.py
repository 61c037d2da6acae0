"""Photos of an unfinished shard, kept in the order in which they happen to come.

Knows rows; nothing of where photos come from or of shards' files. A kill loses none that was noted.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from locationnet.database import Database
from locationnet.download.checks import PLACEHOLDER_COPIES
from locationnet.download.failures import DUPLICATE, PLACEHOLDER
from locationnet.pack.shards import Packed

_TABLE = """
CREATE TABLE IF NOT EXISTS photos (
    row INTEGER PRIMARY KEY, reason TEXT, fingerprint BLOB, phash TEXT, jpeg BLOB
)
"""


class ShardBuffer:
    """One shard's photos; used by one thread.

    Parameters
    ----------
    path
        The database, which is made where there is none.
    wait_s
        Seconds to wait for another process to let go of it.

    Raises
    ------
    LocationNetError
        Another process does not let go, or it cannot be written.
    """

    def __init__(self, path: Path, wait_s: float = 60.0) -> None:
        self._path = path
        self._base = Database(path, wait_s)
        self._base.execute(_TABLE)

    def rows(self) -> set[int]:
        """Return the rows that are done: their photo is here, or not to be had."""
        return {row[0] for row in self._base.execute("SELECT row FROM photos")}

    def keep(self, row: int, fingerprint: bytes, photo: Packed) -> None:
        """Keep a row's photo; `fingerprint` is that of the original."""
        self._put(row, None, fingerprint, str(photo.phash), photo.jpeg)

    def reject(self, row: int, reason: str) -> None:
        """Note why a row has no photo."""
        self._put(row, reason, None, None, None)

    def in_order(self, paths: Sequence[str]) -> Iterator[Packed | str]:
        """Yield each row's photo, or why there is none.

        The same bytes for `PLACEHOLDER_COPIES` photos or more are a placeholder; for fewer, all but
        the first are duplicates. Rows with one path have one photo, not a duplicate of itself.
        """
        photos: defaultdict[bytes, set[str]] = defaultdict(set)
        first: dict[bytes, str] = {}
        for row, fingerprint in self._base.execute(
            "SELECT row, fingerprint FROM photos WHERE reason IS NULL ORDER BY row"
        ):
            photos[fingerprint].add(paths[row])
            first.setdefault(fingerprint, paths[row])
        rows = self._base.execute(
            "SELECT row, reason, fingerprint, phash, jpeg FROM photos ORDER BY row"
        )
        for row, reason, fingerprint, phash, jpeg in rows:
            if reason is not None:
                yield reason
            elif len(photos[fingerprint]) >= PLACEHOLDER_COPIES:
                yield PLACEHOLDER
            elif first[fingerprint] != paths[row]:
                yield DUPLICATE
            else:
                yield Packed(jpeg, int(phash))

    def close(self) -> None:
        """Keep it for another time."""
        self._base.close()

    def remove(self) -> None:
        """Forget everything."""
        self._base.close()
        discard(self._path)

    def _put(self, *values: object) -> None:
        self._base.execute("INSERT OR REPLACE INTO photos VALUES (?, ?, ?, ?, ?)", values)


def discard(path: Path) -> None:
    """Remove a buffer that nobody uses."""
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
