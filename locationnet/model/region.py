"""A part of the world that a photo is known to come from: countries, a box, a circle.

Knows cells and their names; nothing of photos, and asks no gazetteer.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from locationnet.geo import sphere
from locationnet.geo.box import Box
from locationnet.model.cells import CellLayer


@dataclass(frozen=True)
class Region:
    """Where the countries, the box and the circle overlap; what is not given sets no bound.

    Parameters
    ----------
    countries
        ISO 3166-1 alpha-2 codes; any of them.
    box
        West, south, east, north in degrees; a box whose west is above its east crosses ±180°.
    circle
        Latitude and longitude of its centre in degrees, and its radius in kilometres.

    Raises
    ------
    ValueError
        A code is not two letters, or a number is out of range.
    """

    countries: tuple[str, ...] = ()
    box: tuple[float, float, float, float] | None = None
    circle: tuple[float, float, float] | None = None

    def __post_init__(self) -> None:
        for code in self.countries:
            if not (len(code) == 2 and code.isascii() and code.isalpha()):
                raise ValueError("a country is a code of two letters, such as FR")
        object.__setattr__(self, "countries", tuple(code.upper() for code in self.countries))
        if self.box is not None:
            west, south, east, north = self.box
            _check(south, 90, "box: a latitude")
            _check(north, 90, "box: a latitude")
            _check(west, 180, "box: a longitude")
            _check(east, 180, "box: a longitude")
            if south > north:
                raise ValueError(
                    "a box is west, south, east, north: its south lies above its north"
                )
        if self.circle is not None:
            lat, lng, km = self.circle
            _check(lat, 90, "circle: a latitude")
            _check(lng, 180, "circle: a longitude")
            if not 0 < km <= np.pi * sphere.EARTH_RADIUS_KM:
                raise ValueError("the radius of a circle is above 0 and at most 20015 km")

    def __bool__(self) -> bool:
        return bool(self.countries or self.box or self.circle)

    def shares(self, layer: CellLayer) -> NDArray[np.float64]:
        """Return which share of each cell lies in the region, float64 ``(classes,)``, 0 to 1.

        Shares of the box and the circle are those of 16 points spread over a cell; the cell that
        holds the middle of either counts even where the region lies between its points.
        """
        shares = np.ones(len(layer.grid))
        if self.countries:
            shares *= np.isin(np.asarray(layer.names.country), self.countries)
        if not (self.box or self.circle):
            return shares
        lat, lng = sphere.direction_degrees(layer.spread)
        if self.box is not None:
            box = Box(*self.box)
            inside = box.contains(lat, lng).mean(axis=1)
            shares *= _with_middle(inside, layer, *box.middle)
        if self.circle is not None:
            *middle_of_it, radius = self.circle
            inside = (sphere.great_circle_km(lat, lng, *middle_of_it) <= radius).mean(axis=1)
            shares *= _with_middle(inside, layer, *middle_of_it)
        return shares

    def holds(self, lat: float, lng: float, share: float) -> bool:
        """Return whether a point lies in the region, given its cell's share of `shares`."""
        if self.box is not None and not Box(*self.box).contains(np.array(lat), np.array(lng)):
            return False
        if self.circle is not None:
            *middle, radius = self.circle
            if sphere.great_circle_km(lat, lng, *middle) > radius:
                return False
        return share > 0


def _with_middle(
    inside: NDArray[np.float64], layer: CellLayer, lat: float, lng: float
) -> NDArray[np.float64]:
    """Give the cell that holds the middle a point's share at least."""
    [cell] = layer.grid.assign(np.array([lat]), np.array([lng]))
    if cell >= 0:
        inside[cell] = max(inside[cell], 1 / layer.spread.shape[1])
    return inside


def _check(value: float, bound: float, what: str) -> None:
    if not -bound <= value <= bound:
        raise ValueError(f"{what} is a number from -{bound} to {bound}")
