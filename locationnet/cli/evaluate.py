"""``locationnet evaluate``: a model and photos with known places in, metrics out."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from locationnet.cli.options import RetrievalIndex, RetrievalMode, Threads
from locationnet.cli.outputs import refuse_replacing, require_new_folder
from locationnet.cli.terminal import people_console, progress_bar, say, stages
from locationnet.retrieval.kinds import Mode

if TYPE_CHECKING:
    import pyarrow as pa

    from locationnet.evaluation.report import Results

_WRITTEN = ("predictions.parquet", "report.json", "report.html", "confusion.csv")


def evaluate(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for what is written.")],
    benchmark: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|TABLE",
            help="im2gps, im2gps3k, yfcc4k, yfcc26k, placing2016, or a CSV or Parquet of photos.",
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="A bundle's name or directory (see `locationnet models`).", show_default="demo"
        ),
    ] = None,
    predictions: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Score these answers, whoever's they are, and load no model."
        ),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Its files, or where paths start."),
    ] = None,
    fetch: Annotated[
        bool,
        typer.Option("--fetch", help="Download the benchmark's photos to a folder in --images."),
    ] = False,
    cluster: Annotated[
        str | None,
        typer.Option(metavar="COLUMN", help="Photos that belong together, not the uploader's."),
    ] = None,
    train: Annotated[
        Path | None,
        typer.Option(
            metavar="PACK", help="Look in this training pack for the same uploaders or photos."
        ),
    ] = None,
    neighbours: Annotated[
        Path | None,
        typer.Option(
            metavar="PACK|INDEX", help="Also answer with the photos in it that are similar."
        ),
    ] = None,
    retrieval: RetrievalIndex = None,
    retrieval_mode: RetrievalMode = Mode.combined,
    exclude_uploader: Annotated[
        bool,
        typer.Option(
            "--exclude-uploader", help="With --retrieval: not by photos of the photo's uploader."
        ),
    ] = False,
    exclude_duplicates: Annotated[
        bool,
        typer.Option(
            "--exclude-duplicates", help="With --retrieval: not by what is nearly the photo itself."
        ),
    ] = False,
    against: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Answers of another model, to compare photo by photo."),
    ] = None,
    label_column: Annotated[
        str | None, typer.Option(help="Column of labels, for a model that has labels.")
    ] = None,
    threads: Threads = None,
) -> None:
    """Measure how near a model's answers come, beside guesses that need no photo.

    Example: locationnet evaluate --benchmark photos.csv --model bundle -o report

    Writes predictions.parquet, report.json and report.html. A photo that cannot be read counts as
    wrong and is listed. An interrupted call goes on when it is given again.

    Answers that are there already, CSV or Parquet with id or path, lat and lng, are scored without
    photos: locationnet evaluate --predictions answers.csv --benchmark im2gps3k --images DIR -o
    report. Without --benchmark the file's columns gt_lat and gt_lng are the truth.

    A model that has labels, not places, is measured class by class on a table with the columns
    path and label; confusion.csv replaces report.html.
    """
    require_new_folder(out)
    table = None if benchmark is None else Path(benchmark)
    refuse_replacing((table, predictions, against), *(out / name for name in _WRITTEN))
    if retrieval is None and (exclude_uploader or exclude_duplicates):
        raise typer.BadParameter("--exclude-uploader and --exclude-duplicates need --retrieval")
    if predictions is not None:
        needs_model = {
            "--model": model, "--fetch": fetch or None, "--train": train,
            "--neighbours": neighbours, "--label-column": label_column,
            "--retrieval": retrieval,
        }  # fmt: skip
        for option, value in needs_model.items():
            if value is not None:
                raise typer.BadParameter(f"--predictions are answers already: drop {option}")
        _score_predictions(predictions, benchmark, images, out, cluster, against)
        return
    if benchmark is None:
        raise typer.BadParameter("Missing option '--benchmark' (or '--predictions').")
    model = model or "demo"

    from locationnet.evaluation.benchmark_files import load_benchmark
    from locationnet.evaluation.evaluate import evaluate as measure
    from locationnet.evaluation.remote_photos import RECORD
    from locationnet.evaluation.remote_photos import fetch as download
    from locationnet.model.bundle import Bundle
    from locationnet.model.locator import load_model

    if Bundle.open(model).has_labels:
        if fetch or any(
            one is not None for one in (cluster, train, neighbours, retrieval, against)
        ):
            raise typer.BadParameter("the model has labels: only --images and --label-column fit")
        _evaluate_labels(Path(benchmark), images, out, model, label_column, threads)
        return
    if label_column is not None:
        raise typer.BadParameter("--label-column is for models that have labels, not places")
    with progress_bar() as bar:
        if fetch:
            if images is None:
                raise typer.BadParameter("--fetch needs --images, the folder to download to")
            task = bar.add_task("downloading", total=None)
            images = download(
                benchmark,
                images,
                advance=lambda done, total: bar.update(task, completed=done, total=total or None),
            )
            say(f"photos: {images}; {images / RECORD} says what came", error=True)
        photos = load_benchmark(benchmark, images, cluster_column=cluster)
        locator = load_model(model)
        similar = None
        if retrieval is not None:
            from locationnet.evaluation.similar_photos import Retrieval
            from locationnet.retrieval.neighbourhood import Neighbourhood

            if exclude_uploader and photos.uploaders is None:
                raise typer.BadParameter("--exclude-uploader needs a column of uploaders")
            similar = Retrieval(
                Neighbourhood.open(retrieval, locator.bundle, retrieval_mode),
                exclude_uploader,
                exclude_duplicates,
            )
        results, answers = measure(
            locator,
            photos,
            out,
            against=against,
            training=train,
            neighbours=neighbours,
            retrieval=similar,
            threads=threads,
            advance=stages(bar),
        )
    _report(out, results, answers)


def _score_predictions(
    path: Path,
    name: str | None,
    images: Path | None,
    out: Path,
    cluster: str | None,
    against: Path | None,
) -> None:
    from locationnet.evaluation.benchmark_files import load_benchmark
    from locationnet.evaluation.evaluate import evaluate_predictions
    from locationnet.evaluation.model_predictions import PREDICTIONS
    from locationnet.evaluation.predictions import predictions_for, predictions_with_truth
    from locationnet.tables.read import write_table

    if name is None:
        photos, predictions = predictions_with_truth(path, images, cluster)
    else:
        photos = load_benchmark(name, images, cluster_column=cluster, need_photos=False)
        predictions = predictions_for(path, photos)
    results, answers = evaluate_predictions(path, photos, predictions, against)
    out.mkdir(parents=True, exist_ok=True)
    write_table(out / PREDICTIONS, answers)
    _report(out, results, answers)


def _report(out: Path, results: Results, answers: pa.Table) -> None:
    from locationnet.errors import MissingExtraError
    from locationnet.evaluation.html_report import write_page
    from locationnet.evaluation.report import as_json, print_report
    from locationnet.evaluation.verdict import verdict
    from locationnet.files import write_text

    write_text(out / "report.json", json.dumps(as_json(results), indent=1) + "\n")
    console = people_console(fitting=True)
    print_report(results, console)
    try:
        with progress_bar() as bar:
            drawing = partial(stages(bar), "drawing report")
            drawing(0, 0)
            write_page(out / "report.html", results, answers, drawing)
    except MissingExtraError as error:
        say(f"no report.html: {error}", error=True)
    for sentence in verdict(results):
        console.print(sentence, soft_wrap=False)
    say(f"wrote {out}")


def _evaluate_labels(
    table: Path,
    images: Path | None,
    out: Path,
    model: str,
    label_column: str | None,
    threads: int | None,
) -> None:
    from locationnet.evaluation.classification import as_json, evaluate_labels, print_labels
    from locationnet.files import write_text
    from locationnet.model.classifier import load_classifier

    with progress_bar() as bar:
        task = bar.add_task("classifying", total=None)
        results = evaluate_labels(
            load_classifier(model),
            table,
            table.parent if images is None else images,
            out,
            label_column=label_column,
            threads=threads,
            advance=lambda done, total: bar.update(task, completed=done, total=total),
        )
    write_text(out / "report.json", json.dumps(as_json(results), indent=1) + "\n")
    print_labels(results, people_console())
    say(f"wrote {out}")
