"""A run's folder: what is written into it, whole or not at all, and read back.

Knows files and when they are complete; not how anything in them is computed.

``checkpoint-symbol.json`` and ``checkpoint-0001.params``, one for each epoch, are what any MXNet
program loads. ``state-EPOCH-BATCH`` folders hold what a resumed run needs beyond that.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from locationnet.errors import LocationNetError
from locationnet.files import write_text, written_whole

if TYPE_CHECKING:
    from locationnet.train.compat import mx

PREFIX = "checkpoint"
BEST = "best.json"
KEEP_STATES = 2
_COMPLETE = "complete.json"
_WEIGHTS = "weights.params"
_OPTIMIZER = "optimizer.params"
_STATE = re.compile(r"state-(\d{4})-(\d{7,})")

Arrays = dict[str, "mx.nd.NDArray"]


@dataclass
class Progress:
    """How far a run is.

    Parameters
    ----------
    epoch, batch
        Epochs done, and batches done of the next one.
    updates
        Updates of the weights so far.
    global_batch
        Photos in each update, on all devices of all machines.
    loss, correct, weight, photos
        Sums over the current epoch so far.
    best, best_epoch
        The best validation metric and the epoch, from 1, that reached it; 0 before the first.
    seconds
        Spent training.
    """

    epoch: int = 0
    batch: int = 0
    updates: int = 0
    global_batch: int = 0
    loss: float = 0.0
    correct: float = 0.0
    weight: float = 0.0
    photos: int = 0
    best: float | None = None
    best_epoch: int = 0
    seconds: float = 0.0

    def clear_sums(self) -> None:
        """Begin the sums over an epoch."""
        self.loss = self.correct = self.weight = 0.0
        self.photos = 0


@dataclass(frozen=True)
class State:
    """What a run continues from.

    Parameters
    ----------
    progress
        How far the run was.
    parameters
        NDArrays named ``arg:…`` and ``aux:…``, float32, on the CPU.
    optimizer
        NDArrays named ``momentum:…`` and, with float16, ``master:…``.
    """

    progress: Progress
    parameters: Arrays
    optimizer: Arrays = field(default_factory=dict)


def newest(run: Path) -> Path | None:
    """Return the folder of the newest complete state, or None."""
    for _, path in sorted(_states(run), reverse=True):
        if _is_complete(path):
            return path
    return None


def read_progress(state: Path) -> Progress:
    """Return how far the run was at a state.

    Raises
    ------
    LocationNetError
        The file cannot be read.
    """
    path = state / _COMPLETE
    try:
        return Progress(**json.loads(path.read_text(encoding="utf-8"))["progress"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise LocationNetError(f"{path}: cannot be read ({error})") from error


def read(state: Path) -> State:
    """Read a state's arrays.

    Raises
    ------
    LocationNetError
        A file cannot be read.
    """
    from locationnet.train.compat import mx

    progress = read_progress(state)
    found: list[Arrays] = []
    for name in (_WEIGHTS, _OPTIMIZER):
        try:
            arrays = mx.nd.load(str(state / name))
        except mx.MXNetError as error:
            raise LocationNetError(f"{state / name}: not a whole file of MXNet arrays") from error
        # MXNet reads an empty file of arrays as a list.
        found.append(arrays if isinstance(arrays, dict) else {})
    return State(progress, *found)


def write(run: Path, state: State, *, end_of_epoch: bool) -> Path:
    """Write a state, remove those older than the one before it, and return its folder.

    Parameters
    ----------
    run
        The run's folder.
    state
        To write.
    end_of_epoch
        Also give the parameters their standard name, ``checkpoint-0001.params``.

    Raises
    ------
    LocationNetError
        The disk is full or the folder cannot be written; older states are untouched.
    """
    progress = state.progress
    final = run / f"state-{progress.epoch:04d}-{progress.batch:07d}"
    try:
        if not _is_complete(final):
            _write_folder(run, final, state)
        if end_of_epoch:
            publish(run, final, progress.epoch)
        for _, old in sorted(_states(run), reverse=True)[KEEP_STATES:]:
            shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        raise LocationNetError(f"{final}: cannot be written ({error.strerror})") from error
    return final


def publish(run: Path, state: Path, epoch: int) -> None:
    """Give an epoch's parameters their standard name; a run may be killed before it has."""
    _publish(state / _WEIGHTS, run / f"{PREFIX}-{epoch:04d}.params")


def write_best(run: Path, epoch: int, metric: str, value: float) -> None:
    """Point to the best epoch's parameters."""
    best = {"epoch": epoch, "params": f"{PREFIX}-{epoch:04d}.params", "by": metric, "value": value}
    write_text(run / BEST, json.dumps(best) + "\n")


def write_run_fields(run: Path, fields: dict[str, Any]) -> None:
    """Write ``checkpoint-run.json``: what the checkpoints were trained with."""
    write_text(run / f"{PREFIX}-run.json", json.dumps(fields, indent=1) + "\n")


def read_run_fields(run: Path) -> dict[str, Any]:
    """Return what `write_run_fields` wrote.

    Raises
    ------
    LocationNetError
        The folder contains no run.
    """
    path = run / f"{PREFIX}-run.json"
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise LocationNetError(f"{run}: contains no run to resume") from error
    except (OSError, ValueError) as error:
        raise LocationNetError(f"{path}: cannot be read ({error})") from error
    if not isinstance(fields, dict) or "settings" not in fields:
        raise LocationNetError(f"{path}: lacks the run's settings")
    return fields


def _states(run: Path) -> list[tuple[tuple[int, int], Path]]:
    if not run.is_dir():
        return []
    return [
        ((int(match[1]), int(match[2])), path)
        for path in run.iterdir()
        if (match := _STATE.fullmatch(path.name))
    ]


def _is_complete(state: Path) -> bool:
    """Whether all of a state's files are there in full length, as its last file says."""
    try:
        sizes = json.loads((state / _COMPLETE).read_text(encoding="utf-8"))["sizes"]
        return bool(sizes) and all(
            (state / name).stat().st_size == size for name, size in sizes.items()
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def _write_folder(run: Path, final: Path, state: State) -> None:
    from locationnet.train.compat import mx

    for abandoned in run.glob(".state-*"):
        shutil.rmtree(abandoned, ignore_errors=True)
    temporary = Path(tempfile.mkdtemp(dir=run, prefix=".state-"))
    try:
        sizes = {}
        for name, arrays in ((_WEIGHTS, state.parameters), (_OPTIMIZER, state.optimizer)):
            try:
                mx.nd.save(str(temporary / name), arrays)
            except mx.MXNetError as error:
                raise LocationNetError(f"{final}: cannot be written (is the disk full?)") from error
            _sync(temporary / name)
            sizes[name] = (temporary / name).stat().st_size
        complete = {"progress": dataclasses.asdict(state.progress), "sizes": sizes}
        (temporary / _COMPLETE).write_text(json.dumps(complete) + "\n", encoding="utf-8")
        _sync(temporary / _COMPLETE)
        temporary.chmod(0o755)
        shutil.rmtree(final, ignore_errors=True)
        temporary.rename(final)
        _sync(run)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def _publish(source: Path, target: Path) -> None:
    """Give a file a second name, replacing what had it; a copy where links are not possible."""
    with written_whole(target) as part:
        part.unlink(missing_ok=True)
        try:
            part.hardlink_to(source)
        except OSError:
            shutil.copyfile(source, part)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
