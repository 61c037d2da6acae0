"""A proposal for each photo that says when but not where, and how good such proposals are here.

Joins the voices: time first, then whatever else speaks for one of the places that time leaves.
Knows nothing of networks or of how photos are read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from locationnet.geo.sphere import geoscore, great_circle_km
from locationnet.library.catalog import Photo, Proposal
from locationnet.library.density import Density
from locationnet.library.neighbours import Guess, Neighbours, hidden_sample
from locationnet.library.timeline import Timeline, build
from locationnet.library.tracks import Track
from locationnet.names import printable

FloatArray = NDArray[np.float64]

Voice = Callable[[Sequence[tuple[Photo, Density]]], list[FloatArray]]
"""Given photos with their densities, returns for each the logarithm of how many times likelier the
photo makes each centre, float64 ``(centres,)``."""

# A voice is heard at one of these strengths, the least that is not clearly worse.
_STRENGTHS = (0.0, 0.25, 0.5, 1.0)
# What is left of places without a time: far from each, anything is possible.
_UNTIMED_KM = 500.0
_MOST_UNTIMED = 200
# Of one place, people do not care which side of it.
_SAME_KM = 0.05


@dataclass(frozen=True)
class Here:
    """How good proposals are in this library: known photos, hidden one by one.

    Parameters
    ----------
    off_km
        float64 ``(n,)``: how far off the best points were.
    inside
        Which share of the places lay within the 50 % radius.
    """

    off_km: FloatArray
    inside: float


@dataclass(frozen=True)
class Proposed:
    """What `propose` returns.

    Parameters
    ----------
    proposals
        By number of the photo.
    here
        How good they are; None where no known photo says when it was taken.
    clock_h
        Cameras whose clock was found wrong, by name: the hours that it is ahead.
    apart
        Pairs of cameras that travel apart.
    strength
        How much the model's voice counts: 0 where it does not help here.
    """

    proposals: dict[int, Proposal]
    here: Here | None
    clock_h: dict[str, float]
    apart: list[tuple[str, str]]
    strength: float = 0.0


def propose(
    photos: Sequence[Photo],
    tracks: Sequence[Track] = (),
    *,
    voice: Voice | None = None,
    max_radius_km: float = 500.0,
) -> Proposed:
    """Propose a place for each photo that has a time and no place.

    Parameters
    ----------
    photos
        Of the whole library, known ones included.
    tracks
        Where somebody was while they were taken.
    voice
        What else speaks for places, such as a model.
    max_radius_km
        Proposals with a larger 50 % radius are left alone.
    """
    line = build(photos, tracks)
    answering = _Answering(photos, line)
    rows = np.flatnonzero((line.source >= 0) & ~np.isfinite(line.lat))
    hidden = hidden_sample(answering.hideable())
    asked = [(int(row), answering.guess(int(row))) for row in (*hidden, *rows)]
    told = [(row, guess) for row, guess in asked if guess is not None]
    strength = 0.0
    if voice is not None:
        loud = voice([(photos[line.source[row]], guess.density) for row, guess in told])
        known = [at for at, (row, _) in enumerate(told) if np.isfinite(line.lat[row])]
        strength = _strength(line, [told[at] for at in known], [loud[at] for at in known])
        told = [
            (row, _heard(guess, strength * logs))
            for (row, guess), logs in zip(told, loud, strict=True)
        ]
    proposals: dict[int, Proposal] = {}
    off_km, inside = [], []
    for row, guess in told:
        if np.isfinite(line.lat[row]):
            km = float(great_circle_km(line.lat[row], line.lng[row], guess.lat, guess.lng))
            off_km.append(km)
            inside.append(km <= guess.radius_50_km)
            continue
        reasons = answering.reasons(row, guess, voiced=strength > 0)
        proposals[photos[line.source[row]].number] = _proposal(guess, reasons, max_radius_km)
    if not len(answering.known):
        proposals = _untimed(photos, max_radius_km)
    cameras = line.cameras
    return Proposed(
        proposals,
        Here(np.array(off_km), float(np.mean(inside))) if off_km else None,
        {cameras[at]: float(line.clock_h[at]) for at in np.flatnonzero(line.clock_h)},
        [(cameras[one], cameras[two]) for one, two in np.argwhere(np.triu(line.apart))],
        strength,
    )


class _Answering:
    """Asks, for each row, the neighbours in time of those who travelled with its camera."""

    def __init__(self, photos: Sequence[Photo], line: Timeline) -> None:
        self._photos, self._line = photos, line
        self.known = np.flatnonzero(np.isfinite(line.lat))
        self._all = self._fitted(line, np.arange(len(line.seconds)))
        self._by_company: dict[bytes, tuple[Neighbours, NDArray[np.int64]]] = {}

    def _fitted(
        self, line: Timeline, rows: NDArray[np.int64]
    ) -> tuple[Neighbours, NDArray[np.int64]]:
        neighbours = Neighbours(line)
        own = neighbours.known[line.source[neighbours.known] >= 0]
        return neighbours.fitted(hidden_sample(own)), rows

    def hideable(self) -> NDArray[np.int64]:
        """Return the rows of known photos without a second copy in the library."""
        known = self.known[self._line.source[self.known] >= 0]
        prints = [self._photos[source].fingerprint for source in self._line.source[known]]
        count = Counter(prints)
        return known[[count[it] == 1 for it in prints]] if prints else known

    def _company(self, camera: int) -> tuple[Neighbours, NDArray[np.int64]]:
        if camera < 0 or not self._line.apart[camera].any():
            return self._all
        key = self._line.apart[camera].tobytes()
        if key not in self._by_company:
            line, rows = self._line.company(camera)
            found = self._fitted(line, rows)
            # Nobody who travels with it knows: then those who do not are asked.
            self._by_company[key] = found if len(found[0].known) else self._all
        return self._by_company[key]

    def guess(self, row: int) -> Guess | None:
        """Return what time says of a row, with neighbours as rows of the whole timeline."""
        neighbours, rows = self._company(int(self._line.camera[row]))
        guess = neighbours.guess(int(np.searchsorted(rows, row)))
        if guess is None:
            return None
        before, after = (int(rows[it]) if it >= 0 else -1 for it in (guess.before, guess.after))
        return replace(guess, before=before, after=after)

    def reasons(self, row: int, guess: Guess, *, voiced: bool) -> tuple[str, ...]:
        """Say in words where a guess comes from."""
        line = self._line
        sides = []
        for it, side in ((guess.before, "after"), (guess.after, "before")):
            if it >= 0:
                away = float(great_circle_km(line.lat[it], line.lng[it], guess.lat, guess.lng))
                where = "" if away < _SAME_KM else f", {distance_text(away)} from here"
                time = time_text(abs(float(line.seconds[row] - line.seconds[it])))
                sides.append((away, f"{time} {side} {self._name(row, it)}{where}"))
        words = [text for _, text in sorted(sides, key=lambda it: it[0])]
        if guess.moving:
            words.insert(0, "on the way between two places")
        camera = int(line.camera[row])
        if camera >= 0 and line.clock_h[camera]:
            words.append(f"the camera's clock {clock_text(float(line.clock_h[camera]))}")
        if voiced:
            words.append("the model was asked as well")
        return tuple(words)

    def _name(self, row: int, other: int) -> str:
        if self._line.source[other] < 0:
            return "a point of the track"
        name = printable(self._photos[self._line.source[other]].path.name)
        camera = int(self._line.camera[other])
        if camera == self._line.camera[row]:
            return name
        return f"{name} of {printable(self._line.cameras[camera]) or 'another camera'}"


def _strength(
    line: Timeline, hidden: Sequence[tuple[int, Guess]], loud: Sequence[FloatArray]
) -> float:
    """Return how much a voice helps with photos whose place is known; 0 unless it clearly does."""
    if not hidden:
        return 0.0
    scores = []
    for strength in _STRENGTHS:
        guesses = [
            _heard(guess, strength * logs) for (_, guess), logs in zip(hidden, loud, strict=True)
        ]
        rows = [row for row, _ in hidden]
        km = great_circle_km(
            line.lat[rows], line.lng[rows], [it.lat for it in guesses], [it.lng for it in guesses]
        )
        scores.append(geoscore(km))
    best = int(np.argmax([score.mean() for score in scores]))
    gain = scores[best] - scores[0]
    clear = gain.mean() > gain.std() / np.sqrt(len(gain))
    return _STRENGTHS[best] if clear else 0.0


def _heard(guess: Guess, logs: FloatArray) -> Guess:
    """Return a guess with its centres weighed anew."""
    if not logs.any():
        return guess
    density = guess.density
    with np.errstate(divide="ignore"):
        weights = np.log(density.weights) + logs
    weights = np.exp(weights - weights.max())
    density = replace(density, weights=weights / weights.sum())
    best = density.heaviest
    lat, lng = float(density.lat[best]), float(density.lng[best])
    return replace(
        guess, density=density, lat=lat, lng=lng, radius_50_km=density.radius_km(lat, lng),
        moving=best == 2,
    )  # fmt: skip


def _proposal(guess: Guess, reasons: tuple[str, ...], max_radius_km: float) -> Proposal:
    density = guess.density
    rows = zip(
        density.lat.tolist(), density.lng.tolist(), density.weights.tolist(),
        density.median_km.tolist(), strict=True,
    )  # fmt: skip
    radius = guess.radius_50_km
    return Proposal(guess.lat, guess.lng, radius, radius <= max_radius_km, reasons, tuple(rows))


def _untimed(photos: Sequence[Photo], max_radius_km: float) -> dict[int, Proposal]:
    """Return proposals where no known photo says when it was taken: the middle of the places."""
    places = [(it.facts.lat, it.facts.lng) for it in photos if it.known][:_MOST_UNTIMED]
    if not places:
        return {}
    lat, lng = np.array(places, np.float64).T
    each = np.full(len(lat), 1 / len(lat))
    density = Density(lat, lng, each, np.full(len(lat), _UNTIMED_KM), 1.0)
    middle = int(np.argmin(great_circle_km(lat[:, None], lng[:, None], lat, lng).sum(axis=1)))
    radius = density.radius_km(lat[middle], lng[middle])
    guess = Guess(density, float(lat[middle]), float(lng[middle]), radius, 0.0, -1, -1, False)
    words = ("no photo with a place says when it was taken; this is in the middle of their places",)
    proposal = _proposal(guess, words, max_radius_km)
    return {it.number: proposal for it in photos if not it.known and it.facts.taken is not None}


def time_text(seconds: float) -> str:
    """Return a length of time as people say it."""
    for unit, length, most in (("s", 1, 59.5), ("min", 60, 90), ("h", 3600, 48)):
        if seconds < most * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds / 86400:,.0f} days"


def distance_text(km: float) -> str:
    """Return a distance as people say it."""
    return f"{1000 * km:.0f} m" if km < 0.95 else f"{km:,.2g} km" if km < 9.5 else f"{km:,.0f} km"


def clock_text(hours: float) -> str:
    """Return in words how far a clock is off."""
    whole, minutes = divmod(round(abs(hours) * 60), 60)
    text = " ".join([f"{whole} h"] * bool(whole) + [f"{minutes} min"] * bool(minutes))
    return f"is {text} {'ahead' if hours > 0 else 'behind'}"
