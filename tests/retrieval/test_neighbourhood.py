"""A photo is located by those that resemble it, alone and inside the classifier's cells."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient
from typer.testing import CliRunner

import locationnet
from locationnet.cli import app
from locationnet.model.locator import Locator
from locationnet.retrieval.index import Weights
from locationnet.retrieval.kinds import Mode
from locationnet.retrieval.refinement import combine, density_peaks, shares
from locationnet.server.app import create_app, load_locator
from locationnet.server.settings import read_settings

pytest.importorskip("faiss", reason="needs the extra 'retrieval'")

# A red photo is San Francisco to the bundle; these reds were taken at two corners of it, and one
# in no cell at all, beside it.
RED, BLUE = (250, 10, 10), (10, 10, 250)
CORNER = (37.8021, -122.4187)


@pytest.fixture(scope="module")
def index(
    embedding_bundle: Path,
    make_photo: Callable[..., bytes],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    folder = tmp_path_factory.mktemp("look-alikes")
    rows = ["path,lat,lng,uploader,licence,attribution,page"]
    for number in range(4):
        (folder / f"red-{number}.jpg").write_bytes(make_photo((250 - number, 10, 10)))
        place = f"{CORNER[0] + number * 1e-5:.5f},{CORNER[1]}"
        rows.append(f"red-{number}.jpg,{place},anna,CC0,Anna,https://example.org/{number}")
    (folder / "blue.jpg").write_bytes(make_photo(BLUE))
    rows.append("blue.jpg,10.5,20.5,ben,CC0,Ben,javascript:alert(1)")
    (folder / "photos.csv").write_text("\n".join(rows) + "\n")
    words = ["index", folder, "--model", embedding_bundle, "-o", folder / "index"]
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == 0, result.output
    return folder / "index"


@pytest.fixture(scope="module")
def locator(embedding_bundle: Path, index: Path) -> Locator:
    return locationnet.load_model(embedding_bundle, index=index)


def test_the_point_moves_to_where_the_look_alikes_are(
    locator: Locator, make_photo: Callable[..., bytes]
) -> None:
    found = locator.locate(make_photo(RED))
    assert found.mode.name == "San Francisco, California, US"
    assert (found.mode.lat, found.mode.lng) == pytest.approx(CORNER, abs=1e-4)
    first = found.neighbours[0]
    assert first.similarity > 0.99
    assert (first.author, first.page[:20]) == ("Anna", "https://example.org/")
    fields = found.to_dict()
    assert fields["predictions"][0]["lat"] == found.mode.lat
    assert fields["cities"][0]["lat"] == found.mode.lat
    assert fields["neighbours"][0]["distance_km"] < 0.01
    # Others' tables may hold any text; a link leads to the web or nowhere.
    [blue] = [one for one in fields["neighbours"] if one["id"] == "blue.jpg"]
    assert blue["page"] == ""


def test_a_photo_in_no_cell_counts_for_the_nearest_and_keeps_its_own_point(
    embedding_bundle: Path, index: Path, make_photo: Callable[..., bytes]
) -> None:
    search = locationnet.load_model(embedding_bundle, index=index, retrieval_mode="search")
    found = search.locate(make_photo(BLUE))
    assert (found.mode.lat, found.mode.lng) == (10.5, 20.5)
    assert found.grid.assign([10.5], [20.5]).tolist() == [-1]
    assert found.mode.name.startswith("Nairobi")
    assert found.probabilities.sum() == pytest.approx(1)


def test_coarse_answers_and_regions_hold_for_look_alikes_too(
    locator: Locator, make_photo: Callable[..., bytes]
) -> None:
    found = locator.locate(make_photo(RED))
    coarse = found.coarse(100)
    assert not coarse.neighbours
    assert not coarse.points
    assert "neighbours" not in coarse.to_dict()
    assert abs(coarse.mode.lat - CORNER[0]) > 1e-3
    africa = found.within("KE")
    assert {one.id for one in africa.neighbours} == {"blue.jpg"}
    assert (africa.mode.lat, africa.mode.lng) == (10.5, 20.5)
    box = found.within(locationnet.Region(box=(-123.0, 37.0, -122.0, 38.0)))
    assert {one.author for one in box.neighbours} == {"Anna"}


def test_a_photo_without_features_is_answered_by_the_classifier_alone(
    locator: Locator, embedding_bundle: Path
) -> None:
    image = np.full((32, 32, 3), 127, np.uint8)
    image[::2] = 128
    found = locator.locate(image)
    own = locationnet.load_model(embedding_bundle).locate(image)
    assert not found.neighbours
    np.testing.assert_allclose(found.probabilities, own.probabilities, atol=1e-5)


def test_the_command_line_and_the_service_answer_alike(
    locator: Locator,
    embedding_bundle: Path,
    index: Path,
    make_photo: Callable[..., bytes],
    tmp_path: Path,
) -> None:
    (tmp_path / "red.jpg").write_bytes(make_photo(RED))
    words = ["locate", tmp_path / "red.jpg", "--model", embedding_bundle, "--retrieval", index]
    told = CliRunner().invoke(app, [*map(str, words), "--format", "json"])
    assert told.exit_code == 0, told.output
    [answer] = json.loads(told.stdout)
    assert answer["predictions"][0]["lat"] == pytest.approx(CORNER[0], abs=1e-4)
    people = CliRunner().invoke(app, [str(word) for word in words])
    assert "https://example.org/" in people.stdout
    settings = read_settings(model=str(embedding_bundle), retrieval=index)
    with TestClient(create_app(settings, load_locator(settings)), "http://127.0.0.1") as client:
        served = client.post(
            "/locate", content=make_photo(RED), headers={"Content-Type": "image/jpeg"}
        )
    assert served.json()["neighbours"] == answer["neighbours"]
    assert served.json()["predictions"] == answer["predictions"]


def test_evaluation_leaves_out_the_uploaders_own_photos_and_says_both_shares(
    embedding_bundle: Path, index: Path, tmp_path: Path
) -> None:
    from pyarrow import parquet

    rows = ["path,lat,lng,uploader", f"red-0.jpg,{CORNER[0]},{CORNER[1]},anna"]
    (tmp_path / "asked.csv").write_text("\n".join([*rows, "blue.jpg,10.5,20.5,carl"]) + "\n")
    words = ["evaluate", "--benchmark", tmp_path / "asked.csv", "--images", index.parent,
             "--model", embedding_bundle, "--retrieval", index, "-o", tmp_path / "out"]  # fmt: skip
    plain = CliRunner().invoke(app, [str(word) for word in words])
    assert plain.exit_code == 0, plain.output
    table = parquet.read_table(tmp_path / "out" / "predictions.parquet").to_pydict()
    assert table["mode_lat"][0] == pytest.approx(CORNER[0], abs=1e-4)
    assert table["same_uploader"] == [True, False]
    assert table["near_duplicate"] == [True, True]
    notes = " ".join(json.loads((tmp_path / "out" / "report.json").read_text())["notes"])
    assert "for 100.0% of the photos, and by the same uploader for 50.0%" in notes
    without = CliRunner().invoke(app, [*map(str, words), "--exclude-uploader"])
    assert without.exit_code == 0, without.output
    table = parquet.read_table(tmp_path / "out" / "predictions.parquet").to_pydict()
    assert table["mode_lat"][0] != pytest.approx(CORNER[0], abs=1e-4)
    refused = CliRunner().invoke(app, [*map(str, words[:7]), "--exclude-uploader", "-o", "x"])
    assert refused.exit_code == 2


def test_the_answer_is_the_formula() -> None:
    weights = Weights(sharpness=2, trust_at=0.5, trust_slope=3, classifier=0.5, neighbours=0.75)
    similarity, there = np.array([[0.9, 0.4]], np.float32), np.array([[True, True]])
    held, trust = shares(similarity, there, weights)
    ratio = np.exp(2 * (0.9 - 0.4))
    np.testing.assert_allclose(held, [[ratio / (1 + ratio), 1 / (1 + ratio)]], rtol=1e-6)
    assert trust[0] == pytest.approx(1 / (1 + np.exp(-3 * 0.4)))
    prior, classifier = np.array([0.5, 0.3, 0.2]), np.array([0.1, 0.2, 0.7])
    cells = np.array([0, 1])
    q = trust[0] * np.array([held[0, 0], held[0, 1], 0]) + (1 - trust[0]) * prior
    found = combine(classifier, prior, cells, held[0], float(trust[0]), weights, Mode.search)
    np.testing.assert_allclose(found, q)
    power = 1 - trust[0] * 0.5
    expected = prior * (classifier / prior) ** power * (q / prior) ** 0.75
    found = combine(classifier, prior, cells, held[0], float(trust[0]), weights, Mode.combined)
    np.testing.assert_allclose(found, expected / expected.sum(), rtol=1e-4)


def test_a_cells_point_is_where_most_of_its_look_alikes_are() -> None:
    lat, lng = np.array([10.0, 10.001, 11.0]), np.array([20.0, 20.0, 20.0])
    peaks = density_peaks(lat, lng, np.array([0.31, 0.29, 0.4]), np.array([5, 5, 5]))
    assert peaks == {5: (10.0, 20.0)}
