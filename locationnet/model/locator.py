"""A bundle's network and grid joined: a photo in, a `Prediction` out.

Knows nothing of the command line or of the server.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from copy import copy
from dataclasses import replace
from functools import partial
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from locationnet.errors import BundleError, LocationNetError
from locationnet.geo.grid import Grid
from locationnet.images import Photo
from locationnet.model.bundle import DEFAULT, Bundle
from locationnet.model.cells import CellLayer
from locationnet.model.network import Network, Outputs, Wanted
from locationnet.model.photo_stream import AnyPhoto, OnError, answer_photos, check_count
from locationnet.model.prediction import Evidence, Prediction
from locationnet.model.region import Region


class Refiner(Protocol):
    """What changes answers by what the network sees: see `locationnet.retrieval`."""

    def __call__(
        self, embedded: NDArray[np.float32], predictions: Sequence[Prediction]
    ) -> list[Prediction]:
        """Return other answers to the photos of embeddings ``(n, features)``."""


_EVIDENCE = ("evidence_class", "evidence_probability", "evidence_bits")


def load_model(
    name_or_path: str | os.PathLike[str] = DEFAULT,
    *,
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
        The bundle is missing, corrupt or inconsistent; the message names the file.
    """
    bundle = Bundle.open(name_or_path)
    bundle.verify(again=verify)
    return Locator(
        bundle, threads=threads, abstain_below_bits=abstain_below_bits, precision=precision
    )


class Locator:
    """Locates photos with one bundle; safe to call from several threads at once.

    Parameters
    ----------
    bundle
        An opened bundle.
    threads
        Threads of one inference.
    abstain_below_bits
        Overrides the bundle's own abstention threshold.
    precision
        See `load_model`.

    Raises
    ------
    BundleError
        The precision is not to be had here, or the network's inputs and outputs do not fit the
        manifest and the grid.
    """

    def __init__(
        self,
        bundle: Bundle,
        *,
        threads: int = 1,
        abstain_below_bits: float | None = None,
        precision: Wanted = "auto",
    ) -> None:
        self.bundle = bundle
        grid = bundle.grid
        evidence = _EVIDENCE if bundle.concepts else ()
        self._network = Network(bundle, threads, precision, evidence)
        self.precision = self._network.precision
        self._layer = CellLayer(grid, bundle.names)
        self._refiner: Refiner | None = None
        own = bundle.manifest.abstain_below_bits
        self._abstain_below_bits = own if abstain_below_bits is None else abstain_below_bits

    def __repr__(self) -> str:
        manifest = self.bundle.manifest
        return f"Locator({manifest.name} {manifest.version}, {self.precision}, {self.grid})"

    @property
    def grid(self) -> Grid:
        """The bundle's cells."""
        return self.bundle.grid

    def at_temperature(self, temperature: float) -> Locator:
        """Return a locator that shares everything but the temperature of its probabilities."""
        other = copy(self)
        manifest = self.bundle.manifest.model_copy(update={"temperature": temperature})
        other.bundle = replace(self.bundle, manifest=manifest)
        other._network = self._network.at_temperature(temperature)
        return other

    def refined_by(self, refiner: Refiner) -> Locator:
        """Return a locator that shares everything, and whose answers are refined.

        Raises
        ------
        BundleError
            The network answers no embedding.
        """
        if "embedding" not in self._network.output_names:
            raise self._no_embedding()
        other = copy(self)
        other._refiner = refiner
        return other

    def prior(self, top_k: int = 5) -> Prediction:
        """Return the answer before any photo is seen: the places where photos are taken."""
        check_count("top_k", top_k)
        # Photos were counted for it: there is nothing to calibrate.
        return replace(self._prediction(self.bundle.prior, top_k), calibrated=True)

    def locate(
        self, photo: Photo, *, top_k: int = 5, within: Region | str | None = None
    ) -> Prediction:
        """Say where one photo was probably taken.

        Parameters
        ----------
        photo
            A path, a URL, the bytes of an image file, a Pillow image, or a uint8 array
            ``(height, width, 3)``. A URL is fetched as if a stranger had chosen it: from public
            addresses only, with limits on time and size.
        top_k
            How many places the prediction lists; at least 1.
        within
            Where the photo is known to come from; see `Prediction.within`.

        Raises
        ------
        ImageError
            The photo cannot be read.
        FetchError
            The URL is refused, or its server failed.
        OSError
            The file cannot be opened.
        ValueError
            No cell lies in the region, or it is not valid.
        """
        found = self.predict(self.prepare(photo)[None], top_k=top_k)[0]
        found = replace(found, photo=photo)
        return found if within is None else found.within(within)

    def locate_many(
        self, photos: Iterable[Photo], *, top_k: int = 5, batch_size: int = 8
    ) -> list[Prediction]:
        """Locate several photos at once; see `stream`, which also goes on after one it cannot read.

        Raises
        ------
        ImageError, OSError
            A photo cannot be read; the message names it.
        """
        answers = self.stream(photos, top_k=top_k, batch_size=batch_size)
        return [answer for _, answer in answers if isinstance(answer, Prediction)]

    def stream(
        self,
        photos: Iterable[AnyPhoto],
        *,
        top_k: int = 5,
        threads: int | None = None,
        on_error: OnError = "raise",
        batch_size: int = 8,
    ) -> Iterator[tuple[AnyPhoto, Prediction | LocationNetError | OSError]]:
        """Locate photos as they come, on several threads, and yield each with its prediction.

        Parameters
        ----------
        photos
            As `locate` takes them, or anything with a method ``read`` that returns one; read a few
            batches ahead.
        top_k
            How many places each prediction lists; at least 1.
        threads
            Photos that are worked on at a time; as many as there are processors by default.
        on_error
            ``"raise"`` ends at the first photo that cannot be read; ``"return"`` yields its error,
            which names it, and goes on.
        batch_size
            Photos that go through the network together.

        Yields
        ------
        photo, Prediction or error
            In the order of the photos.
        """
        for photo, answer in answer_photos(
            photos,
            self.prepare,
            partial(self.predict, top_k=top_k),
            threads=threads,
            on_error=on_error,
            batch_size=batch_size,
        ):
            if isinstance(answer, Prediction):
                answer = replace(answer, photo=photo)
            yield photo, answer

    def prepare(self, photo: Photo) -> NDArray[np.float32]:
        """Decode a photo into the network's input, float32 ``(3, size, size)``; see `locate`."""
        return self._network.prepare(photo)

    def predict(self, images: NDArray[np.float32], *, top_k: int = 5) -> list[Prediction]:
        """Run the network on prepared photos.

        Parameters
        ----------
        images
            float32 ``(n, 3, size, size)`` from `prepare`.
        top_k
            How many places each prediction lists; at least 1.

        Returns
        -------
        list of Prediction
            In the order of the images.
        """
        check_count("top_k", top_k)
        outputs = self._network.run(images)
        found = self._predictions(outputs, top_k)
        return found if self._refiner is None else self._refiner(self._embedding(outputs), found)

    def embed_and_predict(
        self, images: NDArray[np.float32], *, top_k: int = 5
    ) -> list[tuple[NDArray[np.float32], Prediction]]:
        """Return `embed` of each prepared photo, and the answer that nothing has refined."""
        outputs = self._network.run(images)
        return list(zip(self._embedding(outputs), self._predictions(outputs, top_k), strict=True))

    def _predictions(self, outputs: Outputs, top_k: int) -> list[Prediction]:
        return [
            self._prediction(row, top_k, self._evidence(outputs, index))
            for index, row in enumerate(self._network.calibrated(outputs))
        ]

    def embed(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return what the network sees in prepared photos, before it thinks of cells.

        Parameters
        ----------
        images
            float32 ``(n, 3, size, size)`` from `prepare`.

        Returns
        -------
        float32 ``(n, features)``
            The last layer's input.

        Raises
        ------
        BundleError
            The network does not answer it.
        """
        return self._embedding(self._network.run(images))

    def embed_and_classify(
        self, images: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        """Return `embed` of prepared photos, and probabilities ``(n, classes)``, in one run."""
        outputs = self._network.run(images)
        return self._embedding(outputs), self._network.calibrated(outputs)

    def _embedding(self, outputs: Outputs) -> NDArray[np.float32]:
        if "embedding" not in outputs:
            raise self._no_embedding()
        return np.asarray(outputs["embedding"], np.float32)

    def _no_embedding(self) -> BundleError:
        return BundleError(f"{self.bundle.path / 'model.onnx'}: no output named embedding")

    def _prediction(
        self, probabilities: NDArray[np.float64], top_k: int, evidence: tuple[Evidence, ...] = ()
    ) -> Prediction:
        manifest = self.bundle.manifest
        measured = manifest.calibration
        return Prediction(
            self._layer,
            probabilities,
            self.bundle.prior,
            top_k,
            self._abstain_below_bits,
            evidence,
            calibrated=manifest.calibrated,
            hint_rates=measured.hints if measured else (),
            demo=manifest.demo,
        )

    def _evidence(self, outputs: Outputs, index: int) -> tuple[Evidence, ...]:
        if not self.bundle.concepts:
            return ()
        classes, probabilities, bits = (outputs[name][index].tolist() for name in _EVIDENCE)
        found = [
            Evidence(self.bundle.concepts[concept], probability, moved)
            for concept, probability, moved in zip(classes, probabilities, bits, strict=True)
        ]
        return tuple(sorted(found, key=lambda item: -item.bits))
