"""Training inside a container that SageMaker runs as ``docker run IMAGE train``.

Knows the folders that SageMaker promises; training is ``locationnet train``, in a process of its
own, and what it leaves in ``/opt/ml/model`` is a bundle.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

from locationnet.aws.train_options import as_strings, as_words
from locationnet.child import Child, locationnet_command
from locationnet.errors import InputError, LocationNetError
from locationnet.files import write_text
from locationnet.train import checkpoints
from locationnet.train.distributed.hostfile import find_layout
from locationnet.train.interrupts import Interrupts

ROOT = Path("/opt/ml")
_TICK_S = 0.5
# SageMaker kills two minutes after it has asked.
_STOPPING_S = 110.0


def is_here() -> bool:
    """Whether this process runs in such a container."""
    return (ROOT / "input" / "config" / "hyperparameters.json").is_file()


def train(root: Path | None = None) -> int:
    """Train as SageMaker's files say and return the exit code.

    A run that is found among the checkpoints is resumed: SageMaker brings them back when it
    replaces a spot machine. A failure is written to ``output/failure``.

    Parameters
    ----------
    root
        Instead of ``/opt/ml``.
    """
    root = root or ROOT
    try:
        with Interrupts() as interrupts:
            return _train(root, interrupts)
    except (LocationNetError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        _note_failure(root, str(error))
        return 1


def _train(root: Path, interrupts: Interrupts) -> int:
    run = root / "checkpoints"
    hosts = root / "input" / "config" / "resourceconfig.json"
    layout = find_layout(hosts) if hosts.is_file() else None
    words = _words(root, run)
    if layout is not None:
        words += ["--hosts", str(hosts)]
    sys.stderr.write(f"locationnet train {' '.join(words)}\n")
    code = _follow(["train", *words], root, interrupts)
    leads = layout is None or layout.here == 0
    if code or interrupts.received is not None or not leads:
        return code
    # Not into the model's folder itself: it is mounted, and a bundle takes its place by a rename.
    with tempfile.TemporaryDirectory() as folder:
        bundle = Path(folder) / "bundle"
        name = os.environ.get("TRAINING_JOB_NAME", "locationnet")
        validation = str(root / "input" / "data" / "val")
        export = ["export", str(run), "--out", str(bundle), "--name", name]
        code = _follow([*export, "--validation", validation], root, interrupts)
        if code == 0:
            shutil.copytree(bundle, root / "model", dirs_exist_ok=True)
    return code


def _words(root: Path, run: Path) -> list[str]:
    """Return the words of `train` that SageMaker's files amount to."""
    config, data = root / "input" / "config", root / "input" / "data"
    options = as_strings(_read(config / "hyperparameters.json"), "hyperparameter")
    for channel in ("train", "val", *(["init"] if "init" in options else [])):
        if not (data / channel).is_dir():
            raise InputError(
                f"{data / channel}: the job has no channel {channel!r}; it needs train and val"
                " (packs), and init where that option is given"
            )
    if "init" in options:
        options["init"] = str(data / "init" / options["init"])
    words = [str(data / "train"), "--val", str(data / "val"), "--out", str(run)]
    if checkpoints.newest(run) is not None:
        words.append("--resume")
    return words + as_words(options)


def _follow(words: list[str], root: Path, interrupts: Interrupts) -> int:
    """Run a command to its end; what it said last becomes the reason of a failure."""
    child = Child(
        locationnet_command(*words), lambda line: sys.stderr.write(f"{line}\n"), os.environ
    )
    try:
        while (code := child.wait(_TICK_S)) is None:
            if interrupts.received is not None:
                child.stop()
                code = child.wait(_STOPPING_S)
                break
    finally:
        child.kill()
    code = -9 if code is None else code
    if code and interrupts.received is None:
        _note_failure(root, "\n".join(child.last_lines) or f"{words[0]} ended with code {code}")
    return 128 - code if code < 0 else code


def _read(path: Path) -> dict[str, object]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")).items())
    except (OSError, ValueError, AttributeError) as error:
        raise InputError(f"{path}: not SageMaker's hyperparameters ({error})") from error


def _note_failure(root: Path, reason: str) -> None:
    """Say why; SageMaker shows the first 1024 characters."""
    folder = root / "output"
    if folder.is_dir():
        lines = reason.splitlines()
        # The last line says most, and SageMaker shows the beginning.
        write_text(folder / "failure", "\n".join([lines[-1], *lines[:-1]]) + "\n")
