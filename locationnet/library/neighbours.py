"""For each moment the density that the known places before and after it leave; time alone.

Knows timelines and densities; nothing of photos' pixels or of what is offered to whom.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from locationnet.geo.sphere import great_circle_km
from locationnet.library.density import (
    USUAL,
    Density,
    Spread,
    between,
    fit_spread,
    on_the_way,
)
from locationnet.library.timeline import Timeline

Indices = NDArray[np.int64]

# Hidden photos from which a spread is learned, and how good proposals are here is said.
HIDDEN = 300
# After a season without a photo, more of it tells no more.
_LONGEST_S = 90 * 86400.0


@dataclass(frozen=True)
class Guess:
    """Where a moment was probably spent, by what was before and after it.

    Parameters
    ----------
    density
        The distribution.
    lat, lng
        The best point, degrees.
    radius_50_km
        Of the circle around it that holds half of the probability.
    silent_h
        Silent hours to the place that the point is from.
    before, after
        Rows of the timeline: the known places, −1 where there is none.
    moving
        Whether the point lies on the way between the two.
    """

    density: Density
    lat: float
    lng: float
    radius_50_km: float
    silent_h: float
    before: int
    after: int
    moving: bool


class Neighbours:
    """The known places of one timeline, ready to be asked about moments.

    Parameters
    ----------
    timeline
        Of those who travel together.
    spread
        How far from known places one gets.
    """

    def __init__(self, timeline: Timeline, spread: Spread = USUAL) -> None:
        self.timeline = timeline
        self.spread = spread
        self.known = np.flatnonzero(np.isfinite(timeline.lat))
        self._known_s = timeline.seconds[self.known]
        # Whole seconds, squared and added up, stay exact.
        silences = np.minimum(np.diff(timeline.seconds), _LONGEST_S)
        self._silence = np.concatenate([[0.0], np.cumsum(silences**2)])

    def fitted(self, hidden: Indices) -> Neighbours:
        """Return the same with the spread that makes the places of hidden rows most probable."""
        guesses = [(row, self.guess(row)) for row in hidden.tolist()]
        told = [(row, guess) for row, guess in guesses if guess is not None]
        if not told:
            return self
        rows = np.array([row for row, _ in told])
        km = self._off_km(rows, [guess for _, guess in told])
        return Neighbours(self.timeline, fit_spread([it.silent_h for _, it in told], km))

    def _off_km(self, rows: Indices, guesses: list[Guess]) -> NDArray[np.float64]:
        lat = [guess.lat for guess in guesses]
        lng = [guess.lng for guess in guesses]
        return great_circle_km(self.timeline.lat[rows], self.timeline.lng[rows], lat, lng)

    def guess(self, row: int) -> Guess | None:
        """Return where a row of the timeline was, by the other rows; None where none is known."""
        at = int(np.searchsorted(self.known, row))
        after = at + (at < len(self.known) and self.known[at] == row)
        later = int(self.known[after]) if after < len(self.known) else -1
        earlier = -1
        if at > 0:
            # Of several at one moment the first.
            moment = self._known_s[at - 1]
            earlier = int(self.known[np.searchsorted(self._known_s, moment)])
            if earlier == row:
                earlier = int(self.known[at - 1])
        if earlier < 0 and later < 0:
            return None
        return self._from(row, earlier, later)

    def _from(self, row: int, earlier: int, later: int) -> Guess:
        line = self.timeline
        rows = [it for it in (earlier, later) if it >= 0]
        silent = [float(np.sqrt(abs(self._silence[row] - self._silence[it]))) / 3600 for it in rows]
        lat, lng = line.lat[rows].tolist(), line.lng[rows].tolist()
        median = self.spread.median_km(silent).tolist()
        weights, moving = [1.0], False
        if len(rows) == 2:
            whole = self._silence[later] - self._silence[earlier]
            share = (self._silence[row] - self._silence[earlier]) / whole if whole > 0 else 0.5
            km = float(great_circle_km(lat[0], lng[0], lat[1], lng[1]))
            since, until = np.diff(line.seconds[[earlier, row, later]]) / 3600
            way = between(km, float(since), float(until), float(share))
            weights = [way.before, way.after]
            if way.moving > 0:
                middle = on_the_way((lat[0], lat[1]), (lng[0], lng[1]), way.fraction)
                lat.append(middle[0])
                lng.append(middle[1])
                weights.append(way.moving)
                median.append(max(min(median), way.slack * km / 2))
                silent.append(min(silent))
        density = Density(
            np.array(lat), np.array(lng), np.array(weights), np.array(median), self.spread.shape
        )
        best = density.heaviest
        radius = density.radius_km(lat[best], lng[best])
        moving = best == 2
        return Guess(density, lat[best], lng[best], radius, silent[best], earlier, later, moving)


def hidden_sample(rows: Indices, most: int = HIDDEN) -> Indices:
    """Return at most so many rows, the same for the same library."""
    if len(rows) <= most:
        return rows
    return np.sort(np.random.default_rng(0).choice(rows, most, replace=False))
