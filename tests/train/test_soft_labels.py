import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from locationnet.errors import InputError
from locationnet.geo import s2
from locationnet.geo.grid import Grid
from locationnet.geo.sphere import great_circle_km
from locationnet.train import soft_labels
from locationnet.train.soft_labels import SoftLabels, balanced


def make_grid(lat: list[float], lng: list[float], level: int = 8) -> Grid:
    return Grid(s2.parent_ids(s2.leaf_ids(lat, lng), level), np.array(lat), np.array(lng))


@pytest.fixture
def line() -> Grid:
    """Cells on the equator at 0, 1, 2, 3 and 120 degrees."""
    return make_grid([0.1] * 5, [0.1, 1.1, 2.1, 3.1, 120.1])


def test_a_hard_label_is_the_class_alone(line: Grid) -> None:
    named, weights = SoftLabels(line)(np.array([3, 0]), np.array([0.1, 0.1]), np.array([3.0, 0.2]))
    assert_array_equal(named, [[3], [0]])
    assert_array_equal(weights, [[1], [1]])
    assert weights.dtype == np.float32


def test_a_smoothed_label_is_the_published_formula(line: Grid) -> None:
    classes, lat, lng = np.array([1]), np.array([0.4]), np.array([1.3])
    named, weights = SoftLabels(line, smooth_km=75)(classes, lat, lng)
    km = great_circle_km(lat, lng, line.lat, line.lng)
    expected = np.exp(-(km - km[1]) / 75)
    expected[4] = 0  # half-way round the globe
    found = np.zeros(5)
    np.add.at(found, named[0], weights[0])
    assert_allclose(found, expected / expected.sum(), atol=1e-3)
    assert named[0, 0] == 1


def test_a_photo_nearer_to_another_centroid_keeps_a_finite_label(line: Grid) -> None:
    # Its own centroid is 13,000 km away, so exp((d_true - d) / 1 km) would overflow.
    named, weights = SoftLabels(line, smooth_km=1)(np.array([4]), np.array([0.1]), np.array([0.1]))
    assert np.isfinite(weights).all()
    assert weights.sum() == pytest.approx(1)
    assert named[0, weights[0].argmax()] == 0


def test_labels_sum_to_one_and_name_no_class_twice() -> None:
    random = np.random.default_rng(0)
    leaves = s2.leaf_ids(random.uniform(-60, 60, 3000), random.uniform(-180, 180, 3000))
    ids = np.unique(s2.parent_ids(leaves, 6))
    grid = Grid(ids, *s2.centers(ids))
    classes = random.integers(0, len(grid), 200)
    named, weights = SoftLabels(grid, 75)(classes, grid.lat[classes] + 0.1, grid.lng[classes])
    assert named.shape == weights.shape == (200, soft_labels.NEIGHBOURS + 1)
    assert_allclose(weights.sum(axis=1), 1, rtol=1e-6)
    for row, weight in zip(named, weights, strict=True):
        counted = row[weight > 0]
        assert len(set(counted.tolist())) == len(counted)


def test_class_weights_scale_the_whole_label(line: Grid) -> None:
    scale = np.array([2.0, 1, 1, 0.5, 1])
    make = SoftLabels(line, 75, scale)
    _, weights = make(np.array([0, 3]), np.array([0.1, 0.1]), np.array([0.1, 3.1]))
    assert_allclose(weights.sum(axis=1), [2, 0.5], rtol=1e-6)


@pytest.mark.parametrize("km", [-1.0, np.nan, np.inf])
def test_a_radius_that_is_none_is_refused(line: Grid, km: float) -> None:
    with pytest.raises(InputError, match="0 km or more"):
        SoftLabels(line, km)


def test_inverse_weights_make_every_class_count_the_same() -> None:
    counts = np.array([10, 90, 0])
    weights = balanced(counts, "inverse")
    assert weights is not None
    assert weights[0] * 10 == pytest.approx(weights[1] * 90)
    assert (weights * counts).sum() == pytest.approx(counts.sum())
    root = balanced(counts, "sqrt")
    assert root is not None
    assert root[0] / root[1] == pytest.approx(3)
    assert balanced(counts, "none") is None
