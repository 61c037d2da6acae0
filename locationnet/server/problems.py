"""Errors as ``application/problem+json`` (RFC 9457), and nothing about them in a log.

Knows which status an error deserves; not how it came about.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from locationnet import errors

logger = logging.getLogger("uvicorn.error")

MEDIA_TYPE = "application/problem+json"

_STATUS: dict[type, int] = {
    errors.ImageTooLargeError: 413,
    errors.ImageError: 415,
    errors.MalformedURLError: 400,
    errors.RefusedURLError: 403,
    errors.RemoteFailedError: 502,
    errors.RemoteTimeoutError: 504,
    errors.RemoteTooLargeError: 413,
}
_OUT_OF_RANGE = frozenset(
    {"greater_than", "greater_than_equal", "less_than", "less_than_equal"},
)


class Problem(Exception):  # noqa: N818  # RFC 9457's own word
    """An answer that is an error.

    Parameters
    ----------
    status
        HTTP status.
    detail
        One sentence for the client; never holds what the client sent.
    headers
        Further header fields of the answer.
    """

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = headers

    @property
    def content(self) -> dict[str, Any]:
        """The answer's body."""
        return {
            "type": "about:blank",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
        }

    def response(self) -> Response:
        """Return the answer."""
        return JSONResponse(self.content, self.status, self.headers, media_type=MEDIA_TYPE)


def as_problem(error: Exception) -> Problem | None:
    """Return what a client gets for an error; None for a bug."""
    if isinstance(error, Problem):
        return error
    status = next((_STATUS[kind] for kind in type(error).__mro__ if kind in _STATUS), None)
    return None if status is None else Problem(status, str(error))


def bug(error: Exception, request_id: str) -> Problem:
    """Return what a client gets for a bug, and log where it is but not the data.

    An exception's message can hold what the client sent, so only its type and the lines of code
    that it passed through are logged.
    """
    places = [
        f"{Path(frame.filename).name}:{frame.lineno} {frame.name}"
        for frame in traceback.extract_tb(error.__traceback__)
    ]
    logger.error(
        "%s at %s", type(error).__name__, " < ".join(reversed(places[-8:])),
        extra={"fields": {"request_id": request_id}},
    )  # fmt: skip
    return Problem(500, "an error of the server, not of the request")


def invalid(error: RequestValidationError | ValidationError) -> Problem:
    """Return 422 where all that is wrong is that a number is out of range, otherwise 400."""
    found = error.errors()
    first = found[0]
    where = ".".join(str(part) for part in first["loc"] if part not in ("query", "body"))
    # An unknown field's name is the client's; all others are ours.
    if first["type"] == "extra_forbidden":
        where = "a field"
    detail = f"{where}: {first['msg']}" if where else str(first["msg"])
    in_form = all(item["type"] in _OUT_OF_RANGE for item in found)
    return Problem(422 if in_form else 400, detail)


class CatchAll:
    """Middleware for bugs: the client gets a plain 500; see `bug`."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except Exception as error:
            if scope["type"] != "http":
                raise
            problem = bug(error, scope["state"]["request_id"])
            if not started:
                await problem.response()(scope, receive, send)


def install(app: FastAPI) -> None:
    """Make the application answer every error as a problem."""
    app.add_middleware(CatchAll)

    @app.exception_handler(Problem)
    async def _problem(_: Request, error: Problem) -> Response:
        return error.response()

    @app.exception_handler(errors.LocationNetError)
    async def _ours(_: Request, error: errors.LocationNetError) -> Response:
        problem = as_problem(error)
        if problem is None:
            raise error
        return problem.response()

    @app.exception_handler(RequestValidationError)
    async def _invalid(_: Request, error: RequestValidationError) -> Response:
        return invalid(error).response()

    @app.exception_handler(HTTPException)
    async def _http(_: Request, error: HTTPException) -> Response:
        return Problem(error.status_code, error.detail, error.headers).response()

    @app.exception_handler(ClientDisconnect)
    async def _gone(_: Request, __: ClientDisconnect) -> Response:
        return Problem(400, "the request broke off").response()  # nobody is there to read it
