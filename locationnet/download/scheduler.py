"""Which photo to ask for next: no host more often than it may be asked, failures again later.

Knows tasks and their hosts; it neither waits nor fetches. A host that must be left alone delays
no photos but its own.
"""

from __future__ import annotations

import heapq
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count

from locationnet.download.rate_limit import RateLimiter

# Photos that are read ahead while their hosts may not be asked.
_MOST_WAITING = 10_000


@dataclass(frozen=True)
class Photo:
    """A photo to fetch.

    Parameters
    ----------
    row
        Its row in the table.
    path
        Where it goes below the folder; also its key in the bucket.
    url
        Its own address, or ``""``.
    """

    row: int
    path: str
    url: str


@dataclass
class Task:
    """A photo, the host that is asked for it, and how often it has been."""

    photo: Photo
    host: str
    tries: int = 0


class Scheduler:
    """Hands out tasks when they are due.

    Parameters
    ----------
    photos
        Read as needed.
    host
        Returns who is asked for a photo.
    limiter
        Says when each host may be asked.
    """

    def __init__(
        self, photos: Iterator[Photo], host: Callable[[Photo], str], limiter: RateLimiter
    ) -> None:
        self._photos, self._host, self._limiter = photos, host, limiter
        self._queues: defaultdict[str, deque[Task]] = defaultdict(deque)
        # Hosts with something in their queue, by when they may be asked.
        self._hosts: list[tuple[float, str]] = []
        self._later: list[tuple[float, int, Task]] = []
        self._number = count()
        self._waiting = 0
        self.exhausted = False

    def __bool__(self) -> bool:
        return bool(self._hosts or self._later or not self.exhausted)

    def due(self, now: float) -> Task | None:
        """Return a task that may be done now, if there is one."""
        while self._later and self._later[0][0] <= now:
            self._enqueue(heapq.heappop(self._later)[2], first=True)
        while True:
            task = self._of_a_free_host(now)
            if task is not None or self.exhausted or self._waiting >= _MOST_WAITING:
                return task
            photo = next(self._photos, None)
            if photo is None:
                self.exhausted = True
            else:
                self._enqueue(Task(photo, self._host(photo)))

    def next_at(self) -> float | None:
        """Return when the next task may be due, if one is waiting."""
        times = [waiting[0][0] for waiting in (self._hosts, self._later) if waiting]
        return min(times) if times else None

    def again(self, task: Task, at: float) -> None:
        """Put a task off."""
        heapq.heappush(self._later, (at, next(self._number), task))

    def release(self, host: str) -> None:
        """Hand out a host's tasks at once: it is not going to be asked."""
        self._limiter.release(host)
        heapq.heappush(self._hosts, (0.0, host))

    def _of_a_free_host(self, now: float) -> Task | None:
        while self._hosts and self._hosts[0][0] <= now:
            _, host = heapq.heappop(self._hosts)
            start_at = self._limiter.start_at(host)
            if start_at > now:  # it was paused meanwhile
                heapq.heappush(self._hosts, (start_at, host))
                continue
            queue = self._queues[host]
            if not queue:  # it stood here twice
                continue
            task = queue.popleft()
            self._waiting -= 1
            self._limiter.start(host, now)
            if queue:
                heapq.heappush(self._hosts, (self._limiter.start_at(host), host))
            return task
        return None

    def _enqueue(self, task: Task, *, first: bool = False) -> None:
        host = task.host
        queue = self._queues[host]
        if not queue:
            heapq.heappush(self._hosts, (self._limiter.start_at(host), host))
        if first:
            queue.appendleft(task)
        else:
            queue.append(task)
        self._waiting += 1
