"""GeoCLIP's location encoder: places on Earth to the space that photos are compared in.

Knows the encoder's formula (Vivanco Cepeda et al., "GeoCLIP", NeurIPS 2023); not where its weights
come from. It computes in float32, as its authors do: in the finest capsule rounding decides up to
0.04 of a logit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from locationnet.errors import InputError
from locationnet.importing.tensor_file import checked
from locationnet.progress import Progress

FEATURES = 512

# The Equal Earth projection (Šavrič, Patterson and Jenny 2018), and GeoCLIP's scale of it.
_A1, _A2, _A3, _A4 = 1.340264, -0.081106, 0.000893, 0.003796
_SCALE = 66.50336 / 180
_LAYERS = ("capsule.1", "capsule.3", "capsule.5")
_FOURIER, _WIDE = 256, 1024
_BATCH = 2048

FloatArray = NDArray[np.float32]


@dataclass(frozen=True)
class _Capsule:
    """One of the networks that are summed; each looks at the Earth at a scale of its own."""

    frequencies: FloatArray
    layers: list[tuple[FloatArray, FloatArray]]
    head: tuple[FloatArray, FloatArray]

    def __call__(self, points: FloatArray) -> FloatArray:
        angles = np.float32(2 * np.pi) * points @ self.frequencies.T
        values = np.concatenate([np.cos(angles), np.sin(angles)], axis=1)
        for weight, bias in self.layers:
            values = np.maximum(values @ weight.T + bias, 0)
        weight, bias = self.head
        return np.asarray(values @ weight.T + bias, np.float32)


class LocationEncoder:
    """The encoder with its weights.

    Parameters
    ----------
    tensors
        ``LocEnc0.capsule.0.b`` and so on, by name.
    what
        What messages call their source.

    Raises
    ------
    InputError
        One is missing, does not fit, or belongs to something else.
    """

    def __init__(self, tensors: Mapping[str, NDArray[Any]], what: str) -> None:
        count = len({name.split(".")[0] for name in tensors})
        used = set()

        def get(name: str, *shape: int) -> FloatArray:
            if name not in tensors:
                raise InputError(f"{what}: contains no tensor {name}")
            used.add(name)
            return checked(f"{what}: tensor {name}", tensors[name], *shape)

        def layer(name: str, outputs: int, inputs: int) -> tuple[FloatArray, FloatArray]:
            return get(f"{name}.weight", outputs, inputs), get(f"{name}.bias", outputs)

        self._capsules = [
            _Capsule(
                get(f"LocEnc{number}.capsule.0.b", _FOURIER, 2),
                [
                    layer(f"LocEnc{number}.{name}", _WIDE, inputs)
                    for name, inputs in zip(_LAYERS, (2 * _FOURIER, _WIDE, _WIDE), strict=True)
                ],
                layer(f"LocEnc{number}.head.0", FEATURES, _WIDE),
            )
            for number in range(max(1, count))
        ]
        if others := sorted(set(tensors) - used):
            raise InputError(f"{what}: tensor {others[0]} is no part of a location encoder")

    def encode(
        self, lat: NDArray[np.float64], lng: NDArray[np.float64], progress: Progress
    ) -> FloatArray:
        """Return the unit vector of each place.

        Parameters
        ----------
        lat, lng
            Degrees, float64 ``(n,)``.
        progress
            Called with how many places are done.

        Returns
        -------
        float32 (n, 512)
        """
        encoded = np.empty((len(lat), FEATURES), np.float32)
        points = _projected(lat.astype(np.float32), lng.astype(np.float32))
        for start in range(0, len(points), _BATCH):
            chunk = points[start : start + _BATCH]
            total = sum(capsule(chunk) for capsule in self._capsules)
            norms = np.linalg.norm(total, axis=1, keepdims=True)
            encoded[start : start + _BATCH] = total / np.maximum(norms, 1e-12)
            progress(min(start + _BATCH, len(points)), len(points))
        return encoded


def _projected(lat: FloatArray, lng: FloatArray) -> FloatArray:
    root = np.sqrt(np.float32(3))
    theta = np.arcsin(root / 2 * np.sin(np.radians(lat)))
    slope = 9 * _A4 * theta**8 + 7 * _A3 * theta**6 + 3 * _A2 * theta**2 + _A1
    x = 2 * root * np.radians(lng) * np.cos(theta) / (3 * slope)
    y = _A4 * theta**9 + _A3 * theta**7 + _A2 * theta**3 + _A1 * theta
    return np.asarray(np.stack([x, y], axis=1) * _SCALE, np.float32)
