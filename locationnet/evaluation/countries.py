"""In which country and region answers lie, against the truth.

Knows names of places from GeoNames; bundles name their cells from the same source.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from locationnet.errors import MissingExtraError
from locationnet.evaluation.benchmarks import Floats
from locationnet.evaluation.bootstrap import Bootstrap, Interval

if TYPE_CHECKING:
    import pyarrow as pa


def town_names(lat: Floats, lng: Floats) -> tuple[list[str], list[str]]:
    """Return the country codes and the regions of the towns nearest to points ``(n,)``, degrees.

    Raises
    ------
    MissingExtraError
        reverse_geocode is not installed.
    """
    try:
        import reverse_geocode
    except ModuleNotFoundError as error:
        raise MissingExtraError("naming countries", "data") from error
    towns = reverse_geocode.search(list(zip(lat.tolist(), lng.tolist(), strict=True)))
    return [town["country_code"] for town in towns], [town.get("state", "") for town in towns]


def place_scores(table: pa.Table, bootstrap: Bootstrap) -> dict[str, Interval]:
    """Return how often the most probable cell is in the right country and region.

    The truth's are those of the nearest town, as for the cells. A cell without a name is never
    right.

    Parameters
    ----------
    table
        From `locationnet.evaluation.model_predictions.answer`.
    bootstrap
        Over its photos.

    Returns
    -------
    dict
        ``country`` and ``region`` (of the right country too).

    Raises
    ------
    MissingExtraError
        reverse_geocode is not installed.
    """
    countries, regions = map(np.array, town_names(table["lat"].to_numpy(), table["lng"].to_numpy()))
    named = np.array(table["mode_country"].to_pylist())
    country = (named == countries) & (named != "")
    own = np.array(table["mode_region"].to_pylist())
    return {
        "country": bootstrap.mean(country),
        "region": bootstrap.mean(country & (own == regions) & (own != "")),
    }
