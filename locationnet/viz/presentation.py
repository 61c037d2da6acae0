"""What an answer shows of itself: its card, files of it, its map on axes, itself in a notebook.

Knows which forms there are; pictures, pages and words are made elsewhere.
"""

from __future__ import annotations

import base64
import html as markup
import io
import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from locationnet.errors import FileEndingError, LocationNetError, MissingExtraError
from locationnet.files import write_bytes, write_text
from locationnet.model import kml
from locationnet.model.features import collection
from locationnet.model.photo_source import is_address
from locationnet.model.prediction import Prediction
from locationnet.model.summary import WHAT_HELPS, percent_text, times_text
from locationnet.names import printable
from locationnet.viz import picture, shapes, worldmap
from locationnet.viz.card import card
from locationnet.viz.html import MapItem, thumbnail, write_map

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_ENDINGS = ".png, .html, .geojson or .kml"
_UNNAMED = "photo"
# Of what a notebook keeps with each answer, pixels.
_PHOTO_PIXELS, _MAP_WIDTH = 280, 560
# Of a page, longer side.
_PAGE_PIXELS = 640
_MAP_INCHES = (5.6, 2.16)


def show(prediction: Prediction) -> None:
    """Open the answer's card, below the cell of a notebook or in the system's viewer.

    Raises
    ------
    LocationNetError
        There is no viewer or no screen, or the card cannot be drawn.
    """
    content = card(prediction, prediction.photo)
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if hasattr(shell, "kernel"):
        from IPython.display import Image, display

        display(Image(content))  # type: ignore[no-untyped-call]
        return
    from PIL import Image as Pictures
    from PIL import ImageShow

    on_x = sys.platform not in ("darwin", "win32")
    screen = not on_x or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    if not screen or not ImageShow.show(Pictures.open(io.BytesIO(content)), "LocationNet"):
        raise LocationNetError(
            "there is no screen or no viewer to show a picture with:"
            ' prediction.save("card.png") writes it'
        )


def save(prediction: Prediction, path: str | os.PathLike[str]) -> None:
    """Write the answer in the form that the file's ending names; see `Prediction.save`."""
    path = Path(path)
    name = prediction.source or _UNNAMED
    match path.suffix.lower():
        case ".png":
            write_bytes(path, card(prediction, prediction.photo))
        case ".html":
            photo = prediction.photo
            small = None if photo is None else thumbnail(photo, _PAGE_PIXELS)
            item = MapItem(printable(name), prediction, thumbnail=small)
            write_map(path, [item], prior=_before(prediction) if prediction.demo else None)
        case ".geojson":
            write_text(path, json.dumps(collection([(name, prediction)])) + "\n")
        case ".kml":
            write_text(path, kml.document([(name, prediction)]))
        case _:
            raise FileEndingError(f"{path}: an answer is written to a file that ends in {_ENDINGS}")


def plot(prediction: Prediction, axes: Axes | None) -> Axes:
    """Draw the answer's map on axes, or on those of a new figure, and return them."""
    if axes is None:
        try:
            from matplotlib import pyplot
        except ImportError as error:
            raise MissingExtraError("drawing maps", "notebook") from error
        axes = pyplot.subplots(figsize=(11, 5.2), layout="constrained")[1]
    picture.draw(prediction, axes=axes)
    return axes


def html(prediction: Prediction) -> str:
    """Return the answer as HTML that any notebook keeps and shows: photo, words, map.

    It runs no script and asks no server for anything. A photo that cannot be read any more is left
    out, and so is one behind a URL, which would have to be fetched again; without matplotlib, the
    map is.
    """
    told = [f"<p><b>{markup.escape(shapes.headline(prediction))}</b></p>"]
    if prediction.explanation:
        told.append(f"<p>{markup.escape(prediction.explanation)}</p>")
    if shapes.is_marked(prediction):
        told.append(_table(prediction))
    else:
        told.append(f"<p>{markup.escape(WHAT_HELPS)}</p>")
    photo, drawn = _photo(prediction), _map(prediction)
    beside = f'<td style="vertical-align:top;text-align:left">{"".join(told)}</td>'
    if photo:
        beside = f'<td style="vertical-align:top">{photo}</td>{beside}'
    return f"<table><tr>{beside}</tr></table>{drawn}"


def _table(prediction: Prediction) -> str:
    rows = [
        f'<tr><td>{entry.rank}</td><td style="text-align:left">'
        f"{markup.escape(picture.name_of(entry))}</td>"
        f"<td>{percent_text(entry.probability)}</td>"
        f"<td>{times_text(entry.lift, before=True)}</td></tr>"
        for entry in shapes.telling(prediction, shapes.LISTED)
    ]
    head = "<tr><th></th><th></th><th>share</th><th>lift</th></tr>"
    return f"<table>{head}{''.join(rows)}</table>"


def _photo(prediction: Prediction) -> str:
    photo = prediction.photo
    if photo is None or is_address(photo):
        return ""
    small = thumbnail(photo, _PHOTO_PIXELS)
    return "" if small is None else _embedded(small, "jpeg", "The photo")


def _map(prediction: Prediction) -> str:
    try:
        figure = picture.new_figure()(_MAP_INCHES)
    except MissingExtraError as error:
        return f"<p>{markup.escape(str(error))}</p>"
    axes = figure.add_axes((0, 0, 1, 1))
    part = worldmap.frame(prediction, None, "world")
    worldmap.draw_map(
        axes, prediction, None, part, shapes.telling(prediction, shapes.LISTED), legend=False
    )
    # Twice as many pixels, for screens that have them; a palette keeps the file small.
    content = picture.small_png(figure, 2 * _MAP_WIDTH / _MAP_INCHES[0])
    return _embedded(content, "png", "A map of the answer", _MAP_WIDTH)


def _embedded(content: bytes, kind: str, text: str, width: int | None = None) -> str:
    data = base64.b64encode(content).decode("ascii")
    wide = "" if width is None else f' width="{width}"'
    return f'<img src="data:image/{kind};base64,{data}" alt="{text}"{wide}>'


def _before(prediction: Prediction) -> Prediction:
    """Return the answer without the photo, over the same cells and in the same region."""
    return replace(
        prediction, probabilities=prediction.prior, evidence=(), photo=None, calibrated=True
    )
