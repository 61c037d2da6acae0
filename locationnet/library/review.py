"""The page on which a person accepts, moves and rejects proposals: loopback only, behind a token.

Knows the catalog and HTTP; nothing of how proposals are made. No request changes a photo.
"""

from __future__ import annotations

import hmac
import json
import math
import re
import secrets
import socket
from collections.abc import Callable, Container, Iterable
from datetime import UTC, datetime, timedelta
from functools import cache
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import anyio.to_thread
import uvicorn
from cachetools import LRUCache
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from locationnet.errors import InputError, LocationNetError
from locationnet.library.catalog import Catalog, Photo
from locationnet.library.places import PlacedPhoto, placed
from locationnet.names import printable
from locationnet.viz import assets
from locationnet.viz.html import thumbnail

HOST = "127.0.0.1"
_STATIC = Path(__file__).parent / "static"
# Accepting ten thousand photos at once is half a megabyte.
_MAX_BODY = 4 << 20
_THUMBNAIL = 480
_THUMBNAILS = 2000
# Photos without a time come last, on a day of their own.
_NO_DAY = "without a time"
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "; ".join(
        [
            "default-src 'none'", "script-src 'self'", "style-src 'self' 'unsafe-inline'",
            "img-src 'self' data:", "connect-src 'self'", "base-uri 'none'", "form-action 'none'",
            "frame-ancestors 'none'",
        ]
    ),
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}  # fmt: skip


class Guard:
    """Lets only those in who know the token and ask for this address by name.

    A page that another site's name leads to (DNS rebinding) sends that name as Host; one of another
    site (CSRF) does not know the token, and may not send the field that a change needs.

    Parameters
    ----------
    app
        What is behind it.
    token
        From the printed address.
    port
        That it listens on.
    """

    def __init__(self, app: ASGIApp, token: str, port: int) -> None:
        self._app = app
        self._token = token.encode()
        self._hosts = {f"{name}:{port}" for name in (HOST, "localhost")}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on or answer why not."""
        if scope["type"] != "http":
            return
        headers = Headers(scope=scope)
        host = headers.getlist("host")
        if len(host) != 1 or host[0].lower() not in self._hosts:
            answer = PlainTextResponse("this page is asked for by its own address only", 421)
        elif not self._knows(scope, headers):
            answer = PlainTextResponse("open the address that the command printed", 403)
        else:
            await self._app(scope, receive, _with_headers(send))
            return
        await answer(scope, receive, _with_headers(send))

    def _knows(self, scope: Scope, headers: Headers) -> bool:
        given = headers.get("x-token", "")
        if scope["method"] == "POST":
            origin = headers.get("origin")
            if origin is not None and origin.removeprefix("http://").lower() not in self._hosts:
                return False
        elif not given:
            given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
        return hmac.compare_digest(given.encode("utf-8", "replace"), self._token)


def _with_headers(send: Send) -> Send:
    async def sent(message: Any) -> None:
        if message["type"] == "http.response.start":
            own = [(name.lower().encode(), value.encode()) for name, value in _HEADERS.items()]
            message["headers"] = [*message["headers"], *own]
        await send(message)

    return sent


def app(catalog: Catalog, token: str, port: int) -> ASGIApp:
    """Return the application; all that touches the catalog runs in the thread that serves it."""
    thumbnails: LRUCache[int, bytes | None] = LRUCache(_THUMBNAILS)
    # The page is of the library as it was when the command began; only decisions change.
    photos, proposals = catalog.photos(), catalog.proposals()
    paths = {it.number: it.path for it in photos}
    open_ones = {it.number: it for it in photos if not it.known}
    photos.sort(key=lambda it: math.inf if it.facts.taken is None else it.facts.taken)

    async def page(_: Request) -> Response:
        files = {name: f"{name}?token={escape(token)}" for name in _files()}
        values = {**files, "token": escape(token)}
        text = re.sub(r"\{\{([\w.]+)\}\}", lambda found: values[found[1]], _own("review.html"))
        return Response(text, media_type="text/html")

    async def static(request: Request) -> Response:
        text, kind = _files()[request.url.path[1:]]
        return Response(text, media_type=kind)

    def rows(wanted: Iterable[Photo]) -> list[dict[str, Any]]:
        decisions = catalog.decisions()
        return [_row(placed(it, proposals.get(it.number), decisions)) for it in wanted]

    async def listed(_: Request) -> Response:
        return JSONResponse(rows(photos))

    async def thumb(request: Request) -> Response:
        number = request.path_params["number"]
        if number in paths and number not in thumbnails:
            thumbnails[number] = await anyio.to_thread.run_sync(_thumbnail, paths[number])
        small = thumbnails.get(number)
        if small is None:
            return PlainTextResponse("no picture", 404)
        return Response(small, media_type="image/jpeg")

    async def decide(request: Request) -> Response:
        try:
            changes = _changes(await _body(request), open_ones)
            with catalog.changes():
                for number, place in changes:
                    if place == "forget":
                        catalog.forget_decision(number)
                    else:
                        catalog.decide(number, place)
        except InputError as error:
            return PlainTextResponse(str(error), 422)
        except ClientDisconnect:
            return Response(status_code=400)
        except LocationNetError as error:  # a full disk: nothing was written
            return PlainTextResponse(str(error), 507)
        return JSONResponse(rows(open_ones[number] for number, _ in changes))

    routes = [
        Route("/", page),
        *(Route(f"/{name}", static) for name in _files()),
        Route("/photos.json", listed),
        Route("/thumb/{number:int}", thumb),
        Route("/decisions", decide, methods=["POST"]),
    ]
    return Guard(Starlette(routes=routes), token, port)


def serve(catalog: Catalog, port: int, opened: Callable[[str], object]) -> None:
    """Serve the page until interrupted.

    Parameters
    ----------
    catalog
        The library.
    port
        To listen on; 0 takes a free one.
    opened
        Called with the page's address once it can be asked.

    Raises
    ------
    LocationNetError
        The port is taken.
    """
    token = secrets.token_urlsafe(32)
    with socket.socket() as listening:
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind((HOST, port))
            listening.listen()
        except OSError as error:
            raise LocationNetError(
                f"{HOST}:{port}: cannot listen there ({error.strerror})"
            ) from error
        port = listening.getsockname()[1]
        config = uvicorn.Config(
            app(catalog, token, port), log_level="error", access_log=False, lifespan="off"
        )
        opened(f"http://{HOST}:{port}/?token={token}")
        uvicorn.Server(config).run(sockets=[listening])


def _thumbnail(path: Path) -> bytes | None:
    try:
        return thumbnail(path, _THUMBNAIL)
    except OSError:  # the file has gone
        return None


def _row(it: PlacedPhoto) -> dict[str, Any]:
    taken = it.photo.facts.taken
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=taken or 0)
    return {
        "number": it.photo.number,
        "name": printable(it.photo.path.name),
        "when": taken,
        "day": _NO_DAY if taken is None else f"{moment:%Y-%m-%d}",
        "time": "" if taken is None else f"{moment:%H:%M:%S}",
        "state": it.state,
        "lat": it.lat,
        "lng": it.lng,
        "radius": it.radius_50_km,
        "rejected": it.rejected,
        "reasons": [printable(reason) for reason in it.reasons],
    }


async def _body(request: Request) -> Any:
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > _MAX_BODY:
            raise InputError(f"more than {_MAX_BODY >> 20} MiB")
    try:
        return json.loads(body)
    except ValueError as error:
        raise InputError("expected JSON") from error


def _changes(body: Any, open_ones: Container[int]) -> list[tuple[int, Any]]:
    """Return what is to be decided of which photo, checked before any of it is written."""
    listed = body.get("changes") if isinstance(body, dict) else None
    if not isinstance(listed, list):
        raise InputError("expected changes, a list")
    changes: list[tuple[int, Any]] = []
    for one in listed:
        number = one.get("number") if isinstance(one, dict) else None
        if type(number) is not int or number not in open_ones:
            raise InputError("number: not a photo of this library without a place of its own")
        place = one.get("place")
        if place not in (None, "forget"):
            place = _place(place)
        changes.append((number, place))
    return changes


def _place(place: Any) -> tuple[float, float]:
    if isinstance(place, list) and len(place) == 2:
        lat, lng = place
        numbers = all(type(part) in (int, float) and math.isfinite(part) for part in place)
        if numbers and abs(lat) <= 90 and abs(lng) <= 180:
            return float(lat), float(lng)
    raise InputError("place: expected [latitude, longitude] in degrees, null or forget")


@cache
def _files() -> dict[str, tuple[str, str]]:
    """Return what the page loads, with its media type, by name."""
    css, script = "text/css", "text/javascript"
    return {
        "leaflet.css": (assets.leaflet_style(), css),
        "map.css": (assets.style(), css),
        "review.css": (_own("review.css"), css),
        "leaflet.js": (assets.leaflet_script(), script),
        "map.js": (assets.script("map.js"), script),
        "review.js": (_own("review.js"), script),
        "land.json": (assets.land(), "application/json"),
    }


@cache
def _own(name: str) -> str:
    return (_STATIC / name).read_text(encoding="utf-8")
