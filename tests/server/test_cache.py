"""Answers kept for photos seen before: off unless wanted, bounded, never of another model."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request

from locationnet.model.locator import Locator, load_model
from locationnet.server.engine import AnswerCache
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
            kept, new = (one.raw(make_photo(), query=query).json for one in (client, fresh))
            del kept["timing_ms"], new["timing_ms"]
            assert kept == new
        assert locator.prepared == 1
        client.raw(make_photo((1, 2, 3)))
        assert locator.prepared == 2


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
