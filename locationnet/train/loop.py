"""The training loop: epochs of steps, validation after each, checkpoints that a run resumes from.

Knows in which order things happen; each part knows its own business.
"""

from __future__ import annotations

import math
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from locationnet.errors import LocationNetError, MissingExtraError
from locationnet.train import checkpoints, curves
from locationnet.train.collectives import Group
from locationnet.train.compat import check_gpus, mx
from locationnet.train.config import LESS_IS_BETTER, Devices, Settings
from locationnet.train.init_weights import starting_point
from locationnet.train.interrupts import Interrupts
from locationnet.train.module import Pending
from locationnet.train.preflight import clear_errors, find_state, open_packs
from locationnet.train.run import Run
from locationnet.train.validate import validate

# Workers of a group agree on stopping and on checkpoints every so many batches.
_AGREE_EVERY = 8


class InterruptedRunError(LocationNetError):
    """The run was asked to stop and can be resumed; the message says how.

    Parameters
    ----------
    message
        One line.
    signal
        Which signal asked.
    """

    def __init__(self, message: str, signal: int) -> None:
        super().__init__(message)
        self.signal = signal


@dataclass(frozen=True)
class Outcome:
    """A finished run.

    Parameters
    ----------
    run
        Its folder.
    epochs
        How many were trained, fewer than asked for where patience ended it.
    best_epoch
        From 1.
    """

    run: Path
    epochs: int
    best_epoch: int


def train(settings: Settings, *, resume: bool = False) -> Outcome:
    """Train a network.

    Parameters
    ----------
    settings
        What to do.
    resume
        Go on from the newest complete checkpoint in the run's folder.

    Raises
    ------
    InterruptedRunError
        Ctrl-C or SIGTERM; a checkpoint was written.
    LocationNetError
        A pack does not fit the other or is empty, the devices cannot be used, no bundle could be
        made of the network to start from, the loss is not a number, the disk is full, …: one line
        that says what to do.
    """
    devices = Devices.parse(settings.devices)
    if devices.kind == "gpu":
        check_gpus(devices.indices)
    training, validation = open_packs(settings)
    with clear_errors(settings), Interrupts() as interrupts:
        group = Group.join(devices.kind)
        start = starting_point(settings, training.class_set)
        if group.leads:
            start.check_export(settings)
        newest = find_state(settings, training, resume=resume) if group.leads else None
        with closing(Run(settings, training, validation, start, group, newest)) as run:
            return _Loop(run, interrupts).finish()


class _Waiting(NamedTuple):
    """A batch whose answer has not been read."""

    batch: mx.io.DataBatch
    answer: Pending


class _Loop:
    """Takes a run from where it stands to its end."""

    def __init__(self, run: Run, interrupts: Interrupts) -> None:
        self._run, self._interrupts = run, interrupts
        self._classes = run.training.classes_of_records

    def finish(self) -> Outcome:
        """Train until the last epoch, or until patience ends."""
        run = self._run
        settings, progress = run.settings, run.progress
        while progress.epoch < settings.epochs and not self._patience_is_over():
            self._train_epoch()
            self._end_epoch()
        if progress.epoch < settings.epochs:
            run.log.say(f"no better {run.best_by} in {settings.patience} epochs: the run ends here")
        if run.group.leads:
            try:
                curves.draw(settings.out)
            except MissingExtraError as error:
                run.log.say(str(error))
        return Outcome(settings.out, progress.epoch, progress.best_epoch)

    def _train_epoch(self) -> None:
        run = self._run
        progress, batches, log_every = run.progress, run.plan.batches, run.settings.log_every
        interval = _Interval(progress.photos)
        waiting: _Waiting | None = None
        run.photos.start(progress.epoch, progress.batch)
        with run.log.bar(f"epoch {progress.epoch + 1}", batches, progress.batch):
            while progress.batch < batches:
                batch = run.photos.next()
                answer = run.learner.step(batch)
                # The answer to the batch before is read while the devices work on this one.
                self._absorb(waiting, interval)
                waiting = _Waiting(batch, answer)
                progress.batch += 1
                progress.updates += 1
                run.log.advance(interval.text)
                stop, due = self._agree()
                logs = progress.batch % log_every == 0 or progress.batch == batches
                if logs or stop or due:
                    self._absorb(waiting, interval)
                    waiting = None
                if logs:
                    self._record_batch(interval)
                    interval = _Interval(progress.photos)
                if stop:
                    self._stop()
                if due:
                    run.save()

    def _end_epoch(self) -> None:
        run = self._run
        settings, progress = run.settings, run.progress
        began = time.monotonic()
        run.average_statistics()
        # Whatever happens in validation, the epoch is not lost.
        run.save()
        with run.log.bar("validation", run.held_out.plan.batches):
            metrics = validate(
                run.learner, run.held_out, run.validation, run.group, self._may_go_on
            )
        if metrics is None:
            self._stop()
            return
        if not math.isfinite(metrics["loss"]):
            raise run.diverged("validation loss")
        sums = run.group_sums()
        epoch, value = progress.epoch + 1, metrics[run.best_by]
        sign = -1 if run.best_by in LESS_IS_BETTER else 1
        is_best = progress.best is None or sign * value > sign * progress.best
        if is_best:
            progress.best, progress.best_epoch = value, epoch
        run.log.record(
            {
                "kind": "epoch",
                "epoch": epoch,
                "update": progress.updates,
                "loss": sums["loss"] / max(sums["weight"], 1e-9),
                "top1": sums["correct"] / max(sums["photos"], 1),
                "validation": metrics,
                "best_epoch": progress.best_epoch,
                "images_per_second": sums["photos"] / max(progress.seconds, 1e-9),
                "seconds": progress.seconds,
                "validation_seconds": time.monotonic() - began,
                "rate": run.schedule(progress.updates),
                "memory_mb": run.memory(),
            }
        )
        run.forget_sums()
        progress.epoch, progress.batch, progress.seconds = epoch, 0, 0.0
        run.save(end_of_epoch=True)
        if is_best and run.group.leads:
            checkpoints.write_best(settings.out, epoch, run.best_by, value)

    def _may_go_on(self) -> bool:
        self._run.log.advance()
        # In a group nobody may leave a common piece of work.
        return self._interrupts.received is None or self._run.group.workers > 1

    def _absorb(self, waiting: _Waiting | None, interval: _Interval) -> None:
        """Add a batch's answer to the sums."""
        if waiting is None:
            return
        run, progress, batch = self._run, self._run.progress, waiting.batch
        answer = waiting.answer.read()
        counting = run.plan.batch_size - batch.pad
        loss = float(answer.loss[:counting].sum(dtype=np.float64))
        if not math.isfinite(loss):
            raise run.diverged("loss")
        weight = float(batch.label[1].asnumpy().sum(dtype=np.float64))
        progress.loss += loss
        progress.weight += weight
        progress.photos += counting
        own = self._classes[batch.index[:counting]]
        progress.correct += int((answer.best[:counting, 0] == own).sum())
        interval.add(loss, weight)

    def _record_batch(self, interval: _Interval) -> None:
        run, progress = self._run, self._run.progress
        seconds = time.monotonic() - interval.began
        progress.seconds += seconds
        photos = (progress.photos - interval.photos) * run.group.workers
        run.log.record(
            {
                "kind": "batch",
                "epoch": progress.epoch + 1,
                "batch": progress.batch,
                "batches": run.plan.batches,
                "update": progress.updates,
                "loss": interval.loss / max(interval.weight, 1e-9),
                "images_per_second": photos / max(seconds, 1e-9),
                "rate": run.schedule(progress.updates),
                "memory_mb": run.memory(),
            }
        )

    def _agree(self) -> tuple[bool, bool]:
        """Return whether to stop and whether a checkpoint is due, the same on every worker."""
        run = self._run
        settings, progress = run.settings, run.progress
        every = settings.every_batches
        by_count = every > 0 and progress.updates % every == 0
        minutes = (time.monotonic() - run.saved) / 60
        stop = self._interrupts.received is not None
        by_time = run.group.leads and 0 < settings.every_minutes <= minutes
        if run.group.workers > 1:
            if progress.batch % _AGREE_EVERY and progress.batch < run.plan.batches:
                return False, by_count
            stop, by_time = run.group.sum("wishes", np.array([stop, by_time], float)) > 0
        return bool(stop), bool(by_count or by_time)

    def _stop(self) -> None:
        run, progress = self._run, self._run.progress
        run.save()
        raise InterruptedRunError(
            f"stopped at epoch {progress.epoch + 1}, batch {progress.batch:,} of"
            f" {run.plan.batches:,}; go on with: locationnet train --resume --out"
            f" {run.settings.out}{', on the same hosts' if run.group.workers > 1 else ''}",
            self._interrupts.received or 0,
        )

    def _patience_is_over(self) -> bool:
        settings, progress = self._run.settings, self._run.progress
        waited = progress.epoch - progress.best_epoch
        return bool(settings.patience and progress.best_epoch and waited >= settings.patience)


class _Interval:
    """What happened since the last log record."""

    def __init__(self, photos: int) -> None:
        self.photos, self.began = photos, time.monotonic()
        self.loss = self.weight = 0.0
        self.text: str | None = None

    def add(self, loss: float, weight: float) -> None:
        """Add a batch's sums."""
        self.loss += loss
        self.weight += weight
        self.text = f"loss {self.loss / max(self.weight, 1e-9):.4f}"
