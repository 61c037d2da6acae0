"""What of a grid a map shows: the cells in its box, and from afar the larger ones around them.

Knows cells, boxes and zoom levels; nothing of maps or of how cells are drawn.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from locationnet.geo import s2
from locationnet.geo.box import Box
from locationnet.geo.grid import Grid

# At zoom z the equator is 256 · 2^z pixels wide, and a cell of level l a quarter of it over 2^l: at
# level z + 2 it is 16 pixels wide.
_LEVELS_BELOW_ZOOM = 2
# More than a browser draws smoothly. Only a box larger than a screen has them.
MAX_CELLS = 5000
# A small cell's edges are nearly straight: bent by less than a tenth of its size.
_SMALL = 5
_PIECES = 8
_BEND = 0.1
_NEAR_POLE = 89.9


def visible_cells(grid: Grid, zoom: int, box: Box | None = None) -> s2.Ids:
    """Return the cells to draw, at most `MAX_CELLS`, uint64 ``(n,)``, in curve order.

    Parameters
    ----------
    grid
        The cells.
    zoom
        Of a web map, 0 (the world on 256 pixels) and up. What would be smaller than about 16 pixels
        gives way to its S2 ancestor.
    box
        What can be seen; None for the world.
    """
    ids, level = grid.ids[grid.curve_order], min(zoom + _LEVELS_BELOW_ZOOM, s2.MAX_LEVEL)
    if box is not None:
        ids = ids[_meets(ids, box)]
    while True:
        shown = np.unique(s2.ancestor_ids(ids, level))
        if len(shown) <= MAX_CELLS or level == 0:
            return shown
        level -= 1


def _meets(ids: s2.Ids, box: Box) -> NDArray[np.bool_]:
    """Tell which cells may have a part in a box: whether their own boxes do, a little enlarged."""
    meets = np.ones(len(ids), np.bool_)
    is_large = s2.levels(ids) < _SMALL
    for mask, pieces in ((is_large, _PIECES), (~is_large, 1)):
        lat, lng = s2.outline(ids[mask], pieces)
        _, middle = s2.centers(ids[mask])
        from_middle = np.mod(lng - middle[:, None] + 180.0, 360.0) - 180.0
        west, east = _enlarged(from_middle)
        south, north = _enlarged(lat)
        across = np.zeros(len(lat), np.bool_)
        for turn in (-360, 0, 360):
            start, end = box.west + turn, box.west + turn + box.width
            across |= (middle + west <= end) & (middle + east >= start)
        # A cell at a pole has every longitude.
        across |= np.abs(lat).max(axis=1) > _NEAR_POLE
        meets[mask] = across & (south <= box.north) & (north >= box.south)
    # Two faces have a pole inside.
    return np.asarray(meets | (s2.levels(ids) == 0))


def _enlarged(degrees: s2.FloatArray) -> tuple[s2.FloatArray, s2.FloatArray]:
    """Return each row's least and greatest value, moved apart: edges are bent outwards."""
    low, high = degrees.min(axis=1), degrees.max(axis=1)
    return low - _BEND * (high - low), high + _BEND * (high - low)
