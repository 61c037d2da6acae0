"""The service's log on standard error: one JSON object a line, and on a terminal a line to read.

Nothing of a photo, of an answer or of whoever asks is in it, and no URL unless the operator wants
them: a path is logged only where it is one of ours.
"""

from __future__ import annotations

import json
import logging
import sys
import uuid
from datetime import UTC, datetime
from time import perf_counter
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from locationnet.names import printable
from locationnet.server.prometheus import Metrics

logger = logging.getLogger("locationnet.server")

# Asked for every few seconds by machines: counted, not logged.
_QUIET = frozenset({"/healthz", "/readyz", "/ping", "/metrics"})
_KNOWN = _QUIET | {
    "/", "/locate", "/locate/batch", "/invocations", "/model", "/docs", "/openapi.json",
    "/cells.geojson", "/prior.geojson",
}  # fmt: skip

_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "POST"})

_REQUEST = "request"
_OTHER = "other"
RELOADED = "the bundle was reloaded"


class JsonFormatter(logging.Formatter):
    """Writes a record as a JSON object: time, level, message, and the fields that it was given."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


class PeopleFormatter(logging.Formatter):
    """Writes a record as a person reads it: a request in a few words, anything else as it is."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, and below it the traceback of a failure nobody expected."""
        fields = getattr(record, "fields", {})
        text = record.getMessage()
        if text == _REQUEST:
            text = "{method} {path}: {status} in {ms:,.0f} ms".format_map(fields)
        elif "error" in fields:
            text += f": {fields['error']}"
        level = f"{record.levelname.lower()}: " if record.levelno >= logging.WARNING else ""
        time = datetime.fromtimestamp(record.created).astimezone()
        line = printable(f"{time:%H:%M:%S} {level}{text}")
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line

    @staticmethod
    def concerns(record: logging.LogRecord) -> bool:
        """Say whether a record says something to a person: how it starts, the banner says.

        A page brings a dozen files with it; those come as others.
        """
        message, fields = record.getMessage(), getattr(record, "fields", {})
        if message == _REQUEST:
            return bool(fields["path"] != _OTHER or fields["status"] >= 400)
        return record.levelno >= logging.WARNING or message == RELOADED


class _Handler(logging.StreamHandler[Any]):
    """Writes to standard error, and goes on where that is full or gone."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's own name
        """Lose the line: answering matters more, and there is nowhere left to say so."""


def configure() -> None:
    """Make every logger of this process write to standard error: JSON, but for a terminal words."""
    handler = _Handler(sys.stderr)
    if sys.stderr.isatty():
        handler.setFormatter(PeopleFormatter())
        handler.addFilter(PeopleFormatter.concerns)
    else:
        handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    for name in ("locationnet", "uvicorn"):
        logging.getLogger(name).setLevel(logging.INFO)


def note(message: str, level: int = logging.INFO, **fields: Any) -> None:
    """Log a message with fields."""
    logger.log(level, message, extra={"fields": fields})


class Observed:
    """Middleware that gives each request an id, and counts and logs what came of it.

    The id is in ``scope["state"]["request_id"]``; what a request's own code puts into
    ``scope["state"]["log"]`` is logged with it.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start, status = perf_counter(), 0
        request_id = uuid.uuid4().hex
        fields: dict[str, Any] = {}
        scope.setdefault("state", {}).update(log=fields, request_id=request_id)

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [
                    *message.get("headers", []), (b"x-request-id", request_id.encode())
                ]  # fmt: skip
            await send(message)

        try:
            await self._app(scope, receive, watched)
        finally:
            duration = perf_counter() - start
            path = scope["path"] if scope["path"] in _KNOWN else _OTHER
            self._metrics.requests.labels(path, str(status)).inc()
            self._metrics.seconds.labels(path).observe(duration)
            if path not in _QUIET:
                note(
                    _REQUEST,
                    request_id=request_id,
                    method=scope["method"] if scope["method"] in _METHODS else _OTHER,
                    path=path,
                    status=status,
                    ms=round(1000 * duration, 1),
                    **fields,
                )
