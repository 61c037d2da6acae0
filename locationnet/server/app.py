"""Assembles the HTTP service around a locator; see `create_app`.

Knows nothing of sockets, processes or the command line, and keeps nothing of a photo.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import lru_cache, partial
from time import perf_counter
from typing import Annotated, Any

import anyio.to_thread
import numpy as np
from fastapi import FastAPI, Query, Request
from fastapi.responses import Response

from locationnet import __version__
from locationnet.model.answer import answer
from locationnet.model.heatmap import heatmap as heat_map
from locationnet.model.locator import Locator, load_model
from locationnet.remote import fetch
from locationnet.server import docs, pages, problems
from locationnet.server.problems import Problem
from locationnet.server.schemas import (
    DEFAULT_TOP_K,
    MAX_TOP_K,
    Alive,
    Answer,
    ModelFacts,
    PhotoURL,
    ProblemDetails,
    Ready,
)
from locationnet.server.settings import Settings, read_settings
from locationnet.server.uploads import read_submission

logger = logging.getLogger("uvicorn.error")
# What these say of a broken upload quotes it, and Python prints it where nobody listens.
for _name in ("python_multipart", "PIL"):
    logging.getLogger(_name).addHandler(logging.NullHandler())

_TopK = Annotated[int, Query(ge=1, le=MAX_TOP_K, description="How many places.")]
_Heatmap = Annotated[bool, Query(description="Whether to add the cells that hold 95 %.")]

# FastAPI would read a body that it knows of in one go; ours is measured while it arrives.
_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": PhotoURL.model_json_schema()},
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {"file": {"type": "string", "format": "binary"}},
                }
            },
            "image/*": {"schema": {"type": "string", "format": "binary"}},
        },
    }
}
_PROBLEMS = {
    400: "Malformed request.",
    403: "The URL leads where this server does not go.",
    413: "The photo is too large.",
    415: "Not an image that is read: JPEG, PNG and WebP are.",
    422: "A number is out of range.",
    502: "The URL's server failed.",
    504: "The URL's server was too slow.",
}


def create_app(settings: Settings, locator: Locator) -> FastAPI:
    """Return the service as an ASGI application.

    Parameters
    ----------
    settings
        Limits and lists; what says where to listen is for whoever runs the application.
    locator
        The loaded model.
    """
    service = _Service(settings, locator)
    app = FastAPI(
        title="LocationNet",
        version=__version__,
        summary="Says where on Earth a photo was probably taken.",
        lifespan=service.lifespan,
        docs_url=None,  # FastAPI's own pages load scripts from a third party
        redoc_url=None,
    )
    problems.install(app)

    @app.post(
        "/locate",
        response_model=Answer,
        response_model_exclude_unset=True,
        response_description="The ranked places.",
        openapi_extra=_BODY,
        responses=_documented(_PROBLEMS),
    )
    async def locate(
        request: Request,
        response: Response,
        top_k: _TopK = DEFAULT_TOP_K,
        heatmap: _Heatmap = False,
    ) -> dict[str, Any]:
        """Locate a photo: its URL as JSON, a form with one file, or the image itself as the body.

        Nothing of the photo is kept or logged.
        """
        response.headers["Cache-Control"] = "no-store"
        return await service.locate(request, top_k, heatmap)

    @app.get("/healthz", response_description="It is.")
    async def healthz() -> Alive:
        """Say that the process is alive."""
        return Alive()

    @app.get(
        "/readyz",
        response_description="It does.",
        responses=_documented({503: "The warm-up inference has not passed."}),
    )
    async def readyz() -> Ready:
        """Say whether the model answers: a warm-up inference has passed."""
        if not service.ready:
            raise Problem(503, "the model does not answer", {"Retry-After": "10"})
        return Ready()

    @app.get("/model", response_description="The manifest's facts.")
    async def model() -> ModelFacts:
        """Return what the loaded bundle says of itself."""
        return _facts(locator)

    @app.get("/docs", include_in_schema=False)
    async def documentation() -> Response:
        return docs.page(app.openapi())

    app.include_router(pages.router(settings, locator.grid))
    return app


def app_from_environment() -> FastAPI:
    """Return the service as the environment configures it, for ``uvicorn --factory``."""
    warnings.filterwarnings("ignore", module=r"PIL\.")  # remarks on broken metadata
    settings = read_settings()
    return create_app(settings, load_model(settings.model))


class _Service:
    """What the requests of one process share."""

    def __init__(self, settings: Settings, locator: Locator) -> None:
        self.settings = settings
        self.policy = settings.fetch_policy
        self.locator = locator
        self.ready = False
        # Finding the prior's best point takes as long as finding a photo's; top_k hardly varies.
        self._prior = lru_cache(maxsize=8)(locator.prior)

    @asynccontextmanager
    async def lifespan(self, _: FastAPI) -> AsyncIterator[None]:
        # Decoding and inference hold a core each; more of them at once would only take memory.
        self.threads = anyio.CapacityLimiter(self.settings.threads)
        try:
            await anyio.to_thread.run_sync(self._warm_up, limiter=self.threads)
        except Exception:  # a process that is alive but not ready says why
            logger.exception("the warm-up inference failed")
        else:
            self.ready = True
        yield

    async def locate(self, request: Request, top_k: int, heatmap: bool) -> dict[str, Any]:
        sent = await read_submission(request, self.settings.max_upload_bytes)
        photo, fetching = sent.photo, 0.0
        if sent.url is not None:
            start = perf_counter()
            photo = await fetch(sent.url, self.policy)
            fetching = perf_counter() - start
        wanted = heatmap if sent.heatmap is None else sent.heatmap
        work = partial(self._locate, photo, sent.top_k or top_k, wanted)
        facts, decoding, inferring = await anyio.to_thread.run_sync(work, limiter=self.threads)
        facts["timing_ms"] = {
            "fetch": round(1000 * fetching, 1),
            "decode": round(1000 * decoding, 1),
            "infer": round(1000 * inferring, 1),
        }
        return facts

    def _locate(
        self, photo: bytes, top_k: int, heatmap: bool
    ) -> tuple[dict[str, Any], float, float]:
        start = perf_counter()
        image = self.locator.prepare(photo)
        decoded = perf_counter()
        [prediction] = self.locator.predict(image[None], top_k=top_k)
        facts = answer(self.locator.bundle, prediction, self._prior(top_k))
        if heatmap:
            facts["heatmap"] = heat_map(prediction)
        inferred = perf_counter()
        return facts, decoded - start, inferred - decoded

    def _warm_up(self) -> None:
        size = self.locator.bundle.preprocessing.size
        [prediction] = self.locator.predict(np.zeros((1, 3, size, size), np.float32))
        prediction.to_dict()


def _facts(locator: Locator) -> ModelFacts:
    manifest = locator.bundle.manifest
    return ModelFacts(
        name=manifest.name,
        version=manifest.version,
        demo=manifest.demo,
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
