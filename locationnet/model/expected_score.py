"""The cell whose centroid promises the highest GeoScore, without trying every cell for it.

Knows a grid's cells; nothing of names, photos or answers.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from locationnet.geo import s2, sphere
from locationnet.geo.grid import Grid

# Cells of these S2 levels, about 500 km and 60 km wide, stand for the cells in them: a third and a
# twenty-fifth of GeoScore's decay length.
_AREA_LEVEL = 4
_PATCH_LEVEL = 7
# What is looked at more closely: areas, patches in them, cells in those.
_AREAS = 8
_PATCHES = 16
_FINALISTS = 8
_SUREST = 4
# The most probable cells stand for themselves wherever they are.
_PEAKS = 32

FloatArray = NDArray[np.float64]
Float32Array = NDArray[np.float32]
Indices = NDArray[np.int64]


class ExpectedScore:
    """Finds the centroid with the highest expected GeoScore under a distribution over cells.

    The expected score of a point is the mean of 5000·exp(−d / 1492.7 km) over the distribution. It
    changes little over short distances, so it is first taken at the mean places of the probability
    in areas, then in patches of the best areas, then at the cells of the best patches; the
    finalists are compared by the exact sum.

    Parameters
    ----------
    grid
        The cells.
    vectors
        Their centroids as unit vectors, float64 ``(classes, 3)``.
    """

    def __init__(self, grid: Grid, vectors: FloatArray) -> None:
        self._vectors = vectors
        self._short_vectors = vectors.astype(np.float32)
        area_of_cell, self._areas = _ancestors(grid, _AREA_LEVEL)
        self._patch_of_cell, self._patches = _ancestors(grid, _PATCH_LEVEL)
        self._cells_of_patch = _members(self._patch_of_cell, self._patches)
        self._area_of_patch = np.empty(self._patches, np.int64)
        self._area_of_patch[self._patch_of_cell] = area_of_cell
        self._patches_of_area = _members(self._area_of_patch, self._areas)

    def best(self, probabilities: FloatArray) -> int:
        """Return the class.

        Parameters
        ----------
        probabilities
            float64 ``(classes,)``.
        """
        masses = np.bincount(self._patch_of_cell, probabilities, self._patches)
        sums = _sums(self._patch_of_cell, probabilities[:, None] * self._vectors, self._patches)
        area_masses = np.bincount(self._area_of_patch, masses, self._areas)
        area_places = _directions(_sums(self._area_of_patch, sums, self._areas))
        near = _highest(_scores(area_places @ area_places.T) @ _short(area_masses), _AREAS)

        # From here on the near areas are seen as their patches, the far ones as wholes.
        patches = np.concatenate([self._patches_of_area[area] for area in near])
        far = np.setdiff1d(np.arange(self._areas), near)
        patch_places = _directions(sums[patches])
        places = np.concatenate([patch_places, area_places[far]])
        weights = _short(np.concatenate([masses[patches], area_masses[far]]))
        chosen = patches[_highest(_scores(patch_places @ places.T) @ weights, _PATCHES)]

        peaks = _highest(probabilities, _PEAKS)
        cells = np.concatenate([self._cells_of_patch[patch] for patch in chosen])
        cells = np.union1d(cells, peaks)
        # The peaks are counted where they are and not in what stands for them.
        stands = np.empty(self._patches, np.int64)
        stands[:] = len(patches) + np.searchsorted(far, self._area_of_patch)
        stands[patches] = np.arange(len(patches))
        own = probabilities[peaks]
        rest = weights - _short(np.bincount(stands[self._patch_of_cell[peaks]], own, len(weights)))
        vectors = self._short_vectors
        rough = _scores(vectors[cells] @ places.T) @ rest
        rough += _short(self._exact(cells, peaks) @ own)

        finalists = np.union1d(cells[_highest(rough, _FINALISTS)], peaks[_highest(own, _SUREST)])
        exact = self._exact(finalists, slice(None)) @ probabilities
        return int(finalists[np.argmax(exact)])

    def _exact(self, cells: Indices, others: Indices | slice) -> FloatArray:
        # In float32, points less than 2 km apart are one.
        cosines = np.clip(self._vectors[cells] @ self._vectors[others].T, -1, 1)
        return sphere.geoscore(np.arccos(cosines) * sphere.EARTH_RADIUS_KM) / sphere.GEOSCORE_MAX


def _ancestors(grid: Grid, level: int) -> tuple[Indices, int]:
    """Return the number of each cell's ancestor at a level, itself if coarser, and how many."""
    ids = grid.ids.copy()
    fine = grid.levels > level
    ids[fine] = s2.parent_ids(ids[fine], level)
    distinct, numbers = np.unique(ids, return_inverse=True)
    return numbers.astype(np.int64), len(distinct)


def _members(groups: Indices, count: int) -> list[Indices]:
    order = np.argsort(groups, kind="stable")
    return np.split(order, np.searchsorted(groups[order], np.arange(1, count)))


def _sums(groups: Indices, vectors: FloatArray, count: int) -> FloatArray:
    return np.stack([np.bincount(groups, vectors[:, axis], count) for axis in range(3)], axis=1)


def _directions(sums: FloatArray) -> Float32Array:
    # Probabilities may be so small that their squares are none.
    largest = np.abs(sums).max(axis=1, keepdims=True)
    sums = sums / np.where(largest > 0, largest, 1)
    lengths = np.linalg.norm(sums, axis=1, keepdims=True)
    return _short(sums / np.where(lengths > 0, lengths, 1))


def _scores(cosines: Float32Array) -> Float32Array:
    """Return GeoScores less their factor 5000 for cosines of distances, in place."""
    np.clip(cosines, -1, 1, out=cosines)
    np.arccos(cosines, out=cosines)
    cosines *= np.float32(-sphere.EARTH_RADIUS_KM / sphere.GEOSCORE_SCALE_KM)
    return np.exp(cosines, out=cosines)


def _highest(values: NDArray[Any], count: int) -> Indices:
    return np.argpartition(-values, min(count, len(values)) - 1)[:count]


def _short(values: NDArray[Any]) -> Float32Array:
    return values.astype(np.float32)
