"""Each kind finds the most similar embeddings, and says what it is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from locationnet.retrieval.kinds import CODES_FROM, FLAT_UP_TO, Kind, kind_for
from locationnet.retrieval.search import ask, build, open_file, write

pytest.importorskip("faiss", reason="needs the extra 'retrieval'")


def test_the_kind_follows_the_number_of_photos() -> None:
    kinds = [kind_for(count) for count in (1, FLAT_UP_TO, FLAT_UP_TO + 1, CODES_FROM)]
    assert kinds == [Kind.flat, Kind.flat, Kind.ivf_sq, Kind.ivf_pq]


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("count", [1, 2000])
def test_an_embedding_is_most_similar_to_itself(kind: Kind, count: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    vectors = rng.normal(size=(count, 12)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    made = build(kind, 12, count, lambda _: vectors, iter([vectors[:700], vectors[700:]]))
    write(made, tmp_path / "search.faiss")
    opened = open_file(tmp_path / "search.faiss", kind)
    similarity, found = ask(opened, kind, vectors[:50], min(3, count))
    if kind == Kind.ivf_pq:  # by a few bits a photo, it is among the first alone
        assert found.min() >= 0
    else:
        assert (found[:, 0] == np.arange(min(50, count))).mean() >= 0.98
        np.testing.assert_allclose(similarity[:, 0], 1, atol=0.02)
