"""What a network of convolutions computes, layer by layer, whatever file and names it came in.

Knows the few kinds of layers that a ResNet is made of, and of each what it does to an image; not
the files that they are read from, nor which network they should be.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from locationnet.errors import InputError

Array = NDArray[Any]
Kind = Literal["convolution", "norm", "relu", "sum", "max pooling", "mean", "last layer", "softmax"]
# Added to the variance by every norm of ours.
EPSILON = 2e-5


@dataclass(frozen=True)
class Window:
    """Where a convolution or a pooling looks.

    Parameters
    ----------
    kernel, stride, before, after
        Along height and width, pixels; the last two are the borders of zeros above and to the left,
        below and to the right.
    round_up
        Whether the last window may reach beyond the border.
    """

    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    before: tuple[int, int] = (0, 0)
    after: tuple[int, int] = (0, 0)
    round_up: bool = False

    def result(self, size: int) -> tuple[int, int]:
        """Return height and width of what becomes of a square of `size`."""
        sides = []
        for kernel, stride, before, after in zip(
            self.kernel, self.stride, self.before, self.after, strict=True
        ):
            room = size + before + after - kernel
            sides.append((-(-room // stride) if self.round_up else room // stride) + 1)
        return sides[0], sides[1]

    def widened(self, border: Window) -> Window:
        """Return the window on an image that has got a border before."""
        return Window(
            self.kernel,
            self.stride,
            (self.before[0] + border.before[0], self.before[1] + border.before[1]),
            (self.after[0] + border.after[0], self.after[1] + border.after[1]),
            self.round_up,
        )


@dataclass(frozen=True)
class Norm:
    """``(x - mean) / sqrt(variance + EPSILON) * gamma + beta``, for each channel or for all alike.

    All four are float64, ``(channels,)`` or ``(1,)``.
    """

    gamma: Array
    beta: Array
    mean: Array
    variance: Array

    @classmethod
    def affine(cls, scale: Array | float = 1.0, shift: Array | float = 0.0) -> Norm:
        """Return ``scale * x + shift``."""
        parts = (np.atleast_1d(np.asarray(part, np.float64)) for part in (scale, shift))
        gamma, beta = np.broadcast_arrays(*parts)
        return cls(gamma, beta, np.zeros_like(gamma), np.full_like(gamma, 1 - EPSILON))

    @property
    def scale(self) -> Array:
        """What the input is multiplied with."""
        return np.asarray(self.gamma / np.sqrt(self.variance + EPSILON))

    @property
    def shift(self) -> Array:
        """What is added then."""
        return np.asarray(self.beta - self.mean * self.scale)

    def then(self, after: Norm) -> Norm:
        """Return this norm and another one after it as one."""
        return Norm.affine(self.scale * after.scale, self.shift * after.scale + after.shift)

    def of_shifted(self, shift: Array) -> Norm:
        """Return the norm that does to x what this one does to ``x + shift``."""
        return Norm(self.gamma, self.beta, self.mean - shift, self.variance)


@dataclass(frozen=True)
class Layer:
    """One layer.

    Parameters
    ----------
    kind
        A norm is a BatchNorm, and whatever else multiplies with and adds numbers, for each channel
        or for all alike.
    name
        What the file calls it.
    sources
        Names of the values that it is fed with.
    result
        Name of the value that it makes.
    weight
        Of a convolution (filters, channels, height, width), of the last layer (classes, features).
    bias
        Of both, one number for each filter or class, or (1,) zero.
    window
        Of a convolution and of a max pooling.
    norm
        Of a norm.
    """

    kind: Kind
    name: str
    sources: tuple[str, ...]
    result: str
    weight: Array = field(default_factory=lambda: np.ones(1))
    bias: Array = field(default_factory=lambda: np.zeros(1))
    window: Window = field(default_factory=lambda: Window((1, 1)))
    norm: Norm = field(default_factory=Norm.affine)


class Layers:
    """A network as a list of layers, each after those that it is fed by, while it is read.

    What changes no number (a Reshape, a Dropout) is no layer; a border of zeros belongs to the
    layer that looks at it.

    Parameters
    ----------
    path
        The file, for messages.
    image
        Name of the value that is put in. The network answers the value `answer`, which is made as
        the value `end`.
    """

    def __init__(self, path: Path, image: str) -> None:
        self.path, self.image = path, image
        self.layers: list[Layer] = []
        self.end = self.answer = image
        self._sources = {image: image}
        self._borders: dict[str, Window] = {}

    def knows(self, value: str) -> bool:
        """Whether a value depends on the image; all others are constants."""
        return value in self._sources

    def ends_at(self, value: str) -> None:
        """Note what the network answers."""
        if not self.knows(value):
            raise self.misfit("its answer does not depend on the image")
        self.end, self.answer = self._sources[value], value

    def same(self, result: str, source: str) -> None:
        """Note that a value is another one in another form."""
        self._sources[result] = self._sources[source]
        if source in self._borders:
            self._borders[result] = self._borders[source]

    def border(self, result: str, source: str, border: Window) -> None:
        """Note that a value is another one with zeros around it."""
        self.same(result, source)
        self._borders[result] = border.widened(self._borders.get(source, Window((1, 1))))

    def add(self, kind: Kind, name: str, sources: Sequence[str], result: str, **parts: Any) -> None:
        """Add a layer, with the parts that it has."""
        border = self._borders.get(sources[0])
        if border is not None:
            if kind not in ("convolution", "max pooling"):
                raise self.misfit(f"{name} follows on a border of zeros, and is a {kind}")
            parts["window"] = parts["window"].widened(border)
        known = tuple(self._sources[source] for source in sources)
        self.layers.append(Layer(kind, name, known, result, **parts))
        self._sources[result] = result

    def arithmetic(
        self, sign: str, name: str, operands: Sequence[str | Array], result: str
    ) -> None:
        """Add what ``+``, ``-``, ``*`` or ``/`` makes of two values, or of one and a constant.

        Raises
        ------
        InputError
            It makes what no layer of a ResNet does.
        ValueError
            The constant is not a number for each channel.
        """
        images = [operand for operand in operands if isinstance(operand, str)]
        if len(images) == len(operands) == 2 and sign == "+":
            self.add("sum", name, images, result)
        elif len(images) == 1 and len(operands) == 2:
            [number] = [
                _by_channel(operand) for operand in operands if not isinstance(operand, str)
            ]
            first = isinstance(operands[0], str)
            if sign == "*":
                norm = Norm.affine(number)
            elif sign == "/" and first:
                norm = Norm.affine(1 / number)
            elif sign == "+":
                norm = Norm.affine(shift=number)
            elif sign == "-":
                norm = Norm.affine(shift=-number) if first else Norm.affine(-1.0, number)
            else:
                raise self.misfit(
                    f"{name} divides by what is seen, which no layer of a ResNet does"
                )
            self.add("norm", name, images, result, norm=norm)
        else:
            raise self.misfit(f"{name} combines what is seen by {sign}: no layer of a ResNet does")

    def misfit(self, what: str) -> InputError:
        """Return an error that names the file."""
        return InputError(f"{self.path}: {what}")


def _by_channel(constant: Array) -> Array:
    """Return a constant as one number for each channel, or one for all."""
    values = np.asarray(constant, np.float64)
    # The channels of (n, channels, height, width) or of (n, channels).
    axis = max(values.ndim - 3, 0) if values.ndim > 2 else max(values.ndim - 1, 0)
    if values.ndim and values.shape[axis] != values.size:
        raise ValueError(f"a constant of shape {values.shape} is not a number for each channel")
    return values.reshape(-1)
