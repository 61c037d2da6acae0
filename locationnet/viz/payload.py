"""Predictions as the JSON that a map page draws: answers, and the cells that hold most of them.

Knows nothing of HTML, scripts or files.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from locationnet.geo import geojson, s2, sphere
from locationnet.model.heatmap import SHARE, likely_area, top_cells
from locationnet.model.prediction import Prediction

# The cells drawn hold `SHARE` of the probability, unless there are too many of them: for one
# answer, and for all photos of a page together.
MAX_CELLS = 2_000
MAX_CELLS_OF_PAGE = 200_000
MIN_CELLS = 100
# Of degrees: 11 m, a pixel at the deepest zoom.
_DECIMALS = 4


@dataclass(frozen=True)
class MapItem:
    """One photo on the map.

    Parameters
    ----------
    title
        What to call it, for example its file name; shown as plain text.
    prediction
        The answer.
    truth
        Where it was really taken, (latitude, longitude) in degrees, where that is known.
    thumbnail
        The photo as a small JPEG file, which becomes a part of the page; see
        `locationnet.viz.html.thumbnail`.
    """

    title: str
    prediction: Prediction
    truth: tuple[float, float] | None = None
    thumbnail: bytes | None = None


def page(items: Sequence[MapItem], prior: Prediction | None = None) -> dict[str, Any]:
    """Return all that a page draws, as plain JSON values.

    Parameters
    ----------
    items
        The photos, in the order in which the page lists them.
    prior
        The answer without a photo, to be shown beside a demo's.

    Returns
    -------
    dict
        ``items``, each with ``title``, ``answer``, ``cells``, ``area``, ``shown``, ``truth`` and,
        if it has one, ``thumbnail``; ``prior``
        (``answer``, ``cells``, ``area``, ``shown``) or None; ``cells``, the outlines that they all
        refer to: lists of rings of [lng, lat], cut at ±180°; ``tokens``, their S2 tokens. ``cells``
        of an answer are [number, probability, lift], its ``area`` the numbers of the cells that
        half of the probability lies in.
    """
    answers = [item.prediction for item in items] + ([prior] if prior is not None else [])
    limit = max(MIN_CELLS, min(MAX_CELLS, MAX_CELLS_OF_PAGE // max(1, len(answers))))
    chosen = [top_cells(answer.probabilities, SHARE, limit) for answer in answers]
    ids = [answer.grid.ids[classes] for answer, classes in zip(answers, chosen, strict=True)]
    areas = [likely_area(answer) for answer in answers]
    used = np.unique(np.concatenate([*ids, *areas, np.empty(0, np.uint64)]))
    drawn = [
        _drawn(answer, classes, np.searchsorted(used, own))
        | {"area": np.searchsorted(used, area).tolist()}
        for answer, classes, own, area in zip(answers, chosen, ids, areas, strict=True)
    ]
    return {
        "items": [
            {"title": item.title, **fields, "truth": _truth(item), **_picture(item)}
            for item, fields in zip(items, drawn, strict=False)
        ],
        "prior": drawn[-1] if prior is not None else None,
        "cells": outlines(used),
        "tokens": s2.tokens(used),
    }


def outlines(ids: NDArray[np.uint64]) -> list[list[list[list[float]]]]:
    """Return the outlines of cells, each a list of open rings of [lng, lat], cut at ±180°."""
    return [[ring[:-1] for ring in parts] for parts in geojson.rings(ids, _DECIMALS)]


def _drawn(
    prediction: Prediction, classes: NDArray[np.int64], numbers: NDArray[np.int64]
) -> dict[str, Any]:
    answer = prediction.to_dict()
    best = prediction.best
    answer["best"] |= {"cell": best.cell, "probability": best.probability}
    probabilities, lifts = prediction.probabilities[classes], prediction.lifts[classes]
    return {
        "answer": answer,
        "cells": [
            [int(number), float(f"{probability:.3g}"), float(f"{lift:.3g}")]
            for number, probability, lift in zip(numbers, probabilities, lifts, strict=True)
        ],
        "shown": {
            "probability": float(probabilities.sum()),
            "cells": len(classes),
            "of": len(prediction.probabilities),
        },
    }


def _picture(item: MapItem) -> dict[str, str]:
    if item.thumbnail is None:
        return {}
    data = base64.b64encode(item.thumbnail).decode("ascii")
    return {"thumbnail": f"data:image/jpeg;base64,{data}"}


def _truth(item: MapItem) -> dict[str, float] | None:
    if item.truth is None:
        return None
    lat, lng = item.truth
    best = item.prediction.best
    return {
        "lat": lat,
        "lng": lng,
        "km": float(sphere.great_circle_km(lat, lng, best.lat, best.lng)),
    }
