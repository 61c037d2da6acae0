"""How often each host is asked: one limit for a photo's request and for all that it leads to.

Knows hosts and times; not what is asked. Photos start no closer together than a host's interval, so
that no threads queue for one host, and every request waits for a slot of its own, so that
robots.txt and redirects keep the interval too.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

from locationnet.download.failures import THROTTLED, DownloadError

# Who would wait longer, and longer than for two slots, comes again later: other hosts need threads.
_MOST_WAIT_S = 10.0


@dataclass
class _Host:
    """A host's interval, and the times from which a photo may start and a request may be sent."""

    interval_s: float
    start_at: float = 0.0
    request_at: float = 0.0
    released: bool = False


class RateLimiter:
    """Keeps every host's interval; safe to use from many threads.

    Parameters
    ----------
    interval_s
        Seconds between two requests to a host; 0 for none.
    clock, sleep
        Replace those of this machine.
    """

    def __init__(
        self,
        interval_s: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._interval_s, self._clock, self._sleep = interval_s, clock, sleep
        self._lock = threading.Lock()
        self._hosts: defaultdict[str, _Host] = defaultdict(lambda: _Host(interval_s))

    def start_at(self, host: str) -> float:
        """Return the time from which a host's next photo may start."""
        with self._lock:
            return self._hosts[host].start_at

    def start(self, host: str, now: float) -> None:
        """Note that a host's photo starts now."""
        with self._lock:
            state = self._hosts[host]
            state.start_at = now if state.released else now + state.interval_s

    def pause(self, host: str, until: float) -> None:
        """Start none of a host's photos for a while, unless it was released."""
        with self._lock:
            state = self._hosts[host]
            if not state.released:
                state.start_at = max(until, state.start_at)

    def release(self, host: str) -> None:
        """Let a host's photos start at once: it is not going to be asked."""
        with self._lock:
            state = self._hosts[host]
            state.released, state.start_at = True, 0.0

    def wait(self, host: str, delay_s: float | None = None) -> None:
        """Wait until a request may be sent to a host.

        Parameters
        ----------
        host
            Who is going to be asked.
        delay_s
            Seconds between two requests that the host itself asks for, from now on; None where that
            is not known.

        Raises
        ------
        DownloadError
            Too many wait for it; no slot is taken.
        """
        with self._lock:
            state = self._hosts[host]
            if delay_s is not None:
                state.interval_s = max(self._interval_s, delay_s)
            now = self._clock()
            at = max(now, state.request_at)
            if at - now > max(_MOST_WAIT_S, 2 * state.interval_s):
                raise DownloadError(THROTTLED, "asked too often already", at - now)
            state.request_at = at + state.interval_s
        if at > now:
            self._sleep(at - now)
