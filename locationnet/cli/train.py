"""``locationnet train``: a pack of photos in, checkpoints of a network out."""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from locationnet.cli.terminal import say


class Schedule(StrEnum):
    """How the learning rate falls."""

    step = "step"
    cosine = "cosine"


class Weighting(StrEnum):
    """How much photos of rare classes count."""

    none = "none"
    sqrt = "sqrt"
    inverse = "inverse"


_Triple = tuple[float, float, float]


def train(
    pack: Annotated[
        Path | None, typer.Argument(metavar="PACK", help="Training photos, made by `pack`.")
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="The run's folder.")] = Path("run"),
    validation: Annotated[
        Path | None,
        typer.Option("--val", metavar="PACK", help="Held-out photos, packed with the same grid."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the newest checkpoint in --out.")
    ] = False,
    preset: Annotated[
        str, typer.Option(help="What is not given: 2017, small or fine-tune.")
    ] = "2017",
    network: Annotated[str | None, typer.Option(help="resnet-18, -34, -50, -101 or -152.")] = None,
    init: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Start from PREFIX-0012.params or an .onnx file."),
    ] = None,
    freeze: Annotated[
        str | None, typer.Option(metavar="STAGE", help="Leave it as it is up to this stage.")
    ] = None,
    body_rate: Annotated[
        float | None, typer.Option(help="With --init: rate of the body relative to the last layer.")
    ] = None,
    image_size: Annotated[
        int | None, typer.Option(help="Side of the network's input, pixels.")
    ] = None,
    mean: Annotated[
        _Triple | None, typer.Option(metavar="R G B", help="Subtracted from the pixels, 0-255.")
    ] = None,
    std: Annotated[
        _Triple | None, typer.Option(metavar="R G B", help="Divides the pixels, 0-255.")
    ] = None,
    gpus: Annotated[str | None, typer.Option(help="GPUs of each machine: 0-15 or 0,2.")] = None,
    devices: Annotated[
        str | None, typer.Option(help="cpu, cpu:16 (sixteen CPU devices) or gpu:0-15.")
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(help="Photos on each device in each step.")
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the photos.")] = None,
    rate: Annotated[
        float | None,
        typer.Option(help="Learning rate; by default 0.1 for 256 photos a step, in proportion."),
    ] = None,
    momentum: Annotated[float | None, typer.Option(help="Of the SGD.")] = None,
    weight_decay: Annotated[
        float | None, typer.Option(help="Not of biases and normalisations.")
    ] = None,
    schedule: Annotated[
        Schedule | None, typer.Option(help="step: x 0.1 at --steps; cosine: down to zero.")
    ] = None,
    steps: Annotated[
        str | None, typer.Option(metavar="SHARES", help="Of the run, such as 0.5,0.75.")
    ] = None,
    warmup: Annotated[
        float | None, typer.Option(help="Epochs in which the rate rises, or part of one.")
    ] = None,
    smooth_km: Annotated[
        float | None,
        typer.Option(help="Smooth labels over cells around; 75 is usual, 0 is none."),
    ] = None,
    class_weights: Annotated[
        Weighting | None, typer.Option(help="How much photos of rare classes count.")
    ] = None,
    min_area: Annotated[
        float | None, typer.Option(help="Smallest share of a photo that a random crop keeps.")
    ] = None,
    flip: Annotated[bool | None, typer.Option(help="Mirror half of the photos.")] = None,
    colour: Annotated[
        float | None, typer.Option(help="Vary brightness, contrast, saturation by this share.")
    ] = None,
    fp16: Annotated[
        bool | None, typer.Option("--fp16", help="Compute in float16; GPUs only.")
    ] = None,
    best_by: Annotated[
        str | None,
        typer.Option(help="geoscore, top1, top5, loss, median_km, within_25_km, ..."),
    ] = None,
    patience: Annotated[
        int | None, typer.Option(help="End after so many epochs without a better one; 0: never.")
    ] = None,
    every_batches: Annotated[
        int | None, typer.Option(help="Also write a checkpoint every so many batches.")
    ] = None,
    every_minutes: Annotated[
        float | None, typer.Option(help="Also write a checkpoint every so many minutes.")
    ] = None,
    log_every: Annotated[int | None, typer.Option(help="Batches between log lines.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of everything that is random.")] = None,
    threads: Annotated[int | None, typer.Option(help="That decode photos.")] = None,
    hosts: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Train on several machines: a host and its workers a line, or SageMaker's JSON.",
        ),
    ] = None,
    restarts: Annotated[
        int, typer.Option(min=0, help="With several workers: bring a dead group back so often.")
    ] = 0,
) -> None:
    """Train a network, with a checkpoint after each epoch that any MXNet program reads.

    Example: locationnet train packs/train --val packs/val -o run --preset small

    After an interruption: locationnet train --resume -o run
    """
    from locationnet.aws.sagemaker import container
    from locationnet.train import config
    from locationnet.train.distributed import hostfile

    if pack is None and validation is None and not resume and container.is_here():
        raise typer.Exit(container.train())
    given: dict[str, Any] = {
        "network": network,
        "init": init,
        "freeze": freeze,
        "body_rate": body_rate,
        "image_size": image_size,
        "mean": mean,
        "std": std,
        "devices": _devices(gpus, devices),
        "batch_size": batch_size,
        "epochs": epochs,
        "rate": rate,
        "momentum": momentum,
        "weight_decay": weight_decay,
        "schedule": schedule and schedule.value,
        "steps": None if steps is None else _shares(steps),
        "warmup": warmup,
        "smooth_km": smooth_km,
        "class_weights": class_weights and class_weights.value,
        "fp16": fp16,
        "best_by": best_by,
        "patience": patience,
        "every_batches": every_batches,
        "every_minutes": every_minutes,
        "log_every": log_every,
        "seed": seed,
        "threads": threads,
        "train": pack,
        "validation": validation,
    }
    varied = {"min_area": min_area, "flip": flip, "colour": colour}
    given = {name: value for name, value in given.items() if value is not None}
    varied = {name: value for name, value in varied.items() if value is not None}
    if resume:
        settings = config.resumed(out, given, varied)
    else:
        if pack is None or validation is None:
            raise typer.BadParameter("training needs PACK and --val PACK (or --resume)")
        settings = config.settings_of(out, preset, given, varied)
    layout = hostfile.find_layout(hosts)
    if layout is not None:
        _launch(layout, settings, resume=resume, restarts=restarts)
        return
    _train(settings, resume=resume)


def _launch(layout: Any, settings: Any, *, resume: bool, restarts: int) -> None:
    from locationnet.train.distributed.launcher import launch
    from locationnet.train.interrupts import InterruptedRunError

    try:
        launch(layout, settings, resume=resume, restarts=restarts)
    except InterruptedRunError as error:
        say(str(error), error=True)
        raise typer.Exit(128 + error.signal) from error
    _say_next(settings.out)


def _train(settings: Any, *, resume: bool) -> None:
    from locationnet.train.interrupts import InterruptedRunError
    from locationnet.train.loop import train

    try:
        outcome = train(settings, resume=resume)
    except InterruptedRunError as error:
        say(str(error), error=True)
        raise typer.Exit(128 + error.signal) from error
    except BaseException as error:
        if os.environ.get("DMLC_ROLE") == "worker":
            from locationnet.train.distributed.local_workers import leave_at_once

            leave_at_once(error)
        raise
    say(f"trained {outcome.epochs} epochs; the best is number {outcome.best_epoch}")
    _say_next(outcome.run)


def _say_next(run: Path) -> None:
    say(f"wrote {run}; next: locationnet export {run} -o BUNDLE")


def _devices(gpus: str | None, devices: str | None) -> str | None:
    if gpus is not None and devices is not None:
        raise typer.BadParameter("give --gpus or --devices, not both")
    return devices if gpus is None else f"gpu:{gpus}"


def _shares(text: str) -> tuple[float, ...]:
    try:
        shares = tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise typer.BadParameter(f"--steps {text}: expected shares such as 0.5,0.75") from error
    if not all(0 < share < 1 for share in shares):
        raise typer.BadParameter(f"--steps {text}: expected shares between 0 and 1")
    return shares
