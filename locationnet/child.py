"""A child process: started, listened to, asked to stop, ended with all that it started.

Knows processes; nothing of what they do.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence

_LAST_LINES = 30
# What a process has written is there at once; only what it started may keep the pipe open.
_LISTEN_S = 5.0


def python(code: str, *words: str) -> list[str]:
    """Return the command that runs code of this package."""
    return [sys.executable, "-c", code, *words]


def locationnet_command(*words: str) -> list[str]:
    """Return the command that is ``locationnet`` with these words."""
    return python("from locationnet.cli import main; main()", *words)


class Child:
    """A running process.

    Parameters
    ----------
    command
        What to run, from `python` or `locationnet_command`.
    say
        Called with each line that it says, without the line's end, from another thread.
    environment
        All of its variables.
    """

    def __init__(
        self, command: Sequence[str], say: Callable[[str], object], environment: Mapping[str, str]
    ) -> None:
        self._say = say
        self._lines: deque[str] = deque(maxlen=_LAST_LINES)
        self._ended_at: float | None = None
        # A session of its own: Ctrl-C reaches this process alone, which then asks politely.
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and code
            command,
            env={**environment, "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        self.pid = self._process.pid
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def poll(self) -> int | None:
        """Return the exit code, negative for a signal; None while it runs."""
        code = self._process.poll()
        if code is not None and self._ended_at is None:
            self._ended_at = time.monotonic()
        return code

    @property
    def ended_s(self) -> float:
        """Seconds since `poll` first found that it had ended; 0 while it runs."""
        return 0.0 if self._ended_at is None else time.monotonic() - self._ended_at

    @property
    def last_lines(self) -> tuple[str, ...]:
        """The last that it said."""
        if self._process.poll() is not None:
            self._listener.join(_LISTEN_S)
        return tuple(self._lines)

    def stop(self) -> None:
        """Ask it to end."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it, and what it started, at once."""
        if self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
        self.wait()

    def wait(self, seconds: float | None = None) -> int | None:
        """Wait until it ends, but not longer than so many seconds; return as `poll` does."""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None
        self._listener.join(_LISTEN_S)
        return self.poll()

    def _listen(self) -> None:
        stream = self._process.stdout
        assert stream is not None  # noqa: S101 - it was asked for
        with stream:
            for line in stream:
                text = line.rstrip("\n")
                self._lines.append(text)
                self._say(text)
