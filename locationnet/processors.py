"""How many processors and cores there are to compute with.

Knows the operating system only, whichever it is; imports nothing heavy, so that options can ask.
"""

from __future__ import annotations

import os
from pathlib import Path


def processors() -> int:
    """Return how many processors this process may use."""
    return len(_mine())


def cores() -> int:
    """Return how many cores this process may use; hyper-threads of one core count once."""
    found = set()
    for processor in _mine():
        siblings = Path(f"/sys/devices/system/cpu/cpu{processor}/topology/thread_siblings_list")
        try:
            found.add(siblings.read_text())
        except OSError:  # only Linux reports them
            return processors()
    return len(found)


def _mine() -> set[int]:
    try:
        return os.sched_getaffinity(0)
    except AttributeError:  # only Linux knows which
        return set(range(os.cpu_count() or 1))
