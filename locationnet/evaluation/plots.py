"""Results as pictures: errors, honesty, abstention, and where on Earth a model is wrong.

Knows measures and tables of answers; needs matplotlib. Each function returns a figure of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from locationnet.errors import ImageError, MissingExtraError
from locationnet.evaluation.calibration import Reliability, RiskCoverage
from locationnet.images import open_image, shrunk
from locationnet.viz import shapes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Floats = NDArray[np.float64]
# Readable without colour vision: Okabe and Ito, "Color universal design" (2008).
_COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#555555")
# So that a curve shows through another that lies on it.
_LINES = ("solid", "dashed", "dotted", "dashdot", "solid")
_THUMBNAIL = 240
# Below it a diagram of shares is a dot in a corner.
_NEAR_ZERO = 0.1
_ENOUGH = 10


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure; no window, no global state.

    Raises
    ------
    MissingExtraError
        matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("drawing plots", "notebook") from error
    return Figure(figsize=(width, height), layout="constrained")


def png(figure: Figure) -> bytes:
    """Return a figure as the bytes of a PNG."""
    picture = BytesIO()
    figure.savefig(picture, format="png", dpi=110)
    return picture.getvalue()


def error_distances(kilometres: Mapping[str, Floats], thresholds: tuple[float, ...]) -> Figure:
    """Draw which share of photos lies within each distance, for each kind of answer."""
    figure = new_figure(7.5, 4.5)
    axes = figure.subplots()
    near, far = 0.01, 20100.0
    for colour, line, (name, km) in zip(_COLOURS, _LINES, kilometres.items(), strict=False):
        share = np.arange(len(km) + 1) / len(km)
        errors = np.clip(np.sort(km), near, far)
        axes.step(
            [near, *errors, far], [*share, 1.0], where="post", color=colour, linestyle=line,
            label=name,
        )  # fmt: skip
    axes.set(xscale="log", xlim=(near, far), ylim=(0, 1), xlabel="error, km",
             ylabel="share of photos within")  # fmt: skip
    for limit in thresholds:
        axes.axvline(limit, color="#bbbbbb", linewidth=0.8, zorder=0)
        axes.annotate(f"{limit:g}", (limit, 1), ha="center", va="bottom", fontsize="small")
    axes.legend(loc="upper left")
    axes.grid(axis="y", alpha=0.3)
    return figure


def reliability_diagram(found: Reliability) -> Figure:
    """Draw how often the answer is right against its confidence; a dot's area is its photos.

    The lines at a dot are its 95 % interval. Where all is near 0, both axes are logarithmic, and
    a dot at the lower edge stands for photos of which none is right.
    """
    figure = new_figure(5, 4.8)
    axes = figure.subplots()
    seen = found.photos > 0
    confidence, accuracy = found.confidence[seen], found.accuracy[seen]
    photos = found.photos[seen]
    low, high = _wilson(accuracy, photos)
    near_zero = confidence.max() < _NEAR_ZERO and accuracy.max() < _NEAR_ZERO
    bounds = (0.0, 1.0)
    if near_zero:
        least = min([confidence[confidence > 0].min(initial=1), *accuracy[accuracy > 0]])
        bounds = (10 ** np.floor(np.log10(max(least / 2, 1e-6))), 1.0)
    floor = bounds[0]
    axes.plot(bounds, bounds, color="#bbbbbb", linewidth=1, label="honest")
    shown = np.maximum(accuracy, floor), np.maximum(low, floor), np.maximum(high, floor)
    axes.vlines(confidence, shown[1], shown[2], color=_COLOURS[0], linewidth=1, alpha=0.6)
    axes.scatter(
        np.maximum(confidence, floor), shown[0], s=20 + 130 * photos / photos.max(),
        color=_COLOURS[0], alpha=0.8, label="photos, by confidence", clip_on=False,
    )  # fmt: skip
    scale = "log" if near_zero else "linear"
    axes.set(xscale=scale, yscale=scale, xlim=bounds, ylim=bounds, aspect="equal")
    axes.set(xlabel="probability of the cell named first", ylabel="share that is right")
    if near_zero:
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(lambda value, _: f"{100 * value:g} %")
    axes.legend(loc="upper left")
    axes.grid(alpha=0.3)
    return figure


def risk_curve(found: RiskCoverage) -> Figure:
    """Draw the mean loss of GeoScore of the photos that a model is surest of, by their share."""
    figure = new_figure(5.6, 4.2)
    axes = figure.subplots()
    # The mean of a handful of photos is luck.
    known = found.coverage * len(found.coverage) >= min(_ENOUGH, len(found.coverage))
    axes.plot(found.coverage[known], found.risk[known], color=_COLOURS[0])
    axes.axhline(found.risk[-1], color="#bbbbbb", linewidth=1)
    axes.annotate("all photos", (0.99, found.risk[-1]), ha="right", va="bottom", fontsize="small")
    axes.set(xlim=(0, 1), xlabel="share of photos answered, most information first",
             ylabel="points of GeoScore lost, mean")  # fmt: skip
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    return figure


def error_map(truth: tuple[Floats, Floats], km: Floats, thresholds: tuple[float, ...]) -> Figure:
    """Draw where the photos were taken, coloured by how far off the answers are."""
    from matplotlib.collections import PolyCollection
    from matplotlib.colors import BoundaryNorm

    figure = new_figure(10, 3.9)
    axes = figure.subplots()
    colours = shapes.palette()
    axes.set_facecolor(colours["sea"])
    land = [rings[0] for rings in shapes.land().polygons]
    axes.add_collection(
        PolyCollection(
            land, facecolors=colours["land"], edgecolors=colours["coast"], linewidths=0.3
        )
    )
    lat, lng = truth
    # The worst lie on top.
    order = np.argsort(km)
    bounds = [0.0, *thresholds, 20100.0]
    dots = axes.scatter(
        lng[order], lat[order], c=km[order], s=14, cmap="viridis_r", edgecolors="white",
        linewidths=0.3, norm=BoundaryNorm(bounds, 256), zorder=3,
    )  # fmt: skip
    axes.set(xlim=(-180, 180), ylim=(-60, 85), xticks=[], yticks=[], aspect="equal")
    figure.colorbar(dots, ax=axes, label="error, km", ticks=bounds[:-1])
    return figure


def thumbnail(path: Path) -> bytes | None:
    """Return a photo as a small JPEG, None where it cannot be read."""
    try:
        image = shrunk(open_image(path.read_bytes()), _THUMBNAIL)
    except (ImageError, OSError):
        return None
    small = BytesIO()
    image.save(small, "JPEG", quality=80)
    return small.getvalue()


def _wilson(share: Floats, photos: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """Return the 95 % interval of shares of photos.

    Wilson, "Probable inference, the law of succession, and statistical inference" (JASA 1927).
    """
    z = 1.96
    middle = (share + z**2 / (2 * photos)) / (1 + z**2 / photos)
    spread = np.sqrt(share * (1 - share) / photos + z**2 / (4 * photos**2))
    half = z / (1 + z**2 / photos) * spread
    return middle - half, middle + half
