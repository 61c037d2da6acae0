"""Layers of any file to the parameters of the ResNet-101 of 2017, by their place in the network.

Knows the network of 2017 and nothing of files: names, and the order in which a file lists what
does not depend on each other, mean nothing. Where a BatchNorm is folded into the convolution
before it, it becomes one that adds the convolution's bias.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from locationnet.errors import InputError
from locationnet.importing.layers import Array, Kind, Layer, Layers, Norm, Window
from locationnet.importing.resnet_2017 import CLASSES, FEATURES, IMAGE_SIZE, STAGES, Parameters
from locationnet.preprocess import MEAN_2017

# A file's first norm that makes nothing of such a colour subtracts the mean itself.
_NEAR_THE_MEAN = 50.0


@dataclass(frozen=True)
class Matched:
    """The network of 2017 out of a file.

    Parameters
    ----------
    parameters
        Ours; ``bn_data`` is for the input of our recipe.
    subtracts_mean
        Whether the file's network subtracts the mean colour itself.
    factor
        What the file's network multiplies its input with to get colours from 0 to 255.
    has_bn_data
        Whether it normalises its input beyond that.
    ends_in_softmax
        Whether it answers probabilities, and not logits.
    """

    parameters: Parameters
    subtracts_mean: bool
    factor: float
    has_bn_data: bool
    ends_in_softmax: bool

    def as_the_file_wants(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return images of our recipe, (n, 3, height, width), as the file's network takes them."""
        if self.subtracts_mean:
            images = images + np.asarray(MEAN_2017, np.float32).reshape(3, 1, 1)
        return np.asarray(images / self.factor, np.float32)


def match(layers: Layers, classes: int = CLASSES) -> Matched:
    """Find the parameters of the network of 2017.

    Parameters
    ----------
    layers
        As they are read from a file.
    classes
        What the last layer must have.

    Raises
    ------
    InputError
        The network is another one; the message names the first layer that does not fit.
    """
    counts = {
        kind: sum(layer.kind == kind for layer in layers.layers)
        for kind in ("convolution", "sum", "last layer")
    }
    units = sum(units for units, _ in STAGES)
    expected = {"convolution": 1 + 3 * units + len(STAGES), "sum": units, "last layer": 1}
    for kind, number in expected.items():
        if counts[kind] != number:
            found = f"{counts[kind]} {kind}{'s' * (counts[kind] != 1)}"
            raise layers.misfit(f"the network has {found}, expected {number} (a ResNet-101)")
    walk = _Walk(layers)
    try:
        return walk.through(classes)
    except ValueError as error:  # NumPy's, where arrays that belong together differ in length
        raise layers.misfit(f"{walk.behind}: {error}") from error


class _Walk:
    """Goes from the image to the answer and takes every layer where it must be."""

    def __init__(self, layers: Layers) -> None:
        self._layers = layers
        self._users: dict[str, list[Layer]] = defaultdict(list)
        for layer in layers.layers:
            for source in layer.sources:
                self._users[source].append(layer)
        self._value, self._size = layers.image, IMAGE_SIZE
        self.behind = "the image"
        self._taken = 0
        self._convolutions: dict[str, Array] = {}
        self._norms: dict[str, Norm] = {}

    def through(self, classes: int) -> Matched:
        norms = self._take_norms()
        subtracts_mean, factor, norm = _colours([layer.norm for layer in norms])
        self._norms["bn_data"] = self._whole(norm or Norm.affine(), "bn_data", 3, norms)
        bias = self._convolve("conv0", (64, 3, 7, 7), stride=2)
        self._activate("bn0", 64, bias)
        pooling = self._take("max pooling")
        self._look(pooling, "the max pooling", Window((3, 3), (2, 2), (1, 1), (1, 1)))
        channels = 64
        for stage, (units, width) in enumerate(STAGES, start=1):
            for unit in range(1, units + 1):
                name = f"stage{stage}_unit{unit}"
                self._unit(name, channels, width, has_convolution=unit == 1, halves=stage > 1)
                channels = 4 * width
        self._activate("bn1", channels)
        mean = self._take("mean")
        if mean.window.kernel != (1, 1):
            self._look(mean, "the mean", Window((self._size,) * 2, mean.window.stride))
        weight, last_bias = self._last_layer(classes)
        ends_in_softmax = self._value != self._layers.end
        if ends_in_softmax:
            self._take("softmax")
        if self._taken != len(self._layers.layers):
            raise self._layers.misfit("the network has more layers than a ResNet-101")
        parameters = Parameters(self._convolutions, self._norms, weight, last_bias)
        return Matched(parameters, subtracts_mean, factor, norm is not None, ends_in_softmax)

    def _unit(
        self, name: str, channels: int, width: int, *, has_convolution: bool, halves: bool
    ) -> None:
        """Walk through one residual unit: along its branch, then along its shortcut."""
        stride = 2 if has_convolution and halves else 1
        shortcut, size = self._value, self._size
        self._activate(f"{name}_bn1", channels)
        activated = self._value
        bias = self._convolve(f"{name}_conv1", (width, channels, 1, 1))
        self._activate(f"{name}_bn2", width, bias)
        bias = self._convolve(f"{name}_conv2", (width, width, 3, 3), stride=stride)
        self._activate(f"{name}_bn3", width, bias)
        self._convolve(f"{name}_conv3", (4 * width, width, 1, 1), before_sum=True)
        branch, halved = self._value, self._size
        if has_convolution:
            self._value, self._size = activated, size
            shape = (4 * width, channels, 1, 1)
            self._convolve(f"{name}_sc", shape, stride=stride, before_sum=True)
            shortcut = self._value
        self._value, self._size = branch, halved
        total = self._take("sum")
        if sorted(total.sources) != sorted((branch, shortcut)):
            raise self._layers.misfit(
                f"{total.name} does not add the two paths of a residual unit (ours: {name})"
            )

    def _activate(self, name: str, channels: int, bias: Array | None = None) -> None:
        """Take a norm, which may be what the convolution before adds, and a relu."""
        layers = self._take_norms()
        if not layers and bias is None:
            raise self._unexpected("norm")
        norm = _as_one([layer.norm for layer in layers])
        if norm is None:
            norm = Norm.affine(shift=0.0 if bias is None else bias)
        elif bias is not None:
            norm = norm.of_shifted(bias)
        self._norms[name] = self._whole(norm, name, channels, layers)
        self._take("relu")

    def _whole(self, norm: Norm, name: str, channels: int, layers: Sequence[Layer]) -> Norm:
        """Return a norm with one number for each channel."""
        parts = (norm.gamma, norm.beta, norm.mean, norm.variance)
        for part in parts:
            if part.shape not in ((1,), (channels,)):
                called = ", ".join(layer.name for layer in layers)
                raise self._layers.misfit(
                    f"norm {len(self._norms) + 1} has {part.size} channels, expected {channels}"
                    f" ({called}; ours: {name})"
                )
        return Norm(*(np.broadcast_to(part, channels) for part in parts))

    def _convolve(
        self, name: str, shape: tuple[int, ...], *, stride: int = 1, before_sum: bool = False
    ) -> Array | None:
        """Take a convolution and return its bias, if it has one."""
        layer = self._take("convolution", before_sum=before_sum)
        number = len(self._convolutions) + 1
        called = f"convolution {number}"
        if layer.weight.shape != shape:
            raise self._layers.misfit(
                f"{called} is {_times(layer.weight.shape)}, expected {_times(shape)}"
                f" ({layer.name}; ours: {name})"
            )
        border = shape[-1] // 2
        wanted = Window((shape[-1],) * 2, (stride,) * 2, (border,) * 2, (border,) * 2)
        self._look(layer, f"{called} ({layer.name})", wanted)
        self._convolutions[name] = layer.weight
        self.behind = f"behind {called} ({layer.name})"
        if before_sum and layer.bias.any():
            raise self._layers.misfit(f"{called} has a bias, expected none ({layer.name})")
        return None if layer.bias.shape == (1,) else layer.bias

    def _look(self, layer: Layer, called: str, wanted: Window) -> None:
        """Check where a layer looks; borders that no window reaches make no difference."""
        found, expected = (
            (window.kernel, window.stride, window.before, window.result(self._size))
            for window in (layer.window, wanted)
        )
        if found != expected:
            raise self._layers.misfit(
                f"{called} is {_seen(layer.window)}, expected {_seen(wanted)}"
            )
        [self._size] = set(wanted.result(self._size))

    def _last_layer(self, classes: int) -> tuple[Array, Array]:
        layer = self._take("last layer")
        if layer.weight.shape != (classes, FEATURES):
            found = layer.weight.shape
            if found[1:] == (FEATURES,):
                what = f"has {found[0]:,} classes, expected {classes:,}"
            else:
                what = f"is {_times(found)}, expected {_times((classes, FEATURES))}"
            raise self._layers.misfit(f"the last layer {what} ({layer.name})")
        added = _as_one([after.norm for after in self._take_norms()]) or Norm.affine()
        weight = layer.weight
        if (added.gamma != 1).any():
            weight = weight * added.scale.reshape(-1, 1)
        bias = np.broadcast_to(layer.bias * added.scale + added.shift, classes)
        return weight, bias

    def _take_norms(self) -> list[Layer]:
        taken = []
        while sum(user.kind == "norm" for user in self._users[self._value]) == 1:
            taken.append(self._take("norm"))
        return taken

    def _take(self, kind: Kind, *, before_sum: bool | None = None) -> Layer:
        """Go on over the layer of a kind; of two convolutions, over the one that is summed next."""
        fitting = [user for user in self._users[self._value] if user.kind == kind]
        if len(fitting) > 1:
            fitting = [layer for layer in fitting if self._is_before_sum(layer) is before_sum]
        if len(fitting) != 1:
            raise self._unexpected(kind)
        [layer] = fitting
        self._value = layer.result
        self.behind = f"behind {layer.name} ({layer.kind})"
        self._taken += 1
        return layer

    def _is_before_sum(self, layer: Layer) -> bool:
        return any(user.kind == "sum" for user in self._users[layer.result])

    def _unexpected(self, kind: Kind) -> InputError:
        users = self._users[self._value]
        found = " and ".join(f"{user.kind} {user.name}" for user in users) or "nothing"
        return self._layers.misfit(f"{self.behind} comes {found}, expected one {kind}")


def _colours(norms: Sequence[Norm]) -> tuple[bool, float, Norm | None]:
    """Read what a network does to its input before the first convolution.

    Returns
    -------
    bool, float
        Whether it subtracts the mean colour, and by what it multiplies to get 0 to 255.
    Norm or None
        What it does beyond that, to the input of our recipe.
    """
    factor = 1.0
    if norms and norms[0].scale.shape == (1,) and not norms[0].shift.any():
        times = float(norms[0].scale[0])
        if 200 < times < 300:
            factor, norms = times, norms[1:]
    norm = _as_one(norms)
    if norm is None or norm.scale.size not in (1, 3) or not norm.scale.all():
        return False, factor, norm
    # The colour of which it makes nothing is black where the mean is subtracted before.
    zero = np.broadcast_to(-norm.shift / norm.scale, 3)
    for scale in (1.0, 255.0):
        if factor * scale < 300 and np.abs(zero * scale - MEAN_2017).max() < _NEAR_THE_MEAN:
            if scale == 1 and _subtracts_the_mean(norms[0]):
                return True, factor, _as_one(norms[1:])
            mean = np.asarray(MEAN_2017)
            shift = norm.shift + norm.scale * mean / scale
            return True, factor * scale, Norm.affine(norm.scale / scale, shift)
    return False, factor, norm


def _subtracts_the_mean(norm: Norm) -> bool:
    return np.allclose(norm.scale, 1) and np.allclose(-norm.shift, MEAN_2017, atol=1e-3)


def _as_one(norms: Sequence[Norm]) -> Norm | None:
    return reduce(Norm.then, norms) if norms else None


def _times(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape))


def _seen(window: Window) -> str:
    kernel, stride = _times(window.kernel), _times(window.stride)
    border = "/".join(map(str, (*window.before, *window.after)))
    return f"{kernel} with stride {stride} and borders of {border}"
