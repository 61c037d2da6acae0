"""A bundle's network: a photo in, one probability for each class out.

Knows preprocessing, precision and calibration; not what the classes mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from locationnet.errors import BundleError
from locationnet.images import Photo
from locationnet.model.bundle import Bundle
from locationnet.model.photo_source import open_photo
from locationnet.model.sessions import OnnxSession, OpenVinoSession, Session, can_run
from locationnet.preprocess import tensor

Wanted = Literal["auto", "f32", "bf16", "int8"]
Outputs = dict[str, NDArray[np.generic]]


class Network:
    """A bundle's network, opened; safe to use from several threads at once.

    Parameters
    ----------
    bundle
        An opened bundle.
    threads
        Threads of one inference.
    precision
        ``"auto"`` takes the first reduced precision that the bundle allows and this machine can
        run, and float32 where there is none.
    outputs
        Names of outputs that it must have beside ``probabilities``.

    Raises
    ------
    BundleError
        The precision is not to be had here, or the network's inputs and outputs do not fit the
        manifest and the classes.
    """

    def __init__(
        self, bundle: Bundle, threads: int, precision: Wanted, outputs: Sequence[str] = ()
    ) -> None:
        self._bundle = bundle
        self.precision, self._session = _open_session(bundle, precision, threads)
        self._preprocessing = bundle.preprocessing
        self._temperature = bundle.manifest.temperature
        self._check(outputs)

    @property
    def output_names(self) -> Sequence[str]:
        """What it answers."""
        return self._session.output_names

    def prepare(self, photo: Photo) -> NDArray[np.float32]:
        """Decode a photo into the network's input, float32 ``(3, size, size)``.

        Raises
        ------
        ImageError
            The photo cannot be read.
        FetchError
            The URL is refused, or its server failed.
        OSError
            The file cannot be opened.
        """
        return tensor(open_photo(photo), self._preprocessing)

    def run(self, images: NDArray[np.float32]) -> Outputs:
        """Return all outputs for prepared photos ``(n, 3, size, size)``, by name."""
        return self._session.run(images)

    def calibrated(self, outputs: Outputs) -> NDArray[np.float64]:
        """Return the probabilities among some outputs, calibrated, float64 ``(n, classes)``."""
        # softmax(logits / T) is the softmax's own output to the power 1/T, normalised again.
        raw = outputs["probabilities"].astype(np.float64)
        powered = raw ** (1 / self._temperature)
        return np.asarray(powered / powered.sum(axis=1, keepdims=True))

    def at_temperature(self, temperature: float) -> Network:
        """Return a network that shares everything but the temperature."""
        other = copy(self)
        other._temperature = temperature
        return other

    def _check(self, wanted: Sequence[str]) -> None:
        path = self._bundle.path / "model.onnx"
        size = self._preprocessing.size
        for name in ("probabilities", *wanted):
            if name not in self.output_names:
                raise BundleError(f"{path}: no output named {name}")
        try:
            blank = self._session.run(np.zeros((1, 3, size, size), np.float32))
        except Exception as error:  # ONNX Runtime's errors share no public base class
            raise BundleError(f"{path}: does not take images of 3 x {size} x {size}") from error
        outputs, classes = blank["probabilities"].shape[-1], len(self._bundle.class_set)
        if outputs != classes:
            what = "labels of labels.txt" if self._bundle.has_labels else "cells of grids.txt"
            raise BundleError(f"{path}: {outputs} outputs for the {classes} {what}")


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
