"""One loaded model at work: photos are decoded in threads, predicted in batches, answered.

Knows the locator and its threads; nothing of HTTP. Another bundle is another engine.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache
from time import perf_counter
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from locationnet.errors import ImageError, without_frames
from locationnet.geo import geojson
from locationnet.model.answer import answer
from locationnet.model.heatmap import heatmap, likely_area
from locationnet.model.locator import Locator
from locationnet.model.prediction import Prediction
from locationnet.model.region import Region
from locationnet.server.batching import Batcher
from locationnet.server.cache import AnswerCache
from locationnet.server.request_options import Options, refined
from locationnet.server.settings import Settings

Result = TypeVar("Result")

# A larger batch has to save more than this share of the time of a photo: less is noise.
_WORTH_IT = 0.95
# What a first inference sets up is little beside so long a one: it need not be measured again.
_LONG_S = 0.5


class Located(NamedTuple):
    """A prediction and what it took, seconds."""

    prediction: Prediction
    decode_s: float
    queue_s: float
    infer_s: float


class Engine:
    """Locates photos with one locator; made and used on one event loop.

    Parameters
    ----------
    locator
        The model.
    settings
        Threads, batches, cache, and what holds for every answer.
    batch_size
        From `measure_speed`.
    observe
        Called with the size of each batch.
    """

    def __init__(
        self,
        locator: Locator,
        settings: Settings,
        *,
        batch_size: int,
        observe: Callable[[int], None],
    ) -> None:
        self.locator = locator
        self._decoding = 0
        self._inside = 0
        self._empty = asyncio.Event()
        self._bounds: Region = settings.region
        self._min_radius_km = settings.min_radius_km
        self._cache = AnswerCache(settings.cache_bytes)
        # One pool for decoding, the network and answers: from two of as many threads each, they
        # would take the cores from one another.
        self._pool = ThreadPoolExecutor(settings.threads, thread_name_prefix="engine")
        self._batcher: Batcher[NDArray[np.float32], Prediction] = Batcher(
            self._predict,
            pool=self._pool,
            size=batch_size,
            wait_s=settings.batch_wait_ms / 1000,
            at_once=settings.threads,
            expecting=lambda: self._decoding,
            observe=observe,
        )
        # Finding the prior's best point takes as long as finding a photo's; options hardly vary.
        self._prior = lru_cache(maxsize=32)(self._prior_of)

    @contextmanager
    def busy(self) -> Iterator[None]:
        """Keep the engine from being closed until the block ends; see `drained`."""
        self._inside += 1
        self._empty.clear()
        try:
            yield
        finally:
            self._inside -= 1
            if not self._inside:
                self._empty.set()

    async def drained(self) -> None:
        """Wait until nothing keeps the engine busy."""
        if self._inside:
            await self._empty.wait()

    async def locate(self, photo: bytes) -> Located:
        """Return the prediction for the bytes of a photo.

        Raises
        ------
        ImageError
            It cannot be read.
        """
        key = await self.in_thread(lambda: self._cache.key(photo)) if self._cache.keeps else None
        known = self._cache.get(key)
        if known is not None:
            return Located(known, 0.0, 0.0, 0.0)
        start = perf_counter()
        self._decoding += 1
        try:
            image = await self.in_thread(lambda: self._prepare(photo))
        finally:
            self._decoding -= 1
        if isinstance(image, ImageError):
            raise image
        decoded = perf_counter()
        found, waited, ran = await self._batcher.submit(image)
        self._cache.put(key, found)
        return Located(found, decoded - start, waited, ran)

    async def in_thread(self, work: Callable[[], Result]) -> Result:
        """Run something in the bounded pool; cancelled before its turn, it never runs."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    def answer_fields(self, prediction: Prediction, options: Options) -> dict[str, Any]:
        """Return a prediction as plain JSON values, as a request wants it; run it in a thread.

        Raises
        ------
        ValueError
            No cell lies in the region that it names.
        """
        wanted = refined(prediction, options, self._bounds, self._min_radius_km)
        found = answer(self.locator.bundle, wanted, self._prior(options))
        if not options.explain:
            del found["evidence"], found["explanation"]
        if options.heatmap:
            area = likely_area(wanted)
            found["heatmap"] = heatmap(wanted)
            found["area"] = geojson.feature_collection(area, decimals=geojson.enough_decimals(area))
        return found

    def prior_heatmap(self, options: Options) -> dict[str, Any]:
        """Return the answer without a photo as cells, see `heatmap`; run it in a thread.

        Raises
        ------
        ValueError
            No cell lies in the region.
        """
        return heatmap(self._prior(options))

    def _prior_of(self, options: Options) -> Prediction:
        return refined(self.locator.prior(), options, self._bounds, self._min_radius_km)

    async def close(self) -> None:
        """Stop the threads; what still waits is cancelled."""
        await self._batcher.close()
        self._pool.shutdown(wait=False)

    def _prepare(self, photo: bytes) -> NDArray[np.float32] | ImageError:
        try:
            return self.locator.prepare(photo)
        except ImageError as error:
            # Not raised here: until the request has ended it would keep the decoded pixels.
            return without_frames(error)

    def _predict(self, images: Sequence[NDArray[np.float32]]) -> list[Prediction]:
        return self.locator.predict(np.stack(images))


class Speed(NamedTuple):
    """How many photos to run through the network at once, and the seconds that one then takes."""

    batch_size: int
    photo_s: float


def measure_speed(locator: Locator, limit: int) -> Speed:
    """Find the fastest size of a batch; it is also a warm-up.

    On a CPU a batch may well take longer for each photo than one photo alone (it does in float32 on
    ONNX Runtime, and does not in bfloat16 on OpenVINO), so sizes are tried until one is no faster.

    Parameters
    ----------
    locator
        The model.
    limit
        The largest size to try.
    """
    locator.prior().to_dict()
    found = Speed(1, _photo_s(locator, 1))
    count = 2
    while count <= limit and (each := _photo_s(locator, count)) < found.photo_s * _WORTH_IT:
        found = Speed(count, each)
        count *= 2
    return found


def _photo_s(locator: Locator, count: int) -> float:
    """Return the seconds that each photo of a batch takes."""
    size = locator.bundle.preprocessing.size
    images = np.zeros((count, 3, size, size), np.float32)
    fastest = float("inf")
    for _ in range(2):
        start = perf_counter()
        locator.predict(images)
        fastest = min(fastest, perf_counter() - start)
        if fastest > _LONG_S:
            break
    return fastest / count
