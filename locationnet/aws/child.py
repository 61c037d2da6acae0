"""A command of ``locationnet`` as a child: started, listened to, asked to stop.

Knows processes; nothing of what the command does.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence

_MAIN = "from locationnet.cli import main; main()"
_LAST_LINES = 30


class Child:
    """A running command.

    Parameters
    ----------
    words
        Such as ``["train", "packs/train", …]``.
    say
        Called with each line that it says, without the line's end, from another thread.
    environment
        All of its variables.
    """

    def __init__(
        self, words: Sequence[str], say: Callable[[str], object], environment: Mapping[str, str]
    ) -> None:
        self._say = say
        self._lines: deque[str] = deque(maxlen=_LAST_LINES)
        # A session of its own: Ctrl-C reaches this process alone, which then asks politely.
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and code
            [sys.executable, "-c", _MAIN, *words],
            env={**environment, "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def poll(self) -> int | None:
        """Return the exit code, negative for a signal; None while it runs."""
        return self._process.poll()

    def stop(self) -> None:
        """Ask it to write a checkpoint and to end."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)

    def wait(self, seconds: float) -> int | None:
        """Wait until it ends, but not longer than so many seconds; return as `poll` does."""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None
        self._listener.join(timeout=5)
        return self._process.poll()

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()
        self._process.wait()

    @property
    def last_lines(self) -> list[str]:
        """The last that it said."""
        return list(self._lines)

    def _listen(self) -> None:
        stream = self._process.stdout
        assert stream is not None  # noqa: S101 - it was asked for
        with stream:
            for line in stream:
                text = line.rstrip("\n")
                self._lines.append(text)
                self._say(text)
