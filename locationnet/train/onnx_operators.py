"""Operators that mxnet's exporter to ONNX does not know, or knows wrongly.

Knows single operators, their attributes and shapes; nothing of whole networks. That a network's
answers stay the same is proven elsewhere, by comparing them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Shape = tuple[int, ...]

# Operators of one input and no attributes that mxnet's exporter does not know.
_PLAIN = {
    "amp_cast": "Identity",  # in float32 there is nothing to cast
    "erf": "Erf",
    "sign": "Sign",
    "softsign": "Softsign",
}
_REDUCTIONS = {
    "max": "ReduceMax",
    "mean": "ReduceMean",
    "min": "ReduceMin",
    "prod": "ReduceProd",
    "sum": "ReduceSum",
}


class Translation:
    """One node of MXNet's on its way into ONNX.

    Parameters
    ----------
    node, given
        As mxnet's exporter hands them to its own functions.
    shapes
        Of all values of the network by name, for two photos and for three.
    """

    def __init__(
        self, node: dict[str, Any], given: dict[str, Any], shapes: list[dict[str, Shape]]
    ) -> None:
        self.name: str = node["name"]
        self.attributes: dict[str, str] = node["attrs"]
        self.weights: dict[str, NDArray[Any]] = given["weights"]
        lookup = given["outputs_lookup"]
        self.inputs: list[str] = [
            lookup[index][output].name for index, output, *_ in node["inputs"]
        ]
        self._initializers: Any = given["initializer"]
        self._sources = [
            (given["mx_graph"][index]["name"], output) for index, output, *_ in node["inputs"]
        ]
        self._shapes = shapes
        self.nodes: list[Any] = []

    def add(self, kind: str, inputs: list[str], *, part: str = "", **attributes: Any) -> str:
        """Add an ONNX node and return the name of its output; without a part it is the result."""
        from onnx import helper

        output = f"{self.name}/{part}" if part else self.name
        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output

    def constant(self, part: str, value: NDArray[Any]) -> str:
        """Add a constant and return its name."""
        from onnx import numpy_helper

        name = f"{self.name}/{part}"
        self._initializers.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def shape(self, index: int = 0) -> Shape:
        """Return the shape of an input."""
        return self._shapes_of(*self._sources[index])[0]

    @property
    def result(self) -> Shape:
        """The shape of the first output, -1 for what depends on the number of photos."""
        two, three = self._shapes_of(self.name, 0)
        return tuple(a if a == b else -1 for a, b in zip(two, three, strict=True))

    def numbers(self, attribute: str, default: Sequence[int] = ()) -> list[int]:
        """Return an attribute that is a tuple, such as ``(3, 3)``."""
        found = re.findall(r"-?\d+", self.attributes.get(attribute, ""))
        return [int(part) for part in found] or list(default)

    def is_on(self, attribute: str) -> bool:
        """Whether an attribute is true."""
        return self.attributes.get(attribute) == "True"

    def _shapes_of(self, name: str, output: int) -> list[Shape]:
        # Operators with several outputs number them, and an input is called as it is.
        names = (f"{name}_output", f"{name}_output{output}", name)
        known = next(name for name in names if name in self._shapes[0])
        return [shapes[known] for shapes in self._shapes]


# ONNX nodes with their types, where the type is another than the first input's; None for what
# mxnet's exporter does well.
Made = tuple[list[Any], Any] | list[Any] | None


def _input(of: Translation) -> Made:
    """Leave out what a parameter holds: mxnet's exporter makes Python numbers of it."""
    from onnx import helper

    if of.name not in of.weights:
        return None
    value = of.weights[of.name]
    kind = helper.np_dtype_to_tensor_dtype(value.dtype)
    return [helper.make_tensor_value_info(of.name, kind, value.shape)], [value.dtype]


def _batch_norm(of: Translation) -> Made:
    data, gamma, *rest = of.inputs
    if of.is_on("fix_gamma"):
        # MXNet computes as if it were 1, whatever is saved.
        gamma = of.constant("gamma", np.ones(of.shape(1), np.float32))
    of.add("BatchNormalization", [data, gamma, *rest], epsilon=float(of.attributes["eps"]))
    return of.nodes


def _leaky(of: Translation) -> Made:
    kind = of.attributes["act_type"]
    if kind == "rrelu":
        low, high = (float(of.attributes[f"{side}_bound"]) for side in ("lower", "upper"))
        of.add("LeakyRelu", of.inputs, alpha=(low + high) / 2)
        return of.nodes
    if kind != "prelu":
        return None
    # ONNX aligns shapes at their ends, where MXNet's slopes belong to the channels.
    slopes = (-1, *(1,) * (len(of.shape()) - 2))
    data, slope = of.inputs
    if slope in of.weights:
        slope = of.constant("slope", of.weights[slope].reshape(slopes))
    else:
        slope = of.add("Reshape", [slope, of.constant("slopes", np.array(slopes))], part="slope")
    of.add("PRelu", [data, slope])
    return of.nodes


def _pooling(of: Translation) -> Made:
    kind = of.attributes["pool_type"]
    if of.attributes.get("layout", "NCHW") != "NCHW":
        return None
    space, result = of.shape()[2:], of.result[2:]
    if of.is_on("global_pool"):
        if kind != "sum":
            return None
        of.add("ReduceSum", [*of.inputs, of.constant("axes", np.arange(2, 2 + len(space)))])
        return of.nodes
    kernel = of.numbers("kernel", [1] * len(space))
    stride = of.numbers("stride", [1] * len(space))
    before = of.numbers("pad", [0] * len(space))
    # By the result's size, pooling_convention="full" needs no rule of its own: ONNX's ceil_mode
    # is another one.
    after = [
        max(0, (to - 1) * step + width - size - pad)
        for to, step, width, size, pad in zip(result, stride, kernel, space, before, strict=True)
    ]
    how: dict[str, Any] = {"kernel_shape": kernel, "strides": stride, "pads": [*before, *after]}
    if kind == "max":
        of.add("MaxPool", of.inputs, **how)
    elif kind == "lp":
        of.add("LpPool", of.inputs, p=int(of.attributes["p_value"]), **how)
    elif kind == "avg" and of.attributes.get("count_include_pad") == "False":
        of.add("AveragePool", of.inputs, count_include_pad=0, **how)
    else:
        mean = of.add("AveragePool", of.inputs, part="mean", count_include_pad=1, **how)
        if kind == "sum":
            factor = np.array(np.prod(kernel), np.float32)
        else:
            # What lies beyond the border as wide as on the other side does not count.
            sides = [
                _counted(*side) for side in zip(result, stride, kernel, space, before, strict=True)
            ]
            counted = np.multiply.outer(*sides) if len(sides) == 2 else sides[0]
            factor = (np.prod(kernel) / counted).astype(np.float32)
        if (factor == 1).all():
            of.nodes.clear()
            of.add("AveragePool", of.inputs, count_include_pad=1, **how)
        else:
            of.add("Mul", [mean, of.constant("factor", factor)])
    return of.nodes


def _counted(to: int, step: int, width: int, size: int, pad: int) -> NDArray[np.int64]:
    """Return along one side how many pixels of each window count, those of the border included."""
    starts = np.arange(to) * step - pad
    counted: NDArray[np.int64] = np.minimum(starts + width, size + pad) - starts
    return counted


def _deconvolution(of: Translation) -> Made:
    if of.attributes.get("layout", "NCHW") != "NCHW" or "target_shape" in of.attributes:
        return None
    space, result = of.shape()[2:], of.result[2:]
    kernel = of.numbers("kernel")
    stride = of.numbers("stride", [1] * len(space))
    dilate = of.numbers("dilate", [1] * len(space))
    before = of.numbers("pad", [0] * len(space))
    # Of the whole result, what is cut off behind; with adj it may be less than nothing.
    after = [
        (size - 1) * step + (width - 1) * apart + 1 - to - pad
        for size, step, width, apart, to, pad in zip(
            space, stride, kernel, dilate, result, before, strict=True
        )
    ]
    of.add(
        "ConvTranspose",
        of.inputs,
        kernel_shape=kernel,
        strides=stride,
        dilations=dilate,
        group=int(of.attributes.get("num_group", "1")),
        pads=[*before, *(max(0, pixels) for pixels in after)],
        output_padding=[max(0, -pixels) for pixels in after],
    )
    return of.nodes


def _l2_normalisation(of: Translation) -> Made:
    rank = len(of.shape())
    axes = {"instance": range(1, rank), "channel": (1,), "spatial": range(2, rank)}
    chosen = np.array(axes[of.attributes["mode"]])
    squares = of.add("Mul", [*of.inputs, *of.inputs], part="squares")
    total = of.add("ReduceSum", [squares, of.constant("axes", chosen)], part="sum")
    epsilon = of.constant("epsilon", np.array(of.attributes["eps"], np.float32))
    norm = of.add("Sqrt", [of.add("Add", [total, epsilon], part="more")], part="norm")
    of.add("Div", [*of.inputs, norm])
    return of.nodes


def _reshape(of: Translation) -> Made:
    # MXNet has worked its codes (0, -1, -2, -3, -4) out.
    of.add("Reshape", [of.inputs[0], of.constant("shape", np.array(of.result, np.int64))])
    return of.nodes


def _reduction(kind: str) -> Callable[[Translation], Made]:
    def translate(of: Translation) -> Made:
        rank = len(of.shape())
        axes = {axis % rank for axis in of.numbers("axis")} or set(range(rank))
        if of.is_on("exclude"):
            axes = set(range(rank)) - axes
        keep = int(of.is_on("keepdims"))
        if kind == "ReduceSum":
            axes_input = of.constant("axes", np.array(sorted(axes), np.int64))
            of.add(kind, [*of.inputs, axes_input], keepdims=keep)
        else:
            of.add(kind, of.inputs, axes=sorted(axes), keepdims=keep)
        return of.nodes

    return translate


def _swapped_axes(of: Translation) -> Made:
    order = list(range(len(of.shape())))
    one, other = (int(of.attributes.get(f"dim{number}", "0")) for number in (1, 2))
    order[one], order[other] = order[other], order[one]
    of.add("Transpose", of.inputs, perm=order)
    return of.nodes


def _softmax_activation(of: Translation) -> Made:
    rank = len(of.shape())
    if of.attributes["mode"] == "channel":
        of.add("Softmax", of.inputs, axis=1)
    elif rank == 2:
        of.add("Softmax", of.inputs, axis=-1)
    else:
        return None
    return of.nodes


def _plain(kind: str) -> Callable[[Translation], Made]:
    def translate(of: Translation) -> Made:
        of.add(kind, of.inputs)
        return of.nodes

    return translate


TRANSLATIONS: dict[str, Callable[[Translation], Made]] = {
    "null": _input,
    "BatchNorm": _batch_norm,
    "Deconvolution": _deconvolution,
    "L2Normalization": _l2_normalisation,
    "LeakyReLU": _leaky,
    "Pooling": _pooling,
    "Reshape": _reshape,
    "SwapAxis": _swapped_axes,
    "SoftmaxActivation": _softmax_activation,
    **{name: _plain(kind) for name, kind in _PLAIN.items()},
    **{name: _reduction(kind) for name, kind in _REDUCTIONS.items()},
}
