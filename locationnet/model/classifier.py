"""A bundle's network and labels joined: a photo in, a `Classification` out.

What a `Locator` is to places, this is to everything else; knows nothing of the command line.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from locationnet.classes import LabelSet
from locationnet.errors import LocationNetError
from locationnet.images import Photo
from locationnet.model.bundle import Bundle
from locationnet.model.cells import top_classes
from locationnet.model.network import Network, Wanted
from locationnet.model.photo_stream import AnyPhoto, OnError, answer_photos, check_count


@dataclass(frozen=True)
class Label:
    """One label of an answer.

    Parameters
    ----------
    rank
        1 for the most probable; ties go to the smaller class.
    class_index
        Line of the label in ``labels.txt``, from 0.
    probability
        Probability that the photo shows it.
    label
        Its name.
    """

    rank: int
    class_index: int
    probability: float
    label: str


@dataclass(frozen=True, eq=False)
class Classification:
    """What a photo probably shows.

    Parameters
    ----------
    label_set
        The labels.
    probabilities
        float64 ``(classes,)``, sums to 1.
    top_k
        How many labels `labels` lists.
    """

    label_set: LabelSet
    probabilities: NDArray[np.float64]
    top_k: int = 5

    @cached_property
    def labels(self) -> tuple[Label, ...]:
        """The most probable labels, the first one first."""
        return tuple(
            Label(rank, int(index), float(self.probabilities[index]), self.label_set.names[index])
            for rank, index in enumerate(top_classes(self.probabilities, self.top_k), 1)
        )

    @property
    def best(self) -> Label:
        """The most probable label."""
        return self.labels[0]

    def to_dict(self) -> dict[str, Any]:
        """Return the answer as plain JSON values."""
        return {
            "predictions": [
                {"rank": item.rank, "probability": item.probability, "label": item.label}
                for item in self.labels
            ]
        }


def load_classifier(
    name_or_path: str | os.PathLike[str],
    *,
    threads: int = 1,
    precision: Wanted = "auto",
    verify: bool = False,
) -> Classifier:
    """Load a bundle whose classes are labels, and verify it; see `locationnet.load_model`.

    Raises
    ------
    BundleError
        The bundle is missing, corrupt or inconsistent, or its classes are places.
    """
    bundle = Bundle.open(name_or_path)
    bundle.verify(again=verify)
    return Classifier(bundle, threads=threads, precision=precision)


class Classifier:
    """Labels photos with one bundle; safe to call from several threads at once.

    Parameters
    ----------
    bundle
        An opened bundle.
    threads
        Threads of one inference.
    precision
        See `locationnet.load_model`.

    Raises
    ------
    BundleError
        Its classes are places, or its parts do not fit together.
    """

    def __init__(self, bundle: Bundle, *, threads: int = 1, precision: Wanted = "auto") -> None:
        self.bundle = bundle
        self.labels = bundle.labels
        self._network = Network(bundle, threads, precision)
        self.precision = self._network.precision

    def classify(self, photo: Photo, *, top_k: int = 5) -> Classification:
        """Say what one photo probably shows.

        Parameters
        ----------
        photo
            A path, the bytes of an image file, a Pillow image, or a uint8 array
            ``(height, width, 3)``.
        top_k
            How many labels the answer lists; at least 1.

        Raises
        ------
        ImageError
            The photo cannot be read.
        OSError
            The file cannot be opened.
        """
        return self.predict(self.prepare(photo)[None], top_k=top_k)[0]

    def classify_many(
        self, photos: Iterable[Photo], *, top_k: int = 5, batch_size: int = 8
    ) -> list[Classification]:
        """Label several photos at once; see `stream`."""
        answers = self.stream(photos, top_k=top_k, batch_size=batch_size)
        return [answer for _, answer in answers if isinstance(answer, Classification)]

    def stream(
        self,
        photos: Iterable[AnyPhoto],
        *,
        top_k: int = 5,
        threads: int | None = None,
        on_error: OnError = "raise",
        batch_size: int = 8,
    ) -> Iterator[tuple[AnyPhoto, Classification | LocationNetError | OSError]]:
        """Label photos as they come, on several threads; see `locationnet.Locator.stream`."""
        return answer_photos(
            photos,
            self.prepare,
            partial(self.predict, top_k=top_k),
            threads=threads,
            on_error=on_error,
            batch_size=batch_size,
        )

    def prepare(self, photo: Photo) -> NDArray[np.float32]:
        """Decode a photo into the network's input, float32 ``(3, size, size)``."""
        return self._network.prepare(photo)

    def predict(self, images: NDArray[np.float32], *, top_k: int = 5) -> list[Classification]:
        """Run the network on prepared photos, float32 ``(n, 3, size, size)``."""
        check_count("top_k", top_k)
        probabilities = self._network.calibrated(self._network.run(images))
        return [Classification(self.labels, row, top_k) for row in probabilities]
