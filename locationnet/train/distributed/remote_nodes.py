"""The other machines that train along: started, asked how it went, ended.

Knows both ends of the line between the leading machine and one that it leads; what runs there is
the business of `LocalWorkers`, and what is to be done next that of
`locationnet.train.distributed.launcher`.
"""

from __future__ import annotations

import contextlib
import json
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from locationnet.errors import LocationNetError
from locationnet.train.config import Settings
from locationnet.train.distributed.hostfile import PORT, Layout, address_of, is_address, is_here
from locationnet.train.distributed.local_workers import (
    Address,
    Ending,
    LocalWorkers,
    end_with_parent,
)
from locationnet.train.interrupts import Interrupts

_POLL = 0.25
# How long machines may take to start.
_GATHER = 300.0
_RUN_NODE = "from locationnet.train.distributed.remote_nodes import run_node_job; run_node_job()"


@contextlib.contextmanager
def gathered(layout: Layout, settings: Settings) -> Iterator[list[RemoteNode]]:
    """Have the other machines connect, in the order of the layout."""
    others = layout.nodes[1:]
    if not others:
        yield []
        return
    host = layout.nodes[0].host.rpartition("@")[2]
    shells: list[subprocess.Popen[bytes]] = []
    remotes: list[RemoteNode] = []
    try:
        where = address_of(host) if is_address(host) else ""
        with socket.create_server((where, 0 if layout.by_ssh else PORT)) as listener:
            port = listener.getsockname()[1]
            if layout.by_ssh:
                for index, node in enumerate(others, 1):
                    job = {
                        "host": host, "port": port, "node": index, "workers": node.workers,
                        "settings": settings.to_json(),
                    }  # fmt: skip
                    shells.append(_start_node(node.host, json.dumps(job)))
            found: dict[int, RemoteNode] = {}
            until = time.monotonic() + _GATHER
            while len(found) < len(others):
                listener.settimeout(1)
                with contextlib.suppress(TimeoutError):
                    connection, _ = listener.accept()
                    line = _Line(connection)
                    hello = line.read(10)
                    number = hello.get("node") if hello else None
                    if isinstance(number, int) and 0 < number <= len(others):
                        found[number] = RemoteNode(line, others[number - 1].host)
                missing = [n.host for i, n in enumerate(others, 1) if i not in found]
                gone = [shell for shell in shells if shell.poll() not in (None, 0)]
                if missing and (gone or time.monotonic() > until):
                    raise LocationNetError(f"{missing[0]}: could not be started or reached")
            remotes = [found[index] for index in sorted(found)]
        yield remotes
    finally:
        for remote in remotes:
            remote.dismiss()
        for shell in shells:
            with contextlib.suppress(subprocess.TimeoutExpired):
                shell.wait(10)
            shell.kill()
            shell.wait()


def run_node(host: str, port: int, node: int, settings: Settings, workers: int) -> None:
    """Start and end processes here as the leading machine says, until it has no more to say."""
    line = _connect(host, port)
    line.send({"node": node})
    local: LocalWorkers | None = None
    reported = requested = False
    # SageMaker asks every machine to stop; the leading one decides what follows.
    with Interrupts() as interrupts:
        try:
            while True:
                if interrupts.received is not None and not requested:
                    line.send({"request": "stop"})
                    requested = True
                message = line.read(_POLL)
                if line.closed:
                    raise LocationNetError(f"{host}: the leading machine is gone")
                order = message.get("do") if message else None
                if message and order == "start":
                    address = Address(**message["address"])
                    logs = settings.out / f"logs-{node}"
                    local = LocalWorkers(
                        address, workers, leads=False, job=message["job"], logs=logs
                    )
                    reported = False
                elif order == "leave":
                    return
                elif local is not None and order in ("stop", "kill", "finish"):
                    {"stop": local.stop, "kill": local.kill, "finish": local.finish}[order]()
                    if order != "stop":
                        local = None
                        line.send({"did": order})
                if local is not None and not reported and (ending := local.poll()) is not None:
                    line.send({"ending": asdict(ending)})
                    reported = True
        finally:
            if local is not None:
                local.kill()


def run_node_job() -> None:
    """Be a machine that another one leads; its job is the first argument, as JSON."""
    end_with_parent()
    job = json.loads(sys.argv[1])
    settings = Settings.from_json(job["settings"], out=Path(job["settings"]["out"]))
    try:
        run_node(job["host"], job["port"], job["node"], settings, job["workers"])
    except LocationNetError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(1)


class RemoteNode:
    """Another machine, seen from the leading one."""

    def __init__(self, line: _Line, host: str) -> None:
        self._line, self._host = line, host
        self._busy = False
        self.stop_requested = False

    @property
    def lost(self) -> bool:
        """Whether the connection broke; there is no way back to that machine."""
        return self._line.closed

    def start(self, address: Address, job: str) -> None:
        """Have it start its processes."""
        # It reaches the leading machine by the address that it has dialled, whatever its name is.
        own = replace(address, host=self._line.connection.getsockname()[0])
        self.stop_requested = False
        self._line.send({"do": "start", "address": asdict(own), "job": job})
        self._busy = True

    def poll(self) -> Ending | None:
        """Return how it ended there, or None while all is well."""
        message = self._line.read(0)
        if self._line.closed:
            self._busy = False
            return Ending("died", f"{self._host}: the connection broke")
        if message and message.get("request") == "stop":
            self.stop_requested = True
        if message and "ending" in message:
            ending = message["ending"]
            text = ending["message"]
            if ending["kind"] == "died":
                text = f"{self._host}: {text}"
            return Ending(ending["kind"], text, tuple(ending["lines"]))
        return None

    def stop(self) -> None:
        """Have its workers write a checkpoint and stop."""
        self._line.send({"do": "stop"})

    def kill(self) -> None:
        """Have it end everything at once, and wait until it has."""
        self._end("kill")

    def finish(self) -> None:
        """Have it let its server leave, and wait until it has."""
        self._end("finish")

    def dismiss(self) -> None:
        """Notify it that there is no more to do."""
        self._line.send({"do": "leave"})
        self._line.close()

    def _end(self, how: str) -> None:
        if not self._busy:
            return
        self._busy = False
        self._line.send({"do": how})
        until = time.monotonic() + 20
        while time.monotonic() < until and not self._line.closed:
            message = self._line.read(_POLL)
            if message and message.get("did") == how:
                return


def _start_node(host: str, job: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", _RUN_NODE, job]
    if not is_here(host):
        remote = f"cd {shlex.quote(str(Path.cwd()))} && exec {shlex.join(command)}"
        command = ["ssh", "-o", "BatchMode=yes", host, remote]
    return subprocess.Popen(  # noqa: S603 - our own interpreter and code
        command, stdin=subprocess.DEVNULL, start_new_session=True
    )


@dataclass
class _Line:
    """JSON messages over a connection, one a line."""

    connection: socket.socket
    closed: bool = False
    _rest: bytes = b""

    def __post_init__(self) -> None:
        # A machine that loses its power says nothing: ask after ten silent seconds, thrice.
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in ((socket.TCP_KEEPIDLE, 10), (socket.TCP_KEEPINTVL, 5)):
            self.connection.setsockopt(socket.IPPROTO_TCP, option, value)
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)

    def send(self, message: dict[str, Any]) -> None:
        with contextlib.suppress(OSError):
            self.connection.settimeout(10)
            self.connection.sendall(json.dumps(message).encode() + b"\n")

    def read(self, seconds: float) -> dict[str, Any] | None:
        """Return the next message, or None if there is none in so many seconds."""
        while b"\n" not in self._rest:
            self.connection.settimeout(max(seconds, 1e-3))
            try:
                received = self.connection.recv(1 << 16)
            except TimeoutError:
                return None
            except OSError:
                received = b""
            if not received:
                self.closed = True
                return None
            self._rest += received
        text, _, self._rest = self._rest.partition(b"\n")
        try:
            message = json.loads(text)
        except ValueError:
            message = None
        if not isinstance(message, dict):
            self.closed = True  # whoever talks like this is not one of ours
            return None
        return message

    def close(self) -> None:
        self.connection.close()


def _connect(host: str, port: int) -> _Line:
    until = time.monotonic() + _GATHER
    while True:
        try:
            return _Line(socket.create_connection((host, port), timeout=10))
        except OSError as error:
            if time.monotonic() > until:
                raise LocationNetError(
                    f"{host}:{port}: the leading machine is not there"
                ) from error
            time.sleep(1)
