"""``locationnet import geoclip``: GeoCLIP and CLIP's image tower in, one bundle out."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from locationnet.cli.terminal import progress_bar, say, stages

if TYPE_CHECKING:
    from locationnet.importing.geoclip import Imported


class Stored(StrEnum):
    """How matrices are stored."""

    f16 = "f16"
    f32 = "f32"


def geoclip(
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="The bundle's directory to write.",
            show_default="installed under its name",
        ),
    ] = None,
    name: Annotated[str, typer.Option(help="The bundle's name.")] = "geoclip",
    clip: Annotated[
        str | None,
        typer.Option(
            metavar="DIR|HUB_ID",
            help="CLIP's config.json and model.safetensors.",
            show_default="openai/clip-vit-large-patch14",
        ),
    ] = None,
    revision: Annotated[
        str | None,
        typer.Option(
            help="Branch, tag or commit of --release, else of --clip, on the hub.",
            show_default="the one that was checked",
        ),
    ] = None,
    release: Annotated[
        str | None,
        typer.Option(metavar="DIR|HUB_ID", help="A GeoCLIP release in place of the wheel."),
    ] = None,
    wheel: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="geoclip-1.3.0-py3-none-any.whl.",
            show_default="installed, else fetched with pip",
        ),
    ] = None,
    gallery: Annotated[
        Path | None,
        typer.Option(
            metavar="CSV", help="Places to choose among.", show_default="GeoCLIP's 100,000"
        ),
    ] = None,
    level: Annotated[
        int, typer.Option(min=0, max=30, help="No cell is coarser than this S2 level.")
    ] = 10,
    weights: Annotated[
        Stored, typer.Option(help="How matrices are stored; f32 doubles the file.")
    ] = Stored.f16,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a bundle that is there.")
    ] = False,
) -> None:
    """Turn GeoCLIP, the strongest open model that can be installed, into a bundle.

    Example: locationnet import geoclip

    Fetches 1.7 GB from the Hugging Face hub once, and 40 MB with pip; with --clip and --wheel,
    nothing. Afterwards: locationnet locate photo.jpg --model geoclip
    """
    from locationnet.importing.geoclip import import_geoclip

    with progress_bar() as bar:
        done = import_geoclip(
            out,
            name=name,
            clip=clip,
            revision=revision,
            release=release,
            wheel=wheel,
            gallery=gallery,
            level=level,
            half=weights is Stored.f16,
            overwrite=overwrite,
            progress=stages(bar),
        )
    for line in _summary(done):
        say(line)
    say(f"wrote {done.path}" if out else f"installed as {name}: {done.path}")


def _summary(done: Imported) -> Iterator[str]:
    fields = done.manifest.training
    yield f"places         {fields['places']:,} different ones in {done.rows:,} rows"
    for reason, count in sorted(done.unusable.items()):
        yield f"left out       {count:,} rows: {reason}"
    for source in fields["imported_from"]:
        yield f"from           {source['file']}, {source['from']}, sha256 {source['sha256'][:12]}…"
    yield "probabilities  not calibrated: nobody has compared them with how often they are right"
