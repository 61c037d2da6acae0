"""Cells against s2sphere, bit for bit where it is a matter of ids."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import s2sphere
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from locationnet.errors import InputError
from locationnet.geo import s2, sphere

FloatArray = NDArray[np.float64]
Points = tuple[FloatArray, FloatArray]
ReferenceIds = Callable[[FloatArray, FloatArray], s2.Ids]

POINTS = st.tuples(st.floats(-90, 90), st.floats(-180, 180))
LEVELS = st.integers(0, 30)
FACE_IDS = np.array([(face << 61) | (1 << 60) for face in range(6)], np.uint64)


@st.composite
def cells(draw: st.DrawFn, levels: st.SearchStrategy[int] = LEVELS) -> s2sphere.CellId:
    """Draw a cell of any level anywhere."""
    point = s2sphere.LatLng.from_degrees(*draw(POINTS))
    return s2sphere.CellId.from_lat_lng(point).parent(draw(levels))


def random_points(rng: np.random.Generator, count: int) -> Points:
    return np.degrees(np.arcsin(rng.uniform(-1, 1, count))), rng.uniform(-180, 180, count)


def integer_degrees() -> Points:
    lat, lng = np.meshgrid(np.arange(-90.0, 91), np.arange(-180.0, 181))
    return lat.ravel(), lng.ravel()


def beside_face_edges(rng: np.random.Generator, count: int) -> Points:
    """Return points on the twelve edges of the cube and within 1e-9° of them."""
    signs = rng.choice([-1.0, 1.0], (2, count))
    vectors = np.stack([*signs, rng.uniform(-1, 1, count)], axis=-1)
    turned = np.take_along_axis(
        vectors, (np.arange(3) + rng.integers(0, 3, (count, 1))) % 3, axis=-1
    )
    lat, lng = sphere.direction_degrees(turned)
    nudges = rng.uniform(-1e-9, 1e-9, (2, count)) * rng.integers(0, 2, (2, count))
    return np.clip(lat + nudges[0], -90, 90), np.clip(lng + nudges[1], -180, 180)


def beside_the_seam_and_poles(rng: np.random.Generator, count: int) -> Points:
    tiny = 10.0 ** rng.uniform(-17, 0, count) * rng.integers(0, 2, count)
    at_seam = random_points(rng, count)[0], rng.choice([-1, 1], count) * (180 - tiny)
    at_pole = rng.choice([-1, 1], count) * (90 - tiny), rng.uniform(-180, 180, count)
    at_zero = rng.choice([-1, 1], (2, count)) * tiny
    return (
        np.concatenate([at_seam[0], at_pole[0], at_zero[0]]),
        np.concatenate([at_seam[1], at_pole[1], at_zero[1]]),
    )


def at_corners_of_cells(rng: np.random.Generator, count: int) -> Points:
    """Return corners of cells of all levels: where a rounding decides the leaf."""
    leaves = s2.leaf_ids(*random_points(rng, count))
    lat, lng = zip(
        *(s2.corners(s2.parent_ids(leaves[level::31], level)) for level in range(31)), strict=True
    )
    return np.concatenate(lat).ravel(), np.concatenate(lng).ravel()


def test_a_million_leaf_ids_equal_s2sphere(reference_ids: ReferenceIds) -> None:
    rng = np.random.default_rng(20)
    parts = [
        random_points(rng, 600_000),
        integer_degrees(),
        beside_face_edges(rng, 120_000),
        beside_the_seam_and_poles(rng, 40_000),
        at_corners_of_cells(rng, 31_000),
    ]
    lat, lng = (np.concatenate(axis) for axis in zip(*parts, strict=True))
    assert len(lat) >= 1_000_000
    ids = s2.leaf_ids(lat, lng, threads=2)
    assert ids.dtype == np.uint64
    wrong = np.flatnonzero(ids != reference_ids(lat, lng))
    assert not len(wrong), [(lat[k], lng[k]) for k in wrong[:5]]


def test_leaf_ids_of_real_photos_equal_s2sphere(
    shared_data: Path, reference_ids: ReferenceIds
) -> None:
    table = np.loadtxt(shared_data / "coordinates_100k.csv", delimiter=",", skiprows=1)
    lat, lng = np.ascontiguousarray(table.T)
    assert (s2.leaf_ids(lat, lng) == reference_ids(lat, lng)).all()


def test_sines_that_differ_in_the_last_bits_change_no_id(
    monkeypatch: pytest.MonkeyPatch, reference_ids: ReferenceIds
) -> None:
    rng = np.random.default_rng(21)
    parts = [
        random_points(rng, 10_000),
        beside_face_edges(rng, 10_000),
        at_corners_of_cells(rng, 3_100),
    ]
    lat, lng = (np.concatenate(axis) for axis in zip(*parts, strict=True))
    expected = reference_ids(lat, lng)
    cos, sin = np.cos, np.sin
    # What vectorised mathematics libraries promise: 4 units in the last place.
    monkeypatch.setattr(np, "cos", lambda x: cos(x) * (1 + 8e-16))
    monkeypatch.setattr(np, "sin", lambda x: sin(x) * (1 - 8e-16))
    assert (s2.leaf_ids(lat, lng) == expected).all()


@given(POINTS)
def test_any_leaf_id_equals_s2sphere(point: tuple[float, float]) -> None:
    expected = s2sphere.CellId.from_lat_lng(s2sphere.LatLng.from_degrees(*point)).id()
    assert s2.leaf_ids([point[0]], [point[1]]).tolist() == [expected]


def test_plus_and_minus_180_lie_in_different_cells() -> None:
    east, west = s2.leaf_ids([10.0, 10.0], [180.0, -180.0])
    assert east != west


def test_threads_change_nothing() -> None:
    lat, lng = random_points(np.random.default_rng(22), 100_001)
    alone = s2.leaf_ids(lat, lng)
    for threads in (2, 3):
        assert (s2.leaf_ids(lat, lng, threads=threads) == alone).all()


def test_no_points_have_no_ids() -> None:
    assert s2.leaf_ids([], []).shape == (0,)
    assert s2.leaf_ids([], [], threads=2).dtype == np.uint64


@pytest.mark.parametrize(
    ("lat", "lng"),
    [
        (np.nan, 0), (0, np.nan), (np.inf, 0), (0, -np.inf),
        (90.0000001, 0), (-91, 0), (0, 180.0000001), (0, -181),
    ],
)  # fmt: skip
@pytest.mark.parametrize("threads", [1, 2])
def test_a_point_not_on_earth_is_refused_by_its_row(lat: float, lng: float, threads: int) -> None:
    lats, lngs = np.zeros(40_000), np.zeros(40_000)
    lats[:], lngs[:] = 12.5, 41.7
    lats[33_333], lngs[33_333] = lat, lng
    with pytest.raises(InputError, match="33333"):
        s2.leaf_ids(lats, lngs, threads=threads)


def test_lists_of_different_length_are_refused() -> None:
    with pytest.raises(InputError, match="equally long"):
        s2.leaf_ids(np.zeros(3), np.zeros(2))


@given(cells(), LEVELS)
def test_relations_between_cells_equal_s2sphere(cell: s2sphere.CellId, level: int) -> None:
    ids = np.array([cell.id()], np.uint64)
    assert s2.levels(ids).tolist() == [cell.level()]
    assert s2.is_valid(ids).all()
    first, last = s2.range_min(ids), s2.range_max(ids)
    assert first.dtype == last.dtype == np.uint64
    assert (first[0], last[0]) == (cell.range_min().id(), cell.range_max().id())
    if level <= cell.level():
        parents = s2.parent_ids(ids, level)
        assert parents.dtype == np.uint64
        assert parents.tolist() == [cell.parent(level).id()]
    if cell.level() < 30:
        assert s2.child_ids(ids).tolist() == [[child.id() for child in cell.children()]]


@given(cells())
def test_tokens_equal_s2sphere_and_come_back(cell: s2sphere.CellId) -> None:
    token = cell.to_token()
    assert s2.tokens(np.array([cell.id()], np.uint64)) == [token]
    assert s2.id_from_token(token) == cell.id()


@given(st.text(max_size=18) | st.text("0123456789abcdef", max_size=17))
def test_a_token_is_read_or_refused_never_mended(text: str) -> None:
    try:
        number = s2.id_from_token(text)
    except ValueError:
        return
    assert s2.tokens(np.array([number], np.uint64)) == [text]


@pytest.mark.parametrize(
    ("token", "reason"),
    [
        ("", "not an S2 token"),
        ("89C25", "not an S2 token"),
        ("4.7E+08", "not an S2 token"),
        ("89c25\n", "not an S2 token"),
        ("0x89c25", "not an S2 token"),
        ("89c25x", "not an S2 token"),
        ("89c2500000000000 ", "not an S2 token"),
        ("٣", "not an S2 token"),
        ("89c250", "ends in 0"),
        ("d", "not the token of any"),
        ("0", "not the token of any"),
        ("2", "not the token of any"),
    ],
)
def test_a_bad_token_is_refused_with_the_reason(token: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        s2.id_from_token(token)


@pytest.mark.parametrize("token", ["47e7", "478e384", "0d4", "3", "1"])
def test_tokens_that_look_like_numbers_stay_text(token: str) -> None:
    number = s2.id_from_token(token)
    assert number == s2sphere.CellId.from_token(token).id()
    assert s2.tokens(np.array([number], np.uint64)) == [token]


@given(cells())
def test_centres_and_corners_equal_s2sphere(cell: s2sphere.CellId) -> None:
    ids = np.array([cell.id()], np.uint64)
    centre = cell.to_point()
    vectors = sphere.unit_vectors(*s2.centers(ids))[0]
    np.testing.assert_allclose(vectors, [centre[k] for k in range(3)], atol=1e-15)
    whole = s2sphere.Cell(cell)
    expected = [[whole.get_vertex(corner)[axis] for axis in range(3)] for corner in range(4)]
    np.testing.assert_allclose(sphere.unit_vectors(*s2.corners(ids))[0], expected, atol=1e-15)


def test_the_centre_of_a_cell_lies_in_it() -> None:
    leaves = s2.leaf_ids(*random_points(np.random.default_rng(23), 20_000))
    for level in (0, 1, 5, 12, 29, 30):
        ids = s2.parent_ids(leaves, level)
        assert (s2.parent_ids(s2.leaf_ids(*s2.centers(ids)), level) == ids).all()


@given(cells(), st.integers(1, 9))
def test_points_of_an_outline_lie_on_the_cells_great_circles(
    cell: s2sphere.CellId, pieces: int
) -> None:
    ids = np.array([cell.id()], np.uint64)
    outline = sphere.unit_vectors(*s2.outline(ids, pieces))[0].reshape(4, pieces, 3)
    corners = sphere.unit_vectors(*s2.corners(ids))[0]
    np.testing.assert_allclose(outline[:, 0], corners, atol=1e-15)
    edges = np.cross(corners, np.roll(corners, -1, axis=0))
    away = np.einsum("epk,ek->ep", outline, edges / np.linalg.norm(edges, axis=1, keepdims=True))
    # The shorter the edge, the less two rounded corners say about its great circle.
    assert np.abs(away).max() < 1e-15 * 2 ** max(1, cell.level())


def test_the_faces_share_the_sphere() -> None:
    np.testing.assert_allclose(s2.sphere_shares(FACE_IDS), 1 / 6, rtol=1e-14)


@given(cells(st.integers(0, 29)))
def test_children_share_their_parents_area_at_every_level(cell: s2sphere.CellId) -> None:
    ids = np.array([cell.id()], np.uint64)
    children = s2.sphere_shares(s2.child_ids(ids)[0])
    # A leaf's (u, v) extent is known to about 1e-7 of itself.
    assert children.sum() == pytest.approx(s2.sphere_shares(ids)[0], rel=1e-6)
    assert (children > 0).all()


@given(cells(st.integers(0, 12)))
def test_areas_equal_s2sphere(cell: s2sphere.CellId) -> None:
    share = s2.sphere_shares(np.array([cell.id()], np.uint64))[0]
    assert share == pytest.approx(s2sphere.Cell(cell).exact_area() / (4 * np.pi), rel=1e-6)


def test_numbers_that_are_no_cells_are_told() -> None:
    numbers = np.array([0, 2, 1 << 61 | 2, 6 << 61 | 1, 7 << 61 | 1 << 60, 1, 1 << 60], np.uint64)
    assert s2.is_valid(numbers).tolist() == [False] * 5 + [True] * 2
