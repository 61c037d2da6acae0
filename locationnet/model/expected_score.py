"""The cell whose centroid promises the highest GeoScore, without trying every cell for it.

Knows a grid's cells; nothing of names, photos or answers.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from locationnet.geo import s2, sphere
from locationnet.geo.grid import Grid

# Cells are first looked at in patches of one S2 level, which is about 130 km wide: an eleventh of
# GeoScore's decay length. Coarser where that makes too many of them, since every pair of patches
# has a number in memory; level 4 has 1,536 in all.
_PATCH_LEVEL = 6
_MOST_PATCHES = 2500
# What is looked at more closely: cells of the best patches, the best of those. Of a patch with
# very many cells a sample along the S2 curve, then the cells around the sample's best.
_PATCHES = 12
_SAMPLE = 32
_FINALISTS = 8
_SUREST = 4
# The most probable cells count where they are, and the first of them are always looked at.
_PEAKS = 512
_FIRST_PEAKS = 32
# A little less than 1: in float32, the cosine between equal unit vectors may exceed it.
_INSIDE = 1 - 3e-7

FloatArray = NDArray[np.float64]
Float32Array = NDArray[np.float32]
Indices = NDArray[np.int64]


class ExpectedScore:
    """Finds the centroid with the highest expected GeoScore under a distribution over cells.

    The expected score of a point is the mean of 5000·exp(−d / 1492.7 km) over the distribution. It
    changes little over short distances, so it is first taken at the middle of patches, then at the
    cells of the best patches and at the most probable cells, with the rest of the world still in
    patches; the finalists are compared by the exact sum.

    Parameters
    ----------
    grid
        The cells.
    vectors
        Their centroids as unit vectors, float64 ``(classes, 3)``.
    """

    def __init__(self, grid: Grid, vectors: FloatArray) -> None:
        self._vectors = vectors
        self._short_vectors = _short(vectors)
        self._patch, self._count = _patches(grid)
        order = np.lexsort((grid.ids, self._patch))
        starts = np.searchsorted(self._patch[order], np.arange(1, self._count))
        self._cells = np.split(order, starts)
        # Of each cell within its patch.
        self._index = np.concatenate([np.arange(len(cells)) for cells in self._cells])
        self._index[order] = self._index.copy()
        middles = np.stack([self._masses(vectors[:, axis]) for axis in range(3)])
        middles *= _INSIDE / np.linalg.norm(middles, axis=0)
        self._middles = _short(middles)
        self._among = _scores(self._middles.T @ self._middles)

    def best(self, probabilities: FloatArray) -> int:
        """Return the class.

        Parameters
        ----------
        probabilities
            float64 ``(classes,)``.
        """
        masses = self._masses(probabilities)
        patches = _highest(self._among @ _short(masses), _PATCHES)
        peaks = _highest(probabilities, _PEAKS)
        peaks = peaks[np.argsort(-probabilities[peaks])]
        own = probabilities[peaks]
        # The peaks are counted where they are and not in their patches.
        rest = _short(masses - np.bincount(self._patch[peaks], own, self._count))

        def rough(cells: Indices) -> Float32Array:
            among_patches = _scores(self._short_vectors[cells] @ self._middles) @ rest
            return among_patches + _short(self._exact(cells, peaks) @ own)

        sample = [self._cells[patch][:: self._stride(patch)] for patch in patches]
        cells = np.concatenate([*sample, peaks[:_FIRST_PEAKS]])
        scores = rough(cells)
        around = [self._around(cell) for cell in cells[_highest(scores, _FINALISTS)]]
        cells = np.unique(np.concatenate(around))
        finalists = np.union1d(cells[_highest(rough(cells), _FINALISTS)],
                               peaks[:_SUREST])  # fmt: skip
        # One by one, so that what is computed of all cells stays in the processor's cache.
        exact = [self._exact(finalists[row : row + 1], slice(None)) @ probabilities
                 for row in range(len(finalists))]  # fmt: skip
        return int(finalists[np.argmax(exact)])

    def _stride(self, patch: int) -> int:
        return -(-len(self._cells[patch]) // _SAMPLE)

    def _around(self, cell: int) -> Indices:
        """Return the cells of a patch that the sample passed over beside one, and that one."""
        patch = self._patch[cell]
        cells, reach = self._cells[patch], self._stride(patch) - 1
        index = int(self._index[cell])
        around: Indices = cells[max(0, index - reach) : index + reach + 1]
        return around

    def _masses(self, weights: FloatArray) -> FloatArray:
        return np.asarray(np.bincount(self._patch, weights, self._count), np.float64)

    def _exact(self, cells: Indices, others: Indices | slice) -> FloatArray:
        # In float32, points less than 2 km apart are one.
        cosines = np.clip(self._vectors[cells] @ self._vectors[others].T, -1, 1)
        return sphere.geoscore(np.arccos(cosines) * sphere.EARTH_RADIUS_KM) / sphere.GEOSCORE_MAX


def _patches(grid: Grid) -> tuple[Indices, int]:
    """Return the number of each cell's patch, and how many patches there are."""
    for level in range(_PATCH_LEVEL, -1, -1):
        distinct, numbers = np.unique(s2.ancestor_ids(grid.ids, level), return_inverse=True)
        if len(distinct) <= _MOST_PATCHES:
            break
    return numbers.astype(np.int64), len(distinct)


def _scores(cosines: Float32Array) -> Float32Array:
    """Return GeoScores less their factor 5000 for cosines of distances, in place."""
    np.arccos(cosines, out=cosines)
    cosines *= np.float32(-sphere.EARTH_RADIUS_KM / sphere.GEOSCORE_SCALE_KM)
    return np.exp(cosines, out=cosines)


def _highest(values: NDArray[Any], count: int) -> Indices:
    return np.argpartition(-values, min(count, len(values)) - 1)[:count]


def _short(values: NDArray[Any]) -> Float32Array:
    return values.astype(np.float32)
