"""Requests that come at about the same time go through the network together.

Knows futures and threads; what is computed is the caller's. Everything but the computing itself
happens on the event loop's thread, so nothing here needs a lock but the one that decides whose
turn it is to gather.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter
from typing import Any, Generic, NamedTuple, TypeVar

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


class Batcher(Generic[Item, Result]):
    """Gathers items into batches and computes them in threads.

    Parameters
    ----------
    compute
        Items to results, in order; runs in a thread, several at once.
    size
        Items of the largest batch.
    wait_s
        How long the first item of a batch waits for others; not at all while `expecting` says that
        nobody is on the way.
    threads
        Batches that are computed at a time. While all are busy, items gather for longer.
    expecting
        How many items are on the way.
    observe
        Called with the size of each batch.
    """

    def __init__(
        self,
        compute: Callable[[Sequence[Item]], Sequence[Result]],
        *,
        size: int,
        wait_s: float,
        threads: int,
        expecting: Callable[[], int] = lambda: 1,
        observe: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._compute = compute
        self._size = size
        self._wait_s = wait_s
        self._expecting = expecting
        self._observe = observe
        self._waiting: deque[_Waiting[Item, Result]] = deque()
        self._closed = False
        self._arrived = asyncio.Event()
        self._turn = asyncio.Lock()
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="infer")
        self._workers = [asyncio.create_task(self._work()) for _ in range(threads)]

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
        self._waiting.append(_Waiting(item, perf_counter(), answer))
        self._arrived.set()
        return await answer

    async def close(self) -> None:
        """Stop; items that still wait, or are being computed, are cancelled."""
        self._closed = True
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)
        _cancel(self._waiting)
        self._pool.shutdown(wait=False)

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            async with self._turn:
                batch = await self._gather()
            # A client may have gone while its batch was gathered.
            batch = [one for one in batch if not one.answer.done()]
            if not batch:
                continue
            self._observe(len(batch))
            start = perf_counter()
            items = [one.item for one in batch]
            try:
                results = await loop.run_in_executor(self._pool, self._compute, items)
                ran = perf_counter() - start
                for one, result in zip(batch, results, strict=True):
                    if not one.answer.done():
                        one.answer.set_result(Timed(result, start - one.since, ran))
            except Exception as error:
                for one in batch:
                    if not one.answer.done():
                        one.answer.set_exception(error)
            finally:
                _cancel(batch)

    async def _gather(self) -> list[_Waiting[Item, Result]]:
        batch: list[_Waiting[Item, Result]] = []
        try:
            await self._fill(batch)
        except asyncio.CancelledError:
            _cancel(batch)
            raise
        return batch

    async def _fill(self, batch: list[_Waiting[Item, Result]]) -> None:
        until = 0.0
        while True:
            while self._waiting and len(batch) < self._size:
                one = self._waiting.popleft()
                if not one.answer.done():
                    batch.append(one)
                    until = until or perf_counter() + self._wait_s
            if len(batch) == self._size or (batch and not self._expecting()):
                return
            self._arrived.clear()
            # Without a first item there is no hurry.
            left = max(0.0, until - perf_counter()) if batch else None
            try:
                # Not `wait_for`, which forgets a cancellation that comes as the wait ends.
                async with asyncio.timeout(left):
                    await self._arrived.wait()
            except TimeoutError:
                return


def _cancel(batch: Iterable[_Waiting[Any, Any]]) -> None:
    for one in batch:
        one.answer.cancel()  # nothing happens to those that are done
