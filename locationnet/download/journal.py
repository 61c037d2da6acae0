"""What became of each photo, so that a run that was killed is resumed where it stopped.

Knows paths, reasons and fingerprints; nothing of files or servers. A kill at any moment loses no
photo that was noted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from locationnet.database import Database
from locationnet.download.checks import PLACEHOLDER_COPIES, Placeholders
from locationnet.download.failures import DUPLICATE, NEEDS_HEIC, PLACEHOLDER, RETRYABLE, TEMPORARY
from locationnet.images import can_read_heic

# A photo without a reason is there. Fingerprints of placeholders that were found out are kept.
_TABLES = (
    """
    CREATE TABLE IF NOT EXISTS photos (
        path TEXT PRIMARY KEY,
        reason TEXT,
        detail TEXT NOT NULL,
        bytes INTEGER NOT NULL,
        fingerprint BLOB,
        source TEXT NOT NULL DEFAULT ''
    ) WITHOUT ROWID
    """,
    "CREATE TABLE IF NOT EXISTS placeholders (fingerprint BLOB PRIMARY KEY) WITHOUT ROWID",
)


@dataclass(frozen=True)
class Entry:
    """What became of a photo.

    Parameters
    ----------
    reason
        Why it is not there; None where it is.
    detail
        More about that.
    size
        Bytes.
    fingerprint
        16 bytes; None where nothing came.
    source
        Who was asked; ``""`` where that is not known.
    """

    reason: str | None
    detail: str = ""
    size: int = 0
    fingerprint: bytes | None = None
    source: str = ""


class Journal:
    """The journal of one folder; use it as a context manager, from one thread.

    Parameters
    ----------
    path
        The database, which is made where there is none.

    Raises
    ------
    LocationNetError
        It cannot be opened, or another run is using it.
    """

    def __init__(self, path: Path) -> None:
        self._base = Database(path, wait_s=1.0)
        for table in _TABLES:
            self._base.execute(table)
        columns = {row[1] for row in self._base.execute("PRAGMA table_info(photos)")}
        if "source" not in columns:  # who was asked was not noted at first
            self._base.execute("ALTER TABLE photos ADD COLUMN source TEXT NOT NULL DEFAULT ''")

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self._base.close()

    def entry(self, path: str) -> Entry | None:
        """Return what became of a photo; None where it was never tried."""
        row = self._base.execute(
            "SELECT reason, detail, bytes, fingerprint, source FROM photos WHERE path = ?", (path,)
        ).fetchone()
        return None if row is None else Entry(*row)

    def is_final(self, path: str, asked: Callable[[str], str]) -> bool:
        """Return whether a photo is there, or not to be had from who would be asked.

        Parameters
        ----------
        path
            The photo's.
        asked
            Returns for a reason who would be asked now: others may have the photo.
        """
        entry = self.entry(path)
        if entry is None or entry.reason in RETRYABLE:
            return False
        if entry.reason == NEEDS_HEIC and can_read_heic():
            return False
        if entry.reason is None or entry.reason == DUPLICATE:
            return True
        return entry.source == asked(entry.reason)

    def note(self, path: str, entry: Entry) -> None:
        """Write down what became of a photo; what was noted before is replaced."""
        self._base.execute(
            "INSERT OR REPLACE INTO photos (path, reason, detail, bytes, fingerprint, source)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            (path, entry.reason, entry.detail, entry.size, entry.fingerprint, entry.source),
        )

    def count_final(self) -> int:
        """Return how many photos are there, or not to be had."""
        marks = ", ".join("?" * len(TEMPORARY))
        row = self._base.execute(
            "SELECT COUNT(*) FROM photos"  # noqa: S608 - only question marks are put in
            f" WHERE reason IS NULL OR reason NOT IN ({marks})",
            sorted(TEMPORARY),
        ).fetchone()
        return int(row[0])

    def placeholders(self) -> set[bytes]:
        """Return the fingerprints of images that were found out to be placeholders."""
        return {row[0] for row in self._base.execute("SELECT fingerprint FROM placeholders")}

    def mean_bytes(self) -> float | None:
        """Return the mean size of the photos that are there; None where there are none."""
        row = self._base.execute("SELECT AVG(bytes) FROM photos WHERE reason IS NULL").fetchone()
        return None if row[0] is None else float(row[0])

    def find_copies(self) -> None:
        """Note which photos are placeholders or duplicates, by their equal fingerprints.

        The same bytes for `PLACEHOLDER_COPIES` photos or more are a placeholder; for fewer, all but
        the first by path are duplicates.
        """
        groups = self._base.execute(
            "SELECT fingerprint, COUNT(*), MIN(path) FROM photos"
            " WHERE fingerprint IS NOT NULL AND (reason IS NULL OR reason = ?)"
            " GROUP BY fingerprint HAVING COUNT(*) > 1",
            (DUPLICATE,),
        ).fetchall()
        self._base.execute("BEGIN")
        self._base.execute("CREATE INDEX IF NOT EXISTS prints ON photos (fingerprint)")
        for fingerprint, count, first in groups:
            if count >= PLACEHOLDER_COPIES:
                self._base.execute("INSERT OR IGNORE INTO placeholders VALUES (?)", (fingerprint,))
                self._base.execute(
                    "UPDATE photos SET reason = ?, detail = ? WHERE fingerprint = ?",
                    (PLACEHOLDER, f"the same bytes as {count - 1} others", fingerprint),
                )
            else:
                self._base.execute(
                    "UPDATE photos SET reason = ?, detail = ?"
                    " WHERE fingerprint = ? AND path > ? AND reason IS NULL",
                    (DUPLICATE, first, fingerprint, first),
                )
        self._base.execute("DROP INDEX prints")
        self._base.execute("COMMIT")

    def find_listed(self, placeholders: Placeholders) -> None:
        """Note which photos that are there a list names, as far as sizes and MD5s show it."""
        if not placeholders.known:
            return
        there = self._base.execute(
            "SELECT path, bytes, fingerprint FROM photos"
            " WHERE fingerprint IS NOT NULL AND (reason IS NULL OR reason = ?)",
            (DUPLICATE,),
        )
        listed = [path for path, size, md5 in there if placeholders.names(size, md5)]
        self._base.execute("BEGIN")
        for path in listed:
            self._base.execute(
                "UPDATE photos SET reason = ?, detail = '' WHERE path = ?", (PLACEHOLDER, path)
            )
        self._base.execute("COMMIT")

    def rejected(self) -> Iterator[str]:
        """Yield the paths of photos that came but are not kept."""
        rows = self._base.execute(
            "SELECT path FROM photos WHERE reason IN (?, ?)", (PLACEHOLDER, DUPLICATE)
        )
        return (row[0] for row in rows)
