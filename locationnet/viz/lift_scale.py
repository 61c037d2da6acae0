"""How strongly a map shows a cell: its colour by lift and its opacity, on one scale for all.

Knows lifts, probabilities and levels; ``map.css`` holds the scale's limits and colours, and
``map.js`` does the same with them in a browser.
"""

from __future__ import annotations

import re
from functools import cache

import numpy as np
from numpy.typing import NDArray

from locationnet.viz import assets

FloatArray = NDArray[np.float64]

_STEPS = re.compile(r"--lift-steps:([ \d.]+);")
STRONGEST, FAINTEST = 0.85, 0.12
# An answer that abstains is told from others at a glance, wherever its cells are.
PALEST_SHADE, PALE = 1, 0.35
# Cells of this level are as wide as a large city's surroundings; larger ones are mostly empty.
FULL_LEVEL = 6


@cache
def lift_steps() -> tuple[float, ...]:
    """Return the lifts from which on the next colour of the scale holds."""
    found = _STEPS.search(assets.style())
    return tuple(map(float, found[1].split())) if found else ()


def shades(lifts: FloatArray, *, abstained: bool) -> NDArray[np.intp]:
    """Return the number of each cell's colour, ``lift-0`` (it says nothing) and up.

    Parameters
    ----------
    lifts
        float64 ``(cells,)``; see `Prediction.lifts`.
    abstained
        Whether the answer abstains: none of its cells is then more than pale.
    """
    found = np.searchsorted(lift_steps(), lifts, side="right")
    return np.minimum(found, PALEST_SHADE) if abstained else found


def opacities(
    probabilities: FloatArray, levels: NDArray[np.int64], *, abstained: bool
) -> FloatArray:
    """Return how opaque each cell is drawn, 0 to 1.

    It falls with the square root of a cell's share of the most probable cell, and of its width: a
    large cell with few photos in it covers half a sea otherwise.

    Parameters
    ----------
    probabilities
        float64 ``(cells,)``, at least one above 0.
    levels
        S2 levels, int ``(cells,)``.
    abstained
        Whether the answer abstains.
    """
    share = np.sqrt(probabilities / probabilities.max())
    width = np.sqrt(2.0 ** np.minimum(0, levels - FULL_LEVEL))
    strength = np.maximum(FAINTEST, STRONGEST * share * width)
    return np.asarray(PALE * strength if abstained else strength)
