"""Measures how fast predictions are scored, against a Python loop over them as in 2017.

The 2017 notebook computed the great-circle distance of one prediction at a time with `math` and
counted those within each radius. Both are timed in this run on generated predictions; the loop on
a part of them, since it takes minutes. Ours also computes medians, GeoScores, calibration, curves
and all intervals, clustered by uploader.

::

    python scripts/bench_evaluate.py
"""

from __future__ import annotations

import argparse
import math
import time

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from locationnet.evaluation.benchmarks import Rule
from locationnet.evaluation.bootstrap import Bootstrap
from locationnet.evaluation.scores import guess, kilometres, model_scores
from locationnet.geo.sphere import EARTH_RADIUS_KM, THRESHOLDS_KM

TOP = 5
LOOPED = 200_000
UPLOADERS = 30_000


def answers(photos: int) -> tuple[pa.Table, NDArray[np.int64]]:
    """Return generated answers in the form that `evaluate` keeps, and their uploaders."""
    random = np.random.default_rng(0)
    lat = np.degrees(np.arcsin(random.uniform(-1, 1, photos)))
    lng = random.uniform(-180, 180, photos)
    error = 10 ** random.uniform(-2, 2, (TOP, photos))
    top_lat = np.clip(lat + error * random.standard_normal((TOP, photos)), -90, 90)
    top_lng = (lng + error * random.standard_normal((TOP, photos)) + 180) % 360 - 180
    offsets = np.arange(0, TOP * photos + 1, TOP, dtype=np.int32)

    def lists(values: NDArray[np.float64]) -> pa.ListArray:
        return pa.ListArray.from_arrays(offsets, values.T.ravel())

    probability = random.uniform(0, 1, photos)
    table = pa.table(
        {
            "id": np.arange(photos).astype(str),
            "lat": lat, "lng": lng,
            "problem": pa.nulls(photos, pa.string()),
            "mode_lat": top_lat[0], "mode_lng": top_lng[0], "mode_probability": probability,
            "best_lat": top_lat[1], "best_lng": top_lng[1],
            "top_lat": lists(top_lat), "top_lng": lists(top_lng),
            "rank": random.integers(0, 100, photos),
            "near_probability": probability, "near_prior": probability / 2,
            "radius_50_km": error[0], "radius_90_km": 3 * error[0],
            "information_bits": 5 * probability, "abstained": probability < 0.1,
        }
    )  # fmt: skip
    return table, random.integers(0, UPLOADERS, photos)


def distance(one: tuple[float, float], other: tuple[float, float]) -> float:
    """Return the great-circle distance of two points in degrees, kilometres."""
    lat, lng, to_lat, to_lng = map(math.radians, (*one, *other))
    up, across = (to_lat - lat) / 2, (to_lng - lng) / 2
    inside = math.sin(up) ** 2 + math.cos(lat) * math.cos(to_lat) * math.sin(across) ** 2
    return 2 * EARTH_RADIUS_KM * math.asin(math.sqrt(inside))


def loop(table: pa.Table) -> list[float]:
    """Return the share within each radius, one prediction after the other."""
    within = [0] * len(THRESHOLDS_KM)
    names = ("lat", "lng", "mode_lat", "mode_lng")
    for lat, lng, to_lat, to_lng in zip(*(table[n].to_pylist() for n in names), strict=True):
        km = distance((lat, lng), (to_lat, to_lng))
        for index, limit in enumerate(THRESHOLDS_KM):
            if km <= limit:
                within[index] += 1
    return [count / table.num_rows for count in within]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--photos", type=int, default=1_500_000)
    photos = parser.parse_args().photos
    table, who = answers(photos)
    part = table.slice(0, LOOPED)
    began = time.perf_counter()
    looped = loop(part)
    per_photo = (time.perf_counter() - began) / part.num_rows
    print(f"2017's loop            {per_photo * 1e6:8.2f} us a prediction")

    def distances(of: pa.Table) -> NDArray[np.float64]:
        names = ("lat", "lng", "mode_lat", "mode_lng")
        return kilometres(Rule(), *(of[name].to_numpy() for name in names))

    began = time.perf_counter()
    km = distances(table)
    counted = [np.count_nonzero(km <= limit) / photos for limit in THRESHOLDS_KM]
    same = (time.perf_counter() - began) / photos
    np.testing.assert_allclose(guess(distances(part), Rule(), Bootstrap.of(None, part.num_rows))
                               .within[THRESHOLDS_KM[0]].value, looped[0])  # fmt: skip
    print(f"the same, vectorised   {same * 1e6:8.2f} us  {per_photo / same:6.1f}x")
    began = time.perf_counter()
    found = model_scores(table, Rule(), Bootstrap(who))
    seconds = time.perf_counter() - began
    assert found["mode"].within[THRESHOLDS_KM[0]].value == counted[0]  # noqa: S101 - the two agree
    print(
        f"all measures           {seconds / photos * 1e6:8.2f} us"
        f"  {per_photo / (seconds / photos):6.1f}x  ({seconds:.1f} s for {photos:,} predictions)"
    )


if __name__ == "__main__":
    main()
