"""Ctrl-C and SIGTERM as a stop request that is noticed between two batches.

Knows signals only.
"""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any

from locationnet.errors import LocationNetError

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class InterruptedRunError(LocationNetError):
    """The run was asked to stop and can be resumed; the message says how.

    Parameters
    ----------
    message
        One line.
    signal
        Which signal asked.
    """

    def __init__(self, message: str, signal: int) -> None:
        super().__init__(message)
        self.signal = signal


class Interrupts:
    """Notes the first signal; the second one acts as it always did. Use as a context manager."""

    def __init__(self) -> None:
        self.received: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Interrupts:
        # Python delivers signals to the main thread alone, and lets no other ask for them.
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        self._restore()

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self.received = number
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()
