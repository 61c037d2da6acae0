"""What the ``robots.txt`` of hosts allows us, each asked once (RFC 9309).

Knows nothing of photos.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from urllib.robotparser import RobotFileParser

from locationnet.errors import (
    FetchError,
    RemoteFailedError,
    RemoteStatusError,
    RemoteTimeoutError,
    RemoteTooLargeError,
)
from locationnet.urls import Target

AGENT = "locationnet"


@dataclass(frozen=True)
class Rules:
    """The rules of one host.

    Parameters
    ----------
    parser
        They themselves; None where the host did not say.
    unknown
        Why the host did not say, for now.
    """

    parser: RobotFileParser | None
    unknown: str = ""

    def allow(self, url: str) -> bool:
        """Tell whether a URL may be fetched."""
        return self.parser is None or self.parser.can_fetch(AGENT, url)

    @property
    def delay_s(self) -> float:
        """Seconds between two requests that the host asks for; 0 where it does not."""
        if self.parser is None:
            return 0.0
        delay = self.parser.crawl_delay(AGENT)
        rate = self.parser.request_rate(AGENT)
        asked = float(delay) if delay else 0.0
        return max(asked, rate.seconds / rate.requests) if rate and rate.requests else asked


class Robots:
    """Looks up rules; safe to use from many threads.

    Parameters
    ----------
    fetch
        Returns what is behind a URL, or raises `FetchError`.
    """

    def __init__(self, fetch: Callable[[str], bytes]) -> None:
        self._fetch = fetch
        self._guard = threading.Lock()
        self._locks: dict[str, threading.Lock] = {}
        self._rules: dict[str, Rules] = {}

    def rules(self, target: Target) -> Rules:
        """Return the rules of a URL's host; where they could not be had they are asked for anew."""
        site = f"{target.scheme}://{target.pair}"
        with self._guard:
            lock = self._locks.setdefault(site, threading.Lock())
        with lock:  # only who needs this host's waits for it
            found = self._rules.get(site)
            if found is None:
                found = self._ask(site)
                if not found.unknown:
                    self._rules[site] = found
            return found

    def known_delay_s(self, target: Target) -> float:
        """Return the delay that a URL's host is known to ask for; asks nobody."""
        rules = self._rules.get(f"{target.scheme}://{target.pair}")
        return rules.delay_s if rules else 0.0

    def _ask(self, site: str) -> Rules:
        try:
            data = self._fetch(f"{site}/robots.txt")
        except RemoteStatusError as error:
            # "Unavailable" (4xx) allows everything, "unreachable" (5xx) nothing.
            if 400 <= error.status < 500 and error.status != 429:
                return Rules(None)
            return Rules(None, str(error))
        except RemoteTooLargeError:
            return Rules(None)
        except (RemoteTimeoutError, RemoteFailedError) as error:
            return Rules(None, str(error))
        except FetchError:  # not contacted at all; the photo's own fetch says why
            return Rules(None)
        return Rules(parse(data))


def parse(data: bytes) -> RobotFileParser:
    """Read a ``robots.txt``, whatever is in it."""
    parser = RobotFileParser()
    parser.parse(data.decode("utf-8-sig", errors="replace").splitlines())
    return parser
