"""What a library exports is read back by what reads such files."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from defusedxml.ElementTree import fromstring

from locationnet.library.catalog import Catalog, Photo, Proposal
from locationnet.library.photo_facts import Facts
from locationnet.library.places import FORMATS, PlacedPhoto, placed_photos
from locationnet.library.tracks import read_gpx

HOSTILE = "a,<b>&\udce9\x1b;\"'.jpg"


@pytest.fixture
def placed(tmp_path: Path) -> list[PlacedPhoto]:
    """A photo in each state, and one of which nothing is known."""
    with Catalog(tmp_path / "library", create=True) as catalog:
        for number in range(1, 7):
            place = (41.9, 12.5) if number == 1 else (None, None)
            taken = None if number == 6 else 1714557600.0
            facts = Facts("JPEG", "P", "", taken, taken, *place)
            name = HOSTILE if number == 2 else f"{number}.jpg"
            catalog.put(Photo(number, Path("/photos") / name, 1, 1, bytes([number]), facts, ()))
        near = Proposal(41.8, -12.5, 0.51234, True, ("40 min after 1.jpg", "x; y"), ())
        far = Proposal(0.0, 180.0, 900.0, False, ("5 days after 1.jpg",), ())
        catalog.replace_proposals({2: near, 3: far, 4: near, 5: near})
        with catalog.changes():
            catalog.decide(4, (41.85, 12.45))
            catalog.decide(5, None)
        return placed_photos(catalog)


def test_each_photo_is_in_its_state(placed: list[PlacedPhoto]) -> None:
    states = {it.photo.number: (it.state, it.lat, it.radius_50_km) for it in placed}
    assert states == {
        1: ("known", 41.9, None),
        2: ("proposed", 41.8, 0.51234),
        3: ("left alone", 0.0, 900.0),
        4: ("accepted", 41.85, None),
        5: ("left alone", 41.8, 0.51234),
        6: ("left alone", None, None),
    }


def test_csv_has_a_row_for_every_photo(placed: list[PlacedPhoto]) -> None:
    rows = list(csv.DictReader(io.StringIO(FORMATS[".csv"](placed))))
    assert list(rows[0]) == ["path", "lat", "lng", "radius_50_km", "state", "reasons"]
    by_path = {row["path"]: row for row in rows}
    assert len(by_path) == 6
    assert by_path["/photos/a,<b>&\\xe9\x1b;\"'.jpg"] == {
        "path": "/photos/a,<b>&\\xe9\x1b;\"'.jpg",
        "lat": "41.8",
        "lng": "-12.5",
        "radius_50_km": "0.512",
        "state": "proposed",
        "reasons": "40 min after 1.jpg; x; y",
    }
    assert by_path["/photos/6.jpg"]["lat"] == ""


def test_maps_get_a_point_for_each_place(placed: list[PlacedPhoto], tmp_path: Path) -> None:
    features = json.loads(FORMATS[".geojson"](placed))["features"]
    assert sorted(it["geometry"]["coordinates"][1] for it in features) == [
        0.0, 41.8, 41.8, 41.85, 41.9,
    ]  # fmt: skip
    (tmp_path / "a.gpx").write_text(FORMATS[".gpx"](placed), encoding="utf-8")
    assert sorted(read_gpx(tmp_path / "a.gpx").lat.tolist()) == [0.0, 41.8, 41.8, 41.85, 41.9]
    space = "{http://www.opengis.net/kml/2.2}"
    kml = fromstring(FORMATS[".kml"](placed).encode("utf-8"))
    folders = [it.findtext(f"{space}name") for it in kml.iter(f"{space}Folder")]
    assert folders == ["accepted", "known", "left alone", "proposed"]
    assert len(list(kml.iter(f"{space}Placemark"))) == 5
    assert "-12.5,41.8" in {it.text for it in kml.iter(f"{space}coordinates")}


def test_an_empty_library_is_an_empty_file() -> None:
    assert FORMATS[".csv"]([]).splitlines() == ["path,lat,lng,radius_50_km,state,reasons"]
    assert json.loads(FORMATS[".geojson"]([])) == {"type": "FeatureCollection", "features": []}
    assert fromstring(FORMATS[".kml"]([]).encode()) is not None
    assert fromstring(FORMATS[".gpx"]([]).encode()) is not None
