"""``locationnet locate``: photos in, ranked places out."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from locationnet.cli.formats import Answer, Format, Writer, program_writer
from locationnet.cli.many_photos import Rows
from locationnet.cli.one_photo import Detail
from locationnet.cli.options import Bbox, Countries, Near, Threads, region_of
from locationnet.cli.outputs import require_folder
from locationnet.cli.photos import answered, expand
from locationnet.cli.terminal import say
from locationnet.errors import InputError
from locationnet.names import printable

if TYPE_CHECKING:
    from locationnet.model.prediction import Prediction

_DETAIL_HINT = "-v tells more of each photo"
_MAP_HINT = f"{_DETAIL_HINT}; --html map.html puts all on one map"


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
        Format,
        typer.Option(
            "--format", help="A table for people, the others for programs; csv has a row a photo."
        ),
    ] = "table",
    coarse: Annotated[
        float | None,
        typer.Option(
            metavar="KM", min=1, max=6000, help="Answer with cells nowhere narrower than this."
        ),
    ] = None,
    countries: Countries = None,
    near: Near = None,
    bbox: Bbox = None,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="In the table: cells, bits, evidence.")
    ] = False,
    html: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Also write a map that opens in any browser, offline."),
    ] = None,
    threads: Threads = None,
) -> None:
    """Say where photos were probably taken.

    Example: locationnet locate holiday/*.jpg --format csv > places.csv

    A photo that cannot be read is reported and the rest goes on; the exit code is then 1.
    """
    from locationnet.model.locator import load_model

    require_folder(html)
    region = region_of(countries, near, bbox)
    sources = expand(photos)
    locator = load_model(model)

    def shown(prediction: Prediction) -> Prediction:
        if region:
            prediction = prediction.within(region)
        return prediction if coarse is None else prediction.coarse(coarse)

    try:
        prior = shown(locator.prior(top_k))
    except ValueError as error:
        raise InputError(str(error)) from error
    writer: Writer
    if form != "table":
        writer = program_writer(form, locator.bundle, prior)
    elif len(sources) == 1:
        writer = Detail(locator.bundle, prior, verbose=verbose)
    else:
        names = [source.name for source in sources]
        hint = _MAP_HINT if html is None else _DETAIL_HINT
        writer = Rows(locator.bundle, prior, names, hint=hint, verbose=verbose)
    kept: list[Answer] = []
    located = 0
    stream = partial(locator.stream, top_k=top_k, threads=threads, on_error="return")
    for source, prediction in answered(sources, stream, "locating"):
        answer = Answer(source.name, shown(prediction))
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
