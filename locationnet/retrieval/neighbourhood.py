"""A model's answers with those of an index: similar photos looked up, and both combined.

Knows predictions and indexes; the formula is `refinement`'s business.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from locationnet.model import locator as plain
from locationnet.model.bundle import DEFAULT, Bundle
from locationnet.model.locator import Locator
from locationnet.model.neighbour import Neighbour
from locationnet.model.network import Wanted
from locationnet.model.prediction import Prediction
from locationnet.retrieval.index import Index, unit_length
from locationnet.retrieval.kinds import Mode
from locationnet.retrieval.refinement import NEIGHBOURS, combine, density_peaks, shares


@dataclass(frozen=True, eq=False)
class Neighbourhood:
    """Refines a model's answers by the photos of an index; see `Neighbourhood.open`.

    Parameters
    ----------
    index
        The photos.
    bundle
        The model.
    mode
        Whether the classifier's answer counts.
    """

    index: Index
    bundle: Bundle
    mode: Mode

    @classmethod
    def open(
        cls, folder: str | os.PathLike[str], bundle: Bundle, mode: Mode | str = Mode.combined
    ) -> Neighbourhood:
        """Open an index for a model's answers.

        Raises
        ------
        MissingExtraError
            Faiss or pyarrow is not installed.
        InputError
            The index is missing, empty, corrupt or truncated, or another network's.
        ValueError
            There is no such mode.
        """
        return cls(Index.open(folder, bundle), bundle, Mode(mode))

    def __call__(
        self, embedded: NDArray[np.float32], predictions: Sequence[Prediction]
    ) -> list[Prediction]:
        """Return the refined answers to some photos.

        Parameters
        ----------
        embedded
            What the network sees in them, float32 ``(n, features)``.
        predictions
            The model's own answers.
        """
        return [found.prediction for found in self.look_up(embedded, predictions)]

    def look_up(
        self,
        embedded: NDArray[np.float32],
        predictions: Sequence[Prediction],
        *,
        by: Sequence[str] | None = None,
        exclude_uploader: bool = False,
        below: float | None = None,
    ) -> list[Refined]:
        """Return the refined answers, and what the most similar photo was; see `Index.search`."""
        queries = unit_length(embedded)
        seen = np.isfinite(queries).all(axis=1)
        found = self.index.search(
            np.where(seen[:, None], queries, 0),
            NEIGHBOURS,
            by=by,
            exclude_uploader=exclude_uploader,
            below=below,
        )
        weights = self.index.contents.weights
        there = (found.numbers >= 0) & seen[:, None]
        held, trust = shares(found.similarity, there, weights)
        answers = []
        for row, prediction in enumerate(predictions):
            numbers = found.numbers[row][there[row]]
            lat, lng = self.index.lat[numbers], self.index.lng[numbers]
            cells, parts = self.bundle.grid.nearest(lat, lng), held[row][there[row]]
            probabilities = combine(
                prediction.probabilities, prediction.prior, cells, parts, float(trust[row]),
                weights, self.mode,
            )  # fmt: skip
            refined = replace(
                prediction,
                probabilities=probabilities,
                neighbours=self._told(numbers, found.similarity[row]),
                points=density_peaks(lat, lng, parts, cells),
                evidence=prediction.evidence if self.mode == Mode.combined else (),
                # What was measured is the classifier alone.
                calibrated=weights.fitted_on > 0,
                hint_rates=(),
                demo=False,
            )
            answers.append(
                Refined(refined, bool(found.near_duplicate[row]), bool(found.same_uploader[row]))
            )
        return answers

    def _told(
        self, numbers: NDArray[np.int64], similarity: NDArray[np.float32]
    ) -> tuple[Neighbour, ...]:
        return tuple(
            Neighbour(
                one.id, one.lat, one.lng, min(1.0, float(cosine)), one.taken, one.licence,
                one.author, one.page,
            )
            for one, cosine in zip(self.index.photos(numbers.tolist()), similarity, strict=False)
        )  # fmt: skip


@dataclass(frozen=True, eq=False)
class Refined:
    """An answer, and what the most similar photo was before any was left out.

    ``near_duplicate``: nearly the photo itself; ``same_uploader``: by the photo's own uploader.
    """

    prediction: Prediction
    near_duplicate: bool
    same_uploader: bool


def load_model(
    name_or_path: str | os.PathLike[str] = DEFAULT,
    *,
    index: str | os.PathLike[str] | None = None,
    retrieval_mode: Mode | str = Mode.combined,
    threads: int = 1,
    abstain_below_bits: float | None = None,
    precision: Wanted = "auto",
    verify: bool = False,
) -> Locator:
    """Load a bundle, by name (see `available_models`) or path, and verify it.

    Parameters
    ----------
    name_or_path
        ``"demo"`` ships with the package.
    index
        A folder of `locationnet index`; its photos that are similar take part in each answer.
    retrieval_mode
        ``"combined"``, or ``"search"`` for the answer of the similar photos alone.
    threads
        Threads of one inference.
    abstain_below_bits
        Overrides the bundle's own abstention threshold.
    precision
        ``"auto"`` takes the first reduced precision that the bundle allows and this machine can
        run, and float32 where there is none.
    verify
        Compute all checksums, also of large files that were verified before and have kept their
        size and time since.

    Raises
    ------
    BundleError
        The bundle is missing, corrupt or inconsistent, or its network answers no embedding for an
        index; the message names the file.
    InputError
        The index is missing, empty, corrupt, or another network's.
    MissingExtraError
        An index is given, and the extra ``retrieval`` is not installed.
    """
    locator = plain.load_model(
        name_or_path,
        threads=threads,
        abstain_below_bits=abstain_below_bits,
        precision=precision,
        verify=verify,
    )
    if index is None:
        return locator
    return locator.refined_by(Neighbourhood.open(index, locator.bundle, retrieval_mode))
