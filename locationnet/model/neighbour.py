"""A photo with a known place that resembles the one asked about: evidence with its attribution.

Knows nothing of how it was found.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Neighbour:
    """A similar photo; texts are ``""`` where nobody knows.

    Parameters
    ----------
    id
        As its index calls it.
    lat, lng
        Where it was taken, degrees.
    similarity
        Cosine of the two embeddings, up to 1.
    taken, licence, author, page
        When, under which licence, by whom, and where it can be seen.
    """

    id: str
    lat: float
    lng: float
    similarity: float
    taken: str = ""
    licence: str = ""
    author: str = ""
    page: str = ""

    def to_dict(self, distance_km: float) -> dict[str, Any]:
        """Return plain JSON values, with how far it is from the answer's first place."""
        return {
            "id": self.id,
            "lat": self.lat,
            "lng": self.lng,
            "similarity": self.similarity,
            "distance_km": distance_km,
            "taken": self.taken,
            "licence": self.licence,
            "author": self.author,
            # Others wrote it: a page that is shown leads to the web or nowhere.
            "page": self.page if self.page.startswith(("https://", "http://")) else "",
        }
