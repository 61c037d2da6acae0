"""``locationnet labels``: other people's labelled photos to a table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from locationnet.cli.outputs import refuse_replacing, require_folder
from locationnet.cli.terminal import say


def labels(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="DIR", help="A folder for each label, FlickrLogos-32, or Open Images' CSVs."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="The table, CSV or Parquet.")],
    part: Annotated[
        str | None,
        typer.Option(help="Of FlickrLogos-32 trainset, testset, ...; of Open Images train, ..."),
    ] = None,
    label: Annotated[
        list[str] | None,
        typer.Option(help="Only this label; repeat. Of Open Images with all kinds of it."),
    ] = None,
    crop: Annotated[
        bool, typer.Option("--crop/--whole", help="Give boxes, where there are any.")
    ] = True,
) -> None:
    """List labelled photos in a table that the other verbs read.

    Example: locationnet labels open-images --label Bus --label Bicycle -o photos.parquet

    The layout is recognised by its files. With boxes there is a row for each, and `pack` crops.
    """
    from locationnet.data.labelled.layouts import read_labelled
    from locationnet.tables.read import check_table_name, write_table

    require_folder(out)
    check_table_name(out)
    refuse_replacing(folder.rglob("*"), out)
    found = read_labelled(folder, part=part, names=label or [], crop=crop)
    write_table(out, found.table)
    counts = found.table["label"].value_counts().to_pylist()
    say(f"rows            {found.table.num_rows:>11,}")
    for item in sorted(counts, key=lambda item: (-item["counts"], item["values"])):
        say(f"  label         {item['counts']:>11,}  {item['values']}")
    for reason, count in found.left_out.items():
        say(f"  left out      {count:>11,}  {reason}")
    say(f"wrote {out}")
