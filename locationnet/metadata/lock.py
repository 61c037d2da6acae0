"""The folder of parts beside a table: locked by one call at a time, resumed, removed at the end.

Knows the state that the parts belong to; nothing of the parts themselves.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from locationnet.errors import InputError, LocationNetError
from locationnet.files import write_text

_STATE = "state.json"
_LOCK = "lock"


@contextmanager
def locked(out: Path, state: dict[str, Any]) -> Iterator[Path]:
    """Yield the folder of a table's parts, which goes when the work in it is done.

    Parameters
    ----------
    out
        The table.
    state
        What decides its content; parts of another state are not resumed.

    Raises
    ------
    InputError
        The parts are of other files or filters, or cannot be read.
    LocationNetError
        Another call is at work on the table, or the folder cannot be written.
    """
    parts = out.with_name(f".{out.name}.parts")
    with _lock_file(out, parts):
        shutil.rmtree(_thrown(parts), ignore_errors=True)
        _check_state(out, parts, state)
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


def _lock_file(out: Path, parts: Path) -> IO[str]:
    """Return the file that keeps other calls away while it is open."""
    import fcntl  # which not every system has

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


def _check_state(out: Path, parts: Path, state: dict[str, Any]) -> None:
    """Start with an empty folder, or make sure that what is in it is of this state."""
    file = parts / _STATE
    try:
        earlier = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        # Nothing says what these parts are of.
        for path in parts.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name != _LOCK:
                path.unlink()
        write_text(file, json.dumps(state))
        return
    except (OSError, ValueError) as error:
        raise InputError(f"{parts}: cannot be resumed ({error}); remove it") from error
    changed = [name for name, value in state.items() if earlier.get(name) != value]
    if changed:
        what = " and ".join(name.replace("_", " ") for name in changed)
        raise InputError(
            f"{out}: an interrupted call had begun it with other {what}; give the same to go on, or"
            f" remove the folder {parts} to start over"
        )
