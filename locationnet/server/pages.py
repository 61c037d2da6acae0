"""The map page at ``/``, the files that it loads, and the cells of the grid as GeoJSON.

Knows nothing of photos or predictions: the page asks ``POST /locate`` as any other client does.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache, partial
from html import escape
from pathlib import Path
from threading import Lock
from typing import Annotated

from cachetools import LRUCache
from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from locationnet.errors import InputError
from locationnet.geo import geojson
from locationnet.geo.box import Box
from locationnet.geo.grid import Grid
from locationnet.geo.view import visible_cells
from locationnet.image_formats import MEDIA_TYPES
from locationnet.images import can_read_heic
from locationnet.net.urls import tile_origin
from locationnet.server.problems import Problem
from locationnet.server.settings import MAX_BATCH_PHOTOS, Settings
from locationnet.viz import assets

_STATIC = Path(__file__).parent / "static"
_SHARED_SCRIPTS = ("arcs.js", "shades.js", "map.js", "answer.js", "prior.js")
_OWN_SCRIPTS = (
    "photos.js", "service.js", "guess.js", "batches.js", "results.js", "filmstrip.js", "album.js",
    "region.js", "app.js",
)  # fmt: skip
_KINDS = {
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "json": "application/json",
    "svg": "image/svg+xml",
}
GEOJSON = "application/geo+json"
_MAX_ZOOM = 30
# Drawings of the grid that are kept.
_VIEWS = 32
# The name of a file changes with its content; the page itself and the cells are asked for again.
_FOR_EVER = "public, max-age=31536000, immutable"
_ASK_AGAIN = "no-cache"
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}


@dataclass(frozen=True)
class _Document:
    """Something that is sent again and again."""

    body: bytes
    media_type: str

    @cached_property
    def digest(self) -> str:
        return hashlib.sha256(self.body).hexdigest()[:16]

    @cached_property
    def zipped(self) -> bytes:
        return gzip.compress(self.body, 9, mtime=0)

    def response(self, request: Request, caching: str, headers: dict[str, str]) -> Response:
        """Return the document, packed if the client reads that, or 304 if the client has it."""
        packed = "gzip" in request.headers.get("accept-encoding", "")
        tag = f'"{self.digest}{"-gzip" if packed else ""}"'
        headers = headers | {"ETag": tag, "Cache-Control": caching, "Vary": "Accept-Encoding"}
        if tag in re.split(r"\s*,\s*(?:W/)?|^W/", request.headers.get("if-none-match", "")):
            return Response(status_code=304, headers=headers)
        if packed:
            headers["Content-Encoding"] = "gzip"
        return Response(
            self.zipped if packed else self.body, headers=headers, media_type=self.media_type
        )


class _Cells:
    """The cells of the loaded grid, drawn when someone first asks."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._drawn: LRUCache[tuple[str, int | None, Box | None], _Document] = LRUCache(_VIEWS)

    def get(self, grid: Grid, zoom: int | None, box: Box | None) -> _Document:
        # One at a time: two that ask at once would both draw them.
        with self._lock:
            key = grid.sha256, zoom, box
            if key not in self._drawn:
                self._drawn[key] = _draw(grid, zoom, box)
            return self._drawn[key]


def _draw(grid: Grid, zoom: int | None, box: Box | None) -> _Document:
    ids = grid.ids if zoom is None else visible_cells(grid, zoom, box)
    cells = geojson.feature_collection(ids, decimals=geojson.enough_decimals(ids))
    text = json.dumps(cells, separators=(",", ":"))
    document = _Document(text.encode("ascii"), GEOJSON)
    _ = document.zipped
    return document


def router(settings: Settings, grid: Callable[[], Grid]) -> APIRouter:
    """Return the routes ``/``, ``/static/…`` and ``/cells.geojson``.

    Parameters
    ----------
    settings
        How large a photo may be, and where tiles come from.
    grid
        Tells the cells of the model that is loaded.
    """
    files = _files()
    page_headers = _HEADERS | {
        "Content-Security-Policy": _policy(settings.tile_url),
        "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
        "Cross-Origin-Opener-Policy": "same-origin",
    }
    cells = _Cells()
    routes = APIRouter(include_in_schema=False)
    page = lru_cache(maxsize=1)(partial(_page, settings))

    @routes.api_route("/", methods=["GET", "HEAD"])
    async def map_page(request: Request) -> Response:
        return page(len(grid())).response(request, _ASK_AGAIN, page_headers)

    @routes.api_route("/static/{name}", methods=["GET", "HEAD"])
    async def static(request: Request, name: str) -> Response:
        if name not in files:
            raise HTTPException(404)
        return files[name].response(request, _FOR_EVER, _HEADERS)

    # No coroutine: drawing many cells takes a while, and runs in a thread.
    @routes.api_route("/cells.geojson", methods=["GET", "HEAD"])
    def grid_cells(
        request: Request,
        zoom: Annotated[int | None, Query(ge=0, le=_MAX_ZOOM)] = None,
        bbox: str | None = None,
    ) -> Response:
        if bbox is not None and zoom is None:
            raise Problem(422, "bbox: give the zoom with it")
        try:
            box = None if bbox is None else Box.parse(bbox)
        except InputError as error:
            raise Problem(422, f"bbox: {error}") from error
        return cells.get(grid(), zoom, box).response(request, _ASK_AGAIN, _HEADERS)

    return routes


@cache
def _sources() -> dict[str, _Document]:
    """Return the files that the page loads, by the name that the page gives them."""
    texts = {
        "leaflet.css": assets.leaflet_style(),
        "map.css": assets.style(),
        "app.css": _own("app.css"),
        "leaflet.js": assets.leaflet_script(),
        **{name: assets.script(name) for name in _SHARED_SCRIPTS},
        **{name: _own(name) for name in _OWN_SCRIPTS},
        "land.json": assets.land(),
        "icon.svg": _own("icon.svg"),
    }
    return {
        name: _Document(text.encode("utf-8"), _KINDS[name.rpartition(".")[2]])
        for name, text in texts.items()
    }


def _address(name: str) -> str:
    stem, _, extension = name.rpartition(".")
    return f"{stem}.{_sources()[name].digest}.{extension}"


@cache
def _files() -> dict[str, _Document]:
    return {_address(name): document for name, document in _sources().items()}


def _page(settings: Settings, cells: int) -> _Document:
    # What a phone may send as it is: one that finds no HEIC here turns its photos into JPEG.
    accept = [kind for kind in MEDIA_TYPES.values() if kind != "image/heic" or can_read_heic()]
    values = {
        "accept": ",".join(accept),
        "max_bytes": str(settings.max_upload_bytes),
        "batch": str(MAX_BATCH_PHOTOS),
        "cells": str(cells),
        "tile_url": settings.tile_url,
        "tile_attribution": settings.tile_attribution,
    }
    values |= {name: f"static/{_address(name)}" for name in _sources()}
    text = re.sub(r"\{\{([\w.]+)\}\}", lambda match: escape(values[match[1]]), _own("page.html"))
    return _Document(text.encode("utf-8"), "text/html; charset=utf-8")


def _policy(tile_url: str) -> str:
    images = "'self' blob: data:" + (f" {tile_origin(tile_url)}" if tile_url else "")
    return "; ".join(
        [
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            f"img-src {images}",
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        ]
    )


def _own(name: str) -> str:
    return (_STATIC / name).read_text(encoding="utf-8")
