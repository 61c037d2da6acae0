"""``locationnet classify``: photos in, ranked labels out."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from locationnet.cli.locate import progress
from locationnet.cli.sources import Source, expand
from locationnet.cli.terminal import (
    csv_name,
    data_output,
    json_text,
    people_console,
    say,
    showable,
)
from locationnet.errors import LocationNetError
from locationnet.files import csv_writer
from locationnet.names import printable, valid_text

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from locationnet.model.classifier import Classification, Classifier

_BATCH = 8
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
) -> None:
    """Say what photos probably show, with a model trained on other labels than places.

    Example: locationnet classify photos/*.jpg --model logos --format csv > labels.csv

    A photo that cannot be read is reported and the rest goes on; the exit code is then 1.
    """
    from locationnet.model.classifier import load_classifier

    sources = expand(photos)
    classifier = load_classifier(model)
    answered = _write(form, _answers(sources, classifier, top_k), classifier)
    if answered < len(sources):
        raise typer.Exit(1)


def _answers(
    sources: list[Source], classifier: Classifier, top_k: int
) -> Iterator[tuple[str, Classification]]:
    waiting = iter(progress(sources, "classifying"))
    while batch := list(islice(waiting, _BATCH)):
        prepared = [(source, _prepared(source, classifier)) for source in batch]
        ready = [(source, image) for source, image in prepared if image is not None]
        if not ready:
            continue
        import numpy as np

        found = classifier.predict(np.stack([image for _, image in ready]), top_k=top_k)
        for (source, _), answer in zip(ready, found, strict=True):
            yield source.name, answer


def _prepared(source: Source, classifier: Classifier) -> NDArray[np.float32] | None:
    try:
        return classifier.prepare(source.read())
    except LocationNetError as error:
        say(f"error: {source.name}: {error}", error=True)
        return None


def _write(
    form: Format, answers: Iterator[tuple[str, Classification]], classifier: Classifier
) -> int:
    """Write answers to standard output as they come; return how many there were."""
    count = 0
    waiting: list[dict[str, Any]] = []
    file = sys.stdout if form == "table" else data_output()
    table = csv_writer(file)
    if form == "csv":
        table.writerow(_COLUMNS)
    for photo, answer in answers:
        count += 1
        if form == "csv":
            name = csv_name(photo, file)
            table.writerows(
                (name, item.rank, item.probability, item.label) for item in answer.labels
            )
        elif form == "table":
            _print(photo, answer)
        else:
            facts = {"photo": valid_text(photo), **answer.to_dict(), "model": _model(classifier)}
            if form == "json":
                waiting.append(facts)
            else:
                file.write(json_text(facts, file) + "\n")
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
