"""A page of many photos: thumbnails inside, all on one map, filters, and back from one photo."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import expect

from locationnet.model.bundle import CellNames
from locationnet.model.cells import CellLayer
from locationnet.model.prediction import Prediction
from locationnet.viz.html import MapItem, thumbnail, write_map

Predict = Callable[..., Prediction]
Open = Callable[..., Any]
DESKTOP = {"width": 1280, "height": 800}


@pytest.fixture(scope="module")
def library(
    tmp_path_factory: pytest.TempPathFactory,
    predict: Predict,
    world: CellLayer,
    make_photo: Callable[..., bytes],
) -> Path:
    """Two located photos of France at one place, one of Fiji, one unsure, one that says nothing."""
    names = world.names
    country = [
        "FJ" if lng > 100 else "FR" if lat > 30 else ""
        for lat, lng in zip(world.grid.lat, world.grid.lng, strict=True)
    ]
    layer = CellLayer(world.grid, CellNames(names.city, names.region, country))
    answers = {
        "paris.jpg": predict(48.9, 2.3, 100.0),
        "louvre.jpg": predict(48.9, 2.3, 100.0),
        "<b>fiji</b>.jpg": predict(-17.8, 178.0, 100.0),
        "unsure.jpg": predict(60.0, 20.0, 1e5),
        "nothing.jpg": predict(0.0, 0.0, 1e6, threshold=9.0),
    }
    items = [
        MapItem(name, replace(answer, layer=layer), thumbnail=thumbnail(make_photo((200, 40, 40))))
        for name, answer in answers.items()
    ]
    path = tmp_path_factory.mktemp("library") / "trip.html"
    write_map(path, items, title="A trip")
    return path


def test_all_photos_are_listed_and_on_one_map(visit: Open, library: Path) -> None:
    visited = visit(library, viewport=DESKTOP)
    page = visited.page
    expect(page.locator("#library-title")).to_have_text("5 photos")
    entries = page.locator(".library-photo")
    expect(entries).to_have_count(5)
    expect(entries.nth(0)).to_contain_text("Probably")
    expect(entries.nth(2)).to_contain_text("<b>fiji</b>.jpg")
    expect(entries.nth(3)).to_contain_text("Not sure: ")
    expect(entries.nth(4)).to_contain_text("This photo does not say where it was taken")
    # What does not say where it was taken is on the list alone; the two of Paris lie side by side.
    markers = page.locator(".marker .pin-photo img")
    expect(markers).to_have_count(4)
    boxes = [markers.nth(i).bounding_box() for i in range(4)]
    assert all(box is not None and box["width"] == box["height"] for box in boxes)
    assert len({(round(box["x"]), round(box["y"])) for box in boxes if box}) == 4
    visited.assert_quiet()
    assert visited.requests[0] == library.as_uri()
    assert all(url.startswith("data:image/jpeg") for url in visited.requests[1:])


def test_filters_hold_for_list_and_map_and_a_photo_opens_from_both_and_leads_back(
    visit: Open, library: Path
) -> None:
    page = visit(library, viewport=DESKTOP).page
    page.select_option("#filter-country", "FR")
    expect(page.locator("#library-title")).to_have_text("2 of 5 photos")
    expect(page.locator("#filter-country option:checked")).to_have_text("France (2)")
    page.select_option("#filter-certainty", "located")
    expect(page.locator(".library-name")).to_have_text(["paris.jpg", "louvre.jpg"])
    expect(page.locator(".marker .pin-photo")).to_have_count(2)
    page.select_option("#filter-country", "")
    page.select_option("#filter-certainty", "none")
    expect(page.locator(".library-name")).to_have_text("nothing.jpg")
    expect(page.locator(".marker .pin-photo")).to_have_count(0)

    page.select_option("#filter-certainty", "located")
    page.select_option("#filter-country", "FJ")
    page.locator(".marker:has(.pin-photo)").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#photo-list option:checked")).to_have_text("<b>fiji</b>.jpg")
    expect(page.locator("img.photo")).to_be_visible()
    expect(page.locator("#all-photos")).to_be_focused()
    page.keyboard.press("Enter")
    # The filter is as it was left.
    expect(page.locator("#library-title")).to_have_text("1 of 5 photos")
    expect(page.locator("#library-title")).to_be_focused()
    page.locator(".library-photo").click()
    expect(page.locator("#photo-list")).to_have_value("2")


def test_a_thumbnail_is_small_and_holds_pixels_alone(rocket: Path, tmp_path: Path) -> None:
    with Image.open(rocket) as image:
        exif = Image.Exif()
        exif[0x010E] = "at my home"
        image.save(tmp_path / "photo.jpg", exif=exif)
    small = thumbnail(tmp_path / "photo.jpg")
    assert small is not None
    assert len(small) < 10_000
    assert b"at my home" not in small
    with Image.open(io.BytesIO(small)) as shown:
        assert (shown.format, max(shown.size)) == ("JPEG", 128)
    assert thumbnail(tmp_path / "none.jpg") is None
    assert thumbnail(b"nothing") is None
