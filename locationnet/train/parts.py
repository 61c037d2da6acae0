"""The parts of a training run, put together: photos, network, learning rate, log; new or resumed.

Knows what belongs together and what a run starts from; what is done with it is the loop's business.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from locationnet import __version__
from locationnet.classes import classes_file, sha256_key
from locationnet.errors import InputError
from locationnet.geo.grid import Grid
from locationnet.pack.format import Pack
from locationnet.train import checkpoints
from locationnet.train.checkpoints import Progress
from locationnet.train.collectives import Collectives
from locationnet.train.compat import mx
from locationnet.train.config import Settings
from locationnet.train.data_iter import PackIter, Part, Plan
from locationnet.train.devices import Devices
from locationnet.train.init_weights import InitialWeights
from locationnet.train.log import LOG, RunLog
from locationnet.train.loss import training_symbol
from locationnet.train.module import Arrays, Optimizer, TrainingModule, random_weights
from locationnet.train.place_batches import Places
from locationnet.train.schedule import Schedule
from locationnet.train.soft_labels import SoftLabels, balanced
from locationnet.train.triplet import triplet_symbol


@dataclass(frozen=True)
class Parts:
    """What a run works with; see `build`.

    Parameters
    ----------
    settings
        What to do.
    training, validation
        The packs.
    places
        How their photos are compared, where embeddings are learned.
    collectives
        The workers that train together.
    devices
        Those of this worker.
    plan
        Which records each batch holds.
    photos, held_out
        The batches of both packs, this worker's share.
    module
        The network on its devices.
    schedule
        The learning rate by update.
    log
        Of the leading worker; that of others writes nothing.
    """

    settings: Settings
    training: Pack
    validation: Pack
    places: Places | None
    collectives: Collectives
    devices: Devices
    plan: Plan
    photos: PackIter
    held_out: PackIter
    module: TrainingModule
    schedule: Schedule
    log: RunLog

    @property
    def best_by(self) -> str:
        """The validation metric that names the best epoch."""
        if self.settings.triplets:
            usual = "recall_at_1"
        else:
            usual = "geoscore" if isinstance(self.training.class_set, Grid) else "top1"
        return self.settings.best_by or usual

    def close(self) -> None:
        """Stop the threads that decode."""
        self.photos.close()
        self.held_out.close()


def build(
    settings: Settings,
    training: Pack,
    validation: Pack,
    places: Places | None,
    init: InitialWeights,
    collectives: Collectives,
) -> Parts:
    """Put a run's parts together; its weights are yet to be set, by `restore`.

    Parameters
    ----------
    settings
        What to do.
    training, validation
        The photos.
    places
        How photos are compared; None for the objective ``cross-entropy``.
    init
        The network before its first step.
    collectives
        The workers that train together.
    """
    devices = Devices.parse(settings.devices)
    batch = settings.batch_size * len(devices)
    part = Part(collectives.rank, collectives.workers)
    records, draw = training.records, None
    if places is not None:
        records, draw = places.order.records, places.order
    plan = Plan(records, batch, part, settings.seed, draw)
    weights = balanced(training.counts, settings.class_weights)
    photos = PackIter(
        training,
        plan,
        SoftLabels(training.class_set, settings.smooth_km, weights),
        settings.preprocessing,
        augmentation=settings.augmentation,
        pairs=None if places is None else places.training,
        block=settings.batch_size,
        threads=settings.threads,
    )
    held_out = PackIter(
        validation,
        Plan(validation.records, batch, part),
        SoftLabels(training.class_set, settings.smooth_km),
        settings.preprocessing,
        pairs=None if places is None else places.validation,
        block=settings.batch_size,
        threads=settings.threads,
    )
    module = TrainingModule(
        _symbol(settings, init.symbol, training.classes),
        [mx.Context(devices.kind, index) for index in devices.indices],
        photos.provide_data,
        photos.provide_label,
        fixed=init.fixed,
        kvstore=collectives.kvstore,
    )
    total = settings.epochs * plan.batches
    schedule = Schedule(
        settings.schedule,
        settings.base_rate(plan.global_batch),
        round(settings.warmup * plan.batches),
        total,
        tuple(round(share * total) for share in settings.steps),
    )
    log = RunLog(settings.out if collectives.leads else None)
    return Parts(
        settings, training, validation, places, collectives, devices,
        plan, photos, held_out, module, schedule, log,
    )  # fmt: skip


def _symbol(settings: Settings, network: mx.sym.Symbol, classes: int) -> mx.sym.Symbol:
    how: dict[str, Any] = {"mean": settings.mean, "std": settings.std, "fp16": settings.fp16}
    if settings.triplets:
        return triplet_symbol(network, classes, margin=settings.margin, **how)
    return training_symbol(network, classes, **how)


def restore(parts: Parts, init: InitialWeights, newest: Path | None) -> Progress:
    """Put weights and momentum in place, the leader's on every worker; return how far the run is.

    Parameters
    ----------
    parts
        From `build`.
    init
        The network before its first step.
    newest
        The state to resume from, on the leading worker; None for a new run.

    Raises
    ------
    InputError
        A resumed run's updates would take another number of photos than before.
    LocationNetError
        The state cannot be read, or the folder cannot be written.
    """
    settings, module, collectives = parts.settings, parts.module, parts.collectives
    progress = Progress(global_batch=parts.plan.global_batch)
    momentum: Arrays = {}
    arguments = random_weights(module.shapes, settings.seed) | init.arguments
    auxiliary = random_weights(module.state_shapes, settings.seed) | init.auxiliary
    if newest is not None:
        state = checkpoints.read(newest)
        progress, momentum = state.progress, state.optimizer
        arguments = _named(state.parameters, "arg:")
        auxiliary = _named(state.parameters, "aux:")
    progress = Progress(**collectives.share_json("progress", dataclasses.asdict(progress)))
    if not collectives.leads:
        # Sums over the epoch are those of all workers; the leader carries them on.
        progress.clear_sums()
        if progress.updates and settings.momentum > 0:
            momentum = module.empty_momentum()
    _check_batch(parts, progress.global_batch)
    collectives.share("momentum", momentum)
    collectives.share("arguments", arguments)
    collectives.share("auxiliary", auxiliary)
    module.set_weights(arguments, auxiliary)
    module.set_optimizer(_optimizer(parts, init, progress.updates), momentum)
    if newest is not None:
        _resume_folder(parts, newest, progress)
    elif collectives.leads:
        _new_folder(parts, init)
    return progress


def _resume_folder(parts: Parts, newest: Path, progress: Progress) -> None:
    """Have the run's folder say what its newest state says."""
    out, log = parts.settings.out, parts.log
    if progress.epoch > 0 and progress.batch == 0:
        checkpoints.publish(out, newest, progress.epoch)
    if progress.best is not None:
        # The run may have been killed between its checkpoint and its pointer.
        checkpoints.write_best(out, progress.best_epoch, parts.best_by, progress.best)
    log.rewind(progress.updates, progress.epoch)
    log.say(
        f"resuming at epoch {progress.epoch + 1}, batch {progress.batch:,} of"
        f" {parts.plan.batches:,}"
    )


def _new_folder(parts: Parts, init: InitialWeights) -> None:
    """Write what a new run's folder contains from the beginning."""
    settings, plan, classes = parts.settings, parts.plan, parts.training.class_set
    classes.write(settings.out / classes_file(classes))
    init.symbol.save(str(settings.out / f"{checkpoints.PREFIX}-symbol.json"))
    (settings.out / LOG).unlink(missing_ok=True)
    checkpoints.write_run_fields(settings.out, _run_fields(parts))
    source = settings.network
    if settings.init is not None:
        source = f"{settings.init.name} with its {'old' if init.keeps_head else 'new'} head"
    parts.log.say(
        f"{source}: {parts.training.records:,} photos in {parts.training.classes:,} classes,"
        f" {plan.batches:,} batches of {plan.global_batch:,} an epoch,"
        f" {len(init.fixed)} parameters frozen"
    )
    if parts.places is not None:
        parts.log.say(f"triplets: {parts.places.order}")


def _run_fields(parts: Parts) -> dict[str, Any]:
    training, validation = parts.training, parts.validation
    return {
        "format": 1,
        "locationnet": __version__,
        "mxnet": mx.__version__,
        "preprocessing": dataclasses.asdict(parts.settings.preprocessing),
        sha256_key(training.class_set): training.class_set.sha256,
        "classes": training.classes,
        "counts_per_class": training.counts.tolist(),
        "train_photos": training.records,
        "train_sha256": training.summary["source_sha256"],
        "validation_photos": validation.records,
        "validation_sha256": validation.summary["source_sha256"],
        "global_batch": parts.plan.global_batch,
        "workers": parts.collectives.workers,
        "settings": parts.settings.to_json(),
    }


def _optimizer(parts: Parts, init: InitialWeights, updates: int) -> Optimizer:
    settings = parts.settings
    body = settings.body_rate if settings.init is not None else 1.0
    rates = {name: body for name in parts.module.shapes if name not in init.head}
    return Optimizer(parts.schedule, settings.momentum, settings.weight_decay, rates, updates)


def _check_batch(parts: Parts, earlier: int) -> None:
    settings, now = parts.settings, parts.plan.global_batch
    if earlier != now:
        raise InputError(
            f"{settings.out}: each update took {earlier} photos, and now --batch-size"
            f" {settings.batch_size}, {settings.devices} and {parts.collectives.workers}"
            f" workers make {now}; choose a --batch-size so that the product stays"
        )


def _named(parameters: Arrays, kind: str) -> Arrays:
    return {
        name.removeprefix(kind): value
        for name, value in parameters.items()
        if name.startswith(kind)
    }
