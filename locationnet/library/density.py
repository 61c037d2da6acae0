"""Where somebody was between two known places: a density on the sphere, its best point, its radius.

Pure mathematics of points, hours and kilometres; knows nothing of photos, cameras or files.

The model has three parts. A *silence* is the time between two photos next to each other; a journey
is most likely made in a long one, so a stretch of time counts by the sum of its silences' squares.
Around a known place, distances are log-logistic, and their median grows with a power of the silent
hours. And who must have been on the way at the time, by how fast people travel, was in between.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize

from locationnet.geo.sphere import (
    EARTH_RADIUS_KM,
    destination,
    direction_degrees,
    great_circle_km,
    unit_vectors,
)

FloatArray = NDArray[np.float64]

# How fast people get about: by road, or by air with the ways to and from the airport.
_ROAD_KMH = 60.0
_AIR_KMH = 700.0
_AIRPORT_H = 2.5
# Nobody flies as fast as this: one of two times is wrong, and says nothing of the way.
_IMPOSSIBLE_KMH = 1200.0
# Half the way around the Earth: nobody is farther.
_FARTHEST_KM = np.pi * EARTH_RADIUS_KM
# Photos are taken where people stop: while they move, half as often.
_ON_THE_WAY = 0.5
# A photo a second later is not at the same place to the meter.
_LEAST_KM = 0.02
_LEAST_H = 1 / 60
# Each centre is spread over rings that hold equal shares, each over as many directions.
_SHARES = (np.arange(12) + 0.5) / 12
_BEARINGS = np.radians(np.arange(8) * 45.0)


@dataclass(frozen=True)
class Spread:
    """How far from a known place one is: the median after an hour, its growth, the tail.

    Parameters
    ----------
    km
        Median distance after one silent hour.
    growth
        The median grows with this power of the hours.
    shape
        Of the log-logistic distribution of distances: the smaller, the heavier its tail.
    """

    km: float = 2.0
    growth: float = 1.0
    shape: float = 1.0

    def median_km(self, silent_h: ArrayLike) -> FloatArray:
        """Return the median distance after so many silent hours, kilometres."""
        hours = np.asarray(silent_h, np.float64) + _LEAST_H
        return np.clip(self.km * hours**self.growth, _LEAST_KM, _FARTHEST_KM / 2)


# What is believed before a library is seen, and how firmly: standard deviations of the logarithms.
USUAL = Spread()
_DOUBT = np.array([1.5, 0.4, 0.4])


def fit_spread(silent_h: ArrayLike, km: ArrayLike) -> Spread:
    """Return the spread that known photos, hidden one by one, make most probable.

    Parameters
    ----------
    silent_h, km
        float64 ``(n,)``: the silent hours to the place that was answered, and how far off it was.
        Where there are few, the answer stays near `USUAL`.
    """
    hours = np.log(np.asarray(silent_h, np.float64) + _LEAST_H)
    distance = np.log(np.maximum(np.asarray(km, np.float64), _LEAST_KM))
    start = np.log([USUAL.km, USUAL.growth, USUAL.shape])

    def loss(logs: FloatArray) -> float:
        shape = np.exp(logs[2])
        z = shape * (distance - logs[0] - np.exp(logs[1]) * hours)
        # The density of a log-logistic distance, in its logarithm.
        likelihood = np.log(shape) + z - 2 * np.logaddexp(0, z)
        return float(-likelihood.sum() + 0.5 * np.sum(((logs - start) / _DOUBT) ** 2))

    found = minimize(loss, start, method="Nelder-Mead", options={"xatol": 1e-3, "fatol": 1e-3})
    return Spread(*np.exp(found.x).tolist())


def travel_hours(km: ArrayLike) -> FloatArray:
    """Return how long people take over a distance, hours: the faster of road and air."""
    distance = np.asarray(km, np.float64)
    return np.minimum(distance / _ROAD_KMH, _AIRPORT_H + distance / _AIR_KMH)


@dataclass(frozen=True)
class Between:
    """Shares of the probability that one is still there, on the way, and already here."""

    before: float
    moving: float
    after: float
    fraction: float
    slack: float


def between(km: float, since_h: float, until_h: float, silence: float) -> Between:
    """Return where somebody was in the course of one journey, begun at an unknown time.

    Parameters
    ----------
    km
        From the place before to the place after.
    since_h, until_h
        Hours since the one and until the other.
    silence
        Which share of the silence, by its squares, lies before the moment, 0–1.

    Returns
    -------
    Between
        And the fraction of the way that who is moving has made, in the middle of what is possible,
        and how far to both sides of it that reaches.
    """
    total = since_h + until_h
    hours = min(float(travel_hours(km)), total)
    free = total - hours
    # The journey may have begun between these times after the place before.
    first, last = max(0.0, since_h - hours), min(since_h, free)
    if km >= _IMPOSSIBLE_KMH * total:
        return Between(1 - silence, 0.0, silence, 0.0, 0.0)
    moving = 1.0 if free <= 0 else min(1.0, max(0.0, last - first) / free)
    moving = _ON_THE_WAY * moving / (_ON_THE_WAY * moving + 1 - moving)
    rest = 1 - moving
    before, after = rest * (1 - silence), rest * silence
    if hours <= 0:  # one place
        return Between(before, moving, after, 0.0, 0.0)
    fraction = (since_h - (first + last) / 2) / hours
    slack = max(0.0, last - first) / (2 * hours)
    return Between(before, moving, after, min(1.0, max(0.0, fraction)), slack)


def on_the_way(
    lat: tuple[float, float], lng: tuple[float, float], fraction: float
) -> tuple[float, float]:
    """Return the point at a fraction of the great circle between two, degrees."""
    one, other = unit_vectors(np.array(lat), np.array(lng))
    angle = float(great_circle_km(lat[0], lng[0], lat[1], lng[1])) / EARTH_RADIUS_KM
    if angle < 1e-12:
        return lat[0], lng[0]
    point = np.sin((1 - fraction) * angle) * one + np.sin(fraction * angle) * other
    found_lat, found_lng = direction_degrees(point)
    return float(found_lat), float(found_lng)


@dataclass(frozen=True, eq=False)
class Density:
    """A mixture on the sphere: centres, each with log-logistic distances around it.

    Parameters
    ----------
    lat, lng
        float64 ``(n,)``: centres, degrees.
    weights
        float64 ``(n,)``, sums to 1.
    median_km
        float64 ``(n,)``: of the distance from each centre.
    shape
        Of the distances; see `Spread`.
    """

    lat: FloatArray
    lng: FloatArray
    weights: FloatArray
    median_km: FloatArray
    shape: float

    @cached_property
    def points(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Equally probable points of each centre, and their shares: float64 ``(n · 96,)`` each."""
        odds = (_SHARES / (1 - _SHARES)) ** (1 / self.shape)
        km = np.minimum(self.median_km[:, None] * odds, 0.95 * _FARTHEST_KM)
        # Every other ring is turned, so that no direction is preferred.
        bearing = _BEARINGS + np.radians(22.5) * (np.arange(len(_SHARES)) % 2)[:, None]
        centres = self.lat[:, None, None], self.lng[:, None, None]
        lat, lng = destination(*centres, bearing, km[:, :, None])
        lng = (lng + 180) % 360 - 180
        each = np.repeat(self.weights / lat[0].size, lat[0].size)
        return lat.ravel(), lng.ravel(), each

    def radius_km(self, lat: float, lng: float, probability: float = 0.5) -> float:
        """Return the radius around a point that holds a probability, kilometres."""
        points_lat, points_lng, shares = self.points
        km = great_circle_km(lat, lng, points_lat, points_lng)
        order = np.argsort(km)
        held = np.cumsum(shares[order])
        return float(np.interp(probability, held - shares[order] / 2, km[order]))

    @property
    def heaviest(self) -> int:
        """The centre with the largest weight; of equal ones the first."""
        return int(np.argmax(self.weights))
