"""Text inside pictures: broken into lines by how wide its letters are; never read as a formula.

Knows fonts and widths; nothing of answers or maps. matplotlib must be there.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

from locationnet.viz import shapes

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from matplotlib.font_manager import FontProperties

_ELLIPSIS = "…"
# Letters are drawn on whole pixels: where these are few, each is wider by as many points.
_HINTED = 0.6


def wrapped(
    text: str, points: float, *, size: float, weight: str = "normal", lines: int = 1
) -> str:
    """Break text into lines that are at most so wide; what does not fit ends in an ellipsis.

    Parameters
    ----------
    text
        Any text.
    points
        The width, in points of 1/72 inch.
    size, weight
        Of the letters.
    lines
        How many there may be.
    """
    found: list[str] = []
    words = text.split()
    while words:
        fits = _fitting(words, points, size, weight)
        if len(found) + 1 == lines and fits < len(words):
            return "\n".join([*found, _cut(" ".join(words), points, size, weight)])
        found.append(_cut(" ".join(words[:fits]), points, size, weight))
        words = words[fits:]
    return "\n".join(found)


def write(
    figure: Figure,
    x: float,
    y: float,
    text: str,
    *,
    size: float = 9.5,
    weight: str = "normal",
    colour: str = "ink",
    align: str = "left",
) -> None:
    """Write text on a figure, below a point given in inches from its top left.

    Parameters
    ----------
    figure
        A figure of matplotlib.
    x, y
        The point.
    text
        Lines of text.
    size, weight
        Of the letters.
    colour
        A name of the palette.
    align
        Which end of the lines is at the point.
    """
    wide, tall = figure.get_size_inches()
    figure.text(
        x / wide,
        1 - y / tall,
        text,
        ha=align,
        va="top",
        fontsize=size,
        fontweight=weight,
        color=shapes.palette()[colour],
        parse_math=False,
    )


def width(text: str, size: float, weight: str = "normal") -> float:
    """Return how wide a line of text is at most, points."""
    from matplotlib.textpath import text_to_path

    with quiet_letters():
        found = text_to_path.get_text_width_height_descent(text, _font(size, weight), ismath=False)
    return (1 + _HINTED / size) * float(found[0])


@contextmanager
def quiet_letters() -> Iterator[None]:
    """Say nothing of letters that no font here has: they are boxes, and the rest is right."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from")
        yield


def _fitting(words: list[str], points: float, size: float, weight: str) -> int:
    """Return how many words fit into a line; at least one."""
    count = 1
    while count < len(words) and width(" ".join(words[: count + 1]), size, weight) <= points:
        count += 1
    return count


def _cut(line: str, points: float, size: float, weight: str) -> str:
    if width(line, size, weight) <= points:
        return line
    while line and width(line + _ELLIPSIS, size, weight) > points:
        line = line[:-1].rstrip()
    return line + _ELLIPSIS


@cache
def _font(size: float, weight: Any) -> FontProperties:
    from matplotlib.font_manager import FontProperties

    return FontProperties(size=size, weight=weight)
