"""The adaptive partition against a plain one in s2sphere, and its rules one by one."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import s2sphere
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from locationnet.errors import InputError
from locationnet.geo import s2, sphere
from locationnet.geo.grid import Grid
from locationnet.geo.partition import OracleBound, Partition, Read, one_each, partition, split

FloatArray = NDArray[np.float64]
Photos = list[tuple[float, float]]


def chunked(lat: FloatArray, lng: FloatArray, size: int = 7001) -> Read:
    """Return the photos as the chunks that `partition` asks for."""

    def read() -> Iterator[tuple[FloatArray, FloatArray]]:
        for start in range(0, len(lat), size):
            yield lat[start : start + size], lng[start : start + size]

    return read


def made_of(photos: Photos, max_photos: int, min_photos: int) -> Partition:
    lat, lng = np.array(photos, np.float64).T
    read = chunked(np.ascontiguousarray(lat), np.ascontiguousarray(lng))
    return partition(read, max_photos=max_photos, min_photos=min_photos)


class PlainPartition:
    """The same partition as a loop over s2sphere's objects."""

    def __init__(self, photos: Photos, max_photos: int, min_photos: int) -> None:
        self.tokens: list[str] = []
        self.centroids: list[tuple[float, float]] = []
        self._max, self._min = max_photos, min_photos
        leaves = [
            s2sphere.CellId.from_lat_lng(s2sphere.LatLng.from_degrees(*photo)) for photo in photos
        ]
        by_face = defaultdict(list)
        for leaf, photo in zip(leaves, photos, strict=True):
            by_face[leaf.face()].append((leaf, photo))
        for face in sorted(by_face):
            self._visit(s2sphere.CellId.from_face_pos_level(face, 0, 0), by_face[face])

    def _visit(
        self,
        cell: s2sphere.CellId,
        members: list[tuple[s2sphere.CellId, tuple[float, float]]],
    ) -> None:
        if len(members) > self._max and cell.level() < 30:
            by_child = defaultdict(list)
            for member in members:
                by_child[member[0].parent(cell.level() + 1).id()].append(member)
            for child in sorted(by_child):
                self._visit(s2sphere.CellId(child), by_child[child])
        elif len(members) >= self._min:
            self.tokens.append(cell.to_token())
            self.centroids.append(self._centroid(cell, [photo for _, photo in members]))

    def _centroid(self, cell: s2sphere.CellId, photos: Photos) -> tuple[float, float]:
        if cell.level() == 0:
            points = [s2sphere.LatLng.from_degrees(*photo).to_point() for photo in photos]
            summed = [math.fsum(point[axis] for point in points) for axis in range(3)]
            middle = s2sphere.LatLng.from_point(s2sphere.Point(*summed))
            mean = (middle.lat().degrees, middle.lng().degrees)
        else:
            lat, lng = zip(*photos, strict=True)
            mean = (math.fsum(lat) / len(lat), math.fsum(lng) / len(lng))
        if self._inside(cell, mean):
            return mean
        nearest = min(photos, key=lambda photo: float(sphere.great_circle_km(*mean, *photo)))
        if self._inside(cell, nearest):
            return nearest
        centre = cell.to_lat_lng()
        return centre.lat().degrees, centre.lng().degrees

    @staticmethod
    def _inside(cell: s2sphere.CellId, point: tuple[float, float]) -> bool:
        as_written = [float(f"{value:.12g}") for value in point]
        leaf = s2sphere.CellId.from_lat_lng(s2sphere.LatLng.from_degrees(*as_written))
        return bool(cell.contains(leaf))


def scattered_photos(rng: np.random.Generator, count: int) -> tuple[FloatArray, FloatArray]:
    """Return photos as people take them: towns of all sizes, one spot again and again, anywhere."""
    towns = 400
    town_lat = np.degrees(np.arcsin(rng.uniform(-1, 1, towns)))
    town_lng = rng.uniform(-180, 180, towns)
    sizes = rng.pareto(1, towns)
    town = rng.choice(towns, count, p=sizes / sizes.sum())
    spread = 10 ** rng.uniform(-7, 0.5, towns)[town]
    lat = np.clip(town_lat[town] + spread * rng.normal(size=count), -90, 90)
    lng = (town_lng[town] + spread * rng.normal(size=count) + 180) % 360 - 180
    anywhere = rng.random(count) < 0.1
    lat[anywhere] = np.degrees(np.arcsin(rng.uniform(-1, 1, anywhere.sum())))
    lng[anywhere] = rng.uniform(-180, 180, anywhere.sum())
    lat[: count // 50], lng[: count // 50] = 48.858370, 2.294481
    lng[-200:] = np.repeat([180.0, -180.0], 100)
    lat[-300:-200], lat[-400:-300] = 90, -90
    return lat, lng


@pytest.mark.parametrize(("max_photos", "min_photos"), [(60, 6)])
def test_200_000_photos_give_the_cells_of_the_plain_partition(
    max_photos: int, min_photos: int
) -> None:
    lat, lng = scattered_photos(np.random.default_rng(30), 200_000)
    # The plain mean of the reference knows no seam.
    lng[np.abs(lng) == 180] = 179.5
    made = partition(chunked(lat, lng), max_photos=max_photos, min_photos=min_photos, threads=2)
    plain = PlainPartition(
        list(zip(lat.tolist(), lng.tolist(), strict=True)), max_photos, min_photos
    )
    assert made.grid.tokens == plain.tokens
    plain_lat, plain_lng = np.array(plain.centroids).T
    np.testing.assert_allclose(made.grid.lat, plain_lat, rtol=0, atol=1e-9)
    np.testing.assert_allclose(made.grid.lng, plain_lng, rtol=0, atol=1e-9)
    assert (made.grid.levels == 30).any()
    assert len(made.grid) > 2000


@pytest.mark.parametrize("max_photos", [1, 3, 40, 2000])
def test_few_photos_give_the_cells_of_the_plain_partition(max_photos: int) -> None:
    rng = np.random.default_rng(max_photos)
    lat, lng = scattered_photos(rng, 3000)
    lng[np.abs(lng) == 180] = 179.5
    made = partition(chunked(lat, lng, 100), max_photos=max_photos, min_photos=1)
    plain = PlainPartition(list(zip(lat.tolist(), lng.tolist(), strict=True)), max_photos, 1)
    assert made.grid.tokens == plain.tokens
    np.testing.assert_allclose(
        np.stack([made.grid.lat, made.grid.lng], 1), plain.centroids, rtol=0, atol=1e-9
    )
    assert made.counts.sum() == made.photos == 3000


def test_the_real_photos_give_the_grid_of_the_repository(shared_data: Path) -> None:
    table = np.loadtxt(shared_data / "coordinates_100k.csv", delimiter=",", skiprows=1)
    lat, lng = np.ascontiguousarray(table.T)
    made = partition(chunked(lat, lng, 1 << 16), max_photos=15, min_photos=2)
    assert made.grid.sha256 == Grid.read(Path(__file__).parents[2] / "grids.txt").sha256


@given(
    st.lists(
        st.tuples(
            st.floats(-90, 90) | st.sampled_from([90.0, -90.0, 0.0, 10.0]),
            st.floats(-180, 180) | st.sampled_from([180.0, -180.0, 0.0, 45.0]),
        ),
        min_size=1,
        max_size=40,
    ),
    st.integers(1, 6),
    st.integers(1, 6),
)
def test_any_photos_give_a_valid_grid(photos: Photos, one: int, other: int) -> None:
    min_photos, max_photos = sorted((one, other))
    try:
        made = made_of(photos, max_photos, min_photos)
    except InputError as error:
        assert str(error).startswith("no cell holds")
        return
    # Reading what would be written checks every rule of the format.
    grid = Grid._parse(made.grid._text, Path("grid"))
    assert (grid.lat == made.grid.lat).all()
    assert (grid.lng == made.grid.lng).all()
    leaves = s2.leaf_ids(*np.array(photos).T)
    classes = grid.assign_leaves(leaves)
    assert np.bincount(classes[classes >= 0], minlength=len(grid)).tolist() == made.counts.tolist()
    assert (made.counts >= min_photos).all()
    assert ((made.counts <= max_photos) | (grid.levels == 30)).all()
    for token, level in zip(grid.tokens, grid.levels, strict=True):
        if level:
            # It is there only because its parent held too many.
            parent = s2.parent_ids(np.array([s2.id_from_token(token)], np.uint64), int(level) - 1)
            assert (s2.parent_ids(leaves, int(level) - 1) == parent).sum() > max_photos


def test_a_cell_over_the_limit_is_split() -> None:
    photos = [(10.0, 10.0), (11.0, 11.0), (-10.0, 10.0), (-10.0, -10.0)]
    assert made_of(photos, 4, 1).grid.tokens == ["1"]
    split_once = made_of(photos, 3, 1)
    assert split_once.grid.levels.tolist() == [1, 1, 1]
    assert sorted(split_once.counts.tolist()) == [1, 1, 2]


def test_a_cell_below_the_minimum_is_dropped() -> None:
    photos = [(10.0, 10.0), (11.0, 11.0), (-10.0, 10.0), (-10.0, -10.0)]
    made = made_of(photos, 3, 2)
    assert made.counts.tolist() == [2]
    assert made.photos == 4
    assert made.grid.assign([10.0, -10.0], [10.0, 10.0]).tolist() == [0, -1]


def test_photos_on_one_spot_stop_the_split_at_level_30() -> None:
    spot = (48.858370, 2.294481)
    made = made_of([spot] * 100, 5, 2)
    assert made.grid.levels.tolist() == [30]
    assert made.counts.tolist() == [100]
    assert (made.grid.lat[0], made.grid.lng[0]) == spot


def test_cells_come_along_the_hilbert_curve() -> None:
    lat, lng = scattered_photos(np.random.default_rng(31), 5000)
    ids, counts = split(np.sort(s2.leaf_ids(lat, lng)), max_photos=50, min_photos=1)
    assert (ids[1:] > ids[:-1]).all()
    assert ids.dtype == np.uint64
    assert counts.sum() == 5000


def test_threads_and_chunks_change_nothing() -> None:
    lat, lng = scattered_photos(np.random.default_rng(32), 40_000)
    one = partition(chunked(lat, lng, 40_000), max_photos=20, min_photos=2)
    other = partition(chunked(lat, lng, 333), max_photos=20, min_photos=2, threads=2)
    assert one.grid.sha256 == other.grid.sha256
    assert one.counts.tolist() == other.counts.tolist()


def test_a_face_takes_the_mean_direction_across_the_antimeridian() -> None:
    made = made_of([(0.0, 179.0), (0.0, -178.0)], 5, 2)
    assert made.grid.tokens == ["7"]
    assert (made.grid.lat[0], made.grid.lng[0]) == pytest.approx((0, -179.5))


def test_a_face_takes_the_mean_direction_around_a_pole() -> None:
    made = made_of([(80.0, 0.0), (80.0, 90.0), (80.0, -90.0), (80.0, 180.0)], 5, 2)
    assert made.grid.tokens == ["5"]
    assert made.grid.lat[0] == pytest.approx(90)


def test_a_photo_at_exactly_180_joins_the_mean_of_its_side() -> None:
    # North of 45° the leaf of (60, +180) belongs to the western side: y/z rounds to zero there.
    photos = [(60.0, 180.0), (60.0, -179.9), (60.0, -179.9), (60.0, -179.9)]
    photos += [(0.0, 0.0), (70.0, 100.0), (70.0, -80.0), (70.0, 10.0)]
    made = made_of(photos, 4, 4)
    assert made.counts.tolist() == [4]
    assert made.grid.levels[0] > 0
    assert (made.grid.lat[0], made.grid.lng[0]) == pytest.approx((60, -179.925))


def test_a_mean_outside_the_cell_gives_way_to_the_nearest_photo() -> None:
    # Three corners' worth of photos in a cell around 80°N whose edges bend on the map of degrees.
    photos = [(86.0, 2.0), (86.0, 88.0), (86.0, 50.0), (40.0, 47.0)]
    lat, lng = np.array(photos).T
    cell = np.unique(s2.parent_ids(s2.leaf_ids(lat, lng), 1))
    assert len(cell) == 1
    crowd = [(70.0, -100.0)] * 3
    made = made_of(photos + crowd, 6, 2)
    assert np.isin(cell, made.grid.ids).all()

    # The same far to the side: a mean that falls beyond the cell's bent edge.
    beyond = [(36.0, 46.0), (46.0, 1.0), (46.0, 1.0), (36.0, 45.0)]
    leaves = s2.leaf_ids(*np.array(beyond).T)
    (parent,) = np.unique(s2.parent_ids(leaves, 1)).tolist()
    mean = np.mean(beyond, axis=0)
    assert s2.parent_ids(s2.leaf_ids(mean[:1], mean[1:]), 1)[0] != parent
    made = made_of(beyond + crowd, 5, 2)
    row = made.grid.ids.tolist().index(parent)
    distances = sphere.great_circle_km(*mean, *np.array(beyond).T)
    assert (made.grid.lat[row], made.grid.lng[row]) == beyond[int(np.argmin(distances))]


@pytest.mark.parametrize("chunk", [1, 2, 7])
@pytest.mark.parametrize("backwards", [False, True])
def test_the_nearest_photo_is_that_of_all_chunks(chunk: int, *, backwards: bool) -> None:
    beyond = [(36.0, 46.0), (46.0, 1.0), (46.0, 1.0), (36.0, 45.0)]
    photos = [*beyond, *[(70.0, -100.0)] * 3]
    photos = photos[::-1] if backwards else photos
    lat, lng = np.array(photos).T
    starts = range(0, len(photos), chunk)
    made = partition(
        lambda: iter([(lat[at : at + chunk], lng[at : at + chunk]) for at in starts]),
        max_photos=5,
        min_photos=2,
    )
    (parent,) = np.unique(s2.parent_ids(s2.leaf_ids(*np.array(beyond).T), 1)).tolist()
    row = made.grid.ids.tolist().index(parent)
    mean = np.mean(beyond, axis=0)
    distances = sphere.great_circle_km(*mean, *np.array(beyond).T)
    assert (made.grid.lat[row], made.grid.lng[row]) == beyond[int(np.argmin(distances))]


def test_a_spot_whose_rounding_leaves_its_cell_gives_way_to_the_cells_centre() -> None:
    # Just west of a leaf's edge, where twelve digits round to the other side.
    lats, lngs = np.full(1000, 0.3), 123.4567 + np.arange(1000) * 1e-7
    leaves = s2.leaf_ids(lats, lngs)
    lat, _ = s2.centers(leaves)
    west = s2.corners(leaves)[1].max(axis=1) - 1e-11
    rounded = np.array([float(f"{value:.12g}") for value in west])
    outside = (s2.leaf_ids(lat, west) == leaves) & (s2.leaf_ids(lat, rounded) != leaves)
    row = int(np.argmax(outside))
    assert outside[row]
    made = made_of([(float(lat[row]), float(west[row]))] * 3, 2, 2)
    assert made.grid.ids.tolist() == [int(leaves[row])]
    centre_lat, centre_lng = s2.centers(leaves[[row]])
    assert made.grid.lng[0] == pytest.approx(centre_lng[0], abs=1e-9)
    assert made.grid.lat[0] == pytest.approx(centre_lat[0], abs=1e-9)


def test_no_photos_or_too_few_are_an_error() -> None:
    with pytest.raises(InputError, match="no photos"):
        partition(list, max_photos=5, min_photos=1)
    with pytest.raises(InputError, match="no cell holds 4 of the 2 photos"):
        made_of([(0.0, 0.0), (1.0, 1.0)], 5, 4)


@pytest.mark.parametrize(("max_photos", "min_photos"), [(5, 6), (5, 0), (0, 0), (-1, -2)])
def test_impossible_limits_are_refused(max_photos: int, min_photos: int) -> None:
    with pytest.raises(ValueError, match="min_photos"):
        made_of([(0.0, 0.0)], max_photos, min_photos)


def test_photos_that_change_between_passes_are_an_error() -> None:
    passes = iter([[(np.zeros(4), np.zeros(4))], []])
    with pytest.raises(InputError, match="changed"):
        partition(lambda: next(passes), max_photos=5, min_photos=1)


def test_a_photo_out_of_range_is_an_error() -> None:
    with pytest.raises(InputError, match="91"):
        made_of([(91.0, 0.0)], 5, 1)


def test_the_oracle_upper_bound_counts_what_lies_within_each_distance() -> None:
    degree = 2 * np.pi * 6371.0 / 360
    ids = s2.parent_ids(s2.leaf_ids([0.5, 40.0], [0.5, 40.0]), 3)
    oracle = OracleBound(Grid(ids, np.array([0.5, 40.0]), np.array([0.5, 40.0])))
    oracle.add(np.array([0.5, 0.5]), np.array([0.5 + 0.5 / degree, 0.5 + 20 / degree]))
    # In no cell: the nearest centroid answers.
    oracle.add(np.array([0.5, -80.0]), np.array([0.5 - 150 / degree, 170.0]))
    assert oracle.photos == 4
    assert oracle.outside == 2
    assert oracle.shares() == {1: 0.25, 25: 0.5, 200: 0.75, 750: 0.75, 2500: 0.75}


def test_the_oracle_upper_bound_of_no_photos_is_zero() -> None:
    ids = s2.parent_ids(s2.leaf_ids([0.5], [0.5]), 3)
    assert set(OracleBound(Grid(ids, *s2.centers(ids))).shares().values()) == {0.0}


def a_few_places(spread: st.SearchStrategy[float]) -> st.SearchStrategy[Photos]:
    """Places around one point, many of them twice."""
    near = st.tuples(spread, spread)
    return st.tuples(
        st.tuples(st.floats(-90, 90), st.floats(-180, 180)), st.lists(near, min_size=1, max_size=30)
    ).map(
        lambda drawn: [
            (
                min(90.0, max(-90.0, drawn[0][0] + lat)),
                min(180.0, max(-180.0, drawn[0][1] + lng)),
            )
            for lat, lng in drawn[1]
        ]
    )


@given(
    st.one_of(
        st.lists(st.tuples(st.floats(-90, 90), st.floats(-180, 180)), min_size=1, max_size=30),
        a_few_places(st.sampled_from([0.0, 1e-9, 1e-7, 1e-4, 0.1, 20.0])),
        a_few_places(st.floats(-1e-6, 1e-6)),
    ),
    st.integers(0, 30),
)
def test_each_distinct_place_gets_a_cell_of_its_own(places: Photos, coarsest: int) -> None:
    lat, lng = np.array(places, np.float64).T.copy()
    leaves = s2.leaf_ids(lat, lng)
    grid, rows = one_each(lat, lng, coarsest)
    assert len(grid) == len(set(leaves.tolist()))
    # Each place is in the cell that names it, and equal places name the first of them.
    assert np.array_equal(grid.assign(lat[rows], lng[rows]), np.arange(len(grid)))
    first = {int(leaf): row for row, leaf in reversed(list(enumerate(leaves)))}
    assert sorted(rows.tolist()) == sorted(first.values())
    # The largest cell that holds no other place, up to the bound.
    assert (grid.levels >= coarsest).all()
    for index in np.flatnonzero(grid.levels > coarsest).tolist():
        parent = s2.parent_ids(grid.ids[index : index + 1], int(grid.levels[index]) - 1)
        inside = (leaves >= s2.range_min(parent)) & (leaves <= s2.range_max(parent))
        assert len(np.unique(leaves[inside])) > 1
    # It is the place itself that a class answers with.
    assert np.abs(grid.lat - lat[rows]).max() < 1e-7
    away = sphere.great_circle_km(grid.lat, grid.lng, lat[rows], lng[rows])
    assert np.max(away) < 1e-4


@given(a_few_places(st.sampled_from([0.0, 1e-8, 1e-7])))
def test_cells_of_a_centimetre_can_be_written_and_read(places: Photos) -> None:
    lat, lng = np.array(places, np.float64).T.copy()
    grid, _ = one_each(lat, lng, 30)
    text = "".join(
        f"{token}\t{lat:.12g}\t{lng:.12g}\n"
        for token, lat, lng in zip(grid.tokens, grid.lat.tolist(), grid.lng.tolist(), strict=True)
    )
    again = Grid._parse(text, Path("grids.txt"))
    assert np.array_equal(again.ids, grid.ids)


def test_no_places_make_no_grid() -> None:
    nothing = np.empty(0)
    with pytest.raises(InputError, match="there are no places"):
        one_each(nothing, nothing, 10)
    with pytest.raises(ValueError, match="an S2 level is a number from 0 to 30, not 31"):
        one_each(np.zeros(1), np.zeros(1), 31)
    with pytest.raises(InputError, match="point 0"):
        one_each(np.array([np.nan]), np.zeros(1), 10)
