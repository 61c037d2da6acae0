"""Training on several machines or with several workers on one: starts, watches, restarts.

Knows who must be told what and when; a machine's own processes are a `Crew`'s business. MXNet's
parameter server waits forever for a worker that died, and its heartbeats do not help: so the one
who started the processes watches them, ends all when one dies, and brings them back together.
"""

from __future__ import annotations

import json
import socket
import sys
import time
from pathlib import Path
from typing import NoReturn, Protocol

from locationnet.errors import InputError, LocationNetError
from locationnet.train import checkpoints
from locationnet.train.config import Devices, Settings
from locationnet.train.distributed.hostfile import PORT, Layout, address_of, is_address
from locationnet.train.distributed.local_workers import (
    Address,
    Crew,
    Ending,
    end_with_parent,
    leave_at_once,
)
from locationnet.train.distributed.remote_nodes import Follower, follow, gathered
from locationnet.train.interrupts import Interrupts
from locationnet.train.preflight import find_state, open_packs

_POLL = 0.25
# How long workers may take to write their last checkpoint: SageMaker kills two minutes after it
# asks.
_STOPPING = 110.0


class StoppedGroupError(LocationNetError):
    """The group was asked to stop and can be resumed; ``signal`` is what asked."""

    def __init__(self, message: str, signal: int) -> None:
        super().__init__(message)
        self.signal = signal


class _Part(Protocol):
    """What runs on one machine, this one or another."""

    @property
    def wishes_stop(self) -> bool: ...
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
        follow(layout.nodes[0].host, PORT, layout.here, settings, layout.nodes[layout.here].workers)
        return
    if Devices.parse(settings.devices).kind == "gpu" and max(n.workers for n in layout.nodes) > 1:
        raise InputError("with GPUs each machine runs one worker, which uses all that it is given")
    # Here, so that it is said once and not by every worker.
    training, _ = open_packs(settings)
    find_state(settings, training, resume=resume)
    again_with = f"locationnet train --resume --out {settings.out}, on the same hosts"
    with Interrupts() as interrupts, gathered(layout, settings) as followers:
        for attempt in range(restarts + 1):
            again = resume or (attempt > 0 and checkpoints.newest(settings.out) is not None)
            ending = _attempt(layout, settings, followers, interrupts, resume=again)
            if ending.kind == "done":
                return
            if ending.kind == "stopped" or interrupts.received is not None:
                message = ending.message or "stopped before the first checkpoint"
                if ending.kind != "stopped":
                    message += f"; go on with: {again_with}"
                raise StoppedGroupError(message, interrupts.received or 15)
            if ending.kind == "refused":
                raise LocationNetError(ending.message.removeprefix("error: "))
            _show_last_lines(ending)
            if any(follower.lost for follower in followers):
                break
            if attempt < restarts:
                sys.stderr.write(
                    f"{ending.message}; restart {attempt + 1} of {restarts} from the last"
                    " checkpoint\n"
                )
    raise LocationNetError(
        f"{ending.message}, and the group was ended; see {settings.out / 'logs'}, and go on with:"
        f" {again_with}"
    )


def _show_last_lines(ending: Ending) -> None:
    for text in ending.lines or ("(it had said nothing)",):
        sys.stderr.write(f"  | {text}\n")


def work() -> NoReturn:
    """Be a worker: what it must do stands in the first argument."""
    from locationnet.train.loop import InterruptedRunError, train

    end_with_parent()
    job = json.loads(sys.argv[1])
    try:
        settings = Settings.from_json(job["settings"], out=Path(job["settings"]["out"]))
        train(settings, resume=job["resume"])
        code = 0
    except InterruptedRunError as error:
        sys.stderr.write(f"{error}\n")
        code = 128 + (error.signal or 15)
    except BaseException as error:
        leave_at_once(error)
    sys.exit(code)


def _attempt(
    layout: Layout,
    settings: Settings,
    followers: list[Follower],
    interrupts: Interrupts,
    *,
    resume: bool,
) -> Ending:
    """Start everything once and return how it ended; nothing is left running."""
    host = layout.nodes[0].host
    address = Address(
        address_of(host),
        _free_port(),
        layout.workers,
        len(layout.nodes),
        by_name=not is_address(host),
    )
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
        wished = interrupts.received is not None or any(part.wishes_stop for part in parts)
        if wished and deadline == float("inf"):
            deadline = time.monotonic() + _STOPPING
            for part in parts:
                part.stop()
        if time.monotonic() > deadline:
            return Ending("died", "the workers did not stop when asked")
        time.sleep(_POLL)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("", 0))
        return int(probe.getsockname()[1])
