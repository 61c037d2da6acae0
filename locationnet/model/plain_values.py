"""A prediction as plain JSON values: what ``POST /locate`` answers, and all that is made of it.

Knows the names of fields; nothing of how an answer is computed or shown.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from locationnet.geo.sphere import great_circle_km
from locationnet.model import summary
from locationnet.model.rollups import Group

if TYPE_CHECKING:  # predictions give themselves as plain values
    from locationnet.model.prediction import Place, Prediction


def plain_answer(prediction: Prediction) -> dict[str, Any]:
    """Return an answer; see `Prediction.to_dict`."""
    around_best, around_mode = prediction.reported_radii_km
    best = prediction.best
    return {
        "summary": prediction.summary,
        "located": prediction.likely is not None,
        "predictions": plain_places(prediction),
        "mode_radius_km": around_mode,
        "cities": [_city(prediction, group) for group in prediction.cities],
        "raised": [_city(prediction, group) for group in prediction.raised],
        "countries": [
            {
                "country": country.label,
                "name": country.name,
                "probability": country.probability,
                "lift": country.lift,
            }
            for country in prediction.countries
        ],
        "hint": _hint(prediction),
        "best": {"lat": best.lat, "lng": best.lng, "place": best.name},
        "radius_km": around_best,
        "abstained": prediction.abstained,
        "information_bits": prediction.information_bits,
        "explanation": prediction.explanation,
        "evidence": [
            {"label": item.label, "probability": item.probability, "bits": item.bits}
            for item in prediction.evidence
        ],
        **({"neighbours": _neighbours(prediction)} if prediction.neighbours else {}),
        **({} if prediction.calibrated else {"calibrated": False}),
    }


def plain_places(prediction: Prediction) -> list[dict[str, Any]]:
    """Return the places of an answer, the most probable first."""
    return list(map(plain_place, prediction.places))


def plain_place(place: Place) -> dict[str, Any]:
    """Return one place of an answer."""
    return {
        "rank": place.rank,
        "probability": place.probability,
        "lift": place.lift,
        "lat": place.lat,
        "lng": place.lng,
        "cell": place.cell,
        "level": place.level,
        "place": place.name,
    }


def _city(prediction: Prediction, group: Group) -> dict[str, Any]:
    """Return a group with where its most probable cell lies."""
    lat, lng = prediction.point(group.class_index)
    return {
        "name": group.name,
        "probability": group.probability,
        "lift": group.lift,
        "cells": group.cells,
        "lat": lat,
        "lng": lng,
    }


def _hint(prediction: Prediction) -> dict[str, Any] | None:
    if prediction.hint is None:
        return None
    return {
        **_city(prediction, prediction.hint),
        "earned": summary.has_earned(prediction.hint_rate),
        "text": summary.hint_text(prediction.hint, prediction.hint_rate),
    }


def _neighbours(prediction: Prediction) -> list[dict[str, Any]]:
    first = prediction.mode
    return [
        one.to_dict(float(great_circle_km(first.lat, first.lng, one.lat, one.lng)))
        for one in prediction.neighbours
    ]
