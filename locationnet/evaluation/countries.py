"""In which country and region answers lie, against the truth.

Knows names of places from GeoNames; bundles name their cells from the same source.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from locationnet.evaluation.bootstrap import Bootstrap, Interval
from locationnet.geo.towns import nearest_towns

if TYPE_CHECKING:
    import pyarrow as pa


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
    towns = nearest_towns(table["lat"].to_numpy(), table["lng"].to_numpy())
    countries = np.array([town.country for town in towns])
    regions = np.array([town.region for town in towns])
    named = np.array(table["mode_country"].to_pylist())
    country = (named == countries) & (named != "")
    own = np.array(table["mode_region"].to_pylist())
    return {
        "country": bootstrap.mean(country),
        "region": bootstrap.mean(country & (own == regions) & (own != "")),
    }
