"""Objects of a real S3-compatible server on this machine, read without an account."""

from __future__ import annotations

import io
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from locationnet.errors import InputError, LocationNetError
from locationnet.net.s3 import S3Object, S3Stream, list_objects

boto3 = pytest.importorskip("boto3", reason="needs the extra 'aws'")

CONTENT = bytes(range(256)) * 500


@pytest.fixture(autouse=True)
def _no_account(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)


def _read(stream: io.RawIOBase) -> bytes:
    with stream:
        return io.BufferedReader(stream).read()


def test_objects_are_listed_and_read(s3_server: str, put: Any) -> None:
    for key in ("meta/a.bz2", "meta/deep/b", "metadata", "meta/"):
        put(key, CONTENT if key != "meta/" else b"")
    names = [item.name for item in list_objects("s3://commons/meta/", s3_server)]
    assert names == ["s3://commons/meta/a.bz2", "s3://commons/meta/deep/b"]
    assert [item.key for item in list_objects("s3://commons/meta", s3_server)] == [
        "meta/a.bz2", "meta/deep/b",
    ]  # fmt: skip
    assert len(list_objects("s3://commons", s3_server)) == 3
    (one,) = list_objects("s3://commons/metadata", s3_server)
    assert one.size == len(CONTENT)
    stream = S3Stream(one, s3_server)
    assert _read(stream) == CONTENT


def test_what_is_not_there_is_named(s3_server: str, put: Any) -> None:
    put("a", b"x")
    with pytest.raises(InputError, match="s3://commons/b: nothing is there"):
        list_objects("s3://commons/b", s3_server)
    with pytest.raises(InputError, match="names no bucket"):
        list_objects("s3://", s3_server)
    with pytest.raises(LocationNetError, match="s3://other/: cannot be listed"):
        list_objects("s3://other/", s3_server)
    with pytest.raises(InputError, match="nonsense"):
        list_objects("s3://commons/a", "nonsense")


def test_an_object_that_changes_is_not_read_on(s3_server: str, put: Any) -> None:
    put("a", CONTENT)
    (item,) = list_objects("s3://commons/a", s3_server)
    put("a", CONTENT[::-1])
    with pytest.raises(LocationNetError, match="s3://commons/a"):
        _read(S3Stream(item, s3_server))


@dataclass
class Fragile:
    """A server that hangs up after some bytes, as often as it is told."""

    url: str = ""
    breaks: int = 0
    asked: list[str] = field(default_factory=list)


@pytest.fixture
def fragile() -> Iterator[Fragile]:
    site = Fragile()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = self.headers["Range"]
            site.asked.append(asked)
            match = re.fullmatch(r"bytes=(\d+)-", asked)
            assert match is not None
            body = CONTENT[int(match[1]) :]
            self.send_response(206)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("ETag", '"one"')
            self.end_headers()
            if len(site.asked) <= site.breaks:
                body = body[:10_000]
            self.wfile.write(body)
            self.close_connection = True

        def log_message(self, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        site.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield site
        server.shutdown()
        thread.join()


def test_a_broken_connection_is_taken_up_where_it_broke(fragile: Fragile) -> None:
    fragile.breaks = 3
    item = S3Object("commons", "a", len(CONTENT), '"one"')
    assert _read(S3Stream(item, fragile.url)) == CONTENT
    assert fragile.asked[:2] == ["bytes=0-", "bytes=10000-"]


def test_a_server_that_is_gone_is_an_error_and_not_the_end(fragile: Fragile) -> None:
    item = S3Object("commons", "a", len(CONTENT) + 5, '"one"')
    with pytest.raises(LocationNetError, match="connection broke 5 times at byte 128000"):
        _read(S3Stream(item, fragile.url))
