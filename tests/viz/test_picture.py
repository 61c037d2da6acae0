"""The static picture: what is on it, in which colours, and where it may not fail."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.text import Annotation
from PIL import Image

from locationnet.errors import ImageError, LocationNetError, MissingExtraError
from locationnet.model.cells import CellLayer
from locationnet.model.prediction import Evidence, Prediction
from locationnet.model.summary import ABSTAINED, percent_text, times_text
from locationnet.viz import shapes
from locationnet.viz.picture import draw, write_png

Predict = Callable[..., Prediction]
FIJI, SAMOA = (-17.8, 178.0), (-14.0, -171.8)


def _map(figure: Figure) -> Axes:
    return figure.axes[0]


def _texts(axes: Axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


def _lines(axes: Axes, colour: str) -> list[np.ndarray[tuple[int, ...], np.dtype[np.float64]]]:
    """Return the drawn lines of a colour of the palette."""
    return [
        np.asarray(line)
        for collection in axes.collections
        if isinstance(collection, LineCollection)
        and to_hex(np.asarray(collection.get_color())[0]) == shapes.palette()[colour]
        for line in collection.get_segments()
    ]


def _collection(axes: Axes, name: str) -> PolyCollection | None:
    found = [item for item in axes.collections if item.get_gid() == name]
    return found[0] if found else None  # type: ignore[return-value]


def _words(figure: Figure) -> str:
    return " ".join(text.get_text().replace("\n", " ") for text in figure.texts)


def test_the_picture_says_the_answer_and_numbers_what_it_lists(predict: Predict) -> None:
    prediction = predict(48.9, 2.3, 300.0, evidence=(Evidence("tower", 0.9, 1.0),))
    figure = draw(prediction, truth=(51.5, -0.1))
    axes = _map(figure)
    assert [text for text in _texts(axes) if text.isdigit()] == ["1", "2", "3", "4", "5"]
    assert any(text.endswith(" km") for text in _texts(axes))
    words = _words(figure)
    first = prediction.cities[0]
    for part in (prediction.summary, prediction.explanation, first.name):
        assert part in words
    assert percent_text(first.probability) in words
    assert times_text(first.lift, before=True) in words
    legend = axes.get_legend()
    assert legend is not None
    entries = [text.get_text() for text in legend.get_texts()]
    assert entries[1:7] == ["below 1.5", "1.5–3", "3–8", "8–20", "20–60", "60 or more"]
    assert entries[-5:] == ["top", "50%", "90%", "best", "true place"]


def test_a_circle_gives_way_to_an_area_where_it_would_say_nothing(predict: Predict) -> None:
    near, far = _map(draw(predict(48.9, 2.3, 300.0))), _map(draw(predict(48.9, 2.3, 5000.0)))
    assert len(_lines(near, "circle")) == 2
    assert _collection(near, "likely area") is None
    assert _lines(far, "circle") == []
    assert _collection(far, "likely area") is not None


def test_cells_have_the_colours_of_their_lift_and_fade_at_sea(predict: Predict) -> None:
    prediction = predict(48.9, 2.3)
    axes = _map(draw(prediction))
    sea, land = _collection(axes, "cells of sea"), _collection(axes, "cells of land")
    assert sea is not None
    assert land is not None
    assert sea.get_clip_path() is None
    assert land.get_clip_path() is not None
    assert np.asarray(sea.get_facecolor())[:, 3].max() < 0.3
    colours = [to_hex(colour) for colour in np.asarray(land.get_facecolor())]
    cells = shapes.cells(prediction)
    # A cell that touches ±180° is drawn on both edges of the map.
    assert list(dict.fromkeys(colours)) == list(dict.fromkeys(cells.colours))
    assert len(colours) >= len(cells.colours)


def test_top_places_are_outlined_and_no_number_hides_one(predict: Predict) -> None:
    figure = draw(predict(48.9, 2.3, 300.0), extent="places")
    axes = _map(figure)
    assert _collection(axes, "top places") is not None
    for text in axes.texts:
        if isinstance(text, Annotation) and text.get_text().isdigit():
            assert np.hypot(*text.get_position()) > 15


@pytest.mark.parametrize("extent", ["world", "places"])
def test_nothing_runs_around_the_world_near_the_antimeridian(predict: Predict, extent: str) -> None:
    axes = _map(draw(predict(*FIJI, 50.0), truth=SAMOA, extent=extent))  # type: ignore[arg-type]
    for colour in ("circle", "truth"):
        lines = _lines(axes, colour)
        assert lines
        assert all(np.ptp(line[:, 0]) < 60 for line in lines)
    copies = len(_lines(axes, "truth"))
    # At the edges of the world map each line is drawn twice, and each edge shows its part.
    assert copies == (2 if extent == "world" else 1)


def test_a_map_of_places_shows_them_all(predict: Predict) -> None:
    prediction = predict(*FIJI, 50.0)
    axes = _map(draw(prediction, truth=SAMOA, extent="places"))
    (west, east), (south, north) = axes.get_xlim(), axes.get_ylim()
    assert east - west < 120
    for lat, lng in [(place.lat, place.lng) for place in prediction.places] + [SAMOA]:
        assert west < float(shapes.nearest_turn(lng, (west + east) / 2)) < east
        assert south < lat < north


@pytest.mark.parametrize("lat", [-89.0, 89.0])
def test_the_world_map_reaches_as_far_as_the_answer(predict: Predict, lat: float) -> None:
    south, north = _map(draw(predict(lat, 0.0, 50.0))).get_ylim()
    assert (south, north) == ((-90, 78) if lat < 0 else (-60, 90))


def test_no_rank_hides_another(predict: Predict) -> None:
    """All five cells lie side by side: a few points of 1/72 inch on a map of the world."""
    figure = draw(predict(48.9, 2.3, 100.0))
    figure.draw_without_rendering()
    axes = _map(figure)
    centres = []
    for text in axes.texts:
        if isinstance(text, Annotation) and text.get_text().isdigit():
            box = text.get_window_extent()
            centres.append(((box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2))
    points = np.array(centres) * 72 / figure.dpi
    gaps = np.hypot(*(points[:, None] - points[None]).transpose(2, 0, 1))
    assert gaps[~np.eye(len(points), dtype=bool)].min() > 10


def test_names_are_text_and_no_formulas(predict: Predict, world: CellLayer, tmp_path: Path) -> None:
    prediction = predict(48.9, 2.3)
    names = replace(world.names, city=["A$P^$ \\x 東京"] * len(world.grid))
    prediction = replace(prediction, layer=CellLayer(world.grid, names))
    figure = draw(prediction)
    assert "A$P^$ \\x 東京" in _words(figure)
    # No warning about letters that the font lacks: here all warnings are errors.
    write_png(tmp_path / "map.png", prediction, dpi=40)


def test_an_abstaining_answer_marks_no_place(predict: Predict) -> None:
    figure = draw(predict(48.9, 2.3, 300.0, threshold=99.0))
    assert figure.texts[0].get_text() == ABSTAINED
    axes = _map(figure)
    assert not _texts(axes)
    assert not _lines(axes, "circle")
    assert _collection(axes, "top places") is None


def test_given_axes_are_drawn_on(predict: Predict) -> None:
    figure = Figure()
    left, right = figure.subplots(1, 2)
    assert draw(predict(48.9, 2.3, 100.0), axes=right) is figure
    assert not left.collections
    assert right.collections
    assert "Probably" in right.get_title(loc="left")
    with pytest.raises(ValueError, match="no room for a photo"):
        draw(predict(48.9, 2.3), axes=left, photo=b"")


def test_an_unknown_extent_is_refused(predict: Predict) -> None:
    with pytest.raises(ValueError, match="extent is 'world' or 'places', not 'moon'"):
        draw(predict(48.9, 2.3), extent="moon")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="by is 'lift' or 'probability', not 'size'"):
        draw(predict(48.9, 2.3), by="size")  # type: ignore[arg-type]


def test_pyplot_is_left_alone(predict: Predict) -> None:
    draw(predict(48.9, 2.3))
    pyplot = sys.modules.get("matplotlib.pyplot")
    assert pyplot is None or not pyplot.get_fignums()


def test_the_file_is_a_png_of_the_wanted_size(
    predict: Predict, tmp_path: Path, rocket: Path
) -> None:
    path = tmp_path / "map.image"
    write_png(path, predict(28.6, -80.6), truth=(28.6, -80.6), photo=rocket, dpi=50)
    with Image.open(path) as image:
        assert image.format == "PNG"
        assert image.width == 550
        colours = {colour for _, colour in image.convert("RGB").getcolors(10**6) or []}
    assert tuple(bytes.fromhex(shapes.palette()["sea"][1:])) in colours
    assert tuple(bytes.fromhex(shapes.palette()["land"][1:])) in colours


def test_land_fills_a_map_that_shows_no_coast(predict: Predict, tmp_path: Path) -> None:
    path = tmp_path / "map.png"
    write_png(path, predict(55.0, 80.0, 50.0), extent="places", dpi=40)
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB")).reshape(-1, 3).tolist()
    land, sea = (list(bytes.fromhex(shapes.palette()[name][1:])) for name in ("land", "sea"))
    assert pixels.count(land) > 1000 > pixels.count(sea)


@pytest.mark.parametrize("kind", ["path", "bytes", "image", "array"])
def test_a_photo_may_come_in_any_form(predict: Predict, rocket: Path, kind: str) -> None:
    with Image.open(rocket) as image:
        image.load()
    photos: dict[str, Any] = {
        "path": str(rocket),
        "bytes": rocket.read_bytes(),
        "image": image,
        "array": np.asarray(image),
    }
    figure = draw(predict(48.9, 2.3), photo=photos[kind])
    (shown,) = figure.axes[1].images
    height, width = np.asarray(shown.get_array()).shape[:2]
    assert min(height, width) <= 400
    assert width / height == pytest.approx(image.width / image.height, rel=0.01)


def test_what_cannot_be_read_or_written_is_one_clear_error(
    predict: Predict, tmp_path: Path
) -> None:
    with pytest.raises(ImageError, match="not a JPEG, PNG, WebP, AVIF or HEIC image"):
        draw(predict(48.9, 2.3), photo=b"nothing")
    missing = tmp_path / "none" / "map.png"
    with pytest.raises(LocationNetError, match=r"map\.png: cannot be written"):
        write_png(missing, predict(48.9, 2.3), dpi=20)


def test_without_matplotlib_the_extra_is_named(
    predict: Predict, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtraError, match=r"drawing maps needs .*locationnet\[notebook\]"):
        draw(predict(48.9, 2.3))


def test_the_same_answer_gives_the_same_file(predict: Predict, tmp_path: Path) -> None:
    contents = []
    for name in ("a.png", "b.png"):
        write_png(tmp_path / name, predict(48.9, 2.3), dpi=40)
        contents.append((tmp_path / name).read_bytes())
    assert contents[0] == contents[1]
    assert b"matplotlib" not in contents[0].lower()
    with Image.open(io.BytesIO(contents[0])) as image:
        image.verify()
