"""Reading, checking, writing and searching grids."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from locationnet.errors import GridError, InputError, LocationNetError
from locationnet.geo import s2
from locationnet.geo.grid import Grid

ROOT = Path(__file__).parents[2]
Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write text as a grid file."""

    def write(text: str) -> Path:
        path = tmp_path / "grids.txt"
        path.write_bytes(text.encode())
        return path

    return write


def line(token: str) -> str:
    """Return a grid line whose centroid is the cell's centre."""
    lat, lng = s2.centers(np.array([s2.id_from_token(token)], np.uint64))
    return f"{token}\t{lat[0]:.12g}\t{lng[0]:.12g}\n"


def random_grid(rng: np.random.Generator, count: int, deepest: int) -> Grid:
    """Return disjoint cells of mixed levels, in no particular order."""
    leaves = s2.leaf_ids(
        np.degrees(np.arcsin(rng.uniform(-1, 1, count))), rng.uniform(-180, 180, count)
    )
    taken: list[int] = []
    levels = rng.integers(0, deepest + 1, count)
    for leaf, level in zip(leaves, levels, strict=True):
        cell = s2.parent_ids(np.array([leaf]), int(level))
        first, last = int(s2.range_min(cell)[0]), int(s2.range_max(cell)[0])
        others = np.array(taken, np.uint64)
        overlaps = (s2.range_min(others) <= last) & (s2.range_max(others) >= first)
        if not overlaps.any():
            taken.append(int(cell[0]))
    ids = rng.permutation(np.array(taken, np.uint64))
    return Grid(ids, *s2.centers(ids))


def test_tokens_are_read_as_text(write: Write) -> None:
    tokens = ["47e7", "478e384", "0d4", "89c25"]
    grid = Grid.read(write("".join(line(token) for token in tokens)))
    assert grid.tokens == tokens
    assert grid.ids.dtype == np.uint64
    assert len(grid) == 4
    assert grid.levels.tolist() == s2.levels(grid.ids).tolist()


def test_windows_line_ends_and_a_missing_last_one_are_read(write: Write) -> None:
    text = line("47e7") + line("89c25")
    plain = Grid.read(write(text))
    windows = Grid.read(write(text.replace("\n", "\r\n").rstrip()))
    assert windows.tokens == plain.tokens
    assert windows.sha256 == plain.sha256


PARTS = line("47e7").split("\t")
VIOLATIONS = [
    ("two columns", "47e7\t1\n", "three|separated by tabs"),
    ("four columns", line("47e7").strip() + "\t5\n", "separated by tabs"),
    ("spaces for tabs", line("47e7").replace("\t", " "), "separated by tabs"),
    ("an empty line", "\n", "separated by tabs"),
    ("a token from a spreadsheet", "4.7E+08\t1\t1\n", "not an S2 token"),
    ("a token in upper case", line("89c25").upper(), "not an S2 token"),
    ("no token", "\t1\t1\n", "not an S2 token"),
    ("a token with a last zero", line("47e7").replace("47e7", "47e70"), "ends in 0"),
    ("a number that is no cell", "d\t1\t1\n", "not the token of any"),
    ("a word for a number", "47e7\tnorth\t1\n", "not two numbers"),
    ("an empty number", f"47e7\t\t{PARTS[2]}", "not two numbers"),
    ("a number with an underscore", "47e7\t1_0\t1\n", "not two numbers"),
    ("a number in other digits", "47e7\t١\t1\n", "not two numbers"),
    ("a decimal comma", "47e7\t1,5\t1\n", "not two numbers"),
    ("a number within blanks", "47e7\t 1\t1\n", "not two numbers"),
    ("not a number", "47e7\tnan\t1\n", "not two numbers"),
    ("infinity", "47e7\tinf\t1\n", "not two numbers"),
    ("a number too large", "47e7\t1e999\t1\n", "not a latitude"),
    ("a latitude of 91", "47e7\t91\t1\n", "not a latitude"),
    ("a longitude of 181", "47e7\t1\t181\n", "not a latitude"),
    ("a centroid elsewhere", "47e7\t-33\t151\n", "outside its cell 47e7"),
    ("columns exchanged", f"47e7\t{PARTS[2].strip()}\t{PARTS[1]}\n", "outside its cell"),
    ("a cell twice", line("89c25"), "line 2"),
    ("a cell inside another", line("89c24c"), "line 2.*overlap"),
    ("a cell around another", line("89c"), "line 2.*overlap"),
    ("a face around another", line("9"), "line 2.*overlap"),
]


@pytest.mark.parametrize(
    ("bad", "reason"), [row[1:] for row in VIOLATIONS], ids=[row[0] for row in VIOLATIONS]
)
def test_a_violation_names_the_file_and_the_line(bad: str, reason: str, write: Write) -> None:
    path = write(line("0d4") + line("89c25") + bad + line("478e3f"))
    with pytest.raises(GridError, match=reason) as caught:
        Grid.read(path)
    assert str(caught.value).startswith(f"{path}:3: ")
    assert "\n" not in str(caught.value)


def test_an_unreadable_file_is_named(tmp_path: Path, write: Write) -> None:
    for text, reason in (("", "no cells"), ("\n", "separated by tabs")):
        with pytest.raises(GridError, match=reason):
            Grid.read(write(text))
    with pytest.raises(GridError, match=r"absent\.txt: cannot be read"):
        Grid.read(tmp_path / "absent.txt")
    with pytest.raises(GridError, match="cannot be read"):
        Grid.read(tmp_path)
    (tmp_path / "latin.txt").write_bytes(b"47e7\t\xe9\t1\n")
    with pytest.raises(GridError, match="UTF-8"):
        Grid.read(tmp_path / "latin.txt")


@given(
    st.text(max_size=60)
    | st.lists(
        st.tuples(
            st.sampled_from(["47e7", "89c25", "89c24c", "478e384", "47e70", "1", "3", "d", "X"]),
            st.sampled_from(["0", "1e-5", "40.7", "51", "90", "-91", "nan", "", "1.", ".5", "+4"]),
            st.sampled_from(["0", "-74", "-0.1", "5e0", "inf", "7.5", "\x1c1", "181"]),
        ),
        max_size=3,
    ).map(lambda rows: "".join("\t".join(row) + "\n" for row in rows))
)  # fmt: skip
def test_any_text_is_a_grid_or_an_error_of_one_line(text: str) -> None:
    path = Path("any.txt")
    try:
        grid = Grid._parse(text, path)
    except GridError as error:
        assert str(error).startswith("any.txt:")
        assert len(str(error).split("\n")) == 1
    else:
        again = Grid._parse(grid._text, path)
        assert (again.ids == grid.ids).all()
        assert again.sha256 == grid.sha256


@given(
    st.lists(st.tuples(st.floats(-90, 90), st.floats(-180, 180)), min_size=1, max_size=8),
    st.integers(0, 28),
)
def test_what_is_written_is_read_back(points: list[tuple[float, float]], level: int) -> None:
    lat, lng = np.array(points).T
    ids = np.unique(s2.parent_ids(s2.leaf_ids(lat, lng), level))
    grid = Grid(ids, *s2.centers(ids))
    again = Grid._parse(grid._text, Path("grid"))
    assert (again.ids == ids).all()
    np.testing.assert_allclose(again.lat, grid.lat, rtol=1e-11)
    np.testing.assert_allclose(again.lng, grid.lng, rtol=1e-11)


def test_numbers_are_written_with_twelve_digits(tmp_path: Path) -> None:
    ids = np.array([s2.id_from_token("47e7"), s2.id_from_token("89c25")], np.uint64)
    lat, lng = s2.centers(ids)
    grid = Grid(ids, lat, lng)
    grid.write(tmp_path / "grids.txt")
    text = (tmp_path / "grids.txt").read_bytes()
    assert (
        text
        == f"47e7\t{lat[0]:.12g}\t{lng[0]:.12g}\n89c25\t{lat[1]:.12g}\t{lng[1]:.12g}\n".encode()
    )
    assert grid.sha256 == hashlib.sha256(text).hexdigest()


def test_a_centroid_that_rounding_carries_out_of_its_cell_is_not_written(tmp_path: Path) -> None:
    # Just west of the eastern edge of leaves, until one edge is where twelve digits round east.
    lats, lngs = np.full(1000, 0.3), 123.4567 + np.arange(1000) * 1e-7
    leaves = s2.leaf_ids(lats, lngs)
    lat, _ = s2.centers(leaves)
    west = s2.corners(leaves)[1].max(axis=1) - 1e-11
    rounded = np.array([float(f"{value:.12g}") for value in west])
    outside = (s2.leaf_ids(lat, west) == leaves) & (s2.leaf_ids(lat, rounded) != leaves)
    row = [int(np.argmax(outside))]
    assert outside[row]
    path = tmp_path / "grids.txt"
    with pytest.raises(GridError, match="outside its cell"):
        Grid(leaves[row], lat[row], west[row]).write(path)
    assert not path.exists()


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "grids.txt"
    path.write_text(line("47e7"))
    ids = np.array([s2.id_from_token("47e7")], np.uint64)
    with pytest.raises(GridError, match="outside its cell"):
        Grid(ids, np.array([0.0]), np.array([0.0])).write(path)
    assert path.read_text() == line("47e7")
    good = Grid(ids, *s2.centers(ids))
    with pytest.raises(LocationNetError, match="cannot be written"):
        good.write(tmp_path / "absent" / "grids.txt")
    path.unlink()
    (path / "in the way").mkdir(parents=True)
    with pytest.raises(LocationNetError, match="cannot be written"):
        good.write(path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["grids.txt"]


@pytest.mark.parametrize(("count", "deepest"), [(60, 3), (400, 12), (400, 30)])
def test_assign_finds_the_cell_around_each_point(count: int, deepest: int) -> None:
    rng = np.random.default_rng(count + deepest)
    grid = random_grid(rng, count, deepest)
    lat = np.degrees(np.arcsin(rng.uniform(-1, 1, 20_000)))
    lng = rng.uniform(-180, 180, 20_000)
    corner_lat, corner_lng = s2.corners(grid.ids)
    lat = np.concatenate([lat, corner_lat.ravel(), grid.lat])
    lng = np.concatenate([lng, corner_lng.ravel(), grid.lng])
    leaves = s2.leaf_ids(lat, lng)
    within = (s2.range_min(grid.ids) <= leaves[:, None]) & (
        leaves[:, None] <= s2.range_max(grid.ids)
    )
    expected = np.where(within.any(axis=1), within.argmax(axis=1), -1)
    classes = grid.assign(lat, lng)
    assert classes.dtype == np.int64
    assert (classes == expected).all()
    assert classes[-len(grid) :].tolist() == list(range(len(grid)))


def test_the_first_and_last_leaf_of_a_cell_are_in_it_and_their_neighbours_not() -> None:
    ids = np.array([s2.id_from_token(token) for token in ("0d4", "47e7", "89c25", "b")], np.uint64)
    grid = Grid(ids, *s2.centers(ids))
    first, last = s2.range_min(ids), s2.range_max(ids)
    assert grid.assign_leaves(first).tolist() == [0, 1, 2, 3]
    assert grid.assign_leaves(last).tolist() == [0, 1, 2, 3]
    two = np.uint64(2)
    assert (grid.assign_leaves(first - two) == -1).all()
    assert (grid.assign_leaves(last[:3] + two) == -1).all()


def test_a_point_that_is_nowhere_is_refused_not_labelled() -> None:
    ids = np.array([s2.id_from_token("47e7")], np.uint64)
    grid = Grid(ids, *s2.centers(ids))
    for lat, lng in ((np.nan, 0.0), (91.0, 0.0), (0.0, np.inf)):
        with pytest.raises(InputError):
            grid.assign([lat], [lng])
    assert grid.assign([], []).shape == (0,)


def test_the_grid_of_the_repository_is_whole() -> None:
    grid = Grid.read(ROOT / "grids.txt")
    assert len(grid) > 10_000
    assert (grid.ids[1:] > grid.ids[:-1]).all()
    assert grid.assign(grid.lat, grid.lng).tolist() == list(range(len(grid)))
    assert grid.sha256 == hashlib.sha256((ROOT / "grids.txt").read_bytes()).hexdigest()


def test_a_leaf_cell_that_stands_twice_is_refused(tmp_path: Path) -> None:
    leaf = s2.leaf_ids(np.array([48.8584]), np.array([2.2945]))
    lat, lng = s2.centers(leaf)
    text = f"{s2.tokens(leaf)[0]}\t{lat[0]:.12g}\t{lng[0]:.12g}\n"
    path = tmp_path / "grids.txt"
    path.write_text(text)
    assert Grid.read(path).levels.tolist() == [30]
    path.write_text(text * 2)
    with pytest.raises(GridError, match=r"grids\.txt:2: the cell \w+ stands in line 1 already"):
        Grid.read(path)
