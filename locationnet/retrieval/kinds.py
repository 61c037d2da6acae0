"""What can be chosen about an index: how it is searched, and who answers.

Knows names and sizes only; imports nothing heavy, so that options can name them.
"""

from __future__ import annotations

from enum import StrEnum

# Below this an exact answer takes a few milliseconds, and nothing is to be gained by a guess.
FLAT_UP_TO = 20_000
# From here on a byte for each dimension is more than a machine's memory should hold.
CODES_FROM = 20_000_000


class Kind(StrEnum):
    """How embeddings are searched."""

    flat = "flat"
    hnsw = "hnsw"
    ivf = "ivf"
    ivf_sq = "ivf-sq"
    ivf_pq = "ivf-pq"

    @property
    def learns(self) -> bool:
        """Whether it is made of lists that are learned from the embeddings."""
        return self in (Kind.ivf, Kind.ivf_sq, Kind.ivf_pq)

    @property
    def exact(self) -> bool:
        """Whether its similarities need no second look at the embeddings themselves."""
        return self in (Kind.flat, Kind.hnsw, Kind.ivf)


class Mode(StrEnum):
    """Who answers: the classifier and the neighbours together, or the neighbours alone."""

    combined = "combined"
    search = "search"


def kind_for(photos: int) -> Kind:
    """Return the kind for a number of photos."""
    if photos <= FLAT_UP_TO:
        return Kind.flat
    return Kind.ivf_sq if photos < CODES_FROM else Kind.ivf_pq
