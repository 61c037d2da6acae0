"""Answers to photos that were just seen, found again by the photo's content; in memory only.

Off unless the operator gives it room: whoever can read the process's memory can read what the model
said, though not the photos, of which only hashes are kept.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace

from cachetools import LRUCache

from locationnet.model.prediction import Prediction

# What a prediction holds beside its distribution: places, evidence, the objects themselves.
_BESIDE = 4096


class AnswerCache:
    """Predictions by content hash, the least recently used of which make room.

    Parameters
    ----------
    max_bytes
        Room for the predictions; 0 keeps none.
    """

    def __init__(self, max_bytes: int) -> None:
        self._kept: LRUCache[bytes, Prediction] = LRUCache(max_bytes, getsizeof=_size)

    @property
    def keeps(self) -> bool:
        """Whether there is room at all."""
        return bool(self._kept.maxsize)

    def key(self, photo: bytes) -> bytes:
        """Return what a photo is kept under."""
        return hashlib.sha256(photo).digest()

    def get(self, key: bytes | None) -> Prediction | None:
        """Return what was said of a photo, or None."""
        return None if key is None else self._kept.get(key)

    def put(self, key: bytes | None, prediction: Prediction) -> None:
        """Keep what was said; something too large for the room is not kept."""
        if key is not None and _size(prediction) <= self._kept.maxsize:
            # A row of a batch would keep the whole batch alive.
            self._kept[key] = replace(prediction, probabilities=prediction.probabilities.copy())


def _size(prediction: Prediction) -> int:
    return prediction.probabilities.nbytes + _BESIDE
