"""What the ``robots.txt`` of hosts allows us, each asked once (RFC 9309).

Knows nothing of photos. Which groups of a file are ours is decided here, because Protego takes a
part of our name for our name; what their paths match is Protego's.
"""

from __future__ import annotations

import codecs
import re
import string
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote

from locationnet.download.failures import FAULTY, FORBIDDEN, TEMPORARY, UNREACHABLE, DownloadError
from locationnet.download.http_status import of_status
from locationnet.errors import (
    FetchError,
    MissingExtraError,
    RemoteFailedError,
    RemoteLastingError,
    RemoteRedirectError,
    RemoteStatusError,
    RemoteTimeoutError,
)
from locationnet.net.urls import Target

if TYPE_CHECKING:
    from protego import Protego

AGENT = "locationnet"

# A host that did not say is not asked again for each photo that waits for it.
_REMEMBERED_S = 5.0
# RFC 9309, section 2.4.
_KEPT_S = 24 * 3600.0
# Who wants longer pauses between two photos wants no visits by a program. A photo waits for up to
# three of them, and a run for no photo longer than five minutes.
_MOST_DELAY_S = 100.0

# Other records must not come between these (section 2.2.4). The spellings of "disallow" are those
# that Protego reads.
_RECORD = re.compile(
    r"(?:(?P<agent>user[- ]?agent)|(?P<delay>crawl[- ]delay)|(?P<rate>request[- ]rate)"
    r"|(?P<path>allow|dis+al+[oa]w|diasllow))(?:\s*:|\s)\s*(?P<value>.*)",
    re.IGNORECASE,
)
_TOKEN = re.compile(r"[^\s*/,;(]+|\*(?!\S)")
_SECONDS = re.compile(r"[0-9]*[.,]?[0-9]+(?:e\+?[0-9]+)?", re.IGNORECASE)
_RATE = re.compile(r"([0-9]{1,9})\s*/\s*([0-9]{1,9})\s*([smhd]?)", re.IGNORECASE)
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}


@dataclass(frozen=True)
class Rules:
    """The rules of one host.

    Parameters
    ----------
    parser
        Holds the rules for us as those for everybody; None where everything is allowed.
    delay_s
        Seconds between two requests that the host asks for; 0 where it does not.
    reason
        Why nothing of the host may be asked for, as in `DownloadError`; ``""`` where something may.
    detail
        More about that.
    wait_s
        Seconds after which the rules may be asked for again; None where the host did not say.
    """

    parser: Protego | None = None
    delay_s: float = 0.0
    reason: str = ""
    detail: str = ""
    wait_s: float | None = None

    def failure(self, target: Target) -> DownloadError | None:
        """Return why a URL may not be asked for; None where it may."""
        if self.reason:
            return DownloadError(self.reason, self.detail, self.wait_s)
        if self.parser is None or self.parser.can_fetch(str(target), AGENT):
            return None
        return DownloadError(FORBIDDEN)

    @property
    def kept_s(self) -> float:
        """Seconds for which they hold."""
        return max(_REMEMBERED_S, self.wait_s or 0.0) if self.reason in TEMPORARY else _KEPT_S


class Robots:
    """Looks up rules; safe to use from many threads.

    Parameters
    ----------
    fetch
        Returns what is behind a URL, or raises `FetchError`.
    clock
        Replaces that of this machine.

    Raises
    ------
    MissingExtraError
        Protego is not installed.
    """

    def __init__(
        self, fetch: Callable[[str], bytes], clock: Callable[[], float] = time.monotonic
    ) -> None:
        _protego()
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
                self._known[site] = found, self._clock() + found.kept_s
            return found

    def _ask(self, site: str) -> Rules:
        try:
            return parse(self._fetch(f"{site}/robots.txt"))
        except RemoteStatusError as error:
            # "Unavailable" (4xx) allows everything, "unreachable" (5xx) nothing.
            if error.status < 500 and error.status != 429:
                return Rules()
            failure = of_status(error)
        except RemoteRedirectError:  # as good as unavailable (section 2.3.1.2)
            return Rules()
        except RemoteLastingError as error:
            failure = DownloadError(FAULTY, str(error))
        except (RemoteTimeoutError, RemoteFailedError) as error:
            failure = DownloadError(UNREACHABLE, str(error))
        except FetchError:  # not contacted at all; the photo's own fetch says why
            return Rules()
        return Rules(
            reason=failure.reason,
            detail=f"its robots.txt: {failure.detail}",
            wait_s=failure.wait_s,
        )


def parse(data: bytes) -> Rules:
    """Read a ``robots.txt``, whatever is in it."""
    utf16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    lines = re.split(r"[\r\n]+", data.decode("utf-16" if utf16 else "utf-8-sig", errors="replace"))
    paths, delay_s = ["User-agent: *"], 0.0
    for record in _ours(lines):
        if record["path"]:
            # Protego would take more characters than these two for the end of a line.
            paths.append(f"{record['path']}: {quote(record['value'], safe=string.punctuation)}")
        else:
            delay_s = max(delay_s, _delay_s(record))
    if delay_s > _MOST_DELAY_S:
        return Rules(reason=FORBIDDEN, detail=f"it asks for pauses of {delay_s:,.0f} seconds")
    return Rules(_protego().parse("\n".join(paths)), delay_s)


def _ours(lines: Iterable[str]) -> list[re.Match[str]]:
    """Return the records of all groups that name us, or else of all that are for everybody."""
    groups: dict[str, list[re.Match[str]]] = {}
    named: set[str] = set()
    heading = False
    for line in lines:
        record = _RECORD.fullmatch(line.partition("#")[0].strip())
        if record is None:
            continue
        if record["agent"]:
            if not heading:
                named = set()
            token = _TOKEN.match(record["value"])
            if token and token[0].lower() in (AGENT, "*"):
                named.add(token[0].lower())
                groups.setdefault(token[0].lower(), [])
        else:
            for name in named:
                groups[name].append(record)
        heading = bool(record["agent"])
    return groups.get(AGENT, groups.get("*", []))


def _delay_s(record: re.Match[str]) -> float:
    """Return the seconds between two requests that a record asks for; 0 for an unusable one."""
    if record["delay"]:
        seconds = _SECONDS.match(record["value"])
        return float(seconds[0].replace(",", ".")) if seconds else 0.0
    rate = _RATE.match(record["value"])
    if rate is None or not int(rate[1]):
        return 0.0
    return int(rate[2]) * _UNITS[rate[3].lower()] / int(rate[1])


def _protego() -> type[Protego]:
    try:
        from protego import Protego
    except ImportError as error:
        raise MissingExtraError("asking photos' own servers", "data") from error
    return Protego
