"""``locationnet classify``: photos in, ranked labels out."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from locationnet.cli.options import Threads
from locationnet.cli.photos import Source, answered, expand
from locationnet.cli.terminal import csv_name, data_output, json_text, people_console, showable
from locationnet.files import csv_writer
from locationnet.names import printable, valid_text

if TYPE_CHECKING:
    from locationnet.model.classifier import Classification, Classifier

_COLUMNS = ("photo", "rank", "probability", "label")

Format = Literal["table", "json", "jsonl", "csv"]


def classify(
    photos: Annotated[
        list[str],
        typer.Argument(metavar="PHOTO...", help="Files, folders, glob patterns or URLs."),
    ],
    model: Annotated[str, typer.Option(help="The directory of a bundle that has labels.")],
    top_k: Annotated[int, typer.Option(min=1, max=100, help="How many labels to list.")] = 5,
    form: Annotated[
        Format, typer.Option("--format", help="A table for people, the others for programs.")
    ] = "table",
    threads: Threads = None,
) -> None:
    """Say what photos probably show, with a model trained on other labels than places.

    Example: locationnet classify photos/*.jpg --model logos --format csv > labels.csv

    A photo that cannot be read is reported and the rest goes on; the exit code is then 1.
    """
    from locationnet.model.classifier import load_classifier

    sources = expand(photos)
    classifier = load_classifier(model)
    stream = partial(classifier.stream, top_k=top_k, threads=threads, on_error="return")
    if _write(form, answered(sources, stream, "classifying"), classifier) < len(sources):
        raise typer.Exit(1)


def _write(
    form: Format, answers: Iterator[tuple[Source, Classification]], classifier: Classifier
) -> int:
    """Write answers to standard output as they come; return how many there were."""
    count = 0
    waiting: list[dict[str, Any]] = []
    file = sys.stdout if form == "table" else data_output()
    table = csv_writer(file)
    if form == "csv":
        table.writerow(_COLUMNS)
    for source, answer in answers:
        photo = source.name
        count += 1
        if form == "csv":
            name = csv_name(photo, file)
            table.writerows(
                (name, item.rank, item.probability, item.label) for item in answer.labels
            )
        elif form == "table":
            _print(photo, answer)
        else:
            fields = {"photo": valid_text(photo), **answer.to_dict(), "model": _model(classifier)}
            if form == "json":
                waiting.append(fields)
            else:
                file.write(json_text(fields, file) + "\n")
    if form == "json":
        file.write(json_text(waiting, file, indent=1) + "\n")
    return count


def _model(classifier: Classifier) -> dict[str, str]:
    manifest = classifier.bundle.manifest
    return {
        "name": manifest.name,
        "version": manifest.version,
        "labels_sha256": classifier.labels.sha256,
    }


def _print(photo: str, answer: Classification) -> None:
    from rich import box
    from rich.table import Table

    console = people_console()
    console.print(printable(photo), style="bold")
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("rank", justify="right")
    table.add_column("probability", justify="right")
    table.add_column("label")
    for item in answer.labels:
        table.add_row(str(item.rank), f"{item.probability:.1%}", showable(item.label, console))
    console.print(table)
