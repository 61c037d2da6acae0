"""What an answer shows of itself: where it came from, files, tables, a notebook's HTML."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image, ImageShow

from locationnet.errors import (
    FetchError,
    FileEndingError,
    ImageError,
    LocationNetError,
    MissingExtraError,
)
from locationnet.model.cells import CellLayer
from locationnet.model.locator import Locator
from locationnet.model.prediction import Prediction
from locationnet.viz import shapes
from locationnet.viz.card import draw_card

Predict = Callable[..., Prediction]


@pytest.fixture(scope="module")
def answer(demo_locator: Locator, rocket: Path) -> Prediction:
    """The demo's answer for the launch photo."""
    return demo_locator.locate(rocket)


class _Named:
    name = "https://photos.example/1.jpg"

    def __init__(self, data: bytes) -> None:
        self.data = data

    def read(self) -> bytes:
        return self.data


def test_an_answer_knows_what_its_photo_is_called(tiny_locator: Locator, rocket: Path) -> None:
    data = rocket.read_bytes()
    for photo in (rocket, str(rocket)):
        found = tiny_locator.locate(photo)
        assert found.source == str(rocket)
        # A path, and not the content behind it.
        assert found.photo is photo
    with Image.open(rocket) as image:
        assert tiny_locator.locate(image).source == str(rocket)
        assert tiny_locator.locate(np.asarray(image)).source is None
    assert tiny_locator.locate(data).source is None
    [(given, streamed)] = tiny_locator.stream([_Named(data)])
    assert isinstance(streamed, Prediction)
    assert (streamed.source, streamed.photo) == (_Named.name, given)
    assert tiny_locator.locate(rocket, within="NO").coarse(500).source == str(rocket)
    assert tiny_locator.prior().source is None


def test_a_url_is_fetched_as_if_a_stranger_had_chosen_it(
    tiny_locator: Locator, rocket: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for url in ("http://127.0.0.1/a.jpg", "HTTPS://10.0.0.1/a.jpg", "ftp://host.example/a.jpg"):
        with pytest.raises(FetchError):
            tiny_locator.locate(url)
    handler = type("Handler", (SimpleHTTPRequestHandler,), {"log_message": lambda *_: None})

    class Photos(handler):  # type: ignore[misc, valid-type]
        def __init__(self, *words: Any) -> None:
            super().__init__(*words, directory=rocket.parent)

    with ThreadingHTTPServer(("127.0.0.1", 0), Photos) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        host = f"127.0.0.1:{server.server_port}"
        # The one pair that a policy may exempt; all else is as it always is.
        fetch_policy = "locationnet.net.fetch.FetchPolicy"
        from locationnet.net.fetch import FetchPolicy

        monkeypatch.setattr(fetch_policy, lambda: FetchPolicy(exempt=(host,)))
        url = f"http://{host}/{rocket.name}"
        found = tiny_locator.locate(url)

        async def in_a_notebook() -> Prediction:
            return tiny_locator.locate(url)

        assert asyncio.run(in_a_notebook()).source == url
        server.shutdown()
    assert found.probabilities == pytest.approx(tiny_locator.locate(rocket).probabilities)
    assert found.photo == url
    # Showing an answer asks no server for anything: this one is gone.
    assert "<img" in found._repr_html_()
    assert "image/jpeg" not in found._repr_html_()


def test_the_ending_of_a_file_says_what_is_written(answer: Prediction, tmp_path: Path) -> None:
    for name in ("card.PNG", "map.html", "places.geojson", "places.kml"):
        answer.save(str(tmp_path / name))
    with Image.open(tmp_path / "card.PNG") as image:
        assert (image.format, image.size) == ("PNG", (1200, 630))
    page = (tmp_path / "map.html").read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>")
    assert answer.summary in page
    assert json.loads((tmp_path / "places.geojson").read_text()) == answer.to_geojson()
    assert answer.to_geojson()["features"][0]["properties"]["photo"] == answer.source
    assert ElementTree.parse(tmp_path / "places.kml").getroot().tag.endswith("kml")
    assert len(list(tmp_path.iterdir())) == 4


@pytest.mark.parametrize("name", ["card.jpg", "card", ".png", "card.png.txt"])
def test_another_ending_is_refused_in_a_line(answer: Prediction, tmp_path: Path, name: str) -> None:
    with pytest.raises(FileEndingError, match=r"ends in \.png, \.html, \.geojson or \.kml$"):
        answer.save(tmp_path / name)
    assert isinstance(FileEndingError(), ValueError)
    with pytest.raises(LocationNetError, match=r"a\.kml: cannot be written"):
        answer.save(tmp_path / "none" / "a.kml")
    assert list(tmp_path.iterdir()) == []


def test_a_card_says_the_sentence_the_evidence_and_the_cities(answer: Prediction) -> None:
    with Image.open(answer.source or "") as photo:
        figure = draw_card(answer, photo.convert("RGB"))
    words = " ".join(text.get_text().replace("\n", " ") for text in figure.texts)
    for part in (answer.summary, answer.explanation, answer.cities[0].name, "× 44", "a demo model"):
        assert part in words
    assert "hints like this named the right country for 12 %" in words
    doubtful = draw_card(replace(answer, abstain_below_bits=9.0), None)
    words = " ".join(text.get_text() for text in doubtful.texts)
    assert "This photo does not say where it was taken" in words
    assert "× 1.6" not in words
    # All of it lies on the card.
    figure.draw_without_rendering()
    box = figure.bbox
    for text in figure.texts:
        inside = text.get_window_extent()
        assert box.x0 <= inside.x0 <= inside.x1 <= box.x1
        assert box.y0 <= inside.y0 <= inside.y1 <= box.y1


def test_a_card_of_a_photo_that_is_gone_is_an_error_and_the_notebook_goes_on(
    tiny_locator: Locator, tmp_path: Path, rocket: Path
) -> None:
    photo = tmp_path / "gone.jpg"
    photo.write_bytes(rocket.read_bytes())
    found = tiny_locator.locate(photo)
    photo.write_bytes(b"nothing")
    with pytest.raises(ImageError):
        found.save(tmp_path / "card.png")
    photo.unlink()
    with pytest.raises(OSError, match=r"gone\.jpg"):
        found.save(tmp_path / "card.png")
    assert found.summary in found._repr_html_()


def test_a_table_has_a_row_for_each_place(
    answer: Prediction, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    table = answer.to_frame()
    assert list(table) == [
        "rank", "probability", "lift", "lat", "lng", "cell", "level", "place",
    ]  # fmt: skip
    assert table["place"] == [place.name for place in answer.places]
    monkeypatch.undo()
    pandas = pytest.importorskip("pandas")
    frame = answer.to_frame()
    assert isinstance(frame, pandas.DataFrame)
    assert frame.to_dict("list") == table


def test_a_notebook_shows_photo_words_and_map_without_scripts(answer: Prediction) -> None:
    page = answer._repr_html_()
    for part in (answer.summary, answer.explanation, "Titusville, Florida, US", "1.5 %", "× 44"):
        assert part in page
    photo, drawn = (base64.b64decode(data) for data in re.findall(r"base64,([\w+/=]+)", page))
    with Image.open(io.BytesIO(photo)) as image:
        assert image.format == "JPEG"
        assert max(image.size) == 280
    with Image.open(io.BytesIO(drawn)) as image:
        assert image.format == "PNG"
        shown = {colour for _, colour in image.convert("RGB").getcolors(10**6) or []}
    # The one cell that was raised much is a dot in its colour.
    red = bytes.fromhex(shapes.palette()["lift-4"][1:])
    assert min(np.abs(np.subtract(colour, tuple(red))).max() for colour in shown) < 12
    assert not re.search(r"<script|https?:|<link|url\(", page)
    assert len(page) < 200_000


def test_names_are_text_in_a_notebook(predict: Predict, world: CellLayer) -> None:
    names = replace(world.names, city=["<img src=x>"] * len(world.grid))
    page = replace(predict(48.9, 2.3), layer=CellLayer(world.grid, names))._repr_html_()
    assert "<img src=x>" not in page
    assert "&lt;img src=x&gt;" in page


def test_without_matplotlib_a_notebook_shows_words_and_the_way_to_a_map(
    answer: Prediction, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    page = answer._repr_html_()
    assert answer.summary in page
    assert "locationnet[notebook]" in page
    with pytest.raises(MissingExtraError, match="notebook"):
        answer.save(tmp_path / "card.png")
    answer.save(tmp_path / "places.kml")


def test_a_map_is_drawn_on_given_axes(answer: Prediction) -> None:
    axes = Figure().subplots()
    assert answer.plot(axes) is axes
    assert axes.collections
    assert "Not sure" in axes.get_title(loc="left")


class _Screen(ImageShow.Viewer):
    shown: Image.Image | None = None

    def show(self, image: Image.Image, **options: Any) -> int:
        _Screen.shown = image.copy()
        return 1


def test_a_card_is_opened_by_the_viewer_or_the_way_is_named(
    answer: Prediction, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(ImageShow, "_viewers", [])
    with pytest.raises(LocationNetError, match=r"prediction\.save\(\"card\.png\"\) writes it"):
        answer.show()
    monkeypatch.setenv("DISPLAY", ":0")
    with pytest.raises(LocationNetError, match="no viewer"):
        answer.show()
    ImageShow.register(_Screen())
    answer.show()
    assert _Screen.shown is not None
    assert _Screen.shown.size == (1200, 630)
