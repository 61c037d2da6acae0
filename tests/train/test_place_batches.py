"""Which photos stand together in a batch, and what they are to each other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from locationnet.classes import ClassSet, LabelSet
from locationnet.errors import InputError
from locationnet.geo.grid import Grid
from locationnet.geo.sphere import great_circle_km
from locationnet.pack.format import Pack
from locationnet.train.data_iter import Part, Plan
from locationnet.train.place_batches import Pairs, PlaceOrder, circles


def pack_of(classes: list[int], lng: list[float], class_set: ClassSet) -> Pack:
    """Return a pack of photos on the equator that has no files."""
    pack = Pack(Path("pack"), {"records": len(classes)})
    columns = {"class": np.array(classes), "lat": np.zeros(len(lng)), "lng": np.array(lng)}
    # As if they had been read.
    vars(pack).update(_columns=columns, class_set=class_set)
    return pack


def test_relations_are_those_of_cells_but_for_near_photos_of_others(town_grid: Grid) -> None:
    # One degree of the equator is 111 km.
    pack = pack_of([0, 0, 1, 1], [0.0, 0.3, 0.4, 9.0], town_grid)
    found = Pairs(pack, None, 25.0).relations(np.array([0, 1, 2, 3]), 4)
    assert_array_equal(found, [[0, 1, -1, -1], [1, 0, 0, -1], [-1, 0, 0, 1], [-1, -1, 1, 0]])


def test_relations_are_those_of_distances_where_they_are_given(town_grid: Grid) -> None:
    pack = pack_of([0, 0, 1, 1], [0.0, 0.3, 0.4, 9.0], town_grid)
    pairs = Pairs(pack, 20.0, 40.0)
    # A photo that fills its group up stands twice, and is nothing to itself.
    found = pairs.relations(np.array([0, 1, 2, 3, 3, 2, 2, 1]), 4)
    assert_array_equal(found[:4], [[0, 0, -1, -1], [0, 0, 1, -1], [-1, 1, 0, -1], [-1, -1, -1, 0]])
    assert_array_equal(found[4:], [[0, -1, -1, -1], [-1, 0, 0, 1], [-1, 0, 0, 1], [-1, 1, 1, 0]])
    assert_array_equal(pairs.accompanied, [False, True, True, False])


def test_photos_of_other_labels_always_count_as_negatives() -> None:
    pack = pack_of([0, 1, 0], [0.0, 0.0, 0.0], LabelSet(("cola", "fanta")))
    pairs = Pairs(pack, None, 25.0)
    assert_array_equal(pairs.relations(np.arange(3), 3), [[0, -1, 1], [-1, 0, -1], [1, -1, 0]])
    assert_array_equal(pairs.accompanied, [True, False, True])


counts_of_places = st.lists(st.integers(1, 30), min_size=3, max_size=30)


@given(counts_of_places, st.integers(2, 3), st.integers(2, 5), st.integers(1, 4))
def test_every_block_is_so_many_photos_of_so_many_different_places(
    counts: list[int], per_block: int, photos: int, blocks: int
) -> None:
    places = np.repeat(np.arange(len(counts)) * 7, counts)
    np.random.default_rng(0).shuffle(places)
    if sum(count > 1 for count in counts) < per_block:
        with pytest.raises(InputError, match="places have two photos or more"):
            PlaceOrder(places, per_block, photos, blocks, 3)
        return
    order = PlaceOrder(places, per_block, photos, blocks, 3)
    found = order(2)
    assert len(found) == order.records
    assert len(found) % (blocks * per_block * photos) == 0
    for block in found.reshape(-1, per_block, photos):
        assert len(set(places[block[:, 0]])) == per_block
        for group in block:
            assert len(set(places[group])) == 1
            # None twice, unless the place has no more; and never one alone.
            in_place = counts[places[group[0]] // 7]
            assert len(set(group)) == min(photos, in_place) >= 2
    assert_array_equal(order(2), found)


def test_an_epoch_shows_nearly_every_photo_of_a_balanced_pack() -> None:
    places = np.arange(400) % 20
    order = PlaceOrder(places, 5, 4, 1, 0)
    assert order.records == 400
    assert len(set(order(0))) == 400
    assert not np.array_equal(order(0), order(1))


def test_a_place_with_most_of_the_photos_is_seen_in_part_only() -> None:
    places = np.array([0] * 400 + [1] * 20 + [2])
    order = PlaceOrder(places, 2, 4, 1, 0)
    found = order(0)
    assert len(found) == 40
    assert set(found[places[found] == 1]) == set(range(400, 420))
    assert "2 of 2 places x 4 photos on each device; 1 photos stand alone" in str(order)


def test_devices_and_workers_get_whole_blocks_in_the_same_order() -> None:
    places = np.arange(400) % 20
    wholes = PlaceOrder(places, 5, 4, 4, 0)
    alone = Plan(wholes.records, 80, Part(), 0, wholes)
    shares = [Plan(wholes.records, 40, Part(rank, 2), 0, wholes) for rank in range(2)]
    epoch = alone.order(3)
    for number in range(alone.batches):
        whole, counting = alone.batch(epoch, number)
        assert counting == 80
        assert_array_equal(
            np.concatenate([share.batch(epoch, number)[0] for share in shares]), whole
        )


@given(
    st.lists(st.tuples(st.floats(-90, 90), st.floats(-180, 180)), min_size=1, max_size=40),
    st.floats(0.01, 30_000),
)
def test_no_two_points_of_a_circle_are_farther_apart_than_its_diameter(
    points: list[tuple[float, float]], radius_km: float
) -> None:
    lat, lng = np.array(points).T
    found = circles(lat, lng, radius_km)
    apart = great_circle_km(lat[:, None], lng[:, None], lat, lng)
    same = found[:, None] == found
    assert (apart[same] <= 2 * radius_km + 1e-6).all()
    # Centres are farther apart than the radius.
    centres = np.unique(found)
    between = apart[np.ix_(centres, centres)][~np.eye(len(centres), dtype=bool)]
    assert (between >= radius_km - 1e-6).all()


def test_a_hundred_thousand_photos_on_one_point_are_one_place() -> None:
    found = circles(np.full(100_000, 48.8584), np.full(100_000, 2.2945), 0.1)
    assert len(np.unique(found)) == 1
