"""What is known of a photo's origin: boxes, circles, countries, and the confidence in that."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from locationnet.geo import s2, sphere
from locationnet.geo.grid import Grid
from locationnet.model.bundle import CellNames
from locationnet.model.cells import CellLayer
from locationnet.model.prediction import Prediction
from locationnet.model.region import Region

# Everywhere: the 96 cells of level 2; every third is called XA, the others XB and XC.
_IDS = np.unique(
    s2.parent_ids(
        s2.leaf_ids(
            *(
                axis.ravel()
                for axis in np.meshgrid(np.linspace(-89, 89, 90), np.arange(-179, 180.0))
            )
        ),
        2,
    )
)
_COUNTRY = [("XA", "XB", "XC")[index % 3] for index in range(len(_IDS))]
_NOTHING = [""] * len(_IDS)
WORLD = CellLayer(Grid(_IDS, *s2.centers(_IDS)), CellNames(_NOTHING, _NOTHING, _COUNTRY))

# Four cities in small cells, whose shares of a region are all or nothing.
_NAMES = ["Nadi", "Apia", "Oslo", "Lima"]
_LAT, _LNG = np.array([-17.8, -13.83, 59.91, -12.05]), np.array([177.9, -171.77, 10.75, -77.04])
_SMALL = s2.parent_ids(s2.leaf_ids(_LAT, _LNG), 12)
_ORDER = np.argsort(_SMALL)
CITIES = CellLayer(
    Grid(_SMALL[_ORDER], _LAT[_ORDER], _LNG[_ORDER]),
    CellNames(
        [_NAMES[index] for index in _ORDER],
        [""] * 4,
        [("FJ", "WS", "NO", "PE")[index] for index in _ORDER],
    ),
)

lat = st.floats(-90, 90)
lng = st.floats(-180, 180)
regions = st.builds(
    Region,
    st.lists(st.sampled_from(["XA", "XB", "xc"]), max_size=2).map(tuple),
    st.none() | st.tuples(lng, lat, lng, lat).filter(lambda box: box[1] <= box[3]),
    st.none() | st.tuples(lat, lng, st.floats(0.001, 20_000)),
)
weights = st.lists(
    st.sampled_from([0.0, 1e-300, 1e-9, 0.1, 1.0, 7.0]), min_size=len(_IDS), max_size=len(_IDS)
).filter(any)


def _world(masses: list[float]) -> Prediction:
    probabilities = np.array(masses)
    even = np.full(len(_IDS), 1 / len(_IDS))
    return Prediction(WORLD, probabilities / probabilities.sum(), even)


def _cities(**masses: float) -> Prediction:
    probabilities = np.array([masses.get(city, 0.0) for city in CITIES.names.city])
    return Prediction(CITIES, probabilities, np.full(4, 0.25))


def _masses(prediction: Prediction) -> dict[str, float]:
    cities = zip(CITIES.names.city, prediction.probabilities.tolist(), strict=True)
    return {city: mass for city, mass in cities if mass}


@settings(max_examples=150, deadline=None)
@given(regions, weights, st.floats(1e-6, 1))
def test_whatever_the_region_probabilities_stay_probabilities(
    region: Region, masses: list[float], certainty: float
) -> None:
    before = _world(masses)
    shares = region.shares(WORLD)
    assert ((shares >= 0) & (shares <= 1)).all()
    if not shares.any():
        with pytest.raises(ValueError, match="no cell"):
            before.within(region, certainty)
        return
    after = before.within(region, certainty)
    for distribution in (after.probabilities, after.prior):
        assert (distribution >= 0).all()
        assert distribution.sum() == pytest.approx(1)
    assert np.isfinite(after.information_bits)
    assert after.information_bits >= 0
    if region and certainty == 1:
        assert not after.probabilities[shares == 0].any()


@settings(max_examples=50, deadline=None)
@given(st.sampled_from([("XA",), ("XB", "XC")]), weights)
def test_what_is_known_for_sure_says_the_same_twice(
    countries: tuple[str, ...], masses: list[float]
) -> None:
    region = Region(countries)
    once = _world(masses).within(region)
    np.testing.assert_allclose(once.within(region).probabilities, once.probabilities, atol=1e-12)


def test_certainty_is_jeffreys_rule() -> None:
    # By hand: inside, Nadi and Apia keep 1:3 and share 0.8; outside, Oslo and Lima share 0.2 3:1.
    before = _cities(Nadi=0.1, Apia=0.3, Oslo=0.45, Lima=0.15)
    after = before.within(Region(("FJ", "WS")), 0.8)
    assert _masses(after) == pytest.approx({"Nadi": 0.2, "Apia": 0.6, "Oslo": 0.15, "Lima": 0.05})
    assert after.prior == pytest.approx(
        [0.4 if city in ("Nadi", "Apia") else 0.1 for city in CITIES.names.city]
    )


def test_a_share_of_a_cell_counts_as_such() -> None:
    cell = int(WORLD.grid.assign(np.array([10.0]), np.array([20.0]))[0])
    middle = WORLD.grid.lng[cell]
    box = Region(box=(middle, -90, min(180.0, middle + 90), 90))
    share = box.shares(WORLD)[cell]
    assert 0 < share < 1
    masses = np.full(len(_IDS), 0.0)
    masses[cell] = 1.0
    after = _world(masses.tolist()).within(box, 0.9)
    assert after.probabilities[cell] == pytest.approx(1)


@pytest.mark.parametrize(
    ("box", "inside"),
    [
        ((170.0, -30.0, -160.0, 0.0), {"Nadi", "Apia"}),
        ((170.0, -30.0, 180.0, 0.0), {"Nadi"}),
        ((-180.0, -30.0, -160.0, 0.0), {"Apia"}),
        ((-160.0, -90.0, 170.0, 90.0), {"Oslo", "Lima"}),
        ((-180.0, -90.0, 180.0, 90.0), {"Nadi", "Apia", "Oslo", "Lima"}),
    ],
)
def test_a_box_may_cross_180_degrees(
    box: tuple[float, float, float, float], inside: set[str]
) -> None:
    even = _cities(Nadi=0.25, Apia=0.25, Oslo=0.25, Lima=0.25)
    assert _masses(even.within(Region(box=box))).keys() == inside


@pytest.mark.parametrize("radius_km", [0.001, 1.0, 100.0])
def test_a_circle_smaller_than_a_cell_is_that_cell(radius_km: float) -> None:
    even = _cities(Nadi=0.25, Apia=0.25, Oslo=0.25, Lima=0.25)
    cell = CITIES.names.city.index("Oslo")
    where = CITIES.grid.lat[cell], CITIES.grid.lng[cell]
    assert _masses(even.within(Region(circle=(*where, radius_km)))) == {"Oslo": pytest.approx(1)}


def test_a_box_smaller_than_a_cell_is_that_cell_also_at_180_degrees() -> None:
    for west, east in ((179.9999, -179.9998), (-180.0, -179.9999), (179.9999, 180.0)):
        shares = Region(box=(west, 10.0, east, 10.001)).shares(WORLD)
        assert np.count_nonzero(shares) == 1


def test_a_region_without_probability_is_filled_by_the_prior() -> None:
    after = _cities(Oslo=1.0).within(Region(("fj", "ws")))
    assert _masses(after) == {"Nadi": pytest.approx(0.5), "Apia": pytest.approx(0.5)}


@pytest.mark.parametrize(
    "region",
    [Region(("XX",)), Region(("FJ",), circle=(59.91, 10.75, 10.0)), Region(circle=(0, 0, 5))],
)
def test_a_region_without_a_cell_is_refused(region: Region) -> None:
    with pytest.raises(ValueError, match="no cell"):
        _cities(Oslo=1.0).within(region)


@pytest.mark.parametrize("certainty", [0.0, -0.1, 1.1, float("nan")])
def test_a_certainty_is_a_probability(certainty: float) -> None:
    with pytest.raises(ValueError, match="certainty"):
        _cities(Oslo=1.0).within(Region(("NO",)), certainty)


NAN = float("nan")


@pytest.mark.parametrize(
    "wrong",
    [
        {"countries": ("FRA",)},
        {"countries": ("",)},
        {"countries": ("ÅÅ",)},
        {"box": (0, 10, 0, 5)},
        {"box": (-181, 0, 0, 5)},
        {"box": (NAN, 0, 0, 5)},
        {"box": (0, 0, 0, 91)},
        {"circle": (0, 0, 0)},
        {"circle": (0, 0, NAN)},
        {"circle": (0, 0, 20_016)},
        {"circle": (91, 0, 1)},
        {"circle": (0, float("inf"), 1)},
    ],
)
def test_what_is_no_region_is_refused(wrong: dict[str, tuple[float, ...]]) -> None:
    with pytest.raises(ValueError, match=r"code|latitude|longitude|radius|south"):
        Region(**wrong)  # type: ignore[arg-type]  # the point of the test


# Strangers choose widths: what is kept for them must not grow with their number.


def test_any_number_of_widths_leaves_few_layers() -> None:
    layer = CellLayer(WORLD.grid, WORLD.names)
    prediction = Prediction(layer, np.full(len(_IDS), 1 / len(_IDS)), np.full(len(_IDS), 0.01))
    widths = np.geomspace(0.001, 6000, 400)
    radii = [prediction.coarse(km).radius_km(0.01) for km in widths]
    assert (np.array(radii) >= widths).all()
    assert len(layer._coarser) <= 31


# The best guess, found by a search, against trying every cell.


def _exhaustive(layer: CellLayer, probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    vectors = sphere.unit_vectors(layer.grid.lat, layer.grid.lng)
    angles = np.arccos(np.clip(vectors @ vectors.T, -1, 1))
    return sphere.geoscore(angles * sphere.EARTH_RADIUS_KM) @ probabilities


@pytest.mark.parametrize("seed", range(8))
def test_the_best_guess_is_as_good_as_the_best_of_all_cells(seed: int) -> None:
    rng = np.random.default_rng(seed)
    count = 3000
    # Cities with suburbs, and the empty rest of the world.
    centres = np.stack([np.degrees(np.arcsin(rng.uniform(-1, 1, 40))), rng.uniform(-180, 180, 40)])
    points = centres[:, rng.integers(0, 40, count)] + rng.normal(0, 1 + seed, (2, count))
    ids = np.unique(
        s2.parent_ids(
            s2.leaf_ids(np.clip(points[0], -90, 90), (points[1] + 180) % 360 - 180), 9 + seed % 3
        )
    )
    nothing = [""] * len(ids)
    layer = CellLayer(Grid(ids, *s2.centers(ids)), CellNames(nothing, nothing, nothing))
    for concentration in (0.003, 0.05, 1.0):
        probabilities = rng.dirichlet(np.full(len(ids), concentration))
        expected = _exhaustive(layer, probabilities)
        assert expected[layer.best_class(probabilities)] >= 0.999 * expected.max()
