"""The folder of parts beside a table: one call's at a time, begun, gone on with, thrown away.

Knows what the folder was begun for; nothing of the parts in it.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from locationnet.errors import InputError, LocationNetError
from locationnet.files import write_text

_BEGUN = "begun.json"
_LOCK = "lock"


@contextmanager
def claimed(out: Path, facts: dict[str, Any]) -> Iterator[Path]:
    """Yield the folder of a table's parts, which goes when the work in it is done.

    Parameters
    ----------
    out
        The table.
    facts
        What decides its content; parts that were begun with others are not gone on with.

    Raises
    ------
    InputError
        The parts were begun with other files or filters, or cannot be read.
    LocationNetError
        Another call is at work on the table, or the folder cannot be written.
    """
    parts = out.with_name(f".{out.name}.parts")
    with _lock(out, parts):
        shutil.rmtree(_thrown(parts), ignore_errors=True)
        _begin(out, parts, facts)
        try:
            yield parts
        except InputError:
            # A mistake in what was asked for; without finished parts there is nothing to resume.
            if not any(parts.glob(f"{'[0-9]' * 5}.json")):
                _throw_away(parts)
            raise
        _throw_away(parts)


def _throw_away(parts: Path) -> None:
    """Remove a folder of parts; what a kill leaves of it is never taken for parts."""
    parts.rename(_thrown(parts))
    shutil.rmtree(_thrown(parts), ignore_errors=True)


def _thrown(parts: Path) -> Path:
    return parts.with_suffix(".thrown")


def _lock(out: Path, parts: Path) -> IO[str]:
    """Return the file that keeps other calls away while it is open."""
    lock = parts / _LOCK
    try:
        parts.mkdir(exist_ok=True)
        file = lock.open("a")
    except OSError as error:
        raise LocationNetError(f"{parts}: cannot be written ({error.strerror})") from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Between the two lines above, the other call may have thrown the folder away.
        mine = os.path.samestat(os.fstat(file.fileno()), lock.stat())
    except (BlockingIOError, FileNotFoundError):
        mine = False
    except OSError as error:
        file.close()
        raise LocationNetError(f"{lock}: cannot be locked ({error.strerror})") from error
    if not mine:
        file.close()
        raise LocationNetError(f"{out}: another call is writing it; wait until that has ended")
    return file


def _begin(out: Path, parts: Path, facts: dict[str, Any]) -> None:
    """Begin with an empty folder, or make sure that what it holds was begun for this work."""
    file = parts / _BEGUN
    try:
        earlier = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        # Nothing says what these parts are of.
        for path in parts.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name != _LOCK:
                path.unlink()
        write_text(file, json.dumps(facts))
        return
    except (OSError, ValueError) as error:
        raise InputError(f"{parts}: cannot be gone on with ({error}); remove it") from error
    changed = [name for name, value in facts.items() if earlier.get(name) != value]
    if changed:
        what = " and ".join(name.replace("_", " ") for name in changed)
        raise InputError(
            f"{out}: an interrupted call had begun it with other {what}; give the same to go on, or"
            f" remove the folder {parts} to start over"
        )
