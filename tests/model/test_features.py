"""Answers as GeoJSON and KML: whole, valid, and safe whatever a photo is called."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locationnet.model import features, kml
from locationnet.model.locator import Locator
from locationnet.model.prediction import Prediction

KML = "{http://www.opengis.net/kml/2.2}"


@pytest.fixture(scope="module")
def answer(demo_locator: Locator, rocket: Path) -> Prediction:
    """The demo's answer for the launch photo."""
    return demo_locator.locate(rocket, top_k=3)


def test_a_place_is_a_point_and_a_cell_with_what_the_answer_says_of_it(answer: Prediction) -> None:
    document = features.collection([("a.jpg", answer)])
    assert document == json.loads(json.dumps(document, allow_nan=False))
    kinds = [feature["geometry"]["type"] for feature in document["features"]]
    assert kinds == ["Point"] * 3 + ["MultiPolygon"] * 3
    first, second, *_, cell = document["features"]
    told, place = first["properties"], answer.mode
    assert first["geometry"]["coordinates"] == [place.lng, place.lat]
    assert (told["photo"], told["lift"], told["demo"]) == ("a.jpg", place.lift, True)
    assert told["summary"] == answer.summary
    assert told["radius_50_km"] == answer.radius_km(0.5, around=place)
    assert told["abstained"] is second["properties"]["abstained"] is False
    assert "radius_50_km" not in second["properties"]
    assert cell["properties"]["rank"] == 3
    for [ring] in cell["geometry"]["coordinates"]:
        assert ring[0] == ring[-1]


def test_kml_has_a_folder_for_each_photo(answer: Prediction) -> None:
    doubtful = replace(answer, abstain_below_bits=9.0)
    text = kml.document([("a.jpg", answer), ("b.jpg", doubtful)])
    first, second = ElementTree.fromstring(text).iter(f"{KML}Folder")
    assert first.findtext(f"{KML}description") == answer.summary
    marks = first.findall(f"{KML}Placemark")
    assert [mark.findtext(f"{KML}name") for mark in marks] == [
        f"{place.rank}. {place.name}" for place in answer.places
    ]
    point = marks[0].findtext(f".//{KML}Point/{KML}coordinates") or ""
    assert [float(part) for part in point.split(",")] == [answer.mode.lng, answer.mode.lat]
    ring = (marks[0].findtext(f".//{KML}Polygon//{KML}coordinates") or "").split()
    assert ring[0] == ring[-1]
    assert {mark.findtext(f"{KML}styleUrl") for mark in marks} == {"#answer"}
    values = {item.get("name"): item.findtext(f"{KML}value") for item in second.iter(f"{KML}Data")}
    assert (values["abstained"], values["photo"]) == ("true", "b.jpg")


@given(st.text(st.characters(), max_size=12))
def test_any_name_of_a_photo_makes_a_document(answer: Prediction, name: str) -> None:
    [folder] = ElementTree.fromstring(kml.document([(name, answer)])).iter(f"{KML}Folder")
    assert folder.find(f"{KML}name") is not None
    json.dumps(features.collection([(name, answer)])).encode("utf-8")
