"""``locationnet pack``: photos to the shards that training reads."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from locationnet.cli.progress import progress_bar


def pack(
    table: Annotated[
        Path, typer.Argument(metavar="FILE", help="CSV or Parquet, a row for each photo.")
    ],
    images: Annotated[Path, typer.Option(help="Folder that the table's paths start from.")],
    grid: Annotated[Path, typer.Option(help="The grid that decides the classes.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The pack's folder.")],
    lat_column: Annotated[
        str | None, typer.Option(help="Column of latitudes; the usual names are found.")
    ] = None,
    lng_column: Annotated[
        str | None, typer.Option(help="Column of longitudes; the usual names are found.")
    ] = None,
    group_column: Annotated[
        str | None,
        typer.Option(help="Column of photographers; uploader, user and the like are found."),
    ] = None,
    processes: Annotated[
        int, typer.Option(min=1, help="Photos decoded at a time.", show_default="all cores")
    ] = len(os.sched_getaffinity(0)),
    shard_photos: Annotated[int, typer.Option(min=1, help="Rows for each shard.")] = 4096,
) -> None:
    """Pack photos, shrunk to a short side of 256 pixels, into RecordIO shards.

    Example: locationnet pack train.csv --images photos --grid grids.txt --out packs/train

    Run the same command again after an interruption: finished shards are kept. Photos that cannot
    be read or lie in no cell are counted and listed in skipped.csv.
    """
    from locationnet.data.packing import pack_photos
    from locationnet.geo.grid import Grid

    with progress_bar() as progress:
        task = progress.add_task("packing", total=None)
        made = pack_photos(
            table,
            images,
            Grid.read(grid),
            out,
            lat_column=lat_column,
            lng_column=lng_column,
            group_column=group_column,
            processes=processes,
            shard_photos=shard_photos,
            advance=lambda done, total: progress.update(task, completed=done, total=total),
        )
    typer.echo(f"photos packed   {made.records:>11,} in {len(made.shards):,} shards")
    for reason, count in made.summary["skipped"].items():
        typer.echo(f"  skipped       {count:>11,}  {reason}")
    typer.echo(f"classes seen    {int((made.counts > 0).sum()):>11,} of {made.classes:,}")
    typer.echo(f"wrote {out}")
