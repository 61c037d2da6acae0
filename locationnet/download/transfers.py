"""The loop that fetches: threads that wait for servers, and one that decides what they do.

Knows tasks, times and outcomes; what is done with a photo is the caller's.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar, cast

from locationnet.download.concurrency import Concurrency
from locationnet.download.failures import DownloadError
from locationnet.download.scheduler import Photo, Scheduler, Task
from locationnet.download.source import Reader, Source

Result = TypeVar("Result")

# The first wait before a photo is asked for again; it doubles.
_BACKOFF_S = 0.5
# Who asks for a longer pause is asked again in another run.
_MOST_PATIENCE_S = 300.0
# A host that failed so many photos one after the other is not asked again in this run.
_HOPELESS = 10
_TICK_S = 0.25


@dataclass
class Pace:
    """How it goes, for a progress bar.

    Parameters
    ----------
    photos
        Done with, in this run.
    bytes
        Fetched, in this run.
    connections
        Photos asked for at a time.
    """

    photos: int = 0
    bytes: int = 0
    connections: int = 0


PaceProgress = Callable[[int, int, Pace], object]
"""Called with photos done, photos in all and the pace."""


@dataclass(frozen=True)
class _Answer(Generic[Result]):
    task: Task
    outcome: Result | DownloadError | None
    error: BaseException | None
    bytes: int


def fetch_all(
    photos: Iterator[Photo],
    source: Source,
    reader: Reader,
    make: Callable[[Photo, Callable[[Photo], bytes]], Result],
    record: Callable[[Photo, Result | DownloadError], None],
    tick: Callable[[Pace], object],
) -> None:
    """Fetch photos until all are done with.

    Parameters
    ----------
    photos
        Read as needed, in this thread.
    source, reader
        Where they come from, and that opened.
    make
        Called in many threads: gets the photo's bytes by its second argument and makes something
        of them, or raises `DownloadError`.
    record
        Called in this thread with each photo's result, or with why there is none.
    tick
        Called a few times a second, in this thread; may raise to stop.

    Notes
    -----
    A host that keeps failing, or asks for a long pause, is left alone: the rest of its photos are
    recorded with the same failure without being asked for.
    """
    loop = _Loop(photos, source, reader, make, record, tick)
    with ThreadPoolExecutor(source.most_connections, "fetch") as pool:
        try:
            loop.run(pool)
        finally:
            # What is under way is finished and noted, whatever stopped us.
            pool.shutdown(cancel_futures=True)
            loop.note_the_rest()


class _Loop(Generic[Result]):
    def __init__(
        self,
        photos: Iterator[Photo],
        source: Source,
        reader: Reader,
        make: Callable[[Photo, Callable[[Photo], bytes]], Result],
        record: Callable[[Photo, Result | DownloadError], None],
        tick: Callable[[Pace], object],
    ) -> None:
        self._reader = reader
        self._scheduler = Scheduler(self._askable(photos), reader.host, reader.limiter)
        self._make, self._record, self._tick = make, record, tick
        self._concurrency = Concurrency(most=source.most_connections)
        self._answers: SimpleQueue[_Answer[Result]] = SimpleQueue()
        self._pace = Pace()
        self._busy = 0
        self._ticked = 0.0
        self._failed: Counter[str] = Counter()
        self._closed: dict[str, DownloadError] = {}
        # Fixed, so that two runs differ in nothing but the servers' answers.
        self._random = random.Random(0)  # noqa: S311 - it spreads retries, it protects nothing

    def run(self, pool: ThreadPoolExecutor) -> None:
        while True:
            now = time.monotonic()
            while self._busy < self._concurrency.limit:
                task = self._scheduler.due(now)
                if task is None:
                    self._concurrency.idled()
                    break
                if task.host in self._closed:
                    self._done_with(task.photo, self._closed[task.host], 0)
                    continue
                self._busy += 1
                pool.submit(self._do, task)
            if not self._busy and not self._scheduler:
                break
            self._wait(now)
            self._tick_at(now)
        self._tick(self._pace)

    def _tick_at(self, now: float) -> None:
        if now - self._ticked >= _TICK_S:
            self._ticked = now
            self._pace.connections = self._concurrency.limit
            self._tick(self._pace)

    def _askable(self, photos: Iterator[Photo]) -> Iterator[Photo]:
        """Leave out, and record, photos for which there is nobody to wait for."""
        for photo in photos:
            failure = self._reader.failure(photo)
            if failure is None:
                yield photo
            else:
                self._done_with(photo, failure, 0)
                self._tick_at(time.monotonic())

    def note_the_rest(self) -> None:
        """Record what came while we were stopping."""
        while not self._answers.empty():
            answer = self._answers.get()
            done = not isinstance(answer.outcome, DownloadError)
            if answer.error is None and done:  # a failure may pass at the next try
                self._done_with(answer.task.photo, answer.outcome, answer.bytes)

    def _wait(self, now: float) -> None:
        at = self._scheduler.next_at()
        full = self._busy >= self._concurrency.limit
        wait_s = _TICK_S if at is None or full else min(_TICK_S, max(at - now, 0.001))
        try:
            answer = self._answers.get(timeout=wait_s)
        except Empty:
            return
        self._handle(answer)

    def _do(self, task: Task) -> None:
        size = 0

        def get(photo: Photo) -> bytes:
            nonlocal size
            data = self._reader.get(photo)
            size = len(data)
            return data

        outcome: Result | DownloadError | None = None
        unexpected: BaseException | None = None
        try:
            outcome = self._make(task.photo, get)
        except DownloadError as error:
            outcome = error
        except BaseException as error:  # whatever it is, the deciding thread must hear of it
            unexpected = error
        self._answers.put(_Answer(task, outcome, unexpected, size))

    def _handle(self, answer: _Answer[Result]) -> None:
        self._busy -= 1
        if answer.error is not None:
            raise answer.error
        task, outcome, now = answer.task, answer.outcome, time.monotonic()
        photo = task.photo
        failure = outcome if isinstance(outcome, DownloadError) else None
        temporary = failure is not None and failure.temporary
        self._concurrency.finished(now, failed=temporary)
        if not temporary:
            self._failed[task.host] = 0
        task.tries += 1
        asked_s = failure.wait_s or 0.0 if failure else 0.0
        if failure is not None and task.tries < failure.tries and asked_s <= _MOST_PATIENCE_S:
            wait_s = _BACKOFF_S * 2 ** (task.tries - 1) * self._random.uniform(1, 1.5)
            if asked_s:
                self._reader.limiter.pause(task.host, now + asked_s)
            self._scheduler.again(task, now + max(wait_s, asked_s))
            return
        if failure is not None and temporary:
            self._failed[task.host] += 1
            if self._failed[task.host] >= _HOPELESS or asked_s > _MOST_PATIENCE_S:
                self._closed[task.host] = failure
                self._scheduler.release(task.host)
        self._done_with(photo, outcome, answer.bytes)

    def _done_with(self, photo: Photo, outcome: Result | DownloadError | None, size: int) -> None:
        self._pace.photos += 1
        self._pace.bytes += size
        self._record(photo, cast("Result | DownloadError", outcome))
