"""Ranking, radii, roll-ups, coarse mode and abstention against values worked out by hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from locationnet.geo import s2, sphere
from locationnet.geo.grid import Grid
from locationnet.model.bundle import CellNames
from locationnet.model.cells import CellLayer, top_classes
from locationnet.model.locator import Locator
from locationnet.model.prediction import Evidence, Prediction
from locationnet.model.region import Region

# Two cells in Paris, one each in London, Madrid, Tokyo and Fiji, in id order.
POINTS = np.array(
    [
        (40.4, -3.7, "Madrid", "ES"),
        (48.80, 2.30, "Paris", "FR"),
        (48.95, 2.45, "Paris", "FR"),
        (51.5, -0.1, "London", "GB"),
        (35.7, 139.7, "Tokyo", "JP"),
        (-17.8, 177.9, "Nadi", "FJ"),
    ],
    dtype=object,
)


def _layer(level: int = 10) -> CellLayer:
    lat, lng = POINTS[:, 0].astype(float), POINTS[:, 1].astype(float)
    ids = s2.parent_ids(s2.leaf_ids(lat, lng), level)
    order = np.argsort(ids)
    names = CellNames(
        city=[str(POINTS[index, 2]) for index in order],
        region=[""] * len(order),
        country=[str(POINTS[index, 3]) for index in order],
    )
    return CellLayer(Grid(ids[order], lat[order], lng[order]), names)


LAYER = _layer()
UNIFORM = np.full(6, 1 / 6)


def _prediction(top_k: int = 3, threshold: float = 0.0, **masses: float) -> Prediction:
    """Give each city's mass; two cells of one city share it."""
    cities = LAYER.names.city
    weights = [masses.get(city, 0.0) / cities.count(city) for city in cities]
    return Prediction(LAYER, np.array(weights), UNIFORM, top_k, threshold)


def test_places_are_ranked_by_probability() -> None:
    prediction = _prediction(Tokyo=0.6, London=0.3, Madrid=0.1)
    assert [place.name for place in prediction.places] == ["Tokyo, JP", "London, GB", "Madrid, ES"]
    assert [place.rank for place in prediction.places] == [1, 2, 3]
    assert prediction.mode.probability == pytest.approx(0.6)
    assert prediction.mode.level == 10


def test_ties_go_to_the_smaller_class() -> None:
    prediction = Prediction(LAYER, UNIFORM, UNIFORM, 4)
    assert [place.class_index for place in prediction.places] == [0, 1, 2, 3]


@given(
    st.lists(st.integers(0, 5), min_size=1, max_size=60),
    st.integers(1, 70),
)
def test_top_classes_equal_a_stable_sort(values: list[int], k: int) -> None:
    probabilities = np.array(values, float)
    expected = np.argsort(-probabilities, kind="stable")[:k]
    assert top_classes(probabilities, k).tolist() == expected.tolist()


def test_a_place_names_itself_without_repeating() -> None:
    names = CellNames(["Singapore", "", "Zermatt"], ["Singapore", "", "Valais"], ["SG", "", "CH"])
    assert [names.name(index) for index in range(3)] == ["Singapore, SG", "", "Zermatt, Valais, CH"]


def test_the_best_point_may_differ_from_the_mode() -> None:
    # Tokyo is the single most probable cell, but Europe together holds more expected score.
    prediction = _prediction(Tokyo=0.35, London=0.2, Paris=0.3, Madrid=0.15)
    assert prediction.mode.name == "Tokyo, JP"
    assert prediction.best.name == "Paris, FR"
    assert prediction.best.rank > 2


def test_the_best_point_maximises_the_expected_geoscore() -> None:
    grid = LAYER.grid
    prediction = _prediction(Tokyo=0.2, London=0.25, Paris=0.35, Madrid=0.2)
    distances = sphere.great_circle_km(grid.lat[:, None], grid.lng[:, None], grid.lat, grid.lng)
    expected = sphere.geoscore(distances) @ prediction.probabilities
    assert prediction.best.class_index == int(np.argmax(expected))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_the_two_pass_best_point_is_as_good_as_the_exhaustive_one(seed: int) -> None:
    random = np.random.default_rng(seed)
    lat, lng = np.degrees(np.arcsin(random.uniform(-1, 1, 400))), random.uniform(-180, 180, 400)
    ids = np.unique(s2.parent_ids(s2.leaf_ids(lat, lng), 8))
    centres = s2.centers(ids)
    nothing = [""] * len(ids)
    layer = CellLayer(Grid(ids, *centres), CellNames(nothing, nothing, nothing))
    probabilities = random.dirichlet(np.full(len(ids), 0.05))
    distances = sphere.great_circle_km(
        centres[0][:, None], centres[1][:, None], centres[0], centres[1]
    )
    scores = sphere.geoscore(distances) @ probabilities
    assert scores[layer.best_class(probabilities)] >= 0.999 * scores.max()


@pytest.mark.parametrize("mass", [0.99, 0.5, 0.3])
def test_the_best_point_of_a_sure_answer_in_a_dense_grid_is_exact(mass: float) -> None:
    grid = Grid.read(Path(__file__).parents[2] / "grids.txt")
    nothing = [""] * len(grid)
    layer = CellLayer(grid, CellNames(nothing, nothing, nothing))
    random = np.random.default_rng(3)
    for peak in random.integers(0, len(grid), 20):
        probabilities = random.dirichlet(np.full(len(grid), 0.05)) * (1 - mass)
        probabilities[peak] += mass
        best = layer.best_class(probabilities)
        km = sphere.great_circle_km(
            grid.lat[[peak, best], None], grid.lng[[peak, best], None], grid.lat, grid.lng
        )
        scores = sphere.geoscore(km) @ probabilities
        # Nothing far from the peak may win, and the winner is at least as good as the peak.
        assert scores[1] >= scores[0]
        if mass > 0.9:
            assert best == peak


def test_radius_holds_the_probability_asked_for() -> None:
    prediction = _prediction(Paris=0.6, London=0.2, Madrid=0.15, Tokyo=0.05)
    assert prediction.best.name == "Paris, FR"
    best = prediction.best
    to_london = float(sphere.great_circle_km(best.lat, best.lng, 51.5, -0.1))
    to_tokyo = float(sphere.great_circle_km(best.lat, best.lng, 35.7, 139.7))
    assert prediction.radius_km(0.55) < 40
    assert prediction.radius_km(0.75) == pytest.approx(to_london, abs=15)
    assert prediction.radius_km(1.0) == pytest.approx(to_tokyo, abs=20)


def test_a_sure_answer_is_as_wide_as_its_cell() -> None:
    prediction = _prediction(Tokyo=1.0)
    assert 1 < prediction.radius_km(0.5) < prediction.radius_km(0.9) < 15


def test_radius_grows_with_the_probability() -> None:
    prediction = _prediction(Paris=0.5, London=0.2, Madrid=0.2, Tokyo=0.1)
    radii = [prediction.radius_km(share) for share in np.linspace(0.01, 1, 50)]
    assert radii == sorted(radii)


@pytest.mark.parametrize("share", [0.0, -0.1, 1.01, float("nan")])
def test_a_radius_outside_zero_and_one_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match="above 0 and at most 1"):
        _prediction(Tokyo=1.0).radius_km(share)


def test_information_is_the_divergence_from_the_prior() -> None:
    assert _prediction(Tokyo=1.0).information_bits == pytest.approx(np.log2(6))
    assert Prediction(LAYER, UNIFORM, UNIFORM).information_bits == 0
    half = _prediction(Tokyo=0.5, London=0.5)
    assert half.information_bits == pytest.approx(np.log2(3))


def test_an_answer_with_too_little_information_abstains() -> None:
    assert _prediction(Tokyo=1.0, threshold=3.0).abstained
    assert not _prediction(Tokyo=1.0, threshold=2.0).abstained


def test_probability_by_country_adds_up() -> None:
    prediction = _prediction(Paris=0.6, London=0.3, Tokyo=0.1)
    codes, shares = zip(*prediction.by_country()[:3], strict=True)
    assert codes == ("FR", "GB", "JP")
    assert shares == pytest.approx((0.6, 0.3, 0.1))
    assert sum(share for _, share in prediction.by_country()) == pytest.approx(1)


def test_probability_by_level_joins_neighbours() -> None:
    prediction = _prediction(Paris=0.6, London=0.3, Tokyo=0.1)
    by_face = dict(prediction.by_level(0))
    assert sum(by_face.values()) == pytest.approx(1)
    europe = s2.tokens(s2.parent_ids(s2.leaf_ids(np.array([48.8]), np.array([2.3])), 0))[0]
    assert by_face[europe] >= 0.6
    assert len(prediction.by_level(30)) == 6


@pytest.mark.parametrize("level", [-1, 31])
def test_a_level_outside_zero_and_thirty_is_refused(level: int) -> None:
    with pytest.raises(ValueError, match="from 0 to 30"):
        _prediction(Tokyo=1.0).by_level(level)


@pytest.mark.parametrize("km", [5.0, 25.0, 200.0, 750.0, 6000.0])
def test_coarse_answers_are_nowhere_finer_than_asked(km: float) -> None:
    fine = _prediction(Paris=0.6, London=0.3, Tokyo=0.1)
    coarse = fine.coarse(km)
    assert coarse.probabilities.sum() == pytest.approx(1)
    assert coarse.radius_km(0.01) >= km
    lat, lng = s2.corners(coarse.grid.ids)
    sides = sphere.great_circle_km(lat, lng, np.roll(lat, -1, 1), np.roll(lng, -1, 1))
    if km < 6000:  # no cell is wider than a face
        assert sides.min() >= km
    assert not set(coarse.grid.lat) & set(fine.grid.lat)
    assert all("," not in place.name for place in coarse.places)


def test_coarse_cells_keep_the_country_of_most_of_their_cells() -> None:
    # At 200 km both Paris cells share an ancestor.
    assert _prediction(Paris=0.9, Tokyo=0.1).coarse(100.0).mode.name == "FR"


@pytest.mark.parametrize("km", [0.0, -1.0, 6001.0, float("nan")])
def test_a_coarseness_that_is_not_positive_is_refused(km: float) -> None:
    with pytest.raises(ValueError, match="positive"):
        _prediction(Tokyo=1.0).coarse(km)


def test_the_dictionary_is_json_in_the_documented_form() -> None:
    prediction = Prediction(
        LAYER, np.array([0.5, 0.5, 0, 0, 0, 0]), UNIFORM, 2, 0.0, (Evidence("volcano", 0.91, 1.5),)
    )
    answer = json.loads(json.dumps(prediction.to_dict()))
    assert list(answer) == [
        "summary",
        "located",
        "predictions",
        "mode_radius_km",
        "cities",
        "raised",
        "countries",
        "hint",
        "best",
        "radius_km",
        "abstained",
        "information_bits",
        "explanation",
        "evidence",
    ]
    assert list(answer["predictions"][0]) == [
        "rank",
        "probability",
        "lift",
        "lat",
        "lng",
        "cell",
        "level",
        "place",
    ]
    assert set(answer["radius_km"]) == {"50", "90"}
    assert answer["evidence"] == [{"label": "volcano", "probability": 0.91, "bits": 1.5}]


def test_cells_at_every_level_spread_inside_themselves() -> None:
    for level in (0, 1, 15, 28, 29, 30):
        layer = _layer(level) if level >= 10 else _coarse_layer(level)
        points = layer.spread
        assert np.allclose(np.linalg.norm(points, axis=-1), 1)
        centre = _unit(layer)
        farthest = np.linalg.norm(points - centre[:, None], axis=-1).max()
        assert farthest <= 2.0 / 2**level


def _coarse_layer(level: int) -> CellLayer:
    ids = np.unique(s2.parent_ids(LAYER.grid.ids, level))
    nothing = [""] * len(ids)
    return CellLayer(Grid(ids, *s2.centers(ids)), CellNames(nothing, nothing, nothing))


def _unit(layer: CellLayer) -> NDArray[np.float64]:
    return np.asarray(sphere.unit_vectors(*s2.centers(layer.grid.ids)))


def test_what_is_printed_is_short(demo_locator: Locator, rocket: Path) -> None:
    prediction = demo_locator.locate(rocket)
    assert repr(prediction) == "Prediction(Titusville, Florida, US 1.5 % ×44 · 0.12 bits)"
    assert repr(demo_locator.prior()).endswith("×1 · 0.00 bits, abstained)")
    for one in (demo_locator, demo_locator.grid, demo_locator.bundle, prediction.layer):
        assert len(repr(one)) < 200
        assert type(one).__name__ in repr(one)


def test_a_country_is_a_region(demo_locator: Locator, rocket: Path) -> None:
    prediction = demo_locator.locate(rocket)
    italy = prediction.within("it")
    assert {code for code, held in italy.by_country() if held} == {"IT"}
    again = demo_locator.locate(rocket, within=Region(("IT",)))
    assert again.probabilities == pytest.approx(italy.probabilities)
    both = demo_locator.locate(rocket, within="IT, US").by_country()
    assert {code for code, held in both if held} == {"IT", "US"}
    with pytest.raises(ValueError, match="two letters"):
        prediction.within("Italy")
