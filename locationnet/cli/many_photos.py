"""Many photos' answers for people: a row for each, the prior once, and how many there were of what.

Knows predictions and the terminal; not where photos come from.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from locationnet.cli.formats import Answer
from locationnet.cli.one_photo import UNCALIBRATED, Detail, prior_text, shortened
from locationnet.cli.terminal import people_console, readable, showable, terminal_width, wrapped
from locationnet.names import printable

if TYPE_CHECKING:  # the command line reads this module before it knows that it needs NumPy
    from locationnet.model.bundle import Bundle
    from locationnet.model.prediction import Prediction

_HEADS = ("share", "lift", "radius", "")
# As wide as a share, a lift, a radius and a flag mostly are.
_WIDTHS = (5, 6, 8, 9)
_GAP = 2
# Names of photos have at least the room of their head.
_NARROWEST_PLACE, _WIDEST_PLACE, _NARROWEST_NAME = 22, 44, 5


class Rows:
    """Writes a row for each photo; see `locationnet.cli.formats.Writer`.

    Parameters
    ----------
    bundle, prior
        As for `locationnet.cli.one_photo.Detail`.
    photos
        The names of all photos, those that will turn out not to be readable included.
    hint
        What to say at the end of what else could be done.
    verbose
        Whether all is told of each photo rather than a row.
    """

    def __init__(
        self,
        bundle: Bundle,
        prior: Prediction,
        photos: Sequence[str],
        *,
        hint: str,
        verbose: bool,
    ) -> None:
        self._manifest, self._prior, self._hint = bundle.manifest, prior, hint
        self._detail = Detail(bundle, prior, verbose=True) if verbose else None
        self._console = people_console()
        self._all, self._written, self._located = len(photos), 0, 0
        rest = sum(_WIDTHS) + _GAP * (len(_WIDTHS) + 1)
        width = terminal_width()
        names = [cell_len(readable(photo, self._console)) for photo in photos]
        # A longer name has a line of its own, above the rest of its row.
        fits = [name for name in names if name + rest + _NARROWEST_PLACE <= width]
        self._name_width = max([_NARROWEST_NAME, *fits])
        self._place_width = max(
            _NARROWEST_PLACE, min(_WIDEST_PLACE, width - self._name_width - rest)
        )

    def write(self, answer: Answer) -> None:
        """Print one row."""
        self._located += answer.prediction.likely is not None
        self._written += 1
        if self._detail is not None:
            self._detail.write(answer)
            return
        if self._written == 1:
            self._console.print(Text(self._row("photo", "place", _HEADS), "underline"))
        name = readable(answer.photo, self._console)
        place, numbers = _told(answer.prediction)
        place = shortened(showable(place, self._console), self._place_width)
        style = "dim" if answer.prediction.likely is None else ""
        self._console.print(Text(self._row(name, place, numbers), style))

    def _row(self, name: str, place: str, numbers: Sequence[str]) -> str:
        *figures, flag = numbers
        cells = [
            _cell(name, self._name_width, 0),
            _cell(place, self._place_width, self._name_width + _GAP),
            *(figure.rjust(width) for figure, width in zip(figures, _WIDTHS, strict=False)),
            flag,
        ]
        return (" " * _GAP).join(cells).rstrip()

    def close(self) -> None:
        """Print the prior and the counts."""
        if self._written and self._detail is None:
            self._console.print()
            notes = [prior_text(self._prior)] if self._manifest.demo else []
            if not self._manifest.calibrated:
                notes.append(UNCALIBRATED)
            for note in (*notes, self._hint):
                self._console.print(Text(wrapped(printable(note)), "dim"))
        self._console.print(
            counts_text(self._located, self._written - self._located, self._all - self._written)
        )


def counts_text(located: int, unsure: int, failed: int) -> str:
    """Return how many photos there were of each kind; each is of one.

    Parameters
    ----------
    located
        Answers that name a place: "Probably …".
    unsure
        The other answers, those that abstain included.
    failed
        Photos that could not be read.
    """
    return f"{located:,} located, {unsure:,} not sure, {failed:,} failed"


def _told(prediction: Prediction) -> tuple[str, tuple[str, str, str, str]]:
    """Return the place of a row, and its share, lift, radius and flag."""
    from locationnet.model.prediction import TELLING_KM
    from locationnet.model.summary import percent_text, times_text

    if prediction.abstained:
        return "-", ("", "", "", "abstained")
    likely, mode = prediction.likely, prediction.mode
    group = likely or next(iter((*prediction.cities, *prediction.countries)), None)
    if group is None:
        place, name = mode, mode.name or f"cell {mode.cell}"
        share, lift = mode.probability, mode.lift
    else:
        # A radius needs a point: of a country, say, that of its most probable city.
        city = prediction.roll_up(group.level).within(group, prediction.roll_up("city"))
        place, name = prediction.place((city or group).class_index), group.name
        if city is not None and group.level != "city":
            name += f": {prediction.layer.names.city[city.class_index]} first"
        share, lift = group.probability, group.lift
    km = prediction.radius_km(0.5, around=place)
    radius = f"{km:,.0f} km" if km < TELLING_KM else ""
    # In a column, signs are read faster than words.
    told = percent_text(share).replace("more than ", ">").replace("less than ", "<")
    return name, (told, times_text(lift), radius, "" if likely else "not sure")


def _cell(text: str, width: int, before: int) -> str:
    """Return text as wide as its column; the row goes on below what is wider."""
    if cell_len(text) > width:
        return f"{text}\n{' ' * (before + width)}"
    return set_cell_size(text, width)
