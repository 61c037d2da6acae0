"""Who may ask: the server's names, API keys and rates, before anything of a request is read.

Knows paths and header fields; nothing of photos. Keys are held as hashes and compared in constant
time.
"""

from __future__ import annotations

import hashlib
import hmac
import math
import time
from functools import partial
from ipaddress import IPv6Address, ip_address

from limits import parse as parse_rate
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from locationnet.server.problems import Problem
from locationnet.server.settings import Settings

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")
# What does work for whoever asks, and what reports on others' work.
PROTECTED = frozenset({"/locate", "/locate/batch", "/invocations", "/prior.geojson", "/metrics"})
_SAGEMAKER = frozenset({"/ping", "/invocations"})


def is_loopback(host: str) -> bool:
    """Say whether an address to listen on is reached from this machine only."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


class Access:
    """Middleware that lets a request through or answers why not: 400, 401, 403, 404 or 429.

    A request that brings several photos pays for all but the first by awaiting
    ``scope["state"]["pay"](photos)`` once it knows how many there are.

    Parameters
    ----------
    app
        The application behind it.
    settings
        Names, keys, rate, SageMaker or not.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._keys = [key.removeprefix("sha256:").encode() for key in settings.api_keys]
        self._sagemaker = settings.sagemaker
        names = settings.server_names
        if not names and is_loopback(settings.host) and not settings.sagemaker:
            own = f"[{settings.host}]" if ":" in settings.host else settings.host
            names = (*LOOPBACK_NAMES, own)
        self._origins = frozenset(settings.cors_origins)
        self._names = frozenset(names)
        self._rate = parse_rate(settings.rate_limit) if settings.rate_limit else None
        self._limiter = SlidingWindowCounterRateLimiter(MemoryStorage())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer it."""
        if scope["type"] == "http":
            try:
                await self._check(scope)
            except Problem as problem:
                await problem.response()(scope, receive, send)
                return
        await self._app(scope, receive, send)

    async def _check(self, scope: Scope) -> None:
        headers, path = Headers(scope=scope), scope["path"]
        if self._names and _name(headers.get("host", "")) not in self._names:
            # A page elsewhere could otherwise let its own name point here.
            raise Problem(400, "this server is not known by the name in the Host field")
        if self._sagemaker:
            if path not in _SAGEMAKER:
                raise Problem(404, "Not Found")
            return
        if path not in PROTECTED or scope["method"] == "OPTIONS":
            return
        if _is_foreign(headers) and headers.get("origin") not in self._origins:
            # It could not read the answer, but it could keep this server busy.
            raise Problem(403, "pages of other sites may not ask this server")
        who = self._identify(headers) if self._keys else _address(scope)
        if self._rate and path != "/metrics":
            await self._pay(who, 1)
            scope.setdefault("state", {})["pay"] = partial(self._pay, who)

    async def _pay(self, who: str, photos: int) -> None:
        if self._rate and not await self._limiter.hit(self._rate, who, cost=photos):
            reset, _ = await self._limiter.get_window_stats(self._rate, who)
            wait = max(1, math.ceil(reset - time.time()))
            raise Problem(
                429, f"no more than {self._rate} are answered", {"Retry-After": str(wait)}
            )

    def _identify(self, headers: Headers) -> str:
        key = headers.get("x-api-key", "")
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if not key and scheme.lower() == "bearer":
            key = token.strip()
        own = hashlib.sha256(key.encode()).hexdigest().encode()
        # All are compared, so that the time reveals nothing about which it was.
        if not sum(hmac.compare_digest(own, known) for known in self._keys):
            raise Problem(
                401,
                "an API key is needed, as X-API-Key or as a Bearer token",
                {"WWW-Authenticate": "Bearer"},
            )
        return own.decode()


def _is_foreign(headers: Headers) -> bool:
    """Say whether a browser says that a page of another origin asks; others say nothing."""
    return headers.get("sec-fetch-site") in ("cross-site", "same-site")


def _name(host: str) -> str:
    """Return the name in a Host field without its port."""
    name, colon, port = host.rpartition(":")
    return (name if colon and (port.isdigit() or not port) and name else host).lower()


def _address(scope: Scope) -> str:
    """Return who a client is to the rate limit: its address, or its network in IPv6."""
    client = scope.get("client")
    try:
        address = ip_address(client[0]) if client else None
    except ValueError:
        return "unknown"
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(IPv6Address(int(address) >> 64 << 64))
    return str(address)
