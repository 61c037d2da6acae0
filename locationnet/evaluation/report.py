"""A benchmark's results as a table for people and as JSON for programs.

Knows measures and how they read; not how they were measured.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

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

    def say(text: str) -> None:  # names of files may hold anything, markup included
        console.print(printable(text), markup=False, emoji=False, soft_wrap=True)

    say(
        f"{benchmark.name}: {len(benchmark):,} photos, {benchmark.rule}; 95 % intervals by"
        f" bootstrap over {results.clusters}"
    )
    if results.broken:
        say(results.broken)
    table = Table(box=None, header_style="none", pad_edge=False)
    table.add_column("% within", no_wrap=True)
    limits = benchmark.rule.thresholds_km
    for limit in limits:
        table.add_column(f"{limit:g} km", justify="right", no_wrap=True)
    for name in ("median km", "GeoScore"):
        table.add_column(name, justify="right", no_wrap=True)
    for name, one in results.guesses.items():
        table.add_row(
            name,
            *(share(one.within[limit], unit="") for limit in limits),
            number(one.median_km),
            number(one.geoscore),
        )
    for row in published(benchmark.name):
        shares = (row.within.get(limit) for limit in limits)
        texts = ("" if one is None else f"{100 * one:.1f}" for one in shares)
        table.add_row(f"{row.model}, {row.year}", *texts, "", "(published)")
    console.print(table)
    for label, text in other_measures(results):
        say(f"{label:32} {text}")
    for name, gain in (results.paired or {}).items():
        text = f"{gain.value:+.4g} [{gain.low:+.4g}, {gain.high:+.4g}]"
        say(f"{'against the other, ' + name:32} {text}")
    for note in (*benchmark.notes, *results.notes, *results.problems[:_SHOWN]):
        say(f"note: {note}")
    if len(results.problems) > _SHOWN:
        say(f"note: {len(results.problems) - _SHOWN} more photos are in report.json")


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
