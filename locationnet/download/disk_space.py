"""Room on the disk: asked for before photos come, and watched while they do.

Knows nothing of photos.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path

from locationnet.errors import FullDiskError

DEFAULT_RESERVE = 1 << 30
_EVERY_S = 1.0


def free_bytes(folder: Path) -> int:
    """Return how much more can be written below a folder."""
    return shutil.disk_usage(folder).free


class Space:
    """Watches the room for a folder.

    Parameters
    ----------
    folder
        What is written to.
    reserve
        Bytes that are left free.
    free
        Returns how much room there is.
    """

    def __init__(
        self,
        folder: Path,
        reserve: int = DEFAULT_RESERVE,
        free: Callable[[Path], int] = free_bytes,
    ) -> None:
        self._folder, self._reserve, self._free = folder, reserve, free
        self._looked = 0.0

    def room(self) -> int:
        """Return how many bytes may be written; negative where there are too few already."""
        return self._free(self._folder) - self._reserve

    def check(self) -> None:
        """Raise `FullDiskError` where nothing more may be written."""
        if self.room() <= 0:
            raise FullDiskError(
                f"{self._folder}: {self._free(self._folder) / 1e9:,.1f} GB are free, and"
                f" {self._reserve / 1e9:,.1f} GB are to stay so; make room and run the same"
                " command again to go on"
            )

    def watch(self) -> None:
        """Do what `check` does, but not more often than every second."""
        now = time.monotonic()
        if now - self._looked >= _EVERY_S:
            self._looked = now
            self.check()
