"""``training.png``: a run's curves, drawn from its log.

Knows log records only. Needs matplotlib; a run is complete without it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

from locationnet.errors import MissingExtraError
from locationnet.files import written_whole
from locationnet.train.log import LOG, read

PICTURE = "training.png"

# Across, up and label.
Curve = tuple[list[Any], list[float], str]


def draw(run: Path) -> Path:
    """Draw loss, learning rate, accuracy and distances of a run into ``training.png``.

    Raises
    ------
    MissingExtraError
        matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("training.png", "train") from error
    records = read(run / LOG)
    batches = [record for record in records if record["kind"] == "batch"]
    epochs = [record for record in records if record["kind"] == "epoch"]
    # A figure of its own: no window, no global state.
    figure = Figure(figsize=(11, 7.5), layout="constrained")
    loss, rate, accuracy, distance = figure.subplots(2, 2).ravel()
    _plot(
        loss, "loss", [(_epochs(batches), _values(batches, "loss"), "training, by batch")], dots=0
    )
    ends = [record["epoch"] for record in epochs]
    validated = [record["validation"] for record in epochs]
    _plot(loss, "loss", [(ends, _values(epochs, "loss"), "training")])
    _plot(loss, "loss", _known(ends, validated, {"loss": "validation"}))
    _plot(rate, "learning rate", [(_epochs(batches), _values(batches, "rate"), "")], dots=0)
    _plot(accuracy, "share", [
        (ends, _values(epochs, "top1"), "top-1, training"),
        (ends, _values(validated, "top1"), "top-1, validation"),
        (ends, _values(validated, "top5"), "top-5, validation"),
        *_known(ends, validated, {f"recall_at_{many}": f"recall@{many}" for many in (1, 5, 10)}),
    ])  # fmt: skip
    # Classes may be labels.
    near = {f"within_{km}_km": f"within {km} km" for km in (1, 25, 200, 750, 2500)}
    near["nearest_within_25_km"] = "nearest photo within 25 km"
    _plot(distance, "share of validation photos", _known(ends, validated, near))
    for axes in (accuracy, distance):
        axes.set_ylim(0, 1)
    for axes in (loss, rate, accuracy, distance):
        axes.set_xlabel("epoch")
        axes.grid(alpha=0.3)
    for axes in (loss, accuracy, distance):
        if axes.has_data():
            axes.legend(fontsize="small")
    picture = BytesIO()
    figure.savefig(picture, format="png", dpi=120)
    path = run / PICTURE
    with written_whole(path) as part:
        part.write_bytes(picture.getvalue())
    return path


def _epochs(batches: Sequence[dict[str, Any]]) -> list[float]:
    """Return where batches stand on the axis of epochs: 0 at the start, 1 after the first."""
    return [record["epoch"] - 1 + record["batch"] / record["batches"] for record in batches]


def _values(records: Sequence[dict[str, Any]], name: str) -> list[float]:
    return [float(record[name]) for record in records]


def _known(
    ends: list[Any], validated: Sequence[dict[str, Any]], labels: Mapping[str, str]
) -> list[Curve]:
    """Return the curves of the metrics that were measured."""
    return [
        (ends, _values(validated, name), label)
        for name, label in labels.items()
        if all(name in record for record in validated)
    ]


def _plot(axes: Any, what: str, curves: Sequence[Curve], *, dots: float = 4) -> None:
    axes.set_ylabel(what)
    for across, up, label in curves:
        if across:
            axes.plot(across, up, marker="o", markersize=dots, linewidth=1.2, label=label or None)
