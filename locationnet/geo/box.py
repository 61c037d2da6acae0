"""A box of latitudes and longitudes, which may cross the antimeridian.

Knows degrees; nothing of cells or photos.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from locationnet.errors import InputError


@dataclass(frozen=True)
class Box:
    """A box of longitudes and latitudes, its edges included.

    Parameters
    ----------
    west, south, east, north
        Degrees. Where `west` is greater than `east`, the box crosses the antimeridian.
    """

    west: float
    south: float
    east: float
    north: float

    def __post_init__(self) -> None:
        if not (
            abs(self.west) <= 180
            and abs(self.east) <= 180
            and -90 <= self.south <= self.north <= 90
        ):
            raise InputError(
                f"{self}: not a valid box; expected west,south,east,north in degrees, south below"
                " north"
            )

    @classmethod
    def parse(cls, text: str) -> Box:
        """Read ``west,south,east,north``.

        Raises
        ------
        InputError
            These are not four numbers, or not degrees.
        """
        try:
            west, south, east, north = (float(part) for part in text.split(","))
        except ValueError as error:
            raise InputError(
                f"{text}: not a valid box; expected four numbers, west,south,east,north"
            ) from error
        return cls(west, south, east, north)

    def __str__(self) -> str:
        # All digits: what is said here also distinguishes boxes.
        edges = (self.west, self.south, self.east, self.north)
        return ",".join(repr(float(edge)).removesuffix(".0") for edge in edges)

    @property
    def middle(self) -> tuple[float, float]:
        """Latitude and longitude of its middle."""
        lng = (self.west + self.width / 2 + 180) % 360 - 180
        return (self.south + self.north) / 2, lng

    @property
    def width(self) -> float:
        """From west to east, degrees."""
        return self.east - self.west + (360 if self.west > self.east else 0)

    def contains(self, lat: NDArray[np.float64], lng: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return which points lie inside; −180° and 180° are one meridian."""
        east = self.west + self.width
        inside = np.zeros(np.shape(lng), np.bool_)
        for turn in (-360, 0, 360):
            inside |= (self.west <= lng + turn) & (lng + turn <= east)
        return np.asarray(inside & (self.south <= lat) & (lat <= self.north))
