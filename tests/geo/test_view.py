"""What of a grid a map shows: nothing in sight is missing, and never too much is drawn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from locationnet.geo import s2
from locationnet.geo.box import Box
from locationnet.geo.grid import Grid
from locationnet.geo.view import MAX_CELLS, visible_cells

boxes = st.builds(
    lambda west, east, lats: Box(west, min(lats), east, max(lats)),
    st.floats(-180, 180), st.floats(-180, 180), st.tuples(st.floats(-90, 90), st.floats(-90, 90)),
)  # fmt: skip


@pytest.fixture(scope="module")
def grid() -> Grid:
    return Grid.read(Path(__file__).parents[2] / "grids.txt")


def _random_points(count: int, seed: int) -> tuple[s2.FloatArray, s2.FloatArray]:
    rng = np.random.default_rng(seed)
    return np.degrees(np.arcsin(rng.uniform(-1, 1, count))), rng.uniform(-180, 180, count)


@given(box=boxes, zoom=st.integers(0, 30), seed=st.integers(0, 1000))
def test_every_cell_in_sight_is_covered(grid: Grid, box: Box, zoom: int, seed: int) -> None:
    shown = visible_cells(grid, zoom, box)
    assert len(shown) <= MAX_CELLS
    assert (np.diff(shown.astype(object)) > 0).all()
    lat, lng = _random_points(2000, seed)
    lat, lng = np.append(lat, grid.lat), np.append(lng, grid.lng)
    leaves = s2.leaf_ids(lat, lng)
    # Points in the box and in a cell of the grid.
    leaves = leaves[box.contains(lat, lng) & (grid.assign_leaves(leaves) >= 0)]
    if len(leaves):
        assert len(shown)
        assert (Grid(shown, *s2.centers(shown)).assign_leaves(leaves) >= 0).all()


@given(box=boxes, zoom=st.integers(0, 30))
def test_only_cells_of_the_grid_or_what_is_around_them_are_shown(
    grid: Grid, box: Box, zoom: int
) -> None:
    shown = visible_cells(grid, zoom, box)
    if not len(shown):
        return
    levels = s2.levels(shown)
    assert levels.max() <= zoom + 2
    deepest = int(levels.max())
    assert np.isin(shown, s2.ancestor_ids(grid.ids, deepest)).all()


def test_the_world_from_afar_has_few_cells_and_close_by_has_its_own(grid: Grid) -> None:
    assert len(visible_cells(grid, 0)) <= 6 * 4**2
    around_paris = Box(2.2, 48.8, 2.5, 48.9)
    near = visible_cells(grid, 28, around_paris)
    assert np.isin(near, grid.ids).all()
    inside = around_paris.contains(grid.lat, grid.lng)
    assert np.isin(grid.ids[inside], near).all()


@pytest.mark.parametrize("level", [0, 1, 2, 5])
def test_the_poles_and_the_antimeridian_are_in_sight(level: int) -> None:
    everything = np.unique(s2.parent_ids(s2.leaf_ids(*_random_points(20_000, 1)), level))
    grid = Grid(everything, *s2.centers(everything))
    for box in (Box(10, 89.99, 11, 90), Box(-60, -90, -59, -89.99), Box(179.9, 0, -179.9, 1)):
        lat, lng = np.array([(box.south + box.north) / 2]), np.array([box.middle[1]])
        shown = visible_cells(grid, 28, box)
        assert s2.parent_ids(s2.leaf_ids(lat, lng), level)[0] in shown
