"""The fewest cells with most of the probability, as polygons that any map can draw."""

from __future__ import annotations

import dataclasses
import json
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from locationnet.geo import s2
from locationnet.geo.grid import Grid
from locationnet.model.heatmap import MAX_CELLS, heatmap, top_cells
from locationnet.model.locator import Locator


def test_the_fewest_cells_with_the_share_are_chosen() -> None:
    probabilities = np.array([0.1, 0.5, 0.0, 0.3, 0.1])
    assert top_cells(probabilities, 0.8, 10).tolist() == [1, 3]
    assert top_cells(probabilities, 0.81, 10).tolist() == [1, 3, 0]
    assert top_cells(probabilities, 0.81, 2).tolist() == [1, 3]
    assert top_cells(probabilities, 1.0, 10).tolist() == [1, 3, 0, 4]


@given(
    st.lists(st.floats(0, 1), min_size=1, max_size=50).filter(lambda values: sum(values) > 1e-6),
    st.floats(0.01, 1),
)
def test_chosen_cells_hold_the_share_and_not_one_too_many(
    weights: list[float], share: float
) -> None:
    probabilities = np.array(weights) / sum(weights)
    chosen = top_cells(probabilities, share, len(weights))
    assert probabilities[chosen].sum() >= share - 1e-9
    assert probabilities[chosen[:-1]].sum() < share
    assert (np.diff(probabilities[chosen]) <= 0).all()


@pytest.mark.parametrize("share", [0.5, 0.95, 1.0])
def test_a_heat_map_holds_the_share_most_probable_first(
    demo_locator: Locator, share: float
) -> None:
    prior = demo_locator.prior()
    drawn = heatmap(prior, share)
    assert drawn["type"] == "FeatureCollection"
    fields = [feature["properties"] for feature in drawn["features"]]
    assert [field["rank"] for field in fields] == list(range(1, len(fields) + 1))
    held = [field["probability"] for field in fields]
    assert sum(held[:-1]) < share + 1e-6
    assert sum(held) > share - 1e-4
    assert all(a["probability"] >= b["probability"] for a, b in pairwise(fields))
    assert len(fields) <= MAX_CELLS
    if share == 0.5:  # few cells: as they are
        assert fields[0]["cell"] == prior.mode.cell
    json.dumps(drawn, allow_nan=False)


def test_no_cell_of_a_heat_map_crosses_the_antimeridian(demo_locator: Locator) -> None:
    for feature in heatmap(demo_locator.prior(), 1.0)["features"]:
        for [ring] in feature["geometry"]["coordinates"]:
            lng, lat = np.array(ring).T
            assert ring[0] == ring[-1]
            assert np.abs(np.diff(lng)).max() < 180
            assert np.abs(lng).max() <= 180 and np.abs(lat).max() <= 90


@pytest.mark.parametrize("limit", [6, 50, 400])
@given(seed=st.integers(0, 2**32 - 1))
def test_many_cells_give_way_to_their_ancestors(
    demo_locator: Locator, limit: int, seed: int
) -> None:
    prior, rng = demo_locator.prior(), np.random.default_rng(seed)
    probabilities = rng.dirichlet(np.full(len(prior.grid), 1.0))
    answer = dataclasses.replace(prior, probabilities=probabilities)
    drawn = [feature["properties"] for feature in heatmap(answer, 1.0, limit)["features"]]
    assert limit // 2 < len(drawn) <= limit
    ids = np.array([s2.id_from_token(each["cell"]) for each in drawn], np.uint64)
    drawn_grid = Grid(ids, *s2.centers(ids))
    # Each cell of the grid lies in one of those drawn, which holds what they do.
    seen = probabilities > 0
    owners = drawn_grid.assign_leaves(s2.range_min(prior.grid.ids[seen]))
    assert (owners >= 0).all()
    held = np.bincount(owners, probabilities[seen], len(ids))
    assert held == pytest.approx([each["probability"] for each in drawn], rel=1e-5, abs=1e-12)
    assert [each["rank"] for each in drawn] == list(range(1, len(drawn) + 1))
