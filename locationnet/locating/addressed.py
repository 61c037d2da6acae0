"""Photos by what a table calls them: a path, a URL, or a key of a store that speaks S3.

Knows addresses and how they are read; not tables, nor what a photo shows.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from threading import Lock

from locationnet.download.bucket_source import Bucket
from locationnet.download.failures import NO_ADDRESS, DownloadError
from locationnet.download.scheduler import Photo
from locationnet.download.url_source import Urls
from locationnet.errors import InputError
from locationnet.model.photo_source import read_file
from locationnet.net.photo_urls import is_meant_as_address, wrong_address
from locationnet.net.s3 import SCHEME

# Photos that are read while others are computed: more are memory, fewer are waiting.
_AHEAD = 16
_WEB = ("http://", "https://")
_TRIES, _PATIENCE_S = 3, 30.0


@dataclass(frozen=True)
class Source:
    """Where photos lie and how fast they may be asked for; travels to other machines.

    Parameters
    ----------
    images
        Where paths and keys start: a folder, ``s3://bucket/folder``, or ``""`` for the current
        folder.
    endpoint_url
        The store, where it is not Amazon's.
    rate
        Requests a second to each host, by URL.
    exempt
        ``"host:port"`` of servers in a private network that may be asked.
    """

    images: str = ""
    endpoint_url: str | None = None
    rate: float = 5.0
    exempt: tuple[str, ...] = ()

    def shared_by(self, machines: int) -> Source:
        """Return one machine's share, so that together they ask no host more often."""
        return replace(self, rate=self.rate / machines)


class Reader:
    """Reads photos; safe to use from many threads.

    Parameters
    ----------
    source
        Where they lie.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._buckets: dict[str, Bucket] = {}
        self._lock = Lock()

    def read(self, name: str) -> bytes:
        """Return a photo's bytes; a server that fails is asked again.

        Parameters
        ----------
        name
            As it stands in the table.

        Raises
        ------
        LocationNetError
            It cannot be had; the message says why, without its name.
        """
        if not name:
            raise DownloadError(NO_ADDRESS)
        if name.lower().startswith(_WEB):
            return _asked(lambda: self._url(name))
        if not name.startswith(SCHEME) and self._source.images.startswith(SCHEME):
            name = f"{self._source.images.rstrip('/')}/{name.lstrip('/')}"
        if name.startswith(SCHEME):
            bucket, _, key = name.removeprefix(SCHEME).partition("/")
            if not (bucket and key):
                raise InputError("names no object; expected s3://bucket/key")
            return _asked(lambda: self._bucket(bucket).get(Photo(0, key, "")))
        path = Path(self._source.images) / name
        if is_meant_as_address(name) and not path.exists():
            raise InputError(wrong_address(name))
        return read_file(path)

    def _url(self, url: str) -> bytes:
        photo = Photo(0, "", url)
        failure = self._urls.failure(photo)
        if failure is not None:
            raise failure
        return self._urls.get(photo)

    @cached_property
    def _urls(self) -> Urls:
        return Urls(self._source.exempt, interval_s=1 / self._source.rate)

    def _bucket(self, name: str) -> Bucket:
        with self._lock:
            if name not in self._buckets:
                self._buckets[name] = Bucket(self._source.endpoint_url, _AHEAD, name)
            return self._buckets[name]


class Addressed:
    """A photo of a table, which is read ahead of its turn.

    Parameters
    ----------
    part
        The first row of the part that it belongs to.
    name
        As it stands in the table.
    data
        Its bytes, as soon as they are there.
    """

    def __init__(self, part: int, name: str, data: Future[bytes]) -> None:
        self.part, self.name = part, name
        self._data: Future[bytes] | None = data

    def read(self) -> bytes:
        """Return its bytes once, which are then let go; see `Reader.read`."""
        data, self._data = self._data, None
        assert data is not None  # noqa: S101 - who asks twice has a bug
        return data.result()


def read_ahead(photos: Iterable[tuple[int, str]], source: Source) -> Iterator[Addressed]:
    """Yield photos in their order while some of the next are being read.

    Parameters
    ----------
    photos
        For each its part and its name.
    source
        Where they lie.
    """
    reader = Reader(source)
    waiting: deque[Addressed] = deque()
    pool = ThreadPoolExecutor(_AHEAD)
    try:
        for part, name in photos:
            waiting.append(Addressed(part, name, pool.submit(reader.read, name)))
            if len(waiting) > _AHEAD:
                yield waiting.popleft()
        yield from waiting
    finally:
        pool.shutdown(cancel_futures=True)


def _asked(get: Callable[[], bytes]) -> bytes:
    for tried in range(1, _TRIES):
        try:
            return get()
        except DownloadError as error:
            if not error.temporary:
                raise
            time.sleep(min(error.wait_s or 2.0**tried / 2, _PATIENCE_S))
    return get()
