"""One model on one benchmark, from photos, or from answers that are there already, to results.

Knows in which order things happen; each part knows its own business.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from locationnet.errors import InputError
from locationnet.evaluation.benchmarks import Benchmark
from locationnet.evaluation.bootstrap import Bootstrap, Interval
from locationnet.evaluation.countries import place_scores
from locationnet.evaluation.knn import FOLDER, nearest
from locationnet.evaluation.leaks import leaks
from locationnet.evaluation.model_predictions import answer
from locationnet.evaluation.predictions import (
    NO_PREDICTION,
    Predictions,
    answers_table,
    predictions_for,
)
from locationnet.evaluation.report import FIRST_ANSWER, Results
from locationnet.evaluation.scores import (
    Floats,
    Guess,
    best_km,
    guess,
    kilometres,
    model_scores,
    nearest_km,
    paired,
    uniform_guess,
)
from locationnet.evaluation.similar_photos import Retrieval
from locationnet.files import file_sha256
from locationnet.progress import StageProgress

if TYPE_CHECKING:
    import pyarrow as pa

    from locationnet.model.locator import Locator


_ALONE = (
    "the uploaders are not known, so the intervals may be too narrow; --cluster names a column of"
    " photos that belong together"
)


def evaluate(
    locator: Locator,
    benchmark: Benchmark,
    out: Path,
    *,
    against: Path | None = None,
    training: Path | None = None,
    neighbours: Path | None = None,
    retrieval: Retrieval | None = None,
    threads: int | None = None,
    advance: StageProgress | None = None,
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
        Answers of another model to the same photos, see `predictions_for`.
    training
        The pack that the model was trained on, to be searched for photos of the benchmark.
    neighbours
        A pack or an index; what its similar photos say is measured beside the model.
    retrieval
        Similar photos that take part in the model's answers.
    threads
        Photos worked on at a time; as many as there are processors by default.
    advance
        Called with the stage, "comparing" or "locating", the photos done and all there are.

    Returns
    -------
    Results, Table
        What was measured, and the answers; see `locationnet.evaluation.model_predictions.answer`.

    Raises
    ------
    InputError
        There are no photos, or the other model answered different ones, or a folder is not a
        valid pack.
    BundleError
        Neighbours are asked for, and the network answers no embedding.
    """
    if not len(benchmark):
        raise InputError(f"{benchmark.name}: contains no photos")
    # Before the folder is written, which may be where it lies.
    other = None if against is None else predictions_for(against, benchmark)
    neighbour_answers: dict[str, tuple[Floats, Floats]] = {}
    if neighbours is not None:
        compared = advance and partial(advance, "comparing")
        neighbour_answers = nearest(locator, benchmark, neighbours, out, compared, threads=threads)
    locating = advance and partial(advance, "locating")
    table = answer(locator, benchmark, out, locating, threads=threads, retrieval=retrieval)
    shutil.rmtree(out / FOLDER, ignore_errors=True)
    bootstrap = Bootstrap.of(benchmark.uploaders, len(benchmark))
    measures = model_scores(table, benchmark.rule, bootstrap) | place_scores(table, bootstrap)
    blind = _blind(locator, benchmark, bootstrap)
    prior_km = blind["prior: best point"].km
    assert prior_km is not None  # noqa: S101 - it answers every photo
    measures["over_prior"] = paired(
        best_km(table, benchmark.rule), prior_km, benchmark.rule, bootstrap
    )
    guesses: dict[str, Guess] = {
        "most probable cell": measures["mode"],
        "best point": measures["best"],
        "nearest of five": measures["top5"],
        **_at(neighbour_answers, benchmark, bootstrap),
        **blind,
        "oracle upper bound": _oracle(locator, benchmark, bootstrap),
    }
    difference, notes = _against(table, other, benchmark, bootstrap)
    if retrieval is not None:
        notes += retrieval.notes(table)
    if training is not None:
        notes += leaks(benchmark, training) or (f"nothing of it is in {training}",)
    broken = table.filter(table["problem"].is_valid()).to_pylist()
    problems = tuple(f"{row['path']}: {row['problem']}" for row in broken)
    results = Results(
        benchmark, _model_fields(locator), guesses, measures, _clusters(benchmark, bootstrap),
        difference, notes, problems,
    )  # fmt: skip
    return results, table


def evaluate_predictions(
    path: Path, benchmark: Benchmark, predictions: Predictions, against: Path | None = None
) -> tuple[Results, pa.Table]:
    """Measure answers that are there already, of whatever model; none is loaded.

    Parameters
    ----------
    path
        The file that they come from.
    benchmark
        The photos.
    predictions
        From `locationnet.evaluation.predictions`.
    against
        Answers of another model to the same photos, see `predictions_for`.

    Returns
    -------
    Results, Table
        What can be measured without knowing the model, and the answers; see `answers_table`.

    Raises
    ------
    InputError
        The other answers are to different photos.
    """
    other = None if against is None else predictions_for(against, benchmark)
    table = answers_table(benchmark, predictions)
    bootstrap = Bootstrap.of(benchmark.uploaders, len(benchmark))
    rule = benchmark.rule
    guesses = {FIRST_ANSWER: guess(best_km(table, rule), rule, bootstrap)}
    if max(map(len, predictions.top_lat)) > 1:
        guesses["nearest of five"] = guess(nearest_km(table, rule), rule, bootstrap)
    guesses["anywhere"] = uniform_guess(rule)
    broken = table.filter(table["problem"].is_valid())["id"].to_pylist()
    measures = {"broken": len(broken), **place_scores(table, bootstrap)}
    difference, notes = _against(table, other, benchmark, bootstrap)
    results = Results(
        benchmark,
        {"name": path.stem, "predictions": path.name, "sha256": file_sha256(path)},
        guesses,
        measures,
        _clusters(benchmark, bootstrap),
        difference,
        (*predictions.notes, *notes),
        tuple(f"{photo}: {NO_PREDICTION}" for photo in broken),
    )
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


def _oracle(locator: Locator, benchmark: Benchmark, bootstrap: Bootstrap) -> Guess:
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


def _against(
    table: pa.Table, other: Predictions | None, benchmark: Benchmark, bootstrap: Bootstrap
) -> tuple[dict[str, Interval] | None, tuple[str, ...]]:
    """Return by how much answers beat others, and what a reader must know of both."""
    notes: tuple[str, ...] = ()
    if benchmark.uploaders is None:
        notes += (_ALONE,)
    if other is None:
        return None, notes
    rule = benchmark.rule
    km = kilometres(rule, benchmark.lat, benchmark.lng, other.lat, other.lng)
    return (
        paired(best_km(table, rule), km, rule, bootstrap),
        (*notes, *(f"of those compared with: {note}" for note in other.notes)),
    )


def _model_fields(locator: Locator) -> dict[str, Any]:
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
