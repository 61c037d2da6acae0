"""``locationnet partition``: tables of photo coordinates in, the cells of ``grids.txt`` out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from locationnet.cli.outputs import refuse_replacing, require_folder
from locationnet.cli.terminal import progress_bar, say
from locationnet.processors import processors

if TYPE_CHECKING:
    from locationnet.geo.grid import Grid
    from locationnet.geo.partition import Chunks, OracleBound, Partition
    from locationnet.tables.coordinates import CoordinateFiles


def partition(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="CSV or Parquet tables of photos.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="The grid to write.")] = Path(
        "grids.txt"
    ),
    max_photos: Annotated[
        int, typer.Option(min=1, help="A cell with more photos is split, down to level 30.")
    ] = 5000,
    min_photos: Annotated[int, typer.Option(min=1, help="A cell with fewer is dropped.")] = 500,
    lat_column: Annotated[
        str | None, typer.Option(help="Column of latitudes; the usual names are found.")
    ] = None,
    lng_column: Annotated[
        str | None, typer.Option(help="Column of longitudes; the usual names are found.")
    ] = None,
    check: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="Measure the oracle bound on these photos instead."),
    ] = None,
    geojson: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also write the cells as GeoJSON.")
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(min=1, help="Computing at a time.", show_default="all processors"),
    ] = None,
) -> None:
    """Partition the globe into cells that hold about as many photos each.

    Example: locationnet partition photos.csv -o grids.txt --max-photos 5000 --min-photos 500
    """
    from locationnet.geo.partition import OracleBound
    from locationnet.geo.partition import partition as make_partition
    from locationnet.tables.coordinates import CoordinateFiles

    if min_photos > max_photos:
        raise typer.BadParameter(f"--min-photos {min_photos} is above --max-photos {max_photos}")
    require_folder(out, geojson)
    read = [*files, *(check or ())]
    refuse_replacing(read, out, geojson)
    refuse_replacing([geojson], out)
    photos = CoordinateFiles(files, lat_column, lng_column)
    checked = CoordinateFiles(check, lat_column, lng_column) if check else photos
    with _Passes() as passes:
        made = make_partition(
            lambda: passes.read(photos, "partitioning"),
            max_photos=max_photos,
            min_photos=min_photos,
            threads=threads or processors(),
        )
        bad = dict(photos.bad)
        oracle = OracleBound(made.grid)
        for lat, lng in passes.read(checked, "measuring"):
            oracle.add(lat, lng)
    made.grid.write(out)
    if geojson is not None:
        _write_geojson(geojson, made)
    bad_checked = dict(checked.bad) if check else {}
    for line in _summary(made, bad, oracle, bad_checked):
        say(line)
    say(f"wrote {out}")


class _Passes:
    """Shows how far each pass over the input is."""

    def __init__(self) -> None:
        self._progress = progress_bar()

    def __enter__(self) -> _Passes:
        self._progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._progress.stop()

    def read(self, photos: CoordinateFiles, what: str) -> Chunks:
        """Yield the photos' coordinates and move the bar."""
        task = self._progress.add_task(what, total=photos.total_bytes)
        yield from photos.chunks(lambda count: self._progress.advance(task, count))
        self._progress.remove_task(task)


def _summary(
    made: Partition, bad: dict[str, int], oracle: OracleBound, bad_checked: dict[str, int]
) -> Iterator[str]:
    from locationnet.geo import s2

    grid, kept = made.grid, int(made.counts.sum())
    yield f"photos read     {made.photos + sum(bad.values()):>11,}"
    yield from _bad_rows(bad)
    yield f"photos kept     {kept:>11,}  {kept / made.photos:.2%} of the good rows"
    yield f"cells           {len(grid):>11,}"
    yield f"of the sphere   {s2.sphere_shares(grid.ids).sum():>11.2%}"
    yield "cells by level"
    yield from _histogram(grid)
    yield f"oracle upper bound: what an always right classifier scores on {oracle.photos:,} photos"
    for km, share in oracle.shares().items():
        yield f"  within {km:>5,.0f} km {share:>8.2%}"
    yield f"  ({oracle.outside:,} of them lie in no cell and get the nearest one)"
    yield from _bad_rows(bad_checked)


def _bad_rows(bad: dict[str, int]) -> Iterator[str]:
    for reason, count in sorted(bad.items()):
        yield f"  bad rows      {count:>11,}  {reason}"


def _histogram(grid: Grid) -> Iterator[str]:
    import numpy as np

    counts = np.bincount(grid.levels)
    for level in np.flatnonzero(counts):
        bar = "█" * int(np.ceil(40 * counts[level] / counts.max()))
        yield f"  {level:>2} {counts[level]:>10,}  {bar}"


def _write_geojson(path: Path, made: Partition) -> None:
    import json

    from locationnet.files import write_text
    from locationnet.geo.geojson import feature_collection

    grid = made.grid
    properties = {
        "class": list(range(len(grid))),
        "level": grid.levels.tolist(),
        "photos": made.counts.tolist(),
        "lat": grid.lat.tolist(),
        "lng": grid.lng.tolist(),
    }
    write_text(path, json.dumps(feature_collection(grid.ids, properties)) + "\n")
