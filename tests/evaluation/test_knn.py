"""Photos are answered with the places of the photos that are most similar."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from locationnet.cli import app
from locationnet.errors import BundleError
from locationnet.evaluation.benchmarks import from_table
from locationnet.evaluation.evaluate import evaluate
from locationnet.evaluation.knn import nearest
from locationnet.geo import s2
from locationnet.geo.grid import Grid
from locationnet.model.locator import Locator, load_model
from locationnet.pack.build import pack_photos
from locationnet.retrieval import embedding

pytest.importorskip("faiss", reason="needs the extra 'retrieval'")

# Colours and where photos of that colour are; reds lie near each other, one blue far from the rest.
SEEN = [
    ((250, 10, 10), (10.0, 20.0)),
    ((240, 0, 20), (10.1, 20.1)),
    ((230, 30, 0), (-40.0, -60.0)),
    ((0, 0, 250), (50.0, 100.0)),
]


Rows = list[tuple[tuple[int, int, int], tuple[float, float]]]


def _table(folder: Path, name: str, rows: Rows) -> Path:
    lines = ["path,lat,lng"]
    for index, (colour, (lat, lng)) in enumerate(rows):
        Image.new("RGB", (300, 300), colour).save(folder / f"{name}-{index}.jpg", quality=95)
        lines.append(f"{name}-{index}.jpg,{lat},{lng}")
    table = folder / f"{name}.csv"
    table.write_text("\n".join(lines) + "\n")
    return table


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    lat, lng = (np.array([place[axis] for _, place in SEEN]) for axis in (0, 1))
    ids = np.unique(s2.parent_ids(s2.leaf_ids(lat, lng), 3))
    table = _table(tmp_path, "seen", SEEN)
    pack_photos(table, tmp_path, Grid(ids, *s2.centers(ids)), tmp_path / "pack")
    return tmp_path / "pack"


def test_a_photo_is_where_photos_that_are_similar_are(
    embedding_bundle: Path, pack: Path, tmp_path: Path
) -> None:
    asked: Rows = [((0, 5, 240), (50.5, 100.0)), ((245, 20, 5), (11.0, 20.0)), ((0, 0, 0), (1, 2))]
    table = _table(tmp_path, "asked", asked)
    (tmp_path / "asked-2.jpg").write_bytes(b"broken")
    found = nearest(load_model(embedding_bundle), from_table(table), pack, tmp_path)
    assert list(found) == ["nearest photo", "4 nearest photos"]
    lat, lng = found["nearest photo"]
    assert (lat[0], lng[0]) == (50.0, 100.0)
    assert lat[1] in (10.0, 10.1)
    assert (lat[2], lng[2]) == (-1.0, -178.0)  # the broken one: as far away as one can be
    # All four are neighbours of each; two of them are beside one another.
    lat, lng = found["4 nearest photos"]
    assert set(lat[:2]) <= {10.0, 10.1}
    assert set(lng[:2]) <= {20.0, 20.1}


def test_an_interrupted_search_goes_on_and_ends_the_same(
    embedding_bundle: Path, pack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedding, "_PART", 1)
    benchmark = from_table(_table(tmp_path, "asked", SEEN[:2]))
    locator = load_model(embedding_bundle)
    whole = nearest(locator, benchmark, pack, tmp_path / "whole")

    def stop(done: int, _: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        nearest(locator, benchmark, pack, tmp_path, stop)
    embedded: list[int] = []
    embed = locator.embed_and_classify

    def counted(images: Any) -> Any:
        embedded.append(len(images))
        return embed(images)

    monkeypatch.setattr(locator, "embed_and_classify", counted)
    again = nearest(locator, benchmark, pack, tmp_path)
    assert sum(embedded) == 2 + len(benchmark)
    for name, points in whole.items():
        np.testing.assert_array_equal(points, again[name])


def test_the_verb_sets_them_beside_the_model(
    embedding_bundle: Path, pack: Path, tmp_path: Path
) -> None:
    table = _table(tmp_path, "asked", SEEN)
    words = [
        "evaluate",
        "--benchmark",
        table,
        "--model",
        embedding_bundle,
        "--neighbours",
        pack,
        "-o",
    ]
    result = CliRunner().invoke(app, [*map(str, words), str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    assert "nearest photo" in result.stdout
    fields = json.loads((tmp_path / "out" / "report.json").read_text())
    # Each photo is its own neighbour.
    assert fields["guesses"]["nearest photo"]["within_km"]["1"] == [1, 1, 1]


def test_a_network_without_an_embedding_is_named(
    tiny_locator: Locator, pack: Path, tmp_path: Path
) -> None:
    benchmark = from_table(_table(tmp_path, "asked", SEEN))
    with pytest.raises(BundleError, match=r"model\.onnx: no output named embedding"):
        evaluate(tiny_locator, benchmark, tmp_path / "out", neighbours=pack)
