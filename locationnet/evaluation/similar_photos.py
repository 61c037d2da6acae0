"""Similar photos that take part in the answers to a benchmark, and which of them may not.

Knows the locator and the index; what the answers are worth is `scores`' business.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from locationnet.errors import LocationNetError
from locationnet.evaluation.benchmarks import Benchmark
from locationnet.model.photo_stream import answer_photos
from locationnet.retrieval.index import NEAR_DUPLICATE

if TYPE_CHECKING:
    import pyarrow as pa

    from locationnet.model.locator import Locator
    from locationnet.retrieval.neighbourhood import Neighbourhood, Refined

# What a table of answers says of the most similar photo.
OF_NEIGHBOURS = ("near_duplicate", "same_uploader")


@dataclass(frozen=True)
class Retrieval:
    """Similar photos that take part in answers, and which of them do not.

    Parameters
    ----------
    neighbourhood
        The index.
    exclude_uploader
        Whether photos by a photo's own uploader do not count.
    exclude_duplicates
        Whether photos that are nearly the same do not count.
    """

    neighbourhood: Neighbourhood
    exclude_uploader: bool = False
    exclude_duplicates: bool = False

    def fingerprint(self, mark: str) -> str:
        """Return what the answers depend on beside the photos and the model, as a hash."""
        contents = self.neighbourhood.index.contents.model_dump_json()
        options = [self.neighbourhood.mode, self.exclude_uploader, self.exclude_duplicates]
        return hashlib.sha256(f"{mark} {contents} {options}".encode()).hexdigest()

    def answers(
        self,
        locator: Locator,
        benchmark: Benchmark,
        indices: range,
        threads: int | None,
        told: Callable[[int], None],
    ) -> list[Refined | LocationNetError | OSError]:
        """Return the refined answers to some photos, and the errors of those not to be read."""
        compute = partial(locator.embed_and_predict, top_k=5)
        paths = [benchmark.paths[index] for index in indices]
        seen = []
        for _, answer in answer_photos(
            paths, locator.prepare, compute, threads=threads, on_error="return"
        ):
            seen.append(answer)
            told(len(seen))
        read = [row for row, answer in enumerate(seen) if isinstance(answer, tuple)]
        pairs = [answer for answer in seen if isinstance(answer, tuple)]
        uploaders = benchmark.uploaders
        refined = iter(
            self.neighbourhood.look_up(
                np.stack([one[0] for one in pairs]),
                [one[1] for one in pairs],
                by=None if uploaders is None else [uploaders[indices[row]] for row in read],
                exclude_uploader=self.exclude_uploader,
                below=NEAR_DUPLICATE if self.exclude_duplicates else None,
            )
            if pairs
            else ()
        )
        return [next(refined) if isinstance(one, tuple) else one for one in seen]

    def notes(self, table: pa.Table) -> tuple[str, ...]:
        """Return what a reader must know of the neighbours, by `answer`'s table."""
        index, mode = self.neighbourhood.index, self.neighbourhood.mode
        left_out = [
            what
            for what, is_so in (
                ("by the photo's own uploader", self.exclude_uploader),
                ("that are nearly the photo itself", self.exclude_duplicates),
            )
            if is_so
        ]
        shares = (
            f"{np.mean(table[name].fill_null(False).to_numpy()):.1%}" for name in OF_NEIGHBOURS
        )
        without = f", without those {' or '.join(left_out)}" if left_out else ""
        near, same = shares
        return (
            f"retrieval ({mode}): {len(index):,} photos of {index.folder}{without}",
            (
                "the most similar photo was nearly the photo itself (cosine of"
                f" {NEAR_DUPLICATE} or more) for {near} of the photos,"
                f" and by the same uploader for {same}"
            ),
        )
