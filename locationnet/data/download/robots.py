"""What the ``robots.txt`` of hosts allows us, each asked once (RFC 9309).

Knows nothing of photos.
"""

from __future__ import annotations

import math
import threading
import time
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

# A host that did not say is not asked again for each photo that waits for it.
_REMEMBERED_S = 5.0


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
    clock
        Replaces that of this machine.
    """

    def __init__(
        self, fetch: Callable[[str], bytes], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._fetch, self._clock = fetch, clock
        self._guard = threading.Lock()
        self._locks: dict[str, threading.Lock] = {}
        # Rules, and until when they hold.
        self._known: dict[str, tuple[Rules, float]] = {}

    def rules(self, target: Target) -> Rules:
        """Return the rules of a URL's host; what could not be had is asked for anew after a while.

        Who needs them at the same time shares the answer.
        """
        site = f"{target.scheme}://{target.pair}"
        with self._guard:
            lock = self._locks.setdefault(site, threading.Lock())
        with lock:  # only who needs this host's waits for it
            found, until = self._known.get(site, (None, 0.0))
            if found is None or self._clock() >= until:
                found = self._ask(site)
                until = self._clock() + _REMEMBERED_S if found.unknown else math.inf
                self._known[site] = found, until
            return found

    def known_delay_s(self, target: Target) -> float:
        """Return the delay that a URL's host is known to ask for; asks nobody."""
        known = self._known.get(f"{target.scheme}://{target.pair}")
        return known[0].delay_s if known else 0.0

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
