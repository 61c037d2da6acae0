"""Many photos through a network: decoded and computed on several threads, answered in their order.

Knows threads, batches and errors; neither networks nor what an answer is.
"""

from __future__ import annotations

import operator
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from locationnet.errors import LocationNetError, without_frames
from locationnet.images import Photo
from locationnet.model.photo_source import photo_name
from locationnet.processors import processors

OnError = Literal["raise", "return"]

AnyPhoto = TypeVar("AnyPhoto", bound=Photo)
_Answer = TypeVar("_Answer")
_Tensor = NDArray[np.float32]
_Prepared = _Tensor | LocationNetError | OSError


def answer_photos(
    photos: Iterable[AnyPhoto],
    prepare: Callable[[AnyPhoto], _Tensor],
    compute: Callable[[_Tensor], Sequence[_Answer]],
    *,
    threads: int | None = None,
    on_error: OnError = "raise",
    batch_size: int = 8,
) -> Iterator[tuple[AnyPhoto, _Answer | LocationNetError | OSError]]:
    """Yield each photo with its answer, in the order of the photos and no sooner than needed.

    Parameters
    ----------
    photos
        Read a few batches ahead.
    prepare
        Makes the network's input of a photo, float32 ``(3, size, size)``.
    compute
        Makes the answers of a batch, ``(n, 3, size, size)``.
    threads
        Photos and batches that are worked on at a time; as many as there are processors by default.
    on_error
        Whether a photo that cannot be read ends it all, or has its error in the place of an answer.
    batch_size
        Photos that go through the network together.

    Raises
    ------
    LocationNetError, OSError
        A photo cannot be read; the message names it. Only with ``on_error="raise"``.
    """
    check_count("batch_size", batch_size)
    threads = processors() if threads is None else threads
    check_count("threads", threads)
    numbered = enumerate(photos, 1)

    def prepared(number: int, photo: AnyPhoto) -> _Prepared:
        try:
            return prepare(photo)
        except (LocationNetError, OSError) as error:
            return without_frames(_named(error, photo, number))

    def answers(
        batch: list[tuple[AnyPhoto, _Prepared]],
    ) -> list[tuple[AnyPhoto, _Answer | LocationNetError | OSError]]:
        ready = [image for _, image in batch if isinstance(image, np.ndarray)]
        found = iter(compute(np.stack(ready)) if ready else ())
        return [
            (photo, next(found) if isinstance(image, np.ndarray) else image)
            for photo, image in batch
        ]

    # NumPy's own threads would take the processors from these, and spin while they wait.
    alone = threadpool_limits(1, "blas") if threads > 1 else None
    pool = ThreadPoolExecutor(threads)
    decoding: deque[tuple[AnyPhoto, Future[_Prepared]]] = deque()
    answering: deque[Future[list[tuple[AnyPhoto, _Answer | LocationNetError | OSError]]]] = deque()
    try:
        while True:
            ahead = batch_size + threads - len(decoding)
            for number, photo in islice(numbered, ahead):
                decoding.append((photo, pool.submit(prepared, number, photo)))
            batch = [decoding.popleft() for _ in range(min(batch_size, len(decoding)))]
            if batch:
                images = [(photo, waiting.result()) for photo, waiting in batch]
                answering.append(pool.submit(answers, images))
            while len(answering) > (threads if batch else 0):
                for source, answer in answering.popleft().result():
                    if on_error == "raise" and isinstance(answer, (LocationNetError, OSError)):
                        raise answer
                    yield source, answer
            if not batch:
                return
    finally:
        pool.shutdown(cancel_futures=True)
        if alone is not None:
            alone.restore_original_limits()


def check_count(name: str, value: int) -> None:
    """Refuse a number below 1."""
    if operator.index(value) < 1:
        raise ValueError(f"{name} is at least 1, not {value}")


def reason_of(error: LocationNetError | OSError) -> str:
    """Return what is wrong with a photo, without its name; of an error from `answer_photos`."""
    unnamed = error.__cause__
    return _reason(unnamed if isinstance(unnamed, (LocationNetError, OSError)) else error)


def _reason(error: LocationNetError | OSError) -> str:
    return (isinstance(error, OSError) and error.strerror) or str(error)


def _named(
    error: LocationNetError | OSError, photo: Photo, number: int
) -> LocationNetError | OSError:
    """Return an error that says which photo it is about; see `reason_of`."""
    name = photo_name(photo)
    text = f"{f'photo {number}' if name is None else name}: {_reason(error)}"
    if isinstance(error, OSError):
        named: LocationNetError | OSError = type(error)(text)
    else:
        # Not by calling the class, which may make its message of other things.
        named = type(error).__new__(type(error))
        named.__dict__.update(error.__dict__)
        named.args = (text,)
    named.__cause__ = error
    return named
