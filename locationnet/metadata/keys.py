"""Numbers of 64 bits that stand for photos, and for an uploader in a town.

Knows nothing of tables. A number depends on nothing but what it stands for, so that neither the
order of rows nor how they are spread over files decides anything.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Keys = NDArray[np.uint64]


def mixed(keys: Keys) -> Keys:
    """Scatter numbers evenly over 64 bits, one to one.

    The finaliser of SplitMix64 (Steele, Lea and Flood, "Fast Splittable Pseudorandom Number
    Generators", OOPSLA 2014).
    """
    keys = (keys ^ (keys >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    keys = (keys ^ (keys >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return keys ^ (keys >> np.uint64(31))


def text_keys(texts: Sequence[str]) -> Keys:
    """Return 64 bits of each text's BLAKE2b.

    Among 100 million texts two share a number with a probability of 0.03 %.
    """
    digests = [hashlib.blake2b(text.encode(), digest_size=8).digest() for text in texts]
    return np.frombuffer(b"".join(digests), "<u8").astype(np.uint64)


def uploader_cell_keys(uploaders: Keys, cells: Keys) -> Keys:
    """Return a number for each pair of an uploader and a cell."""
    return mixed(mixed(uploaders) ^ cells)
