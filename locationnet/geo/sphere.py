"""Distances, directions and scores on the sphere; knows nothing of cells or photos.

All functions broadcast like NumPy's own and compute in float64 degrees and kilometres.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from locationnet.errors import MissingExtraError

# The radius that the IM2GPS papers use.
EARTH_RADIUS_KM = 6371.0
# Street, city, region, country, continent: the radii that the IM2GPS papers report.
THRESHOLDS_KM = (1.0, 25.0, 200.0, 750.0, 2500.0)
GEOSCORE_MAX = 5000.0
GEOSCORE_SCALE_KM = 1492.7

FloatArray = NDArray[np.float64]


def great_circle_km(
    lat1: ArrayLike, lng1: ArrayLike, lat2: ArrayLike, lng2: ArrayLike
) -> FloatArray:
    """Return the great-circle distance between points by the haversine formula, kilometres.

    Parameters
    ----------
    lat1, lng1, lat2, lng2
        Degrees; broadcast against each other.

    Returns
    -------
    float64
        On a sphere of radius 6371.0 km; stable for both near and antipodal points.
    """
    phi1, phi2 = np.radians(np.asarray(lat1, float)), np.radians(np.asarray(lat2, float))
    half_phi = (phi2 - phi1) / 2
    half_lambda = np.radians(np.subtract(lng2, lng1, dtype=np.float64)) / 2
    chord = np.sin(half_phi) ** 2 + np.cos(phi1) * np.cos(phi2) * np.sin(half_lambda) ** 2
    return np.asarray(2 * EARTH_RADIUS_KM * np.arcsin(np.sqrt(np.clip(chord, 0, 1))))


def geodesic_km(lat1: ArrayLike, lng1: ArrayLike, lat2: ArrayLike, lng2: ArrayLike) -> FloatArray:
    """Return the geodesic distance on the WGS84 ellipsoid (Karney 2013, through PROJ), kilometres.

    Raises
    ------
    MissingExtraError
        pyproj is not installed.
    """
    try:
        from pyproj import Geod
    except ImportError as error:
        raise MissingExtraError("the WGS84 geodesic", "data") from error
    points = np.broadcast_arrays(*(np.asarray(part, float) for part in (lng1, lat1, lng2, lat2)))
    # Lists, because pyproj takes an array of one point for a number and NumPy warns of that.
    _, _, meters = Geod(ellps="WGS84").inv(*(part.ravel().tolist() for part in points))
    return np.asarray(meters, np.float64).reshape(points[0].shape) / 1000


def antipode(lat: ArrayLike, lng: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Return the points farthest from others, degrees."""
    return -np.asarray(lat, float), np.asarray((np.asarray(lng, float) + 360) % 360 - 180)


def unit_vectors(lat: ArrayLike, lng: ArrayLike) -> FloatArray:
    """Return points as unit vectors, float64 ``(..., 3)``: x to (0, 0), y to (0, 90), z north."""
    phi, theta = np.radians(np.asarray(lat, float)), np.radians(np.asarray(lng, float))
    flat = np.cos(phi)
    return np.stack([flat * np.cos(theta), flat * np.sin(theta), np.sin(phi) + 0 * theta], axis=-1)


def direction_degrees(vectors: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Return latitude and longitude of the directions of vectors ``(..., 3)`` of any length."""
    x, y, z = np.moveaxis(np.asarray(vectors, float), -1, 0)
    return np.degrees(np.arctan2(z, np.hypot(x, y))), np.degrees(np.arctan2(y, x))


def destination(
    lat: ArrayLike, lng: ArrayLike, bearing: ArrayLike, km: ArrayLike
) -> tuple[FloatArray, FloatArray]:
    """Return the points at a distance from others, along great circles.

    Parameters
    ----------
    lat, lng
        Degrees.
    bearing
        The direction in which to leave, radians clockwise from north.
    km
        The distance, kilometres.

    Returns
    -------
    float64, float64
        Latitudes, and longitudes that run on past ±180° instead of jumping, degrees.
    """
    angle, phi = np.asarray(km, float) / EARTH_RADIUS_KM, np.radians(np.asarray(lat, float))
    sine = np.sin(phi) * np.cos(angle) + np.cos(phi) * np.sin(angle) * np.cos(bearing)
    turn = np.arctan2(
        np.sin(bearing) * np.sin(angle) * np.cos(phi), np.cos(angle) - np.sin(phi) * sine
    )
    return np.degrees(np.arcsin(np.clip(sine, -1, 1))), np.asarray(lng, float) + np.degrees(turn)


def geoscore(km: ArrayLike) -> FloatArray:
    """Return GeoGuessr's score of a distance: ``5000 · exp(-km / 1492.7)``."""
    return np.asarray(GEOSCORE_MAX * np.exp(-np.asarray(km) / GEOSCORE_SCALE_KM))
