"""Neighbours and a classifier as one answer: the formula, and its weights from photos.

Knows similarities, cells and probabilities; nothing of files. For the k photos most similar to a
query, with cosines s₁ ≥ … ≥ s_k and each in a cell, and the classifier's answer over cells c::

    w_i   ∝ exp(sharpness · s_i)
    trust = 1 / (1 + exp(−trust_slope · (s₁ − trust_at)))
    q(c)  = trust · (sum of w_i of the neighbours in c) + (1 − trust) · prior(c)
    p(c)  ∝ prior(c) · (classifier(c) / prior(c))^(1 − trust · (1 − a)) · (q(c) / prior(c))^b

q is what search alone answers: a distribution that falls back to the prior where no photo of the
index is similar enough to be trusted. p multiplies what the photo changed by the classifier's word
with what it changed by the neighbours', and is the classifier's own answer where these are not
trusted. In each cell with neighbours the answer's point is that neighbour around which most of
their weight lies: where the density on the sphere, the sum of w_i · exp(−distance / 1 km), is
highest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from locationnet.geo.sphere import great_circle_km
from locationnet.model.bundle import Bundle
from locationnet.retrieval.index import NEAR_DUPLICATE, Index, Weights
from locationnet.retrieval.kinds import Mode
from locationnet.retrieval.search import Vectors

NEIGHBOURS = 10
_KERNEL_KM = 1.0
# Fewer photos do not tell one weight from another.
_FEWEST = 30
_EXPONENTS_OF_CLASSIFIER = (0.0, 0.1, 0.25, 0.5, 0.75, 1.0)
_EXPONENTS_OF_NEIGHBOURS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25)
_LARGEST_SHARPNESS, _LARGEST_SLOPE = 100.0, 50.0
# Of a classifier's answers, so that none is certain of anything: this share is the prior's.
_DOUBT = 1e-6

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Sample:
    """Photos whose place is known, to fit weights on.

    ``vectors`` float32 ``(n, dimensions)`` of length 1; ``probabilities`` float16 ``(n, classes)``;
    ``lat``, ``lng`` float64 ``(n,)``; ``uploaders``, ``""`` where nobody knows.
    """

    vectors: Vectors
    probabilities: NDArray[np.float16]
    lat: Floats
    lng: Floats
    uploaders: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.lat)

    @classmethod
    def joined(cls, samples: Sequence[Sample]) -> Sample:
        """Return several as one."""
        return cls(
            np.concatenate([one.vectors for one in samples]),
            np.concatenate([one.probabilities for one in samples]),
            np.concatenate([one.lat for one in samples]),
            np.concatenate([one.lng for one in samples]),
            tuple(name for one in samples for name in one.uploaders),
        )


def shares(
    similarity: NDArray[np.float32], there: NDArray[np.bool_], weights: Weights
) -> tuple[Floats, Floats]:
    """Return the neighbours' shares, float64 ``(n, k)``, and how far they are trusted, ``(n,)``.

    Where there is no neighbour, the trust is 0.
    """
    cosines = np.where(there, similarity, -np.inf).astype(np.float64)
    best = np.where(there[:, 0], cosines[:, 0], 0.0)
    powers = np.where(there, np.exp(weights.sharpness * (cosines - best[:, None])), 0.0)
    totals = np.maximum(powers.sum(axis=1, keepdims=True), np.finfo(np.float64).tiny)
    trust = 1 / (1 + np.exp(-weights.trust_slope * (best - weights.trust_at)))
    return powers / totals, np.where(there[:, 0], trust, 0.0)


def combine(
    classifier: Floats,
    prior: Floats,
    cells: NDArray[np.int64],
    held: Floats,
    trust: float,
    weights: Weights,
    mode: Mode,
) -> Floats:
    """Return the answer to one photo over the cells, float64 ``(classes,)``.

    Parameters
    ----------
    classifier, prior
        float64 ``(classes,)``.
    cells, held
        The cell of each neighbour and its share, ``(k,)``; see `shares`.
    trust
        How far the neighbours are trusted.
    """
    found = np.bincount(cells, held, minlength=len(prior))
    searched = trust * found + (1 - trust) * prior
    if mode == Mode.search:
        return np.asarray(searched / searched.sum())
    doubted = (1 - _DOUBT) * classifier + _DOUBT * prior
    heard = 1 - trust * (1 - weights.classifier)
    logs = np.log(prior) + heard * np.log(doubted / prior)
    logs += weights.neighbours * np.log(np.maximum(searched / prior, np.finfo(float).tiny))
    powers = np.exp(logs - logs.max())
    return np.asarray(powers / powers.sum())


def density_peaks(
    lat: Floats, lng: Floats, held: Floats, cells: NDArray[np.int64]
) -> dict[int, tuple[float, float]]:
    """Return the point of each cell with neighbours, by class; see the module."""
    km = great_circle_km(lat[:, None], lng[:, None], lat[None, :], lng[None, :])
    density = np.exp(-km / _KERNEL_KM) @ held
    peaks: dict[int, tuple[float, float]] = {}
    for one in np.argsort(-density, kind="stable"):
        peaks.setdefault(int(cells[one]), (float(lat[one]), float(lng[one])))
    return peaks


def fit(index: Index, sample: Sample, bundle: Bundle, otherwise: Weights) -> Weights:
    """Return the weights under which the places of some photos are most probable.

    A photo's own uploader and whatever is nearly the same do not count among its neighbours, so
    that photos of the index itself are answered as if they were not in it.

    Parameters
    ----------
    index
        The neighbours.
    sample
        The photos.
    bundle
        The classifier's cells and prior.
    otherwise
        Returned where too few of the photos have neighbours.
    """
    found = index.search(
        sample.vectors, NEIGHBOURS, by=sample.uploaders, exclude_uploader=True, below=NEAR_DUPLICATE
    )
    usable = np.flatnonzero(found.numbers[:, 0] >= 0)
    if len(usable) < _FEWEST:
        # All by one uploader, as a person's own photos are.
        found = index.search(sample.vectors, NEIGHBOURS, below=NEAR_DUPLICATE)
        usable = np.flatnonzero(found.numbers[:, 0] >= 0)
        if len(usable) < _FEWEST:
            return otherwise
    numbers, similarity = found.numbers[usable], found.similarity[usable]
    truth = bundle.grid.nearest(sample.lat[usable], sample.lng[usable])
    cells = bundle.grid.nearest(index.lat[numbers.ravel()], index.lng[numbers.ravel()])
    cells = cells.reshape(numbers.shape)
    searching = _fit_search(numbers >= 0, similarity, cells, truth, bundle.prior)
    held, trust = shares(similarity, numbers >= 0, searching)
    exponents = _fit_exponents(
        sample.probabilities[usable], bundle.prior, cells, held, trust, truth
    )
    return searching.model_copy(
        update={
            "classifier": exponents[0], "neighbours": exponents[1], "fitted_on": len(usable)
        }
    )  # fmt: skip


def _fit_search(
    there: NDArray[np.bool_],
    similarity: NDArray[np.float32],
    cells: NDArray[np.int64],
    truth: NDArray[np.int64],
    prior: Floats,
) -> Weights:
    from scipy.optimize import minimize

    right = (cells == truth[:, None]) & there
    # Nobody is trusted more than so many photos can show.
    most = 1 - 1 / (len(truth) + 2)

    def weights(x: Sequence[float]) -> Weights:
        return Weights(
            sharpness=float(min(np.exp(x[0]), _LARGEST_SHARPNESS)),
            trust_at=float(x[1]),
            trust_slope=float(min(np.exp(x[2]), _LARGEST_SLOPE)),
        )

    def loss(x: Sequence[float]) -> float:
        held, trust = shares(similarity, there, weights(x))
        trust = np.minimum(trust, most)
        found = trust * (held * right).sum(axis=1) + (1 - trust) * prior[truth]
        return -float(np.log(found).mean())

    start = [np.log(20.0), float(np.median(similarity[:, 0])), np.log(10.0)]
    return weights(minimize(loss, start, method="Nelder-Mead", options={"maxiter": 400}).x)


def _fit_exponents(
    probabilities: NDArray[np.float16],
    prior: Floats,
    cells: NDArray[np.int64],
    held: Floats,
    trust: Floats,
    truth: NDArray[np.int64],
) -> tuple[float, float]:
    """Return the exponents of the classifier and the neighbours, of a few, that fit best."""
    rows = np.arange(len(truth))
    # Several neighbours in one cell count there once, with the sum of their shares.
    same = cells[:, :, None] == cells[:, None, :]
    first = same.argmax(axis=2) == np.arange(cells.shape[1])
    rest = (1 - trust)[:, None]
    lift = trust[:, None] * (same * held[:, None, :]).sum(axis=2) / prior[cells] + rest
    mine = cells == truth[:, None]
    true_lift = np.where(
        mine.any(axis=1),
        np.take_along_axis(lift, mine.argmax(axis=1)[:, None], 1)[:, 0],
        rest[:, 0],
    )
    tiny = np.finfo(np.float64).tiny
    best, chosen = -np.inf, (1.0, 1.0)
    for a in _EXPONENTS_OF_CLASSIFIER:
        totals, near, own = np.empty(len(rows)), np.empty(cells.shape), np.empty(len(rows))
        for row in rows:
            doubted = (1 - _DOUBT) * probabilities[row].astype(np.float64) + _DOUBT * prior
            weighed = prior * (doubted / prior) ** (1 - trust[row] * (1 - a))
            totals[row], near[row], own[row] = (
                weighed.sum(),
                weighed[cells[row]],
                weighed[truth[row]],
            )
        near *= first
        for b in _EXPONENTS_OF_NEIGHBOURS:
            whole = rest[:, 0] ** b * (totals - near.sum(axis=1)) + (near * lift**b).sum(axis=1)
            found = np.log(np.maximum(own * true_lift**b / np.maximum(whole, tiny), tiny)).mean()
            if found > best:
                best, chosen = found, (a, b)
    return chosen
