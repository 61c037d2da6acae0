"""Answers for programs: JSON, JSONL, CSV, GeoJSON and KML on standard output.

Knows nothing of where photos come from or how they are located; what people read is in
`one_photo` and `many_photos`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

from locationnet.cli.terminal import csv_name, data_output, json_text
from locationnet.files import csv_writer
from locationnet.names import valid_text

if TYPE_CHECKING:  # the command line reads this module before it knows that it needs NumPy
    from locationnet.model.bundle import Bundle
    from locationnet.model.prediction import Prediction

Format = Literal["table", "json", "jsonl", "csv", "csv-ranked", "geojson", "kml"]

_RANKED = (
    "rank", "probability", "lift", "lat", "lng", "cell", "level", "place", "abstained",
    "information_bits", "calibrated",
)  # fmt: skip


@dataclass(frozen=True)
class Answer:
    """A photo's name with its prediction."""

    photo: str
    prediction: Prediction


class Writer(Protocol):
    """Writes answers as they come."""

    def write(self, answer: Answer) -> None:
        """Write one answer, or keep it for `close` where the format is a single document."""

    def close(self) -> None:
        """Write what belongs after the last answer."""


class JsonWriter:
    """Writes the service's answers: one document, or with `lines` one in each line.

    Parameters
    ----------
    bundle
        Where the answers come from.
    prior
        The answer without a photo, which goes with a demo's.
    lines
        Whether it is JSONL.
    """

    def __init__(self, bundle: Bundle, prior: Prediction, *, lines: bool) -> None:
        self._bundle, self._prior, self._lines = bundle, prior, lines
        self._file = data_output()
        self._waiting: list[dict[str, Any]] = []

    def write(self, answer: Answer) -> None:
        """See `Writer`."""
        from locationnet.model.answer import answer as told

        fields = {
            "photo": valid_text(answer.photo),
            **told(self._bundle, answer.prediction, self._prior),
        }
        if self._lines:
            self._file.write(json_text(fields, self._file) + "\n")
        else:
            self._waiting.append(fields)

    def close(self) -> None:
        """See `Writer`."""
        if not self._lines:
            self._file.write(json_text(self._waiting, self._file, indent=1) + "\n")


class CsvWriter:
    """Writes a row for each photo, or with `ranked` one for each of its places.

    Parameters
    ----------
    bundle, prior
        As for `JsonWriter`.
    ranked
        Whether all places get rows.
    """

    def __init__(self, bundle: Bundle, prior: Prediction, *, ranked: bool) -> None:
        from locationnet.model.answer import ROW

        self._prior, self._ranked = prior, ranked
        self._demo = bundle.manifest.demo
        self._file = data_output()
        self._rows = csv_writer(self._file)
        columns = ["photo", *(_RANKED if ranked else ROW)]
        if self._demo:
            columns += ["prior_place", "prior_probability"]
        self._rows.writerow(columns)

    def write(self, answer: Answer) -> None:
        """See `Writer`."""
        photo = csv_name(answer.photo, self._file)
        for rank, values in enumerate(self._values(answer.prediction)):
            row: list[object] = [photo, *values]
            if self._demo:
                before = self._prior.places[rank]
                row += [before.name, before.probability]
            self._rows.writerow(row)

    def _values(self, prediction: Prediction) -> list[list[object]]:
        from locationnet.model.answer import answer_row

        if not self._ranked:
            return [list(answer_row(prediction).values())]
        return [
            [
                place.rank, place.probability, place.lift, place.lat, place.lng, place.cell,
                place.level, place.name, prediction.abstained, prediction.information_bits,
                prediction.calibrated,
            ]
            for place in prediction.places
        ]  # fmt: skip

    def close(self) -> None:
        """See `Writer`."""


class GeoJsonWriter:
    """Writes a feature collection; see `locationnet.model.features.features`."""

    def __init__(self) -> None:
        self._file = data_output()
        self._waiting: list[dict[str, Any]] = []

    def write(self, answer: Answer) -> None:
        """See `Writer`."""
        from locationnet.model.features import features

        self._waiting += features(answer.photo, answer.prediction)

    def close(self) -> None:
        """See `Writer`."""
        document = {"type": "FeatureCollection", "features": self._waiting}
        self._file.write(json_text(document, self._file, indent=1) + "\n")


class KmlWriter:
    """Writes a folder for each photo; see `locationnet.model.kml.folder`."""

    def __init__(self) -> None:
        from locationnet.model import kml

        self._kml, self._file = kml, data_output()
        self._file.write(kml.START)

    def write(self, answer: Answer) -> None:
        """See `Writer`."""
        self._file.write(self._kml.folder(answer.photo, answer.prediction))

    def close(self) -> None:
        """See `Writer`."""
        self._file.write(self._kml.END)


def program_writer(form: Format, bundle: Bundle, prior: Prediction) -> Writer:
    """Return the writer of a format that is not ``table``."""
    if form in ("json", "jsonl"):
        return JsonWriter(bundle, prior, lines=form == "jsonl")
    if form in ("csv", "csv-ranked"):
        return CsvWriter(bundle, prior, ranked=form == "csv-ranked")
    return GeoJsonWriter() if form == "geojson" else KmlWriter()
