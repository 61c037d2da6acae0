"""Batches: order, sizes, waiting, cancellation, failure, the end."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from locationnet.server.batching import Batcher

LONG_S = 60.0


def run(test: Callable[[], Awaitable[Any]]) -> Any:
    async def limited() -> Any:
        async with asyncio.timeout(30):
            return await test()

    return asyncio.run(limited())


class Doubling:
    """Doubles numbers, notes its batches, and can be held up or made to fail."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.free = threading.Event()
        self.free.set()
        self.error: Exception | None = None

    def __call__(self, items: Sequence[int]) -> list[int]:
        self.batches.append(list(items))
        assert self.free.wait(30)
        if self.error is not None:
            raise self.error
        return [2 * item for item in items]

    def batcher(self, **how: Any) -> Batcher[int, int]:
        threads = how.pop("threads", 1)
        pool = ThreadPoolExecutor(threads)
        return Batcher(
            self, **{"pool": pool, "size": 8, "wait_s": 0.005, "at_once": threads, **how}
        )

    @property
    def items(self) -> list[int]:
        return [item for batch in self.batches for item in batch]


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.001)


@settings(max_examples=30, deadline=None)
@given(
    items=st.lists(st.integers(), min_size=1, max_size=40),
    size=st.integers(1, 8),
    threads=st.integers(1, 3),
    wait_s=st.sampled_from([0.0, 0.001]),
)
def test_each_item_gets_its_own_result_and_no_batch_is_too_large(
    items: list[int], size: int, threads: int, wait_s: float
) -> None:
    double, sizes = Doubling(), list[int]()

    async def test() -> list[int]:
        batcher = double.batcher(size=size, threads=threads, wait_s=wait_s, observe=sizes.append)
        found = await asyncio.gather(*(batcher.submit(item) for item in items))
        await batcher.close()
        assert all(one.waited_s >= 0 and one.ran_s >= 0 for one in found)
        return [one.result for one in found]

    assert run(test) == [2 * item for item in items]
    assert sorted(double.items) == sorted(items)
    assert sorted(sizes) == sorted(map(len, double.batches))
    assert max(sizes) <= size
    if threads == 1:
        assert double.items == items


def test_items_wait_for_those_on_the_way_until_the_batch_is_full() -> None:
    double = Doubling()

    async def test() -> None:
        batcher = double.batcher(size=3, wait_s=LONG_S)
        submitted = [asyncio.create_task(batcher.submit(1))]
        for item in (2, 3):
            await asyncio.sleep(0.01)
            assert not double.batches
            submitted.append(asyncio.create_task(batcher.submit(item)))
        await asyncio.gather(*submitted)
        await batcher.close()

    run(test)
    assert double.batches == [[1, 2, 3]]


def test_an_item_waits_no_longer_than_it_may() -> None:
    double = Doubling()

    async def test() -> None:
        batcher = double.batcher(wait_s=0.02)
        found = await batcher.submit(1)
        assert found.waited_s >= 0.02
        await batcher.close()

    run(test)
    assert double.batches == [[1]]


def test_nobody_waits_for_nobody() -> None:
    double = Doubling()

    async def test() -> None:
        batcher = double.batcher(wait_s=LONG_S, expecting=lambda: 0)
        assert (await batcher.submit(1)).result == 2
        await batcher.close()

    run(test)


def test_items_gather_while_the_network_is_busy() -> None:
    double = Doubling()

    async def test() -> None:
        batcher = double.batcher(wait_s=0.0)
        double.free.clear()
        submitted = [asyncio.create_task(batcher.submit(0))]
        await until(lambda: len(double.batches) == 1)
        submitted += [asyncio.create_task(batcher.submit(item)) for item in range(1, 12)]
        await asyncio.sleep(0.01)
        double.free.set()
        await asyncio.gather(*submitted)
        await batcher.close()

    run(test)
    assert double.batches == [[0], list(range(1, 9)), [9, 10, 11]]


def test_what_is_cancelled_before_its_turn_is_never_computed() -> None:
    double = Doubling()

    async def test() -> None:
        batcher = double.batcher(wait_s=0.0)
        double.free.clear()
        first = asyncio.create_task(batcher.submit(1))
        await until(lambda: len(double.batches) == 1)
        gone, stays = (asyncio.create_task(batcher.submit(item)) for item in (2, 3))
        await asyncio.sleep(0)
        gone.cancel()
        double.free.set()
        assert (await first).result == 2
        assert (await stays).result == 6
        await batcher.close()

    run(test)
    assert double.batches == [[1], [3]]


def test_what_is_cancelled_while_its_batch_is_gathered_is_never_computed() -> None:
    double = Doubling()

    async def test() -> None:
        batcher = double.batcher(size=2, wait_s=LONG_S)
        gone = asyncio.create_task(batcher.submit(1))
        await asyncio.sleep(0.01)
        gone.cancel()
        await asyncio.sleep(0)
        found = await asyncio.gather(*map(batcher.submit, (2, 3)))
        assert [one.result for one in found] == [4, 6]
        await batcher.close()

    run(test)
    assert double.items == [2, 3]


def test_those_who_come_while_a_batch_waits_for_a_thread_go_with_it() -> None:
    double = Doubling()

    async def test() -> None:
        pool, free = ThreadPoolExecutor(1), threading.Event()
        other = pool.submit(free.wait, 30)
        batcher = double.batcher(pool=pool, wait_s=0.0)
        early = asyncio.create_task(batcher.submit(1))
        await asyncio.sleep(0.01)
        late = asyncio.create_task(batcher.submit(2))
        await asyncio.sleep(0.01)
        free.set()
        assert [one.result for one in await asyncio.gather(early, late)] == [2, 4]
        await batcher.close()
        assert other.result()

    run(test)
    assert double.batches == [[1, 2]]


def test_an_exception_reaches_all_of_its_batch_and_nobody_else() -> None:
    double = Doubling()

    async def test() -> None:
        batcher = double.batcher(size=3, wait_s=LONG_S)
        double.error = RuntimeError("broken")
        found = await asyncio.gather(*map(batcher.submit, (1, 2, 3)), return_exceptions=True)
        assert found == [double.error] * 3
        double.error = None
        again = await asyncio.gather(*map(batcher.submit, (4, 5, 6)))
        assert [one.result for one in again] == [8, 10, 12]
        await batcher.close()

    run(test)


def test_too_few_results_are_an_error_and_no_silence() -> None:
    async def test() -> None:
        batcher: Batcher[int, int] = Batcher(
            lambda _: [], pool=ThreadPoolExecutor(1), size=1, wait_s=0, at_once=1
        )
        for _ in range(2):
            with pytest.raises(ValueError, match="zip"):
                await batcher.submit(1)
        await batcher.close()

    run(test)


@pytest.mark.parametrize("where", ["queued", "gathered", "computed"])
def test_the_end_leaves_nobody_waiting(where: str) -> None:
    double = Doubling()

    async def test() -> None:
        batcher = double.batcher(wait_s=LONG_S if where == "gathered" else 0.0)
        if where != "gathered":
            double.free.clear()
        tasks = [asyncio.create_task(batcher.submit(1))]
        await asyncio.sleep(0.01)
        if where == "queued":
            tasks.append(asyncio.create_task(batcher.submit(2)))
            await asyncio.sleep(0.01)
        await batcher.close()
        double.free.set()
        for task in tasks:
            with pytest.raises(asyncio.CancelledError):
                await task
        with pytest.raises(asyncio.CancelledError):
            await batcher.submit(3)

    run(test)


@pytest.mark.parametrize("steps", range(8))
def test_the_end_may_come_at_any_step_of_an_arrival(steps: int) -> None:
    double = Doubling()

    async def test() -> None:
        batcher = double.batcher(wait_s=LONG_S)
        await asyncio.sleep(0.001)
        task = asyncio.create_task(batcher.submit(1))
        for _ in range(steps):
            await asyncio.sleep(0)
        await batcher.close()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(test)
