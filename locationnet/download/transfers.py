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
from locationnet.download.failures import ProblemError
from locationnet.download.scheduler import Agenda, Photo, Task
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


@dataclass(frozen=True)
class _Answer(Generic[Result]):
    task: Task
    outcome: Result | ProblemError | None
    error: BaseException | None
    bytes: int
    delay_s: float


def fetch_all(
    photos: Iterator[Photo],
    source: Source,
    reader: Reader,
    work: Callable[[Photo, Callable[[Photo], bytes]], Result],
    record: Callable[[Photo, Result | ProblemError], None],
    tick: Callable[[Pace], object],
) -> None:
    """Fetch photos until all are done with.

    Parameters
    ----------
    photos
        Read as needed, in this thread.
    source, reader
        Where they come from, and that opened.
    work
        Called in many threads: gets the photo's bytes by its second argument and makes something
        of them, or raises `ProblemError`.
    record
        Called in this thread with each photo's result, or with why there is none.
    tick
        Called a few times a second, in this thread; may raise to stop.

    Notes
    -----
    A host that keeps failing, or asks for a long pause, is left alone: the rest of its photos are
    recorded with the same problem without being asked for.
    """
    loop = _Loop(photos, source, reader, work, record, tick)
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
        work: Callable[[Photo, Callable[[Photo], bytes]], Result],
        record: Callable[[Photo, Result | ProblemError], None],
        tick: Callable[[Pace], object],
    ) -> None:
        self._reader = reader
        self._agenda = Agenda(self._askable(photos), reader.host, source.interval_s)
        self._work, self._record, self._tick = work, record, tick
        self._concurrency = Concurrency(most=source.most_connections)
        self._answers: SimpleQueue[_Answer[Result]] = SimpleQueue()
        self._pace = Pace()
        self._busy = 0
        self._ticked = 0.0
        self._failures: Counter[str] = Counter()
        self._closed: dict[str, ProblemError] = {}
        # Fixed, so that two runs differ in nothing but the servers' answers.
        self._random = random.Random(0)  # noqa: S311 - it spreads retries, it protects nothing

    def run(self, pool: ThreadPoolExecutor) -> None:
        while True:
            now = time.monotonic()
            while self._busy < self._concurrency.limit:
                task = self._agenda.due(now)
                if task is None:
                    self._concurrency.idled()
                    break
                if task.host in self._closed:
                    self._finish(task.photo, self._closed[task.host], 0)
                    continue
                self._busy += 1
                pool.submit(self._do, task)
            if not self._busy and not self._agenda:
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
            problem = self._reader.problem(photo)
            if problem is None:
                yield photo
            else:
                self._finish(photo, problem, 0)
                self._tick_at(time.monotonic())

    def note_the_rest(self) -> None:
        """Record what came while we were stopping."""
        while not self._answers.empty():
            answer = self._answers.get()
            done = not isinstance(answer.outcome, ProblemError)
            if answer.error is None and done:  # a problem may pass at the next try
                self._finish(answer.task.photo, answer.outcome, answer.bytes)

    def _wait(self, now: float) -> None:
        at = self._agenda.next_at()
        full = self._busy >= self._concurrency.limit
        wait_s = _TICK_S if at is None or full else min(_TICK_S, max(at - now, 0.001))
        try:
            answer = self._answers.get(timeout=wait_s)
        except Empty:
            return
        self._settle(answer)

    def _do(self, task: Task) -> None:
        size = 0

        def get(photo: Photo) -> bytes:
            nonlocal size
            data = self._reader.get(photo)
            size = len(data)
            return data

        outcome: Result | ProblemError | None = None
        failure: BaseException | None = None
        try:
            outcome = self._work(task.photo, get)
        except ProblemError as error:
            outcome = error
        except BaseException as error:  # whatever it is, the deciding thread must hear of it
            failure = error
        delay_s = self._reader.delay_s(task.photo)
        self._answers.put(_Answer(task, outcome, failure, size, delay_s))

    def _settle(self, answer: _Answer[Result]) -> None:
        self._busy -= 1
        if answer.error is not None:
            raise answer.error
        task, outcome, now = answer.task, answer.outcome, time.monotonic()
        photo = task.photo
        problem = outcome if isinstance(outcome, ProblemError) else None
        temporary = problem is not None and problem.temporary
        self._concurrency.finished(now, failed=temporary)
        if answer.delay_s:
            self._agenda.slow_down(task.host, answer.delay_s)
        if not temporary:
            self._failures[task.host] = 0
        task.tries += 1
        wanted_s = problem.wait_s or 0.0 if problem else 0.0
        if problem is not None and task.tries < problem.tries and wanted_s <= _MOST_PATIENCE_S:
            wait_s = _BACKOFF_S * 2 ** (task.tries - 1) * self._random.uniform(1, 1.5)
            if wanted_s:
                self._agenda.pause(task.host, now + wanted_s)
            self._agenda.again(task, now + max(wait_s, wanted_s))
            return
        if problem is not None and temporary:
            self._failures[task.host] += 1
            if self._failures[task.host] >= _HOPELESS or wanted_s > _MOST_PATIENCE_S:
                self._closed[task.host] = problem
                self._agenda.release(task.host)
        self._finish(photo, outcome, answer.bytes)

    def _finish(self, photo: Photo, outcome: Result | ProblemError | None, size: int) -> None:
        self._pace.photos += 1
        self._pace.bytes += size
        self._record(photo, cast("Result | ProblemError", outcome))
