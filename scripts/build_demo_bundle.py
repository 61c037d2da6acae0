"""Build the demo bundle: a published classifier and a table of geographic knowledge in one network.

Knows where every ingredient comes from; how each is used is in the modules under ``scripts/demo``.

Needs the dependency group ``recipes`` and a CSV of photo coordinates (columns LAT, LON)::

    uv sync --group recipes
    .venv/bin/python scripts/build_demo_bundle.py coordinates_100k.csv

The npm package world-atlas is fetched with ``npm pack``; ``--world-atlas FILE`` takes one that lies
here already. The same inputs and versions give the same bytes.
"""

from __future__ import annotations

import argparse
import csv
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from demo.answer import OUTPUTS, add_answer
from demo.knowledge import Evaluator, Knowledge, Surroundings, read_knowledge
from demo.network import (
    CLASSES,
    FEATURES,
    MEAN,
    SIZE,
    STD,
    Nodes,
    add_classifier,
    source_network,
    source_probabilities,
)
from demo.surroundings import cell_names, fetch_world_atlas, nearest_towns, surroundings
from numpy.typing import NDArray
from onnx import TensorProto, helper

from locationnet.geo.partition import partition
from locationnet.images import open_image
from locationnet.model.bundle import Bundle
from locationnet.model.manifest import write_manifest
from locationnet.model.sessions import OnnxSession
from locationnet.preprocess import Preprocessing, tensor

ROOT = Path(__file__).parent.parent
BUNDLE = ROOT / "locationnet" / "bundles" / "demo"
MEASURED = ROOT / "scripts" / "demo" / "measured.json"
CALIBRATION = ROOT / "scripts" / "demo" / "calibration.json"
REFERENCE = ROOT / "tests" / "demo_reference.npz"
# The photos inside scikit-image whose recorded probabilities the committed network must repeat.
REFERENCE_PHOTOS = ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg")

MAX_PHOTOS, MIN_PHOTOS = 100, 3
GAMMA = 2.0
# The family's own crop: the centre 260 of a short side of 260 + 32.
PREPROCESSING = Preprocessing("pillow", SIZE, SIZE + 32, (MEAN,) * 3, (STD,) * 3)
LARGEST_DIFFERENCE = 1e-4
OPSET, IR_VERSION = 13, 8


def main() -> None:
    """Build the bundle and check it against the network it was made from."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("coordinates", type=Path, help="CSV of photo coordinates: LAT, LON")
    parser.add_argument("-o", "--out", type=Path, default=BUNDLE, help="directory to write")
    parser.add_argument("--world-atlas", type=Path, help="world-atlas-2.0.2.tgz from npm")
    parser.add_argument(
        "--record-reference",
        action="store_true",
        help=f"also write the source network's answers to {REFERENCE.relative_to(ROOT)}",
    )
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)

    lat, lng = np.loadtxt(options.coordinates, delimiter=",", skiprows=1, unpack=True)
    cells = partition(lambda: [(lat, lng)], max_photos=MAX_PHOTOS, min_photos=MIN_PHOTOS)
    grid, counts = cells.grid, cells.counts
    classes = grid.assign(lat, lng)
    prior = (counts / counts.sum()).astype(np.float32)
    print(f"{len(grid)} cells hold {counts.sum() / len(lat):.1%} of {len(lat)} photos")

    towns = nearest_towns(lat, lng)
    with tempfile.TemporaryDirectory() as folder:
        atlas = options.world_atlas or fetch_world_atlas(Path(folder))
        around = surroundings(lat, lng, towns, atlas)
    knowledge = read_knowledge()
    ratios = cell_ratios(knowledge, around, classes, counts)
    print(f"{len(knowledge.rows)} concepts of the {CLASSES} say something about the place")

    network = source_network()
    onnx.save(build_model(network, knowledge, ratios, prior), options.out / "model.onnx")
    grid.write(options.out / "grids.txt")
    np.save(options.out / "prior.npy", prior)
    write_names(options.out / "places.csv", cell_names(towns, classes, len(grid)))
    labels = "".join(f"{row.label}\n" for row in knowledge.rows)
    (options.out / "concepts.txt").write_text(labels, encoding="utf-8")
    write_manifest(options.out, manifest(len(grid), len(lat)))

    images, expected = reference(network)
    check(options.out, images, expected)
    if options.record_reference:
        np.savez_compressed(REFERENCE, **dict(zip(REFERENCE_PHOTOS, expected, strict=True)))
    size = sum(path.stat().st_size for path in options.out.iterdir())
    print(f"{options.out}: {size / 1e6:.1f} MB")


def cell_ratios(
    knowledge: Knowledge,
    around: Surroundings,
    classes: NDArray[np.int64],
    counts: NDArray[np.int64],
) -> NDArray[np.float16]:
    """Return P(cell | concept) / prior(cell), float16 ``(concepts, cells)``.

    P(cell | concept) ∝ the sum of the concept's likelihood ratio over the cell's photos: what a
    cell says is the mean of what its photos' surroundings say.
    """
    inside = classes >= 0
    evaluator = Evaluator(knowledge, around)
    ratios = np.empty((len(knowledge.rows), len(counts)), np.float16)
    for index, row in enumerate(knowledge.rows):
        likelihood = knowledge.likelihood_ratios(row, evaluator)[inside]
        sums = np.bincount(classes[inside], likelihood, minlength=len(counts))
        ratios[index] = sums / counts / likelihood.mean()
    return ratios


def build_model(
    network: Any,
    knowledge: Knowledge,
    ratios: NDArray[np.float16],
    prior: NDArray[np.float32],
) -> onnx.ModelProto:
    """Return the whole graph, from ``images`` to the answer, its evidence and the embedding."""
    graph = Nodes()
    add_classifier(graph, network, "images", "posterior")
    concepts = np.array([row.concept for row in knowledge.rows], np.int64)
    add_answer(graph, "posterior", concepts, ratios, prior, GAMMA)
    graph.step("Identity", ["features"], "embedding")
    shapes: dict[str, list[str | int]] = {
        "probabilities": ["N", len(prior)],
        "posterior": ["N", CLASSES],
        "embedding": ["N", FEATURES],
    }
    outputs = [
        helper.make_tensor_value_info(
            name,
            TensorProto.INT64 if name == "evidence_class" else TensorProto.FLOAT,
            shapes.get(name, ["N", "K"]),
        )
        for name in (*OUTPUTS, "posterior", "embedding")
    ]
    images = helper.make_tensor_value_info("images", TensorProto.FLOAT, ["N", 3, SIZE, SIZE])
    model = helper.make_model(
        helper.make_graph(graph.nodes, "demo", [images], outputs, graph.weights),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="locationnet",
    )
    onnx.checker.check_model(model, full_check=True)
    return model


def write_names(path: Path, names: list[tuple[str, str, str]]) -> None:
    """Write ``places.csv``."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["class", "city", "region", "country"])
        writer.writerows([index, *name] for index, name in enumerate(names))


def manifest(cells: int, photos: int) -> dict[str, Any]:
    """Return the fields of ``manifest.json``."""
    return {
        "format": 1,
        "name": "demo",
        "version": "1.0.0",
        "demo": True,
        "description": (
            "A demo: EfficientNet-Lite2 recognises things, and a hand-written table says where "
            "such things are photographed. Weak but explainable; not a trained geolocation model."
        ),
        "license": "Apache-2.0",
        "preprocessing": {
            "recipe": PREPROCESSING.recipe,
            "size": PREPROCESSING.size,
            "short_side": PREPROCESSING.short_side,
            "mean": PREPROCESSING.mean,
            "std": PREPROCESSING.std,
        },
        "temperature": 1.0,
        # The 308 photos of the calibration would set 0.21, by a gain within chance: see MODEL_CARD.
        "abstain_below_bits": 0.05,
        "training": {
            "network": "EfficientNet-Lite2, trained by its authors on ImageNet (ILSVRC 2012)",
            "knowledge": "scripts/demo: likelihood ratios written by hand, revised once after a "
            "look at the landmark photos that are measured below",
            "grid": f"{cells} cells from {photos} photo coordinates of MP-16, "
            f"max_photos={MAX_PHOTOS}, min_photos={MIN_PHOTOS}",
            "gamma": GAMMA,
        },
        "accuracy": accuracy(),
        "calibration": json.loads(CALIBRATION.read_text(encoding="utf-8")),
    }


def accuracy() -> dict[str, Any]:
    """Return what ``eval_demo_bundle.py --json`` measured last, in short: [mean, low, high]."""
    measured = json.loads(MEASURED.read_text(encoding="utf-8"))["photos"]
    return {
        name: {
            "photos": figures["photos"],
            "information_bits": _rounded(figures["information_bits"], 2),
            "geoscore": _rounded(figures["model"]["geoscore"], None),
            "geoscore_of_prior": _rounded(figures["prior"]["geoscore"], None),
        }
        for name, figures in measured.items()
    }


def _rounded(values: list[float], digits: int | None) -> list[float]:
    return [round(value, digits) for value in values]


def reference(network: Any) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the reference photos as the network's input and what the source network answers."""
    import skimage

    photos = [
        (Path(skimage.__file__).parent / "data" / name).read_bytes() for name in REFERENCE_PHOTOS
    ]
    images = np.stack([tensor(open_image(photo), PREPROCESSING) for photo in photos])
    return images, source_probabilities(network, images)


def check(directory: Path, images: NDArray[np.float32], expected: NDArray[np.float32]) -> None:
    """Refuse a bundle whose network differs from its source or that does not verify."""
    Bundle.open(directory).verify()
    found = OnnxSession(directory / "model.onnx").run(images)["posterior"]
    difference = float(np.abs(np.asarray(found, np.float32) - expected).max())
    if difference > LARGEST_DIFFERENCE:
        raise SystemExit(f"the exported network differs from its source by {difference:.1e}")
    print(f"the exported network is within {difference:.1e} of its source")


if __name__ == "__main__":
    main()
