"""Checksums of a bundle's files: a large file that has not changed is read for it only once.

What was computed is remembered in the user's data directory; without one to write to, each time is
the first.
"""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from locationnet.errors import LocationNetError
from locationnet.files import file_sha256, write_text
from locationnet.home import home

_REMEMBERED = "checksums.json"
# Reading a smaller file takes a fraction of a second.
_LARGE_BYTES = 64 << 20
_MOST = 100


def is_sha256(path: Path, expected: str, *, again: bool = False) -> bool:
    """Tell whether a file has a checksum.

    Parameters
    ----------
    path
        The file.
    expected
        Its sha256, hexadecimal.
    again
        Read the file even if it had this checksum before and has kept its size and time since.
    """
    found = path.stat()
    name, seen = str(path.resolve()), [found.st_size, found.st_mtime_ns, expected]
    if found.st_size < _LARGE_BYTES:
        return file_sha256(path) == expected
    known = _read()
    if not again and known.get(name) == seen:
        return True
    if file_sha256(path) != expected:
        return False
    known.pop(name, None)
    kept = dict([*known.items(), (name, seen)][-_MOST:])
    with suppress(LocationNetError, OSError):
        home().mkdir(parents=True, exist_ok=True)
        write_text(home() / _REMEMBERED, json.dumps(kept, indent=1))
    return True


def _read() -> dict[str, Any]:
    try:
        known = json.loads((home() / _REMEMBERED).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}
