"""``locationnet train``: a pack of photos in, checkpoints of a network out.

Its options are the fields of the run's settings, which say their own help.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from locationnet.cli.terminal import say
from locationnet.train.config import Augmentation, Settings
from locationnet.train.presets import resumed, settings_of


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
    gpus: Annotated[str | None, typer.Option(help="GPUs of each machine: 0-15 or 0,2.")] = None,
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
    **options: Any,
) -> None:
    """Train a network, with a checkpoint after each epoch that any MXNet program reads.

    Example: locationnet train packs/train --val packs/val -o run --preset small

    After an interruption: locationnet train --resume -o run
    """
    from locationnet.aws.sagemaker import container
    from locationnet.train.distributed import hostfile

    if pack is None and validation is None and not resume and container.is_here():
        raise typer.Exit(container.train())
    given = {
        **options,
        "devices": _devices(gpus, options["devices"]),
        "steps": None if options["steps"] is None else _shares(options["steps"]),
        "train": pack,
        "validation": validation,
    }
    given = {name: value for name, value in given.items() if value is not None}
    parts = {field.name for field in dataclasses.fields(Augmentation)}
    varied = {name: given.pop(name) for name in parts & given.keys()}
    if resume:
        settings = resumed(out, given, varied)
    else:
        if pack is None or validation is None:
            raise typer.BadParameter("training needs PACK and --val PACK (or --resume)")
        settings = settings_of(out, preset, given, varied)
    layout = hostfile.find_layout(hosts)
    if layout is not None:
        _launch(layout, settings, resume=resume, restarts=restarts)
        return
    _train(settings, resume=resume)


def _options(config: type[Any]) -> Iterator[Parameter]:
    """Yield an option for each field that has a help; None where it is not given."""
    hints = get_type_hints(config)
    for field in dataclasses.fields(config):
        if field.name == "augmentation":
            yield from _options(Augmentation)
        if "help" not in field.metadata:
            continue
        how = dict(field.metadata)
        option = typer.Option(*how.pop("names", ()), **how)
        # Shares are one word with commas.
        kind: Any = str if field.name == "steps" else hints[field.name]
        annotation = Annotated[kind | None, option]
        yield Parameter(field.name, Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def _with_options() -> Signature:
    """Return the signature of `train` with the options of the settings in their order."""
    own = signature(train, eval_str=True).parameters
    order = [own[name] for name in ("pack", "out", "validation", "resume", "preset")]
    for option in _options(Settings):
        order += [own["gpus"], option] if option.name == "devices" else [option]
    order += [own["hosts"], own["restarts"]]
    return Signature([each.replace(kind=Parameter.KEYWORD_ONLY) for each in order])


# typer makes options of what the signature lists.
train.__signature__ = _with_options()  # type: ignore[attr-defined]


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
