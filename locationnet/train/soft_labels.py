"""The labels of photos: hard ones, their own cell alone, or soft ones, the cells around it too.

Knows the grid and where photos are from; nothing of pixels or networks. A label is a short list of
(class, weight) pairs, so that 15,527 classes cost no more than a thousand.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from locationnet.classes import ClassSet
from locationnet.errors import InputError
from locationnet.geo.grid import Grid
from locationnet.geo.sphere import EARTH_RADIUS_KM, great_circle_km, unit_vectors
from locationnet.train.config import ClassWeights

# A photo's label names this many of the nearest cells at most, ...
NEIGHBOURS = 128
# ... and, beside its own, none that would weigh less than this share of the heaviest.
_NEGLIGIBLE = 1e-3

_POWER: dict[ClassWeights, float] = {"none": 0.0, "sqrt": -0.5, "inverse": -1.0}

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class SoftLabels:
    """Makes the labels of photos.

    Parameters
    ----------
    class_set
        What the classes are.
    smooth_km
        τ of ``exp(-(d - d_true) / τ)``, kilometres, where d is the distance from the photo to a
        cell's centroid and d_true that to its own cell's (Haas et al., "PIGEON: Predicting Image
        Geolocations", CVPR 2024, equation 2). 0 for hard labels.
    class_weights
        float ``(classes,)``: how much a photo of each class counts; see `balanced`.
    """

    class_set: ClassSet
    smooth_km: float = 0.0
    class_weights: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.smooth_km < np.inf:
            raise InputError(f"labels are smoothed over 0 km or more, not {self.smooth_km}")
        if self.smooth_km > 0 and not isinstance(self.class_set, Grid):
            raise InputError("labels are smoothed over places; these classes are none")

    @property
    def width(self) -> int:
        """The number of (class, weight) pairs in each label."""
        return 1 if self.smooth_km == 0 else 1 + min(NEIGHBOURS, len(self.class_set))

    def __call__(
        self, classes: Ints, lat: NDArray[np.float64], lng: NDArray[np.float64]
    ) -> tuple[Ints, Floats]:
        """Return classes and weights of the labels of n photos.

        Parameters
        ----------
        classes
            int64 ``(n,)``, each photo's own cell.
        lat, lng
            float64 ``(n,)``, degrees.

        Returns
        -------
        int64 (n, width), float32 (n, width)
            The photo's own class stands first. Weights are not negative and each row's sum is the
            weight of its class (1 unless given); pairs of weight 0 fill the rows.
        """
        named = classes[:, None].astype(np.int64)
        weights = np.ones(named.shape)
        if self.smooth_km > 0:
            named, weights = self._smoothed(named, lat, lng)
        if self.class_weights is not None:
            weights *= self.class_weights[classes][:, None]
        return named, weights.astype(np.float32)

    def _smoothed(
        self, own: Ints, lat: NDArray[np.float64], lng: NDArray[np.float64]
    ) -> tuple[Ints, NDArray[np.float64]]:
        grid = self._grid
        chords, near = self._tree.query(unit_vectors(lat, lng), k=np.arange(1, self.width))
        km = 2 * EARTH_RADIUS_KM * np.arcsin(np.clip(chords / 2, 0, 1))
        own_km = great_circle_km(lat, lng, grid.lat[own[:, 0]], grid.lng[own[:, 0]])
        relative = np.concatenate([own_km[:, None], km], axis=1) - own_km[:, None]
        # Other centroids may be nearer than the photo's own: the nearest, not the own, sets the
        # scale, or the exponential could overflow.
        weights = np.exp(-(relative - relative.min(axis=1, keepdims=True)) / self.smooth_km)
        named = np.concatenate([own, near], axis=1)
        weights[:, 1:][near == own] = 0
        weights[:, 1:][weights[:, 1:] < _NEGLIGIBLE] = 0
        return named, weights / weights.sum(axis=1, keepdims=True)

    @cached_property
    def _tree(self) -> Any:
        from scipy.spatial import cKDTree

        return cKDTree(unit_vectors(self._grid.lat, self._grid.lng))

    @property
    def _grid(self) -> Grid:
        assert isinstance(self.class_set, Grid)  # noqa: S101 - checked when smoothing is asked for
        return self.class_set


def balanced(counts: NDArray[np.int64], how: ClassWeights) -> NDArray[np.float64] | None:
    """Return class weights for an imbalanced training set, or None where all are 1.

    Parameters
    ----------
    counts
        int64 ``(classes,)``: photos of each class.
    how
        ``"inverse"``: every class counts the same in total; ``"sqrt"``: half-way, by the root.

    Returns
    -------
    float64 (classes,)
        The mean over the photos is 1, so that the learning rate keeps its meaning.
    """
    if how == "none":
        return None
    weights = np.maximum(counts, 1).astype(np.float64) ** _POWER[how]
    return np.asarray(weights * (counts.sum() / max((counts * weights).sum(), 1e-300)))
