"""Who may come in: how many photos, and how many bytes of them, are dealt with at a time.

Knows nothing of HTTP but how to refuse; whoever is let in has to leave again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from locationnet.server.problems import Problem


class Overloaded(Problem):
    """503: there is no room now; it says when to ask again."""

    def __init__(self, retry_after_s: float) -> None:
        wait = str(max(1, math.ceil(retry_after_s)))
        super().__init__(503, "the server is busy; ask again later", {"Retry-After": wait})


class Queue:
    """Counts the photos inside, from before their first byte to their answer.

    Parameters
    ----------
    limit
        How many may be inside.
    observe
        Called with how many are inside whenever that changes.
    """

    def __init__(self, limit: int, observe: Callable[[int], None] = lambda _: None) -> None:
        self.limit = limit
        self.inside = 0
        self._observe = observe
        # Seconds between two answers, lately.
        self._pace_s = 0.05

    @contextmanager
    def entered(self, photos: int = 1) -> Iterator[Ticket]:
        """Let photos in until the block ends.

        Raises
        ------
        Overloaded
            There is no room for all of them.
        """
        if self.inside + photos > self.limit:
            raise Overloaded(self.inside * self._pace_s)
        self._move(photos)
        ticket = Ticket(self._move, photos)
        try:
            yield ticket
        finally:
            ticket.keep(0)

    def passed(self, seconds: float) -> None:
        """Note that a photo was answered after it shared the machine for some seconds."""
        pace = seconds / max(1, self.inside)
        self._pace_s += (pace - self._pace_s) / 16

    def _move(self, photos: int) -> None:
        self.inside += photos
        self._observe(self.inside)


class Ticket:
    """The slots that one request has in a `Queue`."""

    def __init__(self, move: Callable[[int], None], photos: int) -> None:
        self._move = move
        self._photos = photos

    def keep(self, photos: int) -> None:
        """Give back the slots that are more than so many."""
        if photos < self._photos:
            self._move(photos - self._photos)
            self._photos = photos


class Memory:
    """Counts the bytes of photos that are held before they are decoded.

    Parameters
    ----------
    limit
        How many may be held.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.held = 0

    @contextmanager
    def account(self) -> Iterator[Account]:
        """Open an account whose bytes are given back when the block ends."""
        account = Account(self)
        try:
            yield account
        finally:
            account.give_back()


class Account:
    """The bytes that one request holds; see `Memory.account`."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._held = 0

    def take(self, count: int) -> None:
        """Note that more bytes have arrived.

        Raises
        ------
        Problem
            413: these alone would be more than may be held.
        Overloaded
            All requests together hold too many.
        """
        limit = self._memory.limit
        if self._held + count > limit:
            raise Problem(413, f"the request holds more than {limit} bytes of photos")
        if self._memory.held + count > limit:
            raise Overloaded(1)
        self._memory.held += count
        self._held += count

    def give_back(self) -> None:
        """Note that all of them are gone."""
        self._memory.held -= self._held
        self._held = 0
