"""How many photos to ask for at a time: more while it pays, fewer when servers suffer.

Knows times and outcomes; not what is fetched.
"""

from __future__ import annotations

# A window is judged when both have passed.
_WINDOW_S = 1.0
_WINDOW_ROUNDS = 2
_GROWTH = 1.5
# Half as many again must fetch so much more, or it is not worth it.
_GAIN = 1.1
_TOO_MANY_FAILURES = 0.05
# Windows in which nothing is tried after a step back, and after trouble.
_REST, _REST_AFTER_TROUBLE = 8, 4


class Concurrency:
    """Climbs to the number of connections beyond which the throughput does not grow.

    Parameters
    ----------
    start
        Connections at first.
    most
        No more than that.
    """

    def __init__(self, start: int = 8, most: int = 256) -> None:
        self.limit = min(start, most)
        self._most = most
        # The limit before the last step up and what it fetched in a second.
        self._before: tuple[int, float] | None = None
        self._rest = 0
        self._started: float | None = None
        self._done = self._failed = 0
        self._idle = False

    def finished(self, now: float, *, failed: bool) -> None:
        """Take note of an answer, or of a failure that fewer connections may avoid."""
        if self._started is None:
            self._started = now
            return
        self._done += 1
        self._failed += failed
        seconds = now - self._started
        if seconds >= _WINDOW_S and self._done >= _WINDOW_ROUNDS * self.limit:
            self._judge((self._done - self._failed) / seconds)
            self._started, self._done, self._failed, self._idle = now, 0, 0, False

    def idled(self) -> None:
        """Take note that there was less to do than allowed: this window shows nothing."""
        self._idle = True

    def _judge(self, rate: float) -> None:
        if self._failed > _TOO_MANY_FAILURES * self._done:
            self.limit = max(1, self.limit // 2)
            self._before, self._rest = None, _REST_AFTER_TROUBLE
        elif self._idle:
            return
        elif self._rest:
            self._rest -= 1
        elif self._before is None or rate >= _GAIN * self._before[1]:
            self._grow(rate)
        else:
            self.limit = self._before[0]
            self._before, self._rest = None, _REST

    def _grow(self, rate: float) -> None:
        grown = min(self._most, max(self.limit + 1, round(self.limit * _GROWTH)))
        self._before = (self.limit, rate) if grown > self.limit else None
        self.limit = grown
