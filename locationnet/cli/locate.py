"""``locationnet locate``: photos in, ranked places out."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from locationnet.cli.formats import Answer, Format, Writer
from locationnet.cli.outputs import require_folder
from locationnet.cli.sources import Source, expand
from locationnet.cli.terminal import say
from locationnet.errors import LocationNetError
from locationnet.names import printable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from locationnet.model.locator import Locator

_BATCH = 8


def locate(
    photos: Annotated[
        list[str],
        typer.Argument(metavar="PHOTO...", help="Files, folders, glob patterns or URLs."),
    ],
    model: Annotated[
        str, typer.Option(help="A bundle's name or directory (see `locationnet models`).")
    ] = "demo",
    top_k: Annotated[int, typer.Option(min=1, max=100, help="How many places to list.")] = 5,
    form: Annotated[
        Format, typer.Option("--format", help="A table for people, the others for programs.")
    ] = "table",
    coarse: Annotated[
        float | None,
        typer.Option(
            metavar="KM", min=1, max=6000, help="Answer with cells nowhere narrower than this."
        ),
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Also write a map that opens in any browser, offline."),
    ] = None,
) -> None:
    """Say where photos were probably taken.

    Example: locationnet locate holiday/*.jpg --format csv > places.csv

    A photo that cannot be read is reported and the rest goes on; the exit code is then 1.
    """
    from locationnet.model.locator import load_model

    require_folder(html)
    sources = expand(photos)
    locator = load_model(model)
    prior = locator.prior(top_k)
    if coarse is not None:
        prior = prior.coarse(coarse)
    writer = Writer(form, locator.bundle, prior)
    kept: list[Answer] = []
    located = 0
    for answer in _answers(sources, locator, top_k, coarse):
        writer.write(answer)
        located += 1
        if html is not None:
            kept.append(answer)
    writer.close()
    if html is not None and kept:
        from locationnet.viz.html import MapItem, write_map

        items = [MapItem(printable(answer.photo), answer.prediction) for answer in kept]
        write_map(html, items, prior=prior if locator.bundle.manifest.demo else None)
        say(f"map: {html}", error=True)
    if located < len(sources):
        raise typer.Exit(1)


def _answers(
    sources: list[Source], locator: Locator, top_k: int, coarse: float | None
) -> Iterator[Answer]:
    waiting = iter(progress(sources, "locating"))
    while batch := list(islice(waiting, _BATCH)):
        ready = [
            (source, image) for source in batch if (image := _prepared(source, locator)) is not None
        ]
        if not ready:
            continue
        import numpy as np

        predictions = locator.predict(np.stack([image for _, image in ready]), top_k=top_k)
        for (source, _), prediction in zip(ready, predictions, strict=True):
            yield Answer(source.name, prediction if coarse is None else prediction.coarse(coarse))


def _prepared(source: Source, locator: Locator) -> NDArray[np.float32] | None:
    try:
        return locator.prepare(source.read())
    except LocationNetError as error:
        say(f"error: {source.name}: {error}", error=True)
        return None


def progress(sources: list[Source], doing: str) -> Iterable[Source]:
    """Show a bar for long work, unless the answers themselves scroll past on the terminal."""
    if len(sources) <= _BATCH or sys.stdout.isatty() or not sys.stderr.isatty():
        return sources
    from rich.console import Console
    from rich.progress import track

    return track(sources, doing, console=Console(stderr=True))
