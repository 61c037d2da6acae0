"""A Hugging Face hub on loopback: the addresses that the hub's library asks, and files to break."""

from __future__ import annotations

import hashlib
import http.server
import re
from dataclasses import dataclass, field
from urllib.parse import unquote

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Hub:
    """What the hub holds, how it misbehaves, and what it was asked.

    ``files`` are the files of its repositories, by ``owner/name/file``; ``stop_after`` is how many
    bytes of an answer are sent before the connection is cut, ``stops`` how often; ``etags`` are the
    checksums that it claims where they are not the files' own.
    """

    port: int = 0
    commit: str = COMMIT
    files: dict[str, bytes] = field(default_factory=dict)
    etags: dict[str, str] = field(default_factory=dict)
    stop_after: int | None = None
    stops: int = 10**9
    asked: list[tuple[str, str, str | None]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def sent(self) -> list[tuple[str, str | None]]:
        """The files that were asked for with the bytes of them, and from which byte on."""
        return [(path, start) for method, path, start in self.asked if method == "GET"]


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers from `hub`, which a subclass gives it."""

    protocol_version = "HTTP/1.1"
    hub: Hub

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _answer(self, *, with_body: bool) -> None:
        hub = self.hub
        wanted = self.headers.get("Range")
        path = unquote(self.path).lstrip("/")
        if "/resolve/" in path:  # the library also asks what to call itself
            hub.asked.append((self.command, path, wanted))
        found = re.fullmatch(
            r"(?P<repository>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<file>.+)", path
        )
        if found is None:
            self._refuse("EntryNotFound")
            return
        repository = found["repository"]
        if not any(name.startswith(f"{repository}/") for name in hub.files):
            self._refuse("RepoNotFound")
            return
        if found["revision"] not in ("main", hub.commit):
            self._refuse("RevisionNotFound")
            return
        content = hub.files.get(f"{repository}/{found['file']}")
        if content is None:
            self._refuse("EntryNotFound")
            return
        etag = hub.etags.get(found["file"]) or hashlib.sha256(content).hexdigest()
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and with_body else 0
        body = content[start:]
        self.send_response(206 if start else 200)
        self.send_header("X-Repo-Commit", hub.commit)
        self.send_header("ETag", f'"{etag}"')
        self.send_header("Content-Length", str(len(body)))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        if not with_body:
            return
        if hub.stop_after is not None and hub.stops and len(body) > hub.stop_after:
            hub.stops -= 1
            self.wfile.write(body[: hub.stop_after])
            self.wfile.flush()
            self.close_connection = True
            self.connection.shutdown(2)
            return
        self.wfile.write(body)

    def _refuse(self, code: str) -> None:
        self.send_response(404)
        self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()
