"""``locationnet classify``: photos in, ranked labels out."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from locationnet.cli.locate import progress
from locationnet.cli.sources import Source, expand
from locationnet.errors import LocationNetError

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
        typer.echo(f"error: {source.name}: {error}", err=True)
        return None


def _write(
    form: Format, answers: Iterator[tuple[str, Classification]], classifier: Classifier
) -> int:
    """Write answers to standard output as they come; return how many there were."""
    count = 0
    waiting: list[dict[str, Any]] = []
    table = csv.writer(sys.stdout, lineterminator="\n")
    if form == "csv":
        table.writerow(_COLUMNS)
    for photo, answer in answers:
        count += 1
        if form == "csv":
            table.writerows(
                (photo, item.rank, item.probability, item.label) for item in answer.labels
            )
        elif form == "table":
            _print(photo, answer)
        else:
            facts = {"photo": photo, **answer.to_dict(), "model": _model(classifier)}
            if form == "json":
                waiting.append(facts)
            else:
                sys.stdout.write(json.dumps(facts, ensure_ascii=False) + "\n")
    if form == "json":
        json.dump(waiting, sys.stdout, indent=1, ensure_ascii=False)
        sys.stdout.write("\n")
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
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(photo), title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("rank", justify="right")
    table.add_column("probability", justify="right")
    table.add_column("label")
    for item in answer.labels:
        table.add_row(str(item.rank), f"{item.probability:.1%}", Text(item.label))
    Console(file=sys.stdout, highlight=False).print(table)
