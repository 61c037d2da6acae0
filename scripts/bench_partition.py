"""Measures cells, partition and labelling against s2sphere, and the memory of 39 million photos.

Knows only generated photos: towns of all sizes, one spot again and again, and some anywhere. Times
are the best of several runs on this machine; the ratios are what carries over to another one.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import s2sphere
from numpy.typing import NDArray

from locationnet.geo import s2
from locationnet.geo.grid import Grid
from locationnet.geo.partition import partition

CHUNK = 1 << 18
MANY = 39_000_000
MEMORY_LIMIT_MB = 600
MAX_PHOTOS, MIN_PHOTOS = 5000, 500
TOWNS = 20_000

FloatArray = NDArray[np.float64]
Points = list[tuple[float, float]]


@dataclass(frozen=True)
class Photos:
    """Generated photos that can be read again and again, the same each time."""

    count: int
    progress: bool = False

    def chunks(self) -> Iterator[tuple[FloatArray, FloatArray]]:
        """Yield coordinates in chunks, degrees."""
        rng = np.random.default_rng(1)
        town_lat = np.degrees(np.arcsin(rng.uniform(-1, 1, TOWNS)))
        town_lng = rng.uniform(-180, 180, TOWNS)
        reach = 10 ** rng.uniform(-5, -0.5, TOWNS)
        share = np.cumsum(rng.pareto(1.2, TOWNS))
        for number, start in enumerate(range(0, self.count, CHUNK)):
            size = min(CHUNK, self.count - start)
            rng = np.random.default_rng([2, number])
            town = np.searchsorted(share, rng.uniform(0, share[-1], size))
            lat = town_lat[town] + reach[town] * rng.standard_normal(size)
            lng = town_lng[town] + reach[town] * rng.standard_normal(size)
            anywhere = slice(None, None, 20)
            lat[anywhere] = np.degrees(np.arcsin(rng.uniform(-1, 1, len(lat[anywhere]))))
            lat[10::100], lng[10::100] = 48.858370, 2.294481
            yield np.clip(lat, -90, 90), (lng + 180) % 360 - 180
            if self.progress and (number % 32 == 31 or start + size == self.count):
                print(f"  {start + size:>12,} photos", file=sys.stderr, flush=True)

    def arrays(self) -> tuple[FloatArray, FloatArray]:
        """Return all coordinates at once."""
        lat, lng = zip(*self.chunks(), strict=True)
        return np.concatenate(lat), np.concatenate(lng)


def seconds(work: Callable[[], object], runs: int) -> float:
    """Return the shortest of several runs."""
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def leaf(point: tuple[float, float]) -> s2sphere.CellId:
    """Return a point's leaf cell as s2sphere computes it."""
    return s2sphere.CellId.from_lat_lng(s2sphere.LatLng.from_degrees(*point))


def plain_partition(points: Points, max_photos: int, min_photos: int) -> list[str]:
    """Partition as one would with s2sphere alone, centroids included; return the tokens."""
    by_face = defaultdict(list)
    for point in points:
        cell = leaf(point)
        by_face[cell.parent(0)].append((cell, point))
    tokens = []
    stack = sorted(by_face.items(), reverse=True)
    while stack:
        cell, members = stack.pop()
        if len(members) > max_photos and not cell.is_leaf():
            level = cell.level() + 1
            children = defaultdict(list)
            for member in members:
                children[member[0].parent(level)].append(member)
            stack += sorted(children.items(), reverse=True)
        elif len(members) >= min_photos:
            lat = sum(lat for _, (lat, _) in members) / len(members)
            lng = sum(lng for _, (_, lng) in members) / len(members)
            cell.contains(leaf((lat, lng)))
            tokens.append(cell.to_token())
    return tokens


def plain_classes(points: Points, classes: dict[str, int]) -> list[int]:
    """Label as s2sphere scripts do: climb the parents until one's token is in the grid."""
    found = []
    for point in points:
        cell = leaf(point)
        while (label := classes.get(cell.to_token(), -1)) < 0 and not cell.is_face():
            cell = cell.parent()
        found.append(label)
    return found


def check(same: bool) -> None:
    """Stop where the two sides do not agree: their times would mean nothing."""
    if not same:
        sys.exit("the results differ from s2sphere's")


def report(what: str, count: int, time_s: float, plain_s_a_point: float) -> None:
    """Print one line of the table."""
    rate, ratio = count / time_s, plain_s_a_point * count / time_s
    print(f"{what:<34}{rate:>12,.0f}{time_s / count * 1e9:>10,.0f}{ratio:>9,.0f}×")


def bench_leaf_ids(count: int, plain_count: int) -> None:
    """Time coordinates to leaf ids."""
    lat, lng = Photos(count).arrays()
    points = list(zip(lat[:plain_count].tolist(), lng[:plain_count].tolist(), strict=True))
    expected = [leaf(point).id() for point in points]
    check(s2.leaf_ids(lat[:plain_count], lng[:plain_count]).tolist() == expected)
    plain = seconds(lambda: [leaf(point).id() for point in points], 3) / plain_count
    report("leaf ids: s2sphere", 1, plain, plain)
    for threads in (1, 2):
        time_s = seconds(partial(s2.leaf_ids, lat, lng, threads=threads), 5)
        report(f"leaf ids: {threads} thread{'s' * (threads > 1)}", count, time_s, plain)


def bench_partition(count: int) -> Grid:
    """Time the whole partition, both passes and centroids; return the grid."""
    photos = Photos(count)
    lat, lng = photos.arrays()
    limits = max(1, MAX_PHOTOS * count // MANY), max(1, MIN_PHOTOS * count // MANY)
    points = list(zip(lat.tolist(), lng.tolist(), strict=True))
    start = time.perf_counter()
    tokens = plain_partition(points, *limits)
    plain = (time.perf_counter() - start) / count
    report("partition: s2sphere", 1, plain, plain)
    chunks = [
        (lat[start : start + CHUNK], lng[start : start + CHUNK]) for start in range(0, count, CHUNK)
    ]
    for threads in (1, 2):

        def made(threads: int = threads) -> Grid:
            return partition(
                lambda: chunks, max_photos=limits[0], min_photos=limits[1], threads=threads
            ).grid

        check(made().tokens == tokens)
        report(f"partition: {threads} thread{'s' * (threads > 1)}", count, seconds(made, 3), plain)
    return made()


def bench_assign(grid: Grid, count: int, plain_count: int) -> None:
    """Time coordinates to classes."""
    lat, lng = Photos(count).arrays()
    classes = {token: row for row, token in enumerate(grid.tokens)}
    points = list(zip(lat[:plain_count].tolist(), lng[:plain_count].tolist(), strict=True))
    expected = plain_classes(points, classes)
    check(grid.assign(lat[:plain_count], lng[:plain_count]).tolist() == expected)
    plain = seconds(lambda: plain_classes(points, classes), 2) / plain_count
    report("assign: s2sphere, climbing", 1, plain, plain)
    report("assign: 1 thread", count, seconds(lambda: grid.assign(lat, lng), 5), plain)
    leaves, first = s2.leaf_ids(lat, lng), s2.range_min(grid.ids)
    table = seconds(lambda: grid.assign_leaves(leaves), 5)
    search = seconds(lambda: np.searchsorted(first, leaves, side="right"), 5)
    print(f"  (the look-up alone is {search / table:.1f}× as fast as np.searchsorted)")


def measure_memory(count: int) -> None:
    """Partition many photos in this process and print its peak memory."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    start = time.perf_counter()
    photos = Photos(count, progress=True)
    made = partition(photos.chunks, max_photos=MAX_PHOTOS, min_photos=MIN_PHOTOS, threads=2)
    wall = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{count:,} photos, made and partitioned into {len(made.grid):,} cells in {wall:.0f} s")
    print(
        f"peak memory {peak:.0f} MiB ({before:.0f} MiB before the first photo);"
        f" the limit is {MEMORY_LIMIT_MB}"
    )
    if count == MANY and peak > MEMORY_LIMIT_MB:
        sys.exit("too much memory")


def main() -> None:
    """Run all measurements, or the one of memory."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=500_000, help="photos of the timed runs")
    parser.add_argument(
        "--memory", type=int, metavar="N", help="only measure memory, with N photos"
    )
    options = parser.parse_args()
    if options.memory:
        measure_memory(options.memory)
        return
    # First and in a process of its own: a child's peak starts from what its parent held.
    child = subprocess.run([sys.executable, __file__, "--memory", str(MANY)], check=False)
    print(f"\n{'':<34}{'points/s':>12}{'ns each':>10}{'ratio':>10}")
    count = options.points
    bench_leaf_ids(count, count // 5)
    grid = bench_partition(count)
    bench_assign(grid, count, count // 10)
    sys.exit(child.returncode)


if __name__ == "__main__":
    main()
