"""Answers as GeoJSON features: a point and a cell for each ranked place.

Knows nothing of files or of where the photos come from.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from typing import Any

from locationnet.geo import geojson
from locationnet.model.plain_values import plain_place
from locationnet.model.prediction import Place, Prediction
from locationnet.names import valid_text

Feature = dict[str, Any]


def features(photo: str, prediction: Prediction) -> list[Feature]:
    """Return what a map draws of one photo's answer, best rank first.

    Parameters
    ----------
    photo
        What to call the photo.
    prediction
        Its answer.

    Returns
    -------
    list of dict
        A ``Point`` for each place, then a ``MultiPolygon`` for the cell of each, cut at ±180°, with
        the same properties: ``photo``, ``rank``, ``probability``, ``lift``, ``lat``, ``lng``,
        ``cell``, ``level``, ``place`` and ``abstained``. Those of the first also hold ``summary``
        and ``radius_50_km`` and ``radius_90_km``, around that place; those of a demo ``demo``, and
        those of probabilities that nobody calibrated ``calibrated``, which is then false.
    """
    properties = [_properties(photo, prediction, place) for place in prediction.places]
    points = [
        _feature("Point", [place.lng, place.lat], fields)
        for place, fields in zip(prediction.places, properties, strict=True)
    ]
    cells = [
        _feature("MultiPolygon", [[ring] for ring in parts], fields)
        for parts, fields in zip(place_rings(prediction), properties, strict=True)
    ]
    return points + cells


def collection(answers: Iterable[tuple[str, Prediction]]) -> dict[str, Any]:
    """Return the features of several photos, each named, as one GeoJSON FeatureCollection."""
    found = (features(photo, prediction) for photo, prediction in answers)
    return {"type": "FeatureCollection", "features": list(chain.from_iterable(found))}


def place_rings(prediction: Prediction) -> list[list[geojson.Ring]]:
    """Return the closed rings of each place's cell, best rank first; see `geojson.rings`."""
    ids = prediction.grid.ids[[place.class_index for place in prediction.places]]
    return geojson.rings(ids, geojson.enough_decimals(ids))


def _properties(photo: str, prediction: Prediction, place: Place) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "photo": valid_text(photo),
        **plain_place(place),
        "abstained": prediction.abstained,
    }
    if place.rank == 1:
        fields["summary"] = prediction.summary
        for share in (50, 90):
            fields[f"radius_{share}_km"] = prediction.radius_km(share / 100, around=place)
    if prediction.demo:
        fields["demo"] = True
    if not prediction.calibrated:
        fields["calibrated"] = False
    return fields


def _feature(kind: str, coordinates: list[Any], properties: dict[str, Any]) -> Feature:
    return {
        "type": "Feature",
        "geometry": {"type": kind, "coordinates": coordinates},
        "properties": properties,
    }
