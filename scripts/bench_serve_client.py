"""Sends photos to a running service over keep-alive sockets, and says what it took itself.

Knows sockets and the clock, and imports nothing else, so that it starts at once and costs little:
see `bench_serve`, which runs it in a process of its own and prints its cost beside every figure.

::

    python scripts/bench_serve_client.py PORT FOLDER closed CONNECTIONS SECONDS
    python scripts/bench_serve_client.py PORT FOLDER open < times

It prints JSON: what came of each request as [status, seconds, in time], and the processor time of
this process from the first request to the last answer.
"""

from __future__ import annotations

import json
import re
import selectors
import socket
import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from itertools import cycle
from pathlib import Path

_LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)
_PART = 1 << 20


class Connection:
    """A connection with at most one request under way; its socket never blocks."""

    def __init__(self, port: int, selector: selectors.BaseSelector) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.setblocking(False)
        self._selector = selector
        self._unsent = memoryview(b"")
        self._answer = bytearray()
        self.since = 0.0
        selector.register(self._socket, selectors.EVENT_READ, self)

    def ask(self, request: bytes, since: float) -> None:
        """Begin a request that was due at a time."""
        self.since = since
        self._unsent = memoryview(request)
        self._answer.clear()
        self._send()

    def go_on(self) -> int | None:
        """Send or read what can be; return the status of a whole answer, 0 if none will come."""
        try:
            if self._unsent:
                self._send()
            part = self._socket.recv(_PART)
        except BlockingIOError:
            return None
        except OSError:
            return 0
        self._answer += part
        head = self._answer.find(b"\r\n\r\n") + 4
        if head < 4:
            return None if part else 0
        length = _LENGTH.search(self._answer, 0, head)
        if len(self._answer) < head + (int(length[1]) if length else 0):
            return None if part else 0
        return int(self._answer[9:12])

    def close(self) -> None:
        """Give it up."""
        self._selector.unregister(self._socket)
        self._socket.close()

    def _send(self) -> None:
        with suppress(BlockingIOError):
            while self._unsent:
                self._unsent = self._unsent[self._socket.send(self._unsent) :]
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._unsent else 0)
        if self._selector.get_key(self._socket).events != events:
            self._selector.modify(self._socket, events, self)


def requests(port: int, folder: Path) -> Iterator[bytes]:
    """Yield requests for the photos of a folder, in turn, without end."""
    return cycle(
        [
            f"POST /locate HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: image/jpeg\r\n"
            f"Content-Length: {path.stat().st_size}\r\n\r\n".encode()
            + path.read_bytes()
            for path in sorted(folder.iterdir())
        ]
    )


def closed(
    port: int, folder: Path, connections: int, seconds: float
) -> list[tuple[int, float, bool]]:
    """Keep connections busy for some seconds, and wait for what is under way then."""
    selector = selectors.DefaultSelector()
    photos = requests(port, folder)
    start = time.perf_counter()
    for _ in range(connections):
        Connection(port, selector).ask(next(photos), time.perf_counter())
    found = []
    while selector.get_map():
        for key, _ in selector.select():
            connection: Connection = key.data
            status = connection.go_on()
            if status is None:
                continue
            now = time.perf_counter()
            in_time = now - start <= seconds
            found.append((status, now - connection.since, in_time))
            if in_time and status:
                connection.ask(next(photos), now)
            else:
                connection.close()
    return found


def opened(port: int, folder: Path, due: list[float]) -> list[tuple[int, float, bool]]:
    """Send requests when they are due, seconds from now, whatever comes back.

    A request that nobody answers has the status 0.
    """
    selector = selectors.DefaultSelector()
    photos = requests(port, folder)
    found: list[tuple[int, float, bool]] = []
    idle: deque[Connection] = deque()
    waiting = deque(due)
    start = time.perf_counter()
    busy = 0
    while waiting or busy:
        now = time.perf_counter()
        while waiting and start + waiting[0] <= now:
            connection = idle.pop() if idle else Connection(port, selector)
            busy += 1
            connection.ask(next(photos), start + waiting.popleft())
        timeout = max(0.0, start + waiting[0] - time.perf_counter()) if waiting else None
        for key, _ in selector.select(timeout):
            connection = key.data
            status = connection.go_on()
            if connection in idle:  # the server has closed one that was idle for long
                idle.remove(connection)
                connection.close()
            elif status is not None:
                busy -= 1
                found.append((status, time.perf_counter() - connection.since, True))
                if status:
                    idle.append(connection)
                else:
                    connection.close()
    return found


def main() -> None:
    """Send, and print what came."""
    port, folder, kind, *rest = sys.argv[1:]
    if kind == "open":
        due = json.load(sys.stdin)
    before = time.process_time()
    if kind == "open":
        found = opened(int(port), Path(folder), due)
    else:
        found = closed(int(port), Path(folder), int(rest[0]), float(rest[1]))
    print(json.dumps({"answers": found, "processor_s": time.process_time() - before}))


if __name__ == "__main__":
    main()
