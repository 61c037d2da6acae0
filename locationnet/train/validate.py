"""How good a network is on held-out photos, in kilometres too where classes are places.

Knows answers and classes; nothing of how the network learns.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from locationnet.geo.grid import Grid
from locationnet.geo.sphere import great_circle_km
from locationnet.metrics import summary
from locationnet.pack.format import Pack
from locationnet.train.collectives import Collectives
from locationnet.train.data_iter import PackIter
from locationnet.train.module import Answer, TrainingModule
from locationnet.train.place_batches import Pairs
from locationnet.train.recall import recall


def validate(
    module: TrainingModule,
    photos: PackIter,
    pack: Pack,
    collectives: Collectives,
    advance: Callable[[], bool],
    pairs: Pairs | None = None,
) -> dict[str, float] | None:
    """Answer all photos of a pack and measure the answers.

    The answer to a photo is the centroid of its most probable cell.

    Parameters
    ----------
    module
        Its weights as they are.
    photos
        The pack's photos as they are, this worker's share.
    pack
        The same pack, for the truth.
    collectives
        The workers that share the photos.
    advance
        Called after each batch; False stops.
    pairs
        Of the pack, where embeddings are learned.

    Returns
    -------
    dict
        What `locationnet.metrics.summary` gives, with ``loss`` or, where embeddings are learned,
        what `locationnet.train.recall.recall` gives; None if it was stopped.
    """
    classes = pack.class_set
    # For each photo: loss, kilometres, rank of the true class.
    found = np.zeros((pack.records, 3))
    embedding: NDArray[np.float32] | None = None
    photos.start(0)
    for batch in photos:
        answer: Answer = module.answer(batch).read()
        if not advance():
            return None
        counting = len(answer.loss) - batch.pad
        records, best = batch.index[:counting], answer.best[:counting]
        cells = best[:, 0]
        found[records, 0] = answer.loss[:counting]
        if answer.embedding is not None:
            if embedding is None:
                embedding = np.zeros((pack.records, answer.embedding.shape[1]), np.float32)
            embedding[records] = answer.embedding[:counting]
        if isinstance(classes, Grid):
            found[records, 1] = great_circle_km(
                pack.lat[records], pack.lng[records], classes.lat[cells], classes.lng[cells]
            )
        own = best == pack.classes_of_records[records, None]
        # Beyond the best few, how far behind does not matter.
        found[records, 2] = np.where(own.any(axis=1), own.argmax(axis=1), len(classes))
    found = collectives.sum("validation", found)
    km = found[:, 1] if isinstance(classes, Grid) else None
    metrics = summary(km, found[:, 2])
    if embedding is None or pairs is None:
        return {"loss": float(found[:, 0].mean())} | metrics
    # Held-out photos stand as the pack has them: the loss of their chance triplets says nothing.
    together = collectives.sum("embeddings", embedding).astype(np.float32, copy=False)
    return recall(together, pairs, collectives) | metrics
