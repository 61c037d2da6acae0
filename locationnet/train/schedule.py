"""The learning rate of each update: a warm-up, then steps or a half cosine.

Knows update counts only; not what an epoch is or which layers learn slower.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Schedule:
    """A pure function of the number of updates, so that a resumed run continues on its curve.

    Called with the number of the coming update, 1 for the first, as MXNet's optimizers call
    their ``lr_scheduler``.

    Parameters
    ----------
    kind
        ``"step"``: the rate is multiplied by `factor` after each of `steps`. ``"cosine"``: it
        falls along half a cosine to zero at `total`.
    base
        The rate after the warm-up.
    warmup
        Updates over which the rate rises linearly from ``base / warmup`` to `base`.
    total
        Updates of the whole run.
    steps
        Numbers of updates, ascending.
    factor
        Between 0 and 1.
    """

    kind: Literal["step", "cosine"]
    base: float
    warmup: int
    total: int
    steps: tuple[int, ...] = ()
    factor: float = 0.1

    # MXNet writes its optimizer's rate here, once, when there is a schedule.
    @property
    def base_lr(self) -> float:
        """The rate after the warm-up, under the name that MXNet's optimizers read."""
        return self.base

    def __call__(self, update: int) -> float:
        """Return the learning rate of an update."""
        if update <= self.warmup:
            return self.base * update / self.warmup
        if self.kind == "step":
            return float(self.base * self.factor ** sum(update > step for step in self.steps))
        done = (update - 1 - self.warmup) / max(1, self.total - self.warmup)
        return self.base * (1 + math.cos(math.pi * min(1.0, done))) / 2
