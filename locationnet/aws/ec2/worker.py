"""The work of one machine of EC2: packs from S3, training, checkpoints to S3, an orderly end.

Runs on the machine itself, started by its user data. Knows when things are fetched, kept and
stopped; training is ``locationnet train``, in a process of its own.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from locationnet.aws import sync as folders
from locationnet.aws.common import AWSError, clear_errors, client
from locationnet.aws.ec2.imds import Metadata
from locationnet.aws.ec2.interruption import Interruption, StopRequested
from locationnet.aws.job import LAUNCH_TAG, Job
from locationnet.aws.train_options import as_words
from locationnet.aws.transfer import Location
from locationnet.child import Child, locationnet_command
from locationnet.errors import LocationNetError
from locationnet.train import checkpoints
from locationnet.train.interrupts import Interrupts

_TICK_S = 0.5
_LOG_S = 20.0
# How long a stopped run may take to write its checkpoint: a spot machine is taken two minutes after
# its notice, and what was written must still travel.
_STOPPING_S = 90.0
# How long the machines of a launch may take to appear, how much longer than another one each may
# take to fetch the packs, and between two looks.
_GATHER_S = 600.0
_FETCH_S = 1800.0
_PEERS_S = 3.0
# Between two attempts at the last copy, at first and at most, and what is left for the last words.
_RETRY_S, _RETRY_MOST_S = 5.0, 60.0
_LAST_S = 10.0
_RESUME = "resume with the same `locationnet ec2 train`"


def work(job: Job, root: Path, spent_s: float = 0.0) -> int:
    """Do a machine's part of a job and return the exit code of ``locationnet train``.

    Parameters
    ----------
    job
        What to do.
    root
        Folder for packs and the run; what an earlier call left is used.
    spent_s
        How much of the job's time is over already.

    Raises
    ------
    LocationNetError
        Packs cannot be fetched, the other machines do not appear, or the run cannot be brought to
        S3; the message is also the last line of the log.
    """
    root.mkdir(parents=True, exist_ok=True)
    with _Log(root / "machine.log") as log, Interrupts() as interrupts:
        worker = _Worker(job, root, log, interrupts, time.monotonic() - spent_s)
        try:
            return worker.run()
        except (LocationNetError, OSError) as error:
            log.say(f"error: {error}")
            raise
        finally:
            worker.push_log()


class _Worker:
    def __init__(
        self, job: Job, root: Path, log: _Log, interrupts: Interrupts, began: float
    ) -> None:
        self._job, self._root, self._log = job, root, log
        self._out = root / "run"
        self._s3 = client("s3", job.region)
        self._metadata = Metadata()
        self._interruption = Interruption(
            self._s3, job, self._metadata, interrupts, began + job.max_hours * 3600,
            began + job.shutdown_minutes * 60,
        )  # fmt: skip
        # The index of this machine among those of its launch; the first one leads.
        self._index = 0

    def run(self) -> int:
        """Fetch, train, keep."""
        try:
            words, variables = self._prepare()
        except StopRequested as request:
            self._log.say(f"{request} before training began; {_RESUME}")
            self._stop_the_others()
            return 128 + signal.SIGTERM
        self._log.say(f"locationnet train {' '.join(words)}")
        child = Child(
            locationnet_command("train", *words), self._log.say, {**os.environ, **variables}
        )
        try:
            code, why = self._watch(child)
        finally:
            child.kill()
        if self._index == 0 and self._out.is_dir():
            self._keep()
        self._log.say(self._last_words(code, why))
        return code

    def _prepare(self) -> tuple[list[str], dict[str, str]]:
        """Have everything here and everyone there; return the words and variables of `train`."""
        words, variables = self._join() if self._job.machines > 1 else ([], {})
        words = [*self._fetch(), *words]
        if self._index == 0:
            self._pull("run", self._job.run, self._out)
            if checkpoints.newest(self._out) is not None:
                words.append("--resume")
        if self._job.machines > 1:
            self._wait_for_all()
        self._interruption.check()
        return [*words, "--out", str(self._out), *as_words(self._options())], variables

    def _stop_the_others(self) -> None:
        """Have the launch's other machines end too: they would wait for this one in vain."""
        if self._job.machines > 1:
            mark = self._job.stop_mark
            with clear_errors(str(mark)):
                self._s3.put_object(**mark.arguments, Body=b"")

    def _keep(self) -> None:
        """Bring the run to S3, however often it takes: the only other copy ends with the machine.

        Raises
        ------
        LocationNetError
            It did not succeed until the machine is about to be cut off.
        """
        pause = _RETRY_S
        while True:
            try:
                self._say_moved("run", self._push_run())
            except (LocationNetError, OSError) as error:
                if time.monotonic() + pause > self._interruption.gone - _LAST_S:
                    raise
                self._log.say(f"{error}; the last copy is tried again in {pause:.0f} s")
            else:
                return
            time.sleep(pause)
            # A notice shortens the time that is left.
            self._interruption.reason()
            if pause == _RETRY_MOST_S:
                self.push_log()
            pause = min(2 * pause, _RETRY_MOST_S)

    def _last_words(self, code: int, why: str) -> str:
        if why and code:
            return f"{why}; {_RESUME}"
        if self._index > 0:
            return "the leading machine has ended the run"
        return "training is done" if code == 0 else f"training ended with code {code}"

    def push_log(self) -> None:
        """Put what was said so far where `ec2 logs` reads it."""
        target = self._job.log(self._index)
        try:
            with clear_errors(str(target)):
                self._s3.put_object(**target.arguments, Body=self._log.path.read_bytes())
        except AWSError as error:
            self._log.say(f"the log was not copied: {error}")

    def _fetch(self) -> list[str]:
        """Bring packs here and return the words that name them."""
        data = self._root / "data"
        for name, address in (
            ("train", self._job.train), ("val", self._job.val), ("init", self._job.init),
        ):  # fmt: skip
            if address is not None:
                self._pull(address, Location.parse(address), data / name)
        return [str(data / "train"), "--val", str(data / "val")]

    def _pull(self, what: str, source: Location, folder: Path) -> None:
        """Bring a folder here, unless the machine is asked to end: packs may take an hour."""
        self._interruption.check()
        moved = folders.pull(
            self._s3, source, folder, advance=lambda *_: self._interruption.check()
        )
        self._say_moved(what, moved)

    def _options(self) -> dict[str, str]:
        options = dict(self._job.options)
        if "init" in options:
            options["init"] = str(self._root / "data" / "init" / options["init"])
        return options

    def _join(self) -> tuple[list[str], dict[str, str]]:
        """Find the other machines; return the words and variables for training together."""
        own = self._metadata.read("local-ipv4")
        if own is None:
            raise LocationNetError("this machine has no private address")
        hosts = self._peers()
        if own not in hosts:
            raise LocationNetError(f"{own}: this machine is not one of its launch's, {hosts}")
        self._index = hosts.index(own)
        self._log.say(f"machine {self._index + 1} of {len(hosts)}: {own} of {', '.join(hosts)}")
        path = self._root / "hosts.json"
        path.write_text(json.dumps({"hosts": hosts, "current_host": own}), encoding="utf-8")
        # The parameter server would guess its address from the first network card that it finds.
        return ["--hosts", str(path)], {"DMLC_NODE_HOST": own}

    def _peers(self) -> list[str]:
        """Return the private addresses of the launch's machines, in the order of text."""
        ec2 = client("ec2", self._job.region)
        filters = [
            {"Name": f"tag:{LAUNCH_TAG}", "Values": [self._job.launch]},
            {"Name": "instance-state-name", "Values": ["pending", "running"]},
        ]
        until = time.monotonic() + _GATHER_S
        while True:
            self._interruption.check()
            with clear_errors(f"the machines of {self._job.launch}"):
                answer = ec2.describe_instances(Filters=filters)
            machines = [
                m for reservation in answer["Reservations"] for m in reservation["Instances"]
            ]
            hosts = sorted({m["PrivateIpAddress"] for m in machines if "PrivateIpAddress" in m})
            if len(hosts) >= self._job.machines:
                return hosts
            if time.monotonic() > until:
                raise LocationNetError(
                    f"only {len(hosts)} of {self._job.machines} machines appeared"
                )
            time.sleep(_PEERS_S)

    def _wait_for_all(self) -> None:
        """Wait until every machine has its packs: the run's own patience is for starting only."""
        mark = self._job.ready_mark(self._index)
        with clear_errors(str(mark)):
            self._s3.put_object(**mark.arguments, Body=b"")
        until = time.monotonic() + _FETCH_S
        while len(ready := folders.listing(self._s3, mark.parent)) < self._job.machines:
            self._interruption.check()
            if time.monotonic() > until:
                raise LocationNetError(
                    f"only {len(ready)} of {self._job.machines} machines fetched their packs"
                )
            time.sleep(_PEERS_S)

    def _watch(self, child: Child) -> tuple[int, str]:
        """Wait for the end of training; return its exit code and why it was stopped, if it was."""
        keep = _Repeat(self._job.checkpoint_minutes * 60, self._push_run, self._log)
        log = _Repeat(_LOG_S, self.push_log, self._log)
        why, deadline = "", float("inf")
        with keep, log:
            while (code := child.wait(_TICK_S)) is None:
                if not why and (why := self._interruption.reason()):
                    self._log.say(f"{why}: asking the run to stop")
                    child.stop()
                    deadline = time.monotonic() + _STOPPING_S
                if time.monotonic() > deadline:
                    self._log.say(f"the run did not stop in {_STOPPING_S:.0f} s: ended")
                    child.kill()
                if self._index == 0 and not why and self._out.is_dir():
                    keep.tick()
                log.tick()
        return (128 - code if code < 0 else code), why

    def _push_run(self) -> folders.Moved:
        return folders.push(
            self._s3, self._snapshot(), self._job.run,
            mirror=lambda name: name.startswith("state-"),
        )  # fmt: skip

    def _snapshot(self) -> Path:
        """Return a folder that links to what the run contains now.

        While it travels the run continues, and removes states: copied from the run itself, one that
        is started might never be finished.
        """
        box = self._root / "outbox"
        box.mkdir(exist_ok=True)
        for old in box.iterdir():
            if old.is_dir():
                shutil.rmtree(old)
            elif old.name != folders.RECORD:
                old.unlink()
        hidden = shutil.ignore_patterns(".*")
        try:
            shutil.copytree(
                self._out, box, ignore=hidden, copy_function=os.link, dirs_exist_ok=True
            )
        except shutil.Error as error:
            # What was removed meanwhile has newer ones beside it.
            if any(Path(source).exists() for source, *_ in error.args[0]):
                raise
        return box

    def _say_moved(self, what: str, moved: folders.Moved) -> None:
        self._log.say(
            f"{what}: {moved.files:,} files ({moved.bytes / 1e6:,.1f} MB) copied,"
            f" {moved.same:,} were there"
        )


class _Repeat:
    """Something done now and then beside the rest, one at a time; a failure is said, not raised."""

    def __init__(self, seconds: float, action: Any, log: _Log) -> None:
        self._seconds, self._action, self._log = seconds, action, log
        self._next = time.monotonic() + seconds
        self._pool = ThreadPoolExecutor(1)
        self._running: Future[Any] | None = None

    def __enter__(self) -> _Repeat:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown()
        self._hear()

    def tick(self) -> None:
        """Begin when it is time."""
        if self._running is not None and self._running.done():
            self._hear()
        if self._running is None and time.monotonic() >= self._next:
            self._next = time.monotonic() + self._seconds
            self._running = self._pool.submit(self._action)

    def _hear(self) -> None:
        running, self._running = self._running, None
        try:
            if running is not None:
                running.result()
        except (LocationNetError, OSError) as error:
            self._log.say(f"{error}; it is tried again later")


class _Log:
    """What is said goes to a file and to standard error."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("a", encoding="utf-8", buffering=1)

    def __enter__(self) -> _Log:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def say(self, text: str) -> None:
        """Write a line."""
        self._file.write(f"{text}\n")
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()
