"""Photos that an export is measured on, as the network's input, a batch at a time.

Knows where photos lie (a pack, or the package scikit-image); not what is measured.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from locationnet.errors import InputError
from locationnet.export.temperature import Truth
from locationnet.images import open_image
from locationnet.pack.format import Pack, PackedJpegs
from locationnet.preprocess import Preprocessing, tensor

SHIPPED = ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg")

_BATCH = 16


@dataclass(frozen=True)
class Sample:
    """Some photos of a pack, in the pack's order.

    Parameters
    ----------
    pack
        An opened pack.
    indices
        int64 ``(n,)``, rising.
    """

    pack: Pack
    indices: NDArray[np.int64]

    @classmethod
    def draw(cls, pack: Pack, at_most: int, *, seed: int = 0) -> Sample:
        """Draw photos at random, all of them where there are no more than `at_most`.

        Raises
        ------
        InputError
            The pack is empty.
        """
        if not pack.records:
            raise InputError(f"{pack.path}: contains no photos to measure on")
        drawn = np.random.default_rng(seed).permutation(pack.records)[:at_most]
        return cls(pack, np.sort(drawn))

    def __len__(self) -> int:
        return len(self.indices)

    def without(self, other: Sample) -> Sample:
        """Return this sample less the photos of another one of the same pack."""
        if self.pack.path.resolve() != other.pack.path.resolve():
            return self
        return Sample(self.pack, np.setdiff1d(self.indices, other.indices))

    @property
    def truth(self) -> Truth:
        """Where the photos were taken."""
        pack, chosen = self.pack, self.indices
        return Truth(
            pack.classes_of_records[chosen].astype(np.int64), pack.lat[chosen], pack.lng[chosen]
        )

    def batches(
        self, how: Preprocessing, at_most: int | None = None
    ) -> Iterator[NDArray[np.float32]]:
        """Yield float32 ``(up to 16, 3, size, size)`` until all photos, or `at_most`, are seen."""
        chosen = self.indices[:at_most]
        packed = PackedJpegs(self.pack)
        jpegs = map(packed.read, chosen.tolist())
        while batch := [tensor(open_image(jpeg), how) for jpeg in islice(jpegs, _BATCH)]:
            yield np.stack(batch)


def shipped_photos(how: Preprocessing) -> NDArray[np.float32]:
    """Return photos that are installed with scikit-image, float32 ``(4, 3, size, size)``."""
    found = find_spec("skimage")
    if found is None or found.origin is None:
        raise InputError("scikit-image is not installed, whose photos the export is checked on")
    folder = Path(found.origin).parent / "data"
    photos = [(folder / name).read_bytes() for name in SHIPPED]
    return np.stack([tensor(open_image(photo), how) for photo in photos])
