"""Both notebooks from a clean kernel, offline, and what they show."""

from __future__ import annotations

import base64
import io
import re
from typing import Any

import nbformat
import numpy as np
import pytest
from nbformat import v4
from PIL import Image

from locationnet.model.locator import load_model

from .conftest import NOTEBOOKS, ROOT, Executed, Run, read

NAMES = sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb"))
LAUNCH_PAD = (28.5618, -80.5772)


def _ours() -> dict[str, int]:
    """Return when each file of the repository that a notebook might touch was last written."""
    folders = ("notebooks", "scripts", "docs", "locationnet")
    files = [path for path in ROOT.iterdir() if path.is_file()]
    files += [path for name in folders for path in (ROOT / name).rglob("*") if path.is_file()]
    return {str(path): path.stat().st_mtime_ns for path in files if "__pycache__" not in str(path)}


@pytest.fixture(scope="module")
def locate(run: Run) -> Executed:
    """``locate.ipynb``, executed."""
    before = _ours()
    executed = run(read("locate"))
    assert _ours() == before
    return executed


@pytest.fixture(scope="module")
def training(run: Run) -> Executed:
    """``train_your_own.ipynb``, executed."""
    before = _ours()
    executed = run(read("train_your_own"))
    assert _ours() == before
    return executed


def _markers(executed: Executed, cell: str) -> list[dict[str, Any]]:
    """Return the markers on the map that a cell shows, the last one on top."""
    widgets = executed.widgets()
    shown = widgets[executed.shown(cell, "application/vnd.jupyter.widget-view+json")["model_id"]]
    layers = [widgets[name.removeprefix("IPY_MODEL_")] for name in shown["layers"]]
    return [layer for layer in layers if layer["model"] == "LeafletMarkerModel"]


def _picture(executed: Executed, cell: str) -> Image.Image:
    image = Image.open(io.BytesIO(base64.b64decode(executed.shown(cell, "image/png"))))
    # Something is drawn on it.
    assert np.asarray(image.convert("L")).std() > 10
    return image


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_is_kept_with_its_pictures_and_without_widgets(name: str) -> None:
    notebook = read(name)
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "python3"
    assert "widgets" not in notebook.metadata
    counts = [cell.execution_count for cell in notebook.cells if cell.cell_type == "code"]
    assert counts == list(range(1, len(counts) + 1))
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    kinds = [kind for output in outputs for kind in output.get("data", {})]
    assert kinds.count("image/png") >= 5
    assert not [kind for kind in kinds if "widget" in kind]
    assert "error" not in {output.output_type for output in outputs}
    assert (NOTEBOOKS / f"{name}.ipynb").stat().st_size < 2_000_000


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_names_no_place_of_one_machine(name: str) -> None:
    notebook = read(name)
    for cell in notebook.cells:
        assert not re.search(r"""["'\s(=]/\w""", cell.source), cell.source
    shown = "\n".join(
        output.get("text", "") + output.get("data", {}).get("text/plain", "")
        for cell in notebook.cells
        for output in cell.get("outputs", ())
    )
    assert not re.search(r"/(tmp|home|root|usr|Users|var|opt|work)/|site-packages", shown)


@pytest.mark.parametrize("name", NAMES)
def test_what_a_notebook_points_at_is_there(name: str) -> None:
    text = "\n".join(cell.source for cell in read(name).cells if cell.cell_type == "markdown")
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in link]
    assert links
    assert all((NOTEBOOKS / link).is_file() for link in links)
    pages = re.findall(r"`([\w/]+\.md)`", text)
    assert pages
    assert all((ROOT / page).is_file() for page in pages)


def test_a_kernel_reaches_this_machine_only_and_our_warnings_are_errors(run: Run) -> None:
    attempts = """
import socket, subprocess, sys, urllib.request, warnings
def refused(attempt):
    try:
        attempt()
    except OSError as error:
        return "tests stay on this machine" in str(error)
with socket.create_server(("127.0.0.1", 0)) as server:
    socket.create_connection(server.getsockname()).close()
print(refused(lambda: socket.create_connection(("192.0.2.1", 80), timeout=1)))
print(refused(lambda: socket.getaddrinfo("photos.example", 443)))
print(refused(lambda: urllib.request.urlopen("http://192.0.2.2/")))
with socket.socket(type=socket.SOCK_DGRAM) as sender:
    print(refused(lambda: sender.sendto(b"", ("192.0.2.3", 53))))
dial = "import socket; socket.create_connection(('192.0.2.4', 80), timeout=1)"
child = subprocess.run([sys.executable, "-c", dial], capture_output=True, text=True)
print("tests stay on this machine" in child.stderr)
try:
    warnings.warn("of our own")
except UserWarning as error:
    print(error)
"""
    cell = v4.new_code_cell(attempts)
    executed = run(v4.new_notebook(cells=[cell]))
    assert executed.text(cell.id) == "True\n" * 5 + "of our own\n"
    hosts = [line.split()[1] for line in executed.asked]
    assert hosts == ["192.0.2.1", "photos.example", "192.0.2.2", "192.0.2.3", "192.0.2.4"]


def test_locating_needs_no_network_and_says_nothing_on_the_side(locate: Executed) -> None:
    assert locate.asked == []
    assert locate.errors() == ""


def test_what_is_kept_is_what_it_shows_today(locate: Executed) -> None:
    """Where it is not: make notebooks."""
    kept = {cell.id: cell for cell in read("locate").cells}
    for cell in ("load", "answer", "by-url", "coffee", "coarse"):
        shown = "".join(one.text for one in kept[cell].outputs if one.output_type == "stream")
        assert shown == locate.text(cell), cell


def test_the_launch_photo_is_located_by_path_and_by_url(locate: Executed) -> None:
    shown = locate.shown("locate", "text/html")
    assert "Titusville, Florida, US" in shown
    assert shown.count("<img") == 2
    answer = locate.text("answer")
    assert re.match(r" 1  Titusville, Florida, US +1\.49%  × \d\d", answer)
    assert answer.startswith(locate.text("by-url"))
    refused = locate.text("refused")
    assert refused.count("one that is not public") == 3
    assert "only http and https URLs are fetched" in refused
    assert re.search(r"information +0\.12 bits", answer)
    assert re.search(r"abstained +False", answer)
    assert "missile" in answer


def test_the_maps_hold_the_answer_and_ask_no_server(locate: Executed) -> None:
    best, error, truth, *ranked = _markers(locate, "map")
    assert [marker["title"].split(".")[0] for marker in ranked] == ["5", "4", "3", "2", "1"]
    assert ranked[-1]["title"] == "1. Titusville, Florida, US · 1.5 % · × 44"
    assert ranked[-1]["location"] == pytest.approx(LAUNCH_PAD, abs=0.2)
    assert truth["location"] == list(LAUNCH_PAD)
    assert truth["title"] == f"True place, {error['title'].removeprefix('Error: ')} away"
    assert best["title"].startswith("Highest expected score: ")
    assert len(_markers(locate, "prior")) == 5
    assert not [one for one in locate.widgets().values() if "TileLayer" in one["model"]]


def test_the_pictures_are_drawn(locate: Executed) -> None:
    for cell in ("levels", "prior", "map", "png", "card", "errors", "reliability"):
        assert _picture(locate, cell).width > 300
    with Image.open(locate.scratch / "rocket.png") as written:
        assert written.width == 1320
    names = ("card.png", "rocket.html", "rocket.geojson", "rocket.kml")
    assert all((locate.scratch / name).stat().st_size > 2000 for name in names)


def test_weak_answers_abstain(locate: Executed) -> None:
    assert "espresso" in locate.text("coffee")
    assert "abstained: True" in locate.text("coffee")
    assert re.search(r"0\.12 bits before, 0\.0\d bits now, abstained: True", locate.text("coarse"))


def test_the_demo_is_measured_beside_the_prior(locate: Executed) -> None:
    page = locate.shown("evaluate", "text/html")
    assert page.startswith("<p>3 photos")
    assert "This model is a demo" in page
    for row in ("most probable cell", "prior: best point", "oracle upper bound"):
        assert f"<td>{row}</td>" in page


def test_without_a_key_google_is_left_alone(locate: Executed) -> None:
    assert locate.text("google").startswith("There is no key in GOOGLE_API_KEY")
    assert not [one for one in locate.outputs("google") if one.output_type != "stream"]


def test_with_a_key_the_missing_package_is_named(run: Run) -> None:
    notebook = read("locate")
    setup, google = (cell for cell in notebook.cells if cell.id in ("setup", "google"))
    known = f"launch_pad, prediction = {LAUNCH_PAD}, locationnet.load_model().prior()"
    notebook.cells = [setup, v4.new_code_cell(known), google]
    executed = run(notebook, GOOGLE_API_KEY="a-key-of-nobody")
    assert "locationnet[gmaps]" in executed.text("google")
    assert "a-key-of-nobody" not in nbformat.writes(executed.notebook)


def test_training_needs_no_network_and_says_nothing_on_the_side(training: Executed) -> None:
    assert training.asked == []
    assert training.errors() == ""


def test_every_photo_is_in_one_set_and_packed(training: Executed) -> None:
    counts = [int(count) for count in re.findall(r"(\d+) photos", training.text("split"))]
    assert len(counts) == 3
    assert sum(counts) == 200
    packed = re.findall(r"photos packed +(\d+)|skipped +(\d+)", training.text("pack"))
    assert sum(int(kept or left) for kept, left in packed) == counts[0] + counts[1]


def test_training_tells_the_towns_apart(training: Executed) -> None:
    # Nine cells: a network that has learned nothing is right for one photo in nine or so.
    (top1,) = re.findall(r"validation +top-1 ([\d.]+)%", training.text("export"))
    assert float(top1) > 55
    page = training.shown("evaluate", "text/html")
    scores = dict(
        re.findall(
            r"<tr><td>([\w: ]+)</td>.{0,600}?<td>([\d,]+)<br><small>[^<]*</small></td></tr>", page
        )
    )
    model, prior = (
        int(scores[name].replace(",", "")) for name in ("best point", "prior: best point")
    )
    assert model > prior + 1000
    assert "nothing of it is in packs/train" in training.text("evaluate")


def test_the_curves_and_the_answers_are_drawn(training: Executed) -> None:
    for cell in ("curves", "errors", "reliability", "map", "look"):
        assert _picture(training, cell).width > 300
    best, error, truth, *ranked = _markers(training, "locate")
    assert len(ranked) == 3
    assert truth["title"] == f"True place, {error['title'].removeprefix('Error: ')} away"
    assert best["title"].startswith("Highest expected score: ")


def test_the_bundle_answers_outside_the_notebook(training: Executed) -> None:
    assert training.text("where").strip() == str((training.scratch / "bundle").resolve())
    photo = next((training.scratch / "world" / "photos").glob("*.jpg"))
    prediction = load_model(training.scratch / "bundle").locate(photo)
    assert prediction.probabilities.sum() == pytest.approx(1)
    assert len(prediction.grid) >= 8
