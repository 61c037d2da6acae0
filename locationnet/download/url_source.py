"""Photos by their original URLs, the way a guest asks: by name, within the rules, not too often.

Every request goes through `locationnet.net.fetch`, so that no table of URLs leads into a private
network. Knows nothing of what a photo holds.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from urllib.parse import unquote

import anyio.to_thread

from locationnet import __version__
from locationnet.download.failures import (
    FAULTY,
    NO_ADDRESS,
    NOT_CONTACTED,
    PLACEHOLDER,
    SLOW,
    TOO_LARGE,
    UNREACHABLE,
    DownloadError,
)
from locationnet.download.http_status import of_status
from locationnet.download.rate_limit import RateLimiter
from locationnet.download.robots import AGENT, Robots
from locationnet.download.scheduler import Photo
from locationnet.errors import (
    FetchError,
    InputError,
    MalformedURLError,
    RefusedURLError,
    RemoteLastingError,
    RemoteStatusError,
    RemoteTimeoutError,
    RemoteTooLargeError,
)
from locationnet.net.fetch import FetchPolicy, fetch_sync
from locationnet.net.urls import Target, exempt_pair, parse_url

USER_AGENT = f"{AGENT}/{__version__} (+https://github.com/locationnet/locationnet)"

_TIMEOUT_S = 30.0
_MAX_BYTES = 64 << 20
# RFC 9309, section 2.5: at least 500 KiB are read.
_ROBOTS_BYTES = 512 << 10
# Where Flickr sends those who ask for a photo that was removed, in the size that they asked for.
_UNAVAILABLE = re.compile(r"photo[_-]unavailable(?![^\W_])", re.IGNORECASE)


class Urls:
    """Fetches photos by URL; safe to use from many threads.

    Parameters
    ----------
    exempt
        ``"host:port"`` of servers in a private network that may be asked.
    timeout_s
        Seconds for one photo.
    interval_s
        Seconds between two requests to a host, of whatever kind.

    Raises
    ------
    InputError
        An exemption is not ``host:port``.
    MissingExtraError
        Protego is not installed.
    """

    def __init__(
        self,
        exempt: tuple[str, ...] = (),
        timeout_s: float = _TIMEOUT_S,
        interval_s: float = 0.0,
    ) -> None:
        try:
            exempt = tuple(map(exempt_pair, exempt))
        except ValueError as error:
            raise InputError(f"exempt: {error}") from error
        self._policy = FetchPolicy(
            timeout_s=timeout_s, max_bytes=_MAX_BYTES, exempt=exempt, user_agent=USER_AGENT
        )
        self._policy_of_rules = FetchPolicy(
            timeout_s=timeout_s,
            max_bytes=_ROBOTS_BYTES,
            cut=True,
            max_redirects=5,
            exempt=exempt,
            user_agent=USER_AGENT,
        )
        self._robots = Robots(self._fetch_rules)
        self.limiter = RateLimiter(interval_s)

    def failure(self, photo: Photo) -> DownloadError | None:
        """Return why a photo's URL cannot be asked; None where it can."""
        if not photo.url.strip():
            return DownloadError(NO_ADDRESS)
        try:
            parse_url(photo.url)
        except FetchError as error:
            return DownloadError(NOT_CONTACTED, str(error))
        return None

    def host(self, photo: Photo) -> str:
        """Return who is asked for a photo without a `failure`."""
        return parse_url(photo.url).host

    def get(self, photo: Photo) -> bytes:
        """Return what is behind a photo's URL.

        Raises
        ------
        DownloadError
            Why it cannot be had.
        """
        try:
            self._admit(parse_url(photo.url))
            return fetch_sync(photo.url, self._policy, self._redirected)
        except RemoteStatusError as error:
            raise of_status(error) from error
        except RemoteTooLargeError as error:
            raise DownloadError(TOO_LARGE, str(error)) from error
        except (RefusedURLError, MalformedURLError) as error:
            raise DownloadError(NOT_CONTACTED, str(error)) from error
        except RemoteTimeoutError as error:
            raise DownloadError(SLOW, str(error)) from error
        except RemoteLastingError as error:
            raise DownloadError(FAULTY, str(error)) from error
        except FetchError as error:
            raise DownloadError(UNREACHABLE, str(error)) from error

    def _fetch_rules(self, url: str) -> bytes:
        self.limiter.wait(parse_url(url).host)
        data = fetch_sync(url, self._policy_of_rules, self._rules_redirected)
        if len(data) == _ROBOTS_BYTES:  # it was cut, and half a rule may forbid more than all of it
            data = data[: max(data.rfind(b"\r"), data.rfind(b"\n")) + 1]
        return data

    async def _rules_redirected(self, target: Target) -> None:
        await anyio.to_thread.run_sync(self.limiter.wait, target.host)

    def _admit(self, target: Target) -> None:
        """Wait until a URL may be asked for, or object."""
        if _UNAVAILABLE.match(PurePosixPath(unquote(target.path.partition("?")[0])).name):
            raise DownloadError(PLACEHOLDER, "it leads to photo_unavailable")
        rules = self._robots.rules(target)
        if failure := rules.failure(target):
            raise failure
        self.limiter.wait(target.host, rules.delay_s)

    async def _redirected(self, target: Target) -> None:
        await anyio.to_thread.run_sync(self._admit, target)
