"""How well embeddings find photos of the same place: each held-out photo asks for all the others.

Knows embeddings and pairs of photos; nothing of the network that made them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from locationnet.geo.grid import Grid
from locationnet.geo.sphere import great_circle_km
from locationnet.train.collectives import Collectives
from locationnet.train.place_batches import Pairs

NEAREST = (1, 5, 10)
_WITHIN_KM = 25.0
# Similarities that are held at a time: 64 MB.
_PART = 1 << 24


def nearest(
    embedding: NDArray[np.float32], queries: NDArray[np.int64], count: int
) -> NDArray[np.int64]:
    """Return the rows most similar to some rows, without themselves: int64 ``(n, count)``.

    Parameters
    ----------
    embedding
        Float32 ``(photos, features)``, of length 1; there are more photos than `count`.
    queries
        int64 ``(n,)``: rows that ask.
    count
        How many, most similar first.
    """
    similarity = embedding[queries] @ embedding.T
    similarity[np.arange(len(queries)), queries] = -np.inf
    found = np.argpartition(-similarity, count - 1, axis=1)[:, :count]
    order = np.argsort(-np.take_along_axis(similarity, found, axis=1), axis=1, kind="stable")
    return np.asarray(np.take_along_axis(found, order, axis=1))


def recall(
    embedding: NDArray[np.float32], pairs: Pairs, collectives: Collectives
) -> dict[str, float]:
    """Ask for the photos nearest to each photo of a pack among all its others.

    Parameters
    ----------
    embedding
        Float32 ``(records, features)``, of length 1, the same on every worker.
    pairs
        Of the pack.
    collectives
        The workers, which share the questions out.

    Returns
    -------
    dict
        ``recall_at_1``, ``_5`` and ``_10``: the share of photos, of those whose place another
        photo shows, for which one of the so many nearest shows it. Where classes are places,
        ``nearest_within_25_km``: for how many of all photos the nearest was taken so near.
    """
    pack = pairs.pack
    count = min(max(NEAREST), pack.records - 1)
    # For each photo: whether its place was found so far down, and how far away the first is.
    found = np.zeros((pack.records, len(NEAREST) + 1))
    mine = np.arange(pack.records)[collectives.rank :: collectives.workers]
    part = max(_PART // pack.records, 1)
    for start in range(0, len(mine), part):
        queries = mine[start : start + part]
        answers = nearest(embedding, queries, count)
        alike = pairs.alike(queries[:, None], answers)
        for column, many in enumerate(NEAREST):
            found[queries, column] = alike[:, :many].any(axis=1)
        if isinstance(pack.class_set, Grid):
            first = answers[:, 0]
            found[queries, -1] = great_circle_km(
                pack.lat[queries], pack.lng[queries], pack.lat[first], pack.lng[first]
            )
    found = collectives.sum("recall", found)
    shares = found[pairs.accompanied].mean(axis=0)
    metrics = {f"recall_at_{many}": float(shares[i]) for i, many in enumerate(NEAREST)}
    if isinstance(pack.class_set, Grid):
        metrics["nearest_within_25_km"] = float((found[:, -1] <= _WITHIN_KM).mean())
    return metrics
