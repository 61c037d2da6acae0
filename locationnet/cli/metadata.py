"""``locationnet metadata``: what is known about photos, in any form, to one table."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from locationnet.cli.outputs import refuse_replacing, require_folder
from locationnet.cli.terminal import say
from locationnet.names import printable
from locationnet.processors import processors

if TYPE_CHECKING:
    from locationnet.geo.box import Box
    from locationnet.metadata.build_table import Summary


def metadata(
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE...", help="Files of metadata, folders of them, or s3:// addresses."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="The Parquet table to write.")] = Path(
        "photos.parquet"
    ),
    hashes: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="List of photo ids and hashes (yfcc100m_hash)."),
    ] = None,
    min_accuracy: Annotated[
        int | None,
        typer.Option(min=1, max=16, help="Least accuracy of a position, 1 (world) to 16 (street)."),
    ] = None,
    licence: Annotated[
        list[str] | None,
        typer.Option(help="Keep photos under this licence, as CC-BY-2.0 or by; may be repeated."),
    ] = None,
    bbox: Annotated[
        str | None,
        typer.Option(metavar="W,S,E,N", help="Keep photos in this box of degrees, edges included."),
    ] = None,
    per_cell: Annotated[
        int | None,
        typer.Option(min=1, help="Most photos of one uploader in one S2 cell of level 10 (10 km)."),
    ] = None,
    opt_out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Uploaders and hashes to leave out, one a line."),
    ] = None,
    endpoint_url: Annotated[
        str | None, typer.Option(help="S3-compatible store of s3:// addresses, if not Amazon's.")
    ] = None,
    processes: Annotated[
        int, typer.Option(min=1, help="Files read at a time.", show_default="all cores")
    ] = processors(),
) -> None:
    """Read metadata of photos in any form into one table for partition, split and pack.

    Example: locationnet metadata yfcc100m_dataset-*.bz2 -o photos.parquet --min-accuracy 12

    Reads YFCC100M (25 or 23 columns, plain, .gz, .bz2, .xz or .zst, and the SQLite edition),
    the Placing task's files, and CSV or Parquet tables. Videos, rows without coordinates and
    the same photo again are dropped and counted. Run the same command again after an interruption:
    finished files are kept.
    """
    from locationnet.metadata.build_table import build_table
    from locationnet.metadata.filters import Filters, licence_key, read_opt_out
    from locationnet.tables.read import named_parquet

    require_folder(out)
    if not named_parquet(out):
        raise typer.BadParameter(f"{printable(out)}: must be named .parquet")
    refuse_replacing([opt_out], out)
    filters = Filters(
        min_accuracy=min_accuracy,
        licences=frozenset(map(licence_key, licence or ())),
        box=None if bbox is None else _box(bbox),
        opt_out=frozenset() if opt_out is None else read_opt_out(opt_out),
        per_cell=per_cell,
    )
    with _Bar() as bar:
        made = build_table(
            files,
            out,
            filters,
            hashes=hashes,
            endpoint_url=endpoint_url,
            processes=processes,
            progress=bar.show,
        )
    for line in _summary(made):
        say(line)
    for name, what in sorted(made.corrupt.items()):
        say(f"warning: {name} is damaged ({what}); only what comes before was read", error=True)
    say(f"wrote {out}")


def _box(text: str) -> Box:
    from locationnet.errors import InputError
    from locationnet.geo.box import Box

    try:
        return Box.parse(text)
    except InputError as error:
        raise typer.BadParameter(f"--bbox {error}") from error


class _Bar:
    """Shows each stage: how far it is, rows a second, time left."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn
        from rich.progress import TimeRemainingColumn as TimeLeft

        console = Console(stderr=True)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeLeft(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._progress.add_task("", total=None, rate="")
        self._stage = ""
        self._start = (0.0, 0)

    def __enter__(self) -> _Bar:
        self._progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._progress.stop()

    def show(self, stage: str, done: int, total: int, rows: int) -> None:
        """Move the bar."""
        now = self._progress.get_time()
        if stage != self._stage:
            self._stage = stage
            self._start = now, rows
            self._progress.reset(self._task, description=stage, rate="")
        seconds, rows_before = now - self._start[0], self._start[1]
        rate = f"{(rows - rows_before) / seconds:,.0f} rows/s" if seconds > 1 else ""
        self._progress.update(self._task, completed=done, total=total, rate=rate)


def _summary(made: Summary) -> Iterator[str]:
    for name, count in sorted(made.layouts.items()):
        yield f"{count:,} file{'s' if count > 1 else ''}: {name}"
    yield f"rows read       {made.read:>13,}"
    for reason, count in sorted(made.dropped.items(), key=lambda item: (-item[1], item[0])):
        yield f"  dropped       {count:>13,}  {reason}"
    yield f"photos kept     {made.kept:>13,}  {made.kept / made.read:.2%} of the rows"
    if made.without_path:
        yield f"  of them       {made.without_path:>13,}  with neither hash nor URL, so no path"
    if made.bad_hashes:
        yield f"list of hashes  {made.bad_hashes:>13,}  lines could not be used"
