"""Measures proposals for photos without a place on a real trip, beside the nearest photo in time.

The places of all but a random fifth of the photos are hidden, ten times over. Each draw compares
the nearest photo in time (ties to the first row) with proposals from time alone and, with --model,
with those on which a model has been heard as well. Intervals are of the difference of paired draws:
95 %, by bootstrap over draws. Nothing is written.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from locationnet.geo.sphere import THRESHOLDS_KM, geoscore, great_circle_km
from locationnet.library.catalog import Photo
from locationnet.library.model_voice import model_voice
from locationnet.library.photo_facts import Facts
from locationnet.library.propose import Voice, propose
from locationnet.model.locator import load_model

FloatArray = NDArray[np.float64]
Draw = NDArray[np.bool_]

TRIP = Path(__file__).parents[1] / ".." / "shared" / "data" / "trip.csv"
DRAWS = 10
KNOWN = 0.2


class Trip:
    """Photos with the truth that a draw hides."""

    def __init__(self, table: Path) -> None:
        with table.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        self.paths = [table.parent / row["path"] for row in rows]
        self.lat = np.array([float(row["lat"]) for row in rows])
        self.lng = np.array([float(row["lng"]) for row in rows])
        times = [datetime.fromisoformat(row["time"]).replace(tzinfo=UTC) for row in rows]
        self.seconds = np.array([time.timestamp() for time in times])

    def photos(self, known: Draw) -> list[Photo]:
        """Return the photos as a scan would, had only those known a place."""
        return [
            Photo(
                number, path, 0, 0, number.to_bytes(16, "big"),
                Facts(
                    "JPEG", taken=float(self.seconds[at]),
                    lat=float(self.lat[at]) if known[at] else None,
                    lng=float(self.lng[at]) if known[at] else None,
                ),
                (),
            )
            for at, (number, path) in enumerate(enumerate(self.paths, 1))
        ]  # fmt: skip

    def off_km(self, known: Draw, lat: Sequence[float], lng: Sequence[float]) -> FloatArray:
        """Return how far off the answers for the others are, in order."""
        return great_circle_km(self.lat[~known], self.lng[~known], lat, lng)

    def nearest(self, known: Draw) -> FloatArray:
        """Return how far off the nearest known photo in time is."""
        own = np.flatnonzero(known)
        gaps = np.abs(self.seconds[own][None] - self.seconds[~known][:, None])
        first = own[np.argmin(gaps, axis=1)]
        return self.off_km(known, self.lat[first].tolist(), self.lng[first].tolist())

    def proposed(self, known: Draw, voice: Voice | None) -> tuple[FloatArray, float]:
        """Return how far off proposals are, and which share lies in its 50 % radius."""
        found = propose(self.photos(known), voice=voice).proposals
        answers = [found[at + 1] for at in np.flatnonzero(~known).tolist()]
        km = self.off_km(known, [it.lat for it in answers], [it.lng for it in answers])
        return km, float(np.mean(km <= [it.radius_50_km for it in answers]))


def metrics(km: FloatArray) -> FloatArray:
    """Return the shares within each distance, per cent, and the mean GeoScore."""
    shares = [100 * float((km <= limit).mean()) for limit in THRESHOLDS_KM]
    return np.array([*shares, float(geoscore(km).mean())])


def compare(name: str, measured: FloatArray, against: FloatArray) -> None:
    """Print the means over draws, and the paired differences with their intervals."""
    difference = measured - against
    again = np.random.default_rng(0).integers(0, len(difference), (10_000, len(difference)))
    low, high = np.percentile(difference[again].mean(axis=1), [2.5, 97.5], axis=0)
    print(row(name, measured.mean(axis=0)))
    told = [
        f"{one:+.2f} [{two:+.2f}, {three:+.2f}]"
        for one, two, three in zip(difference.mean(axis=0), low, high, strict=True)
    ]
    print("  difference: " + "  ".join(told))


def row(name: str, values: FloatArray) -> str:
    """Return one line of the table."""
    return f"{name:28}" + "".join(f"{value:8.2f}" for value in values[:-1]) + f"{values[-1]:10.1f}"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", type=Path, nargs="?", default=TRIP)
    parser.add_argument("--model", help="a bundle's name or directory: measure it as a voice too")
    options = parser.parse_args()
    trip = Trip(options.table)
    draws = [np.random.default_rng(s).random(len(trip.seconds)) < KNOWN for s in range(DRAWS)]
    head = "".join(f"{f'{limit:g} km':>8}" for limit in THRESHOLDS_KM)
    print(f"{len(trip.seconds)} photos, {KNOWN:.0%} of them known, {DRAWS} draws; per cent within")
    print(f"{'':28}{head}{'GeoScore':>10}")
    nearest = np.array([metrics(trip.nearest(known)) for known in draws])
    print(row("nearest photo in time", nearest.mean(axis=0)))
    time = measure("time", lambda known: trip.proposed(known, None), draws, nearest)
    if options.model:
        voice = model_voice(load_model(options.model))
        measure(f"time and {options.model}", lambda known: trip.proposed(known, voice), draws, time)


def measure(
    name: str,
    proposed: Callable[[Draw], tuple[FloatArray, float]],
    draws: Sequence[Draw],
    against: FloatArray,
) -> FloatArray:
    """Measure one way to propose on all draws, and print it against another."""
    results = [proposed(known) for known in draws]
    measured = np.array([metrics(km) for km, _ in results])
    compare(name, measured, against)
    inside = [share for _, share in results]
    print(f"  within the 50 % radius: {np.mean(inside):.1%} of the truths")
    return measured


if __name__ == "__main__":
    main()
