"""Predictions as text: a table for people, JSON, JSONL, CSV and GeoJSON for programs.

Knows nothing of where photos come from or how they are located.
"""

from __future__ import annotations

import csv
import json
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TextIO

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:  # the command line reads this module before it knows that it needs NumPy
    from locationnet.model.bundle import Bundle
    from locationnet.model.prediction import Place, Prediction

Format = Literal["table", "json", "jsonl", "csv", "geojson"]

# Evidence below what two decimals can show is left out of the table.
_TELLING_BITS = 0.005
_COLUMNS = (
    "photo", "rank", "probability", "lat", "lng", "cell", "level", "place",
    "abstained", "information_bits",
)  # fmt: skip
_PRIOR_COLUMNS = ("prior_place", "prior_probability")


@dataclass(frozen=True)
class Answer:
    """A photo's name with its prediction."""

    photo: str
    prediction: Prediction


class Writer:
    """Writes answers as they come; `close` ends the document.

    Parameters
    ----------
    form
        The format.
    bundle
        Where the answers come from; named in JSON.
    prior
        The answer without a photo, shown beside a demo's.
    file
        Where to write; standard output unless told otherwise.
    """

    def __init__(
        self, form: Format, bundle: Bundle, prior: Prediction, file: TextIO | None = None
    ) -> None:
        self._form = form
        self._bundle = bundle
        self._prior = prior
        self._demo = bundle.manifest.demo
        self._file = file or sys.stdout
        self._console = Console(file=self._file, highlight=False)
        self._csv = csv.writer(self._file, lineterminator="\n")
        self._waiting: list[dict[str, Any]] = []
        if form == "csv":
            self._csv.writerow(_COLUMNS + (_PRIOR_COLUMNS if self._demo else ()))

    def write(self, answer: Answer) -> None:
        """Write one answer, or keep it for `close` where the format is a single document."""
        if self._form == "table":
            self._print(answer)
        elif self._form == "csv":
            self._csv.writerows(self._rows(answer))
        elif self._form == "jsonl":
            self._file.write(json.dumps(self._object(answer), ensure_ascii=False) + "\n")
        elif self._form == "json":
            self._waiting.append(self._object(answer))
        else:
            self._waiting += self._features(answer)

    def close(self) -> None:
        """Write what belongs after the last answer."""
        if self._form == "json":
            self._dump(self._waiting)
        elif self._form == "geojson":
            self._dump({"type": "FeatureCollection", "features": self._waiting})

    def _dump(self, document: object) -> None:
        json.dump(document, self._file, indent=1, ensure_ascii=False)
        self._file.write("\n")

    def _object(self, item: Answer) -> dict[str, Any]:
        from locationnet.model.answer import answer

        return {"photo": item.photo, **answer(self._bundle, item.prediction, self._prior)}

    def _rows(self, answer: Answer) -> list[list[object]]:
        prediction = answer.prediction
        rows: list[list[object]] = []
        for index, place in enumerate(prediction.places):
            row: list[object] = [
                answer.photo, place.rank, place.probability, place.lat, place.lng, place.cell,
                place.level, place.name, prediction.abstained, prediction.information_bits,
            ]  # fmt: skip
            if self._demo:
                row += [self._prior.places[index].name, self._prior.places[index].probability]
            rows.append(row)
        return rows

    def _features(self, answer: Answer) -> list[dict[str, Any]]:
        demo = {"demo": True} if self._demo else {}
        return [
            {
                "type": "Feature",
                "geometry": {"type": "Point", "coordinates": [place["lng"], place["lat"]]},
                "properties": {"photo": answer.photo, **place, **demo},
            }
            for place in answer.prediction.to_dict()["predictions"]
        ]

    def _print(self, answer: Answer) -> None:
        prediction, prior = answer.prediction, self._prior
        console = self._console
        console.print(Text(answer.photo, style="bold"))
        # Ratios need a width to share out; wider than this, the eye loses the line.
        width = min(console.width, 100)
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, width=width)
        table.add_column("", justify="right", min_width=2)
        table.add_column("place", no_wrap=True, overflow="ellipsis", ratio=3, max_width=32)
        table.add_column("prob.", justify="right", min_width=6)
        table.add_column("lat, lng", justify="right", min_width=14)
        if self._demo:
            table.add_column(
                "prior (no photo)", no_wrap=True, overflow="ellipsis", ratio=2, style="dim"
            )
            table.add_column("prob.", justify="right", min_width=6, style="dim")
        for index, place in enumerate(prediction.places):
            row = [str(place.rank), _shown(place), f"{place.probability:.2%}"]
            row.append(f"{place.lat:.2f}, {place.lng:.2f}")
            if self._demo:
                other = prior.places[index]
                row += [_shown(other), f"{other.probability:.2%}"]
            table.add_row(*(Text(cell) for cell in row))
        console.print(table)
        for line in self._remarks(prediction):
            console.print(Text(line))
        console.print()

    def _remarks(self, prediction: Prediction) -> list[str]:
        best, manifest = prediction.best, self._bundle.manifest
        half, most = prediction.radius_km(0.5), prediction.radius_km(0.9)
        lines = [
            f"best single guess: {_shown(best)} ({best.lat:.3f}, {best.lng:.3f})",
            f"50 % of the probability lies within {half:,.0f} km of it, 90 % within {most:,.0f} km",
            f"the photo moved the answer by {prediction.information_bits:.2f} bits",
        ]
        if prediction.abstained:
            lines.append("abstained: the photo says too little about where it was taken")
        seen = [
            f"{item.label} {item.probability:.2f} ({item.bits:.2f} bits)"
            for item in prediction.evidence
            if item.bits >= _TELLING_BITS
        ]
        if seen:
            lines.append(f"evidence: {', '.join(seen)}")
        if manifest.demo:
            lines.append(
                f"model: {manifest.name} {manifest.version}, a demo: weak but real (MODEL_CARD.md)"
            )
        return lines


def _shown(place: Place) -> str:
    return place.name or f"cell {place.cell}"
