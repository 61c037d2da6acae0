"""Cells as GeoJSON polygons that any map can draw: edges densified, nothing across ±180°.

Knows nothing of what the cells mean; properties are passed through.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from locationnet.geo import s2

# Enough decimals for a leaf cell's centimetre.
_DECIMALS = 8
_AT_POLE = 90 - 1e-9
_AT_SEAM = 180 - 1e-9

Ring = list[list[float]]


def rings(ids: s2.Ids, decimals: int = _DECIMALS) -> list[list[Ring]]:
    """Return for each cell the closed rings ``[[lng, lat], ...]`` that draw it, degrees.

    Edges are great circles, cut finer the larger the cell. From level 1 on no cell crosses the
    antimeridian or holds a pole inside, so a face is drawn as its four children.
    """
    drawn: list[list[Ring]] = [[] for _ in range(len(ids))]
    levels = s2.levels(ids)
    for level in np.unique(levels):
        owners = np.flatnonzero(levels == level)
        pieces = max(1, 64 >> max(1, int(level)))
        cells = ids[owners]
        if level == 0:
            cells, owners = s2.child_ids(cells).ravel(), np.repeat(owners, 4)
        lat, lng = s2.outline(cells, pieces)
        _, middle = s2.centers(cells)
        # A corner on the seam belongs to the side that the cell is on.
        lng = np.where(np.abs(lng) > _AT_SEAM, np.copysign(180.0, middle)[:, None], lng)
        has_pole = (np.abs(lat) > _AT_POLE).any(axis=1)
        drawings = np.round(np.stack([lng, lat], axis=-1), decimals).tolist()
        for row in np.flatnonzero(has_pole):
            drawings[row] = _around_pole(drawings[row], lat[row])
        for owner, points in zip(owners, drawings, strict=True):
            points.append(points[0])
            drawn[owner].append(points)
    return drawn


def feature_collection(
    ids: s2.Ids,
    properties: Mapping[str, Sequence[Any]] | None = None,
    decimals: int = _DECIMALS,
) -> dict[str, Any]:
    """Return cells as a GeoJSON FeatureCollection.

    Parameters
    ----------
    ids
        uint64 ``(n,)``.
    properties
        A sequence of `n` JSON values for each name; the token is always there as ``cell``.
    decimals
        Of degrees; see `enough_decimals`.
    """
    columns = {"cell": s2.tokens(ids), **(properties or {})}
    features = []
    for index, parts in enumerate(rings(ids, decimals)):
        features.append(
            {
                "type": "Feature",
                "geometry": {"type": "MultiPolygon", "coordinates": [[ring] for ring in parts]},
                "properties": {name: values[index] for name, values in columns.items()},
            }
        )
    return {"type": "FeatureCollection", "features": features}


def enough_decimals(ids: s2.Ids) -> int:
    """Return how many decimals draw even the smallest of the cells to a hundredth of its width."""
    deepest = int(s2.levels(ids).max(initial=0))
    # A face is about 90 degrees wide, and each level halves that.
    return min(_DECIMALS, max(2, math.ceil(math.log10(100 * 2**deepest / 90))))


def _around_pole(points: Ring, lat: s2.FloatArray) -> Ring:
    """Lead a ring along the map's edge between a pole's neighbours: a pole has no longitude."""
    around: Ring = []
    for index, point in enumerate(points):
        if abs(lat[index]) > _AT_POLE:
            pole = float(np.copysign(90.0, lat[index]))
            around.append([points[index - 1][0], pole])
            around.append([points[(index + 1) % len(points)][0], pole])
        else:
            around.append(point)
    return around
