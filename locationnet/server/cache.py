"""Answers to photos that were just seen, found again by the photo's content; in memory only.

Off unless the operator gives it room: whoever can read the process's memory can read what the model
said, though not the photos, of which only hashes are kept.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from cachetools import LRUCache
from numpy.typing import NDArray

from locationnet.model.cells import NEXT_TO_NOTHING
from locationnet.model.prediction import Prediction

# What a prediction holds beside its distribution: places, evidence, the objects themselves.
_BESIDE = 4096
_NONE = np.zeros(0)


class _Kept(NamedTuple):
    """A prediction in as few bytes as tell it: float32, without the cells that hold nothing."""

    prediction: Prediction  # without its probabilities
    classes: NDArray[np.int32] | None
    probabilities: NDArray[np.float32]

    @classmethod
    def of(cls, prediction: Prediction) -> _Kept:
        whole = prediction.probabilities
        bare = replace(prediction, probabilities=_NONE)
        classes = np.flatnonzero(whole * len(whole) > NEXT_TO_NOTHING).astype(np.int32)
        if 2 * len(classes) < len(whole):
            return cls(bare, classes, whole[classes].astype(np.float32))
        return cls(bare, None, whole.astype(np.float32))

    def restored(self) -> Prediction:
        probabilities = self.probabilities.astype(np.float64)
        if self.classes is not None:
            probabilities = np.zeros(len(self.prediction.prior))
            probabilities[self.classes] = self.probabilities
        return replace(self.prediction, probabilities=probabilities / probabilities.sum())

    @property
    def size(self) -> int:
        of_classes = 0 if self.classes is None else self.classes.nbytes
        return self.probabilities.nbytes + of_classes + _BESIDE


class AnswerCache:
    """Predictions by content hash, the least recently used of which make room.

    What is kept is rounded to float32, and cells with less than a millionth of an even share are
    left out: an answer may change in its seventh digit.

    Parameters
    ----------
    max_bytes
        Room for the predictions; 0 keeps none.
    """

    def __init__(self, max_bytes: int) -> None:
        self._kept: LRUCache[bytes, _Kept] = LRUCache(max_bytes, getsizeof=lambda one: one.size)

    @property
    def keeps(self) -> bool:
        """Whether there is room at all."""
        return bool(self._kept.maxsize)

    def key(self, photo: bytes) -> bytes:
        """Return what a photo is kept under."""
        return hashlib.sha256(photo).digest()

    def get(self, key: bytes | None) -> Prediction | None:
        """Return what was said of a photo, or None."""
        found = None if key is None else self._kept.get(key)
        return None if found is None else found.restored()

    def put(self, key: bytes | None, prediction: Prediction) -> None:
        """Keep what was said; something too large for the room is not kept."""
        if key is None:
            return
        kept = _Kept.of(prediction)
        if kept.size <= self._kept.maxsize:
            self._kept[key] = kept
