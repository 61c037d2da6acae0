"""Fetches the bytes behind a URL that a stranger chose, without being led anywhere private.

Knows nothing of images, of settings or of the server; a caller says what is allowed with a
`FetchPolicy`. Each host is resolved once, every address it has is checked, and exactly a checked
address is dialled while the name is kept for TLS and the ``Host`` header, so a name server that
changes its mind between check and dial gains nothing. Redirects go through all of it again, and
one deadline covers everything.
"""

from __future__ import annotations

import asyncio
import math
import re
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache, partial

import anyio
import anyio.lowlevel
import anyio.to_thread
import httpcore2

from locationnet.errors import (
    MalformedURLError,
    RefusedURLError,
    RemoteFailedError,
    RemoteLastingError,
    RemoteRedirectError,
    RemoteStatusError,
    RemoteTimeoutError,
    RemoteTooLargeError,
)
from locationnet.net.inflate import decoder
from locationnet.net.urls import (
    PORTS,
    Target,
    exempt_pair,
    host_matches,
    host_rule,
    is_address,
    is_public,
    parse_redirect,
    parse_url,
)

Resolver = Callable[[str, int], Awaitable[Sequence[str]]]
"""Host name and port to the textual addresses of the host; raises ``socket.gaierror``."""

OnRedirect = Callable[[Target], Awaitable[object]]
"""Called with where a redirect leads before it is followed; what it raises ends the fetch."""

OnAnswer = Callable[[Target, str], object]
"""Called before a body is read with where it is, after redirects, and the media type that its
server names, ``""`` for none."""

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MAX_DIALS = 3

# One sentence for "no such name", "a private address" and "public and private mixed": a difference
# would tell a stranger which names exist inside our network.
_NOT_PUBLIC = "the URL's host has no address, or one that is not public"


@dataclass(frozen=True)
class FetchPolicy:
    """What `fetch` may contact and how much it may read.

    Parameters
    ----------
    timeout_s
        Seconds for everything together: names, connections, redirects and the last byte.
    max_bytes
        The largest answer that is read, after it is decompressed.
    cut
        Return the beginning of an answer that is larger, rather than refusing it.
    max_redirects
        How many redirects are followed.
    allowed_hosts
        Where not empty, the only hosts that are contacted. ``"example.org"`` is that host,
        ``".example.org"`` also all below it.
    denied_hosts
        Hosts that are never contacted, written the same way; they win over `allowed_hosts`.
    exempt
        ``"host:port"`` pairs to which neither the address check nor the port check applies (a
        company's own photo server). The lists of hosts still apply. A redirect reaches such a pair
        only from another one: a public server cannot bounce us into the private network.
    user_agent
        How we introduce ourselves.

    Raises
    ------
    ValueError
        An entry cannot be read, or a limit is not positive.
    """

    timeout_s: float = 10.0
    max_bytes: int = 20 * 1024 * 1024
    cut: bool = False
    max_redirects: int = 3
    allowed_hosts: tuple[str, ...] = ()
    denied_hosts: tuple[str, ...] = ()
    exempt: tuple[str, ...] = ()
    user_agent: str = "locationnet"

    def __post_init__(self) -> None:
        if self.timeout_s <= 0 or self.max_bytes <= 0 or self.max_redirects < 0:
            raise ValueError("timeout_s and max_bytes must be positive, max_redirects at least 0")
        for name in ("allowed_hosts", "denied_hosts"):
            rules = tuple(host_rule(rule) for rule in getattr(self, name))
            object.__setattr__(self, name, rules)
        object.__setattr__(self, "exempt", tuple(exempt_pair(pair) for pair in self.exempt))


async def fetch(
    url: str,
    policy: FetchPolicy,
    *,
    receive: Callable[[int], None] = lambda _: None,
    resolver: Resolver | None = None,
    backend: httpcore2.AsyncNetworkBackend | None = None,
    ssl_context: ssl.SSLContext | None = None,
    on_redirect: OnRedirect | None = None,
    on_answer: OnAnswer = lambda _, __: None,
) -> bytes:
    """Return the body behind a URL.

    Parameters
    ----------
    url
        What a user wrote; nothing about it is trusted.
    policy
        The limits.
    receive
        Called with the size of each part of the body that arrives; what it raises ends the fetch.
    resolver, backend, ssl_context
        Replace the system's name resolution, sockets and trusted certificates.
    on_redirect
        May object to a redirect; the time that it takes is its own.
    on_answer
        Learns what is said of the body.

    Raises
    ------
    MalformedURLError
        The text is not a URL that we read.
    RefusedURLError
        The URL, or a redirect, leads where we do not go.
    RemoteFailedError
        The server could not be reached, or answered with anything but 200 and a whole body; a
        `RemoteStatusError` holds the status, and a `RemoteLastingError` will not pass: a redirect
        that leads nowhere, a compression that is not read, a certificate that is not valid.
    RemoteTimeoutError
        The deadline passed.
    RemoteTooLargeError
        The answer is larger than allowed.
    """
    target = parse_url(url)
    try:
        with anyio.fail_after(policy.timeout_s) as patience:
            # A redirect stays exempt only while every server before it was.
            exempt = True
            for _ in range(policy.max_redirects + 1):
                exempt = _admitted(target, policy, exempt=exempt)
                network = _CheckedBackend(
                    resolver or system_resolver,
                    backend or httpcore2.AnyIOBackend(),
                    public_only=not exempt,
                    dial_timeout_s=policy.timeout_s / _MAX_DIALS,
                )
                trust = ssl_context or _system_trust()
                answer = await _get(target, network, policy, trust, receive, on_answer)
                if isinstance(answer, bytes):
                    return answer
                target = answer
                if on_redirect is not None:
                    left = patience.deadline - anyio.current_time()
                    patience.deadline = math.inf
                    await on_redirect(target)
                    patience.deadline = anyio.current_time() + left
    except (TimeoutError, httpcore2.TimeoutException) as error:
        raise RemoteTimeoutError(
            f"the remote server did not deliver within {policy.timeout_s:g} seconds"
        ) from error
    raise RemoteRedirectError(
        f"the remote server redirected more than {policy.max_redirects} times"
    )


def fetch_sync(url: str, policy: FetchPolicy, on_redirect: OnRedirect | None = None) -> bytes:
    """Return the body behind a URL, for callers who do not await; see `fetch`."""
    return waited(partial(fetch, url, policy, on_redirect=on_redirect))


def waited(work: Callable[[], Awaitable[bytes]]) -> bytes:
    """Run asynchronous work to its end; an event loop that runs here, as in a notebook, waits."""
    run = partial(anyio.run, work)
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return run()
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(run).result()


async def system_resolver(host: str, port: int) -> list[str]:
    """Resolve a host as the machine is configured to; the default `Resolver`."""
    # In a thread that may be abandoned: a stalling name server must not outlast the deadline.
    lookup = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
    found = await anyio.to_thread.run_sync(lookup, abandon_on_cancel=True)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class _CheckedBackend(httpcore2.AsyncNetworkBackend):
    """Resolves, checks and dials in one step, so that nothing can change in between."""

    def __init__(
        self,
        resolver: Resolver,
        inner: httpcore2.AsyncNetworkBackend,
        *,
        public_only: bool,
        dial_timeout_s: float,
    ) -> None:
        self._resolver = resolver
        self._inner = inner
        self._public_only = public_only
        self._dial_timeout_s = dial_timeout_s
        self._streams: list[httpcore2.AsyncNetworkStream] = []

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        async def dial(address: str, limit_s: float | None) -> httpcore2.AsyncNetworkStream:
            stream = await self._inner.connect_tcp(
                address,
                port,
                timeout=limit_s,
                local_address=local_address,
                socket_options=socket_options,
            )
            self._streams.append(stream)
            return stream

        *others, last = (await self._addresses(host, port))[:_MAX_DIALS]
        for address in others:
            # A dead address must leave time for the next one.
            with suppress(httpcore2.ConnectError, httpcore2.ConnectTimeout):
                return await dial(address, self._dial_timeout_s)
        return await dial(last, timeout)

    async def aclose(self) -> None:
        """Close what was opened; httpcore2 forgets a stream that is cancelled in its handshake."""
        for stream in self._streams:
            await stream.aclose()

    async def _addresses(self, host: str, port: int) -> list[str]:
        if is_address(host):
            found: Sequence[str] = [host]
        else:
            try:
                found = await self._resolver(host, port)
            except socket.gaierror as error:
                if error.errno in (socket.EAI_AGAIN, socket.EAI_FAIL):
                    raise RemoteFailedError("the URL's host could not be looked up") from error
                found = []
        if not found or (self._public_only and not all(map(is_public, found))):
            raise RefusedURLError(_NOT_PUBLIC)
        return list(found)


async def _get(
    target: Target,
    network: _CheckedBackend,
    policy: FetchPolicy,
    ssl_context: ssl.SSLContext,
    receive: Callable[[int], None],
    on_answer: OnAnswer,
) -> bytes | Target:
    """Request one URL; return the body, or where a redirect leads."""
    url = httpcore2.URL(
        scheme=target.scheme, host=target.host, port=target.port, target=target.path
    )
    headers = [
        ("Host", target.host_header),
        ("User-Agent", policy.user_agent),
        ("Accept", "image/jpeg, image/png, image/webp, */*;q=0.1"),
        ("Accept-Encoding", "identity"),
        ("Connection", "close"),
    ]
    try:
        async with (
            httpcore2.AsyncConnectionPool(
                ssl_context=ssl_context, network_backend=network, max_connections=1
            ) as pool,
            pool.stream("GET", url, headers=headers) as response,
        ):
            fields = _fields(response.headers)
            if response.status in _REDIRECTS:
                return _redirected(target, response.headers)
            if response.status != 200:
                raise RemoteStatusError(response.status, fields.get("retry-after", ""))
            on_answer(target, fields.get("content-type", ""))
            return await _body(response, fields, policy, receive)
    except httpcore2.ConnectError as error:
        # Its cause is lost on the way, its argument is not.
        if any(isinstance(why, ssl.SSLCertVerificationError) for why in error.args):
            raise RemoteLastingError(
                "the remote server could not be reached: its certificate is not valid"
            ) from error
        raise RemoteFailedError("the remote server could not be reached") from error
    except (httpcore2.NetworkError, httpcore2.ProtocolError) as error:
        raise RemoteFailedError("the remote server broke off or corrupted its answer") from error
    finally:
        with anyio.CancelScope(shield=True):
            await network.aclose()


async def _body(
    response: httpcore2.Response,
    fields: dict[str, str],
    policy: FetchPolicy,
    receive: Callable[[int], None],
) -> bytes:
    limit = policy.max_bytes
    too_large = RemoteTooLargeError(f"the remote answer is larger than {limit} bytes")
    # httpcore2 has checked its form.
    if int(fields.get("content-length", "0")) > limit and not policy.cut:
        raise too_large
    decoded = decoder(fields.get("content-encoding", ""))
    body, received = bytearray(), 0
    async for chunk in response.aiter_stream():
        received += len(chunk)
        for part in decoded(chunk):
            body += part
            if max(len(body), received) > limit:
                if policy.cut:
                    return bytes(body[:limit])
                raise too_large
            receive(len(part))
            await anyio.lowlevel.checkpoint()  # what inflates far keeps nobody else waiting
    return bytes(body)


def _fields(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    fields: dict[str, str] = {}
    for raw_name, raw_value in headers:
        name, value = raw_name.decode("ascii").lower(), raw_value.decode("latin-1")
        fields[name] = f"{fields[name]}, {value}" if name in fields else value
    return fields


def _redirected(base: Target, headers: Iterable[tuple[bytes, bytes]]) -> Target:
    locations = {value for name, value in headers if name.lower() == b"location"}
    if len(locations) != 1:
        raise RemoteRedirectError("the remote server redirected without saying where")
    raw = locations.pop()
    try:
        location = raw.decode("utf-8")
    except UnicodeDecodeError:  # browsers send bytes that are not UTF-8 back as they are
        location = re.sub(rb"[\x80-\xff]", lambda byte: b"%%%02X" % byte[0][0], raw).decode("ascii")
    try:
        return parse_redirect(base, location)
    except MalformedURLError as error:
        raise RemoteRedirectError("the remote server redirected to a malformed URL") from error


def _admitted(target: Target, policy: FetchPolicy, *, exempt: bool) -> bool:
    """Refuse what the policy refuses by name or port; return whether the pair is exempt."""
    if any(host_matches(target.host, rule) for rule in policy.denied_hosts):
        raise RefusedURLError("the URL's host is on the list of denied hosts")
    if policy.allowed_hosts and not any(
        host_matches(target.host, rule) for rule in policy.allowed_hosts
    ):
        raise RefusedURLError("the URL's host is not on the list of allowed hosts")
    if exempt and target.pair in policy.exempt:
        return True
    if target.port != PORTS[target.scheme]:
        raise RefusedURLError("only port 80 for http and port 443 for https are contacted")
    if "." not in target.host and not is_address(target.host):
        raise RefusedURLError(_NOT_PUBLIC)  # the local search domain would complete the name
    return False


@lru_cache(maxsize=1)
def _system_trust() -> ssl.SSLContext:
    """Read the system's certificates once; it takes longer than most fetches."""
    return httpcore2.default_ssl_context()
