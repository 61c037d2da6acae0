"""The strongest hint of a photo: the city that it made more probable than any other.

Knows answers and their names; nothing of how far a hint can be believed, which is measured.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from locationnet.model.cells import totals
from locationnet.model.prediction import Place, Prediction


@dataclass(frozen=True)
class Hint:
    """A city, or in coarse answers a country, that a photo made more probable.

    Parameters
    ----------
    name
        ``"city, region, country"`` or an ISO country code.
    place
        Its most probable cell.
    probability, prior
        That the photo was taken there, with the photo seen and before.
    """

    name: str
    place: Place
    probability: float
    prior: float

    @property
    def lift(self) -> float:
        """How many times more probable the photo made it."""
        return self.probability / self.prior


def strongest_hint(prediction: Prediction) -> Hint | None:
    """Return the city with the largest p · log₂(p / prior), its share of the information gained.

    The probability of a city is that of all its cells. None if no city became more probable, or
    no cell has a name.
    """
    names, codes = prediction.layer.cities
    held = totals(codes, prediction.probabilities, len(names))
    before = totals(codes, prediction.prior, len(names))
    seen = np.flatnonzero((held > before) & (np.array(names, object) != ""))
    if not len(seen):
        return None
    strongest = seen[np.argmax(held[seen] * np.log2(held[seen] / before[seen]))]
    cells = np.flatnonzero(codes == strongest)
    cell = int(cells[np.argmax(prediction.probabilities[cells])])
    return Hint(
        names[strongest], prediction.place(cell), float(held[strongest]), float(before[strongest])
    )
