"""Draws docs/pictures from ``grids.txt``, the demo bundle and scikit-image's launch photo.

Example: python scripts/build_docs_pictures.py
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from functools import cache, partial
from importlib.util import find_spec
from math import pi, sqrt
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from onnx import numpy_helper
from PIL import Image

import locationnet
from locationnet.geo import sphere
from locationnet.geo.grid import Grid
from locationnet.viz import card, payload, picture, shapes, worldmap
from locationnet.viz.lift_scale import STRONGEST
from locationnet.viz.shapes import Cells, Frame

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ROOT = Path(__file__).parents[1]
OUT = ROOT / "docs" / "pictures"
PIXELS = 880
WIDTH = 11.0  # inches, as the pictures of `locationnet.viz`

WORLD = Frame(-180.0, -60.0, 180.0, 78.0)
AMERICA = Frame(-170.0, 5.0, -50.0, 62.0)
EUROPE = Frame(-11.0, 36.0, 27.0, 58.0)
PARIS = Frame(2.13, 48.77, 2.53, 48.94)
LONDON = Frame(-0.38, 51.40, 0.15, 51.62)
# Space Launch Complex 40, from which that rocket rose.
LAUNCH_SITE = (28.562, -80.577)
CONCEPT = "volcano"
# The demo's cells hold about as many photos each; wider ones show where photos are many.
COARSE_KM = 150


def main() -> None:
    """Write every picture."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("-o", "--out", type=Path, default=OUT)
    folder = parser.parse_args().out
    folder.mkdir(parents=True, exist_ok=True)
    for name, draw in PICTURES.items():
        content = png(draw())
        (folder / name).write_bytes(content)
        print(f"{name}: {len(content) / 1024:.0f} KiB")


def grid_map(part: Frame, coarsest: int, edge: float) -> Figure:
    """Draw the cells of ``grids.txt`` in a part of the world, coloured by their size.

    Parameters
    ----------
    part
        What to show.
    coarsest
        The level of the first colour, which coarser cells share; the finest share the last.
    edge
        Width of the cells' white edges, points.
    """
    figure, axes = _new_map(part)
    worldmap.draw_land(axes, part)
    grid = Grid.read(ROOT / "grids.txt")
    # The large ones first: the small ones' edges are then whole.
    order = np.argsort(grid.levels, kind="stable")
    shades = np.clip(grid.levels[order] - coarsest, 0, shapes.COLOURS - 1)
    colours = [shapes.palette()[f"cell-{shade}"] for shade in shades]
    ones = np.ones(len(order))
    centroids = np.stack([grid.lng[order], grid.lat[order]], axis=-1)
    outlines = payload.outlines(grid.ids[order])
    shown = Cells(outlines, centroids, ones, colours, STRONGEST * ones, "probability")
    worldmap.draw_cells(axes, shown, part, edge="white" if edge else None, width=edge)
    _legend(axes, "S2 level, mean width:", dict(_levels(coarsest)))
    return figure


def prior_map() -> Figure:
    """Draw the demo's answer before it sees a photo."""
    return _cells_map(_demo().prior().coarse(COARSE_KM))


def concept_map() -> Figure:
    """Draw where the demo's table says that photos of one concept are taken."""
    bundle = _demo().bundle
    model = onnx.load(bundle.path / "model.onnx")
    (weight,) = [item for item in model.graph.initializer if item.name == "ratios_half"]
    ratios = numpy_helper.to_array(weight)[bundle.concepts.index(CONCEPT)].astype(np.float64)
    before = _demo().prior()
    share = before.prior * ratios
    answer = locationnet.Prediction(before.layer, share / share.sum(), before.prior)
    return _cells_map(answer.coarse(COARSE_KM))


def answer_picture() -> Figure:
    """Draw the answer for the launch photo, with the photo and the list of places."""
    return picture.draw(_answer(), photo=_rocket())


def circles_map() -> Figure:
    """Draw the answer of who knows that the photo is from the US, with the true place."""
    figure, axes = _new_map(AMERICA)
    answer = _answer().within("US")
    worldmap.draw_map(axes, answer, LAUNCH_SITE, AMERICA, shapes.telling(answer, shapes.LISTED))
    return figure


def card_picture() -> Figure:
    """Draw the card of the launch photo."""
    with Image.open(_rocket()) as photo:
        return card.draw_card(_answer(), photo.convert("RGB"))


PICTURES: dict[str, Callable[[], Figure]] = {
    "cells-world.png": partial(grid_map, WORLD, 4, 0.1),
    "cells-europe.png": partial(grid_map, EUROPE, 6, 0.25),
    "cells-paris.png": partial(grid_map, PARIS, 10, 0.5),
    "cells-london.png": partial(grid_map, LONDON, 10, 0.5),
    "demo-prior.png": prior_map,
    "demo-volcano.png": concept_map,
    "rocket-answer.png": answer_picture,
    "rocket-circles.png": circles_map,
    "rocket-card.png": card_picture,
}


def png(figure: Figure) -> bytes:
    """Return a figure as a PNG with a palette, the same bytes every time."""
    return picture.small_png(figure, PIXELS / figure.get_size_inches()[0])


def _levels(coarsest: int) -> Iterator[tuple[str, str]]:
    """Yield each colour with what it stands for."""
    for shade in range(shapes.COLOURS):
        level = coarsest + shade
        width = shapes.distance_text(sphere.EARTH_RADIUS_KM * sqrt(4 * pi / (6 * 4**level)))
        signs = ("≤ ", "≥ ") if shade == 0 else ("≥ ", "≤ ")
        level_sign, width_sign = signs if shade in (0, shapes.COLOURS - 1) else ("", "")
        yield shapes.palette()[f"cell-{shade}"], f"{level_sign}{level}: {width_sign}{width}"


@cache
def _demo() -> locationnet.Locator:
    return locationnet.load_model()


@cache
def _answer() -> locationnet.Prediction:
    return _demo().locate(_rocket())


def _rocket() -> Path:
    found = find_spec("skimage")
    if found is None or found.origin is None:
        raise SystemExit("scikit-image is not installed")
    return Path(found.origin).parent / "data" / "rocket.jpg"


def _new_map(part: Frame) -> tuple[Figure, Axes]:
    """Return a figure as high as the map's shape asks for, and a legend below."""
    height = WIDTH * worldmap.aspect(part) * (part.north - part.south) / (part.east - part.west)
    figure = Figure((WIDTH, height + 0.4), facecolor="white")
    below = 0.35 / (height + 0.4)
    return figure, figure.add_axes((0.005, below, 0.99, 0.995 - below))


def _cells_map(answer: locationnet.Prediction) -> Figure:
    figure, axes = _new_map(WORLD)
    worldmap.draw_land(axes, WORLD)
    shown = shapes.cells(answer, by="probability")
    worldmap.draw_cells(axes, shown, WORLD, fading=True)
    heading, ranges = shapes.legend(shown)
    _legend(axes, heading, dict(ranges))
    return figure


def _legend(axes: Axes, title: str, texts: dict[str, str]) -> None:
    handles = [
        Patch(facecolor=colour, alpha=STRONGEST, label=text) for colour, text in texts.items()
    ]
    axes.legend(
        handles=[Patch(alpha=0, label=title), *handles],
        loc="upper center",
        bbox_to_anchor=(0.5, -0.005),
        ncols=len(handles) + 1,
        frameon=False,
        fontsize=8,
        handlelength=1.4,
        columnspacing=0.9,
        handletextpad=0.5,
    )


if __name__ == "__main__":
    main()
