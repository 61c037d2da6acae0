"""Where photos come from, as a description that travels to other machines and opens there.

Knows which sources there are and how fast each may be asked.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, Protocol

from locationnet.download.failures import NOT_CONTACTED, DownloadError
from locationnet.download.rate_limit import RateLimiter
from locationnet.download.scheduler import Photo

Kind = Literal["bucket", "urls"]

DEFAULT_RATE = 5.0
# A store is made for it; other people's servers are not.
_MOST = {"bucket": 256, "urls": 32}


class Reader(Protocol):
    """An opened source; safe to use from many threads."""

    limiter: RateLimiter
    """How often each host is asked."""

    def failure(self, photo: Photo) -> DownloadError | None:
        """Return why nobody can be asked for a photo; None where somebody can."""

    def host(self, photo: Photo) -> str:
        """Return who is asked for a photo without a `failure`."""

    def get(self, photo: Photo) -> bytes:
        """Return a photo's bytes, or raise `DownloadError`."""


@dataclass(frozen=True)
class Source:
    """A source that is not opened.

    Parameters
    ----------
    kind
        ``"bucket"``: Multimedia Commons. ``"urls"``: the photos' own addresses.
    endpoint_url
        The store, where it is not Amazon's.
    rate
        Requests to each host in a second, by URL.
    exempt
        ``"host:port"`` of servers in a private network that may be asked.
    timeout_s
        Seconds for one photo, by URL.
    connections
        Photos asked for at a time, at most; 256 of a bucket and 32 by URL unless given.
    """

    kind: Kind = "bucket"
    endpoint_url: str | None = None
    rate: float = DEFAULT_RATE
    exempt: tuple[str, ...] = ()
    timeout_s: float = 30.0
    connections: int | None = None

    @property
    def interval_s(self) -> float:
        """Seconds between two requests to a host."""
        return 1 / self.rate if self.kind == "urls" else 0.0

    @property
    def most_connections(self) -> int:
        """How many photos are asked for at a time, at most."""
        return self.connections or _MOST[self.kind]

    def shared_by(self, machines: int) -> Source:
        """Return one machine's share, so that together they ask no host more often."""
        return replace(self, rate=self.rate / max(1, machines))

    def asked(self, reason: str) -> str:
        """Return who says that a photo is not to be had, as a journal notes it."""
        if self.kind == "bucket":
            return f"bucket {self.endpoint_url}" if self.endpoint_url else "bucket"
        # What is contacted depends on what is exempt.
        return " ".join(("urls", *sorted(self.exempt))) if reason == NOT_CONTACTED else "urls"

    def open(self) -> Reader:
        """Make it ready.

        Raises
        ------
        LocationNetError
            What it needs is not installed, or it is described wrongly.
        """
        if self.kind == "bucket":
            from locationnet.download.bucket_source import Bucket

            return Bucket(self.endpoint_url, self.most_connections)
        from locationnet.download.url_source import Urls

        return Urls(self.exempt, self.timeout_s, self.interval_s)
