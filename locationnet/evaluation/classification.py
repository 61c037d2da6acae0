"""A classifier on photos whose labels are known: what it is right about, class by class.

Knows truths and answers; nothing of places. Pure NumPy but for the table that is written.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from locationnet.errors import InputError, LocationNetError
from locationnet.images import Box, cropped, open_image
from locationnet.metrics import expected_calibration_error
from locationnet.model.photo_stream import reason_of
from locationnet.pack.rows import NO_LABEL, Columns, Rows, read_rows
from locationnet.progress import Progress

if TYPE_CHECKING:
    from rich.console import Console

    from locationnet.model.classifier import Classifier

NO_FILE = "cannot be opened"

_SHOWN = 5

Floats = NDArray[np.float64]
Matrix = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class ClassScores:
    """How good the answers are for each class.

    Parameters
    ----------
    confusion
        int64 ``(classes, classes)``: photos of the row's class that were called the column's.
    missed
        int64 ``(classes,)``: photos of each class without an answer; they count as not found.
    """

    confusion: Matrix
    missed: Matrix

    @property
    def photos(self) -> Matrix:
        """Photos of each class, int64 ``(classes,)``."""
        return np.asarray(self.confusion.sum(axis=1) + self.missed)

    @property
    def precision(self) -> Floats:
        """Share of the answers of each class that are right; NaN where there is no answer."""
        return _share(np.diag(self.confusion), self.confusion.sum(axis=0))

    @property
    def recall(self) -> Floats:
        """Share of the photos of each class that were found; NaN where there is no photo."""
        return _share(np.diag(self.confusion), self.photos)

    @property
    def f1(self) -> Floats:
        """Harmonic mean of the two; NaN where there is neither photo nor answer."""
        return _share(2 * np.diag(self.confusion), self.confusion.sum(axis=0) + self.photos)

    @property
    def accuracy(self) -> float:
        """Share of all photos whose label was found."""
        return float(np.trace(self.confusion) / self.photos.sum())

    @property
    def macro_f1(self) -> float:
        """Mean F1 of the classes that have photos."""
        return float(np.mean(self.f1[self.photos > 0]))


@dataclass(frozen=True, eq=False)
class LabelResults:
    """What was measured.

    Parameters
    ----------
    names
        The labels, in class order.
    scores
        By class.
    calibration_error
        Of the most probable label; see `expected_calibration_error`.
    problems
        Photos without an answer, and why; they count as not found.
    unknown
        Rows whose label is not one of the classes; they do not count.
    model
        Which one it was.
    """

    names: tuple[str, ...]
    scores: ClassScores
    calibration_error: float
    problems: tuple[str, ...]
    unknown: int
    model: dict[str, Any]


def count_answers(
    truth: NDArray[np.int64], answers: NDArray[np.int64], classes: int
) -> ClassScores:
    """Count answers by truth.

    Parameters
    ----------
    truth
        int64 ``(n,)``, each photo's class.
    answers
        int64 ``(n,)``, the class it was given; −1 for none.
    classes
        How many there are.
    """
    answered = answers >= 0
    confusion = np.zeros((classes, classes), np.int64)
    np.add.at(confusion, (truth[answered], answers[answered]), 1)
    return ClassScores(confusion, np.bincount(truth[~answered], minlength=classes))


def evaluate_labels(
    classifier: Classifier,
    table: Path,
    images: Path,
    out: Path,
    *,
    label_column: str | None = None,
    threads: int | None = None,
    advance: Progress | None = None,
) -> LabelResults:
    """Measure a classifier and write ``predictions.parquet`` and ``confusion.csv``.

    Parameters
    ----------
    classifier
        The model.
    table
        CSV or Parquet with the columns path and label, and perhaps a box, as `pack` reads them.
    images
        Folder that the paths start from.
    out
        Folder for what is written.
    label_column
        Another name of the column of labels.
    threads
        Photos worked on at a time; as many as there are processors by default.
    advance
        Called with the photos done and all there are.

    Raises
    ------
    InputError
        The table lacks a column, or no row has a label of the model's.
    """
    import pyarrow as pa

    from locationnet.tables.read import write_table

    rows = read_rows(table, classifier.labels, Columns(label=label_column))[:]
    known = np.flatnonzero(rows.classes >= 0)
    if not len(known):
        raise InputError(f"{table}: {NO_LABEL} in any of its {len(rows)} rows")
    names, truth = classifier.labels.names, rows.classes[known]
    problems: dict[int, str] = {}
    answers, confidence = np.full(len(known), -1, np.int64), np.full(len(known), np.nan)
    parts = _parts(classifier, rows, images, known)
    stream = classifier.stream(parts, top_k=1, threads=threads, on_error="return")
    for index, (_, answer) in enumerate(stream):
        if isinstance(answer, OSError):
            problems[index] = NO_FILE
        elif isinstance(answer, LocationNetError):
            problems[index] = reason_of(answer)
        else:
            answers[index], confidence[index] = answer.best.class_index, answer.best.probability
        if advance is not None:
            advance(index + 1, len(known))
    answered = answers >= 0
    scores = count_answers(truth, answers, len(names))
    error = float("nan")
    if answered.any():
        right = answers[answered] == truth[answered]
        error = expected_calibration_error(confidence[answered], right)
    out.mkdir(parents=True, exist_ok=True)
    columns = {
        "path": [rows.paths[row] for row in known],
        "label": [names[index] for index in truth],
        "answer": [names[index] if index >= 0 else None for index in answers],
        "probability": pa.array(confidence, from_pandas=True),
        "problem": [problems.get(index) for index in range(len(known))],
    }
    write_table(out / "predictions.parquet", pa.table(columns))
    manifest = classifier.bundle.manifest
    results = LabelResults(
        names,
        scores,
        error,
        tuple(f"{rows.paths[known[index]]}: {why}" for index, why in sorted(problems.items())),
        len(rows) - len(known),
        {
            "name": manifest.name, "version": manifest.version,
            "precision": classifier.precision, "labels_sha256": classifier.labels.sha256,
        },
    )  # fmt: skip
    _write_confusion(out / "confusion.csv", results)
    return results


def as_json(results: LabelResults) -> dict[str, Any]:
    """Return the results as plain JSON values; None where a share is undefined."""
    scores = results.scores
    columns = zip(
        results.names, scores.photos.tolist(), scores.precision, scores.recall, scores.f1,
        strict=True,
    )  # fmt: skip
    return {
        "model": results.model,
        "photos": int(scores.photos.sum()),
        "accuracy": scores.accuracy,
        "macro_f1": scores.macro_f1,
        "expected_calibration_error": _defined(results.calibration_error),
        "rows_with_other_labels": results.unknown,
        "classes": [
            {
                "label": name, "photos": photos, "precision": _defined(precision),
                "recall": _defined(recall), "f1": _defined(f1),
            }
            for name, photos, precision, recall, f1 in columns
        ],
        "confusion": scores.confusion.tolist(),
        "problems": list(results.problems),
    }  # fmt: skip


def print_labels(results: LabelResults, console: Console) -> None:
    """Print precision, recall and F1 of each class, and what is taken for what."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    scores = results.scores
    table = Table(box=box.SIMPLE_HEAD)
    for name in ("label", "photos", "precision", "recall", "F1", "taken for"):
        table.add_column(name, justify="left" if name in ("label", "taken for") else "right")
    for index, name in enumerate(results.names):
        shares = (scores.precision[index], scores.recall[index], scores.f1[index])
        table.add_row(
            Text(name), f"{scores.photos[index]:,}", *map(_percent, shares),
            Text(_taken_for(results, index)),
        )  # fmt: skip
    console.print(table)
    console.print(
        f"{int(scores.photos.sum()):,} photos: accuracy {scores.accuracy:.1%}, mean F1"
        f" {scores.macro_f1:.1%}, expected calibration error {_percent(results.calibration_error)}"
    )
    if results.unknown:
        console.print(f"{results.unknown:,} rows have other labels and do not count")
    for reason, count in Counter(line.rpartition(": ")[2] for line in results.problems).items():
        console.print(f"{count:,} photos count as not found: {reason}")


@dataclass(frozen=True)
class _Part:
    """A photo, or the part of it within a box, opened when its turn comes."""

    path: Path
    box: Box | None
    of_stored: bool
    short_side: int | None

    def read(self) -> Image.Image:
        image = open_image(self.path.read_bytes())
        if self.box is None:
            return image
        return cropped(image, self.box, self.short_side, of_stored=self.of_stored)


def _parts(
    classifier: Classifier, rows: Rows, images: Path, known: NDArray[np.int64]
) -> Iterator[_Part]:
    how = classifier.bundle.preprocessing
    short_side = None if how.recipe == "2017" else how.short_side
    for row in known.tolist():
        box = None if rows.boxes is None else rows.boxes[row]
        of_stored = rows.boxes is not None and rows.boxes_of_stored[row]
        yield _Part(images / rows.paths[row], box, of_stored, short_side)


def _write_confusion(path: Path, results: LabelResults) -> None:
    from locationnet.files import csv_writer, write_text

    text = io.StringIO()
    writer = csv_writer(text)
    writer.writerow(("label", *results.names, "no answer"))
    for name, counts, missed in zip(
        results.names, results.scores.confusion.tolist(), results.scores.missed, strict=True
    ):
        writer.writerow((name, *counts, int(missed)))
    write_text(path, text.getvalue())


def _taken_for(results: LabelResults, index: int) -> str:
    """Return what a class's photos were most often called instead."""
    counts = results.scores.confusion[index].copy()
    counts[index] = 0
    order = np.argsort(-counts, kind="stable")[:_SHOWN]
    return ", ".join(f"{results.names[at]} {counts[at]:,}" for at in order if counts[at])


def _share(part: Matrix, whole: Matrix) -> Floats:
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(whole > 0, part / np.maximum(whole, 1), np.nan), np.float64)


def _percent(share: float) -> str:
    return "-" if np.isnan(share) else f"{share:.1%}"


def _defined(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
