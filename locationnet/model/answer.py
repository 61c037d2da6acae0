"""A prediction as plain values: the JSON object of every door, and the row of a table.

Knows nothing of HTTP or of terminals.
"""

from __future__ import annotations

from typing import Any

from locationnet.model.bundle import Bundle
from locationnet.model.prediction import Prediction

ROW = (
    "place", "country", "probability", "lift", "lat", "lng", "radius_50_km", "abstained", "located",
    "information_bits", "calibrated", "summary",
)  # fmt: skip


def answer(bundle: Bundle, prediction: Prediction, prior: Prediction) -> dict[str, Any]:
    """Return a prediction with the model that made it.

    Parameters
    ----------
    bundle
        Where the prediction comes from.
    prediction
        The answer for a photo.
    prior
        The answer without one: a demo's answer never goes without it.

    Returns
    -------
    dict
        `Prediction.to_dict`, ``model`` and, for a demo, ``demo`` and ``prior``.
    """
    manifest = bundle.manifest
    fields = prediction.to_dict()
    if manifest.demo:
        before = prior.to_dict()
        fields["demo"] = True
        fields["prior"] = {key: before[key] for key in ("predictions", "best", "radius_km")}
    fields["model"] = {
        "name": manifest.name,
        "version": manifest.version,
        "grid_sha256": bundle.grid.sha256,
    }
    return fields


def answer_row(prediction: Prediction) -> dict[str, str | float | bool]:
    """Return what a table says of a photo in one row: the most probable cell, and how sure it is.

    Returns
    -------
    dict
        `ROW`'s columns: the place and its country's ISO code (``""`` where nobody knows them), its
        probability and lift, degrees, the radius around it that holds half of the probability
        (kilometres), whether the answer abstains, whether it names a place, bits, whether it is
        calibrated, and the sentence.
    """
    mode = prediction.mode
    values = (
        mode.name,
        prediction.layer.names.country[mode.class_index],
        mode.probability,
        mode.lift,
        mode.lat,
        mode.lng,
        prediction.radius_km(0.5, around=mode),
        prediction.abstained,
        prediction.likely is not None,
        prediction.information_bits,
        prediction.calibrated,
        prediction.summary,
    )
    return dict(zip(ROW, values, strict=True))
