"""What others have published on the same benchmarks, each row with where it was seen.

Knows a table that ships with the package; nothing of our own metrics.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from importlib.resources import files

from locationnet.geo.sphere import THRESHOLDS_KM


@dataclass(frozen=True)
class PublishedRow:
    """One published result.

    Parameters
    ----------
    model, year
        What was measured, and when it was published.
    within
        Share of photos within each of 1, 25, 200, 750 and 2500 km, by radius; the radii that were
        not given are missing.
    seen_in
        Where the metrics were read, which need not be the paper itself.
    """

    model: str
    year: int
    within: dict[float, float]
    seen_in: str


def published(benchmark: str) -> list[PublishedRow]:
    """Return the published rows of a benchmark, oldest first; none for one that nobody else has."""
    text = files("locationnet.evaluation").joinpath("published.csv").read_text(encoding="utf-8")
    rows = [
        PublishedRow(
            row["model"],
            int(row["year"]),
            {
                limit: float(row[f"km{limit:g}"]) / 100
                for limit in THRESHOLDS_KM
                if row[f"km{limit:g}"]
            },
            row["seen_in"],
        )
        for row in csv.DictReader(text.splitlines())
        if row["benchmark"] == benchmark
    ]
    return sorted(rows, key=lambda row: row.year)
