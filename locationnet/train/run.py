"""One run's parts, put together: photos, network, optimizer, log, and the state they resume from.

Knows what belongs together and how it is saved and restored; the loop over it is the trainer's.
"""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Any

import numpy as np

from locationnet import __version__
from locationnet.classes import classes_file, sha256_key
from locationnet.errors import InputError, LocationNetError
from locationnet.geo.grid import Grid
from locationnet.pack.format import Pack
from locationnet.train import checkpoints
from locationnet.train.checkpoints import Progress, State
from locationnet.train.collectives import Group
from locationnet.train.compat import mx
from locationnet.train.config import Devices, Settings
from locationnet.train.data_iter import PackIter, Part, Plan
from locationnet.train.init_weights import Start
from locationnet.train.log import LOG, RunLog, memory_mb
from locationnet.train.loss import training_symbol
from locationnet.train.module import Learner, Optimizer, initial
from locationnet.train.schedule import Schedule
from locationnet.train.soft_labels import Labels, balanced

Arrays = dict[str, mx.nd.NDArray]


class Run:
    """A run that is ready to go on where it stands.

    Parameters
    ----------
    settings
        What to do.
    training, validation
        The photos.
    start
        The network before its first step.
    group
        With whom.
    newest
        The state to resume from, on the leading worker; None for a new run.
    """

    def __init__(
        self,
        settings: Settings,
        training: Pack,
        validation: Pack,
        start: Start,
        group: Group,
        newest: Path | None,
    ) -> None:
        self.settings, self.group = settings, group
        self.training, self.validation = training, validation
        self.log = RunLog(settings.out if group.leads else None)
        self._devices = Devices.parse(settings.devices)
        batch = settings.batch_size * len(self._devices)
        part = Part(group.rank, group.workers)
        self.plan = Plan(training.records, batch, part, settings.seed)
        weights = balanced(training.counts, settings.class_weights)
        self.photos = PackIter(
            training,
            self.plan,
            Labels(training.class_set, settings.smooth_km, weights),
            settings.preprocessing,
            augmentation=settings.augmentation,
            threads=settings.threads,
        )
        self.held_out = PackIter(
            validation,
            Plan(validation.records, batch, part),
            Labels(training.class_set, settings.smooth_km),
            settings.preprocessing,
            threads=settings.threads,
        )
        self.learner = Learner(
            training_symbol(
                start.symbol,
                training.classes,
                mean=settings.mean,
                std=settings.std,
                fp16=settings.fp16,
            ),
            [mx.Context(self._devices.kind, index) for index in self._devices.indices],
            self.photos.provide_data,
            self.photos.provide_label,
            fixed=start.fixed,
            kvstore=group.kvstore,
        )
        self.schedule = self._make_schedule()
        self.progress = Progress(global_batch=self.plan.global_batch)
        self._begin(start, newest)
        self.saved = time.monotonic()

    @property
    def best_by(self) -> str:
        """The validation metric that names the best epoch."""
        places = isinstance(self.training.class_set, Grid)
        return self.settings.best_by or ("geoscore" if places else "top1")

    def close(self) -> None:
        """Stop the threads that decode."""
        self.photos.close()
        self.held_out.close()

    def save(self, *, end_of_epoch: bool = False) -> None:
        """Write a checkpoint; every worker must call it."""
        arguments, auxiliary = self.learner.weights()
        auxiliary = self.group.average("state", auxiliary)
        sums = self.group_sums()
        self.saved = time.monotonic()
        if not self.group.leads:
            return
        if not all(np.isfinite(value.asnumpy()).all() for value in arguments.values()):
            raise self.diverged("weight")
        parameters = {f"arg:{name}": value for name, value in arguments.items()}
        parameters |= {f"aux:{name}": value for name, value in auxiliary.items()}
        progress = dataclasses.replace(self.progress, **sums)
        state = State(progress, parameters, self.learner.momentum())
        checkpoints.write(self.settings.out, state, end_of_epoch=end_of_epoch)

    def average_statistics(self) -> None:
        """Give all devices of all workers the mean of their BatchNorm statistics.

        What is validated is then what is saved; the weights are equal anyway.
        """
        if self.group.workers > 1 or len(self._devices) > 1:
            arguments, auxiliary = self.learner.weights()
            self.learner.set_weights(arguments, self.group.average("state", auxiliary))

    def group_sums(self) -> dict[str, Any]:
        """Return the sums over the epoch so far, over all workers; every worker must call it."""
        progress = self.progress
        mine = np.array([progress.loss, progress.correct, progress.weight, progress.photos])
        loss, correct, weight, photos = self.group.sum("epoch", mine).tolist()
        return {"loss": loss, "correct": correct, "weight": weight, "photos": round(photos)}

    def forget_sums(self) -> None:
        """Begin an epoch's sums."""
        progress = self.progress
        progress.loss = progress.correct = progress.weight = 0.0
        progress.photos = 0

    def memory(self) -> float:
        """Return the most memory that the process has held or, in use now, the fullest GPU; MB."""
        if self._devices.kind == "cpu":
            return memory_mb()
        held = (mx.context.gpu_memory_info(index) for index in self._devices.indices)
        return max(float(total - free) for free, total in held) / 1024**2

    def diverged(self, what: str) -> LocationNetError:
        """Return the error that says that something is NaN or infinite."""
        progress = self.progress
        rate = self.schedule(max(progress.updates, 1))
        return LocationNetError(
            f"the {what} is not a number any more at epoch {progress.epoch + 1}, batch"
            f" {progress.batch:,} (learning rate {rate:.3g}): start again with half the --rate or a"
            " longer --warmup"
        )

    def _begin(self, start: Start, newest: Path | None) -> None:
        """Put weights and momentum in place, the leader's on every worker."""
        settings, learner, group = self.settings, self.learner, self.group
        momentum: Arrays = {}
        arguments = initial(learner.shapes, settings.seed) | start.arguments
        auxiliary = initial(learner.state_shapes, settings.seed) | start.auxiliary
        if newest is not None:
            state = checkpoints.read(newest)
            self.progress, momentum = state.progress, state.optimizer
            arguments = _named(state.parameters, "arg:")
            auxiliary = _named(state.parameters, "aux:")
        self.progress = Progress(**group.share_json("progress", dataclasses.asdict(self.progress)))
        if not group.leads:
            # Sums over the epoch are the group's; the leader carries them on.
            self.forget_sums()
            if self.progress.updates and settings.momentum > 0:
                momentum = learner.empty_momentum()
        self._check_batch()
        group.share("momentum", momentum)
        group.share("arguments", arguments)
        group.share("auxiliary", auxiliary)
        learner.set_weights(arguments, auxiliary)
        learner.set_optimizer(self._optimizer(start), momentum)
        if newest is not None:
            progress = self.progress
            if progress.epoch > 0 and progress.batch == 0:
                checkpoints.publish(settings.out, newest, progress.epoch)
            if progress.best is not None:
                # The run may have been killed between its checkpoint and its pointer.
                metric = self.best_by
                checkpoints.write_best(settings.out, progress.best_epoch, metric, progress.best)
            self.log.rewind(self.progress.updates, self.progress.epoch)
            self.log.say(
                f"resuming at epoch {self.progress.epoch + 1}, batch {self.progress.batch:,} of"
                f" {self.plan.batches:,}"
            )
        elif group.leads:
            self._found(start)
        if self.progress.updates == 0:
            # So that whatever happens, there is something to resume, and a full disk shows now.
            self.save()

    def _found(self, start: Start) -> None:
        """Write what a new run's folder holds from the beginning."""
        settings = self.settings
        classes = self.training.class_set
        classes.write(settings.out / classes_file(classes))
        start.symbol.save(str(settings.out / f"{checkpoints.PREFIX}-symbol.json"))
        (settings.out / LOG).unlink(missing_ok=True)
        checkpoints.write_facts(settings.out, self._facts())
        source = settings.network
        if settings.init is not None:
            source = f"{settings.init.name} with its {'old' if start.keeps_head else 'new'} head"
        self.log.say(
            f"{source}: {self.training.records:,} photos in {self.training.classes:,} classes,"
            f" {self.plan.batches:,} batches of {self.plan.global_batch:,} an epoch,"
            f" {len(start.fixed)} parameters frozen"
        )

    def _facts(self) -> dict[str, Any]:
        training = self.training
        return {
            "format": 1,
            "locationnet": __version__,
            "mxnet": mx.__version__,
            "preprocessing": dataclasses.asdict(self.settings.preprocessing),
            sha256_key(training.class_set): training.class_set.sha256,
            "classes": training.classes,
            "counts_per_class": training.counts.tolist(),
            "train_photos": training.records,
            "train_sha256": training.summary["source_sha256"],
            "validation_photos": self.validation.records,
            "validation_sha256": self.validation.summary["source_sha256"],
            "global_batch": self.plan.global_batch,
            "workers": self.group.workers,
            "settings": self.settings.to_json(),
        }

    def _make_schedule(self) -> Schedule:
        settings, batches = self.settings, self.plan.batches
        total = settings.epochs * batches
        return Schedule(
            settings.schedule,
            settings.base_rate(self.plan.global_batch),
            round(settings.warmup * batches),
            total,
            tuple(round(share * total) for share in settings.steps),
        )

    def _optimizer(self, start: Start) -> Optimizer:
        settings = self.settings
        body = settings.body_rate if settings.init is not None else 1.0
        rates = {name: body for name in self.learner.shapes if name not in start.head}
        updates = self.progress.updates
        return Optimizer(self.schedule, settings.momentum, settings.weight_decay, rates, updates)

    def _check_batch(self) -> None:
        earlier, now = self.progress.global_batch, self.plan.global_batch
        if earlier != now:
            raise InputError(
                f"{self.settings.out}: each update took {earlier} photos, and now --batch-size"
                f" {self.settings.batch_size}, {self.settings.devices} and {self.group.workers}"
                f" workers make {now}; choose a --batch-size so that the product stays"
            )


def _named(parameters: Arrays, kind: str) -> Arrays:
    return {
        name.removeprefix(kind): value
        for name, value in parameters.items()
        if name.startswith(kind)
    }
