"""An answer summed up by city, region, country or continent.

Knows labels of cells and two distributions over them; nothing of photos or networks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from locationnet.geo.country_names import country_name
from locationnet.model.cells import Labels, top_classes, totals

FloatArray = NDArray[np.float64]
GroupLevel = Literal["city", "region", "country", "continent"]
_LEAST_GAIN = 1e-3
LEVELS: tuple[GroupLevel, ...] = ("city", "region", "country", "continent")


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
        The cells' groups.
    probabilities, prior
        float64 ``(classes,)``.
    """

    def __init__(
        self, level: GroupLevel, labels: Labels, probabilities: FloatArray, prior: FloatArray
    ) -> None:
        self.level, self.labels = level, labels
        self._probabilities = probabilities
        self.held = totals(labels.codes, probabilities, len(labels.values))
        self.before = totals(labels.codes, prior, len(labels.values))

    def ranked(self) -> NDArray[np.intp]:
        """Return the groups' codes, most probable first, ties in the labels' order."""
        return np.argsort(-self.held, kind="stable")

    def first(self, count: int) -> tuple[Group, ...]:
        """Return the most probable groups that have a name and any probability."""
        held = np.where(self.labels.is_named, self.held, 0)
        return tuple(self.group(int(code)) for code in top_classes(held, count) if held[code] > 0)

    def strongest(self) -> Group | None:
        """Return the group with the largest p · log₂(p / prior), its share of the information.

        None if no group with a name became more probable.
        """
        gained = self._gained()
        return self.group(int(gained.argmax())) if gained.any() else None

    def raised(self, count: int) -> tuple[Group, ...]:
        """Return the groups with the largest lifts.

        Only groups with a name that became more probable, and that have a thousandth of what all of
        them gained: a lift over hardly any probability says little.
        """
        gained = self._gained()
        codes = np.flatnonzero((gained > 0) & (gained >= _LEAST_GAIN * gained.sum()))
        lifts = self.held[codes] / self.before[codes]
        order = np.argsort(-lifts, kind="stable")[:count]
        return tuple(map(self.group, codes[order].tolist()))

    def _gained(self) -> FloatArray:
        """Return p · log₂(p / prior) of groups that became more probable, 0 for the others."""
        gained = np.zeros(len(self.held))
        is_raised = self.labels.is_named & (self.held > self.before) & (self.before > 0)
        held = self.held[is_raised]
        gained[is_raised] = held * np.log2(held / self.before[is_raised])
        return gained

    def group(self, code: int) -> Group:
        """Return one group."""
        cells = self.labels.cells(code)
        return Group(
            self.level,
            self.labels.values[code],
            float(self.held[code]),
            float(self.before[code]),
            len(cells),
            int(cells[np.argmax(self._probabilities[cells])]),
        )

    def within(self, group: Group, finer: RollUp) -> Group | None:
        """Return the most probable named group of a finer level inside a group of this one."""
        cells = self.labels.cells(int(self.labels.codes[group.class_index]))
        inside = totals(
            finer.labels.codes[cells], self._probabilities[cells], len(finer.labels.values)
        )
        inside[~finer.labels.is_named] = 0
        return finer.group(int(inside.argmax())) if inside.any() else None
