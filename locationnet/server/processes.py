"""The service as processes: where it may listen, how many answer, and how they end.

Knows uvicorn; nothing of photos or routes.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from ipaddress import ip_address
from socket import socket

import uvicorn
from prometheus_client.multiprocess import mark_process_dead
from uvicorn.supervisors import Multiprocess

from locationnet.errors import InputError
from locationnet.names import printable
from locationnet.server import logs, prometheus
from locationnet.server.access import is_loopback
from locationnet.server.app import app_from_environment, create_app, load_locator
from locationnet.server.settings import PREFIX, Settings

# What is in flight has this long to end when the service is asked to stop; a container's grace
# period is 30 seconds, a SageMaker container's too.
GRACE_S = 20
# A worker that says nothing for so long is taken for dead.
_SILENCE_S = 15
_HTTP_PORT = 80
_MAX_HEADER_BYTES = 16 * 1024


def check_address(settings: Settings) -> None:
    """Make sure that strangers are not let in by accident.

    Raises
    ------
    InputError
        Other machines reach the address, and nobody is asked who they are.
    """
    if settings.sagemaker or settings.api_keys or settings.insecure or is_loopback(settings.host):
        return
    raise InputError(
        f"{settings.host} can be reached from other machines, and nobody would be asked who they"
        f" are; set {PREFIX}API_KEYS, put a proxy that asks in front of 127.0.0.1, or give"
        " --insecure"
    )


def banner(settings: Settings, sockets: Sequence[socket]) -> str:
    """Return the line that tells a person where to look and how to stop, for a listening service.

    Parameters
    ----------
    settings
        Where it was asked to listen, by which names it may be called, and whether keys are needed.
    sockets
        Where it listens: with port 0, nobody else knows.
    """
    address, port = sockets[0].getsockname()[:2]
    # One name may stand for two addresses, and each then has a free port of its own.
    one_port = len({listening.getsockname()[1] for listening in sockets}) == 1
    host = settings.host if one_port and not _is_any(settings.host) else address
    if _is_any(host):
        host = "::1" if ":" in host else "127.0.0.1"
    name = f"[{host}]" if ":" in host else host
    if settings.server_names and name.lower() not in settings.server_names:
        name = settings.server_names[0]  # by any other, requests are refused
    url = f"http://{name}" if port == _HTTP_PORT else f"http://{name}:{port}"
    if settings.sagemaker:
        where = f"SageMaker: POST {url}/invocations"
    else:
        where = f"Map: {url} · API: {url}/docs"
    parts = [where, "Ctrl-C stops"]
    if settings.api_keys and not settings.sagemaker:
        parts.insert(1, "asks for an API key")
    if settings.sagemaker or not is_loopback(settings.host):
        parts.insert(1, "open to other machines")
    return " · ".join(parts)


def _is_any(host: str) -> bool:
    """Say whether an address to listen on stands for all of this machine's."""
    try:
        return not host or ip_address(host).is_unspecified
    except ValueError:
        return False


def _say(text: str) -> None:
    """Print a line for people where one looks on: beside JSON in a file, on standard output."""
    stream = sys.stderr if sys.stderr.isatty() else sys.stdout
    if stream.isatty():
        with suppress(OSError):  # the terminal is gone: the service need not be
            print(printable(text), file=stream, flush=True)


def run(settings: Settings) -> None:
    """Answer requests until notified to stop.

    On a terminal, it says where once it does. SIGTERM and SIGINT let what is in flight end, for up
    to 20 seconds, and it returns; SIGHUP loads the bundle anew.

    Raises
    ------
    LocationNetError
        The bundle cannot be loaded.
    """
    logs.configure()
    _ignore_hangups()
    # A notice to stop is no failure; uvicorn raises the signal once more when it is done.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    # Workers that cannot start would be started again and again: a reason shows here.
    _say(f"Loading {settings.model} …")
    locator = load_locator(settings)
    single = settings.workers == 1
    app = create_app(settings, locator) if single else f"{__name__}:worker_app"
    del locator  # workers load their own
    logs.note(f"serving {settings.model}", settings=settings.described())
    config = uvicorn.Config(
        app,
        factory=not single,
        workers=settings.workers,
        host="0.0.0.0" if settings.sagemaker and is_loopback(settings.host) else settings.host,  # noqa: S104
        port=settings.port,
        http="h11",  # the other parser sets no bound to header fields
        h11_max_incomplete_event_size=_MAX_HEADER_BYTES,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,  # it would hold every query
        server_header=False,
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=list(settings.trusted_proxies),
        timeout_graceful_shutdown=GRACE_S,
        timeout_worker_healthcheck=_SILENCE_S,
    )
    if single:
        with suppress(KeyboardInterrupt):  # which uvicorn raises anew when all has ended
            _Server(config, settings).run()
        return
    with _shared_metrics(), _environment(settings):
        _Workers(config, [config.bind_socket()], settings).run()


def worker_app() -> object:
    """Return the application of one of several processes."""
    logs.configure()
    _ignore_hangups()
    return app_from_environment()


def _ignore_hangups() -> None:
    """Ignore SIGHUP, where there is such a signal, until a bundle can be reloaded."""
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, signal.SIG_IGN)


class _Server(uvicorn.Server):
    """uvicorn's server, which says to people where it listens."""

    def __init__(self, config: uvicorn.Config, settings: Settings) -> None:
        super().__init__(config)
        self._settings = settings

    async def startup(self, sockets: list[socket] | None = None) -> None:
        """Begin to listen."""
        await super().startup(sockets)
        if self.started:
            listening = [one for server in self.servers for one in server.sockets]
            _say(banner(self._settings, listening))


class _Workers(Multiprocess):
    """uvicorn's supervisor, except that SIGHUP reloads bundles and ends no connection."""

    def __init__(self, config: uvicorn.Config, sockets: list[socket], settings: Settings) -> None:
        super().__init__(config, sockets)
        self._settings = settings
        self._announced = False

    def handle_hup(self) -> None:
        """Pass the signal on."""
        for process in self.processes:
            if process.pid is not None and process.exitcode is None:
                os.kill(process.pid, signal.SIGHUP)

    def keep_subprocess_alive(self) -> None:
        """Start new workers for the dead, whose photos are no longer being dealt with."""
        before = {process.pid for process in self.processes}
        super().keep_subprocess_alive()
        for pid in before - {process.pid for process in self.processes}:
            mark_process_dead(pid)  # type: ignore[no-untyped-call]  # it has no types
        if not self._announced and any(
            process.is_ready(timeout=_SILENCE_S) for process in self.processes
        ):
            self._announced = True
            _say(banner(self._settings, self.sockets))


@contextmanager
def _shared_metrics() -> Iterator[None]:
    """Give the workers a folder for their metrics, which hold nothing of a photo."""
    folder = tempfile.mkdtemp(prefix="locationnet-metrics-")
    os.environ[prometheus.SHARED] = folder
    try:
        yield
    finally:
        del os.environ[prometheus.SHARED]
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _environment(settings: Settings) -> Iterator[None]:
    """Hand the settings to the workers, which read them from the environment; keys as hashes."""
    given = {}
    for name in settings.model_fields_set:
        value = getattr(settings, name)
        text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
        given[f"{PREFIX}{name.upper()}"] = text
    before = {name: os.environ.get(name) for name in given}
    os.environ.update(given)
    try:
        yield
    finally:
        for name, old in before.items():
            if old is None:
                del os.environ[name]
            else:
                os.environ[name] = old
