"""What a model sees in photos, as one voice on the places that time leaves.

Knows bundles and cells; nothing of times.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from locationnet.library.catalog import Photo
from locationnet.library.density import Density
from locationnet.library.propose import FloatArray, Voice
from locationnet.model.locator import Locator

# What a cell can be ruled out by at most: a model is sometimes sure and wrong.
_LEAST_LIFT = 1e-3


def model_voice(locator: Locator, threads: int | None = None) -> Voice:
    """Return a voice that looks at photos; one that cannot be read says nothing.

    Parameters
    ----------
    locator
        Of any bundle with cells.
    threads
        Photos worked on at a time.
    """

    def voice(asked: Sequence[tuple[Photo, Density]]) -> list[FloatArray]:
        logs = [np.zeros(len(density.weights)) for _, density in asked]
        # With one place left there is nothing to weigh.
        open_ones = [at for at, (_, density) in enumerate(asked) if len(density.weights) > 1]
        places = {asked[at][0].path: at for at in open_ones}
        stream = locator.stream(places, threads=threads, on_error="return")
        for path, prediction in stream:
            if isinstance(prediction, Exception):
                continue
            at = places[Path(path)]
            density = asked[at][1]
            logs[at] = _log_lifts(locator, density, prediction.lifts)
        return logs

    return voice


def _log_lifts(locator: Locator, density: Density, lifts: FloatArray) -> FloatArray:
    """Return the logarithm of the mean lift around each centre."""
    lat, lng, _ = density.points
    classes = locator.bundle.grid.assign(lat, lng)
    # What lies in no cell was never learned, so nothing is said of it.
    each = np.where(classes < 0, 1.0, lifts[np.maximum(classes, 0)])
    return np.asarray(np.log(np.maximum(each.reshape(len(density.lat), -1).mean(1), _LEAST_LIFT)))
