"""Draw an answer as a static picture: a world map with cells, places, circles and the true place.

Knows nothing of notebooks or browsers, and leaves pyplot's global state alone.
"""

from __future__ import annotations

import io
import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from locationnet.errors import LocationNetError, MissingExtraError
from locationnet.images import Photo, as_image, shrunk
from locationnet.model.prediction import Prediction
from locationnet.viz import shapes, worldmap
from locationnet.viz.shapes import LatLng
from locationnet.viz.worldmap import Extent

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


_WIDTH = 11.0  # inches
_LISTED = 6
_PHOTO_PIXELS = 400


def draw(
    prediction: Prediction,
    *,
    truth: LatLng | None = None,
    photo: Photo | None = None,
    extent: Extent = "world",
    axes: Axes | None = None,
) -> Figure:
    """Draw an answer on a map, offline.

    In a notebook ``%matplotlib inline`` shows the returned figure.

    Parameters
    ----------
    prediction
        The answer.
    truth
        Where the photo was really taken, (latitude, longitude) in degrees, where that is known.
    photo
        The photo itself, shown beside the list of places: whatever `Locator.locate` takes.
    extent
        ``"world"``, or ``"places"`` for the part of the world that holds the answer.
    axes
        Where to draw the map alone, without the list below it; a new figure unless given.

    Returns
    -------
    matplotlib.figure.Figure
        The figure, or the one that `axes` belongs to.

    Raises
    ------
    MissingExtraError
        matplotlib is not installed.
    ImageError
        The photo cannot be read.
    ValueError
        `extent` is neither of the two, both `photo` and `axes` are given, or `truth` is not a
        latitude and longitude.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("drawing maps", "notebook") from error
    if extent not in ("world", "places"):
        raise ValueError(f"extent is 'world' or 'places', not {extent!r}")
    if axes is not None:
        if photo is not None:
            raise ValueError("there is no room for a photo in given axes")
        worldmap.draw_map(axes, prediction, truth, worldmap.frame(prediction, truth, extent))
        return worldmap.figure_of(axes)
    # As high as the map's shape asks for, so that nothing around it is blank.
    part = worldmap.frame(prediction, truth, extent)
    heights = [
        _WIDTH * worldmap.aspect(part) * (part.north - part.south) / (part.east - part.west),
        1.5,
    ]
    figure = Figure((_WIDTH, sum(heights) + 0.7), layout="constrained", facecolor="white")
    map_axes, below = figure.subplots(2, 1, height_ratios=heights)
    worldmap.draw_map(map_axes, prediction, truth, part)
    _draw_list(below, prediction, left=0.0 if photo is None else 0.24)
    if photo is not None:
        _draw_photo(below, photo)
    return figure


def write_png(
    path: str | os.PathLike[str],
    prediction: Prediction,
    *,
    truth: LatLng | None = None,
    photo: Photo | None = None,
    extent: Extent = "world",
    dpi: int = 120,
) -> None:
    """Write the picture as a PNG file; see `draw`.

    Parameters
    ----------
    path
        Where to write, whatever its ending.
    prediction, truth, photo, extent
        As for `draw`.
    dpi
        Pixels to the inch: the picture is 11 inches wide.

    Raises
    ------
    LocationNetError
        The file cannot be written, matplotlib is not installed or the photo cannot be read.
    ValueError
        `extent` is neither of the two, or `truth` is not a latitude and longitude.
    """
    figure = draw(prediction, truth=truth, photo=photo, extent=extent)
    content = io.BytesIO()
    with warnings.catch_warnings():
        # A name in a script that no font here has is drawn as boxes; the map is right all the same.
        warnings.filterwarnings("ignore", "Glyph .* missing from")
        figure.savefig(content, format="png", dpi=dpi, metadata={"Software": None})
    try:
        Path(path).write_bytes(content.getvalue())
    except OSError as error:
        raise LocationNetError(f"{path}: cannot be written ({error.strerror})") from error


def _draw_list(axes: Axes, prediction: Prediction, left: float) -> None:
    axes.set_axis_off()
    ink = shapes.palette()["ink"]
    for row, place in enumerate(prediction.places[:_LISTED]):
        height = 1 - row / _LISTED
        for x, text, align in (
            (left + 0.02, str(place.rank), "right"),
            (left + 0.08, shapes.percent_text(place.probability), "right"),
            (left + 0.095, shapes.title(place), "left"),
        ):
            axes.text(
                x,
                height,
                text,
                ha=align,
                va="top",
                fontsize=9,
                color=ink,
                parse_math=False,
                transform=axes.transAxes,
            )


def _draw_photo(axes: Axes, photo: Photo) -> None:
    inset = axes.inset_axes((0.0, 0.0, 0.23, 1.0))
    inset.imshow(shrunk(as_image(photo), _PHOTO_PIXELS))
    inset.set_anchor("W")
    inset.set_axis_off()
