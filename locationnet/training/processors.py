"""How many cores there are to compute with.

Knows the operating system only; imports no mxnet, so that launchers can ask.
"""

from __future__ import annotations

import os
from pathlib import Path


def cores() -> int:
    """Return how many cores this process may use; hyper-threads of one core count once."""
    mine = os.sched_getaffinity(0)
    found = set()
    for processor in mine:
        siblings = Path(f"/sys/devices/system/cpu/cpu{processor}/topology/thread_siblings_list")
        try:
            found.add(siblings.read_text())
        except OSError:
            return len(mine)
    return len(found)
