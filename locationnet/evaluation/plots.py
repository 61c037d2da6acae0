"""Results as pictures: errors, honesty, abstention, and where on Earth a model is wrong.

Knows measures and tables of answers; needs matplotlib. Each function returns a figure of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
    """Draw how often the answer is right against its confidence; a dot's area is its photos."""
    figure = new_figure(5, 4.8)
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="#bbbbbb", linewidth=1, label="honest")
    seen = found.photos > 0
    area = 20 + 300 * found.photos[seen] / found.photos.max()
    axes.scatter(
        found.confidence[seen], found.accuracy[seen], s=area, color=_COLOURS[0], alpha=0.8,
        label="photos, by confidence", clip_on=False,
    )  # fmt: skip
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="probability of the cell named first",
             ylabel="share that is right", aspect="equal")  # fmt: skip
    axes.legend(loc="upper left")
    axes.grid(alpha=0.3)
    return figure


def risk_curve(found: RiskCoverage) -> Figure:
    """Draw the mean loss of GeoScore of the photos that a model is surest of, by their share."""
    figure = new_figure(5.6, 4.2)
    axes = figure.subplots()
    axes.plot(found.coverage, found.risk, color=_COLOURS[0])
    axes.axhline(found.risk[-1], color="#bbbbbb", linewidth=1)
    axes.annotate("all photos", (0.01, found.risk[-1]), va="bottom", fontsize="small")
    axes.set(xlim=(0, 1), xlabel="share of photos answered, most information first",
             ylabel="GeoScore short of 5000")  # fmt: skip
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


def photo_sheet(rows: list[dict[str, Any]], km: list[float]) -> Figure:
    """Draw photos beside each other with their errors.

    Parameters
    ----------
    rows
        Of a table of answers, at most twelve.
    km
        The error of each.
    """
    across = 4
    down = -(-len(rows) // across)
    figure = new_figure(10, 2.6 * down)
    for axes in figure.subplots(down, across, squeeze=False).ravel():
        axes.axis("off")
    for axes, row, error in zip(figure.axes, rows, km, strict=False):
        confidence = row.get("mode_probability")
        title = f"{error:,.0f} km" + (
            "" if confidence is None else f", confidence {confidence:.0%}"
        )
        axes.set_title(title, fontsize="small")
        try:
            image = shrunk(open_image(Path(row["path"]).read_bytes()), _THUMBNAIL)
        except (ImageError, OSError):
            axes.text(0.5, 0.5, "cannot be read", ha="center", va="center")
            continue
        axes.imshow(np.asarray(image))
    return figure
