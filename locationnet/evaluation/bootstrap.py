"""How far a measured mean may be off by the luck of the draw: bootstrap over uploaders.

Knows numbers and which of them belong together; not what they measure.

Photos of one uploader resemble each other: drawing them one by one would make intervals too
narrow. So whole clusters are drawn with replacement (Field and Welsh, "Bootstrapping clustered
data", JRSS B 2007, the randomized cluster bootstrap).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

RESAMPLES = 2000
# With more clusters than this the distribution is normal, and drawing it would take minutes.
_MANY = 20_000
# Resamples that are held in memory at once, times clusters.
_CELLS = 20_000_000


class Interval(NamedTuple):
    """An estimate and its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class Bootstrap:
    """Draws clusters of photos again and again, always the same draws for the same clusters.

    Parameters
    ----------
    clusters
        int64 ``(n,)``: the cluster of each photo, 0 … count − 1.
    resamples
        How many draws.
    seed
        Of the draws.
    """

    clusters: NDArray[np.int64]
    resamples: int = RESAMPLES
    seed: int = 0

    @classmethod
    def of(cls, names: Sequence[object] | None, photos: int) -> Bootstrap:
        """Return a bootstrap over clusters by name; a photo without a name is its own."""
        if names is None:
            return cls(np.arange(photos))
        numbers: dict[object, int] = {}
        own = (name or ("alone", index) for index, name in enumerate(names))
        return cls(np.array([numbers.setdefault(name, len(numbers)) for name in own], np.int64))

    @property
    def count(self) -> int:
        """The number of clusters."""
        return int(self.clusters.max()) + 1

    def mean(self, values: ArrayLike) -> Interval:
        """Return the mean of values ``(n,)`` and its interval: percentiles 2.5 and 97.5.

        Raises
        ------
        ValueError
            There is not one finite value for each photo.
        """
        numbers = np.asarray(values, np.float64)
        if numbers.shape != self.clusters.shape or not np.isfinite(numbers).all():
            raise ValueError(f"expected {len(self.clusters)} finite values")
        sums = np.bincount(self.clusters, numbers)
        sizes = np.bincount(self.clusters)
        if self.count > _MANY:
            return self._normal(float(numbers.mean()), sums, sizes)
        means = np.concatenate([(draw @ sums) / (draw @ sizes) for draw in self._draws])
        low, high = np.percentile(means, [2.5, 97.5])
        return Interval(float(numbers.mean()), float(low), float(high))

    def median(self, values: ArrayLike) -> Interval:
        """Return the median of values ``(n,)`` and its interval.

        The interval of the share below the median, turned back into values (Woodruff, "Confidence
        intervals for medians and other position measures", JASA 1952).
        """
        numbers = np.asarray(values, np.float64)
        middle = float(np.median(numbers))
        below = self.mean(numbers <= middle)
        reach = (below.high - below.low) / 2
        low, high = np.quantile(numbers, np.clip([0.5 - reach, 0.5 + reach], 0, 1))
        return Interval(middle, float(low), float(high))

    def _normal(self, mean: float, sums: NDArray[Any], sizes: NDArray[Any]) -> Interval:
        """Return what the bootstrap of a ratio tends to with many clusters."""
        error = 1.96 * float(np.sqrt(np.sum((sums - mean * sizes) ** 2))) / int(sizes.sum())
        return Interval(mean, mean - error, mean + error)

    @cached_property
    def _draws(self) -> list[NDArray[np.float64]]:
        """How often each cluster is drawn, arrays ``(some resamples, clusters)``."""
        random = np.random.default_rng(self.seed)
        share = np.full(self.count, 1 / self.count)
        size = max(1, _CELLS // self.count)
        return [
            random.multinomial(self.count, share, min(size, self.resamples - start)).astype(float)
            for start in range(0, self.resamples, size)
        ]
