"""An answer as coloured cells: a few that hold most of its probability, as GeoJSON.

Knows nothing of colours, of maps or of HTTP.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left
from typing import Any

import numpy as np
from numpy.typing import NDArray

from locationnet.geo import geojson, s2
from locationnet.geo.grid import Grid
from locationnet.model.cells import totals
from locationnet.model.prediction import Prediction

# What a heat map holds of the probability.
SHARE = 0.95
# More cells than a map of the world can show, and a browser can draw at once.
MAX_CELLS = 2000
# So large are the cells of an area that a map of the world can show.
AREA_LEVEL = 4


def heatmap(prediction: Prediction, share: float = SHARE, limit: int = MAX_CELLS) -> dict[str, Any]:
    """Return the fewest cells that hold a share of the probability, as GeoJSON.

    Where these are more than the limit, cells with little probability give way to their ancestors.

    Parameters
    ----------
    prediction
        The answer.
    share
        From 0 to 1.
    limit
        At most so many cells; at least 6.

    Returns
    -------
    dict
        A FeatureCollection, most probable cell first, cut at ±180°. Properties of a feature:
        ``cell`` (S2 token), ``probability`` (six significant digits), ``lift`` (three) and ``rank``
        (from 1).
    """
    ids, probabilities, prior = prediction.grid.ids, prediction.probabilities, prediction.prior
    chosen = top_cells(probabilities, share)
    if len(chosen) > limit:
        ids, probabilities, prior = _merged(prediction.grid, probabilities, prior, limit)
        chosen = top_cells(probabilities, share)
    ids = ids[chosen]
    probabilities, prior = probabilities[chosen], prior[chosen]
    lifts = np.divide(probabilities, prior, out=np.ones_like(prior), where=prior > 0)
    properties = {
        "probability": [float(f"{value:.6g}") for value in probabilities],
        "lift": [float(f"{value:.3g}") for value in lifts],
        "rank": range(1, len(chosen) + 1),
    }
    return geojson.feature_collection(ids, properties, geojson.enough_decimals(ids))


def likely_area(prediction: Prediction, share: float = 0.5) -> s2.Ids:
    """Return the cells of the least area that holds a share of the probability.

    It is made of cells of `AREA_LEVEL`, so that a map of the world can show it, and of larger ones.
    """
    ids, classes = np.unique(s2.ancestor_ids(prediction.grid.ids, AREA_LEVEL), return_inverse=True)
    held = totals(classes, prediction.probabilities, len(ids))
    # A level down is a quarter of the area.
    order = np.argsort(-held * 4.0 ** s2.levels(ids), kind="stable")
    within = np.cumsum(held[order])
    return np.asarray(ids[order[: int(np.searchsorted(within, share * within[-1])) + 1]])


def top_cells(
    probabilities: NDArray[np.float64], share: float, limit: int | None = None
) -> NDArray[np.int64]:
    """Return the fewest classes that hold `share` of the probability, most probable first.

    Parameters
    ----------
    probabilities
        float64 ``(classes,)``.
    share
        From 0 to 1.
    limit
        At most so many classes, even if they hold less. Classes without probability never count.
    """
    order = np.argsort(-probabilities, kind="stable")
    within = np.cumsum(probabilities[order])
    count = int(np.searchsorted(within, share * within[-1] - 1e-12)) + 1
    return order[: min(count, limit or count, int(np.count_nonzero(probabilities)))]


def _merged(
    grid: Grid, probabilities: NDArray[np.float64], prior: NDArray[np.float64], limit: int
) -> tuple[s2.Ids, NDArray[np.float64], NDArray[np.float64]]:
    """Return at most `limit` cells that cover a grid's, their probabilities and their prior.

    It begins with the faces of the cube, and as long as there is room gives the most probable cell
    that holds several of the grid's up for its children.
    """
    order = grid.curve_order
    ids: list[int] = grid.ids[order].tolist()
    sums = np.concatenate([[0.0], np.cumsum(probabilities[order])])
    prior_sums = np.concatenate([[0.0], np.cumsum(prior[order])])
    before = sums.tolist()
    # Cell, first and last cell of the grid in it.
    single: list[tuple[int, int, int]] = []
    # Negative probability, cell, first and last cell of the grid in it.
    several: list[tuple[float, int, int, int]] = []

    def add(cell: int, first: int, last: int) -> None:
        held = before[last] - before[first]
        if last - first == 1:
            single.append((ids[first], first, last))
        elif last > first:
            heapq.heappush(several, (-held, cell, first, last))

    def add_each(cells: list[int], first: int, last: int) -> None:
        for cell in cells:
            end = bisect_left(ids, cell + (cell & -cell), first, last)
            add(cell, first, end)
            first = end

    add_each([(2 * face + 1) << 60 for face in range(s2.FACES)], 0, len(ids))
    while several and len(single) + len(several) + 3 <= limit:
        _, cell, first, last = heapq.heappop(several)
        add_each(_children(cell), first, last)
    single += [held[1:] for held in several]
    cells = np.array([cell for cell, _, _ in single], np.uint64)
    first, last = np.array([held[1:] for held in single]).T
    return cells, sums[last] - sums[first], prior_sums[last] - prior_sums[first]


def _children(cell: int) -> list[int]:
    step = (cell & -cell) >> 2
    return [cell + offset * step for offset in (-3, -1, 1, 3)]
