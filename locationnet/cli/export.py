"""``locationnet export``: an MXNet checkpoint in, a bundle that everything else uses out."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from locationnet.cli.options import Reducing
from locationnet.cli.terminal import say
from locationnet.processors import processors

if TYPE_CHECKING:
    from locationnet.model.manifest import Manifest
    from locationnet.pack.format import Pack
    from locationnet.preprocess import Preprocessing


class Recipe(StrEnum):
    """How a network's photos were prepared."""

    pillow = "pillow"
    original = "2017"


def export(
    checkpoint: Annotated[
        Path,
        typer.Argument(
            metavar="PREFIX",
            help="PREFIX-symbol.json and PREFIX-0012.params, or the directory of a run.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="The bundle's directory to write.")],
    epoch: Annotated[
        int | None, typer.Option(min=0, help="Number of the checkpoint; the best or latest one.")
    ] = None,
    grid: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The cells; else what lies beside the checkpoint."),
    ] = None,
    recipe: Annotated[
        Recipe | None,
        typer.Option(help="Preprocessing; as train noted it, or 2017 where it noted nothing."),
    ] = None,
    size: Annotated[
        int, typer.Option(min=16, max=2048, help="With --recipe: input, pixels.")
    ] = 224,
    short_side: Annotated[
        int, typer.Option(min=16, max=4096, help="With --recipe pillow: short side, pixels.")
    ] = 256,
    mean: Annotated[
        tuple[float, float, float],
        typer.Option(metavar="R G B", help="With --recipe pillow, on the 0-255 scale."),
    ] = (0.0, 0.0, 0.0),
    std: Annotated[
        tuple[float, float, float],
        typer.Option(metavar="R G B", help="With --recipe pillow, on the 0-255 scale."),
    ] = (1.0, 1.0, 1.0),
    validation: Annotated[
        Path | None,
        typer.Option(metavar="PACK", help="Held-out photos to calibrate on and to measure."),
    ] = None,
    precision: Reducing = None,
    calibration: Annotated[
        Path | None,
        typer.Option(metavar="PACK", help="Photos for int8; some of --validation by default."),
    ] = None,
    photos: Annotated[
        int, typer.Option(min=1, help="How many photos of --validation are used.")
    ] = 5000,
    name: Annotated[str | None, typer.Option(help="The bundle's name; its directory's.")] = None,
    version: Annotated[str, typer.Option(help="The bundle's version.")] = "1.0.0",
    description: Annotated[
        str, typer.Option(help="One sentence about it.")
    ] = "Trained with locationnet.",
    weights_license: Annotated[
        str, typer.Option("--license", help="SPDX name of the weights' licence.")
    ] = "unstated",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a bundle that is there.")
    ] = False,
    threads: Annotated[
        int | None,
        typer.Option(min=1, help="Computing at a time.", show_default="all processors"),
    ] = None,
) -> None:
    """Turn a checkpoint into a bundle and prove that it answers the same.

    Example: locationnet export RN101-5k500 --epoch 12 --grid grids-2017.txt -o model
    """
    from locationnet.classes import read_classes
    from locationnet.export.write_bundle import Label, export_bundle
    from locationnet.geo.grid import Grid
    from locationnet.train.weights import find_checkpoint

    found = find_checkpoint(checkpoint, epoch)
    manifest = export_bundle(
        found.prefix,
        found.epoch,
        Grid.read(grid) if grid else read_classes(found.prefix.parent),
        out,
        label=Label(name or out.resolve().name, version, description, weights_license),
        preprocessing=_preprocessing(recipe, size, short_side, mean, std),
        validation=_pack(validation),
        reduced=[one.value for one in precision or []],
        calibration=_pack(calibration),
        max_photos=photos,
        threads=threads or processors(),
        overwrite=overwrite,
    )
    for line in _summary(manifest):
        say(line)
    say(f"wrote {out}")


def _pack(path: Path | None) -> Pack | None:
    if path is None:
        return None
    from locationnet.pack.format import Pack

    return Pack.open(path)


def _preprocessing(
    recipe: Recipe | None,
    size: int,
    short_side: int,
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
) -> Preprocessing | None:
    from locationnet.preprocess import Preprocessing, recipe_2017

    if recipe is None:
        return None
    if recipe is Recipe.original:
        return recipe_2017(size)
    return Preprocessing("pillow", size, short_side, mean, std)


def _summary(manifest: Manifest) -> Iterator[str]:
    from locationnet.metrics import summary_line

    accuracy = manifest.accuracy
    parity = accuracy["parity"]
    yield (
        f"parity        probabilities within {parity['max_probability_difference']:.1e} of MXNet's"
        f" on {parity['photos']} {parity['measured_on']}"
    )
    yield f"preprocessing {manifest.preprocessing.recipe}, {manifest.preprocessing.size} px"
    if "validation" in accuracy:
        calibration = accuracy["calibration"]
        before, after = (
            calibration[f"expected_calibration_error_{when}"] for when in ("before", "after")
        )
        yield f"validation    {summary_line(accuracy['validation'])}"
        yield (
            f"temperature   {calibration['temperature']:.3f}; expected calibration error"
            f" {before:.1%} before, {after:.1%} after"
        )
    for name, offer in manifest.precisions.items():
        yield (
            f"{name:<13} {'allowed' if offer.allowed else 'not allowed'}: the same class as"
            f" float32 on {offer.top1_agreement:.1%} of {offer.photos} photos, top-1"
            f" {offer.metric_change['top1']:+.2%}"
        )
