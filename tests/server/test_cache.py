"""What a process has room for: answers kept for photos seen before, and photos in the queue."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request

from locationnet.model.locator import Locator, load_model
from locationnet.server.cache import AnswerCache
from locationnet.server.request_options import Options
from locationnet.server.service import Service
from locationnet.server.settings import Settings, read_settings

Make = Callable[..., bytes]


class _Counting(Locator):
    def __init__(self, locator: Locator) -> None:
        self.__dict__.update(locator.__dict__)
        self.prepared = 0

    def prepare(self, photo: Any) -> Any:
        self.prepared += 1
        return super().prepare(photo)


def test_by_default_nothing_is_kept(serving: Any, tiny_locator: Locator, make_photo: Make) -> None:
    assert Settings().cache_bytes == 0
    assert not AnswerCache(0).keeps
    locator = _Counting(tiny_locator)
    with serving(locator) as client:
        for _ in range(3):
            client.raw(make_photo())
    assert locator.prepared == 3


def test_a_photo_seen_before_is_not_decoded_again_whatever_is_asked(
    serving: Any, tiny_locator: Locator, make_photo: Make
) -> None:
    locator = _Counting(tiny_locator)
    with serving(locator, cache_bytes=1_000_000) as client, serving(tiny_locator) as fresh:
        for query in ("", "?top_k=1", "?near=59,10,500", "?coarse_km=100&heatmap=true", ""):
            kept, new = (_rounded(one.raw(make_photo(), query=query)) for one in (client, fresh))
            assert kept == new
        assert locator.prepared == 1
        client.raw(make_photo((1, 2, 3)))
        assert locator.prepared == 2


def _rounded(reply: Any) -> Any:
    """Return an answer to five digits, without how long it took."""
    found = json.loads(reply.body, parse_float=lambda text: f"{float(text):.5g}")
    del found["timing_ms"]
    return found


@given(st.lists(st.integers(0, 20), max_size=60), st.integers(1, 40_000))
def test_what_is_kept_has_bounds(tiny_locator: Locator, photos: list[int], room: int) -> None:
    cache = AnswerCache(room)
    prediction = tiny_locator.prior()
    batch = np.tile(prediction.probabilities, (8, 1))
    for photo in photos:
        key = cache.key(bytes([photo]))
        cache.put(key, type(prediction)(prediction.layer, batch[photo % 8], prediction.prior))
        assert cache._kept.currsize <= room
        found = cache.get(key)
        if found is not None:
            assert found.probabilities.base is None  # it keeps no batch alive
    assert len(cache._kept) <= room / 4096


def test_a_new_model_never_answers_with_the_old_ones_words(
    make_bundle: Callable[..., Path], make_photo: Make
) -> None:
    bundles = [make_bundle(version=version) for version in ("1.0.0", "2.0.0")]
    photo = make_photo()

    def request() -> Request:
        """A body that has arrived, from a client that waits."""
        messages = [{"type": "http.request", "body": photo, "more_body": False}]

        async def receive() -> Any:
            if not messages:
                await asyncio.sleep(3600)
            return messages.pop()

        headers = [(b"content-type", b"image/jpeg")]
        return Request({"type": "http", "headers": headers, "state": {"log": {}}}, receive)

    async def test() -> list[str]:
        settings = read_settings(cache_bytes=1_000_000)
        service = Service(settings, load_model(bundles[0]), lambda: load_model(bundles[1]))
        versions = []
        async with service.running():
            for step in range(4):
                if step == 2:
                    await service.reload()
                answer = await service.answer(request(), Options.model_validate({}))
                versions.append(json.loads(answer)["model"]["version"])
            assert service._queue.inside == 0
            assert service._memory.held == 0
        return versions

    assert asyncio.run(test()) == ["1.0.0", "1.0.0", "2.0.0", "2.0.0"]


@given(st.integers(0, 2**32 - 1), st.floats(0.001, 2))
def test_a_kept_answer_is_nearly_the_one_that_was_given(
    demo_locator: Locator, seed: int, evenness: float
) -> None:
    prior = demo_locator.prior()
    probabilities = np.random.default_rng(seed).dirichlet(np.full(len(prior.grid), evenness))
    cache = AnswerCache(1_000_000)
    cache.put(b"photo", replace(prior, probabilities=probabilities))
    found = cache.get(b"photo")
    assert found is not None
    assert abs(found.probabilities - probabilities).sum() < 3e-6
    assert found.probabilities.sum() == pytest.approx(1)
    few = np.count_nonzero(probabilities * len(prior.grid) > 1e-6)
    assert cache._kept.currsize <= 4096 + min(8 * few, 4 * len(prior.grid))


def test_a_slow_model_lets_in_only_what_it_can_answer_in_time(
    serving: Any, tiny_locator: Locator, make_photo: Make
) -> None:
    class Slow(Locator):
        def __init__(self) -> None:
            self.__dict__.update(tiny_locator.__dict__)
            self.batches: list[int] = []

        def predict(self, images: Any, **how: Any) -> Any:
            self.batches.append(len(images))
            time.sleep(0.6 * len(images))
            return super().predict(images, **how)

    locator = Slow()
    with serving(locator, threads=1, request_timeout_s=5.0) as client:
        # A larger batch is no faster, so it was not tried twice, nor a larger one at all.
        assert locator.batches == [1, 2]
        with ThreadPoolExecutor(12) as pool:
            replies = list(pool.map(client.raw, [make_photo()] * 12))
    # Half of the deadline is time for four.
    assert sorted(reply.status for reply in replies) == [200] * 4 + [503] * 8
