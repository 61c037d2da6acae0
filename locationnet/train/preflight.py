"""What must be right before a run starts, and what is said when MXNet fails in the middle of one.

Knows packs, the run's folder and MXNet's messages; nothing of networks.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from locationnet.classes import read_classes
from locationnet.errors import InputError, LocationNetError
from locationnet.geo.grid import Grid
from locationnet.pack.format import Pack
from locationnet.train import checkpoints
from locationnet.train.config import Settings

# Metrics that need no coordinates.
_OF_LABELS = ("top1", "top5", "loss", "recall_at_1", "recall_at_5", "recall_at_10")


class EngineError(LocationNetError):
    """MXNet failed while it computed; a new attempt may succeed."""


def open_packs(settings: Settings) -> tuple[Pack, Pack]:
    """Open the training and the validation photos.

    Raises
    ------
    InputError
        One is not a pack or is empty, they were made with different classes, or a metric of
        distances is to choose among labels.
    """
    training, validation = Pack.open(settings.train), Pack.open(settings.validation)
    for pack, what in ((training, "training"), (validation, "validation")):
        if pack.records == 0:
            raise InputError(f"{pack.path}: contains no {what} photos")
    if validation.class_set.sha256 != training.class_set.sha256:
        raise InputError(
            f"{validation.path}: was packed with another grid or other labels than"
            f" {training.path}; pack both with the same"
        )
    if not isinstance(training.class_set, Grid) and settings.best_by not in (None, *_OF_LABELS):
        raise InputError(
            f"best by {settings.best_by!r}: needs coordinates, and the classes of"
            f" {training.path} are labels; expected one of"
            f" {', '.join(name for name in _OF_LABELS if name in settings.metrics)}"
        )
    return training, validation


def find_state(settings: Settings, training: Pack, *, resume: bool) -> Path | None:
    """Return the state to resume from, or None for a new run in a folder that contains none.

    Raises
    ------
    LocationNetError
        There is nothing to resume, a run that would be overwritten, a run with other photos or
        another grid, or the folder cannot be written.
    """
    out = settings.out
    try:
        out.mkdir(parents=True, exist_ok=True)
        newest = checkpoints.newest(out)
    except OSError as error:
        raise LocationNetError(f"{out}: cannot be written ({error.strerror})") from error
    if newest is None:
        if resume:
            raise InputError(f"{out}: contains no complete checkpoint to resume from")
        return None
    if not resume:
        raise InputError(
            f"{out}: contains a run already; continue it with --resume, or choose another --out"
        )
    training.check_classes(read_classes(out))
    if checkpoints.read_run_fields(out).get("train_sha256") != training.summary["source_sha256"]:
        raise InputError(
            f"{out}: was started with other photos than {training.path}; a resumed run keeps them"
        )
    return newest


@contextmanager
def clear_errors(settings: Settings) -> Iterator[None]:
    """Turn what MXNet throws into one line that says what to do."""
    from locationnet.train.compat import last_words, mx

    try:
        yield
    # A module that cannot be bound raises a RuntimeError around MXNet's own.
    except (mx.MXNetError, RuntimeError) as error:
        text = str(error)
        if not isinstance(error, mx.MXNetError) and "simple_bind" not in text:
            raise
        if "out of memory" in text or "cudaErrorMemoryAllocation" in text:
            raise LocationNetError(
                f"the GPU is out of memory: lower --batch-size (now {settings.batch_size} on each"
                " device) or --image-size, or add --fp16"
            ) from error
        raise EngineError(f"MXNet failed: {last_words(error)}") from error
