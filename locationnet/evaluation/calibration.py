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
# Share of the photos in the first bin from which on bins hold equally many, and at least how many.
_CROWDED = 0.9
_FEWEST = 30


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
    """Return a reliability diagram over equal bins of (0, 1], or of what there is of confidence.

    Where nearly all photos would lie in the first bin, as with thousands of cells, bins hold
    equally many instead. DeGroot and Fienberg, "The comparison and evaluation of forecasters"
    (1983).

    Parameters
    ----------
    confidence
        float ``(n,)`` in 0–1.
    correct
        bool ``(n,)``.
    """
    values = np.asarray(confidence, np.float64)
    index = confidence_bins(values, bins)
    if (index == 0).mean() > _CROWDED:
        steps = np.linspace(0, 1, max(1, min(bins, len(values) // _FEWEST)) + 1)[1:-1]
        # Equals stay together.
        index = np.searchsorted(np.unique(np.quantile(values, steps)), values, side="left")
    photos = np.bincount(index, minlength=bins)
    with np.errstate(invalid="ignore"):
        confident, accurate = (
            np.bincount(index, np.asarray(one, np.float64), minlength=bins) / photos
            for one in (values, correct)
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
