"""Whether a model knows when it is right: reliability, risk against coverage, radii, information.

Knows arrays; nothing of photos, networks or grids.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from locationnet.metrics import confidence_bins

Floats = NDArray[np.float64]

# Information is what an answer says about the region of the truth: these many kilometres around.
INFORMATION_KM = 750.0
# A model that is confident of the wrong continent loses 20 bits at most.
_FLOOR = 1e-6


class Reliability(NamedTuple):
    """A reliability diagram: means and numbers by bin of confidence; empty bins are NaN."""

    confidence: Floats
    accuracy: Floats
    photos: NDArray[np.int64]


class RiskCoverage(NamedTuple):
    """What abstaining buys: the mean loss of the most confident photos, by their share.

    ``coverage`` float64 ``(n,)``, ascending to 1; ``risk`` float64 ``(n,)``; ``area`` under the
    curve.
    """

    coverage: Floats
    risk: Floats
    area: float


def reliability(confidence: ArrayLike, correct: ArrayLike, bins: int = 10) -> Reliability:
    """Return a reliability diagram over equal bins of (0, 1].

    DeGroot and Fienberg, "The comparison and evaluation of forecasters" (1983).

    Parameters
    ----------
    confidence
        float ``(n,)`` in 0–1.
    correct
        bool ``(n,)``.
    """
    index = confidence_bins(confidence, bins)
    photos = np.bincount(index, minlength=bins)
    with np.errstate(invalid="ignore"):
        confident, accurate = (
            np.bincount(index, np.asarray(values, np.float64), minlength=bins) / photos
            for values in (confidence, correct)
        )
    return Reliability(confident, accurate, photos)


def risk_coverage(confidence: ArrayLike, loss: ArrayLike) -> RiskCoverage:
    """Return the risk–coverage curve of answering the most confident photos only.

    El-Yaniv and Wiener, "On the foundations of noise-free selective classification" (JMLR 2010).
    Photos of equal confidence are taken together, so that their order cannot matter.

    Parameters
    ----------
    confidence
        float ``(n,)``, any scale: higher is surer.
    loss
        float ``(n,)``.
    """
    confidence, lost = np.asarray(confidence, np.float64), np.asarray(loss, np.float64)
    order = np.argsort(-confidence, kind="stable")
    taken = np.arange(1, len(order) + 1)
    running = np.cumsum(lost[order]) / taken
    # The last of each run of equals speaks for all of it.
    last = np.append(np.diff(confidence[order]) != 0, True)
    ends = np.flatnonzero(last)
    risk = running[ends[np.searchsorted(ends, np.arange(len(order)))]]
    return RiskCoverage(taken / len(order), risk, float(risk.mean()))


def information_bits(after: ArrayLike, before: ArrayLike) -> Floats:
    """Return by how many bits answers beat the prior around the truth.

    Parameters
    ----------
    after, before
        float ``(n,)``: probability that the answer and the prior give to the cells whose centroid
        lies within `INFORMATION_KM` of the truth.
    """
    ratio = (np.asarray(after, np.float64) + _FLOOR) / (np.asarray(before, np.float64) + _FLOOR)
    return np.asarray(np.log2(ratio))
