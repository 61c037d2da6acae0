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
from locationnet.geo.country_names import continent
from locationnet.geo.grid import Grid
from locationnet.model.bundle import CellNames
from locationnet.model.expected_score import ExpectedScore

# Narrowest width of an S2 cell at level 0, in radians (`kMinWidth` of the S2 library: 2√2/3).
_MIN_WIDTH_RADIANS = 2 * np.sqrt(2) / 3
_SPREAD_LEVELS = 2
_RINGS = 512
# Sums of shares may fall short of what they stand for by as much.
_ROUNDING = 1e-12
# Of angles between points, radians.
_DOUBT = 1e-7
# Of an even share: all cells below it together hold less than a millionth.
NEXT_TO_NOTHING = 1e-6

FloatArray = NDArray[np.float64]


class Labels:
    """The distinct labels of cells, sorted, and which cells have each.

    Parameters
    ----------
    labels
        One for each cell, in class order; ``""`` where nobody knows.
    """

    def __init__(self, labels: Sequence[str]) -> None:
        values, self.codes = np.unique(np.asarray(labels, str), return_inverse=True)
        self.values = [str(value) for value in values]
        # Sorted, so that an empty one is the first.
        self.is_named = np.arange(len(self.values)) >= self.values.count("")
        self._cells = np.argsort(self.codes, kind="stable")
        self._ends = np.cumsum(np.bincount(self.codes, minlength=len(self.values)))

    def cells(self, code: int) -> NDArray[np.intp]:
        """Return the classes of the cells that have a label."""
        return self._cells[self._ends[code - 1] if code else 0 : self._ends[code]]


@dataclass(frozen=True, eq=False, repr=False)
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

    def __repr__(self) -> str:
        return f"CellLayer({self.grid})"

    def best_class(self, probabilities: FloatArray) -> int:
        """Return the cell whose centroid has the highest expected GeoScore.

        Parameters
        ----------
        probabilities
            float64 ``(classes,)``.
        """
        return self._expected_score.best(probabilities)

    def radii_km(
        self, lat: float, lng: float, probabilities: FloatArray, shares: Sequence[float]
    ) -> list[float]:
        """Return the smallest radii around a point that hold shares of the probability.

        Parameters
        ----------
        lat, lng
            The point, such as a cell's centroid, degrees.
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
        held = np.flatnonzero(probabilities * len(probabilities) > NEXT_TO_NOTHING)
        weights, middle = probabilities[held], sphere.unit_vectors(lat, lng)
        # Counted into rings first, so that only the points of one ring need sorting; a cell that
        # lies within one ring is counted as a whole.
        angles, reach = _angles(self._vectors[held] @ middle), self._reach[held]
        nearest = _rings(angles - reach)
        is_whole = nearest == _rings(angles + reach)
        whole, divided = np.flatnonzero(is_whole), np.flatnonzero(~is_whole)
        cosines = self.spread[held[divided]] @ middle
        rings, each = _rings(_angles(cosines)), weights / self.spread.shape[1]
        parts = np.broadcast_to(each[divided, None], cosines.shape)
        masses = totals(nearest[whole], weights[whole], _RINGS)
        masses += totals(rings.ravel(), parts.ravel(), _RINGS)
        within, furthest = np.cumsum(masses), int(np.flatnonzero(masses)[-1])
        found = []
        for share in shares:
            ring = min(int(np.searchsorted(within, share - _ROUNDING)), furthest)
            cells = whole[nearest[whole] == ring]
            points = self.spread[held[cells]] @ middle
            points = np.concatenate([points.ravel(), cosines[rings == ring]])
            held_by = np.concatenate(
                [np.repeat(each[cells], 4**_SPREAD_LEVELS), parts[rings == ring]]
            )
            order = np.argsort(-points)
            up_to = within[ring] - masses[ring] + np.cumsum(held_by[order])
            index = min(int(np.searchsorted(up_to, share - _ROUNDING)), len(order) - 1)
            found.append(float(_angles(points[order[index]])) * sphere.EARTH_RADIUS_KM)
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
        coarse_ids, classes = np.unique(s2.ancestor_ids(self.grid.ids, level), return_inverse=True)
        lat, lng = s2.centers(coarse_ids)
        country = _majority(classes, self.countries, len(coarse_ids))
        nothing = [""] * len(coarse_ids)
        layer = CellLayer(Grid(coarse_ids, lat, lng), CellNames(nothing, nothing, country))
        return layer, classes.astype(np.int64)

    @cached_property
    def countries(self) -> Labels:
        """The country of each cell, as ISO codes."""
        return Labels(self.names.country)

    @cached_property
    def cities(self) -> Labels:
        """The city of each cell, with its region and country."""
        return Labels(
            [self.names.name(index) if city else "" for index, city in enumerate(self.names.city)]
        )

    @cached_property
    def regions(self) -> Labels:
        """The region of each cell, with its country."""
        pairs = zip(self.names.region, self.names.country, strict=True)
        return Labels(
            [
                ", ".join(filter(None, (region, country))) if region else ""
                for region, country in pairs
            ]
        )

    @cached_property
    def continents(self) -> Labels:
        """The continent of each cell."""
        return Labels([continent(country) for country in self.names.country])

    @cached_property
    def _expected_score(self) -> ExpectedScore:
        return ExpectedScore(self.grid, self._vectors)

    @cached_property
    def _vectors(self) -> FloatArray:
        return sphere.unit_vectors(self.grid.lat, self.grid.lng)

    @cached_property
    def _reach(self) -> FloatArray:
        """How far from a cell's centroid its points lie at most, radians."""
        cosines = np.einsum("cpx,cx->cp", self.spread, self._vectors)
        return np.asarray(_angles(cosines.min(axis=1)) + _DOUBT)

    @cached_property
    def spread(self) -> FloatArray:
        """16 points spread over each cell's area as unit vectors, float64 ``(classes, 16, 3)``."""
        ids = self.grid.ids
        points = np.empty((len(ids), 4**_SPREAD_LEVELS, 3))
        for child in range(points.shape[1]):
            lat, lng = s2.centers(_descendant(ids, child))
            points[:, child] = sphere.unit_vectors(lat, lng)
        return points


def _angles(cosines: FloatArray) -> FloatArray:
    """Return angles in radians; off by up to 2e-8, which is a tenth of a metre on Earth."""
    return np.asarray(np.arccos(np.clip(cosines, -1, 1)))


def _rings(angles: FloatArray) -> NDArray[np.intp]:
    """Return which ring around a point angles lie in, from 0."""
    return np.clip(angles * (_RINGS / np.pi), 0, _RINGS - 1).astype(np.intp)


def totals(groups: NDArray[np.integer[Any]], weights: FloatArray, count: int) -> FloatArray:
    """Return the sum of the weights in each of `count` groups, float64 ``(count,)``."""
    return np.asarray(np.bincount(groups, weights, minlength=count), np.float64)


def top_classes(probabilities: FloatArray, k: int) -> NDArray[np.int64]:
    """Return the classes of the `k` highest probabilities, highest first, ties in class order."""
    k = min(k, len(probabilities))
    # Everything that ties with the k-th must take part, or the partition would pick among them.
    threshold = np.partition(probabilities, -k)[-k]
    candidates = np.flatnonzero(probabilities >= threshold)
    order = np.argsort(-probabilities[candidates], kind="stable")[:k]
    return np.asarray(candidates[order], np.int64)


def _descendant(ids: NDArray[np.uint64], index: int) -> NDArray[np.uint64]:
    """Return the `index`-th of the 16 cells two levels down, or the leaf that stands for it."""
    lowest = s2.lowest_bits(ids)
    step = lowest >> np.uint64(2 * _SPREAD_LEVELS)
    first = ids - lowest + step
    child = first + np.uint64(2 * index) * step
    return np.where(step > 0, child, ids)


def _majority(classes: NDArray[np.int64], labels: Labels, count: int) -> list[str]:
    """Return the most frequent label of each class, the first of them on a tie."""
    counts = np.zeros((count, len(labels.values)), np.int64)
    np.add.at(counts, (classes, labels.codes), 1)
    return [labels.values[code] for code in counts.argmax(axis=1)]
