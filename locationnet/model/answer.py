"""A prediction as the plain JSON object that the command line and the service both give.

Knows nothing of HTTP or of terminals.
"""

from __future__ import annotations

from typing import Any

from locationnet.model.bundle import Bundle
from locationnet.model.prediction import Prediction


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
    facts = prediction.to_dict()
    if manifest.demo:
        before = prior.to_dict()
        facts["demo"] = True
        facts["prior"] = {key: before[key] for key in ("predictions", "best", "radius_km")}
    facts["model"] = {
        "name": manifest.name,
        "version": manifest.version,
        "grid_sha256": bundle.grid.sha256,
    }
    return facts
