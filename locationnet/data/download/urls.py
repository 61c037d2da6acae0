"""Photos by their original URLs, the way a guest asks: by name, within the rules, not too often.

Every request goes through `locationnet.remote`, so that no table of URLs leads into a private
network. Knows nothing of what a photo holds.
"""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import partial
from pathlib import PurePosixPath

import anyio.to_thread

from locationnet import __version__
from locationnet.data.download.agenda import Photo
from locationnet.data.download.problems import (
    FORBIDDEN,
    GONE,
    NO_ADDRESS,
    NOT_CONTACTED,
    PLACEHOLDER,
    REFUSED,
    SLOW,
    THROTTLED,
    TOO_LARGE,
    UNREACHABLE,
    ProblemError,
)
from locationnet.data.download.robots import AGENT, Robots
from locationnet.errors import (
    FetchError,
    MalformedURLError,
    RefusedURLError,
    RemoteStatusError,
    RemoteTimeoutError,
    RemoteTooLargeError,
)
from locationnet.remote import FetchPolicy, fetch_sync
from locationnet.urls import Target, parse_url

USER_AGENT = f"{AGENT}/{__version__} (+https://github.com/locationnet/locationnet)"

_TIMEOUT_S = 30.0
_MAX_BYTES = 64 << 20
_ROBOTS_BYTES = 512 << 10
# Where Flickr sends those who ask for a photo that was removed.
_UNAVAILABLE = "photo_unavailable"


class Urls:
    """Fetches photos by URL; safe to use from many threads.

    Parameters
    ----------
    exempt
        ``"host:port"`` of servers in a private network that may be asked.
    timeout_s
        Seconds for one photo.
    """

    def __init__(self, exempt: tuple[str, ...] = (), timeout_s: float = _TIMEOUT_S) -> None:
        self._policy = FetchPolicy(
            timeout_s=timeout_s, max_bytes=_MAX_BYTES, exempt=exempt, user_agent=USER_AGENT
        )
        rules = FetchPolicy(
            timeout_s=timeout_s,
            max_bytes=_ROBOTS_BYTES,
            max_redirects=5,
            exempt=exempt,
            user_agent=USER_AGENT,
        )
        self._robots = Robots(partial(fetch_sync, policy=rules))

    def host(self, url: str) -> str:
        """Return who is asked for a URL; ``""`` where it is none."""
        try:
            return parse_url(url).host
        except FetchError:
            return ""

    def get(self, photo: Photo) -> bytes:
        """Return what is behind a photo's URL.

        Raises
        ------
        ProblemError
            Why it cannot be had.
        """
        if not photo.url:
            raise ProblemError(NO_ADDRESS)
        try:
            self._check(parse_url(photo.url))
            return fetch_sync(photo.url, self._policy, self._redirected)
        except RemoteStatusError as error:
            raise _of_status(error) from error
        except RemoteTooLargeError as error:
            raise ProblemError(TOO_LARGE, str(error)) from error
        except (RefusedURLError, MalformedURLError) as error:
            raise ProblemError(NOT_CONTACTED, str(error)) from error
        except RemoteTimeoutError as error:
            raise ProblemError(SLOW, str(error)) from error
        except FetchError as error:
            raise ProblemError(UNREACHABLE, str(error)) from error

    def delay_s(self, photo: Photo) -> float:
        """Return the seconds between requests that a photo's host is known to ask for."""
        try:
            return self._robots.known_delay_s(parse_url(photo.url))
        except FetchError:
            return 0.0

    def _check(self, target: Target) -> None:
        rules = self._robots.rules(target)
        if rules.unknown:
            raise ProblemError(UNREACHABLE, f"its robots.txt: {rules.unknown}")
        if not rules.allow(str(target)):
            raise ProblemError(FORBIDDEN)

    async def _redirected(self, target: Target) -> None:
        if PurePosixPath(target.path.partition("?")[0]).stem == _UNAVAILABLE:
            raise ProblemError(PLACEHOLDER, f"it leads to {_UNAVAILABLE}")
        await anyio.to_thread.run_sync(self._check, target)


def retry_after_s(header: str, now: datetime) -> float | None:
    """Return the seconds that a ``Retry-After`` means: a number or a date; None for neither."""
    text = header.strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - now).total_seconds())


def _of_status(error: RemoteStatusError) -> ProblemError:
    said = f"answered {error.status}"
    if error.status in (404, 410):
        return ProblemError(GONE, said)
    wait_s = retry_after_s(error.retry_after, datetime.now(UTC))
    if error.status == 429 or (error.status == 503 and wait_s is not None):
        return ProblemError(THROTTLED, said, wait_s)
    if error.status >= 500 or error.status == 408:
        return ProblemError(UNREACHABLE, said)
    return ProblemError(REFUSED, said)
