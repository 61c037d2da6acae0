"""Draw an answer as a static picture: a world map with cells, places, circles and the true place.

Knows nothing of notebooks or browsers, and leaves pyplot's global state alone.
"""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from locationnet.errors import MissingExtraError
from locationnet.files import write_bytes
from locationnet.images import Photo, shrunk
from locationnet.model.photo_source import open_photo
from locationnet.model.prediction import Prediction
from locationnet.model.summary import WHAT_HELPS, hint_text, percent_text, times_text
from locationnet.viz import shapes, worldmap
from locationnet.viz.lettering import quiet_letters, wrapped, write
from locationnet.viz.shapes import Colouring, Entry, Frame, LatLng
from locationnet.viz.worldmap import Extent

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WIDTH = 11.0  # inches
_PHOTO_PIXELS = 400
_COLOURS = 128
_MAP_DPI = 90
_POINTS = 72
_TITLE_SIZE, _TEXT_SIZE, _SMALL_SIZE = 12.0, 9.5, 8.0
_LINE = 0.2  # inches, of the list
_MARGIN = 0.1


def draw(
    prediction: Prediction,
    *,
    truth: LatLng | None = None,
    photo: Photo | None = None,
    extent: Extent = "world",
    by: Colouring | None = None,
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
        The photo itself, shown beside the list of cities: whatever `Locator.locate` takes.
    extent
        ``"world"``, or ``"places"`` for the part of the world that holds the answer.
    by
        What the cells' colours stand for: ``"lift"``, how many times more likely the photo made
        each, on one scale for all pictures; or ``"probability"``, as for answers without a photo.
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
        `extent` or `by` is neither of the two, both `photo` and `axes` are given, or `truth` is not
        a latitude and longitude.
    """
    figure_class = new_figure()
    if extent not in ("world", "places"):
        raise ValueError(f"extent is 'world' or 'places', not {extent!r}")
    if by not in (None, "lift", "probability"):
        raise ValueError(f"by is 'lift' or 'probability', not {by!r}")
    part = worldmap.frame(prediction, truth, extent)
    if axes is not None:
        if photo is not None:
            raise ValueError("there is no room for a photo in given axes")
        worldmap.draw_map(
            axes, prediction, truth, part, shapes.telling(prediction, shapes.LISTED), by=by
        )
        figure = worldmap.figure_of(axes)
        points = axes.get_position().width * figure.get_size_inches()[0] * _POINTS
        title = wrapped(shapes.headline(prediction), points, size=10, lines=3)
        axes.set_title(
            title, loc="left", fontsize=10, color=shapes.palette()["ink"], parse_math=False
        )
        return figure
    # As high as the map's shape asks for, so that nothing around it is blank.
    title = wrapped(
        shapes.headline(prediction),
        _POINTS * (_WIDTH - 0.3),
        size=_TITLE_SIZE,
        weight="bold",
        lines=3,
    )
    above = 0.15 + 0.24 * (1 + title.count("\n")) + 0.22 * bool(prediction.explanation)
    tall = _tall(part)
    below = 0.35 + _LINE * (shapes.LISTED + 1.5)
    figure = figure_class((_WIDTH, above + tall + 0.35 + below), facecolor="white")
    height = float(figure.get_size_inches()[1])
    map_axes = figure.add_axes(fractions(figure, (0.05, above, _WIDTH - 0.1, tall)))
    worldmap.draw_map(
        map_axes, prediction, truth, part, shapes.telling(prediction, shapes.LISTED), by=by
    )
    write(figure, _MARGIN, 0.1, title, size=_TITLE_SIZE, weight="bold")
    if prediction.explanation:
        line = wrapped(prediction.explanation, _POINTS * (_WIDTH - 0.3), size=_TEXT_SIZE)
        write(figure, _MARGIN, above - 0.23, line, size=_TEXT_SIZE, colour="quiet")
    left = _MARGIN
    if photo is not None:
        left += _draw_photo(figure, photo, below) + 0.25
    _draw_list(figure, prediction, left, height - below)
    return figure


def _tall(part: Frame) -> float:
    """Return how high a map of a part of the world is, inches."""
    wide = _WIDTH - 0.1
    return wide * worldmap.aspect(part) * (part.north - part.south) / (part.east - part.west)


def write_png(
    path: str | os.PathLike[str],
    prediction: Prediction,
    *,
    truth: LatLng | None = None,
    photo: Photo | None = None,
    extent: Extent = "world",
    by: Colouring | None = None,
    dpi: int = 120,
) -> None:
    """Write the picture as a PNG file; see `draw`.

    Parameters
    ----------
    path
        Where to write, whatever its ending.
    prediction, truth, photo, extent, by
        As for `draw`.
    dpi
        Pixels to the inch: the picture is 11 inches wide.

    Raises
    ------
    LocationNetError
        The file cannot be written, matplotlib is not installed or the photo cannot be read.
    ValueError
        `extent` or `by` is neither of the two, or `truth` is not a latitude and longitude.
    """
    figure = draw(prediction, truth=truth, photo=photo, extent=extent, by=by)
    write_bytes(Path(path), png(figure, dpi))


def new_figure() -> type[Figure]:
    """Return matplotlib's class of figures, which no window or notebook knows of.

    Raises
    ------
    MissingExtraError
        matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("drawing maps", "notebook") from error
    return Figure


def png(figure: Figure, dpi: float) -> bytes:
    """Return a figure as a PNG file, the same every time."""
    content = io.BytesIO()
    with quiet_letters():
        figure.savefig(content, format="png", dpi=dpi, metadata={"Software": None})
    return content.getvalue()


def map_png(
    prediction: Prediction, *, truth: LatLng | None = None, by: Colouring | None = None
) -> bytes:
    """Return the map with its legend alone as a small PNG file; see `draw`."""
    part = worldmap.frame(prediction, truth, "world")
    tall = _tall(part)
    figure = new_figure()((_WIDTH, tall + 0.4), facecolor="white")
    axes = figure.add_axes(fractions(figure, (0.05, 0.05, _WIDTH - 0.1, tall)))
    worldmap.draw_map(
        axes, prediction, truth, part, shapes.telling(prediction, shapes.LISTED), by=by
    )
    return small_png(figure, _MAP_DPI)


def small_png(figure: Figure, dpi: float) -> bytes:
    """Return a figure as a PNG file with a palette, the same every time; see `paletted`."""
    with Image.open(io.BytesIO(png(figure, dpi))) as image:
        return paletted(image)


def paletted(image: Image.Image) -> bytes:
    """Return a picture as a PNG file with a palette, a third as large."""
    content = io.BytesIO()
    # Every colour counts, not only those of many pixels: a legend's are few.
    few = image.convert("RGB").quantize(
        _COLOURS, Image.Quantize.MAXCOVERAGE, kmeans=3, dither=Image.Dither.NONE
    )
    few.save(content, "PNG", optimize=True)
    return content.getvalue()


def _draw_list(figure: Figure, prediction: Prediction, left: float, top: float) -> None:
    """Write what the answer names, and what it says of its hints; from the top left, inches."""
    if not shapes.is_marked(prediction):
        helps = wrapped(WHAT_HELPS, _POINTS * (_WIDTH - left - 0.2), size=_TEXT_SIZE, lines=3)
        write(figure, left, top, helps)
        return
    share, lift, right = left + 4.35, left + 5.05, left + 5.3
    entries = shapes.telling(prediction, shapes.LISTED)
    is_raised = entries == shapes.raised(prediction, shapes.LISTED)
    heads = (
        (left + 0.3, "raised most by the photo" if is_raised else "most probable", "left"),
        (share, "share", "right"),
        (lift, "lift", "right"),
        (right, "most probable" if is_raised else "raised most by the photo", "left"),
    )
    for x, head, align in heads:
        write(figure, x, top, head, size=_SMALL_SIZE, colour="quiet", align=align)
    for row, entry in enumerate(entries):
        y = top + (row + 1) * _LINE
        name = wrapped(name_of(entry), _POINTS * 3.4, size=_TEXT_SIZE)
        write(figure, left + 0.15, y, str(entry.rank), align="right", weight="bold")
        write(figure, left + 0.3, y, name)
        write(figure, share, y, percent_text(entry.probability), align="right")
        write(figure, lift, y, times_text(entry.lift, before=True), align="right")
    others = (shapes.listed if is_raised else shapes.raised)(prediction, shapes.LISTED)
    for row, entry in enumerate(others):
        y = top + (row + 1) * _LINE
        if is_raised:
            number = percent_text(entry.probability)
        else:
            number = times_text(entry.lift, before=True)
        write(figure, _WIDTH - 0.15, y, number, align="right")
        room = _POINTS * (_WIDTH - 0.75 - right)
        write(figure, right, y, wrapped(entry.name, room, size=_TEXT_SIZE))
    if prediction.hint is not None:
        note = hint_text(prediction.hint, prediction.hint_rate)
        note = wrapped(note, _POINTS * (_WIDTH - left - 0.2), size=_SMALL_SIZE, lines=2)
        y = top + (len(entries) + 1.2) * _LINE
        write(figure, left, y, note, size=_SMALL_SIZE, colour="quiet")


def name_of(entry: Entry) -> str:
    """Return an entry's name, with the number of its cells where there are several."""
    return f"{entry.name}, {entry.cells} cells" if entry.cells > 1 else entry.name


def _draw_photo(figure: Figure, photo: Photo, room: float) -> float:
    """Draw the photo at the lower left, as high as there is room; return its width, inches."""
    image = shrunk(open_photo(photo), _PHOTO_PIXELS)
    height = float(figure.get_size_inches()[1])
    tall = room - 2 * _MARGIN
    wide = min(0.3 * _WIDTH, tall * image.width / image.height)
    show_photo(figure, image, (_MARGIN, height - room + _MARGIN, wide, tall))
    return wide


def show_photo(figure: Figure, image: Image.Image, box: tuple[float, float, float, float]) -> None:
    """Draw a photo whole in a box: left, top, width and height in inches from the top left."""
    axes = figure.add_axes(fractions(figure, box))
    axes.imshow(image)
    axes.set_anchor("NW")
    axes.set_axis_off()


def fractions(
    figure: Figure, box: tuple[float, float, float, float]
) -> tuple[float, float, float, float]:
    """Return a box, inches from the top left, as matplotlib places axes."""
    left, top, wide, tall = box
    width, height = map(float, figure.get_size_inches())
    return left / width, 1 - (top + tall) / height, wide / width, tall / height
