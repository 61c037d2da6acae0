"""A grid with what predictions need beside it: names, expected scores, distances, coarser versions.

Everything here depends on the cells alone and is computed once for all photos; knows nothing of
any one photo or network.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from locationnet.geo import s2, sphere
from locationnet.geo.grid import Grid
from locationnet.model.bundle import CellNames
from locationnet.model.expected_score import ExpectedScore

# Narrowest width of an S2 cell at level 0, in radians (`kMinWidth` of the S2 library: 2√2/3).
_MIN_WIDTH_RADIANS = 2 * np.sqrt(2) / 3
_SPREAD_LEVELS = 2
_RINGS = 2048
# Sums of shares may fall short of what they stand for by as much.
_ROUNDING = 1e-12
# Of an even share: all cells below it together hold less than a millionth.
_NOTHING = 1e-6

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class CellLayer:
    """The cells that a distribution is over.

    Parameters
    ----------
    grid
        The cells.
    names
        Their place names, in class order.
    """

    grid: Grid
    names: CellNames
    # By level and not by width: there are endless widths, and strangers choose them.
    _coarser: dict[int, tuple[CellLayer, NDArray[np.int64]]] = field(default_factory=dict)

    def best_class(self, probabilities: FloatArray) -> int:
        """Return the cell whose centroid has the highest expected GeoScore.

        Parameters
        ----------
        probabilities
            float64 ``(classes,)``.
        """
        return self._expected_score.best(probabilities)

    def radii_km(
        self, center: int, probabilities: FloatArray, shares: Sequence[float]
    ) -> list[float]:
        """Return the smallest radii around a cell's centroid that hold shares of the probability.

        Parameters
        ----------
        center
            Class of the cell.
        probabilities
            float64 ``(classes,)``.
        shares
            Each above 0, up to 1.

        Returns
        -------
        list of float
            Kilometres. A cell's probability is spread over 16 points of its area, so that a sure
            answer is as wide as its cell.
        """
        # Cells with next to nothing would only cost time.
        held = np.flatnonzero(probabilities * len(probabilities) > _NOTHING)
        points = self.spread if len(held) == len(probabilities) else self.spread[held]
        cosines = points.reshape(-1, 3) @ self._vectors[center]
        weights = np.repeat(probabilities[held] / points.shape[1], points.shape[1])
        # Counted into rings first, so that only the points of one ring need sorting.
        rings = np.minimum(((1 - cosines) * (_RINGS / 2)).astype(np.int32), _RINGS - 1)
        within = np.cumsum(np.bincount(rings, weights, _RINGS))
        found = []
        for share in shares:
            ring = min(int(np.searchsorted(within, share - _ROUNDING)), int(rings.max()))
            own = np.flatnonzero(rings == ring)
            order = own[np.argsort(-cosines[own])]
            before = within[ring - 1] if ring else 0.0
            up_to = before + np.cumsum(weights[order])
            rank = min(int(np.searchsorted(up_to, share - _ROUNDING)), len(order) - 1)
            found.append(float(_kilometres(cosines[order[rank]])))
        return found

    def coarser(self, km: float) -> tuple[CellLayer, NDArray[np.int64]]:
        """Return the layer whose cells are nowhere narrower than `km`, and each cell's class in it.

        Cells already that wide stay; the others give way to their S2 ancestor, whose centre (not
        the photos' mean) stands for it and whose only name is the country of most of its cells.

        Returns
        -------
        CellLayer, int64 (classes,)
        """
        width = _MIN_WIDTH_RADIANS * sphere.EARTH_RADIUS_KM
        level = int(np.clip(np.floor(np.log2(width / km)), 0, 30))
        if level not in self._coarser:
            self._coarser[level] = self._make_coarser(level)
        return self._coarser[level]

    def _make_coarser(self, level: int) -> tuple[CellLayer, NDArray[np.int64]]:
        ids = self.grid.ids
        fine = self.grid.levels > level
        ancestors = ids.copy()
        ancestors[fine] = s2.parent_ids(ids[fine], level)
        coarse_ids, classes = np.unique(ancestors, return_inverse=True)
        lat, lng = s2.centers(coarse_ids)
        country = _majority(classes, np.asarray(self.names.country), len(coarse_ids))
        nothing = [""] * len(coarse_ids)
        layer = CellLayer(Grid(coarse_ids, lat, lng), CellNames(nothing, nothing, country))
        return layer, classes.astype(np.int64)

    @cached_property
    def _expected_score(self) -> ExpectedScore:
        return ExpectedScore(self.grid, self._vectors)

    @cached_property
    def _vectors(self) -> FloatArray:
        return sphere.unit_vectors(self.grid.lat, self.grid.lng)

    @cached_property
    def spread(self) -> FloatArray:
        """16 points spread over each cell's area as unit vectors, float64 ``(classes, 16, 3)``."""
        ids = self.grid.ids
        points = np.empty((len(ids), 4**_SPREAD_LEVELS, 3))
        for child in range(points.shape[1]):
            lat, lng = s2.centers(_descendant(ids, child))
            points[:, child] = sphere.unit_vectors(lat, lng)
        return points


def _kilometres(cosines: FloatArray) -> FloatArray:
    """Return distances from the cosines of their angles; off by up to a tenth of a metre."""
    return np.asarray(np.arccos(np.clip(cosines, -1, 1)) * sphere.EARTH_RADIUS_KM)


def totals(groups: NDArray[np.integer[Any]], weights: FloatArray, count: int) -> FloatArray:
    """Return the sum of the weights in each of `count` groups, float64 ``(count,)``."""
    return np.asarray(np.bincount(groups, weights, minlength=count), np.float64)


def _descendant(ids: NDArray[np.uint64], index: int) -> NDArray[np.uint64]:
    """Return the `index`-th of the 16 cells two levels down, or the leaf that stands for it."""
    lowest = ids & (~ids + np.uint64(1))
    step = lowest >> np.uint64(2 * _SPREAD_LEVELS)
    first = ids - lowest + step
    child = first + np.uint64(2 * index) * step
    return np.where(step > 0, child, ids)


def _majority(classes: NDArray[np.int64], labels: NDArray[Any], count: int) -> list[str]:
    """Return the most frequent label of each class, the first in the alphabet on a tie."""
    values, codes = np.unique(labels, return_inverse=True)
    counts = np.zeros((count, len(values)), np.int64)
    np.add.at(counts, (classes, codes), 1)
    return [str(values[code]) for code in counts.argmax(axis=1)]
