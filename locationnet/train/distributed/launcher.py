"""Training on several machines or with several workers on one: starts, watches, restarts.

Knows who must be notified of what and when; a machine's own processes are the business of
`LocalWorkers`. MXNet's parameter server waits forever for a worker that died, and its heartbeats do
not help: so the one who started the processes watches them, ends all when one dies, and brings them
back together.
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
from locationnet.train.config import Settings
from locationnet.train.devices import Devices
from locationnet.train.distributed.hostfile import PORT, Layout, address_of, is_address
from locationnet.train.distributed.local_workers import (
    Address,
    Ending,
    LocalWorkers,
    end_with_parent,
    leave_at_once,
)
from locationnet.train.distributed.remote_nodes import RemoteNode, gathered, run_node
from locationnet.train.interrupts import InterruptedRunError, Interrupts
from locationnet.train.preflight import find_state, open_packs

_POLL = 0.25
# How long workers may take to write their last checkpoint: SageMaker kills two minutes after it
# asks.
_STOPPING = 110.0


class _Part(Protocol):
    """What runs on one machine, this one or another."""

    @property
    def stop_requested(self) -> bool: ...
    def poll(self) -> Ending | None: ...
    def stop(self) -> None: ...
    def kill(self) -> None: ...
    def finish(self) -> None: ...


def launch(layout: Layout, settings: Settings, *, resume: bool = False, restarts: int = 0) -> None:
    """Train on all machines of a layout; this call runs the part of the machine it is called on.

    Parameters
    ----------
    layout
        The machines.
    settings
        The same on all of them. Packs must lie at the same path everywhere, the run's folder is
        written on the leading machine only.
    resume
        Resume from the newest complete checkpoint.
    restarts
        How often workers of which one died are all brought back from the last checkpoint.

    Raises
    ------
    InterruptedRunError
        Ctrl-C or SIGTERM; a checkpoint was written.
    LocationNetError
        A process died (its last lines were printed) and no restart is left, or a worker cannot
        train; the message is the worker's.
    """
    if layout.here > 0:
        run_node(
            layout.nodes[0].host, PORT, layout.here, settings, layout.nodes[layout.here].workers
        )
        return
    if Devices.parse(settings.devices).kind == "gpu" and max(n.workers for n in layout.nodes) > 1:
        raise InputError("with GPUs each machine runs one worker, which uses all that it is given")
    # Here, so that it is reported once and not by every worker.
    training, _ = open_packs(settings)
    find_state(settings, training, resume=resume)
    resume_with = f"locationnet train --resume --out {settings.out}, on the same hosts"
    with Interrupts() as interrupts, gathered(layout, settings) as remotes:
        for attempt in range(restarts + 1):
            again = resume or (attempt > 0 and checkpoints.newest(settings.out) is not None)
            ending = _attempt(layout, settings, remotes, interrupts, resume=again)
            if ending.kind == "done":
                return
            if ending.kind == "stopped" or interrupts.received is not None:
                message = ending.message or "stopped before the first checkpoint"
                if ending.kind != "stopped":
                    message += f"; resume with: {resume_with}"
                raise InterruptedRunError(message, interrupts.received or 15)
            if ending.kind == "refused":
                raise LocationNetError(ending.message.removeprefix("error: "))
            _show_last_lines(ending)
            if any(remote.lost for remote in remotes):
                break
            if attempt < restarts:
                sys.stderr.write(
                    f"{ending.message}; restart {attempt + 1} of {restarts} from the last"
                    " checkpoint\n"
                )
    raise LocationNetError(
        f"{ending.message}, and all workers were ended; see {settings.out / 'logs'}, and"
        f" resume with: {resume_with}"
    )


def _show_last_lines(ending: Ending) -> None:
    for text in ending.lines or ("(it had said nothing)",):
        sys.stderr.write(f"  | {text}\n")


def work() -> NoReturn:
    """Be a worker; its job is the first argument, as JSON."""
    from locationnet.train.loop import train

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
    remotes: list[RemoteNode],
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
    local = LocalWorkers(
        address, layout.nodes[0].workers, leads=True, job=job, logs=settings.out / "logs"
    )
    parts: list[_Part] = [local]
    try:
        for remote in remotes:
            remote.start(address, job)
            parts.append(remote)
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
        for index, part in enumerate(parts):
            ending = None if index in done else part.poll()
            if ending is None:
                continue
            if ending.kind in ("died", "refused"):
                return ending
            if ending.kind == "stopped":
                # The leading worker's last line says how to resume; the others' say nothing.
                stopped = ending if stopped is None or ending.message else stopped
            done.add(index)
        if len(done) == len(parts):
            for part in parts:
                part.finish()
            return stopped or Ending("done")
        requested = interrupts.received is not None or any(part.stop_requested for part in parts)
        if requested and deadline == float("inf"):
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
