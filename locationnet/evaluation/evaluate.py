"""One model on one benchmark, from photos to results.

Knows in which order things happen; each part knows its own business.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from locationnet.errors import InputError
from locationnet.evaluation.answers import answer
from locationnet.evaluation.benchmarks import Benchmark
from locationnet.evaluation.intervals import Bootstrap
from locationnet.evaluation.leaks import leaks
from locationnet.evaluation.neighbours import STATE, nearest
from locationnet.evaluation.places import place_scores
from locationnet.evaluation.report import Results
from locationnet.evaluation.scores import (
    Floats,
    Guess,
    guess,
    kilometres,
    model_scores,
    paired,
    uniform_guess,
)
from locationnet.tables.source import arrow_file

if TYPE_CHECKING:
    import pyarrow as pa

    from locationnet.model.locator import Locator

Advance = Callable[[str, int, int], None]


def evaluate(
    locator: Locator,
    benchmark: Benchmark,
    out: Path,
    *,
    against: Path | None = None,
    training: Path | None = None,
    neighbours: Path | None = None,
    advance: Advance | None = None,
) -> tuple[Results, pa.Table]:
    """Measure a model, with the guesses that need no photo beside it.

    Parameters
    ----------
    locator
        The model.
    benchmark
        The photos.
    out
        Folder for ``predictions.parquet``; an interrupted call goes on there.
    against
        ``predictions.parquet`` of another model on the same photos.
    training
        The pack that the model was trained on, to be searched for photos of the benchmark.
    neighbours
        A pack; what its photos that look alike say is measured beside the model.
    advance
        Called with what is being done, how many photos are done and how many there are.

    Returns
    -------
    Results, Table
        What was measured, and the answers; see `locationnet.evaluation.answers.answer`.

    Raises
    ------
    InputError
        There are no photos, or the other model answered different ones, or a pack is none.
    BundleError
        Neighbours are asked for, and the network answers no embedding.
    """
    if not len(benchmark):
        raise InputError(f"{benchmark.name}: holds no photos")
    alike: dict[str, tuple[Floats, Floats]] = {}
    if neighbours is not None:
        compared = advance and partial(advance, "comparing")
        alike = nearest(locator, benchmark, neighbours, out, compared)
    table = answer(locator, benchmark, out, advance and partial(advance, "locating"))
    (out / STATE).unlink(missing_ok=True)
    bootstrap = Bootstrap.of(benchmark.uploaders, len(benchmark))
    measures = model_scores(table, benchmark.rule, bootstrap) | place_scores(table, bootstrap)
    guesses: dict[str, Guess] = {
        "most probable cell": measures["mode"],
        "best point": measures["best"],
        "nearest of five": measures["top5"],
        **_at(alike, benchmark, bootstrap),
        **_blind(locator, benchmark, bootstrap),
        "ceiling of the grid": _ceiling(locator, benchmark, bootstrap),
    }
    difference = None
    if against is not None:
        difference = _difference(table, against, benchmark, bootstrap)
    notes: tuple[str, ...] = ()
    if benchmark.uploaders is None:
        notes += ("the photographers are not known, so the intervals may be too narrow",)
    if training is not None:
        notes += leaks(benchmark, training) or (f"nothing of it is in {training}",)
    broken = table.filter(table["problem"].is_valid()).to_pylist()
    problems = tuple(f"{row['path']}: {row['problem']}" for row in broken)
    results = Results(
        benchmark, _facts(locator), guesses, measures, _clusters(benchmark, bootstrap), difference,
        notes, problems,
    )  # fmt: skip
    return results, table


def _blind(locator: Locator, benchmark: Benchmark, bootstrap: Bootstrap) -> dict[str, Guess]:
    """Return what the prior's two points and any point at all are worth."""
    prior = locator.prior()
    points = {
        "prior: most probable cell": (np.array(prior.mode.lat), np.array(prior.mode.lng)),
        "prior: best point": (np.array(prior.best.lat), np.array(prior.best.lng)),
    }
    return {**_at(points, benchmark, bootstrap), "anywhere": uniform_guess(benchmark.rule)}


def _at(
    points: Mapping[str, tuple[Floats, Floats]], benchmark: Benchmark, bootstrap: Bootstrap
) -> dict[str, Guess]:
    """Return what answering with these points is worth."""
    rule = benchmark.rule
    return {
        name: guess(kilometres(rule, benchmark.lat, benchmark.lng, *point), rule, bootstrap)
        for name, point in points.items()
    }


def _ceiling(locator: Locator, benchmark: Benchmark, bootstrap: Bootstrap) -> Guess:
    """Return what naming the true cell, or the nearest where there is none, would be worth."""
    grid = locator.grid
    classes = grid.assign(benchmark.lat, benchmark.lng)
    for photo in np.flatnonzero(classes < 0):
        one = slice(photo, photo + 1)
        km = kilometres(benchmark.rule, benchmark.lat[one], benchmark.lng[one], grid.lat, grid.lng)
        classes[photo] = int(km.argmin())
    km = kilometres(
        benchmark.rule, benchmark.lat, benchmark.lng, grid.lat[classes], grid.lng[classes]
    )
    return guess(km, benchmark.rule, bootstrap)


def _difference(table: Any, against: Path, benchmark: Benchmark, bootstrap: Bootstrap) -> Any:
    from pyarrow import ArrowInvalid, parquet

    try:
        with arrow_file(against) as file:
            other = parquet.read_table(file)
        return paired(table, other, benchmark.rule, bootstrap)
    except (OSError, ArrowInvalid, KeyError) as error:
        raise InputError(f"{against}: holds no predictions ({error})") from error
    except ValueError as error:
        raise InputError(f"{against}: {error}") from error


def _facts(locator: Locator) -> dict[str, Any]:
    manifest = locator.bundle.manifest
    return {
        "name": manifest.name,
        "version": manifest.version,
        "demo": manifest.demo,
        "precision": locator.precision,
        "grid_sha256": locator.grid.sha256,
    }


def _clusters(benchmark: Benchmark, bootstrap: Bootstrap) -> str:
    if benchmark.uploaders is None:
        return f"{bootstrap.count:,} photos"
    return f"{bootstrap.count:,} clusters by {benchmark.clustered_by}"
