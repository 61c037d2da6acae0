"""``locationnet evaluate``: a model and photos with known places in, figures out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from locationnet.cli.progress import progress_bar
from locationnet.cli.terminal import people_console, say


def evaluate(
    benchmark: Annotated[
        str,
        typer.Option(
            metavar="NAME|TABLE",
            help="im2gps, im2gps3k, yfcc4k, placing2016, or a CSV or Parquet of photos.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for what is written.")],
    model: Annotated[
        str, typer.Option(help="A bundle's name or directory (see `locationnet models`).")
    ] = "demo",
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
            metavar="PACK", help="Look in this training pack for the same photographers or photos."
        ),
    ] = None,
    neighbours: Annotated[
        Path | None,
        typer.Option(
            metavar="PACK", help="Also answer with the photos of this pack that look alike."
        ),
    ] = None,
    against: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="predictions.parquet of another model, to compare."),
    ] = None,
    label_column: Annotated[
        str | None, typer.Option(help="Column of labels, for a model that has labels.")
    ] = None,
) -> None:
    """Measure how near a model's answers come, beside guesses that need no photo.

    Example: locationnet evaluate --benchmark photos.csv --model bundle -o report

    Writes predictions.parquet, report.json and report.html. A photo that cannot be read counts as
    wrong and is listed. An interrupted call goes on when it is given again.

    A model that has labels, not places, is measured class by class on a table with the columns
    path and label; confusion.csv takes the place of report.html.
    """
    from rich.progress import TaskID

    from locationnet.errors import MissingExtraError
    from locationnet.evaluation.evaluate import evaluate as measure
    from locationnet.evaluation.fetch import RECORD
    from locationnet.evaluation.fetch import fetch as download
    from locationnet.evaluation.layouts import load_benchmark
    from locationnet.evaluation.page import write_page
    from locationnet.evaluation.report import as_json, print_report
    from locationnet.files import write_text
    from locationnet.model.bundle import Bundle
    from locationnet.model.locator import load_model

    if Bundle.open(model).has_labels:
        if fetch or any(one is not None for one in (cluster, train, neighbours, against)):
            raise typer.BadParameter("the model has labels: only --images and --label-column fit")
        _evaluate_labels(Path(benchmark), images, out, model, label_column)
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
                advance=lambda done, total: bar.update(task, completed=done, total=total),
            )
            say(f"photos: {images}; {images / RECORD} says what came", error=True)
        photos = load_benchmark(benchmark, images, cluster_column=cluster)
        locator = load_model(model, threads=2)
        tasks: dict[str, TaskID] = {}

        def advance(doing: str, done: int, total: int) -> None:
            if doing not in tasks:
                tasks[doing] = bar.add_task(doing, total=total)
            bar.update(tasks[doing], completed=done)

        results, table = measure(
            locator,
            photos,
            out,
            against=against,
            training=train,
            neighbours=neighbours,
            advance=advance,
        )
    write_text(out / "report.json", json.dumps(as_json(results), indent=1) + "\n")
    print_report(results, people_console())
    try:
        write_page(out / "report.html", results, table)
    except MissingExtraError as error:
        say(f"no report.html: {error}", error=True)
    say(f"wrote {out}")


def _evaluate_labels(
    table: Path, images: Path | None, out: Path, model: str, label_column: str | None
) -> None:
    from locationnet.evaluation.labels import as_json, evaluate_labels, print_labels
    from locationnet.files import write_text
    from locationnet.model.classifier import load_classifier

    with progress_bar() as bar:
        task = bar.add_task("classifying", total=None)
        results = evaluate_labels(
            load_classifier(model, threads=2),
            table,
            table.parent if images is None else images,
            out,
            label_column=label_column,
            advance=lambda done, total: bar.update(task, completed=done, total=total),
        )
    write_text(out / "report.json", json.dumps(as_json(results), indent=1) + "\n")
    print_labels(results, people_console())
    say(f"wrote {out}")
