"""Requests that come at about the same time go through the network together.

Knows futures and threads; what is computed is the caller's. Everything but the computing itself,
and a last look for company right before it, happens on the event loop's thread.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from time import perf_counter
from typing import Generic, NamedTuple, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class Timed(NamedTuple, Generic[Result]):
    """A result, how long it waited for its turn and how long computing took, seconds."""

    result: Result
    waited_s: float
    ran_s: float


class _Waiting(NamedTuple, Generic[Item, Result]):
    item: Item
    since: float
    answer: asyncio.Future[Timed[Result]]


_Batch = list[_Waiting[Item, Result]]


class Batcher(Generic[Item, Result]):
    """Gathers items into batches and computes them in threads.

    Parameters
    ----------
    compute
        Items to results, in order; runs in a thread, several at once.
    pool
        Where the threads are; it may have other work too, and is not closed here.
    size
        Items of the largest batch.
    wait_s
        How long the first item of a batch waits for others; not at all while `expecting` says that
        nobody is on the way.
    at_once
        Batches that are computed, or wait for a thread, at a time. Those that wait take in whoever
        comes meanwhile; beyond them, items gather.
    expecting
        How many items are on the way.
    observe
        Called with the size of each batch.
    """

    def __init__(
        self,
        compute: Callable[[Sequence[Item]], Sequence[Result]],
        *,
        pool: Executor,
        size: int,
        wait_s: float,
        at_once: int,
        expecting: Callable[[], int] = lambda: 1,
        observe: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._compute = compute
        self._pool = pool
        self._size = size
        self._wait_s = wait_s
        self._expecting = expecting
        self._observe = observe
        self._waiting: deque[_Waiting[Item, Result]] = deque()
        self._unanswered: set[asyncio.Future[Timed[Result]]] = set()
        self._closed = False
        self._arrived = asyncio.Event()
        self._turn = asyncio.Lock()
        self._workers = [asyncio.create_task(self._work()) for _ in range(at_once)]

    async def submit(self, item: Item) -> Timed[Result]:
        """Return what comes of an item. Cancelled before its turn, it is never computed.

        Raises
        ------
        Exception
            Whatever computing its batch raised.
        CancelledError
            The batcher is closed.
        """
        if self._closed:
            raise asyncio.CancelledError
        answer: asyncio.Future[Timed[Result]] = asyncio.get_running_loop().create_future()
        self._unanswered.add(answer)
        answer.add_done_callback(self._unanswered.discard)
        self._waiting.append(_Waiting(item, perf_counter(), answer))
        self._arrived.set()
        return await answer

    async def close(self) -> None:
        """Stop; items that still wait, or are being computed, are cancelled."""
        self._closed = True
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)
        for answer in list(self._unanswered):
            answer.cancel()

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            batch: _Batch[Item, Result] = []
            async with self._turn:
                await self._gather(batch)
            try:
                results = await loop.run_in_executor(self._pool, self._run, batch)
                for one, result in zip(batch, results, strict=True):
                    if not one.answer.done():
                        one.answer.set_result(result)
            except Exception as error:
                for one in batch:
                    if not one.answer.done():
                        one.answer.set_exception(error)

    async def _gather(self, batch: _Batch[Item, Result]) -> None:
        """Wait until there is a batch, and for others to go with it."""
        until = 0.0
        while True:
            self._take(batch)
            if len(batch) == self._size or (batch and not self._expecting()):
                return
            until = (until or perf_counter() + self._wait_s) if batch else 0.0
            self._arrived.clear()
            # Without a first item there is no hurry.
            left = max(0.0, until - perf_counter()) if batch else None
            try:
                # Not `wait_for`, which forgets a cancellation that comes as the wait ends.
                async with asyncio.timeout(left):
                    await self._arrived.wait()
            except TimeoutError:
                return

    def _run(self, batch: _Batch[Item, Result]) -> list[Timed[Result]]:
        """Compute a batch; runs in a thread."""
        self._take(batch)
        if not batch:
            return []
        self._observe(len(batch))
        start = perf_counter()
        results = self._compute([one.item for one in batch])
        ran = perf_counter() - start
        return [
            Timed(result, start - one.since, ran)
            for one, result in zip(batch, results, strict=True)
        ]

    def _take(self, batch: _Batch[Item, Result]) -> None:
        """Fill up a batch with those that wait, without those whose client has gone."""
        batch[:] = [one for one in batch if not one.answer.done()]
        with suppress(IndexError):  # several threads take, and none looks before it does
            while len(batch) < self._size:
                one = self._waiting.popleft()
                if not one.answer.done():
                    batch.append(one)
