"""Predictions as text: a table for people, JSON, JSONL, CSV and GeoJSON for programs.

Knows nothing of where photos come from or how they are located.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from rich import box
from rich.measure import Measurement
from rich.table import Table

from locationnet.cli.terminal import (
    csv_name,
    data_output,
    json_text,
    people_console,
    showable,
    terminal_width,
)
from locationnet.files import csv_writer
from locationnet.names import printable, valid_text

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
_UNCALIBRATED_COLUMNS = ("calibrated",)
_PRIOR_COLUMNS = ("prior_place", "prior_probability")
_PLACE_HEADS = ("place", "prob.", "lat, lng")
_PRIOR_HEADS = ("prior (no photo)", "prob.")
# Names of places give way where a terminal is narrow. Wider than 100, the eye loses the line.
_NAME_HEADS = (_PLACE_HEADS[0], _PRIOR_HEADS[0])
_ID = "cell "
_WIDEST_NAME, _NARROWEST_NAME, _WIDEST_TABLE = 32, 12, 100


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
    """

    def __init__(self, form: Format, bundle: Bundle, prior: Prediction) -> None:
        self._form = form
        self._bundle = bundle
        self._prior = prior
        self._demo = bundle.manifest.demo
        self._calibrated = bundle.manifest.calibrated
        if form == "table":
            self._console = people_console()
            return
        self._file = data_output()
        self._csv = csv_writer(self._file)
        self._waiting: list[dict[str, Any]] = []
        if form == "csv":
            uncalibrated = () if self._calibrated else _UNCALIBRATED_COLUMNS
            self._csv.writerow(_COLUMNS + uncalibrated + (_PRIOR_COLUMNS if self._demo else ()))

    def write(self, answer: Answer) -> None:
        """Write one answer, or keep it for `close` where the format is a single document."""
        if self._form == "table":
            self._print(answer)
        elif self._form == "csv":
            self._csv.writerows(self._rows(answer))
        elif self._form == "jsonl":
            self._file.write(json_text(self._object(answer), self._file) + "\n")
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
        self._file.write(json_text(document, self._file, indent=1) + "\n")

    def _object(self, item: Answer) -> dict[str, Any]:
        from locationnet.model.answer import answer

        return {
            "photo": valid_text(item.photo),
            **answer(self._bundle, item.prediction, self._prior),
        }

    def _rows(self, answer: Answer) -> list[list[object]]:
        prediction = answer.prediction
        photo = csv_name(answer.photo, self._file)
        rows: list[list[object]] = []
        for index, place in enumerate(prediction.places):
            row: list[object] = [
                photo, place.rank, place.probability, place.lat, place.lng, place.cell,
                place.level, place.name, prediction.abstained, prediction.information_bits,
            ]  # fmt: skip
            if not self._calibrated:
                row.append(False)
            if self._demo:
                row += [self._prior.places[index].name, self._prior.places[index].probability]
            rows.append(row)
        return rows

    def _features(self, answer: Answer) -> list[dict[str, Any]]:
        fields = {"demo": True} if self._demo else {}
        if not self._calibrated:
            fields["calibrated"] = False
        return [
            {
                "type": "Feature",
                "geometry": {"type": "Point", "coordinates": [place["lng"], place["lat"]]},
                "properties": {"photo": valid_text(answer.photo), **place, **fields},
            }
            for place in answer.prediction.to_dict()["predictions"]
        ]

    def _print(self, answer: Answer) -> None:
        prediction, console = answer.prediction, self._console
        console.print(printable(answer.photo), style="bold")
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for name in ("", *_PLACE_HEADS, *(_PRIOR_HEADS if self._demo else ())):
            table.add_column(
                name,
                justify="left" if name in _NAME_HEADS else "right",
                no_wrap=True,
                # There is no ellipsis in ASCII.
                overflow="crop" if console.options.ascii_only else "ellipsis",
                style="dim" if len(table.columns) > len(_PLACE_HEADS) else "",
            )
        for index, place in enumerate(prediction.places):
            row = [str(place.rank), _shown(place), f"{place.probability:.2%}"]
            row.append(f"{place.lat:.2f}, {place.lng:.2f}")
            if self._demo:
                other = self._prior.places[index]
                row += [_shown(other), f"{other.probability:.2%}"]
            table.add_row(*(showable(cell, console) for cell in row))
        self._shorten_names(table)
        console.print(table)
        for line in self._remarks(prediction):
            console.print(printable(line))
        console.print()

    def _shorten_names(self, table: Table) -> None:
        names = [column for column in table.columns if column.header in _NAME_HEADS]
        # A cell without a name has an id, which can be copied from the table and is kept whole.
        ids = [
            len(cell) for column in names for cell in map(str, column.cells) if cell.startswith(_ID)
        ]
        room = min(terminal_width(), _WIDEST_TABLE)
        for width in range(_WIDEST_NAME, max([_NARROWEST_NAME, *ids]) - 1, -1):
            for column in names:
                column.max_width = width
            if Measurement.get(self._console, self._console.options, table).maximum <= room:
                return

    def _remarks(self, prediction: Prediction) -> list[str]:
        best, manifest = prediction.best, self._bundle.manifest
        half, most = prediction.radius_km(0.5), prediction.radius_km(0.9)
        lines = [
            f"best single guess: {_shown(best)} ({best.lat:.3f}, {best.lng:.3f})",
            f"50 % of the probability lies within {half:,.0f} km of it, 90 % within {most:,.0f} km",
            f"the photo moved the answer by {prediction.information_bits:.2f} bits",
        ]
        if not prediction.calibrated:
            lines.append(
                "not calibrated: nobody has compared these probabilities with how often they are"
                " right"
            )
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
    return place.name or f"{_ID}{place.cell}"
