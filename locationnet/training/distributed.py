"""Training on several machines or with several workers on one: starts, watches, restarts.

Knows who must be told what and when; a machine's own processes are a `Crew`'s business. MXNet's
parameter server waits forever for a worker that died, and its heartbeats do not help: so the one
who started the processes watches them, ends all when one dies, and brings them back together.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NoReturn, Protocol

from locationnet.errors import LocationNetError
from locationnet.training import checkpoints
from locationnet.training.cluster import PORT, Layout, is_here
from locationnet.training.crew import REFUSED, Address, Crew, Ending, end_with_parent
from locationnet.training.interrupts import Interrupts
from locationnet.training.preparation import claim, open_packs
from locationnet.training.settings import Settings

_POLL = 0.25
# How long machines may take to start, and workers to write their last checkpoint.
_GATHER = 300.0
_STOPPING = 110.0  # SageMaker kills two minutes after it asks
_FOLLOW = "from locationnet.training.distributed import follow_job; follow_job()"


class StoppedGroupError(LocationNetError):
    """The group was asked to stop and can be resumed; ``signal`` is what asked."""

    def __init__(self, message: str, signal: int) -> None:
        super().__init__(message)
        self.signal = signal


class _Part(Protocol):
    """What runs on one machine, this one or another."""

    def poll(self) -> Ending | None: ...
    def stop(self) -> None: ...
    def kill(self) -> None: ...
    def finish(self) -> None: ...


def launch(layout: Layout, settings: Settings, *, resume: bool = False, restarts: int = 0) -> None:
    """Train on all machines of a layout; this call plays the part of the machine it runs on.

    Parameters
    ----------
    layout
        The machines.
    settings
        The same on all of them. Packs must lie in the same place everywhere, the run's folder is
        written on the leading machine only.
    resume
        Go on from the newest complete checkpoint.
    restarts
        How often a group in which a process died is brought back from its last checkpoint.

    Raises
    ------
    StoppedGroupError
        Ctrl-C or SIGTERM; a checkpoint was written.
    LocationNetError
        A process died (its last lines were printed) and no restart is left, or a worker cannot
        train; the message is the worker's.
    """
    if layout.here > 0:
        _follow(
            layout.nodes[0].host, PORT, layout.here, settings, layout.nodes[layout.here].workers
        )
        return
    # Here, so that it is said once and not by every worker.
    training, _ = open_packs(settings)
    claim(settings, training, resume=resume)
    with Interrupts() as interrupts, _gathered(layout, settings) as followers:
        for attempt in range(restarts + 1):
            again = resume or (attempt > 0 and checkpoints.newest(settings.out) is not None)
            ending = _attempt(layout, settings, followers, interrupts, resume=again)
            if ending.kind == "done":
                return
            if ending.kind == "stopped" or interrupts.received is not None:
                raise StoppedGroupError(
                    ending.message or "stopped before the first checkpoint",
                    interrupts.received or 15,
                )
            if ending.kind == "refused":
                raise LocationNetError(ending.message.removeprefix("error: "))
            for text in ending.lines:
                sys.stderr.write(f"  | {text}\n")
            if attempt < restarts:
                sys.stderr.write(
                    f"{ending.message}; restart {attempt + 1} of {restarts} from the last"
                    " checkpoint\n"
                )
    raise LocationNetError(
        f"{ending.message}, and the group was ended; see {settings.out / 'logs'}, and go on with:"
        f" locationnet train --resume --out {settings.out}"
    )


def work() -> NoReturn:
    """Be a worker: what it must do stands in the first argument."""
    from locationnet.training.trainer import InterruptedRunError, train

    end_with_parent()
    job = json.loads(sys.argv[1])
    try:
        settings = Settings.from_json(job["settings"], out=Path(job["settings"]["out"]))
        train(settings, resume=job["resume"])
        code = 0
    except InterruptedRunError as error:
        sys.stderr.write(f"{error}\n")
        code = 128 + (error.signal or 15)
    except LocationNetError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.stderr.flush()
        # A regular end would wait for the other workers, who wait for this one.
        os._exit(REFUSED)
    sys.exit(code)


def follow_job() -> None:
    """Be a machine that another one leads: what it must do stands in the first argument."""
    end_with_parent()
    job = json.loads(sys.argv[1])
    settings = Settings.from_json(job["settings"], out=Path(job["settings"]["out"]))
    try:
        _follow(job["host"], job["port"], job["node"], settings, job["workers"])
    except LocationNetError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(1)


def _attempt(
    layout: Layout,
    settings: Settings,
    followers: list[_Follower],
    interrupts: Interrupts,
    *,
    resume: bool,
) -> Ending:
    """Start everything once and return how it ended; nothing is left running."""
    host = layout.nodes[0].host
    address = Address(host, _free_port(host), layout.workers, len(layout.nodes))
    job = json.dumps({"settings": settings.to_json(), "resume": resume})
    crew = Crew(address, layout.nodes[0].workers, leads=True, job=job, logs=settings.out / "logs")
    parts: list[_Part] = [crew]
    try:
        for follower in followers:
            follower.start(address, job)
            parts.append(follower)
        return _watch(parts, interrupts)
    finally:
        for part in parts:
            part.kill()


def _watch(parts: list[_Part], interrupts: Interrupts) -> Ending:
    """Wait until all parts are done or one ends otherwise."""
    deadline = float("inf")
    done: set[int] = set()
    stopped: Ending | None = None
    while True:
        for place, part in enumerate(parts):
            ending = None if place in done else part.poll()
            if ending is None:
                continue
            if ending.kind in ("died", "refused"):
                return ending
            if ending.kind == "stopped":
                # The leading worker's last line says how to go on; the others' say nothing.
                stopped = ending if stopped is None or ending.message else stopped
            done.add(place)
        if len(done) == len(parts):
            for part in parts:
                part.finish()
            return stopped or Ending("done")
        if interrupts.received is not None and deadline == float("inf"):
            deadline = time.monotonic() + _STOPPING
            for part in parts:
                part.stop()
        if time.monotonic() > deadline:
            return Ending("died", "the workers did not stop when asked")
        time.sleep(_POLL)


@contextlib.contextmanager
def _gathered(layout: Layout, settings: Settings) -> Iterator[list[_Follower]]:
    """Have the other machines connect, in the order of the layout."""
    others = layout.nodes[1:]
    if not others:
        yield []
        return
    host = layout.nodes[0].host
    shells: list[subprocess.Popen[bytes]] = []
    followers: list[_Follower] = []
    try:
        with socket.create_server((_bindable(host), 0 if layout.by_ssh else PORT)) as listener:
            port = listener.getsockname()[1]
            if layout.by_ssh:
                for place, node in enumerate(others, 1):
                    job = {
                        "host": host, "port": port, "node": place, "workers": node.workers,
                        "settings": settings.to_json(),
                    }  # fmt: skip
                    shells.append(_start_follower(node.host, json.dumps(job)))
            found: dict[int, _Follower] = {}
            until = time.monotonic() + _GATHER
            while len(found) < len(others):
                listener.settimeout(1)
                with contextlib.suppress(TimeoutError):
                    connection, _ = listener.accept()
                    line = _Line(connection)
                    hello = line.wait(10)
                    number = hello.get("node") if hello else None
                    if isinstance(number, int) and 0 < number <= len(others):
                        found[number] = _Follower(line, others[number - 1].host)
                missing = [n.host for i, n in enumerate(others, 1) if i not in found]
                gone = [shell for shell in shells if shell.poll() not in (None, 0)]
                if missing and (gone or time.monotonic() > until):
                    raise LocationNetError(f"{missing[0]}: could not be started or reached")
            followers = [found[place] for place in sorted(found)]
        yield followers
    finally:
        for follower in followers:
            follower.dismiss()
        for shell in shells:
            with contextlib.suppress(subprocess.TimeoutExpired):
                shell.wait(10)
            shell.kill()
            shell.wait()


def _start_follower(host: str, job: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", _FOLLOW, job]
    if not is_here(host):
        remote = f"cd {shlex.quote(str(Path.cwd()))} && exec {shlex.join(command)}"
        command = ["ssh", "-o", "BatchMode=yes", host, remote]
    return subprocess.Popen(  # noqa: S603 - our own interpreter and code
        command, stdin=subprocess.DEVNULL, start_new_session=True
    )


def _follow(host: str, port: int, node: int, settings: Settings, workers: int) -> None:
    """Start and end processes here as the leading machine says, until it has no more to say."""
    line = _connect(host, port)
    line.send({"node": node})
    crew: Crew | None = None
    told = False
    try:
        while True:
            message = line.read(_POLL)
            if line.closed:
                raise LocationNetError(f"{host}: the leading machine is gone")
            order = message.get("do") if message else None
            if message and order == "start":
                address = Address(**message["address"])
                logs = settings.out / f"logs-{node}"
                crew = Crew(address, workers, leads=False, job=message["job"], logs=logs)
                told = False
            elif order == "leave":
                return
            elif crew is not None and order in ("stop", "kill", "finish"):
                {"stop": crew.stop, "kill": crew.kill, "finish": crew.finish}[order]()
                if order != "stop":
                    crew = None
                    line.send({"did": order})
            if crew is not None and not told and (ending := crew.poll()) is not None:
                line.send({"ending": asdict(ending)})
                told = True
    finally:
        if crew is not None:
            crew.kill()


class _Follower:
    """Another machine, seen from the leading one."""

    def __init__(self, line: _Line, host: str) -> None:
        self._line, self._host = line, host
        self._busy = False

    def start(self, address: Address, job: str) -> None:
        self._line.send({"do": "start", "address": asdict(address), "job": job})
        self._busy = True

    def poll(self) -> Ending | None:
        message = self._line.read(0)
        if self._line.closed:
            self._busy = False
            return Ending("died", f"{self._host}: the connection broke")
        if message and "ending" in message:
            ending = message["ending"]
            text = ending["message"]
            if ending["kind"] == "died":
                text = f"{self._host}: {text}"
            return Ending(ending["kind"], text, tuple(ending["lines"]))
        return None

    def stop(self) -> None:
        self._line.send({"do": "stop"})

    def kill(self) -> None:
        self._end("kill")

    def finish(self) -> None:
        self._end("finish")

    def dismiss(self) -> None:
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


@dataclass
class _Line:
    """JSON messages over a connection, one a line."""

    connection: socket.socket
    closed: bool = False
    _rest: bytes = b""

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
            self.closed = True  # whoever talks like this is none of ours
            return None
        return message

    def wait(self, seconds: float) -> dict[str, Any] | None:
        """Return the first message, or None if it does not come in time."""
        return self.read(seconds)

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


def _bindable(host: str) -> str:
    """Return the address to listen at: the one that others know this machine by."""
    try:
        return str(socket.getaddrinfo(host.rpartition("@")[2], None, socket.AF_INET)[0][4][0])
    except OSError as error:
        raise LocationNetError(f"{host}: has no address ({error.strerror})") from error


def _free_port(host: str) -> int:
    with socket.socket() as probe:
        probe.bind((_bindable(host), 0))
        return int(probe.getsockname()[1])
