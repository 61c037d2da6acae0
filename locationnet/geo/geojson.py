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
        for owner, ring_lat, ring_lng, side in zip(owners, lat, lng, middle, strict=True):
            drawn[owner].append(_ring(ring_lat, ring_lng, side, decimals))
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


def _ring(lat: s2.FloatArray, lng: s2.FloatArray, middle: float, decimals: int) -> Ring:
    # A corner on the seam belongs to the side that the cell is on.
    lng = np.where(np.abs(lng) > _AT_SEAM, np.copysign(180.0, middle), lng)
    points: Ring = []
    for index in range(len(lat)):
        if abs(lat[index]) > _AT_POLE:
            # A pole has no longitude: the polygon runs along the map's edge between its neighbours.
            pole = float(np.copysign(90.0, lat[index]))
            points.append([round(float(lng[index - 1]), decimals), pole])
            points.append([round(float(lng[(index + 1) % len(lng)]), decimals), pole])
        else:
            points.append([round(float(lng[index]), decimals), round(float(lat[index]), decimals)])
    points.append(points[0])
    return points
