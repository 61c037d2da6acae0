"""Photos and tracks on one axis of time: zones, clocks that are off, and who travelled with whom.

Knows times, cameras and places; nothing of files, nor of what is made of the neighbours in time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from locationnet.geo.sphere import great_circle_km
from locationnet.library.catalog import Photo
from locationnet.library.tracks import Track

FloatArray = NDArray[np.float64]
Indices = NDArray[np.int64]

_HOUR = 3600.0
# A photo without a zone has that of the next one that says it, if that is not farther.
_ZONE_FROM_S = 3 * 86400.0
# Clocks are compared at photos of which the place is known by others this near in time.
_OVERLAP_S = 3 * _HOUR
_LEAST_OVERLAP = 3
# Zones are up to 14 hours off, and quarters of an hour apart.
_CLOCK_STEP_S = 900.0
_MOST_CLOCK_S = 26 * _HOUR
# How much better a clock must fit, in the logarithm of the distance, to be believed wrong.
_CLOCK_GAIN = 0.7
_NEAR_KM = 0.5
# Cameras that are this far from one another at the same time travel with different people.
_APART_KM = 50.0
_TOGETHER_S = _HOUR
_LEAST_MEETINGS = 5


@dataclass(frozen=True, eq=False)
class Timeline:
    """What happened when, in order; photos whose time is not known are left out.

    Parameters
    ----------
    seconds
        float64 ``(n,)``: since 1970, ascending.
    lat, lng
        float64 ``(n,)``: degrees, NaN where the place is not known.
    source
        int64 ``(n,)``: index of the photo, −1 for a point of a track.
    camera
        int64 ``(n,)``: index into `cameras`, −1 for a track.
    cameras
        What each camera is called.
    clock_h
        How many hours each camera's clock is ahead, as found and taken into account.
    apart
        bool ``(cameras, cameras)``: which are known to travel apart.
    """

    seconds: FloatArray
    lat: FloatArray
    lng: FloatArray
    source: Indices
    camera: Indices
    cameras: tuple[str, ...]
    clock_h: FloatArray
    apart: NDArray[np.bool_]

    def company(self, camera: int) -> tuple[Timeline, Indices]:
        """Return the timeline of those who travel with a camera, tracks included, and its rows."""
        with_it = ~self.apart[camera]
        keep = (self.camera < 0) | with_it[self.camera]
        line = Timeline(
            self.seconds[keep], self.lat[keep], self.lng[keep], self.source[keep],
            self.camera[keep], self.cameras, self.clock_h, self.apart,
        )  # fmt: skip
        return line, np.flatnonzero(keep)


def build(photos: Sequence[Photo], tracks: Sequence[Track] = ()) -> Timeline:
    """Put photos and tracks on one axis of time.

    In UTC where anything says it, else as the clocks showed it: then all are taken for one zone.
    """
    timed = [index for index, photo in enumerate(photos) if photo.facts.taken is not None]
    facts = [photos[index].facts for index in timed]
    taken = np.array([it.taken for it in facts], np.float64)
    utc = np.array([np.nan if it.utc is None else it.utc for it in facts], np.float64)
    lat = np.array([np.nan if it.lat is None else it.lat for it in facts], np.float64)
    lng = np.array([np.nan if it.lng is None else it.lng for it in facts], np.float64)
    names = sorted({photos[index].device for index in timed})
    numbers = {name: number for number, name in enumerate(names)}
    camera = np.array([numbers[photos[index].device] for index in timed], np.int64)
    seconds = _one_axis(taken, utc, lng, zoned=bool(tracks) or bool(np.isfinite(utc).any()))

    track_s = np.concatenate([track.utc for track in tracks]) if tracks else np.empty(0)
    track_lat = np.concatenate([track.lat for track in tracks]) if tracks else np.empty(0)
    track_lng = np.concatenate([track.lng for track in tracks]) if tracks else np.empty(0)
    clock = np.zeros(len(names))
    known = np.isfinite(lat)
    for number in range(len(names)):
        own, others = camera == number, known & (camera != number)
        clock[number] = _clock_ahead(
            (seconds[own & known], lat[own & known], lng[own & known]),
            (
                np.concatenate([seconds[others], track_s]),
                np.concatenate([lat[others], track_lat]),
                np.concatenate([lng[others], track_lng]),
            ),
        )
        # Of two clocks that differ, the one of whoever has more known photos is believed.
        if clock[number] and not len(track_s) and 2 * (own & known).sum() > known.sum():
            clock[number] = 0.0
    seconds = seconds - clock[camera]
    apart = _apart(seconds[known], lat[known], lng[known], camera[known], len(names))

    seconds = np.concatenate([seconds, track_s])
    order = np.argsort(seconds, kind="stable")
    return Timeline(
        seconds[order],
        np.concatenate([lat, track_lat])[order],
        np.concatenate([lng, track_lng])[order],
        np.concatenate([np.array(timed, np.int64), np.full(len(track_s), -1)])[order],
        np.concatenate([camera, np.full(len(track_s), -1)])[order],
        tuple(names),
        clock / _HOUR,
        apart,
    )


def _one_axis(taken: FloatArray, utc: FloatArray, lng: FloatArray, *, zoned: bool) -> FloatArray:
    """Return seconds of one clock for all."""
    if not zoned or not len(taken):
        return taken
    said = np.isfinite(utc)
    seconds = utc.copy()
    sources = [(taken[said], (taken - utc)[said], _ZONE_FROM_S)]
    place = np.isfinite(lng)
    # By the sun: fifteen degrees an hour.
    sources.append((taken[place], _HOUR * np.round(lng[place] / 15), np.inf))
    for when, zone, farthest in sources:
        missing = np.flatnonzero(~np.isfinite(seconds))
        if len(when) and len(missing):
            order = np.argsort(when, kind="stable")
            nearest = order[_nearest(when[order], taken[missing])]
            near = np.abs(when[nearest] - taken[missing]) <= farthest
            seconds[missing[near]] = taken[missing[near]] - zone[nearest[near]]
    return np.where(np.isfinite(seconds), seconds, taken)


def _nearest(sorted_values: FloatArray, values: FloatArray) -> Indices:
    """Return which of ascending values is nearest to each; of equally near ones the first."""
    right = np.clip(np.searchsorted(sorted_values, values), 1, max(1, len(sorted_values) - 1))
    left = right - 1
    right = np.minimum(right, len(sorted_values) - 1)
    nearer = np.abs(values - sorted_values[left]) <= np.abs(sorted_values[right] - values)
    return np.where(nearer, left, right)


def _clock_ahead(
    own: tuple[FloatArray, FloatArray, FloatArray],
    others: tuple[FloatArray, FloatArray, FloatArray],
) -> float:
    """Return how many seconds a camera's clock is ahead, by where others were at the time; or 0."""
    when, lat, lng = own
    if len(when) < _LEAST_OVERLAP or not len(others[0]):
        return 0.0
    order = np.argsort(others[0], kind="stable")
    at, other_lat, other_lng = (values[order] for values in others)

    def misfit(ahead: float) -> tuple[float, int]:
        moment = when - ahead
        nearest = _nearest(at, moment)
        near = np.abs(at[nearest] - moment) <= _OVERLAP_S
        km = great_circle_km(
            lat[near], lng[near], other_lat[nearest[near]], other_lng[nearest[near]]
        )
        return float(np.log1p(km / _NEAR_KM).mean()) if near.any() else np.inf, int(near.sum())

    steps = np.arange(-_MOST_CLOCK_S, _MOST_CLOCK_S + 1, _CLOCK_STEP_S)
    steps = steps[np.argsort(np.abs(steps), kind="stable")]
    fits = [misfit(step) for step in steps]
    as_it_is, overlap = fits[0]
    if overlap < _LEAST_OVERLAP:
        return 0.0
    # What fits by leaving most photos without company explains nothing.
    values = np.array([value if count >= 0.8 * overlap else np.inf for value, count in fits])
    best = int(np.argmin(values))
    if not as_it_is - values[best] >= _CLOCK_GAIN:
        return 0.0
    return float(steps[best])


def _apart(
    seconds: FloatArray, lat: FloatArray, lng: FloatArray, camera: Indices, count: int
) -> NDArray[np.bool_]:
    """Return which cameras were, at the same time, far from one another."""
    apart = np.zeros((count, count), bool)
    often = np.flatnonzero(np.bincount(camera, minlength=count) >= _LEAST_MEETINGS).tolist()
    for other in often:
        theirs = np.flatnonzero(camera == other)
        theirs = theirs[np.argsort(seconds[theirs], kind="stable")]
        for one in often:
            mine = camera == one
            if one == other:
                continue
            nearest = theirs[_nearest(seconds[theirs], seconds[mine])]
            near = np.abs(seconds[nearest] - seconds[mine]) <= _TOGETHER_S
            if near.sum() >= _LEAST_MEETINGS:
                km = great_circle_km(
                    lat[mine][near], lng[mine][near], lat[nearest][near], lng[nearest][near]
                )
                far = bool(np.median(km) > _APART_KM)
                apart[one, other] |= far
                apart[other, one] |= far
    return apart
