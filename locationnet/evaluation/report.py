"""A benchmark's results as a table for people and as JSON for programs.

Knows measures and how they read; not how they were measured.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from locationnet.evaluation.benchmarks import Benchmark
from locationnet.evaluation.bootstrap import Interval
from locationnet.evaluation.calibration import INFORMATION_KM
from locationnet.evaluation.published import published
from locationnet.evaluation.scores import Floats, Guess
from locationnet.names import printable


@dataclass(frozen=True)
class Results:
    """Everything that was measured.

    Parameters
    ----------
    benchmark
        The photos.
    model
        Name, version, demo or not, precision; or the name of a file of answers.
    guesses
        By name: the model's, then those that need no photo, then the oracle upper bound.
    measures
        The model's other measures, see `locationnet.evaluation.scores.model_scores`; those that
        nobody can know of answers alone are missing.
    clusters
        How many draws the intervals stand on, and of what.
    paired
        Against another model, where one was given.
    notes
        What a reader must know.
    problems
        Photos that count as wrong without an answer, and why.
    """

    benchmark: Benchmark
    model: Mapping[str, Any]
    guesses: Mapping[str, Guess]
    measures: Mapping[str, Any]
    clusters: str
    paired: Mapping[str, Interval] | None = None
    notes: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """What was measured, and on what."""
        model = " ".join(self.model[name] for name in ("name", "version") if name in self.model)
        return f"{model} on {self.benchmark.name}"

    @property
    def broken(self) -> str:
        """How many photos count as wrong without an answer, ``""`` for none."""
        count = self.measures["broken"]
        if not count:
            return ""
        why = "have no prediction" if FIRST_ANSWER in self.guesses else "could not be read"
        return f"{count:,} photos {why} and count as wrong"

    def errors_km(self, *names: str) -> dict[str, Floats]:
        """Return how far off each photo's answer is, float64 ``(n,)``, for guesses by name.

        A guess that was not made, or answers no photos (anywhere), is left out.
        """
        errors = {name: self.guesses[name].km for name in names if name in self.guesses}
        return {name: km for name, km in errors.items() if km is not None}


# What stands in a file of answers, in whose model's place nobody knows more.
FIRST_ANSWER = "first answer"
_LEAST_NAME = 25
# Where a table has its intervals, from the widest table to the narrowest.
_Intervals = Literal["beside", "below", "none"]
# Unreadable photos that the printed report names.
_SHOWN = 10
SHARES = {
    "top1": "true cell named first",
    "top5_accuracy": "true cell among the first five",
    "country": "country of first answer right",
    "region": "region of first answer right",
    "inside_50": "truth inside the 50 % radius",
    "inside_90": "truth inside the 90 % radius",
    "abstained": "abstained",
}


def as_json(results: Results) -> dict[str, Any]:
    """Return results as plain JSON values; an interval is [value, low, high]."""
    measures = results.measures
    fields = {
        "benchmark": results.benchmark.name,
        "photos": len(results.benchmark),
        "broken": measures["broken"],
        "rule": str(results.benchmark.rule),
        "intervals": f"95 %, bootstrap over {results.clusters}",
        "model": dict(results.model),
        "guesses": {name: _guess_json(one) for name, one in results.guesses.items()},
        **{name: list(measures[name]) for name in SHARES if name in measures},
    }
    if "reliability" in measures:
        fields |= {
            "information_bits": list(measures["information_bits"]),
            "expected_calibration_error": measures["calibration_error"],
            "reliability": [
                {"confidence": confidence, "accuracy": right, "photos": photos}
                for confidence, right, photos in zip(
                    *(part.tolist() for part in measures["reliability"]), strict=True
                )
                if photos
            ],
            "risk_coverage_area": measures["risk_coverage"].area,
            "over_prior": {name: list(one) for name, one in measures["over_prior"].items()},
        }
    return {
        **fields,
        "paired": results.paired and {name: list(one) for name, one in results.paired.items()},
        "notes": [*results.benchmark.notes, *results.notes],
        "problems": list(results.problems),
        "published": [asdict(row) for row in published(results.benchmark.name)],
    }


def print_report(results: Results, console: Console) -> None:
    """Print the table."""
    benchmark = results.benchmark

    def say(text: str, *, whole: bool = False) -> None:
        # Names of files may hold anything, markup included, and are not broken.
        console.print(printable(text), markup=False, emoji=False, soft_wrap=whole)

    say(
        f"{benchmark.name}: {len(benchmark):,} photos, {benchmark.rule}; 95 % intervals by"
        f" bootstrap over {results.clusters}"
    )
    if results.broken:
        say(results.broken)
    _print_guesses(results, console)
    for label, text in other_measures(results):
        say(f"{label:32} {text}")
    for name, gain in (results.paired or {}).items():
        text = f"{gain.value:+.4g} [{gain.low:+.4g}, {gain.high:+.4g}]"
        say(f"{'against the other, ' + name:32} {text}")
    for note in (*benchmark.notes, *results.notes, *results.problems[:_SHOWN]):
        say(f"note: {note}", whole=True)
    if len(results.problems) > _SHOWN:
        say(f"note: {len(results.problems) - _SHOWN} more photos are in report.json")


def _print_guesses(results: Results, console: Console) -> None:
    """Print how near each guess comes, as a table where there is room for one."""
    rows = _rows(results)
    for where in get_args(_Intervals):
        table = _table(results, rows, where)
        # Long names may take two lines.
        spare = max(0, max(map(len, rows)) - _LEAST_NAME)
        if _width(table, console) - spare <= console.width:
            console.print(table)
            if where == "none":
                text = "95 % intervals: in the report, or here in a wider terminal"
                console.print(text, soft_wrap=False)
            return
    limits = [f"{limit:g} km" for limit in results.benchmark.rule.thresholds_km]
    labels = [*(f"within {limit}, %:" for limit in limits), "median km:", "GeoScore:"]
    for name, texts in rows.items():
        known = (f"{label} {text}" for label, text in zip(labels, texts, strict=True) if text)
        console.print(Text(f"{name}: {'; '.join(known)}"), soft_wrap=False)


def _rows(results: Results) -> dict[str, list[str]]:
    """Return what is known of each guess, by name: shares by radius, median and GeoScore."""
    limits = results.benchmark.rule.thresholds_km
    rows = {
        name: [
            *(share(one.within[limit], unit="") for limit in limits),
            number(one.median_km),
            number(one.geoscore),
        ]
        for name, one in results.guesses.items()
    }
    for row in published(results.benchmark.name):
        shares = (row.within.get(limit) for limit in limits)
        texts = ("" if one is None else f"{100 * one:.1f}" for one in shares)
        rows[f"{row.model}, {row.year} (published)"] = [*texts, "", ""]
    return rows


def _table(results: Results, rows: dict[str, list[str]], intervals: _Intervals) -> Table:
    padding = (0, 1) if intervals == "beside" else (0, 1, 0, 0)
    table = Table(box=None, header_style="none", pad_edge=False, padding=padding)
    table.add_column("% within", overflow="fold")
    for limit in results.benchmark.rule.thresholds_km:
        table.add_column(f"{limit:g} km", justify="right", no_wrap=True)
    for name in ("median km", "GeoScore"):
        table.add_column(name, justify="right", no_wrap=True)

    def cell(text: str) -> Text:
        value, bracket, interval = text.partition(" [")
        if bracket and intervals != "none":
            return Text(text if intervals == "beside" else f"{value}\n[{interval}")
        return Text(value)

    for name, texts in rows.items():
        table.add_row(Text(name), *map(cell, texts))
    return table


def _width(table: Table, console: Console) -> int:
    """Return how wide a table is where there is room for all of it."""
    roomy = console.options.update(max_width=10_000)
    return Measurement.get(console, roomy, table).maximum


def other_measures(results: Results) -> list[tuple[str, str]]:
    """Return the measures besides distances as labels and texts, those that are known."""
    measures = results.measures
    rows = [(label, share(measures[name])) for name, label in SHARES.items() if name in measures]
    if "information_bits" in measures:
        bits = measures["information_bits"]
        raised = f"{bits.value:+.2f} [{bits.low:+.2f}, {bits.high:+.2f}] bits"
        rows += [
            ("information over the prior", f"{raised} within {INFORMATION_KM:g} km"),
            ("expected calibration error", f"{measures['calibration_error']:.1%}"),
        ]
    return rows


def _guess_json(one: Guess) -> dict[str, Any]:
    return {
        "within_km": {f"{limit:g}": list(share) for limit, share in one.within.items()},
        "median_km": one.median_km and list(one.median_km),
        "mean_km": one.mean_km and list(one.mean_km),
        "geoscore": list(one.geoscore),
    }


def share(one: Interval, unit: str = " %") -> str:
    """Return a share as a percentage with its interval."""
    if one.low == one.high:
        return f"{100 * one.value:.1f}{unit}"
    return f"{100 * one.value:.1f}{unit} [{100 * one.low:.1f}, {100 * one.high:.1f}]"


def number(one: Interval | None) -> str:
    """Return a number with its interval, or nothing."""
    if one is None:
        return ""
    if one.low == one.high:
        return f"{one.value:,.0f}"
    return f"{one.value:,.0f} [{one.low:,.0f}, {one.high:,.0f}]"
