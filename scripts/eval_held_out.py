"""Measure bundles on held-out photos, beside the answer that needs no photo.

Knows tables of photos and bundles; nothing of how they were trained::

    python scripts/eval_held_out.py test.csv --images photos --train train.csv BUNDLE...
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import locationnet
from locationnet.evaluation.metrics import summary, summary_line
from locationnet.geo.grid import Grid
from locationnet.geo.sphere import great_circle_km

Places = tuple[NDArray[np.float64], NDArray[np.float64]]


def read(table: Path) -> tuple[list[str], Places]:
    """Return paths and places of a CSV with the columns path, lat and lng."""
    with table.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    lat, lng = (np.array([float(row[name]) for row in rows]) for name in ("lat", "lng"))
    return [row["path"] for row in rows], (lat, lng)


def majority(grid: Grid, train: Places, truth: Places) -> dict[str, float]:
    """Return the metrics of always answering with the classes that most training photos have."""
    classes = grid.assign(*train)
    order = np.argsort(-np.bincount(classes[classes >= 0], minlength=len(grid)), kind="stable")
    rank = np.full(len(grid) + 1, len(grid))
    rank[order] = np.arange(len(grid))
    km = great_circle_km(*truth, grid.lat[order[0]], grid.lng[order[0]])
    return summary(km, rank[grid.assign(*truth)])


def measured(bundle: Path, photos: list[Path], truth: Places) -> dict[str, float]:
    """Return the metrics of a bundle's most probable cells."""
    locator = locationnet.load_model(bundle)
    answers = locator.locate_many(photos)
    km = great_circle_km(
        *truth, *np.array([(answer.mode.lat, answer.mode.lng) for answer in answers]).T
    )
    own = locator.grid.assign(*truth)
    named = np.array([[place.class_index for place in answer.places] for answer in answers])
    hits = named == own[:, None]
    return summary(km, np.where(hits.any(axis=1), hits.argmax(axis=1), len(locator.grid)))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("table", type=Path, help="CSV: path, lat, lng")
    parser.add_argument("bundles", nargs="+", type=Path)
    parser.add_argument("--images", type=Path, required=True, help="folder that paths start at")
    parser.add_argument("--train", type=Path, required=True, help="CSV of the training photos")
    options = parser.parse_args()
    paths, truth = read(options.table)
    _, train = read(options.train)
    print(f"{len(paths)} photos of {options.table}")
    grid = Grid.read(options.bundles[0] / "grids.txt")
    print(f"majority class: {summary_line(majority(grid, train, truth))}")
    for bundle in options.bundles:
        values = measured(bundle, [options.images / path for path in paths], truth)
        print(f"{bundle.name}: {summary_line(values)}")


if __name__ == "__main__":
    main()
