"""The adaptive partition of photo coordinates into cells (PlaNet, Weyand et al. 2016).

Takes coordinates in chunks, as often as it asks for them; knows nothing of files. It keeps eight
bytes a photo: the sorted leaf ids.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from locationnet.errors import InputError
from locationnet.geo import s2, sphere
from locationnet.geo.grid import Grid

if TYPE_CHECKING:
    from scipy.spatial import KDTree

# North of 45° rounding gives photos at +180° to the western cell; near a pole also this far off.
_SEAM = 1e-9

Chunks = Iterable[tuple[s2.FloatArray, s2.FloatArray]]
Read = Callable[[], Chunks]


@dataclass(frozen=True)
class Partition:
    """The result of `partition`.

    Parameters
    ----------
    grid
        The cells along the Hilbert curve, with their centroids.
    counts
        int64 ``(classes,)``: photos in each cell.
    photos
        Photos read, whether they lie in a cell or not.
    """

    grid: Grid
    counts: NDArray[np.int64]
    photos: int


def partition(read: Read, *, max_photos: int, min_photos: int, threads: int = 1) -> Partition:
    """Partition photos into cells and give each the mean of its photos as centroid.

    Parameters
    ----------
    read
        Returns the photos as chunks ``(lat, lng)`` of float64 ``(n,)`` in degrees; it is called
        twice, and a third time where a mean lies outside its cell.
    max_photos
        A cell with more is split, down to level 30 (``t1``).
    min_photos
        A cell with fewer is dropped (``t2``).
    threads
        Threads that turn coordinates into leaf ids.

    Returns
    -------
    Partition

    Raises
    ------
    InputError
        There are no photos, no cell holds `min_photos` of them, or a later pass differs from the
        first (a pipe cannot be read twice).
    ValueError
        Not 1 ≤ `min_photos` ≤ `max_photos`.
    """
    if not 1 <= min_photos <= max_photos:
        raise ValueError(f"expected 1 <= min_photos ({min_photos}) <= max_photos ({max_photos})")
    leaves = _sorted_leaves(read(), threads)
    if not len(leaves):
        raise InputError("there are no photos to partition")
    ids, counts = split(leaves, max_photos=max_photos, min_photos=min_photos)
    photos = len(leaves)
    del leaves
    if not len(ids):
        raise InputError(f"no cell holds {min_photos} of the {photos} photos; lower the minimum")
    return Partition(_with_centroids(ids, counts, read, threads), counts, photos)


def split(leaves: s2.Ids, *, max_photos: int, min_photos: int) -> tuple[s2.Ids, NDArray[np.int64]]:
    """Split the six faces until no cell above level 30 holds more than `max_photos`.

    Parameters
    ----------
    leaves
        Sorted leaf ids, uint64 ``(photos,)``.

    Returns
    -------
    uint64 (classes,), int64 (classes,)
        The cells with at least `min_photos`, along the Hilbert curve, and their photos.
    """
    cells = (np.arange(s2.FACES, dtype=np.uint64) << np.uint64(61)) | np.uint64(1 << 60)
    start = np.searchsorted(leaves, s2.range_min(cells))
    stop = np.searchsorted(leaves, s2.range_max(cells), side="right")
    kept_ids, kept_counts = [], []
    for level in range(s2.MAX_LEVEL + 1):
        counts = stop - start
        ready = (counts <= max_photos) | (level == s2.MAX_LEVEL)
        keep = ready & (counts >= min_photos)
        kept_ids.append(cells[keep])
        kept_counts.append(counts[keep])
        # A child of a cell below the minimum is below it too.
        if ready.all():
            break
        children = s2.child_ids(cells[~ready])
        inner = np.searchsorted(leaves, s2.range_min(children[:, 1:]))
        edges = np.column_stack([start[~ready], inner, stop[~ready]])
        cells, start, stop = children.ravel(), edges[:, :-1].ravel(), edges[:, 1:].ravel()
    ids, all_counts = np.concatenate(kept_ids), np.concatenate(kept_counts)
    order = np.argsort(ids)
    return ids[order], np.asarray(all_counts[order], np.int64)


def one_each(
    lat: s2.FloatArray, lng: s2.FloatArray, coarsest: int
) -> tuple[Grid, NDArray[np.int64]]:
    """Give each distinct place a cell of its own: the largest that contains no other place.

    Parameters
    ----------
    lat, lng
        float64 ``(n,)``, degrees; places in one leaf, a centimetre wide, are one place.
    coarsest
        No cell is coarser than this level, however lonely its place.

    Returns
    -------
    Grid, int64 (classes,)
        The cells along the Hilbert curve, each with its place as centroid, and which place that
        is: the first of equal ones.

    Raises
    ------
    InputError
        There are no places, or a coordinate is NaN, infinite or out of range.
    ValueError
        `coarsest` is not in 0–30.
    """
    if not 0 <= coarsest <= s2.MAX_LEVEL:
        raise ValueError(f"an S2 level is a number from 0 to {s2.MAX_LEVEL}, not {coarsest}")
    leaves, first = np.unique(s2.leaf_ids(lat, lng), return_index=True)
    if not len(leaves):
        raise InputError("there are no places")
    ids, _ = split(leaves, max_photos=1, min_photos=1)
    lonely = s2.levels(ids) < coarsest
    ids[lonely] = s2.parent_ids(leaves[lonely], coarsest)
    lat, lng = _rounded(lat[first], lng[first])
    outside = _outside(ids, lat, lng)
    lat[outside], lng[outside] = _rounded(*s2.centers(ids[outside]))
    return Grid(ids, lat, lng), first.astype(np.int64)


@dataclass
class OracleBound:
    """The oracle upper bound: what a classifier that is always right would score over a grid.

    It answers with the centroid of the photo's own cell, or with the nearest centroid for a photo
    in no cell.
    """

    grid: Grid
    photos: int = 0
    outside: int = 0
    _within: NDArray[np.int64] = field(
        default_factory=lambda: np.zeros(len(sphere.THRESHOLDS_KM), np.int64)
    )

    def add(self, lat: s2.FloatArray, lng: s2.FloatArray) -> None:
        """Count photos, float64 ``(n,)`` degrees."""
        classes = self.grid.assign(lat, lng)
        lost = np.flatnonzero(classes < 0)
        if len(lost):
            _, nearest = self._centroids.query(sphere.unit_vectors(lat[lost], lng[lost]))
            classes[lost] = nearest
        km = sphere.great_circle_km(lat, lng, self.grid.lat[classes], self.grid.lng[classes])
        self.photos += len(lat)
        self.outside += len(lost)
        self._within += [int((km <= threshold).sum()) for threshold in sphere.THRESHOLDS_KM]

    def shares(self) -> dict[float, float]:
        """Return the share of photos within each of 1, 25, 200, 750 and 2500 km."""
        return dict(
            zip(sphere.THRESHOLDS_KM, (self._within / max(1, self.photos)).tolist(), strict=True)
        )

    @cached_property
    def _centroids(self) -> KDTree:
        from scipy.spatial import KDTree  # slow to load, and labelling alone does not need it

        return KDTree(sphere.unit_vectors(self.grid.lat, self.grid.lng))


def _sorted_leaves(chunks: Chunks, threads: int) -> s2.Ids:
    leaves = np.empty(0, np.uint64)
    count = 0
    for lat, lng in chunks:
        end = count + len(lat)
        if end > len(leaves):
            # Grown in place by an eighth: a list of pieces, joined, would hold the photos twice.
            # Nothing else refers to the array, which is what NumPy would check.
            leaves.resize(max(end, len(leaves) * 9 // 8), refcheck=False)
        leaves[count:end] = s2.leaf_ids(lat, lng, threads=threads)
        count = end
    leaves.resize(count, refcheck=False)
    leaves.sort()
    return leaves


def _with_centroids(ids: s2.Ids, counts: NDArray[np.int64], read: Read, threads: int) -> Grid:
    bare = Grid(ids, *s2.centers(ids))
    lat, lng = _rounded(*_means(bare, counts, read, threads))
    outside = _outside(ids, lat, lng)
    if outside.any():
        lat[outside], lng[outside] = _rounded(
            *_nearest_photos(bare, lat, lng, outside, read, threads)
        )
        outside = _outside(ids, lat, lng)
        lat[outside], lng[outside] = _rounded(bare.lat[outside], bare.lng[outside])
    return Grid(ids, lat, lng)


def _means(
    bare: Grid, counts: NDArray[np.int64], read: Read, threads: int
) -> tuple[s2.FloatArray, s2.FloatArray]:
    """Return the mean latitude and longitude of each cell's photos.

    Below the faces no cell crosses the antimeridian, so the plain mean serves. It is summed as
    offsets from the cell's centre, so that millions of photos add up without loss; a photo on the
    seam joins the side that its cell is on, whatever its sign. A face may cross the antimeridian or
    hold a pole: there it is the mean direction in space.
    """
    sums = np.zeros((6, len(bare)))
    has_faces = bool((bare.levels == 0).any())
    for lat, lng in read():
        classes = bare.assign_leaves(s2.leaf_ids(lat, lng, threads=threads))
        inside = np.flatnonzero(classes >= 0)
        classes, lat, lng = classes[inside], lat[inside], lng[inside]
        on_seam = 180 - np.abs(lng) < _SEAM
        same_side = np.where(on_seam, np.copysign(lng, bare.lng[classes]), lng)
        parts = [np.ones(len(lat)), lat - bare.lat[classes], same_side - bare.lng[classes]]
        if has_faces:
            parts += list(sphere.unit_vectors(lat, lng).T)
        for row, part in enumerate(parts):
            sums[row] += np.bincount(classes, part, minlength=len(bare))
    if not np.array_equal(sums[0], counts):
        raise InputError(
            "the photos changed from one pass to the next (a pipe cannot be read twice)"
        )
    mean_lat, mean_lng = bare.lat + sums[1] / counts, bare.lng + sums[2] / counts
    if has_faces:
        face_lat, face_lng = sphere.direction_degrees(sums[3:].T)
        mean_lat = np.where(bare.levels == 0, face_lat, mean_lat)
        mean_lng = np.where(bare.levels == 0, face_lng, mean_lng)
    return mean_lat, mean_lng


def _nearest_photos(
    bare: Grid,
    lat: s2.FloatArray,
    lng: s2.FloatArray,
    outside: NDArray[np.bool_],
    read: Read,
    threads: int,
) -> tuple[s2.FloatArray, s2.FloatArray]:
    """Return, for cells marked in `outside`, the photo nearest to the mean; the first on a tie."""
    nearest_km = np.full(len(bare), np.inf)
    nearest_lat, nearest_lng = bare.lat.copy(), bare.lng.copy()
    for photo_lat, photo_lng in read():
        classes = bare.assign_leaves(s2.leaf_ids(photo_lat, photo_lng, threads=threads))
        rows = np.flatnonzero((classes >= 0) & outside[classes])
        cells = classes[rows]
        km = sphere.great_circle_km(photo_lat[rows], photo_lng[rows], lat[cells], lng[cells])
        order = np.lexsort((rows, km, cells))
        _, first = np.unique(cells[order], return_index=True)
        best = order[first]
        best = best[km[best] < nearest_km[cells[best]]]
        nearest_km[cells[best]] = km[best]
        nearest_lat[cells[best]] = photo_lat[rows[best]]
        nearest_lng[cells[best]] = photo_lng[rows[best]]
    return nearest_lat[outside], nearest_lng[outside]


def _outside(ids: s2.Ids, lat: s2.FloatArray, lng: s2.FloatArray) -> NDArray[np.bool_]:
    leaves = s2.leaf_ids(lat, lng)
    return np.asarray((leaves < s2.range_min(ids)) | (leaves > s2.range_max(ids)))


def _rounded(lat: s2.FloatArray, lng: s2.FloatArray) -> tuple[s2.FloatArray, s2.FloatArray]:
    """Round as `Grid.write` does: a rounded centroid may leave a cell one centimetre wide."""

    def text(values: s2.FloatArray) -> s2.FloatArray:
        return np.array([float(f"{value:.12g}") for value in values.tolist()])

    return text(lat), text(lng)
