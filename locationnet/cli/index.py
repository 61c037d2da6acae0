"""``locationnet index``: photos with known places to an index that others are located by."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from locationnet.cli.options import Threads
from locationnet.cli.outputs import require_new_folder
from locationnet.cli.terminal import progress_bar, say
from locationnet.retrieval.kinds import Kind

if TYPE_CHECKING:
    from locationnet.retrieval.indexing import Change


def index(
    out: Annotated[Path, typer.Option("--out", "-o", help="The index's folder.")],
    source: Annotated[
        Path | None,
        typer.Argument(
            metavar="[TABLE|FOLDER|PACK]",
            help="Photos and where they were taken; a folder holds one table of its photos.",
        ),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Where the table's paths start; its folder by default."),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="A bundle's name or directory (see `locationnet models`).", show_default="demo"
        ),
    ] = None,
    add: Annotated[
        bool, typer.Option("--add", help="Add the photos to an index that is there.")
    ] = False,
    remove: Annotated[
        list[str] | None,
        typer.Option(metavar="ID", help="Remove a photo; repeat for several."),
    ] = None,
    opt_out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Ids, a line each, or uploader:NAME, to remove and never to add again.",
        ),
    ] = None,
    kind: Annotated[
        Kind | None, typer.Option(help="How it is searched.", show_default="by size")
    ] = None,
    validation: Annotated[
        Path | None,
        typer.Option(
            metavar="TABLE", help="Fit the weights on these photos, not on those of the index."
        ),
    ] = None,
    threads: Threads = None,
) -> None:
    """Index photos with known places, so that similar ones can be located by them.

    Example: locationnet index photos.csv --images photos -o index

    The table has path, lat and lng, and if known id, uploader, taken, licence, attribution and
    page. Places that photos carry in themselves are not read. The index keeps no pixels. Run the
    same command again after an interruption: what went through the network is kept. Photos that
    cannot be indexed are counted and listed in skipped.csv.
    """
    require_new_folder(out)
    if source is None and not remove and opt_out is None:
        raise typer.BadParameter("give a table, a folder or a pack, or --remove or --opt-out")
    only_with_photos = {"--images": images, "--add": add or None, "--model": model,
                        "--kind": kind, "--validation": validation}  # fmt: skip
    for option, value in only_with_photos.items():
        if source is None and value is not None:
            raise typer.BadParameter(f"{option} needs a table, a folder or a pack")
    there = (out / "index.json").exists()
    if source is not None and there and not add:
        raise typer.BadParameter(f"{out}: is an index already; give --add, or another --out")
    if add and not there:
        raise typer.BadParameter(f"{out}: no index is there to add to; drop --add")

    from locationnet.retrieval.indexed_photos import photos_to_index, read_opt_out
    from locationnet.retrieval.indexing import add as add_photos
    from locationnet.retrieval.indexing import remove as remove_photos

    if remove or opt_out is not None:
        never, nobody = ([], []) if opt_out is None else read_opt_out(opt_out)
        print_change(remove_photos(out, remove or (), never, nobody))
    if source is not None:
        from locationnet.model.locator import load_model

        photos = photos_to_index(source, images)
        checks = None if validation is None else photos_to_index(validation, images)
        locator = load_model(model or "demo")
        with progress_bar() as bar:
            task = bar.add_task("embedding", total=None)
            change = add_photos(
                out,
                locator,
                photos,
                kind=kind,
                validation=checks,
                threads=threads,
                advance=lambda done, total: bar.update(task, completed=done, total=total),
            )
        print_change(change)
    say(f"wrote {out}")


def print_change(change: Change) -> None:
    """Say what an index has gained and lost."""
    if change.added or not change.removed:
        say(f"photos added    {change.added:>11,}")
    if change.removed:
        say(f"photos removed  {change.removed:>11,}")
    for reason, count in change.reasons.items():
        say(f"  skipped       {count:>11,}  {reason}")
    contents = change.contents
    say(f"photos in it    {contents.photos:>11,}  kind {contents.kind}")
