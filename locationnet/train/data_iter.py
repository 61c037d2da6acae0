"""A pack as batches for MXNet: decoded by threads, in an order that a resumed run repeats.

Knows packs and batches; not what is learned from them. The photos of batch b of epoch e depend on
(seed, e, b) alone: whoever starts at a batch gets exactly what would have come there.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from locationnet.errors import ImageError, InputError, LocationNetError
from locationnet.images import open_image
from locationnet.pack.format import Pack, PackedJpegs
from locationnet.preprocess import Preprocessing, tensor
from locationnet.train.augment import augmented, uniforms
from locationnet.train.backbones import DATA
from locationnet.train.compat import mx
from locationnet.train.config import Augmentation
from locationnet.train.loss import LABEL_CLASSES, LABEL_WEIGHTS
from locationnet.train.place_batches import Pairs
from locationnet.train.soft_labels import SoftLabels
from locationnet.train.triplet import LABEL_RELATIONS

# Photos that a thread decodes before it asks for more.
_CHUNK = 8
# Batches that are decoded ahead of the one in use.
_AHEAD = 3

Pixels = NDArray[np.uint8]
Records = NDArray[np.int64]
# As `PackIter.provide_label` describes them.
Labels = tuple[NDArray[np.int64] | NDArray[np.float32], ...]


class Part(NamedTuple):
    """Which share of every global batch a worker gets: its rank, and how many workers there are."""

    rank: int = 0
    workers: int = 1


ALONE = Part()


@dataclass(frozen=True)
class Plan:
    """Which photos stand where.

    Parameters
    ----------
    records
        Photos of an epoch.
    batch_size
        Photos in each batch of each worker.
    part
        This worker.
    seed
        Of the order; None for the pack's own order in every epoch.
    draw
        Makes the order of an epoch, where it is not simply a random one of all photos.
    """

    records: int
    batch_size: int
    part: Part = ALONE
    seed: int | None = None
    draw: Callable[[int], Records] | None = None

    @property
    def global_batch(self) -> int:
        """Photos in a batch of all workers together."""
        return self.batch_size * self.part.workers

    @property
    def batches(self) -> int:
        """Batches of an epoch, the same for each worker; the last one is filled up."""
        return -(-self.records // self.global_batch)

    def order(self, epoch: int) -> Records:
        """Return the order of all photos, int64 ``(records,)``."""
        if self.draw is not None:
            return self.draw(epoch)
        if self.seed is None:
            return np.arange(self.records)
        return np.random.default_rng([self.seed, epoch]).permutation(self.records)

    def batch(self, order: Records, index: int) -> tuple[Records, int]:
        """Return the photos of this worker's batch, int64 ``(batch_size,)``, and how many count.

        A global batch is the same photos whatever the number of workers. The last is filled up
        with photos from the start of the order, which count nothing.
        """
        start = index * self.global_batch + self.part.rank * self.batch_size
        positions = np.arange(start, start + self.batch_size)
        counting = int(np.clip(self.records - start, 0, self.batch_size))
        return order[positions % self.records], counting


class PackIter(mx.io.DataIter):  # type: ignore[misc]  # mxnet has no types
    """Batches of a pack's photos.

    ``data``: uint8 (n, size, size, 3). ``softmax_label``, ``softmax_label_weight``: float32
    (n, k), see `SoftLabels`; photos that only fill the last batch up weigh nothing. ``relations``,
    where pairs are compared: float32 (n, block), see `Pairs.relations`. A batch's ``index`` is the
    photos' records in the pack, its ``pad`` how many fill it up.

    `reset` goes to the next epoch, `start` to any batch.

    Parameters
    ----------
    pack
        An opened pack.
    plan
        Which photos make up each batch.
    labels
        Makes their labels.
    how
        The network's preprocessing; used as it is unless photos are varied.
    augmentation
        How photos are varied; None for the centre of each, exactly as the locator sees it.
    pairs
        What photos are to each other; None where each is learned from by itself.
    block
        With `pairs`: photos on each device.
    threads
        That decode.
    """

    def __init__(
        self,
        pack: Pack,
        plan: Plan,
        labels: SoftLabels,
        how: Preprocessing,
        *,
        augmentation: Augmentation | None = None,
        pairs: Pairs | None = None,
        block: int = 1,
        threads: int = 4,
    ) -> None:
        super().__init__(plan.batch_size)
        self.plan = plan
        self._pairs, self._block = pairs, block
        self._pack, self._labels = pack, labels
        self._jpegs = PackedJpegs(pack)
        # The centre square, before the mean is subtracted.
        self._plain = Preprocessing(how.recipe, how.size, how.short_side, (0, 0, 0), (1, 1, 1))
        self._augmentation = augmentation
        self._threads = threads
        self._pool: ThreadPoolExecutor | None = None
        self._pending: deque[_Pending] = deque()
        self._free: list[Pixels] = []
        self._epoch = -1
        self.start(0)

    @property
    def provide_data(self) -> list[mx.io.DataDesc]:
        """The pixels' name, shape and type."""
        size = self._plain.size
        shape = (self.batch_size, size, size, 3)
        return [mx.io.DataDesc(DATA, shape, np.uint8, "NHWC")]

    @property
    def provide_label(self) -> list[mx.io.DataDesc]:
        """The labels' names and shapes."""
        widths = dict.fromkeys((LABEL_CLASSES, LABEL_WEIGHTS), self._labels.width)
        if self._pairs is not None:
            widths[LABEL_RELATIONS] = self._block
        return [
            mx.io.DataDesc(name, (self.batch_size, width), np.float32, "NC")
            for name, width in widths.items()
        ]

    def start(self, epoch: int, batch: int = 0) -> None:
        """Go to a batch of an epoch, both counted from 0."""
        self._drain()
        if epoch != self._epoch:
            self._order = self.plan.order(epoch)
        self._epoch, self._next = epoch, batch

    def reset(self) -> None:
        """Go to the start of the next epoch."""
        self.start(self._epoch + 1)

    def next(self) -> mx.io.DataBatch:
        """Return the next batch.

        Raises
        ------
        StopIteration
            The epoch is over.
        LocationNetError
            A photo of the pack cannot be decoded; the message names it.
        """
        while self._next < self.plan.batches and len(self._pending) <= _AHEAD:
            self._pending.append(self._submit(self._next))
            self._next += 1
        if not self._pending:
            raise StopIteration
        # Taken off first: whatever fails, the rest stays in order.
        pending = self._pending.popleft()
        for task in pending.tasks:
            task.result()
        batch = mx.io.DataBatch(
            data=[mx.nd.array(pending.pixels, dtype=np.uint8)],
            label=[mx.nd.array(label) for label in pending.labels.result()],
            pad=self.batch_size - pending.counting,
            index=pending.records,
        )
        # The arrays above are copies.
        self._free.append(pending.pixels)
        return batch

    def close(self) -> None:
        """Stop the threads; `start` and `next` would start them again."""
        self._drain()
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None

    def _submit(self, index: int) -> _Pending:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="decode")
        records, counting = self.plan.batch(self._order, index)
        size = self._plain.size
        pixels = self._free.pop() if self._free else np.empty((len(records), size, size, 3), "u1")
        fill = self._filler(records, pixels)
        tasks = [
            self._pool.submit(fill, slice(start, start + _CHUNK))
            for start in range(0, len(records), _CHUNK)
        ]
        labels = self._pool.submit(self._labels_of, records, counting)
        return _Pending(records, counting, pixels, tasks, labels)

    def _labels_of(self, records: Records, counting: int) -> Labels:
        pack = self._pack
        classes = pack.classes_of_records[records].astype(np.int64)
        named, weights = self._labels(classes, pack.lat[records], pack.lng[records])
        weights[counting:] = 0
        if self._pairs is None:
            return named, weights
        return named, weights, self._pairs.relations(records, self._block)

    def _filler(self, records: Records, pixels: Pixels) -> Callable[[slice], None]:
        how = self._augmentation
        draws = None if how is None else uniforms(self.plan.seed or 0, self._epoch, records)

        def fill(part: slice) -> None:
            for place in range(*part.indices(len(records))):
                record = int(records[place])
                try:
                    image = open_image(self._jpegs.read(record))
                    if how is None or draws is None:
                        pixels[place] = tensor(image, self._plain).transpose(1, 2, 0)
                    else:
                        pixels[place] = varied(image, self._plain.size, how, draws[place])
                except (ImageError, InputError, OSError) as error:
                    raise LocationNetError(
                        f"{self._pack.path}: photo {record} cannot be decoded ({error}); is the"
                        " pack damaged?"
                    ) from error

        return fill

    def _drain(self) -> None:
        """Forget what was decoded ahead."""
        for pending in self._pending:
            pending.labels.cancel()
            for task in pending.tasks:
                task.cancel()
        for pending in self._pending:
            for task in pending.tasks:
                if not task.cancelled():
                    task.exception()
            self._free.append(pending.pixels)
        self._pending.clear()


def varied(image: Image.Image, size: int, how: Augmentation, draws: NDArray[np.float64]) -> Pixels:
    """Return a random variant of a photo as pixels, uint8 ``(size, size, 3)``."""
    return np.asarray(augmented(image, size, how, draws))


class _Pending(NamedTuple):
    """A batch that threads are filling."""

    records: Records
    counting: int
    pixels: Pixels
    tasks: list[Future[None]]
    labels: Future[Labels]
