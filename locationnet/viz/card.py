"""An answer as a card to hand on: photo, one honest sentence, map, evidence, in one picture.

Knows nothing of files or windows. matplotlib must be there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from locationnet.images import Photo, shrunk
from locationnet.model.photo_source import open_photo
from locationnet.model.prediction import Prediction
from locationnet.model.summary import WHAT_HELPS, hint_text, percent_text, times_text
from locationnet.viz import shapes, worldmap
from locationnet.viz.lettering import wrapped, write
from locationnet.viz.picture import fractions, name_of, new_figure, png, show_photo

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from PIL import Image

# Inches, of which a hundred pixels are one: what social media show of a link.
_WIDTH, _HEIGHT, _DPI = 12.0, 6.3, 100
_MARGIN, _GAP = 0.35, 0.3
_POINTS = 72
_TITLE, _TEXT, _SMALL = 21.0, 13.0, 10.0
_TITLE_LINE, _ROW = 0.42, 0.34
_WIDEST_PHOTO, _PHOTO_PIXELS = 5.4, 700
_LISTED = 3
_FOOT = 0.75


def card(prediction: Prediction, photo: Photo | None = None) -> bytes:
    """Return the card as a PNG file of 1200 x 630 pixels.

    Parameters
    ----------
    prediction
        The answer.
    photo
        Whatever `Locator.locate` takes; without one, the map takes its room.

    Raises
    ------
    MissingExtraError
        matplotlib is not installed.
    ImageError, FetchError, OSError
        The photo cannot be read.
    """
    image = None if photo is None else shrunk(open_photo(photo), _PHOTO_PIXELS)
    return png(draw_card(prediction, image), _DPI)


def draw_card(prediction: Prediction, image: Image.Image | None) -> Figure:
    """Draw the card; the photo upright and RGB."""
    figure = new_figure()((_WIDTH, _HEIGHT), facecolor="white")
    title = wrapped(
        shapes.headline(prediction),
        _POINTS * (_WIDTH - 2 * _MARGIN),
        size=_TITLE,
        weight="bold",
        lines=2,
    )
    write(figure, _MARGIN, 0.28, title, size=_TITLE, weight="bold")
    top = 0.42 + _TITLE_LINE * (1 + title.count("\n"))
    left = _MARGIN
    if image is not None:
        tall = _HEIGHT - top - _FOOT
        wide = min(_WIDEST_PHOTO, tall * image.width / image.height)
        show_photo(figure, image, (left, top, wide, tall))
        left += wide + _GAP
    _draw_answer(figure, prediction, left, top)
    foot = "LocationNet" + ", a demo model" * prediction.demo
    foot += "" if prediction.calibrated else ", probabilities not calibrated"
    write(figure, _WIDTH - _MARGIN, _HEIGHT - 0.3, foot, size=_SMALL, colour="quiet", align="right")
    note = wrapped(_note(prediction), _POINTS * 8.2, size=_SMALL, lines=2)
    write(figure, _MARGIN, _HEIGHT - 0.5, note, size=_SMALL, colour="quiet")
    return figure


def _draw_answer(figure: Figure, prediction: Prediction, left: float, top: float) -> None:
    """Draw the map, and below it what was seen and which cities come first."""
    wide = _WIDTH - _MARGIN - left
    entries = shapes.telling(prediction, _LISTED)
    seen = wrapped(prediction.explanation, _POINTS * wide, size=_TEXT, lines=2)
    words = 0.12 + _ROW * (len(entries) + bool(seen) * (1 + seen.count("\n")))
    part = worldmap.frame(prediction, None, "world")
    tall = min(
        _HEIGHT - top - _FOOT - words,
        wide * worldmap.aspect(part) * (part.north - part.south) / (part.east - part.west),
    )
    axes = figure.add_axes(fractions(figure, (left, top, wide, tall)))
    axes.set_anchor("NW")
    worldmap.draw_map(axes, prediction, None, part, entries, legend=False)
    axes.set_anchor("N")
    y = top + tall + 0.12
    if seen:
        write(figure, left, y, seen, size=_TEXT)
        y += _ROW * (1 + seen.count("\n"))
    if prediction.abstained:
        helps = wrapped(WHAT_HELPS, _POINTS * wide, size=_TEXT, lines=4)
        write(figure, left, y, helps, size=_TEXT, colour="quiet")
    for entry in entries:
        name = wrapped(f"{entry.rank}. {name_of(entry)}", _POINTS * (wide - 1.9), size=_TEXT)
        write(figure, left, y, name, size=_TEXT)
        share = percent_text(entry.probability)
        write(figure, left + wide - 0.95, y, share, size=_TEXT, align="right")
        lift = times_text(entry.lift, before=True)
        write(figure, left + wide, y, lift, size=_TEXT, weight="bold", align="right")
        y += _ROW


def _note(prediction: Prediction) -> str:
    """Return what the numbers mean, or how often such answers are right."""
    if prediction.abstained:
        return ""
    if prediction.hint is not None and prediction.hint_rate is not None:
        return hint_text(prediction.hint, prediction.hint_rate)
    return "Share of the probability, and how many times more likely than without the photo."
