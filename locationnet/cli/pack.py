"""``locationnet pack``: photos to the shards that training reads."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from locationnet.cli.terminal import progress_bar, say
from locationnet.processors import processors

if TYPE_CHECKING:
    from locationnet.pack.format import Pack


def pack(
    table: Annotated[
        Path, typer.Argument(metavar="FILE", help="CSV or Parquet, a row for each photo.")
    ],
    images: Annotated[Path, typer.Option(help="Folder that the table's paths start from.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The pack's folder.")],
    grid: Annotated[
        Path | None, typer.Option(help="The grid that decides the classes by place.")
    ] = None,
    label_column: Annotated[
        str | None, typer.Option(help="Column that is the class, instead of --grid.")
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="With --label-column: labels.txt of another pack; all by default."
        ),
    ] = None,
    lat_column: Annotated[
        str | None, typer.Option(help="Column of latitudes; the usual names are found.")
    ] = None,
    lng_column: Annotated[
        str | None, typer.Option(help="Column of longitudes; the usual names are found.")
    ] = None,
    uploader_column: Annotated[
        str | None,
        typer.Option(
            "--uploader-column",
            "--group-column",
            help="Column of uploaders; uploader, user and the like are found.",
        ),
    ] = None,
    processes: Annotated[
        int, typer.Option(min=1, help="Photos decoded at a time.", show_default="all cores")
    ] = processors(),
    shard_photos: Annotated[int, typer.Option(min=1, help="Rows for each shard.")] = 4096,
) -> None:
    """Pack photos, shrunk to a short side of 256 pixels, into RecordIO shards.

    Example: locationnet pack train.csv --images photos --grid grids.txt --out packs/train

    Run the same command again after an interruption: finished shards are kept. Photos that cannot
    be read or lie in no cell are counted and listed in skipped.csv.

    By other labels than places: locationnet pack train.csv --images photos --label-column label
    --out packs/train; its labels.txt goes to --labels of the other sets.
    """
    from locationnet.classes import LabelSet
    from locationnet.geo.grid import Grid
    from locationnet.pack.build import pack_photos
    from locationnet.pack.rows import Columns, labels_of

    classes: Grid | LabelSet
    if grid is not None and label_column is None and labels is None:
        classes = Grid.read(grid)
    elif grid is None and label_column is not None:
        classes = labels_of(table, label_column) if labels is None else LabelSet.read(labels)
    else:
        raise typer.BadParameter("give --grid, or --label-column with or without --labels")

    with progress_bar() as progress:
        task = progress.add_task("packing", total=None)
        made = pack_photos(
            table,
            images,
            classes,
            out,
            columns=Columns(lat_column, lng_column, uploader_column, label_column),
            processes=processes,
            shard_photos=shard_photos,
            advance=lambda done, total: progress.update(task, completed=done, total=total),
        )
    print_pack(made, out)


def print_pack(made: Pack, out: Path) -> None:
    """Say what a pack contains and what it does not."""
    say(f"photos packed   {made.records:>11,} in {len(made.shards):,} shards")
    for reason, count in made.summary["skipped"].items():
        say(f"  skipped       {count:>11,}  {reason}")
    say(f"classes seen    {int((made.counts > 0).sum()):>11,} of {made.classes:,}")
    say(f"wrote {out}")
