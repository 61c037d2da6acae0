"""An answer summed up by city, region, country or continent.

Knows labels of cells and two distributions over them; nothing of photos or networks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from locationnet.geo.country_names import country_name
from locationnet.model.cells import totals

FloatArray = NDArray[np.float64]
GroupLevel = Literal["city", "region", "country", "continent"]


@dataclass(frozen=True)
class Group:
    """A city, region, country or continent of an answer.

    Parameters
    ----------
    level
        Which of the four.
    label
        ``"city, region, country"``, ``"region, country"``, an ISO country code or a continent.
    probability, prior
        That the photo was taken there, with the photo seen and before.
    cells
        How many cells of the grid it has.
    class_index
        Its most probable cell.
    """

    level: GroupLevel
    label: str
    probability: float
    prior: float
    cells: int
    class_index: int

    @property
    def name(self) -> str:
        """What to call it; ``""`` where nobody knows."""
        return country_name(self.label) if self.level == "country" else self.label

    @property
    def lift(self) -> float:
        """How many times more probable the photo made it: 1 where it says nothing."""
        return self.probability / self.prior if self.prior > 0 else 1.0


class RollUp:
    """All groups of one level, in the labels' order.

    Parameters
    ----------
    level
        Which level.
    labels
        One for each group; ``""`` is that of cells whose group nobody knows.
    codes
        Each cell's group, int ``(classes,)``.
    probabilities, prior
        float64 ``(classes,)``.
    """

    def __init__(
        self,
        level: GroupLevel,
        labels: Sequence[str],
        codes: NDArray[np.intp],
        probabilities: FloatArray,
        prior: FloatArray,
    ) -> None:
        self.level, self.labels = level, labels
        self._codes, self._probabilities = codes, probabilities
        self.held = totals(codes, probabilities, len(labels))
        self.before = totals(codes, prior, len(labels))
        self._is_named = np.array([label != "" for label in labels], bool)

    def ranked(self) -> NDArray[np.intp]:
        """Return the groups, most probable first, ties in the labels' order."""
        return np.argsort(-self.held, kind="stable")

    def first(self, count: int) -> tuple[Group, ...]:
        """Return the most probable groups that have a name and any probability."""
        ranked = self.ranked()
        ranked = ranked[self._is_named[ranked] & (self.held[ranked] > 0)]
        return tuple(map(self.group, ranked[:count].tolist()))

    def strongest(self) -> Group | None:
        """Return the group with the largest p · log₂(p / prior), its share of the information.

        None if no group with a name became more probable.
        """
        raised = np.flatnonzero(self._is_named & (self.held > self.before) & (self.before > 0))
        if not len(raised):
            return None
        held = self.held[raised]
        return self.group(int(raised[np.argmax(held * np.log2(held / self.before[raised]))]))

    def group(self, index: int) -> Group:
        """Return one group."""
        cells = np.flatnonzero(self._codes == index)
        return Group(
            self.level,
            self.labels[index],
            float(self.held[index]),
            float(self.before[index]),
            len(cells),
            int(cells[np.argmax(self._probabilities[cells])]),
        )

    def within(self, index: int, other: RollUp) -> Group | None:
        """Return the most probable named group of `other`, counting one group's cells alone."""
        cells = self._codes == index
        held = totals(other._codes[cells], self._probabilities[cells], len(other.labels))
        held[~other._is_named] = 0
        return other.group(int(held.argmax())) if held.any() else None
