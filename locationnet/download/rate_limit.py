"""When a host may be asked: a turn for each request, whichever thread makes it.

Knows hosts and times; not what is asked.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from locationnet.download.failures import THROTTLED, ProblemError

# Who would wait longer, and longer than for two turns, comes again later: other hosts need threads.
_MOST_WAIT_S = 10.0


class Turns:
    """Gives out turns; safe to use from many threads.

    Parameters
    ----------
    interval_s
        Seconds between two requests to a host.
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
        self._guard = threading.Lock()
        self._free_at: dict[str, float] = {}

    def take(self, host: str, delay_s: float = 0.0) -> None:
        """Wait until a host may be asked.

        Parameters
        ----------
        host
            Who is going to be asked.
        delay_s
            Seconds between two requests that the host itself asks for.

        Raises
        ------
        ProblemError
            Too many wait for it; no turn is taken.
        """
        interval_s = max(self._interval_s, delay_s)
        with self._guard:
            now = self._clock()
            at = max(now, self._free_at.get(host, now))
            if at - now > max(_MOST_WAIT_S, 2 * interval_s):
                raise ProblemError(THROTTLED, "asked too often already", at - now)
            self._free_at[host] = at + interval_s
        if at > now:
            self._sleep(at - now)
