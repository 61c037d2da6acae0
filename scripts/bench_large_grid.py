"""What a grid of 100,000 cells costs beside the demo's: loading, answers, heat maps, the map page.

    python scripts/bench_large_grid.py [--cells 94123] [--network-mb 700]

It makes a bundle of random cells where photos are taken, with a network that is nothing but large,
in a temporary folder. Times are the best of several runs; an answer's are the median over random
distributions with a peak somewhere.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import json
import os
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import onnx
from bench_locate import cpu_features

from locationnet.geo import s2, sphere
from locationnet.geo.grid import Grid
from locationnet.geo.view import visible_cells
from locationnet.model.answer import answer
from locationnet.model.heatmap import heatmap
from locationnet.model.locator import Locator, load_model
from locationnet.model.manifest import write_manifest
from locationnet.model.prediction import Prediction
from locationnet.server.engine import measure_speed

ANSWERS = 9


def make_bundle(folder: Path, cells: int, network_mb: int) -> None:
    """Write the bundle."""
    demo, rng = load_model("demo"), np.random.default_rng(0)
    near = rng.choice(len(demo.grid), 4 * cells, p=demo.bundle.prior)
    lat = np.clip(demo.grid.lat[near] + rng.normal(0, 0.7, len(near)), -89, 89)
    lng = np.clip(demo.grid.lng[near] + rng.normal(0, 0.7, len(near)), -179.9, 179.9)
    ids, first = np.unique(s2.parent_ids(s2.leaf_ids(lat, lng), 13), return_index=True)
    chosen = np.sort(rng.choice(len(ids), cells, replace=False))
    ids, first = ids[chosen], first[chosen]
    Grid(ids, lat[first], lng[first]).write(folder / "grids.txt")
    names = demo.bundle.names
    with (folder / "places.csv").open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["class", "city", "region", "country"])
        for index, cell in enumerate(near[first]):
            rows.writerow([index, names.city[cell], names.region[cell], names.country[cell]])
    np.save(folder / "prior.npy", np.full(cells, 1 / cells, np.float32))
    onnx.save(network(cells, network_mb), folder / "model.onnx")
    write_manifest(
        folder,
        {
            "format": 1, "name": "large", "version": "1", "description": "Random, for a benchmark.",
            "license": "Apache-2.0",
            "preprocessing": {"recipe": "pillow", "size": 224, "short_side": 224,
                              "mean": [127.5] * 3, "std": [127.5] * 3},
        },
    )  # fmt: skip


def network(cells: int, megabytes: int) -> onnx.ModelProto:
    """Return a softmax over random weights of the mean colour, as large as asked for."""
    helper, floats = onnx.helper, onnx.TensorProto.FLOAT
    rng = np.random.default_rng(1)
    width = max(3, megabytes * 2**20 // (4 * cells))
    arrays = {
        "widen": rng.normal(0, 1, (3, width)).astype(np.float32),
        "weights": rng.normal(0, 1, (width, cells)).astype(np.float32),
    }
    graph = helper.make_graph(
        [
            helper.make_node("GlobalAveragePool", ["images"], ["pooled"]),
            helper.make_node("Flatten", ["pooled"], ["colour"]),
            helper.make_node("MatMul", ["colour", "widen"], ["wide"]),
            helper.make_node("MatMul", ["wide", "weights"], ["logits"]),
            helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
        ],
        "large",
        [helper.make_tensor_value_info("images", floats, ["n", 3, 224, 224])],
        [helper.make_tensor_value_info("probabilities", floats, ["n", cells])],
        [onnx.numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def distributions(locator: Locator) -> list[Prediction]:
    """Return answers with a peak somewhere, each another."""
    prior, rng = locator.prior(), np.random.default_rng(2)
    vectors = sphere.unit_vectors(locator.grid.lat, locator.grid.lng)
    found = []
    for _ in range(ANSWERS):
        logits = 8 * (vectors @ vectors[rng.integers(len(vectors))])
        weights = np.exp(logits + rng.normal(0, 2, len(logits)))
        found.append(dataclasses.replace(prior, probabilities=weights / weights.sum()))
    return found


def fastest(work: Callable[[], object], times: int = 3) -> float:
    """Return the seconds of the best of several runs."""
    return min(_seconds(work) for _ in range(times))


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def measured(bundle: str | Path) -> dict[str, float]:
    """Return seconds, and bytes where the name says so."""
    found = {"load_model, first time": _seconds(lambda: load_model(bundle))}
    found["load_model, later"] = fastest(lambda: load_model(bundle))
    locator = load_model(bundle)
    path = locator.bundle.path / "grids.txt"
    found["reading grids.txt"] = fastest(lambda: Grid.read(path))
    prior, answers = locator.prior(), distributions(locator)
    answer(locator.bundle, answers.pop(), prior)

    def median(work: Callable[[Prediction], object]) -> float:
        return float(np.median([_seconds(partial(work, one)) for one in answers]))

    found["best"] = median(lambda one: one.layer.best_class(one.probabilities))
    found["radii"] = median(lambda one: one.radius_km(0.5))
    found["by_country"] = median(Prediction.by_country)
    found["by_level"] = median(lambda one: one.by_level(6))
    found["whole answer"] = median(
        lambda one: answer(locator.bundle, dataclasses.replace(one), prior)
    )
    found["heat map"] = median(heatmap)
    found["heat map, bytes"] = max(len(json.dumps(heatmap(one))) for one in answers)
    found["cells of the world, zoom 3"] = fastest(lambda: visible_cells(locator.grid, 3))
    found["finding the batch size"] = _seconds(lambda: measure_speed(locator, 8))
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=94_123)
    parser.add_argument("--network-mb", type=int, default=700)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["LOCATIONNET_HOME"] = f"{folder}/home"
        bundle = Path(folder) / "large"
        bundle.mkdir()
        make_bundle(bundle, arguments.cells, arguments.network_mb)
        demo, large = measured("demo"), measured(bundle)
    print(cpu_features())
    print(f"{'':28}{'demo':>12}{arguments.cells:>12,}{'ratio':>8}")
    for name, value in large.items():
        unit, factor = ("", 1) if "bytes" in name else (" ms", 1000)
        columns = (f"{factor * number:,.1f}{unit}" for number in (demo[name], value))
        print(f"{name:28}{''.join(f'{text:>12}' for text in columns)}{value / demo[name]:>8.1f}")


if __name__ == "__main__":
    main()
