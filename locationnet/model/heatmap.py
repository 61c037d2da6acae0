"""An answer as coloured cells: the fewest that hold most of its probability, as GeoJSON.

Knows nothing of colours, of maps or of HTTP.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from locationnet.geo import geojson
from locationnet.model.prediction import Prediction

# What a heat map holds of the probability.
SHARE = 0.95


def heatmap(prediction: Prediction, share: float = SHARE) -> dict[str, Any]:
    """Return the smallest set of cells that holds a share of the probability, as GeoJSON.

    Parameters
    ----------
    prediction
        The answer.
    share
        From 0 to 1.

    Returns
    -------
    dict
        A FeatureCollection, most probable cell first, cut at ±180°. Properties of a feature:
        ``cell`` (S2 token), ``probability`` (six significant digits) and ``rank`` (from 1).
    """
    classes = top_cells(prediction.probabilities, share)
    ids = prediction.grid.ids[classes]
    properties = {
        "probability": [float(f"{value:.6g}") for value in prediction.probabilities[classes]],
        "rank": range(1, len(classes) + 1),
    }
    return geojson.feature_collection(ids, properties, geojson.enough_decimals(ids))


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
