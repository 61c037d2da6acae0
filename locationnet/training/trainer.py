"""The training loop: epochs of steps, validation after each, checkpoints that a run resumes from.

Knows how the parts are put together and in which order; each part knows its own business.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from locationnet import __version__
from locationnet.data.pack import Pack
from locationnet.errors import InputError, LocationNetError, MissingExtraError
from locationnet.geo.grid import Grid
from locationnet.training import checkpoints, curves
from locationnet.training.checkpoints import Progress, State
from locationnet.training.compat import check_gpus, mx
from locationnet.training.group import Group
from locationnet.training.interrupts import Interrupts
from locationnet.training.iterators import PackIter, Part, Plan
from locationnet.training.labels import Labels, balanced
from locationnet.training.learner import Answer, Learner, Optimizer, initial
from locationnet.training.log import RunLog, memory_mb
from locationnet.training.loss import training_symbol
from locationnet.training.schedule import Schedule
from locationnet.training.settings import LESS_IS_BETTER, Devices, Settings
from locationnet.training.start import Start, starting_point
from locationnet.training.validate import validate

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
    validation
        The last epoch's metrics.
    """

    run: Path
    epochs: int
    best_epoch: int
    validation: dict[str, float]


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
        A pack does not fit the other or is empty, the devices cannot be used, the loss is not a
        number, the disk is full, …: one line that says what to do.
    """
    devices = Devices.parse(settings.devices)
    if devices.kind == "gpu":
        check_gpus(devices.indices)
    training, validation = _open_packs(settings)
    with _clear_errors(settings), Interrupts() as interrupts:
        group = Group.join(devices.kind)
        newest = _claim(settings, training, resume=resume) if group.leads else None
        run = _Run(settings, training, validation, group, newest)
        with closing(run.photos), closing(run.held_out):
            return run.finish(interrupts)


class _Run:
    """One run from its first batch here to its last."""

    def __init__(
        self,
        settings: Settings,
        training: Pack,
        validation: Pack,
        group: Group,
        newest: Path | None,
    ) -> None:
        self._settings = settings
        self._validation = validation
        self._classes = training.classes_of_records
        self._group = group
        devices = Devices.parse(settings.devices)
        self._log = RunLog(settings.out if group.leads else None)
        start = starting_point(settings, training.grid)
        self._symbol = start.symbol
        batch = settings.batch_size * len(devices)
        part = Part(group.rank, group.workers)
        self._plan = Plan(training.records, batch, part, settings.seed)
        weights = balanced(training.counts, settings.class_weights)
        self.photos = PackIter(
            training,
            self._plan,
            Labels(training.grid, settings.smooth_km, weights),
            settings.preprocessing,
            augmentation=settings.augmentation,
            threads=settings.threads,
        )
        self.held_out = PackIter(
            validation,
            Plan(validation.records, batch, part),
            Labels(training.grid, settings.smooth_km),
            settings.preprocessing,
            threads=settings.threads,
        )
        self._learner = Learner(
            training_symbol(
                start.symbol,
                training.classes,
                mean=settings.mean,
                std=settings.std,
                fp16=settings.fp16,
            ),
            [mx.Context(devices.kind, index) for index in devices.indices],
            self.photos.provide_data,
            self.photos.provide_label,
            fixed=start.fixed,
            kvstore=group.kvstore,
        )
        self._schedule = self._make_schedule()
        self._progress = Progress(global_batch=self._plan.global_batch)
        self._begin(start, training, newest)
        self._saved = time.monotonic()
        self._last: dict[str, float] = {}

    def finish(self, interrupts: Interrupts) -> Outcome:
        """Train until the last epoch, or until patience ends."""
        settings, progress = self._settings, self._progress
        while progress.epoch < settings.epochs and not self._patience_is_over():
            self._train_epoch(interrupts)
            self._end_epoch(interrupts)
        if progress.epoch < settings.epochs:
            self._log.say(
                f"no better {settings.best_by} in {settings.patience} epochs: the run ends here"
            )
        if self._group.leads:
            try:
                curves.draw(settings.out)
            except MissingExtraError as error:
                self._log.say(str(error))
        return Outcome(settings.out, progress.epoch, progress.best_epoch, self._last)

    def _begin(self, start: Start, training: Pack, newest: Path | None) -> None:
        """Put weights and momentum in place, the leader's on every worker."""
        settings, learner, group = self._settings, self._learner, self._group
        momentum: dict[str, mx.nd.NDArray] = {}
        arguments = initial(learner.shapes, settings.seed) | start.arguments
        auxiliary = initial(learner.state_shapes, settings.seed) | start.auxiliary
        if newest is not None:
            state = checkpoints.read(newest)
            self._progress, momentum = state.progress, state.optimizer
            arguments = _named(state.parameters, "arg:")
            auxiliary = _named(state.parameters, "aux:")
        self._progress = Progress(
            **group.share_json("progress", dataclasses.asdict(self._progress))
        )
        if not group.leads:
            # Sums over the epoch are the group's; the leader carries them on.
            self._forget_sums()
            if self._progress.updates and settings.momentum > 0:
                momentum = learner.empty_momentum()
        group.share("momentum", momentum)
        group.share("arguments", arguments)
        group.share("auxiliary", auxiliary)
        learner.set_weights(arguments, auxiliary)
        learner.set_optimizer(self._optimizer(start), momentum)
        self._check_batch()
        if group.leads and newest is None:
            self._found(start, training)
        if self._progress.updates == 0:
            self._save(end_of_epoch=False)
        if newest is not None:
            progress = self._progress
            self._log.rewind(progress.updates, progress.epoch)
            self._log.say(
                f"resuming at epoch {progress.epoch + 1}, batch {progress.batch:,} of"
                f" {self._plan.batches:,}"
            )

    def _found(self, start: Start, training: Pack) -> None:
        """Write what a new run's folder holds from the beginning."""
        settings = self._settings
        out = settings.out
        training.grid.write(out / "grids.txt")
        start.symbol.save(str(out / f"{checkpoints.PREFIX}-symbol.json"))
        (out / "log.jsonl").unlink(missing_ok=True)
        checkpoints.write_facts(out, self._facts(training))
        kept = (
            "" if settings.init is None else f", {'old' if start.keeps_head else 'new'} last layer"
        )
        self._log.say(
            f"{settings.init or settings.network}: {training.records:,} photos in"
            f" {training.classes:,} classes{kept}, {self._plan.batches:,} batches of"
            f" {self._plan.global_batch:,} an epoch, {len(start.fixed)} parameters frozen"
        )

    def _facts(self, training: Pack) -> dict[str, Any]:
        how = dataclasses.asdict(self._settings.preprocessing)
        return {
            "format": 1,
            "locationnet": __version__,
            "mxnet": mx.__version__,
            "preprocessing": how,
            "grid_sha256": training.grid.sha256,
            "classes": training.classes,
            "counts_per_class": training.counts.tolist(),
            "train_photos": training.records,
            "train_sha256": training.summary["source_sha256"],
            "validation_photos": self._validation.records,
            "validation_sha256": self._validation.summary["source_sha256"],
            "global_batch": self._plan.global_batch,
            "workers": self._group.workers,
            "settings": self._settings.to_json(),
        }

    def _make_schedule(self) -> Schedule:
        settings, batches = self._settings, self._plan.batches
        total = settings.epochs * batches
        return Schedule(
            settings.schedule,
            settings.base_rate(self._plan.global_batch),
            round(settings.warmup * batches),
            total,
            tuple(round(share * total) for share in settings.steps),
        )

    def _optimizer(self, start: Start) -> Optimizer:
        settings = self._settings
        body = settings.body_rate if settings.init is not None else 1.0
        rates = {name: body for name in self._learner.shapes if name not in start.head}
        return Optimizer(
            self._schedule,
            settings.momentum,
            settings.weight_decay,
            rates,
            self._progress.updates,
        )

    def _check_batch(self) -> None:
        earlier, now = self._progress.global_batch, self._plan.global_batch
        if earlier != now:
            raise InputError(
                f"{self._settings.out}: each update took {earlier} photos, and"
                f" {self._settings.devices} with --batch-size {self._settings.batch_size} make"
                f" {now}; choose a --batch-size so that the product stays"
            )

    def _train_epoch(self, interrupts: Interrupts) -> None:
        progress, batches = self._progress, self._plan.batches
        interval = _Interval(progress.photos, time.monotonic())
        self.photos.start(progress.epoch, progress.batch)
        waiting: tuple[Any, Any] | None = None
        with self._log.bar(f"epoch {progress.epoch + 1}", batches, progress.batch):
            while progress.batch < batches:
                batch = self.photos.next()
                answer = self._learner.step(batch)
                # The answer to the batch before is read while the devices work on this one.
                self._absorb(waiting, interval)
                waiting = batch, answer
                progress.batch += 1
                progress.updates += 1
                self._log.advance(interval.text)
                stop, due = self._agree(interrupts)
                logs = progress.batch % self._settings.log_every == 0 or progress.batch == batches
                if logs or stop or due:
                    self._absorb(waiting, interval)
                    waiting = None
                if logs:
                    self._record_batch(interval)
                    interval = _Interval(progress.photos, time.monotonic())
                if stop:
                    self._stop(interrupts)
                if due:
                    self._save(end_of_epoch=False)

    def _end_epoch(self, interrupts: Interrupts) -> None:
        settings, progress, group = self._settings, self._progress, self._group
        began = time.monotonic()
        self._average_statistics()

        def advance() -> bool:
            self._log.advance()
            # In a group nobody may leave a common piece of work.
            return interrupts.received is None or group.workers > 1

        with self._log.bar("validation", self.held_out.plan.batches):
            metrics = validate(self._learner, self.held_out, self._validation, group, advance)
        if metrics is None:
            self._stop(interrupts)
            return
        if not math.isfinite(metrics["loss"]):
            raise LocationNetError(self._diverged("validation loss"))
        self._last = metrics
        sums = self._group_sums()
        epoch = progress.epoch + 1
        value = metrics[settings.best_by]
        sign = -1 if settings.best_by in LESS_IS_BETTER else 1
        is_best = progress.best is None or sign * value > sign * progress.best
        if is_best:
            progress.best, progress.best_epoch = value, epoch
        self._log.record(
            {
                "kind": "epoch",
                "epoch": epoch,
                "update": progress.updates,
                "loss": sums["loss"] / sums["weight"],
                "top1": sums["correct"] / sums["photos"],
                "validation": metrics,
                "best_epoch": progress.best_epoch,
                "images_per_second": sums["photos"] / max(progress.seconds, 1e-9),
                "seconds": progress.seconds,
                "validation_seconds": time.monotonic() - began,
                "rate": self._schedule(progress.updates),
                "memory_mb": self._memory(),
            }
        )
        self._forget_sums()
        progress.epoch, progress.batch, progress.seconds = epoch, 0, 0.0
        self._save(end_of_epoch=True)
        if is_best and group.leads:
            checkpoints.write_best(settings.out, epoch, settings.best_by, value)

    def _absorb(self, waiting: tuple[Any, Any] | None, interval: _Interval) -> None:
        """Add a batch's answer to the sums."""
        if waiting is None:
            return
        batch, pending = waiting
        answer: Answer = pending.read()
        progress = self._progress
        counting = self._plan.batch_size - batch.pad
        loss = float(answer.loss[:counting].sum(dtype=np.float64))
        if not math.isfinite(loss):
            raise LocationNetError(self._diverged("loss"))
        weight = float(batch.label[1].asnumpy().sum(dtype=np.float64))
        progress.loss += loss
        progress.weight += weight
        progress.photos += counting
        own = self._classes[batch.index[:counting]]
        progress.correct += int((answer.best[:counting, 0] == own).sum())
        interval.add(loss, weight)

    def _record_batch(self, interval: _Interval) -> None:
        progress = self._progress
        seconds = time.monotonic() - interval.began
        progress.seconds += seconds
        photos = (progress.photos - interval.photos) * self._group.workers
        self._log.record(
            {
                "kind": "batch",
                "epoch": progress.epoch + 1,
                "batch": progress.batch,
                "batches": self._plan.batches,
                "update": progress.updates,
                "loss": interval.loss / max(interval.weight, 1e-9),
                "images_per_second": photos / max(seconds, 1e-9),
                "rate": self._schedule(progress.updates),
                "memory_mb": self._memory(),
            }
        )

    def _agree(self, interrupts: Interrupts) -> tuple[bool, bool]:
        """Return whether to stop and whether a checkpoint is due, the same on every worker."""
        settings, progress = self._settings, self._progress
        by_count = bool(settings.every_batches and progress.updates % settings.every_batches == 0)
        minutes = (time.monotonic() - self._saved) / 60
        wishes = [
            interrupts.received is not None,
            self._group.leads and 0 < settings.every_minutes <= minutes,
        ]
        if self._group.workers > 1:
            if progress.batch % _AGREE_EVERY:
                return False, by_count
            wishes = [bool(n) for n in self._group.sum("wishes", np.array(wishes, float))]
        stop, by_time = wishes
        return stop, by_count or by_time

    def _stop(self, interrupts: Interrupts) -> None:
        self._save(end_of_epoch=False)
        progress = self._progress
        raise InterruptedRunError(
            f"stopped at epoch {progress.epoch + 1}, batch {progress.batch:,} of"
            f" {self._plan.batches:,}; go on with: locationnet train --resume --out"
            f" {self._settings.out}",
            interrupts.received or 0,
        )

    def _save(self, *, end_of_epoch: bool) -> None:
        """Write a checkpoint; every worker must call it."""
        arguments, auxiliary = self._learner.weights()
        auxiliary = self._group.average("state", auxiliary)
        sums = self._group_sums()
        self._saved = time.monotonic()
        if not self._group.leads:
            return
        if not all(np.isfinite(value.asnumpy()).all() for value in arguments.values()):
            raise LocationNetError(self._diverged("a weight"))
        parameters = {f"arg:{name}": value for name, value in arguments.items()}
        parameters |= {f"aux:{name}": value for name, value in auxiliary.items()}
        progress = dataclasses.replace(self._progress, **sums)
        state = State(progress, parameters, self._learner.momentum())
        checkpoints.write(self._settings.out, state, end_of_epoch=end_of_epoch)

    def _average_statistics(self) -> None:
        """Give all workers the mean of their BatchNorm statistics; the weights are equal anyway."""
        if self._group.workers > 1:
            arguments, auxiliary = self._learner.weights()
            self._learner.set_weights(arguments, self._group.average("state", auxiliary))

    def _group_sums(self) -> dict[str, Any]:
        progress = self._progress
        mine = np.array([progress.loss, progress.correct, progress.weight, progress.photos])
        loss, correct, weight, photos = self._group.sum("epoch", mine).tolist()
        return {"loss": loss, "correct": correct, "weight": weight, "photos": int(photos)}

    def _forget_sums(self) -> None:
        progress = self._progress
        progress.loss = progress.correct = progress.weight = 0.0
        progress.photos = 0

    def _patience_is_over(self) -> bool:
        settings, progress = self._settings, self._progress
        waited = progress.epoch - progress.best_epoch
        return bool(settings.patience and progress.best_epoch and waited >= settings.patience)

    def _memory(self) -> float:
        """Return the peak of the host's memory or what the fullest GPU holds now, MB."""
        devices = Devices.parse(self._settings.devices)
        if devices.kind == "cpu":
            return memory_mb()
        held = (mx.context.gpu_memory_info(index) for index in devices.indices)
        return max(float(total - free) for free, total in held) / 1024**2

    def _diverged(self, what: str) -> str:
        progress = self._progress
        rate = self._schedule(max(progress.updates, 1))
        return (
            f"the {what.removeprefix('a ')} is not a number any more at epoch"
            f" {progress.epoch + 1}, batch {progress.batch:,} (learning rate {rate:.3g}): start"
            f" again with half the --rate or a longer --warmup"
        )


class _Interval:
    """What happened since the last log record."""

    def __init__(self, photos: int, began: float) -> None:
        self.photos, self.began = photos, began
        self.loss = self.weight = 0.0
        self.text: str | None = None

    def add(self, loss: float, weight: float) -> None:
        self.loss += loss
        self.weight += weight
        self.text = f"loss {self.loss / max(self.weight, 1e-9):.4f}"


def _open_packs(settings: Settings) -> tuple[Pack, Pack]:
    training, validation = Pack.open(settings.train), Pack.open(settings.validation)
    for pack, what in ((training, "training"), (validation, "validation")):
        if pack.records == 0:
            raise InputError(f"{pack.path}: holds no {what} photos")
    try:
        validation.check_grid(training.grid)
    except InputError as error:
        raise InputError(f"{validation.path}: was packed with another grid than {training.path}"
                         "; pack both with the same") from error  # fmt: skip
    return training, validation


def _claim(settings: Settings, training: Pack, *, resume: bool) -> Path | None:
    """Return the state to resume from, or None for a new run in a folder that holds none."""
    out = settings.out
    try:
        out.mkdir(parents=True, exist_ok=True)
        newest = checkpoints.newest(out)
    except OSError as error:
        raise LocationNetError(f"{out}: cannot be written ({error.strerror})") from error
    if resume and newest is None:
        raise InputError(f"{out}: holds no complete checkpoint to resume from")
    if newest is not None and not resume:
        raise InputError(
            f"{out}: holds a run already; go on with --resume, or choose another --out"
        )
    if newest is not None:
        recorded = checkpoints.read_facts(out)
        training.check_grid(Grid.read(out / "grids.txt"))
        if recorded.get("train_sha256") != training.summary["source_sha256"]:
            raise InputError(
                f"{out}: was begun with other photos than {training.path}; a resumed run keeps them"
            )
    return newest


def _named(parameters: dict[str, mx.nd.NDArray], kind: str) -> dict[str, mx.nd.NDArray]:
    return {
        name.removeprefix(kind): value
        for name, value in parameters.items()
        if name.startswith(kind)
    }


@contextmanager
def _clear_errors(settings: Settings) -> Iterator[None]:
    """Turn what MXNet throws into one line that says what to do."""
    try:
        yield
    except mx.MXNetError as error:
        text = str(error)
        if "out of memory" in text or "cudaErrorMemoryAllocation" in text:
            raise LocationNetError(
                f"the GPU is out of memory: lower --batch-size (now {settings.batch_size} on each"
                " device) or --image-size, or add --fp16"
            ) from error
        lines = [part.strip() for part in text.splitlines() if part.strip()]
        errors = [part for part in lines if "rror" in part] or lines or ["unknown error"]
        raise LocationNetError(f"MXNet failed: {errors[-1]}") from error
