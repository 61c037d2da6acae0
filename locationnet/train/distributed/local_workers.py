"""The processes that train on one machine: started, listened to, ended.

Knows processes and the variables that MXNet's parameter server reads; not what workers do, nor of
other machines.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from locationnet.child import Child, python
from locationnet.errors import LocationNetError
from locationnet.processors import cores
from locationnet.train.config import LEADS
from locationnet.train.preflight import EngineError

# A worker that ends with this code has said in its last line what is wrong; trying again is idle.
REFUSED = 4
_SERVE = "from locationnet.train.distributed.local_workers import serve; serve()"
_WORK = "from locationnet.train.distributed.launcher import work; work()"


@dataclass(frozen=True)
class Address:
    """Where the scheduler of all workers listens, and how many workers and servers there are."""

    host: str
    port: int
    workers: int
    servers: int
    by_name: bool = False

    def variables(self, role: str) -> dict[str, str]:
        """Return what MXNet's parameter server reads."""
        # The scheduler binds its address as it is written, unless it is known by
        # names: then it listens on all of its machine's.
        named = {"DMLC_USE_KUBERNETES": "1"} if self.by_name and role == "scheduler" else {}
        return {
            **named,
            "DMLC_ROLE": role,
            "DMLC_PS_ROOT_URI": self.host,
            "DMLC_PS_ROOT_PORT": str(self.port),
            "DMLC_NUM_WORKER": str(self.workers),
            "DMLC_NUM_SERVER": str(self.servers),
        }


@dataclass(frozen=True)
class Ending:
    """How the work ended on one machine.

    Parameters
    ----------
    kind
        ``done``; ``stopped`` on a signal; ``refused``, where a new attempt would end the same way;
        ``died``.
    message
        One line.
    lines
        The last that the process said.
    """

    kind: str
    message: str = ""
    lines: tuple[str, ...] = ()


class LocalWorkers:
    """One server and some workers, and on the leading machine the scheduler.

    Parameters
    ----------
    address
        Of the scheduler.
    workers
        How many run here.
    leads
        Whether the scheduler runs here.
    job
        What workers do, as JSON text.
    logs
        Folder for what each process says.
    """

    # Only another machine can be asked to stop without our knowing.
    stop_requested = False

    def __init__(
        self, address: Address, workers: int, *, leads: bool, job: str, logs: Path
    ) -> None:
        try:
            logs.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise LocationNetError(f"{logs}: cannot be written ({error.strerror})") from error
        # By name.
        self._workers: dict[str, Child] = {}
        self._helpers: dict[str, Child] = {}

        def start(name: str, command: list[str], variables: dict[str, str]) -> Child:
            return Child(command, _noting(logs / f"{name}.log"), {**os.environ, **variables})

        try:
            for role in ["scheduler"] * leads + ["server"]:
                self._helpers[role] = start(role, python(_SERVE), address.variables(role))
            # The workers of a machine share its cores.
            threads = os.environ.get("OMP_NUM_THREADS") or str(max(1, cores() // workers))
            variables = {**address.variables("worker"), "OMP_NUM_THREADS": threads}
            for number in range(workers):
                variables[LEADS] = str(int(leads and number == 0))
                name = f"worker-{number}"
                self._workers[name] = start(name, python(_WORK, job), variables)
        except OSError as error:
            self.kill()
            raise LocationNetError(f"a worker cannot be started ({error.strerror})") from error

    def poll(self) -> Ending | None:
        """Return how it ended, or None while all is well."""
        codes = {name: process.poll() for name, process in self._all.items()}
        wrong = [name for name, code in codes.items() if code not in (None, 0)]
        # Whoever was refused or killed knows more than those whom it took along.
        wrong.sort(key=lambda name: codes[name] != REFUSED)
        if wrong:
            return self._ending(wrong[0], int(codes[wrong[0]] or 0))
        if all(codes[name] == 0 for name in self._workers):
            return Ending("done")
        # A server leaves when the workers do, and they may need a moment longer.
        for name, helper in self._helpers.items():
            if codes[name] == 0 and helper.ended_s > 20:
                return Ending("died", f"the {name} left before the workers", helper.last_lines)
        return None

    @property
    def _all(self) -> dict[str, Child]:
        return {**self._workers, **self._helpers}

    def stop(self) -> None:
        """Ask the workers to write a checkpoint and to stop."""
        for process in self._workers.values():
            process.stop()

    def kill(self) -> None:
        """End everything at once."""
        for process in self._all.values():
            process.kill()

    def finish(self, seconds: float = 10) -> None:
        """Let schedulers and servers leave by themselves, then end what is left."""
        until = time.monotonic() + seconds
        while time.monotonic() < until and any(p.poll() is None for p in self._helpers.values()):
            time.sleep(0.1)
        self.kill()

    def _ending(self, name: str, code: int) -> Ending:
        process = self._all[name]
        lines = process.last_lines
        if code == REFUSED:
            return Ending("refused", lines[-1] if lines else "", lines)
        if code in (128 + signal.SIGINT, 128 + signal.SIGTERM):
            return Ending("stopped", lines[-1] if lines else "", lines)
        how = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
        return Ending("died", f"{name} (process {process.pid}) {how}", lines)


def serve() -> None:
    """Be a scheduler or a server: importing mxnet is all it takes, and ends when the workers do."""
    end_with_parent()
    importlib.import_module("locationnet.train.compat")


def leave_at_once(error: BaseException) -> NoReturn:
    """End a worker that failed, with what it has to say and a code that says whether to retry.

    A regular end would wait for the other workers, who wait for this one.
    """
    if isinstance(error, LocationNetError):
        sys.stderr.write(f"error: {error}\n")
    else:
        traceback.print_exception(error)
    sys.stderr.flush()
    worth_retrying = not isinstance(error, LocationNetError) or isinstance(error, EngineError)
    os._exit(1 if worth_retrying else REFUSED)


def end_with_parent() -> None:
    """End this process when the one that started it is gone, even if that one was killed."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _noting(log: Path) -> Callable[[str], None]:
    """Return what passes a process's lines on, and keeps them in a file."""

    def say(line: str) -> None:
        with contextlib.suppress(OSError), log.open("a", encoding="utf-8") as file:
            file.write(f"{line}\n")
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()

    return say
