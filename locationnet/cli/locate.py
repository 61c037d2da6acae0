"""``locationnet locate``: photos in, ranked places out."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from locationnet.cli.formats import Answer, Format, Writer, program_writer
from locationnet.cli.many_photos import Rows, counts_text
from locationnet.cli.one_photo import Detail
from locationnet.cli.options import (
    Bbox,
    Countries,
    Near,
    RetrievalIndex,
    RetrievalMode,
    Threads,
    region_of,
)
from locationnet.cli.outputs import refuse_replacing, require_folder
from locationnet.cli.photos import answered, expand
from locationnet.cli.pictures import Pictures
from locationnet.cli.terminal import progress_bar, say
from locationnet.errors import InputError
from locationnet.image_formats import is_photo_name
from locationnet.names import printable
from locationnet.retrieval.kinds import Mode

if TYPE_CHECKING:
    from locationnet.locating.locate_table import Job
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
        typer.Option(
            metavar="FILE",
            help="Also write one page with all photos on a map, small, for any browser, offline.",
        ),
    ] = None,
    card: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.png",
            help="Also draw a card to hand on: photo, answer and map; of several photos a folder.",
        ),
    ] = None,
    threads: Threads = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE",
            help="PHOTO is a table of paths, URLs or keys (CSV, Parquet); write it with places.",
        ),
    ] = None,
    images: Annotated[
        str, typer.Option(metavar="DIR", help="With -o: where paths start; also s3://BUCKET/DIR.")
    ] = "",
    endpoint_url: Annotated[
        str | None,
        typer.Option(metavar="URL", help="With -o: a store that speaks S3, not Amazon's."),
    ] = None,
    rate: Annotated[
        float, typer.Option(min=0.001, help="With -o: requests a second to each host of URLs.")
    ] = 5.0,
    exempt: Annotated[
        list[str] | None,
        typer.Option(
            metavar="HOST:PORT",
            help="With -o: a server of your own network that may be asked; repeat.",
        ),
    ] = None,
    scheduler: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="With -o: let a Dask cluster locate the photos."),
    ] = None,
    retrieval: RetrievalIndex = None,
    retrieval_mode: RetrievalMode = Mode.combined,
) -> None:
    """Say where photos were probably taken.

    Example: locationnet locate holiday/*.jpg --format csv > places.csv

    A whole table: locationnet locate photos.parquet --images photos -o places.parquet

    A photo that cannot be read is reported and the rest goes on; the exit code is then 1. A table's
    work that was interrupted is resumed by the same command.
    """
    if out is not None:
        from locationnet.locating.addressed import Source
        from locationnet.locating.locate_table import Job

        if form != "table" or html is not None or card is not None:
            raise typer.BadParameter("--out is a table; --format, --html and --card are of photos")
        if retrieval is not None:
            raise typer.BadParameter("--retrieval locates photos, not yet tables with --out")
        table = _table_of(photos)
        require_folder(out)
        refuse_replacing([table], out)
        _locate_table(
            table,
            out,
            Job(
                model,
                Source(images, endpoint_url, rate, tuple(exempt or ())),
                region_of(countries, near, bbox),
                coarse,
                threads,
            ),
            scheduler,
        )
        return
    if images or endpoint_url or exempt or scheduler:
        raise typer.BadParameter("--images, --endpoint-url, --exempt and --scheduler need --out")
    if len(photos) == 1 and _is_table(photos[0]):
        raise typer.BadParameter(
            f"{printable(photos[0])}: a table of photos needs --out places.csv"
        )
    from locationnet.retrieval.neighbourhood import load_model

    region = region_of(countries, near, bbox)
    sources = expand(photos)
    pictures = Pictures(sources, card, html)
    locator = load_model(model, index=retrieval, retrieval_mode=retrieval_mode)

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
    number = {id(source): index for index, source in enumerate(sources)}
    located = 0
    stream = partial(locator.stream, top_k=top_k, threads=threads, on_error="return")
    for source, prediction in answered(sources, stream, "locating"):
        answer = Answer(source.name, shown(prediction))
        writer.write(answer)
        pictures.add(number[id(source)], answer)
        located += 1
    writer.close()
    pictures.close(prior if locator.bundle.manifest.demo else None)
    if located < len(sources):
        raise typer.Exit(1)


def _is_table(name: str) -> bool:
    """Return, by its name, whether a file is a table of photos."""
    path = Path(name)
    return path.suffix.lower() in (".csv", ".tsv", ".parquet", ".pq") and path.is_file()


def _table_of(photos: list[str]) -> Path:
    if len(photos) != 1:
        raise typer.BadParameter("--out takes one table of photos")
    table = Path(photos[0])
    if table.is_dir() or is_photo_name(table):
        raise typer.BadParameter(
            f"{printable(table)}: --out takes a table of photos (CSV, Parquet); what is said of"
            " photos goes to a file with --format csv > FILE"
        )
    return table


def _locate_table(table: Path, out: Path, job: Job, scheduler: str | None) -> None:
    from locationnet.locating.locate_table import answer_on_cluster, locate_table

    make = None if scheduler is None else partial(answer_on_cluster, address=scheduler)
    with progress_bar() as bar:
        task = bar.add_task("locating", total=None)

        def advance(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        found = locate_table(table, out, job, make=make, advance=advance)
    say(counts_text(found.located, found.unsure, found.failed))
    say(f"wrote {out}")
    if found.failed:
        raise typer.Exit(1)
