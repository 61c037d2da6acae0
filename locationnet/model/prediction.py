"""The answer for one photo: ranked places, the whole distribution, and its confidence.

Knows nothing of networks, or of how answers are drawn: see `locationnet.model.presenter`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from locationnet.geo import s2
from locationnet.geo.grid import Grid
from locationnet.images import Photo
from locationnet.model import summary
from locationnet.model.cells import CellLayer, top_classes, totals
from locationnet.model.manifest import HintRate
from locationnet.model.neighbour import Neighbour
from locationnet.model.photo_source import photo_name
from locationnet.model.presenter import presenter
from locationnet.model.region import Region
from locationnet.model.rollups import LEVELS, Group, GroupLevel, RollUp

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FloatArray = NDArray[np.float64]

# A face of the cube, the largest cell there is, is 6007 km wide at its narrowest.
MAX_COARSE_KM = 6000
# Evidence below what two decimals can show moved nothing.
TELLING_BITS = 0.005
# A wider circle says little about the place in its middle.
TELLING_KM = 2000.0


@dataclass(frozen=True)
class Place:
    """One cell of an answer.

    Parameters
    ----------
    rank
        1 for the most probable cell; ties go to the smaller class.
    class_index
        Line of the cell in ``grids.txt``, from 0.
    probability
        Probability that the photo was taken in the cell.
    lift
        How many times more than before the photo was seen.
    lat, lng
        Where in the cell, degrees: its centroid, or where similar photos were taken.
    cell
        S2 token.
    level
        S2 level, 0–30.
    name
        ``"city, region, country"``, or ``""``.
    """

    rank: int
    class_index: int
    probability: float
    lift: float
    lat: float
    lng: float
    cell: str
    level: int
    name: str


@dataclass(frozen=True)
class Evidence:
    """Something seen in the photo that moved the answer.

    Parameters
    ----------
    label
        What was seen.
    probability
        The network's confidence in it.
    bits
        How far the answer is from the one without it: Kullback–Leibler divergence, bits.
    """

    label: str
    probability: float
    bits: float


@dataclass(frozen=True, eq=False, repr=False)
class Prediction:
    """Where a photo was probably taken.

    Parameters
    ----------
    layer
        The cells.
    probabilities
        float64 ``(classes,)``, sums to 1.
    prior
        The distribution before the photo was seen, float64 ``(classes,)``.
    top_k
        How many places `places` lists.
    abstain_below_bits
        Answers that hold less information than this abstain.
    evidence
        What moved the answer, strongest first; empty where the bundle cannot say.
    min_radius_km
        No radius is reported smaller than this (coarse mode); kilometres.
    calibrated
        False where nobody has compared such probabilities with how often they are right.
    hint_rates
        How often the strongest hint of such answers was right, by their bits.
    demo
        Whether a demo answers.
    neighbours
        Similar photos with known places that took part, most similar first; see `load_model`.
    points
        Latitude and longitude of the cells, by class, whose answer lies elsewhere than at the
        centroid: where similar photos were taken.
    photo
        What was located, as it was given: for a file its path, not its content.
    """

    layer: CellLayer
    probabilities: FloatArray
    prior: FloatArray
    top_k: int = 5
    abstain_below_bits: float = 0.0
    evidence: tuple[Evidence, ...] = ()
    min_radius_km: float = 0.0
    calibrated: bool = True
    hint_rates: tuple[HintRate, ...] = ()
    demo: bool = False
    neighbours: tuple[Neighbour, ...] = ()
    points: Mapping[int, tuple[float, float]] = field(default_factory=dict)
    photo: Photo | None = None

    def __repr__(self) -> str:
        first = self.mode
        bits = f"{self.information_bits:.2f} bits" + (", abstained" if self.abstained else "")
        name = first.name or f"cell {first.cell}"
        return f"Prediction({name} {100 * first.probability:.2g} % ×{first.lift:.2g} · {bits})"

    def _repr_html_(self) -> str:
        return presenter().html(self)

    @property
    def source(self) -> str | None:
        """The path, URL or name of the photo; None where it has none."""
        return None if self.photo is None else photo_name(self.photo)

    @property
    def grid(self) -> Grid:
        """The cells; class *i* is row *i*."""
        return self.layer.grid

    @cached_property
    def places(self) -> tuple[Place, ...]:
        """The `top_k` most probable cells, ties in class order."""
        order = top_classes(self.probabilities, self.top_k)
        cells = s2.tokens(self.grid.ids[order])
        return tuple(map(self._place, range(1, len(order) + 1), order.tolist(), cells))

    @property
    def mode(self) -> Place:
        """The most probable cell."""
        return self.places[0]

    @cached_property
    def best(self) -> Place:
        """The single best guess: the centroid with the highest expected GeoScore."""
        return self.place(self.layer.best_class(self.probabilities))

    def place(self, class_index: int) -> Place:
        """Return one cell of the answer."""
        own = self.probabilities[class_index]
        ahead = int((self.probabilities > own).sum())
        ahead += int((self.probabilities[:class_index] == own).sum())
        token = s2.tokens(self.grid.ids[class_index : class_index + 1])[0]
        return self._place(ahead + 1, class_index, token)

    def point(self, class_index: int) -> tuple[float, float]:
        """Return where the answer of a cell lies, (latitude, longitude) in degrees.

        That is its centroid, or where similar photos were taken.
        """
        own = float(self.grid.lat[class_index]), float(self.grid.lng[class_index])
        return self.points.get(class_index, own)

    @cached_property
    def lifts(self) -> FloatArray:
        """How many times more than before each cell is, float64 ``(classes,)``; 1 for nothing."""
        possible = self.prior > 0
        return np.divide(
            self.probabilities, self.prior, out=np.ones_like(self.prior), where=possible
        )

    @cached_property
    def information_bits(self) -> float:
        """How far the photo moved the answer from the prior: Kullback–Leibler divergence, bits."""
        seen = self.probabilities > 0
        ratio = self.probabilities[seen] / self.prior[seen]
        return max(0.0, float(np.sum(self.probabilities[seen] * np.log2(ratio))))

    @property
    def abstained(self) -> bool:
        """Whether the photo says too little about its place for the answer to be used."""
        return self.information_bits < self.abstain_below_bits

    def radius_km(self, probability: float, around: Place | None = None) -> float:
        """Return the smallest radius around a place that holds a probability.

        A cell's probability is spread evenly over the cell, and in coarse mode no radius is smaller
        than the coarseness.

        Parameters
        ----------
        probability
            Above 0, up to 1.
        around
            A place of this answer; `best` unless given.

        Returns
        -------
        float
            Kilometres.

        Raises
        ------
        ValueError
            `probability` is not in (0, 1].
        """
        if not 0 < probability <= 1:
            raise ValueError(f"probability must be above 0 and at most 1, not {probability}")
        return self._radii_km(around or self.best, probability)[0]

    @cached_property
    def reported_radii_km(self) -> tuple[dict[str, float], dict[str, float]]:
        """The radii that every answer reports, of 50 % and of 90 %: around `best` and `mode`."""
        around = {
            place.class_index: dict(zip(("50", "90"), self._radii_km(place, 0.5, 0.9), strict=True))
            for place in dict.fromkeys((self.best, self.mode))
        }
        return around[self.best.class_index], around[self.mode.class_index]

    def roll_up(self, level: GroupLevel) -> RollUp:
        """Return the answer summed up by city, region, country or continent."""
        if level not in self._roll_ups:
            labels = {
                "city": self.layer.cities,
                "region": self.layer.regions,
                "country": self.layer.countries,
                "continent": self.layer.continents,
            }[level]
            self._roll_ups[level] = RollUp(level, labels, self.probabilities, self.prior)
        return self._roll_ups[level]

    @cached_property
    def _roll_ups(self) -> dict[GroupLevel, RollUp]:
        return {}

    @cached_property
    def cities(self) -> tuple[Group, ...]:
        """The `top_k` most probable cities; none in coarse answers."""
        return self.roll_up("city").first(self.top_k)

    @cached_property
    def countries(self) -> tuple[Group, ...]:
        """The `top_k` most probable countries; `by_country` has all."""
        return self.roll_up("country").first(self.top_k)

    @cached_property
    def raised(self) -> tuple[Group, ...]:
        """The `top_k` cities, or in coarse answers countries, with the largest lifts."""
        return self.roll_up(self._finest).raised(self.top_k)

    @cached_property
    def hint(self) -> Group | None:
        """The strongest hint: the city, or in coarse answers the country, raised most.

        That is the one with the largest p · log₂(lift); None where none became more probable.
        """
        return self.roll_up(self._finest).strongest()

    @property
    def _finest(self) -> GroupLevel:
        return "city" if any(self.layer.names.city) else "country"

    @property
    def hint_rate(self) -> HintRate | None:
        """How often hints at as many bits were right; None where nobody has measured it."""
        bits = self.information_bits
        for rate in self.hint_rates:
            if rate.from_bits <= bits and (rate.to_bits is None or bits < rate.to_bits):
                return rate
        return None

    @cached_property
    def likely(self) -> Group | None:
        """The city, region, country or continent, the finest, that holds half of the probability.

        None where the answer abstains, or none holds as much, or only what a region named.
        """
        return None if self.abstained else summary.likely(self._levels)

    @property
    def _levels(self) -> list[RollUp]:
        return [self.roll_up(level) for level in LEVELS]

    @cached_property
    def summary(self) -> str:
        """The answer in a sentence, at the finest level that can be believed."""
        if self.abstained:
            return summary.ABSTAINED
        return summary.headline(
            self._levels,
            self.layer,
            self.hint if summary.has_earned(self.hint_rate) else None,
            calibrated=self.calibrated,
            demo=self.demo,
        )

    @property
    def explanation(self) -> str:
        """What was seen in the photo and where it points, in a sentence; ``""`` if unknown."""
        telling = [item.label for item in self.evidence if item.bits >= TELLING_BITS]
        return summary.explanation(telling, self.hint)

    def by_country(self) -> list[tuple[str, float]]:
        """Return ISO country codes with their probability, most probable first.

        Cells whose country is unknown count under ``""``.
        """
        groups = self.roll_up("country")
        return [(groups.labels.values[code], float(groups.held[code])) for code in groups.ranked()]

    def by_level(self, level: int) -> list[tuple[str, float]]:
        """Return S2 tokens of a level with their probability, most probable first.

        Cells coarser than the level count under their own token.

        Raises
        ------
        ValueError
            `level` is not in 0–30.
        """
        if not 0 <= level <= 30:
            raise ValueError(f"an S2 level is a number from 0 to 30, not {level}")
        ids, classes = np.unique(s2.ancestor_ids(self.grid.ids, level), return_inverse=True)
        return _ranked(s2.tokens(ids), classes, self.probabilities)

    def coarse(self, km: float) -> Prediction:
        """Return the same answer over cells nowhere narrower than `km` kilometres.

        Neither places, names nor radii of the result are finer than that; it keeps no evidence.

        Raises
        ------
        ValueError
            `km` is not positive, or above 6000.
        """
        if not 0 < km <= MAX_COARSE_KM:
            raise ValueError(f"the coarseness is positive and at most {MAX_COARSE_KM} km, not {km}")
        layer, classes = self.layer.coarser(km)
        count = len(layer.grid)
        return replace(
            self,
            layer=layer,
            probabilities=totals(classes, self.probabilities, count),
            prior=totals(classes, self.prior, count),
            evidence=(),
            neighbours=(),
            points={},
            min_radius_km=max(km, self.min_radius_km),
        )

    def within(self, region: Region | str, certainty: float = 1.0) -> Prediction:
        """Return the same answer given that the photo is known to come from a region.

        Parameters
        ----------
        region
            The part of the world, or a country's ISO code, or several with commas between them.
        certainty
            The confidence in that, above 0 and up to 1: the probability that the region gets in
            all; the rest stays with the world around it (Jeffrey's rule).

        Raises
        ------
        ValueError
            No cell of the grid lies in the region, `certainty` is out of range, or a code is not
            valid.
        """
        if isinstance(region, str):
            region = Region(tuple(code.strip() for code in region.split(",")))
        if not 0 < certainty <= 1:
            raise ValueError(f"the certainty is above 0 and at most 1, not {certainty}")
        shares = region.shares(self.layer)
        # A prior without a chance there was given another region, which still holds.
        prior = _conditioned(self.prior, shares, certainty, self.prior)
        return replace(
            self, probabilities=_conditioned(self.probabilities, shares, certainty, prior),
            prior=prior, **({} if certainty < 1 else self._inside(region, shares)),
        )  # fmt: skip

    def _inside(self, region: Region, shares: FloatArray) -> dict[str, Any]:
        """Return the neighbours, and the points that they gave, that lie in a region."""
        lat = [one.lat for one in self.neighbours]
        cells = self.grid.nearest(lat, [one.lng for one in self.neighbours])
        return {
            "neighbours": tuple(
                one
                for one, cell in zip(self.neighbours, cells, strict=True)
                if region.holds(one.lat, one.lng, float(shares[cell]))
            ),
            "points": {
                cell: point
                for cell, point in self.points.items()
                if region.holds(*point, float(shares[cell]))
            },
        }

    def show(self) -> None:
        """Open the answer's card: in a notebook below the cell, else in the system's viewer.

        Raises
        ------
        LocationNetError
            There is no viewer or no screen, matplotlib is not installed, or the photo cannot be
            read any more.
        """
        presenter().show(self)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the answer in the form that the file's ending names.

        Parameters
        ----------
        path
            ``.png``: a card with the photo, the answer in words, a map and the evidence.
            ``.html``: a map to pan and zoom, for any browser, offline. ``.geojson``, ``.kml``:
            places and cells for other maps.

        Raises
        ------
        FileEndingError
            The ending is another one.
        LocationNetError
            The file cannot be written; for a card also if matplotlib is not installed or the photo
            cannot be read any more.
        """
        presenter().save(self, path)

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the answer's map on matplotlib's axes, or on those of a new figure; return them.

        Raises
        ------
        MissingExtraError
            matplotlib is not installed.
        """
        axes: Axes = presenter().plot(self, ax)
        return axes

    def to_frame(self) -> Any:
        """Return the places as a pandas DataFrame, or without pandas as a dict of its columns.

        Columns are ``rank``, ``probability``, ``lift``, ``lat``, ``lng``, ``cell``, ``level`` and
        ``place``; a row for each place, the most probable first.
        """
        from locationnet.model.plain_values import plain_places

        rows = plain_places(self)
        columns = {name: [row[name] for row in rows] for name in rows[0]}
        try:
            from pandas import DataFrame
        except ImportError:
            return columns
        return DataFrame(columns)

    def to_geojson(self) -> dict[str, Any]:
        """Return the places and their cells as a GeoJSON FeatureCollection.

        See `locationnet.model.features.features` for what it holds.
        """
        from locationnet.model.features import collection

        return collection([(self.source or "", self)])

    def to_dict(self) -> dict[str, Any]:
        """Return the answer as plain JSON values, in the form that ``POST /locate`` gives it.

        ``calibrated`` is among them only where it is false.
        """
        from locationnet.model.plain_values import plain_answer

        return plain_answer(self)

    def _radii_km(self, around: Place, *shares: float) -> list[float]:
        found = self.layer.radii_km(around.lat, around.lng, self.probabilities, shares)
        return [max(one, self.min_radius_km) for one in found]

    def _place(self, rank: int, index: int, cell: str) -> Place:
        grid, (lat, lng) = self.grid, self.point(index)
        return Place(
            rank=rank,
            class_index=index,
            probability=float(self.probabilities[index]),
            lift=float(self.lifts[index]),
            lat=lat,
            lng=lng,
            cell=cell,
            level=int(grid.levels[index]),
            name=self.layer.names.name(index),
        )


def _conditioned(
    probabilities: FloatArray, shares: FloatArray, certainty: float, otherwise: FloatArray
) -> FloatArray:
    """Give the region its probability; `otherwise` says how where it has none yet."""
    inside = probabilities * shares
    if not inside.sum() > 0:
        inside = otherwise * shares
    if not inside.sum() > 0:
        raise ValueError("no cell of the model lies in that region")
    outside = probabilities * (1 - shares)
    if not outside.sum() > 0:
        return np.asarray(inside / inside.sum())
    return np.asarray(certainty * inside / inside.sum() + (1 - certainty) * outside / outside.sum())


def _ranked(
    labels: Sequence[str], codes: NDArray[np.intp], probabilities: FloatArray
) -> list[tuple[str, float]]:
    """Return each label with its probability, most probable first, ties in the labels' order."""
    sums = totals(codes, probabilities, len(labels))
    return [(labels[index], float(sums[index])) for index in np.argsort(-sums, kind="stable")]
