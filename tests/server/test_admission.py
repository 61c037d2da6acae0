"""Room for photos and bytes: whatever happens inside, all of it is given back."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from locationnet.server.admission import Memory, Overloaded, Queue
from locationnet.server.problems import Problem

ROOM = 10


class _StrangeError(Exception):
    pass


def _retry_after(caught: pytest.ExceptionInfo[Overloaded]) -> int:
    assert caught.value.status == 503
    assert caught.value.headers is not None
    return int(caught.value.headers["Retry-After"])


def test_a_full_queue_refuses_and_says_when_to_come_back() -> None:
    queue = Queue(2)
    with queue.entered(2):
        with pytest.raises(Overloaded) as caught, queue.entered():
            raise AssertionError
        assert queue.inside == 2
    assert _retry_after(caught) >= 1
    with queue.entered(2):
        pass


def test_it_says_to_come_back_later_where_photos_take_long() -> None:
    queue = Queue(8)
    for _ in range(200):
        queue.passed(10.0)
    with queue.entered(8), pytest.raises(Overloaded) as caught, queue.entered():
        raise AssertionError
    assert 60 < _retry_after(caught) <= 80


def test_places_that_are_not_needed_are_given_back_once() -> None:
    said: list[int] = []
    queue = Queue(32, said.append)
    with queue.entered(32) as ticket:
        ticket.keep(3)
        ticket.keep(5)
        assert queue.inside == 3
        with queue.entered(29):
            assert queue.inside == 32
    assert queue.inside == 0
    assert said == [32, 3, 32, 3, 0]


def test_a_request_that_alone_holds_too_much_is_413_and_not_told_to_come_back() -> None:
    memory = Memory(100)
    with memory.account() as account:
        account.take(60)
        with pytest.raises(Problem) as caught:
            account.take(41)
        assert caught.value.status == 413
        assert caught.value.headers is None
        with memory.account() as other, pytest.raises(Overloaded):
            other.take(41)
    assert memory.held == 0


_PERSON = st.tuples(
    st.integers(1, 6),  # photos
    st.lists(st.integers(0, 60), max_size=5),  # bytes that arrive
    st.integers(0, 6),  # places kept
    st.sampled_from(["answered", "fails", "cancelled"]),
    st.integers(0, 3),  # pauses between
)


@settings(max_examples=60, deadline=None)
@given(st.lists(_PERSON, max_size=12))
def test_nothing_leaks_in_whatever_order_they_come_fail_and_leave(
    people: list[tuple[int, list[int], int, str, int]],
) -> None:
    queue, memory = Queue(ROOM), Memory(100)

    async def visit(photos: int, chunks: list[int], kept: int, end: str, pauses: int) -> None:
        with queue.entered(photos) as ticket, memory.account() as account:
            for chunk in chunks:
                account.take(chunk)
                assert memory.held <= memory.limit
                await asyncio.sleep(0)
            ticket.keep(kept)
            assert 0 <= queue.inside <= ROOM
            for _ in range(pauses):
                await asyncio.sleep(0)
            if end == "fails":
                raise _StrangeError
            if end == "cancelled":
                await asyncio.sleep(3600)

    async def everybody() -> None:
        tasks = [asyncio.create_task(visit(*person)) for person in people]
        for _ in range(20):
            await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        for task in tasks:
            with contextlib.suppress(asyncio.CancelledError, _StrangeError, Problem):
                await task

    asyncio.run(everybody())
    assert queue.inside == 0
    assert memory.held == 0
