"""A bundle's network and grid joined: a photo in, a `Prediction` out.

Knows nothing of URLs, of the command line or of the server.
"""

from __future__ import annotations

import operator
import os
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from locationnet.errors import BundleError, ImageError
from locationnet.geo.grid import Grid
from locationnet.model.bundle import DEFAULT, Bundle
from locationnet.model.cells import CellLayer
from locationnet.model.prediction import Evidence, Prediction
from locationnet.model.preprocess import open_image, tensor
from locationnet.model.sessions import OnnxSession, OpenVinoSession, Session, can_run

Wanted = Literal["auto", "f32", "bf16", "int8"]
Photo = str | os.PathLike[str] | bytes | Image.Image | NDArray[np.uint8]
_EVIDENCE = ("evidence_class", "evidence_probability", "evidence_bits")


def load_model(
    name_or_path: str | os.PathLike[str] = DEFAULT,
    *,
    threads: int = 1,
    abstain_below_bits: float | None = None,
    precision: Wanted = "auto",
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

    Raises
    ------
    BundleError
        The bundle is missing, corrupt or inconsistent; the message names the file.
    """
    bundle = Bundle.open(name_or_path)
    bundle.verify()
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
        self.precision, self._session = _open_session(bundle, precision, threads)
        self._preprocessing = bundle.preprocessing
        self._layer = CellLayer(bundle.grid, bundle.names)
        own = bundle.manifest.abstain_below_bits
        self._abstain_below_bits = own if abstain_below_bits is None else abstain_below_bits
        self._check()

    @property
    def grid(self) -> Grid:
        """The bundle's cells."""
        return self.bundle.grid

    def prior(self, top_k: int = 5) -> Prediction:
        """Return the answer before any photo is seen: the places where photos are taken."""
        _check_count("top_k", top_k)
        prior = self.bundle.prior
        return Prediction(self._layer, prior, prior, top_k, self._abstain_below_bits)

    def locate(self, photo: Photo, *, top_k: int = 5) -> Prediction:
        """Say where one photo was probably taken.

        Parameters
        ----------
        photo
            A path, the bytes of a JPEG, PNG or WebP file, a Pillow image, or a uint8 array
            ``(height, width, 3)``.
        top_k
            How many places the prediction lists; at least 1.

        Raises
        ------
        ImageError
            The photo cannot be read.
        OSError
            The file cannot be opened.
        """
        return self.predict(self.prepare(photo)[None], top_k=top_k)[0]

    def locate_many(
        self, photos: Iterable[Photo], *, top_k: int = 5, batch_size: int = 8
    ) -> list[Prediction]:
        """Locate several photos in batches; see `locate`."""
        _check_count("batch_size", batch_size)
        answers: list[Prediction] = []
        waiting = iter(photos)
        while batch := list(islice(waiting, batch_size)):
            images = np.stack([self.prepare(photo) for photo in batch])
            answers += self.predict(images, top_k=top_k)
        return answers

    def prepare(self, photo: Photo) -> NDArray[np.float32]:
        """Decode a photo into the network's input, float32 ``(3, size, size)``; see `locate`."""
        return tensor(_image(photo), self._preprocessing)

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
        _check_count("top_k", top_k)
        outputs = self._session.run(images)
        probabilities = self._calibrated(outputs["probabilities"])
        return [
            Prediction(
                self._layer,
                row,
                self.bundle.prior,
                top_k,
                self._abstain_below_bits,
                self._evidence(outputs, index),
            )
            for index, row in enumerate(probabilities)
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
        if "embedding" not in self._session.output_names:
            raise BundleError(f"{self.bundle.path / 'model.onnx'}: no output named embedding")
        return np.asarray(self._session.run(images)["embedding"], np.float32)

    def _calibrated(self, raw: NDArray[np.generic]) -> NDArray[np.float64]:
        # softmax(logits / T) is the softmax's own output to the power 1/T, normalised again.
        powered = raw.astype(np.float64) ** (1 / self.bundle.manifest.temperature)
        return np.asarray(powered / powered.sum(axis=1, keepdims=True))

    def _evidence(
        self, outputs: dict[str, NDArray[np.generic]], index: int
    ) -> tuple[Evidence, ...]:
        if not self.bundle.concepts:
            return ()
        classes, probabilities, bits = (outputs[name][index].tolist() for name in _EVIDENCE)
        found = [
            Evidence(self.bundle.concepts[concept], probability, moved)
            for concept, probability, moved in zip(classes, probabilities, bits, strict=True)
        ]
        return tuple(sorted(found, key=lambda item: -item.bits))

    def _check(self) -> None:
        path = self.bundle.path / "model.onnx"
        size = self._preprocessing.size
        names = self._session.output_names
        wanted = ["probabilities", *(_EVIDENCE if self.bundle.concepts else ())]
        for name in wanted:
            if name not in names:
                raise BundleError(f"{path}: no output named {name}")
        try:
            blank = self._session.run(np.zeros((1, 3, size, size), np.float32))
        except Exception as error:  # ONNX Runtime's errors share no public base class
            raise BundleError(f"{path}: does not take images of 3 x {size} x {size}") from error
        classes = blank["probabilities"].shape[-1]
        if classes != len(self.grid):
            raise BundleError(
                f"{path}: {classes} outputs for the {len(self.grid)} cells of grids.txt"
            )


def _open_session(bundle: Bundle, wanted: Wanted, threads: int) -> tuple[str, Session]:
    """Open the network in the wanted precision; return the one it got."""
    for name, offer in bundle.manifest.precisions.items():
        if wanted not in ("auto", name):
            continue
        if offer.allowed and can_run(offer.runtime, name):
            path = bundle.path / offer.file
            if offer.runtime == "openvino":
                how: Literal["f32", "bf16"] = "bf16" if name == "bf16" else "f32"
                return name, OpenVinoSession(path, threads=threads, precision=how)
            return name, OnnxSession(path, threads=threads)
        if wanted == name:
            reason = "this machine cannot run it" if offer.allowed else "it costs too much accuracy"
            raise BundleError(f"{bundle.path}: {name} is measured, but {reason}")
    if wanted in ("auto", "f32"):
        return "f32", OnnxSession(bundle.path / "model.onnx", threads=threads)
    raise BundleError(f"{bundle.path}: the bundle does not offer {wanted}")


def _check_count(name: str, value: int) -> None:
    if operator.index(value) < 1:
        raise ValueError(f"{name} is at least 1, not {value}")


def _image(photo: Photo) -> Image.Image:
    if isinstance(photo, bytes):
        return open_image(photo)
    if isinstance(photo, Image.Image):
        return photo.copy()  # decoding at a reduced scale would change the caller's image
    if isinstance(photo, np.ndarray):
        if photo.dtype != np.uint8 or photo.ndim != 3 or photo.shape[2] != 3:
            raise ImageError(
                f"expected a uint8 array (height, width, 3), not {photo.dtype} {photo.shape}"
            )
        return Image.fromarray(photo)
    return open_image(Path(photo).read_bytes())
