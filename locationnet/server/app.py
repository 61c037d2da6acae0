"""Assembles the HTTP service around a locator; see `create_app`.

Knows nothing of sockets, processes or the command line, and keeps nothing of a photo.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
import warnings
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import Response

from locationnet import __version__
from locationnet.model.locator import Locator
from locationnet.retrieval.neighbourhood import load_model
from locationnet.server import docs, pages, problems
from locationnet.server.access import Access
from locationnet.server.logs import Observed
from locationnet.server.problems import Problem
from locationnet.server.prometheus import MEDIA_TYPE
from locationnet.server.request_options import Options
from locationnet.server.schemas import (
    Alive,
    Answer,
    BatchAnswer,
    ModelFields,
    PhotoURL,
    PhotoURLs,
    ProblemDetails,
    Ready,
)
from locationnet.server.service import Service
from locationnet.server.settings import MAX_BATCH_PHOTOS, Settings, read_settings
from locationnet.server.uploads import BYTES

# What these say of a broken upload quotes it, and Python prints it where nobody listens.
for _name in ("python_multipart", "PIL"):
    logging.getLogger(_name).addHandler(logging.NullHandler())

_Options = Annotated[Options, Query()]


def _body(json: type[PhotoURL] | type[PhotoURLs], *, files: int) -> dict[str, Any]:
    """Describe a body; FastAPI would read whole what it knows of, and ours is measured."""
    file: dict[str, Any] = {"type": "string", "format": "binary"}
    if files > 1:
        file = {"type": "array", "items": file, "minItems": 1, "maxItems": files}
    options = Options.model_json_schema()["properties"]
    form = {"type": "object", "required": ["file"], "properties": {"file": file, **options}}
    content: dict[str, Any] = {
        "application/json": {"schema": json.model_json_schema()},
        "multipart/form-data": {"schema": form},
    }
    if files == 1:
        for kind in ("image/*", BYTES):
            content[kind] = {"schema": {"type": "string", "format": "binary"}}
    return {"requestBody": {"required": True, "content": content}}


_BUSY = {
    401: "An API key is needed.",
    429: "More than the rate that this server answers; Retry-After says when to come back.",
    503: "The server is busy; Retry-After says when to come back.",
}
_PROBLEMS = {
    400: "Malformed request.",
    403: "The URL leads where this server does not go, or a page of another site asks.",
    408: "The request did not arrive in time.",
    413: "The photo is too large.",
    415: "Not an image that is read: JPEG, PNG, WebP, AVIF and perhaps HEIC are.",
    422: "A number is out of range, or a region contains no cell.",
    **_BUSY,
    502: "The URL's server failed.",
    504: "The URL's server was too slow.",
}
_BATCH_PROBLEMS = {status: text for status, text in _PROBLEMS.items() if status not in (502, 504)}


def create_app(
    settings: Settings, locator: Locator, load: Callable[[], Locator] | None = None
) -> FastAPI:
    """Return the service as an ASGI application.

    Parameters
    ----------
    settings
        Everything an operator can choose; where to listen is for whoever runs the application.
    locator
        The loaded model.
    load
        Loads it anew on SIGHUP; by default the one that the settings name.
    """
    service = Service(settings, locator, load or (lambda: load_locator(settings)))

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        with _reloading_on_hangup(service):
            async with service.running():
                yield

    app = FastAPI(
        title="LocationNet",
        version=__version__,
        summary="Says where on Earth a photo was probably taken.",
        lifespan=lifespan,
        redirect_slashes=False,  # it would send clients to whatever the Host field names
        docs_url=None,  # FastAPI's own pages load scripts from a third party
        redoc_url=None,
    )
    problems.install(app)
    app.add_middleware(Access, settings=settings)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(settings.cors_origins),
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type", "X-API-Key"],
            expose_headers=["Retry-After", "X-Request-ID"],
        )
    app.add_middleware(Observed, metrics=service.metrics)
    _add_answers(app, service)
    _add_descriptions(app, service)
    app.include_router(pages.router(settings, lambda: service.locator.grid))
    return app


def load_locator(settings: Settings) -> Locator:
    """Load the model that the settings name, as they say."""
    return load_model(
        settings.model,
        index=settings.retrieval,
        retrieval_mode=settings.retrieval_mode,
        precision=settings.precision,
        abstain_below_bits=settings.abstain_below_bits,
    )


def app_from_environment() -> FastAPI:
    """Return the service as the environment configures it, for a process of its own."""
    warnings.filterwarnings("ignore", module=r"PIL\.")  # remarks on broken metadata
    settings = read_settings()
    return create_app(settings, load_locator(settings))


def _add_answers(app: FastAPI, service: Service) -> None:
    """Add the routes that photos are sent to."""

    async def one(request: Request, options: Options) -> Response:
        return _unstored(await service.answer(request, options))

    @app.post(
        "/locate",
        response_model=Answer,
        response_description="The ranked places.",
        openapi_extra=_body(PhotoURL, files=1),
        responses=_documented(_PROBLEMS),
    )
    async def locate(request: Request, options: _Options) -> Response:
        """Locate a photo: its URL as JSON, a form with one file, or the image itself as the body.

        Nothing of the photo is kept or logged.
        """
        return await one(request, options)

    @app.post(
        "/locate/batch",
        response_model=BatchAnswer,
        response_description="What came of each photo, in order.",
        openapi_extra=_body(PhotoURLs, files=MAX_BATCH_PHOTOS),
        responses=_documented(_BATCH_PROBLEMS),
    )
    async def locate_batch(request: Request, options: _Options) -> Response:
        """Locate up to 32 photos: their URLs as JSON, or a form with files.

        Each is answered on its own, in order: what is wrong with one says nothing of the others.
        """
        return _unstored(await service.answer_batch(request, options))

    @app.get("/prior.geojson", include_in_schema=False)
    async def prior(options: _Options) -> Response:
        return _unstored(await service.prior(options), pages.GEOJSON)

    @app.post(
        "/invocations",
        response_model=Answer,
        response_description="The ranked places.",
        openapi_extra=_body(PhotoURL, files=1),
        responses=_documented(_PROBLEMS),
    )
    async def invocations(request: Request, options: _Options) -> Response:
        """Locate a photo as POST /locate does, under the name that Amazon SageMaker asks for."""
        return await one(request, options)


def _add_descriptions(app: FastAPI, service: Service) -> None:
    """Add the routes that report on the service itself."""
    not_ready = _documented({503: "The warm-up inference has not passed."})

    def assert_ready() -> None:
        if not service.ready:
            raise Problem(503, "the model does not answer", {"Retry-After": "10"})

    @app.head("/healthz", include_in_schema=False)
    @app.get("/healthz", response_description="It is.")
    async def healthz() -> Alive:
        """Say that the process is alive."""
        return Alive()

    @app.head("/readyz", include_in_schema=False)
    @app.get("/readyz", response_description="It does.", responses=not_ready)
    async def readyz() -> Ready:
        """Say whether the model answers: a warm-up inference has passed."""
        assert_ready()
        return Ready()

    @app.get("/ping", response_description="It does.", responses=not_ready)
    async def ping() -> Ready:
        """Say what GET /readyz says, under the name that Amazon SageMaker asks for."""
        assert_ready()
        return Ready()

    @app.get("/model", response_description="The manifest's fields.")
    async def model() -> ModelFields:
        """Return what the loaded bundle says of itself."""
        return _model_fields(service.locator)

    @app.get("/metrics", include_in_schema=False)
    async def metrics() -> Response:
        return Response(service.metrics.exposition(), media_type=MEDIA_TYPE)

    @app.get("/docs", include_in_schema=False)
    async def documentation() -> Response:
        return docs.page(app.openapi())


def _unstored(answer: bytes, media_type: str = "application/json") -> Response:
    return Response(answer, headers={"Cache-Control": "no-store"}, media_type=media_type)


class _reloading_on_hangup:  # noqa: N801 - a context manager reads like a function
    """Reload the bundle on SIGHUP while the block runs, where signals can be had."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._tasks: set[asyncio.Task[None]] = set()
        main = threading.current_thread() is threading.main_thread()
        self._has_signals = main and hasattr(signal, "SIGHUP")

    def __enter__(self) -> None:
        if self._has_signals:
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._reload)

    def __exit__(self, *_: object) -> None:
        if self._has_signals:
            asyncio.get_running_loop().remove_signal_handler(signal.SIGHUP)

    def _reload(self) -> None:
        task = asyncio.ensure_future(self._service.reload())
        self._tasks.add(task)  # the loop itself holds tasks but weakly
        task.add_done_callback(self._tasks.discard)


def _model_fields(locator: Locator) -> ModelFields:
    manifest = locator.bundle.manifest
    return ModelFields(
        name=manifest.name,
        version=manifest.version,
        demo=manifest.demo,
        calibrated=manifest.calibrated,
        explains=bool(locator.bundle.concepts),
        precision=locator.precision,
        description=manifest.description,
        license=manifest.license,
        grid_sha256=locator.grid.sha256,
        classes=len(locator.grid),
        preprocessing=manifest.preprocessing.model_dump(mode="json"),
        abstain_below_bits=manifest.abstain_below_bits,
        training=manifest.training,
        accuracy=manifest.accuracy,
    )


def _documented(statuses: dict[int, str]) -> dict[int | str, dict[str, Any]]:
    schema = ProblemDetails.model_json_schema()
    return {
        status: {"description": text, "content": {problems.MEDIA_TYPE: {"schema": schema}}}
        for status, text in statuses.items()
    }
