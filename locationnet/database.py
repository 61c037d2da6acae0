"""A SQLite file that one run has to itself; a kill at any moment loses nothing that was written.

Knows files and errors; not what is kept in them.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from locationnet.errors import FullDiskError, LocationNetError


class Database:
    """An open file; use it from one thread.

    Parameters
    ----------
    path
        It is made where there is none.
    wait_s
        Seconds to wait for another run to let go of it.

    Raises
    ------
    FullDiskError
        Here and on writing: there is no room for it.
    LocationNetError
        It is something else, another run does not let go, or it cannot be written.
    """

    def __init__(self, path: Path, wait_s: float) -> None:
        self._path = path
        with self._clear_errors():
            self._base = sqlite3.connect(path, isolation_level=None, timeout=wait_s)
            try:
                # Alone, a run needs no shared memory, which network file systems lack.
                self._base.execute("PRAGMA locking_mode = EXCLUSIVE")
                self._base.execute("PRAGMA journal_mode = WAL")
                self._base.execute("PRAGMA synchronous = NORMAL")
            except sqlite3.Error:
                self._base.close()
                raise

    def execute(self, sql: str, values: Sequence[object] = ()) -> sqlite3.Cursor:
        """Run a statement."""
        with self._clear_errors():
            return self._base.execute(sql, values)

    @property
    def in_transaction(self) -> bool:
        """Whether a ``BEGIN`` waits for its end."""
        return self._base.in_transaction

    def close(self) -> None:
        """Let go of it."""
        self._base.close()

    @contextmanager
    def _clear_errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            code = error.sqlite_errorcode & 0xFF  # without what it says in particular
            if code == sqlite3.SQLITE_FULL:
                raise FullDiskError(
                    f"{self._path}: the disk is full; make room and run the same command again to"
                    " go on"
                ) from error
            what = "another run is using it" if code == sqlite3.SQLITE_BUSY else str(error)
            raise LocationNetError(f"{self._path}: {what}") from error
        except sqlite3.DatabaseError as error:
            raise LocationNetError(
                f"{self._path}: not a journal that can be read ({error})"
            ) from error
