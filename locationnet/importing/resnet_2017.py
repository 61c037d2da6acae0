"""The network of 2017: its layers in order, out of parameters by name, and as an ONNX file.

Knows the pre-activation ResNet-101 of MXNet's example, written out here so that it needs no MXNet;
`locationnet.train.backbones` builds the same network to train it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from locationnet.errors import MissingExtraError
from locationnet.importing.layers import EPSILON, Array, Kind, Layers, Norm, Window
from locationnet.train.onnx_file import IMAGES, write_onnx_file

CLASSES = 15_527
IMAGE_SIZE = 224
FEATURES = 2048
STAGES = ((3, 64), (4, 128), (23, 256), (3, 512))  # units, width
_NORM_PARTS = ("gamma", "beta", "moving_mean", "moving_var")


@dataclass(frozen=True)
class Parameters:
    """What the network of 2017 has learned.

    Parameters
    ----------
    convolutions
        Weights by our names (``conv0``, ``stage1_unit1_conv1``, …).
    norms
        By our names (``bn_data``, ``bn0``, …), one number for each channel.
    weight, bias
        Of the last layer, (15527, 2048) and (15527,).
    """

    convolutions: Mapping[str, Array]
    norms: Mapping[str, Norm]
    weight: Array
    bias: Array


@dataclass(frozen=True)
class _Step:
    kind: Kind
    name: str
    sources: tuple[str, ...]
    window: Window = Window((1, 1))  # noqa: RUF009  # frozen


def named_layers(path: Path, arrays: Mapping[str, Array]) -> Layers:
    """Return the layers that parameters without a symbol belong to, by their names.

    Parameters
    ----------
    path
        The file, for messages.
    arrays
        By the names of 2017, with or without ``arg:`` and ``aux:`` before.

    Raises
    ------
    InputError
        The names are not those of the network of 2017.
    """
    named = {name.removeprefix("arg:").removeprefix("aux:"): arrays[name] for name in arrays}
    layers = Layers(path, "data")

    def take(*names: str) -> list[Array]:
        for name in names:
            if name not in named:
                raise layers.misfit(
                    f"the parameters lack {name}: they are of another network, or need their"
                    " symbol (X-symbol.json) beside them"
                )
        return [named.pop(name) for name in names]

    for step in _steps():
        parts: dict[str, Any] = {"window": step.window}
        if step.kind == "convolution":
            [parts["weight"]] = take(f"{step.name}_weight")
        elif step.kind == "norm":
            found = take(*(f"{step.name}_{part}" for part in _NORM_PARTS))
            gamma, *others = (np.asarray(array, np.float64) for array in found)
            # MXNet computes with 1 there, whatever is saved.
            gamma = np.ones_like(gamma) if step.name == "bn_data" else gamma
            parts["norm"] = Norm(gamma, *others)
        elif step.kind == "last layer":
            parts["weight"], parts["bias"] = take(f"{step.name}_weight", f"{step.name}_bias")
        layers.add(step.kind, step.name, step.sources, step.name, **parts)
    if named:
        raise layers.misfit(f"a ResNet-101 has no {next(iter(named))}, which the parameters hold")
    layers.ends_at("probabilities")
    return layers


def write_onnx(path: Path, parameters: Parameters) -> None:
    """Write the network as a bundle's ONNX file.

    Input ``images`` (N, 3, 224, 224); outputs ``probabilities`` (N, 15527) and ``embedding``
    (N, 2048). `path` is not written atomically.

    Raises
    ------
    MissingExtraError
        onnx is not installed.
    """
    try:
        from onnx import helper
    except ModuleNotFoundError as error:
        raise MissingExtraError("importing networks", "train") from error

    learned: dict[str, Array] = {}
    nodes = []

    def add(operator: str, step: _Step, *inputs: str, **attributes: Any) -> None:
        sources = [IMAGES if source == "data" else source for source in step.sources]
        sources += inputs
        nodes.append(helper.make_node(operator, sources, [step.name], step.name, **attributes))

    for step in _steps():
        name, window = step.name, step.window
        looks = {
            "kernel_shape": window.kernel,
            "strides": window.stride,
            "pads": (*window.before, *window.after),
        }
        if step.kind == "convolution":
            learned[f"{name}_weight"] = parameters.convolutions[name]
            add("Conv", step, f"{name}_weight", **looks)
        elif step.kind == "norm":
            norm = parameters.norms[name]
            names = [f"{name}_{part}" for part in _NORM_PARTS]
            values = (norm.gamma, norm.beta, norm.mean, norm.variance)
            learned |= dict(zip(names, values, strict=True))
            add("BatchNormalization", step, *names, epsilon=EPSILON)
        elif step.kind == "last layer":
            nodes.append(helper.make_node("Flatten", step.sources, ["embedding"], "embedding"))
            learned |= {"fc1_weight": parameters.weight, "fc1_bias": parameters.bias}
            inputs = ["embedding", "fc1_weight", "fc1_bias"]
            nodes.append(helper.make_node("Gemm", inputs, [name], name, transB=1))
        elif step.kind == "max pooling":
            add("MaxPool", step, **looks)
        else:
            plain = {"relu": "Relu", "sum": "Add", "mean": "GlobalAveragePool"}
            add(plain.get(step.kind, "Softmax"), step)

    write_onnx_file(
        path,
        nodes,
        learned,
        size=IMAGE_SIZE,
        widths={"probabilities": len(parameters.bias), "embedding": FEATURES},
    )


def _steps() -> Iterator[_Step]:
    """Yield the layers in the order of the 2017 symbol; each makes a value of its own name."""
    yield _Step("norm", "bn_data", ("data",))
    yield _convolution("conv0", "bn_data", 7, 2)
    yield from _activation("bn0", "relu0", "conv0")
    pooling = Window((3, 3), (2, 2), (1, 1), (1, 1))
    yield _Step("max pooling", "pooling0", ("relu0",), pooling)
    body, sums = "pooling0", 0
    for stage, (units, _) in enumerate(STAGES, start=1):
        for unit in range(1, units + 1):
            name = f"stage{stage}_unit{unit}"
            stride = 2 if unit == 1 and stage > 1 else 1
            source = body
            for part, kernel, step in ((1, 1, 1), (2, 3, stride), (3, 1, 1)):
                yield from _activation(f"{name}_bn{part}", f"{name}_relu{part}", source)
                source = f"{name}_conv{part}"
                yield _convolution(source, f"{name}_relu{part}", kernel, step)
            if unit == 1:
                yield _convolution(f"{name}_sc", f"{name}_relu1", 1, stride)
                body = f"{name}_sc"
            yield _Step("sum", f"_plus{sums}", (source, body))
            body, sums = f"_plus{sums}", sums + 1
    yield from _activation("bn1", "relu1", body)
    yield _Step("mean", "pool1", ("relu1",))
    yield _Step("last layer", "fc1", ("pool1",))
    yield _Step("softmax", "probabilities", ("fc1",))


def _convolution(name: str, source: str, kernel: int, stride: int) -> _Step:
    border = (kernel // 2, kernel // 2)
    return _Step(
        "convolution", name, (source,), Window((kernel, kernel), (stride, stride), border, border)
    )


def _activation(norm: str, relu: str, source: str) -> Iterator[_Step]:
    yield _Step("norm", norm, (source,))
    yield _Step("relu", relu, (norm,))
