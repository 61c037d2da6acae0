"""What the requests of one process share: the engine, room for photos, metrics.

Knows submissions and answers; routes and processes are elsewhere, and nothing of a photo is kept.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from time import perf_counter
from typing import Any, TypeVar

from fastapi import Request
from starlette.requests import ClientDisconnect

from locationnet.errors import LocationNetError
from locationnet.model.locator import Locator
from locationnet.net.photo_urls import fetch_photo
from locationnet.server.admission import Account, Memory, Overloaded, Queue, Ticket
from locationnet.server.engine import Engine, measure_speed
from locationnet.server.logs import RELOADED, note
from locationnet.server.problems import Problem, as_problem, bug
from locationnet.server.prometheus import Metrics
from locationnet.server.request_options import Options
from locationnet.server.settings import MAX_BATCH_PHOTOS, Settings
from locationnet.server.uploads import Submission, check_photo, read_photo, read_photos

Result = TypeVar("Result")


class Service:
    """Answers requests with one model, which can be exchanged while it does.

    Parameters
    ----------
    settings
        Everything an operator can choose.
    locator
        The loaded model.
    load
        Loads the model anew, for `reload`.
    """

    def __init__(self, settings: Settings, locator: Locator, load: Callable[[], Locator]) -> None:
        self.settings = settings
        self.metrics = Metrics()
        self.ready = False
        self.locator = locator
        self._load = load
        self._policy = settings.fetch_policy
        self._queue = Queue(settings.queue, self.metrics.inside.set)
        self._memory = Memory(settings.max_held_bytes)
        self._engine: Engine | None = None
        self._reloading = asyncio.Lock()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Warm up, answer while the block runs, and stop the threads."""
        try:
            self._engine = await self._make_engine(self.locator)
        except Exception as error:  # a process that is alive but not ready says why
            note("the warm-up inference failed", logging.ERROR, error=type(error).__name__)
        else:
            self.ready = True
        try:
            yield
        finally:
            if self._engine is not None:
                await self._engine.close()

    async def reload(self) -> None:
        """Load the bundle anew and answer with it from then on; keep the old one if that fails.

        Requests that are being dealt with end with the model they began with.
        """
        async with self._reloading:
            try:
                locator = await asyncio.to_thread(self._load)
                engine = await self._make_engine(locator)
            except Exception as error:
                reason = str(error) if isinstance(error, LocationNetError) else type(error).__name__
                note("the bundle was not reloaded; the one before stays", logging.ERROR,
                     reason=reason)  # fmt: skip
                return
            old, self._engine, self.locator, self.ready = self._engine, engine, locator, True
            note(RELOADED, **self._model_fields())
            if old is not None:
                await old.drained()
                await old.close()

    async def answer(self, request: Request, options: Options) -> bytes:
        """Return the answer to a request for one photo, as JSON.

        Raises
        ------
        Problem, LocationNetError
            There is none.
        ClientDisconnect
            Nobody waits for it any longer.
        """
        [answer] = await self._answers(request, options, 1, lambda answering: answering)
        return answer

    async def answer_batch(self, request: Request, options: Options) -> bytes:
        """Return what came of each photo of a request, in order, as JSON; see `answer`."""

        async def result(answering: Awaitable[bytes]) -> bytes:
            # At once, and not when all are there: an error keeps what its photo was decoded to.
            try:
                return b'{"status":200,"answer":%b}' % await answering
            except Exception as error:
                problem = as_problem(error) or bug(error, request.scope["state"]["request_id"])
                return _encoded({"status": problem.status, "problem": problem.content})

        results = await self._answers(request, options, MAX_BATCH_PHOTOS, result)
        return b'{"results":[%b]}' % b",".join(results)

    async def prior(self, options: Options) -> bytes:
        """Return the cells of the answer without a photo, as GeoJSON.

        Raises
        ------
        Problem
            There are none.
        """

        async def work(*_: object) -> bytes:
            engine = self._engine
            assert engine is not None  # noqa: S101 - `_attended` has looked
            with engine.busy():
                try:
                    return await engine.in_thread(lambda: _encoded(engine.prior_heatmap(options)))
                except ValueError as error:
                    raise Problem(422, str(error)) from error

        return await self._attended(1, work)

    async def _answers(
        self,
        request: Request,
        options: Options,
        most: int,
        respond: Callable[[Awaitable[bytes]], Awaitable[bytes]],
    ) -> list[bytes]:
        """Return what `respond` makes of each photo's answer, in the order of the request.

        Room for `most` photos is asked for, and given back as soon as it is known how many came.
        """

        async def work(ticket: Ticket, account: Account) -> list[bytes]:
            sent = await self._read(request, options, most, account)
            ticket.keep(len(sent.photos))
            state = request.scope["state"]
            if most > 1:
                state["log"]["photos"] = len(sent.photos)
                if "pay" in state and len(sent.photos) > 1:
                    await state["pay"](len(sent.photos) - 1)

            async def answers() -> list[bytes]:
                # Within a task: a gathering that is cancelled alone logs that nobody asked why.
                return await asyncio.gather(
                    *(
                        respond(
                            self._answer(
                                photo, sent.options, account, state["log"] if most == 1 else {}
                            )
                        )
                        for photo in sent.photos
                    )
                )

            return await _while_connected(request, answers())

        return await self._attended(most, work)

    async def _attended(
        self, photos: int, work: Callable[[Ticket, Account], Awaitable[Result]]
    ) -> Result:
        """Do the work while there is room and time."""
        if self._engine is None:
            raise Problem(503, "the model does not answer", {"Retry-After": "10"})
        deadline, start = self.settings.request_timeout_s, perf_counter()
        slots = min(photos, self._queue.limit)
        with self._queue.entered(slots) as ticket, self._memory.account() as account:
            try:
                async with asyncio.timeout(deadline):
                    result = await work(ticket, account)
            except TimeoutError as error:
                raise Overloaded(deadline) from error
            self._queue.passed(perf_counter() - start)
            return result

    async def _read(
        self, request: Request, options: Options, most: int, account: Account
    ) -> Submission:
        read = read_photo if most == 1 else read_photos
        try:
            # Half of the time is for the answer.
            async with asyncio.timeout(self.settings.request_timeout_s / 2):
                sent = await read(request, options, self.settings.max_upload_bytes, account)
        except TimeoutError as error:
            raise Problem(408, "the request did not arrive in time") from error
        try:
            _ = sent.options.region
        except ValueError as error:
            raise Problem(422, str(error)) from error
        return sent

    async def _answer(
        self, sent: bytes | str, options: Options, account: Account, log: dict[str, Any]
    ) -> bytes:
        engine = self._engine
        assert engine is not None  # noqa: S101 - `_attended` has looked
        photo, fetching = sent, 0.0
        with engine.busy():
            if isinstance(photo, str):
                photo, fetching = await self._fetch(photo, account, log)
            check_photo(photo, self.settings.max_upload_bytes)
            located = await engine.locate(photo)
            seconds = {
                "fetch": fetching,
                "decode": located.decode_s,
                "queue": located.queue_s,
                "infer": located.infer_s,
            }
            timing = {stage: round(1000 * took, 1) for stage, took in seconds.items()}
            self.metrics.stages(seconds)
            log["timing_ms"] = timing

            def written() -> bytes:  # in a thread: with a heat map it may well be a megabyte
                return _encoded(
                    {**engine.answer_fields(located.prediction, options), "timing_ms": timing}
                )

            try:
                return await engine.in_thread(written)
            except ValueError as error:
                raise Problem(422, str(error)) from error

    async def _fetch(self, url: str, account: Account, log: dict[str, Any]) -> tuple[bytes, float]:
        if not self.settings.fetch_urls:
            raise Problem(403, "this server fetches no URLs; send the photo itself")
        if self.settings.log_urls:
            log["url"] = url
        start = perf_counter()
        photo = await fetch_photo(url, self._policy, receive=account.take)
        return photo, perf_counter() - start

    async def _make_engine(self, locator: Locator) -> Engine:
        settings = self.settings
        speed = await asyncio.to_thread(measure_speed, locator, settings.max_batch)
        # Half of the time is for the request: who would wait for longer than the rest is told now.
        in_time = settings.request_timeout_s / 2 * settings.threads / speed.photo_s
        self._queue.limit = min(settings.queue, max(settings.threads, int(in_time)))
        manifest = locator.bundle.manifest
        self.metrics.model(manifest.name, manifest.version, locator.precision, locator.grid.sha256)
        note(
            "the model answers", model=manifest.name, version=manifest.version,
            precision=locator.precision, batch=speed.batch_size, queue=self._queue.limit,
        )  # fmt: skip
        return Engine(
            locator, settings, batch_size=speed.batch_size, observe=self.metrics.batch.observe
        )

    def _model_fields(self) -> dict[str, Any]:
        manifest = self.locator.bundle.manifest
        return {"model": manifest.name, "version": manifest.version}


async def _while_connected(request: Request, work: Awaitable[Result]) -> Result:
    """Do the work unless the client goes away; then it ends at its next pause.

    Raises
    ------
    ClientDisconnect
        The client went away.
    """
    working = asyncio.ensure_future(work)
    leaving = asyncio.create_task(_disconnected(request))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientDisconnect
        return working.result()
    finally:
        working.cancel()
        leaving.cancel()
        await asyncio.wait({working, leaving})


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _encoded(answer: dict[str, Any]) -> bytes:
    """Return an answer as the bytes of its JSON."""
    return json.dumps(answer, ensure_ascii=False, separators=(",", ":")).encode()
