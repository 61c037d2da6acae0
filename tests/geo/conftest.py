"""The reference for cells: s2sphere, one point at a time."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import s2sphere
from numpy.typing import NDArray

ReferenceIds = Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.uint64]]


@pytest.fixture(scope="session")
def reference_ids() -> ReferenceIds:
    """Leaf ids as s2sphere computes them."""
    from_degrees, from_lat_lng = s2sphere.LatLng.from_degrees, s2sphere.CellId.from_lat_lng

    def leaf_ids(lat: NDArray[np.float64], lng: NDArray[np.float64]) -> NDArray[np.uint64]:
        points = zip(lat.tolist(), lng.tolist(), strict=True)
        ids = (from_lat_lng(from_degrees(*point)).id() for point in points)
        return np.fromiter(ids, np.uint64, len(lat))

    return leaf_ids
