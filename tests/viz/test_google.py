"""Google's map, built by gmaps in an environment of its own: its extra excludes the notebook's."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest

ROOT = Path(__file__).parents[2]
# What uv says where no registry answers.
UNREACHABLE = ("error sending request", "dns error", "connect", "timed out", "failed to fetch")

# Runs there; prints the widgets' states as JSON.
SCRIPT = """
import collections, json, os, sys
from dataclasses import replace
from locationnet.errors import MissingExtraError
from locationnet.model.cells import CellLayer
from locationnet.model.locator import load_model
from locationnet.viz import shapes
from locationnet.viz.jupyter import show_map

def state(figure):
    from ipywidgets.embed import dependency_state
    states = dependency_state(figure).values()
    return [{"model": item["model_name"], **item["state"]} for item in states]

prediction = load_model("demo").prior()
layer = prediction.layer
names = replace(layer.names, city=["<img src=x>"] * len(layer.grid))
prediction = replace(prediction, layer=CellLayer(layer.grid, names))
figure = show_map(prediction, truth=(-17.8, 538.0), google_key="given")
os.environ["GOOGLE_API_KEY"] = "of the environment"
by_environment = show_map(prediction)
try:
    show_map(prediction, google_key="")
except MissingExtraError as error:
    message = str(error)
json.dump({
    "figure": state(figure),
    "by_environment": state(by_environment),
    "without_key": message,
    "places": [[one.rank, one.lat, one.lng] for one in shapes.listed(prediction, 5)],
    "class": f"{type(figure).__module__}.{type(figure).__name__}",
    "patched": hasattr(collections, "Iterable"),
}, sys.stdout)
"""


def _unable(reason: str) -> NoReturn:
    if os.environ.get("TESTS_SKIP_NOTHING"):
        pytest.fail(f"{reason}, and nothing may be skipped")
    pytest.skip(reason)


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A fresh environment with the extra ``gmaps`` as it is locked."""
    beside = Path(sys.executable).with_name("uv")
    uv = str(beside) if beside.exists() else shutil.which("uv")
    if uv is None:
        _unable("uv is not installed")
    folder = tmp_path_factory.mktemp("gmaps") / "environment"
    command = [uv, "sync", "--locked", "--extra", "gmaps", "--no-default-groups", "--quiet"]
    command += ["--python", sys.executable, "--project", str(ROOT)]
    variables = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    variables["UV_PROJECT_ENVIRONMENT"] = str(folder)
    try:
        made = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=500)
    except subprocess.TimeoutExpired:
        _unable("the package registry is too slow")
    if made.returncode and any(sign in made.stderr.lower() for sign in UNREACHABLE):
        _unable("the package registry cannot be reached")
    assert made.returncode == 0, made.stderr
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def built(environment: Path) -> dict[str, Any]:
    """What the script prints in that environment, where every warning is an error."""
    variables = {name: value for name, value in os.environ.items() if name != "GOOGLE_API_KEY"}
    run = subprocess.run(
        [environment / "bin/python", "-W", "error", "-c", SCRIPT],
        env=variables,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert run.returncode == 0, run.stderr
    return dict(json.loads(run.stdout))


def _models(built: dict[str, Any], name: str, figure: str = "figure") -> list[dict[str, Any]]:
    return [state for state in built[figure] if state["model"] == name]


def test_the_key_goes_to_the_map(built: dict[str, Any]) -> None:
    assert built["class"] == "gmaps.figure.Figure"
    (given,) = _models(built, "PlainmapModel")
    assert given["configuration"] == {"api_key": "given"}
    (other,) = _models(built, "PlainmapModel", "by_environment")
    assert other["configuration"] == {"api_key": "of the environment"}
    assert given["initial_viewport"]["type"] == "ZOOM_CENTER"
    assert len(given["layers"]) == 3


def test_an_empty_key_never_asks_google(built: dict[str, Any]) -> None:
    assert "locationnet[notebook]" in built["without_key"]


def test_ranked_markers_stand_at_the_places(built: dict[str, Any]) -> None:
    markers = _models(built, "MarkerModel")
    places = [[int(marker["label"]), *marker["location"]] for marker in markers[:-2]]
    assert places == built["places"]
    best, truth = markers[-2:]
    assert best["hover_text"].startswith("Highest expected score: ")
    assert truth["location"] == [-17.8, 178.0]
    assert truth["hover_text"].endswith(" km away")


def test_info_boxes_hold_text_and_no_markup(built: dict[str, Any]) -> None:
    for marker in _models(built, "MarkerModel"):
        assert marker["display_info_box"]
        assert "<" not in marker["info_box_content"]
    assert "&lt;img src=x&gt;" in _models(built, "MarkerModel")[0]["info_box_content"]


def test_cells_are_coloured_polygons_and_lines_are_not_cut(built: dict[str, Any]) -> None:
    features = _models(built, "GeoJsonFeatureModel")
    kinds = [feature["feature"]["geometry"]["type"] for feature in features]
    assert kinds == ["MultiPolygon"] * 300 + ["LineString"] * (5 + 1)  # outlines, and the error
    colours = {feature["fill_color"] for feature in features[:300]}
    assert len(colours) > 1
    assert all(colour.startswith("#") for colour in colours)
    for line in features[300:]:
        points = line["feature"]["geometry"]["coordinates"]
        assert all(-180 <= lng <= 180 and -90 <= lat <= 90 for lng, lat in points)


def test_the_standard_library_is_left_as_it_is(built: dict[str, Any]) -> None:
    """gmaps's own functions read ``collections.Iterable``, which is gone; we need none of them."""
    assert not built["patched"]
