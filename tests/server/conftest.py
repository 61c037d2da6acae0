"""Real servers on loopback: the service in a thread or a process, and one that holds photos."""

from __future__ import annotations

import http.client
import http.server
import json
import os
import re
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from locationnet.model.locator import Locator
from locationnet.server.app import create_app
from locationnet.server.settings import read_settings


@dataclass(frozen=True)
class Reply:
    """An HTTP answer."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def problem(self) -> str:
        """The detail of a well-formed problem."""
        assert self.headers["content-type"] == "application/problem+json"
        assert self.json["status"] == self.status
        assert self.json.keys() == {"type", "title", "status", "detail"}
        assert "\n" not in self.json["detail"]
        return str(self.json["detail"])


class Client:
    """Asks one server; a connection a request."""

    def __init__(self, port: int) -> None:
        self.port = port

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: dict[str, str] | None = None,
        *,
        chunked: bool = False,
    ) -> Reply:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, body, headers or {}, encode_chunked=chunked)
            response = connection.getresponse()
            return Reply(response.status, response.headers, response.read())
        finally:
            connection.close()

    def get(self, path: str) -> Reply:
        return self.ask("GET", path)

    def raw(self, photo: Any, kind: str = "image/jpeg", query: str = "", **how: bool) -> Reply:
        return self.ask("POST", f"/locate{query}", photo, {"Content-Type": kind}, **how)

    def form(
        self,
        *photos: bytes,
        name: str = "file",
        filename: str = "photo.jpg",
        path: str = "/locate",
        **fields: str,
    ) -> Reply:
        boundary = uuid.uuid4().hex
        parts = [
            f'--{boundary}\r\nContent-Disposition: form-data; name="{field}"\r\n\r\n'.encode()
            + value.encode()
            for field, value in fields.items()
        ] + [
            f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"; '
            f'filename="{filename}"\r\nContent-Type: image/jpeg\r\n\r\n'.encode()
            + photo
            for photo in photos
        ]
        body = b"\r\n".join([*parts, f"--{boundary}--\r\n".encode()])
        kind = f"multipart/form-data; boundary={boundary}"
        return self.ask("POST", path, body, {"Content-Type": kind})

    def url(self, url: str, **fields: Any) -> Reply:
        return self.post_json({"url": url, **fields})

    def post_json(self, content: Any, query: str = "") -> Reply:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        return self.ask("POST", f"/locate{query}", body, {"Content-Type": "application/json"})


class _Photos(http.server.BaseHTTPRequestHandler):
    files: dict[str, tuple[int, bytes]]
    kinds: dict[str, str]

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        status, body = self.files.get(path, (404, b""))
        self.send_response(status)
        if path in self.kinds:
            self.send_header("Content-Type", self.kinds[path])
        if status == 302:
            self.send_header("Location", body.decode("latin-1"))  # byte for byte
            body = b""
        if body.startswith(b"\x1f\x8b"):
            self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@dataclass(frozen=True)
class PhotoServer:
    """Where photos lie: path → (status, body), and the media types of some."""

    files: dict[str, tuple[int, bytes]]
    kinds: dict[str, str]
    port: int

    @property
    def pair(self) -> str:
        return f"127.0.0.1:{self.port}"

    def put(self, path: str, body: bytes, status: int = 200, kind: str = "") -> str:
        """Offer something and return its URL."""
        self.files[path] = (status, body)
        if kind:
            self.kinds[path] = kind
        return f"http://{self.pair}{path}"


@pytest.fixture(scope="session")
def photo_server() -> Iterator[PhotoServer]:
    files: dict[str, tuple[int, bytes]] = {}
    kinds: dict[str, str] = {}
    handler = type("_Handler", (_Photos,), {"files": files, "kinds": kinds})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield PhotoServer(files, kinds, server.server_address[1])
        server.shutdown()
        thread.join()


@contextmanager
def _in_thread(locator: Locator, **settings: Any) -> Iterator[Client]:
    app = create_app(read_settings(**settings), locator)
    # Without a log configuration of its own, uvicorn's lines reach pytest.
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, access_log=False))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        yield Client(server.servers[0].sockets[0].getsockname()[1])
    finally:
        server.should_exit = True
        thread.join()


Serving = Callable[..., Any]


@pytest.fixture(scope="session")
def serving() -> Serving:
    """Run the service in a thread of this process: ``with serving(locator, **settings)``."""
    return _in_thread


@pytest.fixture(scope="session")
def client(tiny_locator: Locator, photo_server: PhotoServer) -> Iterator[Client]:
    """The tiny bundle's service, small limits, with the photo server exempt."""
    with _in_thread(
        tiny_locator,
        max_upload_bytes=200_000,
        fetch_timeout_s=2.0,
        exempt_hosts=(photo_server.pair,),
    ) as running:
        yield running


class Process:
    """``locationnet serve`` as a user would start it."""

    def __init__(
        self,
        log: Path,
        *arguments: str,
        port: int | None = None,
        before: str = "",
        **environment: str,
    ) -> None:
        """Start it; its log goes into a file, or to ``/dev/full`` with a port given to ask at.

        Code of `before` runs first.
        """
        self._log = log
        code = f"{before}\nfrom locationnet.cli import main; main()"
        command = [sys.executable, "-c", code, "serve", "--port", str(port or 0), *arguments]
        with (Path("/dev/full") if port else log).open("wb") as file:
            self._process = subprocess.Popen(
                command,
                stdout=file,
                stderr=subprocess.STDOUT,
                env={**os.environ, **environment},
            )
        self.client = Client(port or self._port())
        if port:
            self._wait_for_answers()

    @property
    def log(self) -> str:
        return self._log.read_text(encoding="utf-8")

    def memory_mb(self, field: str) -> float:
        """VmRSS: what the process holds now; VmHWM: the most it held since `forget_peak`."""
        status = Path(f"/proc/{self._process.pid}/status").read_text(encoding="utf-8")
        found = re.search(rf"^{field}:\s+(\d+) kB", status, re.MULTILINE)
        assert found is not None
        return int(found[1]) / 1024

    def forget_peak(self) -> None:
        Path(f"/proc/{self._process.pid}/clear_refs").write_text("5", encoding="ascii")

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def stop(self) -> int:
        self._process.terminate()
        return self._process.wait(timeout=30)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def workers(self) -> set[int]:
        """Process ids of its workers."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text(encoding="ascii")
        found = set()
        for child in map(int, children.split()):
            with suppress(OSError):
                line = Path(f"/proc/{child}/cmdline").read_bytes()
                if b"spawn_main" in line:
                    found.add(child)
        return found

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    def wait_for(self, condition: Callable[[], Any], what: str, seconds: float = 30) -> Any:
        """Return what comes of a condition once it is true."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if found := condition():
                return found
            time.sleep(0.02)
        raise AssertionError(f"{what} did not happen:\n{self.log[-3000:]}")

    def _wait_for_answers(self) -> None:
        def ready() -> bool:
            with suppress(OSError):
                return self.client.get("/readyz").status == 200
            return False

        self.wait_for(ready, "readiness")

    def _port(self) -> int:
        for _ in range(1200):
            found = re.search(r"running on http://127\.0\.0\.1:(\d+)", self.log)
            if found is not None and "startup complete" in self.log:
                return int(found[1])
            if not self.is_alive():
                break
            time.sleep(0.05)
        self._process.kill()
        raise AssertionError(f"the server did not start:\n{self.log}")


@pytest.fixture(scope="session")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Process]]:
    """Start ``locationnet serve`` with arguments and environment variables."""
    started: list[Process] = []

    def run(*arguments: str, **how: Any) -> Process:
        log = tmp_path_factory.mktemp("serve") / "log.txt"
        process = Process(log, *arguments, **how)
        started.append(process)
        return process

    yield run
    for process in started:
        if process.is_alive():
            process.stop()
