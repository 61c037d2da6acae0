"""Image geolocation: a photo in, the places on Earth where it was probably taken out.

The public names load on first use, so that ``import locationnet`` (and ``locationnet --version``)
costs nothing; nothing here knows how any of them work. Answers, which may not know who draws them,
are told here.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

from locationnet.model import presenter

if TYPE_CHECKING:
    from locationnet.model.presenter import Presenter

__version__ = "0.2.0"

# ONNX Runtime would tell its maker about this machine. It reads this when it is imported, and
# whoever imports any part of us has come through here.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

if TYPE_CHECKING:
    from locationnet.errors import LocationNetError as LocationNetError
    from locationnet.geo.grid import Grid as Grid
    from locationnet.model.bundle import Bundle as Bundle
    from locationnet.model.bundle import available_models as available_models
    from locationnet.model.classifier import Classification as Classification
    from locationnet.model.classifier import Classifier as Classifier
    from locationnet.model.classifier import load_classifier as load_classifier
    from locationnet.model.locator import Locator as Locator
    from locationnet.model.prediction import Evidence as Evidence
    from locationnet.model.prediction import Place as Place
    from locationnet.model.prediction import Prediction as Prediction
    from locationnet.model.region import Region as Region
    from locationnet.retrieval.neighbourhood import load_model as load_model

_HOMES = {
    "Bundle": "locationnet.model.bundle",
    "Classification": "locationnet.model.classifier",
    "Classifier": "locationnet.model.classifier",
    "Evidence": "locationnet.model.prediction",
    "Grid": "locationnet.geo.grid",
    "LocationNetError": "locationnet.errors",
    "Locator": "locationnet.model.locator",
    "Place": "locationnet.model.prediction",
    "Prediction": "locationnet.model.prediction",
    "Region": "locationnet.model.region",
    "available_models": "locationnet.model.bundle",
    "load_classifier": "locationnet.model.classifier",
    "load_model": "locationnet.retrieval.neighbourhood",
}

__all__ = [
    "Bundle",
    "Classification",
    "Classifier",
    "Evidence",
    "Grid",
    "LocationNetError",
    "Locator",
    "Place",
    "Prediction",
    "Region",
    "available_models",
    "load_classifier",
    "load_model",
]


def _presentation() -> Presenter:
    from locationnet.viz import presentation

    return presentation


presenter.use(_presentation)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
