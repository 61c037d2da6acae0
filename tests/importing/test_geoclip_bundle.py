"""All that this package does with a bundle, on GeoCLIP's whole gallery behind a small tower."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import expect, sync_playwright
from typer.testing import CliRunner, Result

from locationnet.cli import app
from locationnet.geo import s2
from locationnet.importing.geoclip import Imported, import_geoclip
from locationnet.importing.geoclip_files import read_wheel
from locationnet.model.heatmap import heatmap
from locationnet.model.locator import Locator, load_model
from locationnet.model.prediction import Prediction
from locationnet.model.region import Region
from tests.server.conftest import Client, _in_thread


@pytest.fixture(scope="module")
def imported(small_clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Imported:
    return import_geoclip(tmp_path_factory.mktemp("whole") / "geoclip", clip=str(small_clip))


@pytest.fixture(scope="module")
def locator(imported: Imported) -> Locator:
    return load_model(imported.path)


@pytest.fixture(scope="module")
def answer(locator: Locator, rocket: Path) -> Prediction:
    return locator.locate(rocket)


@pytest.fixture(scope="module")
def client(locator: Locator) -> Iterator[Client]:
    with _in_thread(locator, max_batch=1, queue=4) as running:
        yield running


def _locate(imported: Imported, rocket: Path, *words: str) -> Result:
    result = CliRunner().invoke(app, ["locate", str(rocket), "--model", str(imported.path), *words])
    assert result.exit_code == 0, result.output
    return result


def test_each_distinct_place_is_a_class_once(imported: Imported, locator: Locator) -> None:
    assert imported.rows == 100_000
    assert len(locator.grid) == 94_123
    assert np.array_equal(locator.grid.assign(locator.grid.lat, locator.grid.lng), range(94_123))
    assert locator.grid.levels.min() == 10
    gallery = read_wheel().gallery
    assert isinstance(gallery, tuple)
    # What a class answers with is a place of the gallery, to the last digit that it has.
    own = set(zip(locator.grid.lat.tolist(), locator.grid.lng.tolist(), strict=True))
    assert own == set(zip(*(column.tolist() for column in gallery), strict=True))


def test_photo_and_places_share_a_space(
    imported: Imported, locator: Locator, answer: Prediction, rocket: Path
) -> None:
    """The embedding beside the encoded places gives the answer's own order."""
    (seen,) = locator.embed(locator.prepare(rocket)[None])
    assert np.linalg.norm(seen) == pytest.approx(1, abs=1e-5)
    classes = [place.class_index for place in answer.places]
    lat, lng = locator.grid.lat[classes], locator.grid.lng[classes]
    parts = read_wheel()
    logits = parts.scale * parts.locations.encode(lat, lng, lambda *_: None) @ seen
    told = np.log([place.probability for place in answer.places])
    assert np.abs((logits - logits[0]) - (told - told[0])).max() < 0.05


def test_a_photo_that_says_nothing_has_no_lift(locator: Locator) -> None:
    prior = locator.prior()
    assert prior.information_bits == 0
    assert prior.probabilities * len(locator.grid) == pytest.approx(np.ones(len(locator.grid)))


def test_locate_tells_places_and_that_nothing_is_calibrated(
    imported: Imported, answer: Prediction, rocket: Path, tmp_path: Path
) -> None:
    table = _locate(imported, rocket, "--html", str(tmp_path / "map.html")).output
    assert answer.summary in table
    assert answer.cities[0].name in table
    assert "not calibrated: nobody has compared these probabilities" in table
    assert '"calibrated":false' in (tmp_path / "map.html").read_text(encoding="utf-8")
    (told,) = json.loads(_locate(imported, rocket, "--format", "json").stdout)
    assert told["calibrated"] is False
    assert told["predictions"][0]["cell"] == answer.mode.cell
    rows = list(csv.DictReader(io.StringIO(_locate(imported, rocket, "--format", "csv").stdout)))
    assert [row["calibrated"] for row in rows] == ["False"]
    drawn = json.loads(_locate(imported, rocket, "--format", "geojson").stdout)
    assert all(one["properties"]["calibrated"] is False for one in drawn["features"])


def test_coarse_answers_are_no_finer(answer: Prediction) -> None:
    coarse = answer.coarse(500)
    assert coarse.radius_km(0.5) >= 500
    assert len(coarse.grid) < 2_000
    assert coarse.probabilities.sum() == pytest.approx(1)
    assert coarse.to_dict()["calibrated"] is False


def test_a_sure_answer_is_as_wide_as_its_cell(locator: Locator) -> None:
    """Without the bound on cells, a lonely place's was as wide as a country."""
    sure = np.zeros(len(locator.grid))
    lonely = int(np.argmin(locator.grid.levels))
    sure[lonely] = 1
    answer = Prediction(locator.prior().layer, sure, locator.bundle.prior)
    assert answer.best.class_index == lonely
    assert answer.radius_km(0.9) < 15


def test_a_heat_map_is_drawn(answer: Prediction) -> None:
    drawn = heatmap(answer)
    assert drawn["features"]
    assert drawn["features"][0]["properties"]["probability"] > 0
    json.dumps(drawn, allow_nan=False)


def test_a_region_keeps_what_lies_in_it(locator: Locator, answer: Prediction) -> None:
    inside = answer.within(Region(("JP",)))
    assert {name for name, share in inside.by_country() if share > 1e-12} == {"JP"}
    assert inside.to_dict()["calibrated"] is False
    box = answer.within(Region(box=(10, 59, 12, 61)))
    assert 59 <= box.mode.lat <= 61
    assert box.probabilities.sum() == pytest.approx(1)


def test_evaluate_measures_it(imported: Imported, rocket: Path, tmp_path: Path) -> None:
    table = tmp_path / "photos.csv"
    table.write_text(f"path,lat,lng\n{rocket.name},28.6,-80.6\n")
    out = tmp_path / "report"
    result = CliRunner().invoke(
        app,
        ["evaluate", "--benchmark", str(table), "--images", str(rocket.parent), "--model",
         str(imported.path), "-o", str(out)],
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    report = json.loads((out / "report.json").read_text())
    assert report["model"]["name"] == "geoclip"


def test_the_service_answers(client: Client, answer: Prediction, rocket: Path) -> None:
    told = client.raw(rocket.read_bytes(), query="?heatmap=true").json
    assert told["calibrated"] is False
    assert told["predictions"][0]["cell"] == answer.mode.cell
    assert told["heatmap"]["features"]
    facts = client.get("/model").json
    assert (facts["name"], facts["classes"], facts["calibrated"]) == ("geoclip", 94_123, False)
    assert facts["preprocessing"] == {"recipe": "clip", "size": 224}


def test_the_map_page_shows_the_answer(
    client: Client,
    answer: Prediction,
    rocket: Path,
    chromium: Path,
    browser_environment: dict[str, str | float | bool],
) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=str(chromium),
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
            env=browser_environment,
        )
        page = browser.new_page()
        page.goto(f"http://127.0.0.1:{client.port}/")
        page.set_input_files("#file", rocket)
        expect(page.locator("#uncalibrated")).to_contain_text("Not calibrated", timeout=60_000)
        expect(page.locator("body")).to_contain_text(answer.mode.name)
        browser.close()


def test_cells_lie_where_their_places_do(locator: Locator) -> None:
    leaves = s2.leaf_ids(locator.grid.lat, locator.grid.lng)
    assert len(np.unique(leaves)) == len(locator.grid)
