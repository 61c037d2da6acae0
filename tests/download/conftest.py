"""Servers on this machine that have photos, and faults: a site, and a store that speaks S3."""

from __future__ import annotations

import io
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet

from locationnet.commons import image_key, photo_hash

PHOTOS = 60


@dataclass
class Reply:
    """What the site says to one request."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    # Fewer bytes than announced, then it hangs up; or none at all for a while.
    cut: int | None = None
    stall_s: float = 0.0
    chunked: bool = False


class Site:
    """A server, what it has and what it was asked."""

    def __init__(self) -> None:
        self.pages: dict[str, Reply | Callable[[int], Reply]] = {}
        self.asked: Counter[str] = Counter()
        self.times: list[tuple[float, str]] = []
        self.agents: set[str] = set()
        self.delay_s = 0.0
        self.most_at_once = self.now = 0
        self.guard = threading.Lock()
        self.released = threading.Event()

    @property
    def photos_asked(self) -> int:
        with self.guard:  # requests come in meanwhile
            return self.asked.total() - self.asked["/robots.txt"]


class _Handler(BaseHTTPRequestHandler):
    site: Site
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        site = self.site
        path = self.path.partition("?")[0]
        with site.guard:
            site.asked[path] += 1
            count = site.asked[path]
            site.times.append((time.monotonic(), path))
            site.agents.add(self.headers.get("User-Agent", ""))
            site.now += 1
            site.most_at_once = max(site.most_at_once, site.now)
        try:
            reply = site.pages.get(path, Reply(404))
            if callable(reply):
                reply = reply(count)
            time.sleep(site.delay_s)
            if reply.stall_s:
                site.released.wait(reply.stall_s)
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            body = reply.body
            if reply.chunked:
                self.send_header("Transfer-Encoding", "chunked")
                body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
            else:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: reply.cut])
            if reply.cut is not None:
                self.close_connection = True
        except OSError:
            pass  # whoever asked was killed
        finally:
            with site.guard:
                site.now -= 1

    def log_message(self, *_: object) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def handle_error(self, *_: object) -> None:
        pass


@dataclass
class World:
    """A table of photos and the site that has them."""

    site: Site
    host: str
    folder: Path
    names: list[str]
    photos: dict[str, bytes]

    @staticmethod
    def reply(status: int = 200, body: bytes = b"", **more: Any) -> Reply:
        return Reply(status, body, **more)

    @staticmethod
    def jpeg(number: int, size: tuple[int, int] = (320, 240)) -> bytes:
        return jpeg(number, size)

    @property
    def endpoint(self) -> str:
        return f"http://{self.host}"

    @property
    def table(self) -> Path:
        return self.folder / "photos-wanted.parquet"

    def url(self, name: str) -> str:
        return f"http://{self.host}/{name}"

    def path(self, name: str) -> str:
        return image_key(photo_hash(self.url(name)))

    def write_table(self, names: list[str] | None = None, table: Path | None = None) -> Path:
        names = self.names if names is None else names
        count = len(names)
        columns = {
            "id": names,
            "lat": [(48.8, -1.3, 37.8)[index % 3] for index in range(count)],
            "lng": [(2.3, 36.8, -122.4)[index % 3] for index in range(count)],
            "uploader": [f"user{index % 7}" for index in range(count)],
            "url": [self.url(name) for name in names],
            "hash": [photo_hash(self.url(name)) for name in names],
            "licence": ["CC-BY-2.0"] * count,
            "attribution": [f'"{name}" by user{index % 7}' for index, name in enumerate(names)],
        }
        parquet.write_table(pa.table(columns), table or self.table)
        return table or self.table


def jpeg(number: int, size: tuple[int, int] = (320, 240)) -> bytes:
    """A small photo unlike any other."""
    pixels = np.random.default_rng(number).integers(0, 256, (12, 16, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).resize(size).save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


@pytest.fixture(scope="session")
def jpegs() -> list[bytes]:
    return [jpeg(number) for number in range(PHOTOS)]


@pytest.fixture
def world(tmp_path: Path, jpegs: list[bytes]) -> Iterator[World]:
    """A site with `PHOTOS` photos, under their URLs and as a store would have them."""
    site = Site()
    handler = type("Ours", (_Handler,), {"site": site})
    with _Server(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        names = [f"{number:03}.jpg" for number in range(PHOTOS)]
        world = World(
            site,
            f"127.0.0.1:{server.server_port}",
            tmp_path,
            names,
            dict(zip(names, jpegs, strict=True)),
        )
        for name, data in world.photos.items():
            site.pages[f"/{name}"] = Reply(body=data)
            site.pages[f"/multimedia-commons/{world.path(name)}"] = Reply(body=data)
        world.write_table()
        yield world
        site.released.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def little_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """Journals and spools for which the disk is full after a few pages."""
    connect = sqlite3.connect

    def narrow(*where: Any, **how: Any) -> sqlite3.Connection:
        base: sqlite3.Connection = connect(*where, **how)
        base.execute("PRAGMA max_page_count = 5")
        return base

    monkeypatch.setattr(sqlite3, "connect", narrow)
