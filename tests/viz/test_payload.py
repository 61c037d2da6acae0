"""What the page draws: enough cells, not too many, and outlines that do not cross ±180°."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from locationnet.model.prediction import Prediction
from locationnet.viz import payload
from locationnet.viz.payload import MapItem

Predict = Callable[..., Prediction]


def test_an_item_repeats_the_answer_and_says_how_much_is_drawn(predict: Predict) -> None:
    prediction = predict(48.9, 2.3)
    page = payload.page([MapItem("paris.jpg", prediction, (48.8566, 2.3522))])
    (item,) = page["items"]
    assert item["title"] == "paris.jpg"
    assert item["answer"]["predictions"] == prediction.to_dict()["predictions"]
    assert item["answer"]["best"]["place"] == prediction.best.name
    assert item["shown"]["of"] == 1536
    assert item["shown"]["cells"] == len(item["cells"])
    assert 0.95 <= item["shown"]["probability"] < 0.97
    assert sum(probability for _, probability, _ in item["cells"]) == pytest.approx(0.95, abs=0.02)
    assert item["truth"]["km"] < 600
    assert page["prior"] is None
    json.dumps(page, allow_nan=False)


def test_photos_and_prior_share_their_outlines(predict: Predict, world: object) -> None:
    items = [MapItem(f"{i}.jpg", predict(10.0, float(i))) for i in range(3)]
    page = payload.page(items, predict(0.0, 0.0, km=9000.0))
    used = {index for shown in [*page["items"], page["prior"]] for index, *_ in shown["cells"]}
    used |= {index for shown in [*page["items"], page["prior"]] for index in shown["area"]}
    assert used == set(range(len(page["cells"])))
    assert len(page["prior"]["cells"]) <= len(page["cells"]) <= 1536
    first = page["items"][0]
    (index, *_), place = first["cells"][0], first["answer"]["predictions"][0]
    lngs, lats = zip(*page["cells"][index][0], strict=True)
    assert min(lngs) <= place["lng"] <= max(lngs) and min(lats) <= place["lat"] <= max(lats)


def test_outlines_near_the_antimeridian_do_not_cross_it(predict: Predict) -> None:
    page = payload.page([MapItem("fiji.jpg", predict(-17.8, 178.0, km=3000.0))])
    lngs = [lng for rings in page["cells"] for ring in rings for lng, _ in ring]
    assert min(lngs) < -170 and max(lngs) > 170
    for rings in page["cells"]:
        for ring in rings:
            assert max(abs(b[0] - a[0]) for a, b in pairwise(ring)) < 180
            assert all(-180 <= lng <= 180 and -90 <= lat <= 90 for lng, lat in ring)


def test_a_page_of_very_many_photos_draws_fewer_cells_of_each(predict: Predict) -> None:
    flat = predict(0.0, 0.0, km=1e6)
    page = payload.page([MapItem("flat.jpg", flat)] * 1000)
    assert {item["shown"]["cells"] for item in page["items"]} == {200}
    assert page["items"][0]["shown"]["probability"] == pytest.approx(200 / 1536, rel=0.1)


def test_a_coarse_answer_can_be_drawn_beside_a_fine_one(predict: Predict) -> None:
    fine = predict(48.9, 2.3)
    page = payload.page([MapItem("a", fine), MapItem("b", fine.coarse(1500.0))])
    assert len(page["items"][1]["cells"]) < len(page["items"][0]["cells"])


def test_cells_without_probability_are_not_drawn(predict: Predict) -> None:
    prediction = predict(0.0, 0.0)
    certain = np.zeros(1536)
    certain[7] = 1.0
    page = payload.page([MapItem("sure.jpg", replace(prediction, probabilities=certain))])
    [[_, probability, lift]] = page["items"][0]["cells"]
    assert (probability, lift) == (1.0, 1540.0)  # three digits


def test_a_page_without_photos_is_empty() -> None:
    assert payload.page([]) == {"items": [], "prior": None, "cells": [], "tokens": []}
