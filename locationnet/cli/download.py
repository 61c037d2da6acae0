"""``locationnet download``: photos of a table to a folder, or straight to a pack."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from locationnet.cli.terminal import say

if TYPE_CHECKING:
    from collections.abc import Callable

    from locationnet.download.checks import Placeholders
    from locationnet.download.disk_space import Space
    from locationnet.download.source import Source
    from locationnet.download.transfers import Pace


class From(StrEnum):
    """Where photos come from."""

    bucket = "bucket"
    urls = "urls"


def download(
    table: Annotated[
        Path, typer.Argument(metavar="FILE", help="CSV or Parquet, made by `metadata`.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the photos, or of the pack.")],
    source: Annotated[
        From,
        typer.Option("--from", help="The bucket multimedia-commons, or the photos' own URLs."),
    ] = From.bucket,
    endpoint_url: Annotated[
        str | None, typer.Option(metavar="URL", help="A store that speaks S3, not Amazon's.")
    ] = None,
    rate: Annotated[
        float, typer.Option(min=0.001, help="With --from urls: requests a second to each host.")
    ] = 5.0,
    exempt: Annotated[
        list[str] | None,
        typer.Option(
            metavar="HOST:PORT",
            help="With --from urls: a server of your own network that may be asked; repeat.",
        ),
    ] = None,
    placeholders: Annotated[
        Path | None,
        typer.Option(
            metavar="LIST",
            help="Images sent in place of photos: a size, an MD5 or SHA-256, or both a line.",
        ),
    ] = None,
    min_free: Annotated[
        float, typer.Option(min=0, metavar="GB", help="Stop before less of the disk is free.")
    ] = 1.0,
    pack: Annotated[
        bool, typer.Option("--pack", help="Write shards for training; keep no originals.")
    ] = False,
    grid: Annotated[
        Path | None, typer.Option(help="With --pack: the grid that decides the classes.")
    ] = None,
    shard_photos: Annotated[
        int, typer.Option(min=1, help="With --pack: rows for each shard.")
    ] = 4096,
    scheduler: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="With --pack: let a Dask cluster make the shards."),
    ] = None,
    give_up: Annotated[
        bool,
        typer.Option("--give-up", help="With --pack: go without photos whose servers fail."),
    ] = False,
) -> None:
    """Fetch the photos of a table, many at a time, and say why some are not there.

    Example: locationnet download photos.parquet --out photos

    Straight to a pack: locationnet download photos.parquet --pack --grid grids.txt -o packs/train

    Run the same command again after an interruption: nothing is fetched twice. The exit code is 1
    as long as photos are missing only because servers failed.
    """
    from locationnet.download.checks import Placeholders
    from locationnet.download.disk_space import Space
    from locationnet.download.source import Source
    from locationnet.net.urls import exempt_pair

    if pack != (grid is not None):
        raise typer.BadParameter("--pack and --grid go together")
    if not pack and (scheduler is not None or give_up):
        raise typer.BadParameter("--scheduler and --give-up need --pack")
    if source is From.urls and endpoint_url is not None:
        raise typer.BadParameter("--endpoint-url is of a bucket, and --from is urls")
    if source is From.bucket and exempt:
        raise typer.BadParameter("--exempt needs --from urls")
    if not math.isfinite(rate):
        raise typer.BadParameter("--rate is not a number of requests")
    if not math.isfinite(min_free):
        raise typer.BadParameter("--min-free is not a number of gigabytes")
    for pair in exempt or ():
        try:
            exempt_pair(pair)
        except ValueError as error:
            raise typer.BadParameter(f"--exempt: {error}") from error
    described = Source(source.value, endpoint_url, rate, tuple(exempt or ()))
    listed = Placeholders() if placeholders is None else Placeholders.read(placeholders)
    space = partial(Space, reserve=int(min_free * 1e9))
    if grid is None:
        _to_folder(table, out, described, listed, space)
    else:
        _to_pack(table, out, described, listed, space, grid, shard_photos, scheduler, give_up)


def _to_folder(
    table: Path,
    out: Path,
    source: Source,
    placeholders: Placeholders,
    space: Callable[[Path], Space],
) -> None:
    from locationnet.download.to_folder import FAILURES, TABLE, download_photos

    with _bar("downloading") as show:
        done = download_photos(
            table,
            out,
            source,
            placeholders=placeholders,
            space=space(out),
            advance=show,
            say=lambda text: say(text, error=True),
        )
    say(f"photos here     {done.photos:>11,}")
    for reason, count in done.failures.items():
        say(f"  not here      {count:>11,}  {reason}")
    say(f"wrote {out / TABLE} and {out / FAILURES}")
    if done.postponed:
        say(f"servers failed for {done.postponed:,} photos; run the same command later", error=True)
        raise typer.Exit(1)


def _to_pack(
    table: Path,
    out: Path,
    source: Source,
    placeholders: Placeholders,
    space: Callable[[Path], Space],
    grid: Path,
    shard_photos: int,
    scheduler: str | None,
    give_up: bool,
) -> None:
    from locationnet.cli.pack import print_pack
    from locationnet.download.to_pack import Job, download_to_pack, make_on_cluster
    from locationnet.geo.grid import Grid

    make = None
    if scheduler is not None:
        make = partial(make_on_cluster, address=scheduler)
    with _bar("packing") as show:
        made = download_to_pack(
            table,
            Grid.read(grid),
            Job(out.resolve(), source, placeholders, give_up),
            shard_photos=shard_photos,
            make=make,
            space=space(out),
            advance=show,
        )
    print_pack(made, out)


@contextmanager
def _bar(what: str) -> Iterator[Callable[[int, int, Pace], None]]:
    """Show how far it is, how fast it goes and how long it will take."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as progress:
        task = progress.add_task(what, total=None, rate="")

        def show(done: int, total: int, pace: Pace) -> None:
            bar = progress.tasks[0]
            seconds = bar.elapsed or 0
            rate = ""
            if seconds:
                rate = (
                    f"{pace.photos / seconds:,.0f}/s {pace.bytes / seconds / 1e6:,.1f} MB/s"
                    f" x{pace.connections}"
                )
            progress.update(task, completed=done, total=total, rate=rate)

        yield show
