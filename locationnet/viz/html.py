"""Write predictions as one HTML file: a map that opens in any browser, offline.

Knows nothing of the command line or of the server.
"""

from __future__ import annotations

import base64
import hashlib
import html
import io
import json
import os
import re
from collections.abc import Sequence
from typing import Any

from locationnet.errors import LocationNetError
from locationnet.files import write_text
from locationnet.images import Photo, shrunk
from locationnet.model.photo_source import open_photo
from locationnet.model.prediction import Prediction
from locationnet.viz import assets, payload
from locationnet.viz.payload import MapItem

__all__ = ["MapItem", "page_html", "thumbnail", "write_map"]

THUMBNAIL_PIXELS = 128

_SCRIPTS = ("arcs.js", "shades.js", "map.js", "answer.js", "prior.js", "library.js", "panel.js")
_TITLE = "Where the photos were probably taken"


def write_map(
    path: str | os.PathLike[str],
    items: Sequence[MapItem],
    *,
    title: str = _TITLE,
    prior: Prediction | None = None,
) -> None:
    """Write a self-contained map page; a file that is already there is replaced at once.

    Parameters
    ----------
    path
        Where to write.
    items
        The photos, in the order in which the page lists them.
    title
        Heading of the page.
    prior
        The answer without a photo. Given for a demo bundle: the page then says that it is a demo
        and shows the prior beside each answer.

    Raises
    ------
    LocationNetError
        The file cannot be written.
    """
    write_text(path, page_html(payload.page(items, prior), title=title))


def thumbnail(photo: Photo, pixels: int = THUMBNAIL_PIXELS) -> bytes | None:
    """Return a photo as a small JPEG for `MapItem`, or None if it cannot be read.

    Parameters
    ----------
    photo
        Whatever `Locator.locate` takes. Of what a file says beside the pixels nothing is kept.
    pixels
        Of its longer side.
    """
    try:
        image = shrunk(open_photo(photo), pixels)
    except (LocationNetError, OSError):
        return None
    image.thumbnail((pixels, pixels))
    content = io.BytesIO()
    image.save(content, "JPEG", quality=80, optimize=True)
    return content.getvalue()


def page_html(page: dict[str, Any], *, title: str = _TITLE) -> str:
    """Return the page for what `payload.page` returns."""
    scripts = [assets.leaflet_script(), *map(assets.script, _SCRIPTS)]
    styles = [assets.leaflet_style(), assets.style()]
    data = {
        "page-data": json.dumps(page, separators=(",", ":"), allow_nan=False),
        "land-data": assets.land(),
    }
    parts = {
        "policy": html.escape(_policy(scripts, styles)),
        "title": html.escape(title),
        "styles": "\n".join(_element("style", "", text) for text in styles),
        "data": "\n".join(
            _element(
                "script", f' type="application/json" id="{name}"', text.replace("<", "\\u003c")
            )
            for name, text in data.items()
        ),
        "scripts": "\n".join(_element("script", "", text) for text in scripts),
    }
    # One pass, so that nothing inside a part is taken for the name of another.
    return re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], assets.template())


def _policy(scripts: Sequence[str], styles: Sequence[str]) -> str:
    """Return a Content-Security-Policy that runs exactly these scripts and reaches no server."""
    return "; ".join(
        [
            "default-src 'none'",
            f"script-src {' '.join(map(_source_hash, scripts))}",
            f"style-src {' '.join(map(_source_hash, styles))}",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )


def _source_hash(text: str) -> str:
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return f"'sha256-{base64.b64encode(digest).decode('ascii')}'"


def _element(tag: str, attributes: str, text: str) -> str:
    if f"</{tag}" in text.lower():
        raise ValueError(f"an inlined {tag} must not hold its own end tag")
    return f"<{tag}{attributes}>{text}</{tag}>"
