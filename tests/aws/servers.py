"""Servers that tests talk to over HTTP: a proxy that spoils answers, and EC2's metadata service.

Both listen on loopback and stop with the block that started them.
"""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

REGION = "us-west-2"
BUCKET = "photos-of-places"
# One that moto comes with, for x86-64.
IMAGE = "ami-03cf127a"


@dataclass(frozen=True)
class Asked:
    """A request as the proxy saw it."""

    method: str
    path: str
    body: bytes
    target: str = ""

    @property
    def action(self) -> str:
        """What EC2 names in the body, and SageMaker in a header."""
        found = [part for part in self.body.decode().split("&") if part.startswith("Action=")]
        return found[0].removeprefix("Action=") if found else self.target.rpartition(".")[2]


@dataclass(frozen=True)
class Answer:
    """What the proxy says instead of the server; with ``cut`` it hangs up in the middle."""

    status: int = 200
    body: bytes = b""
    cut: bool = False


Rule = Callable[[Asked], Answer | None]


@dataclass
class Proxy:
    """Passes requests on to a server, except where a rule answers."""

    url: str
    asked: list[Asked] = field(default_factory=list)
    rule: Rule = lambda _: None


@contextmanager
def spoiling_proxy(upstream: str, path: str | None = None) -> Iterator[Proxy]:
    """Run a proxy in front of a server; with a path, that one is asked whatever the client asks."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _pass_on(self) -> None:
            body = self._body()
            asked = Asked(self.command, self.path, body, self.headers.get("X-Amz-Target", ""))
            made.asked.append(asked)
            answer = made.rule(asked)
            if answer is None or answer.cut:
                status, headers, content = self._upstream(body)
            else:
                status, headers, content = answer.status, [], answer.body
            self.send_response(status)
            for name, value in headers:
                if name.lower() not in ("content-length", "connection", "transfer-encoding"):
                    self.send_header(name, value)
            length = dict(headers).get("Content-Length") if self.command == "HEAD" else None
            self.send_header("Content-Length", length or str(len(content)))
            self.end_headers()
            if answer is not None and answer.cut:
                self.wfile.write(content[: len(content) // 2])
                self.close_connection = True
            else:
                self.wfile.write(content)

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _pass_on  # noqa: N815 - its names there

        def _body(self) -> bytes:
            if self.headers.get("Expect", "").lower() == "100-continue":
                self.send_response_only(100)
                self.end_headers()
            if self.headers.get("Transfer-Encoding") == "chunked":
                content = b""
                while size := int(self.rfile.readline().split(b";")[0], 16):
                    content += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
                return content
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))

        def _upstream(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
            connection = http.client.HTTPConnection(upstream.removeprefix("http://"))
            drop = ("expect", "transfer-encoding", "content-length", "connection")
            headers = {k: v for k, v in self.headers.items() if k.lower() not in drop}
            connection.request(self.command, path or self.path, body, headers)
            with connection.getresponse() as response:
                found = response.status, response.getheaders(), response.read()
            connection.close()
            return found

        def log_message(self, *_: Any) -> None:
            pass

    with _served(Handler) as url:
        made = Proxy(url)
        yield made


@dataclass
class MetadataServer:
    """The second version of EC2's metadata service, which answers nobody without a token."""

    url: str
    values: dict[str, str] = field(default_factory=dict)

    def take_back(self) -> None:
        """Give notice, as EC2 does two minutes before it takes a spot machine."""
        notice = {"action": "terminate", "time": "2026-01-01T00:00:00Z"}
        self.values["spot/instance-action"] = json.dumps(notice)


@contextmanager
def metadata_service(**values: str) -> Iterator[MetadataServer]:
    """Run a metadata service; ``local_ipv4`` stands for ``local-ipv4``."""

    class Handler(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            fine = self.path == "/latest/api/token"
            fine &= "X-aws-ec2-metadata-token-ttl-seconds" in self.headers
            self._answer(200 if fine else 400, "a-token")

        def do_GET(self) -> None:
            if self.headers.get("X-aws-ec2-metadata-token") != "a-token":
                self._answer(401, "")
                return
            value = made.values.get(self.path.removeprefix("/latest/meta-data/"))
            self._answer(404 if value is None else 200, value or "")

        def _answer(self, status: int, text: str) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            # boto3 looks for it.
            self.send_header("X-aws-ec2-metadata-token-ttl-seconds", "21600")
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: Any) -> None:
            pass

    with _served(Handler) as url:
        made = MetadataServer(
            url, {name.replace("_", "-"): value for name, value in values.items()}
        )
        yield made


@contextmanager
def _served(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
