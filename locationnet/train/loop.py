"""The training loop: epochs of steps, validation after each, checkpoints to resume from.

Knows in which order things happen; the parts know how.
"""

from __future__ import annotations

import dataclasses
import math
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from locationnet.errors import LocationNetError, MissingExtraError
from locationnet.train import checkpoints, curves
from locationnet.train.checkpoints import Progress, State
from locationnet.train.collectives import Collectives
from locationnet.train.compat import check_gpus, mx
from locationnet.train.config import LESS_IS_BETTER, Settings
from locationnet.train.devices import Devices
from locationnet.train.init_weights import initial_weights
from locationnet.train.interrupts import InterruptedRunError, Interrupts
from locationnet.train.log import memory_mb
from locationnet.train.module import Pending
from locationnet.train.parts import Parts, build, restore
from locationnet.train.place_batches import places_of
from locationnet.train.preflight import clear_errors, find_state, open_packs
from locationnet.train.validate import validate

# Several workers agree on stopping and on checkpoints every so many batches.
_AGREE_EVERY = 8


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
        Resume from the newest complete checkpoint in the run's folder.

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
        collectives = Collectives.join(devices.kind)
        places = None
        if settings.triplets:
            places = places_of(settings, training, validation, collectives.workers)
        init = initial_weights(settings, training.class_set)
        if collectives.leads:
            init.check_export(settings)
        newest = find_state(settings, training, resume=resume) if collectives.leads else None
        parts = build(settings, training, validation, places, init, collectives)
        with closing(parts):
            progress = restore(parts, init, newest)
            return TrainingRun(parts, progress, interrupts).finish()


class _Waiting(NamedTuple):
    """A batch whose answer has not been read."""

    batch: mx.io.DataBatch
    answer: Pending


class TrainingRun:
    """A run that is trained from where it stands to its end.

    Parameters
    ----------
    parts
        What it works with, its weights in place.
    progress
        How far it is; kept up to date.
    interrupts
        Whether a signal has asked it to stop.
    """

    def __init__(self, parts: Parts, progress: Progress, interrupts: Interrupts) -> None:
        self._parts, self._progress, self._interrupts = parts, progress, interrupts
        self._classes = parts.training.classes_of_records
        self._saved = time.monotonic()

    def finish(self) -> Outcome:
        """Train until the last epoch, or until patience ends."""
        parts, progress, settings = self._parts, self._progress, self._parts.settings
        if progress.updates == 0:
            # So that whatever happens, there is something to resume, and a full disk shows now.
            self._save()
        while progress.epoch < settings.epochs and not self._patience_is_over():
            self._train_epoch()
            self._end_epoch()
        if progress.epoch < settings.epochs:
            parts.log.say(
                f"no better {parts.best_by} in {settings.patience} epochs: the run ends here"
            )
        if parts.collectives.leads:
            try:
                curves.draw(settings.out)
            except MissingExtraError as error:
                parts.log.say(str(error))
        return Outcome(settings.out, progress.epoch, progress.best_epoch)

    def _train_epoch(self) -> None:
        parts, progress = self._parts, self._progress
        batches, log_every = parts.plan.batches, parts.settings.log_every
        interval = _Interval(progress.photos)
        waiting: _Waiting | None = None
        parts.photos.start(progress.epoch, progress.batch)
        with parts.log.bar(f"epoch {progress.epoch + 1}", batches, progress.batch):
            while progress.batch < batches:
                batch = parts.photos.next()
                answer = parts.module.step(batch)
                # The answer to the batch before is read while the devices work on this one.
                self._absorb(waiting, interval)
                waiting = _Waiting(batch, answer)
                progress.batch += 1
                progress.updates += 1
                parts.log.advance(interval.text)
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
                    self._save()

    def _end_epoch(self) -> None:
        parts, progress, settings = self._parts, self._progress, self._parts.settings
        began = time.monotonic()
        self._average_statistics()
        # Whatever happens in validation, the epoch is not lost.
        self._save()
        held_out, log = parts.held_out, parts.log
        with log.bar("validation", held_out.plan.batches):
            metrics = validate(
                parts.module,
                parts.held_out,
                parts.validation,
                parts.collectives,
                self._may_continue,
                None if parts.places is None else parts.places.validation,
            )
        if metrics is None:
            self._stop()
            return
        if not math.isfinite(metrics.get("loss", 0.0)):
            raise self._diverged("validation loss")
        sums = self._epoch_sums()
        epoch, value = progress.epoch + 1, metrics[parts.best_by]
        sign = -1 if parts.best_by in LESS_IS_BETTER else 1
        is_best = progress.best is None or sign * value > sign * progress.best
        if is_best:
            progress.best, progress.best_epoch = value, epoch
        parts.log.record(
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
                "rate": parts.schedule(progress.updates),
                "memory_mb": self._memory(),
            }
        )
        progress.clear_sums()
        progress.epoch, progress.batch, progress.seconds = epoch, 0, 0.0
        self._save(end_of_epoch=True)
        if is_best and parts.collectives.leads:
            checkpoints.write_best(settings.out, epoch, parts.best_by, value)

    def _may_continue(self) -> bool:
        self._parts.log.advance()
        # With several workers none may leave a common piece of work.
        return self._interrupts.received is None or self._parts.collectives.workers > 1

    def _absorb(self, waiting: _Waiting | None, interval: _Interval) -> None:
        """Add a batch's answer to the sums."""
        if waiting is None:
            return
        parts, progress, batch = self._parts, self._progress, waiting.batch
        answer = waiting.answer.read()
        counting = parts.plan.batch_size - batch.pad
        loss = float(answer.loss[:counting].sum(dtype=np.float64))
        if not math.isfinite(loss):
            raise self._diverged("loss")
        weight = float(batch.label[1].asnumpy().sum(dtype=np.float64))
        progress.loss += loss
        progress.weight += weight
        progress.photos += counting
        own = self._classes[batch.index[:counting]]
        progress.correct += int((answer.best[:counting, 0] == own).sum())
        interval.add(loss, weight)

    def _record_batch(self, interval: _Interval) -> None:
        parts, progress = self._parts, self._progress
        seconds = time.monotonic() - interval.began
        progress.seconds += seconds
        photos = (progress.photos - interval.photos) * parts.collectives.workers
        parts.log.record(
            {
                "kind": "batch",
                "epoch": progress.epoch + 1,
                "batch": progress.batch,
                "batches": parts.plan.batches,
                "update": progress.updates,
                "loss": interval.loss / max(interval.weight, 1e-9),
                "images_per_second": photos / max(seconds, 1e-9),
                "rate": parts.schedule(progress.updates),
                "memory_mb": self._memory(),
            }
        )

    def _agree(self) -> tuple[bool, bool]:
        """Return whether to stop and whether a checkpoint is due, the same on every worker."""
        parts, progress, settings = self._parts, self._progress, self._parts.settings
        every = settings.every_batches
        by_count = every > 0 and progress.updates % every == 0
        minutes = (time.monotonic() - self._saved) / 60
        stop = self._interrupts.received is not None
        by_time = parts.collectives.leads and 0 < settings.every_minutes <= minutes
        if parts.collectives.workers > 1:
            if progress.batch % _AGREE_EVERY and progress.batch < parts.plan.batches:
                return False, by_count
            stop, by_time = parts.collectives.sum("requests", np.array([stop, by_time], float)) > 0
        return bool(stop), bool(by_count or by_time)

    def _stop(self) -> None:
        parts, progress = self._parts, self._progress
        hosts = ", on the same hosts" if parts.collectives.workers > 1 else ""
        self._save()
        raise InterruptedRunError(
            f"stopped at epoch {progress.epoch + 1}, batch {progress.batch:,} of"
            f" {parts.plan.batches:,}; resume with: locationnet train --resume --out"
            f" {parts.settings.out}{hosts}",
            self._interrupts.received or 0,
        )

    def _patience_is_over(self) -> bool:
        settings, progress = self._parts.settings, self._progress
        waited = progress.epoch - progress.best_epoch
        return bool(settings.patience and progress.best_epoch and waited >= settings.patience)

    def _save(self, *, end_of_epoch: bool = False) -> None:
        """Write a checkpoint; every worker must call it."""
        module, collectives = self._parts.module, self._parts.collectives
        arguments, auxiliary = module.weights()
        auxiliary = collectives.average("state", auxiliary)
        sums = self._epoch_sums()
        self._saved = time.monotonic()
        if not collectives.leads:
            return
        if not all(np.isfinite(value.asnumpy()).all() for value in arguments.values()):
            raise self._diverged("weight")
        parameters = {f"arg:{name}": value for name, value in arguments.items()}
        parameters |= {f"aux:{name}": value for name, value in auxiliary.items()}
        progress = dataclasses.replace(self._progress, **sums)
        state = State(progress, parameters, module.momentum())
        checkpoints.write(self._parts.settings.out, state, end_of_epoch=end_of_epoch)

    def _average_statistics(self) -> None:
        """Give all devices of all workers the mean of their BatchNorm statistics.

        What is validated is then what is saved; the weights are equal anyway.
        """
        module, collectives = self._parts.module, self._parts.collectives
        if collectives.workers > 1 or len(self._parts.devices) > 1:
            arguments, auxiliary = module.weights()
            module.set_weights(arguments, collectives.average("state", auxiliary))

    def _epoch_sums(self) -> dict[str, Any]:
        """Return the sums over the epoch so far, over all workers; every worker must call it."""
        progress = self._progress
        own = np.array([progress.loss, progress.correct, progress.weight, progress.photos])
        loss, correct, weight, photos = self._parts.collectives.sum("epoch", own).tolist()
        return {"loss": loss, "correct": correct, "weight": weight, "photos": round(photos)}

    def _memory(self) -> float:
        """Return the most memory that the process has held or, in use now, the fullest GPU; MB."""
        devices = self._parts.devices
        if devices.kind == "cpu":
            return memory_mb()
        held = (mx.context.gpu_memory_info(index) for index in devices.indices)
        return max(float(total - free) for free, total in held) / 1024**2

    def _diverged(self, what: str) -> LocationNetError:
        """Return the error that says that something is NaN or infinite."""
        progress = self._progress
        rate = self._parts.schedule(max(progress.updates, 1))
        return LocationNetError(
            f"the {what} is not a number any more at epoch {progress.epoch + 1}, batch"
            f" {progress.batch:,} (learning rate {rate:.3g}): start again with half the --rate or a"
            " longer --warmup"
        )


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
