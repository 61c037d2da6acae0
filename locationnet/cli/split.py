"""``locationnet split``: a table of photos to train, val and test tables."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from locationnet.cli.outputs import refuse_replacing, require_new_folder
from locationnet.cli.terminal import say


def split(
    table: Annotated[
        Path, typer.Argument(metavar="FILE", help="A table with a row for each photo.")
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder for train, val and test.")
    ] = Path(),
    val: Annotated[float, typer.Option(min=0, max=0.9, help="Share of uploaders in val.")] = 0.1,
    test: Annotated[float, typer.Option(min=0, max=0.9, help="Share of uploaders in test.")] = 0.1,
    uploader_column: Annotated[
        str | None,
        typer.Option(
            "--uploader-column",
            "--group-column",
            help="Column of uploaders; uploader, user and the like are found.",
        ),
    ] = None,
    stratify: Annotated[
        str | None,
        typer.Option(metavar="COLUMN", help="Keep each value of this column in every set."),
    ] = None,
    salt: Annotated[str, typer.Option(help="Another salt gives another split.")] = "locationnet",
) -> None:
    """Split photos so that no uploader is in two sets, the same way each time.

    Example: locationnet split photos.csv -o split --uploader-column uploader

    An uploader's set follows from a hash of the name, so that adding photos moves nobody.
    Without a column of uploaders each row counts as one, and so does a row that names none.
    The sets are written in the form of the table: Parquet, CSV or TSV, compressed as it is.
    """
    from locationnet.pack.split import SETS, balance, split_table
    from locationnet.tables.read import table_suffix, write_table

    if val + test >= 1:
        raise typer.BadParameter(f"--val {val} and --test {test} leave nothing to train on")
    require_new_folder(out)
    names = {name: f"{name}{table_suffix(table)}" for name in SETS}
    refuse_replacing([table], *(out / name for name in names.values()))
    parts = split_table(
        table, val=val, test=test, uploader_column=uploader_column, stratify=stratify, salt=salt
    )
    out.mkdir(parents=True, exist_ok=True)
    for name, file in names.items():
        write_table(out / file, parts.tables[name])
    for line in balance(parts):
        say(line)
    say(f"wrote {', '.join(names.values())} to {out}")
