"""The town nearest to a point, by name (GeoNames through reverse_geocode).

Knows points and names; bundles name their cells, and benchmarks their truth, by the same ones.
"""

from __future__ import annotations

from typing import NamedTuple

from locationnet.errors import MissingExtraError
from locationnet.geo.s2 import FloatArray


class Town(NamedTuple):
    """A town: its name, its region (``""`` if it has none) and its country's ISO code."""

    city: str
    region: str
    country: str


def nearest_towns(lat: FloatArray, lng: FloatArray) -> list[Town]:
    """Return the town nearest to each point.

    Parameters
    ----------
    lat, lng
        float64 ``(n,)``, degrees.

    Raises
    ------
    MissingExtraError
        reverse_geocode is not installed.
    """
    try:
        import reverse_geocode
    except ModuleNotFoundError as error:
        raise MissingExtraError("naming places", "data") from error
    found = reverse_geocode.search(list(zip(lat.tolist(), lng.tolist(), strict=True)))
    return [Town(one["city"], one.get("state", ""), one["country_code"]) for one in found]
