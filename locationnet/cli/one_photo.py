"""One photo's answer for people: what can be believed first, numbers later, codes at the end.

Knows predictions and the terminal; not where photos come from.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from locationnet.cli.formats import Answer
from locationnet.cli.terminal import people_console, showable, terminal_width, wrapped
from locationnet.names import printable

if TYPE_CHECKING:  # the command line reads this module before it knows that it needs NumPy
    from locationnet.model.bundle import Bundle
    from locationnet.model.prediction import Place, Prediction

# Wider than this, the eye loses the line.
_WIDEST_TABLE, _WIDEST_NAME, _NARROWEST_NAME = 100, 44, 12
_GAP = 2

# As many look-alikes are told without -v.
_FEW_NEIGHBOURS = 3


class Detail:
    """Writes all that is known of a photo; see `locationnet.cli.formats.Writer`.

    Parameters
    ----------
    bundle
        Where the answers come from.
    prior
        The answer without a photo, told with a demo's.
    verbose
        Whether cells, bits and evidence are shown too, and what is left of an abstained answer.
    """

    def __init__(self, bundle: Bundle, prior: Prediction, *, verbose: bool) -> None:
        self._manifest, self._prior, self._verbose = bundle.manifest, prior, verbose
        self._console = people_console()

    def write(self, answer: Answer) -> None:
        """Print one answer."""
        prediction = answer.prediction
        self._console.print(printable(answer.photo))
        self._say(prediction.summary, "bold")
        if prediction.abstained:
            from locationnet.model.summary import WHAT_HELPS

            self._say(WHAT_HELPS)
        if prediction.abstained and not self._verbose:
            self._say("-v shows what is left of the answer.", "dim")
        else:
            self._write_answer(prediction)
        self._console.print()

    def close(self) -> None:
        """Do nothing: each answer is complete."""

    def _write_answer(self, prediction: Prediction) -> None:
        from locationnet.model.summary import hint_text, percent_text, times_text

        if prediction.explanation:
            self._say(prediction.explanation)
        self._say(_half_within(prediction, prediction.mode, "half of the probability lies"))
        # Where nothing is likely, the most probable places are those where most photos are taken.
        raised = () if prediction.likely else prediction.raised
        for heads, groups in (
            (("the photo raised", "share", "lift", "cells"), raised),
            (("country", "share", "lift"), prediction.countries),
            (("city", "share", "lift", "cells"), prediction.cities),
        ):
            rows = [
                (one.name, percent_text(one.probability), times_text(one.lift), f"{one.cells:,}")
                for one in groups
            ]
            self._write_table(heads, rows)
        if self._verbose or not (prediction.countries or prediction.cities):
            self._write_cells(prediction)
        else:
            self._console.print()
        self._write_table(
            ("look-alike", "similarity", "where", "whose"),
            [
                (
                    one.id,
                    f"{one.similarity:.2f}",
                    f"{one.lat:.4f}, {one.lng:.4f}",
                    " · ".join(filter(None, (one.author, one.licence, one.page))),
                )
                for one in prediction.neighbours[: None if self._verbose else _FEW_NEIGHBOURS]
            ],
        )
        if prediction.hint is not None:
            self._say(hint_text(prediction.hint, prediction.hint_rate))
        best = prediction.best
        self._say(
            f"best (the point with the highest expected GeoScore): {_shown(best)}"
            f" ({best.lat:.3f}, {best.lng:.3f})"
            + _half_within(prediction, best, "; half of the probability lies"),
            "dim",
        )
        if self._manifest.demo:
            self._say(prior_text(self._prior), "dim")
        if not prediction.calibrated:
            self._say(UNCALIBRATED, "dim")
        self._write_codes(prediction)

    def _write_codes(self, prediction: Prediction) -> None:
        from locationnet.model.prediction import TELLING_BITS

        bits, name = prediction.information_bits, f"{self._manifest.name} {self._manifest.version}"
        demo = ", a demo: weak but real (MODEL_CARD.md)" if self._manifest.demo else ""
        seen = [
            f"{item.label} {item.probability:.2f} ({item.bits:.2f} bits)"
            for item in prediction.evidence
            if item.bits >= TELLING_BITS
        ]
        if self._verbose and seen:
            self._say(f"evidence: {', '.join(seen)}", "dim")
        more = "" if self._verbose else "; -v shows cells and evidence"
        self._say(f"details: {bits:.2f} bits from the photo; model {name}{demo}{more}", "dim")

    def _write_cells(self, prediction: Prediction) -> None:
        from locationnet.model.summary import percent_text, times_text

        rows = [
            (
                f"{place.rank} {_shown(place)}",
                percent_text(place.probability),
                times_text(place.lift),
                f"{place.lat:.2f}, {place.lng:.2f}",
                place.cell,
                str(place.level),
            )
            for place in prediction.places
        ]
        self._write_table(("most probable cells", "share", "lift", "lat, lng", "S2", "level"), rows)
        self._console.print()

    def _write_table(self, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        if not rows:
            return
        shown = [[showable(cell, self._console) for cell in row[: len(heads)]] for row in rows]
        widths = [max(map(cell_len, cells)) for cells in zip(heads, *shown, strict=True)]
        room = min(terminal_width(), _WIDEST_TABLE) - sum(widths[1:]) - _GAP * (len(heads) - 1)
        room = max(_NARROWEST_NAME, min(room, _WIDEST_NAME))
        for row in shown:
            row[0] = shortened(row[0], room)
        table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="underline")
        for head in heads:
            first = not table.columns
            # Names begin at one place in each table, and so do the shares behind them.
            table.add_column(
                head,
                justify="left" if first else "right",
                no_wrap=True,
                min_width=min(room, _WIDEST_NAME - _GAP) if first else None,
            )
        for row in shown:
            table.add_row(*row)
        self._console.print()
        self._console.print(table)

    def _say(self, text: str, style: str = "") -> None:
        if text:
            self._console.print(Text(wrapped(printable(text)), style))


UNCALIBRATED = (
    "not calibrated: nobody has compared these probabilities with how often they are right"
)


def prior_text(prior: Prediction) -> str:
    """Return where a model would look before it sees a photo."""
    from locationnet.model.summary import percent_text

    names = [(group.name, group.probability) for group in prior.countries]
    names = names or [(_shown(place), place.probability) for place in prior.places]
    told = ", ".join(f"{name} {percent_text(share)}" for name, share in names)
    return f"prior (no photo): {told}"


def shortened(name: str, room: int) -> str:
    """Return ``"city, region, country"`` without its region where it is wider than there is room.

    What is still too wide stays whole: the line it is in grows.
    """
    parts = name.split(", ")
    if cell_len(name) > room and len(parts) > 2:
        return f"{parts[0]}, {parts[-1]}"
    return name


def _half_within(prediction: Prediction, place: Place, what: str) -> str:
    """Return how near a place half of the probability is; ``""`` where it is all over the world."""
    from locationnet.model.prediction import TELLING_KM

    km = prediction.radius_km(0.5, around=place)
    return f"{what} within {km:,.0f} km of {_shown(place)}" if km < TELLING_KM else ""


def _shown(place: Place) -> str:
    return place.name or f"cell {place.cell}"
