"""``locationnet import locationnet-2017``: the original weights, in any form they are found in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from locationnet.cli.terminal import say

if TYPE_CHECKING:
    from locationnet.importing.locationnet_2017 import Imported


def locationnet_2017(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="X-NNNN.params, an MXNet symbol with its parameters beside it, or an ONNX file.",
        ),
    ],
    grid: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="grids.txt of 2017; else fetched from its repository."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="DIR",
            help="The bundle's directory; without it, the bundle is found by its name.",
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Take a grid that is not the original.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a bundle that is there.")
    ] = False,
) -> None:
    """Turn the weights of the 2017 LocationNet into a bundle, wherever they were found.

    Example: locationnet import locationnet-2017 RN101-5k500-0012.params --grid grids-2017.txt

    Whatever names and form an export gave to its layers, they are matched by their place in the
    network, and the bundle's answers are compared with those of the file.
    """
    from locationnet.importing.locationnet_2017 import NAME, import_locationnet_2017

    done = import_locationnet_2017(file, out, grid=grid, force=force, overwrite=overwrite)
    for line in _summary(done):
        say(line)
    say(f"wrote {done.path}" if out else f"installed as {NAME}: {done.path}")


def _summary(done: Imported) -> Iterator[str]:
    from locationnet.importing.locationnet_2017 import ORIGINALS

    for file in done.files:
        if file.original:
            yield f"original  {file.file}: byte for byte {ORIGINALS[file.md5]} (MD5 {file.md5})"
        else:
            yield f"other     {file.file}: not byte for byte the original (MD5 {file.md5})"
    matched = done.matched
    yield (
        f"matched   {len(matched.parameters.convolutions)} convolutions,"
        f" {len(matched.parameters.norms)} norms and {len(matched.parameters.bias):,} classes, by"
        " their place in the network"
    )
    if matched.subtracts_mean or matched.factor != 1:
        what = "subtracts the mean colour itself" if matched.subtracts_mean else "scales colours"
        yield f"colours   the file's network {what}, which the bundle's recipe does before it"
    if not matched.has_bn_data:
        yield (
            "colours   the file has no bn_data: where it was left to another program's encoder, the"
            " answers will be wrong (see docs/howto/weights-of-2017.md)"
        )
    if done.fit is None:
        yield "fit       not compared with the file as it is: MXNet is not installed"
    else:
        fit = done.fit
        yield (
            f"fit       probabilities within {fit.difference:.1e} of the file's in {fit.runtime},"
            f" the first five within {fit.relative:.1e} of themselves, on {fit.photos} photos"
        )
