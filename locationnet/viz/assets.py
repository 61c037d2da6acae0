"""Scripts, styles and land that the map pages are made of: ours, and Leaflet's from its package.

Knows nothing of predictions, or of whether a page carries the assets inside or serves them.
"""

from __future__ import annotations

import base64
import re
from functools import cache
from pathlib import Path

_STATIC = Path(__file__).parent / "static"
_IMAGE = re.compile(r"url\((images/[\w.-]+\.png)\)")
_SOURCE_MAP = re.compile(r"^//# sourceMappingURL=.*$", re.MULTILINE)


@cache
def script(name: str) -> str:
    """Return one of our scripts by its name, such as ``map.js``."""
    return _own(name)


@cache
def style() -> str:
    """Return our style sheet."""
    return _own("map.css")


@cache
def template() -> str:
    """Return the self-contained page, with ``{{name}}`` where its parts go."""
    return _own("page.html")


@cache
def land() -> str:
    """Return the land, borders and country names as JSON (see ``scripts/build_land.py``)."""
    return _own("land.json").strip()


@cache
def leaflet_script() -> str:
    """Return Leaflet, without the pointer to its source map (a browser would ask for it)."""
    text = (_leaflet() / "leaflet.js").read_text(encoding="utf-8")
    return _SOURCE_MAP.sub("", text).strip()


@cache
def leaflet_style() -> str:
    """Return Leaflet's style sheet with its images inside as data URIs."""
    folder = _leaflet()

    def inlined(match: re.Match[str]) -> str:
        data = base64.b64encode((folder / match[1]).read_bytes()).decode("ascii")
        return f"url(data:image/png;base64,{data})"

    return _IMAGE.sub(inlined, (folder / "leaflet.css").read_text(encoding="utf-8"))


def _own(name: str) -> str:
    return (_STATIC / name).read_text(encoding="utf-8")


def _leaflet() -> Path:
    from xstatic.pkg import leaflet

    return Path(leaflet.BASE_DIR)
