"""Held-out photos ask for each other."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from locationnet.classes import LabelSet
from locationnet.geo.grid import Grid
from locationnet.train.collectives import Collectives
from locationnet.train.place_batches import Pairs
from locationnet.train.recall import nearest, recall
from tests.train.test_place_batches import pack_of


def test_the_nearest_are_those_of_a_full_sort_without_oneself() -> None:
    random = np.random.default_rng(0)
    embedding = random.standard_normal((50, 8)).astype(np.float32)
    embedding /= np.linalg.norm(embedding, axis=1, keepdims=True)
    queries = np.array([3, 17, 49])
    similarity = embedding[queries] @ embedding.T
    for row, query, found in zip(similarity, queries, nearest(embedding, queries, 7), strict=True):
        row[query] = -2
        assert_array_equal(found, np.argsort(-row)[:7])


def test_recall_counts_photos_whose_place_another_shows(town_grid: Grid) -> None:
    # One degree of the equator is 111 km; the last photo stands alone.
    pack = pack_of([0, 0, 1, 1, 2], [0.0, 0.1, 5.0, 5.5, 5.1], town_grid)
    angles = np.radians([0, 10, 50, 90, 55])
    embedding = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    found = recall(embedding, Pairs(pack), Collectives())
    # The two of class 0 find each other; the last stands between the two of class 1.
    assert found == {
        "recall_at_1": 0.5, "recall_at_5": 1, "recall_at_10": 1,
        # 0 → 1, 1 → 0, 2 → 4 and 4 → 2 within 11 km, 3 → 4 not.
        "nearest_within_25_km": pytest.approx(0.8),
    }  # fmt: skip
    labels = pack_of([0, 0, 1, 1, 2], [0.0] * 5, LabelSet(("a", "b", "c")))
    assert recall(embedding, Pairs(labels), Collectives()).keys() == {
        "recall_at_1", "recall_at_5", "recall_at_10",
    }  # fmt: skip
