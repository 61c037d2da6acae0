"""The library's one SQLite file: photos as they were found, proposals, and what a person decided.

Knows rows; nothing of files that hold photos. A kill at any moment loses nothing committed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from locationnet.database import Database
from locationnet.errors import InputError, LocationNetError
from locationnet.library.photo_facts import Facts
from locationnet.names import valid_text

FILE = "library.sqlite3"
_VERSION = 1
# Another command on the same library may be at work: say so soon.
_WAIT_S = 5.0
_TABLES = (
    """
    CREATE TABLE IF NOT EXISTS photos (
        id INTEGER PRIMARY KEY,
        path BLOB NOT NULL UNIQUE,
        size INTEGER NOT NULL,
        changed_ns INTEGER NOT NULL,
        fingerprint BLOB NOT NULL,
        kind TEXT NOT NULL,
        camera TEXT NOT NULL,
        serial TEXT NOT NULL,
        taken REAL,
        utc REAL,
        lat REAL,
        lng REAL,
        error_m REAL,
        sidecars TEXT NOT NULL,
        missing INTEGER NOT NULL DEFAULT 0
    )
    """,
    "CREATE INDEX IF NOT EXISTS by_fingerprint ON photos (fingerprint)",
    """
    CREATE TABLE IF NOT EXISTS proposals (
        photo INTEGER PRIMARY KEY,
        lat REAL NOT NULL,
        lng REAL NOT NULL,
        radius_50_km REAL NOT NULL,
        offered INTEGER NOT NULL,
        reasons TEXT NOT NULL,
        density TEXT NOT NULL
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS decisions (
        photo INTEGER PRIMARY KEY,
        accepted INTEGER NOT NULL,
        lat REAL,
        lng REAL
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS writes (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        photo INTEGER NOT NULL,
        path BLOB NOT NULL,
        before BLOB,
        changed_ns INTEGER,
        after BLOB NOT NULL
    )
    """,
)
_PHOTO = (
    "id, path, size, changed_ns, fingerprint, kind, camera, serial, taken, utc, lat, lng, error_m,"
    " sidecars"
)


@dataclass(frozen=True)
class Photo:
    """A row of the library.

    Parameters
    ----------
    number
        Its own, which stays where the file is moved.
    path
        Absolute.
    size, changed_ns
        Bytes, and when the file was last changed, nanoseconds since 1970.
    fingerprint
        16 bytes; see `locationnet.library.photo_facts.read_photo`.
    facts
        What the file and its sidecars say.
    sidecars
        Its XMP sidecars with size and time of change.
    """

    number: int
    path: Path
    size: int
    changed_ns: int
    fingerprint: bytes
    facts: Facts
    sidecars: tuple[tuple[str, int, int], ...]

    @property
    def device(self) -> str:
        """What tells one camera from another."""
        return f"{self.facts.camera} {self.facts.serial}".strip()

    @property
    def known(self) -> bool:
        """Whether its place is known from the file or a sidecar."""
        return self.facts.lat is not None


@dataclass(frozen=True)
class Proposal:
    """Where a photo without a position was probably taken.

    Parameters
    ----------
    lat, lng
        The best point, degrees.
    radius_50_km
        Of the circle around it that holds half of the probability.
    offered
        Whether it is sure enough to be offered for acceptance.
    reasons
        In words, the strongest first.
    density
        The distribution: centres, weights and median distances; see
        `locationnet.library.density.Density`.
    """

    lat: float
    lng: float
    radius_50_km: float
    offered: bool
    reasons: tuple[str, ...]
    density: tuple[tuple[float, float, float, float], ...]


@dataclass(frozen=True)
class Change:
    """A file that was written, or was about to be.

    Parameters
    ----------
    number
        Ascending.
    path
        The file.
    before
        What it held; None where there was none, or where the library keeps a copy.
    changed_ns
        When it had last been changed.
    after
        SHA-256 of what it holds now; empty where that was not known yet.
    """

    number: int
    path: Path
    before: bytes | None
    changed_ns: int | None
    after: bytes


class Catalog:
    """An open library; use it as a context manager, from one thread.

    Parameters
    ----------
    folder
        Holds `FILE`.
    create
        Make the folder and the file where there are none.

    Raises
    ------
    FullDiskError
        Here and on writing: there is no room for it.
    InputError
        There is no library, or a later version wrote it.
    LocationNetError
        It cannot be opened or written, or another command is using it.
    """

    def __init__(self, folder: Path, *, create: bool = False) -> None:
        self.folder = folder
        path = folder / FILE
        if create:
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise LocationNetError(f"{folder}: cannot be made ({error.strerror})") from error
        elif not path.is_file():
            raise InputError(
                f"{folder}: no library; `locationnet library scan PHOTOS -o` makes one"
            )
        self._base = Database(path, _WAIT_S)
        try:
            version = self._base.execute("PRAGMA user_version").fetchone()[0]
            if version > _VERSION:
                raise InputError(f"{path}: a later version of LocationNet wrote it")
            with self.changes():
                for table in _TABLES:
                    self._base.execute(table)
                self._base.execute(f"PRAGMA user_version = {_VERSION}")
        except BaseException:
            self._base.close()
            raise

    def __enter__(self) -> Catalog:
        return self

    def __exit__(self, *error: object) -> None:
        self._base.close()

    @contextmanager
    def changes(self) -> Iterator[None]:
        """Keep what is written inside whole or not at all."""
        self._base.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._base.execute("COMMIT")
        except BaseException:
            # SQLite has rolled back by itself where the disk is full.
            if self._base.in_transaction:
                self._base.execute("ROLLBACK")
            raise

    def stamps(self) -> dict[bytes, tuple[int, int, int, str, bool]]:
        """Return number, size, time of change, sidecars and whether missing, by path as bytes."""
        rows = self._base.execute(
            "SELECT path, id, size, changed_ns, sidecars, missing FROM photos"
        )
        return {
            path: (number, size, changed, sidecars, bool(missing))
            for path, number, size, changed, sidecars, missing in rows
        }

    def with_fingerprint(self, fingerprint: bytes) -> list[Photo]:
        """Return the photos, missing ones included, that are the same file by its fingerprint."""
        rows = self._base.execute(
            f"SELECT {_PHOTO} FROM photos WHERE fingerprint = ? ORDER BY id",  # noqa: S608  # constants
            (fingerprint,),
        )
        return [_photo(row) for row in rows]

    def detach(self, number: int) -> None:
        """Free a photo's path for another one; the photo is missing until it is found again."""
        nowhere = b"\0%d" % number
        self._base.execute(
            "UPDATE photos SET path = ?, missing = 1 WHERE id = ?", (nowhere, number)
        )

    def put(self, photo: Photo) -> None:
        """Write a photo; number 0 gives it a new one."""
        facts = photo.facts
        values = (
            photo.number or None, os.fsencode(photo.path), photo.size, photo.changed_ns,
            photo.fingerprint, facts.kind, valid_text(facts.camera), valid_text(facts.serial),
            facts.taken, facts.utc, facts.lat, facts.lng, facts.error_m,
            sidecar_text(photo.sidecars),
        )  # fmt: skip
        marks = ", ".join("?" * len(values))
        self._base.execute(
            f"INSERT OR REPLACE INTO photos ({_PHOTO}) VALUES ({marks})",  # noqa: S608  # constants
            values,
        )

    def set_missing(self, number: int, missing: bool) -> None:
        """Note whether a photo's file is there."""
        self._base.execute("UPDATE photos SET missing = ? WHERE id = ?", (missing, number))

    def photos(self) -> list[Photo]:
        """Return the photos whose files are there, by path."""
        rows = self._base.execute(
            f"SELECT {_PHOTO} FROM photos WHERE NOT missing ORDER BY path"  # noqa: S608  # constants
        )
        return [_photo(row) for row in rows]

    def proposals(self) -> dict[int, Proposal]:
        """Return the proposals by the number of their photo."""
        rows = self._base.execute(
            "SELECT photo, lat, lng, radius_50_km, offered, reasons, density FROM proposals"
        )
        return {
            number: Proposal(
                lat, lng, radius, bool(offered), tuple(json.loads(reasons)),
                tuple(map(tuple, json.loads(density))),
            )
            for number, lat, lng, radius, offered, reasons, density in rows
        }  # fmt: skip

    def replace_proposals(self, proposals: dict[int, Proposal]) -> None:
        """Write all proposals in place of earlier ones, whole or not at all."""
        with self.changes():
            self._base.execute("DELETE FROM proposals")
            for number, it in proposals.items():
                self._base.execute(
                    "INSERT INTO proposals VALUES (?, ?, ?, ?, ?, ?, ?)",
                    (
                        number, it.lat, it.lng, it.radius_50_km, it.offered,
                        json.dumps(it.reasons), json.dumps(it.density),
                    ),
                )  # fmt: skip

    def decisions(self) -> dict[int, tuple[float, float] | None]:
        """Return what a person decided, by photo: the accepted place, None where rejected."""
        rows = self._base.execute("SELECT photo, accepted, lat, lng FROM decisions")
        return {number: (lat, lng) if accepted else None for number, accepted, lat, lng in rows}

    def decide(self, number: int, place: tuple[float, float] | None) -> None:
        """Note an accepted place, or None for a proposal that was rejected."""
        lat, lng = place or (None, None)
        self._base.execute(
            "INSERT OR REPLACE INTO decisions VALUES (?, ?, ?, ?)",
            (number, place is not None, lat, lng),
        )

    def writes(self) -> list[Change]:
        """Return the journal, the oldest change first."""
        rows = self._base.execute(
            "SELECT id, path, before, changed_ns, after FROM writes ORDER BY id"
        )
        return [
            Change(number, Path(os.fsdecode(path)), before, changed, after)
            for number, path, before, changed, after in rows
        ]

    def begin_write(
        self, photo: int, path: Path, before: bytes | None, changed_ns: int | None, after: bytes
    ) -> int:
        """Note a change before it is made, and return its number; see `Change`."""
        cursor = self._base.execute(
            "INSERT INTO writes (photo, path, before, changed_ns, after) VALUES (?, ?, ?, ?, ?)",
            (photo, os.fsencode(path), before, changed_ns, after),
        )
        return cursor.lastrowid or 0

    def finish_write(self, number: int, after: bytes) -> None:
        """Note what a file will hold, once that is known."""
        self._base.execute("UPDATE writes SET after = ? WHERE id = ?", (after, number))

    def forget_write(self, number: int) -> None:
        """Take a change out of the journal."""
        self._base.execute("DELETE FROM writes WHERE id = ?", (number,))

    def forget_decision(self, number: int) -> None:
        """Take back what was decided of a photo."""
        self._base.execute("DELETE FROM decisions WHERE photo = ?", (number,))


def sidecar_text(sidecars: Sequence[tuple[str, int, int]]) -> str:
    """Return sidecars as the catalog keeps and compares them."""
    return json.dumps([list(one) for one in sidecars])


def _photo(row: tuple[Any, ...]) -> Photo:
    number, path, size, changed, fingerprint, kind, camera, serial, *numbers, sidecars = row
    facts = Facts(kind, camera, serial, *numbers)
    return Photo(
        number, Path(os.fsdecode(path)), size, changed, fingerprint, facts,
        tuple((name, length, at) for name, length, at in json.loads(sidecars)),
    )  # fmt: skip
