"""Symbols: the pre-activation ResNets of MXNet's image-classification example, and freezing.

Knows operators, names and shapes; nothing of photos, grids or training loops.

The architecture is that of He et al., "Identity Mappings in Deep Residual Networks" (2016). Names
and attributes are those of the 2017 checkpoint, so that its parameters load unchanged.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from contextlib import redirect_stdout
from io import StringIO
from typing import Any

from locationnet.errors import LocationNetError
from locationnet.train.compat import last_words, mx

# Depth → units in each of the four stages; from 50 on, units are bottlenecks of three convolutions.
UNITS = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}
DATA = "data"
LABEL = "softmax_label"
HEAD = "fc1"

_WIDTHS = (64, 128, 256, 512)
_NORM = {"eps": 2e-5, "momentum": 0.9}
# Up to here an image is too small to be quartered (halved) before the first stage.
_UNPOOLED_SIZE = 32
_SMALL_SIZE = 64


def resnet(
    depth: int,
    classes: int,
    image_size: int = 224,
    *,
    frozen_to: str | None = None,
    logits_only: bool = False,
) -> mx.sym.Symbol:
    """Build a pre-activation ResNet.

    Parameters
    ----------
    depth
        18, 34, 50, 101 or 152.
    classes
        Outputs of the last layer.
    image_size
        Side of the square images, pixels. Above 64 the stem is the 2017 network's: a 7 × 7
        convolution with stride 2 and a max pooling with stride 2. Up to 64 the convolution is
        3 × 3 with stride 1, and up to 32 there is no pooling either.
    frozen_to
        Put BatchNorm into inference mode up to this stage; see `freeze` for the parameters' names.
    logits_only
        End at ``fc1`` instead of at the softmax.

    Returns
    -------
    Symbol
        Inputs ``data`` (n, 3, image_size, image_size) and ``softmax_label`` (n,); output
        ``softmax_output`` (n, classes).

    Raises
    ------
    LocationNetError
        There is no ResNet of this depth.
    """
    if depth not in UNITS:
        known = ", ".join(map(str, UNITS))
        raise LocationNetError(f"a ResNet has a depth of {known}; not {depth}")
    body = _stem(mx.sym.Variable(DATA), image_size)
    adds = 0
    for stage, (units, width) in enumerate(zip(UNITS[depth], _WIDTHS, strict=True), start=1):
        for unit in range(1, units + 1):
            stride = 2 if unit == 1 and stage > 1 else 1
            # The first unit of a stage has a convolution in its shortcut, even where an identity
            # would fit (stage 1 of depths 18 and 34), as in the example.
            parts = _Unit(f"stage{stage}_unit{unit}", width, stride, shortcut=unit == 1)
            branch, shortcut = parts.bottleneck(body) if depth >= 50 else parts.basic(body)
            body = mx.sym.elemwise_add(branch, shortcut, name=f"_plus{adds}")
            adds += 1
    body = _activated(body, "bn1", "relu1")
    body = mx.sym.Pooling(body, global_pool=True, kernel=(7, 7), pool_type="avg", name="pool1")
    body = mx.sym.Flatten(body, name="flatten0")
    symbol = head(body, classes, logits_only=logits_only)
    return symbol if frozen_to is None else freeze(symbol, frozen_to)[0]


def head(features: mx.sym.Symbol, classes: int, *, logits_only: bool = False) -> mx.sym.Symbol:
    """Put the last layer ``fc1`` and the softmax on features ``(n, d)``.

    Parameters
    ----------
    features
        A flat symbol.
    classes
        Outputs of ``fc1``.
    logits_only
        End at ``fc1``.
    """
    logits = mx.sym.FullyConnected(features, num_hidden=classes, name=HEAD)
    return logits if logits_only else mx.sym.SoftmaxOutput(logits, name="softmax")


def resnet_like(shapes: Mapping[str, tuple[int, ...]]) -> mx.sym.Symbol:
    """Build the ResNet that parameters of these names and shapes belong to.

    Raises
    ------
    LocationNetError
        They are not a ResNet's.
    """
    units = tuple(
        sum(name.startswith(f"stage{stage}_") and name.endswith("_conv1_weight") for name in shapes)
        for stage in range(1, len(_WIDTHS) + 1)
    )
    bottleneck = "stage1_unit1_conv3_weight" in shapes
    for depth, known in UNITS.items():
        if known == units and (depth >= 50) == bottleneck:
            break
    else:
        raise LocationNetError("the parameters are not those of one of our ResNets")
    if shapes["conv0_weight"][-1] == 7:
        image_size = 224
    else:
        image_size = _SMALL_SIZE if "bn0_gamma" in shapes else _UNPOOLED_SIZE
    return resnet(depth, shapes[f"{HEAD}_weight"][0], image_size)


def freeze(symbol: mx.sym.Symbol, up_to: str) -> tuple[mx.sym.Symbol, list[str]]:
    """Freeze a network from its input up to a named stage.

    A parameter that is left out of the updates is not enough: every frozen BatchNorm must also
    stop using the batch's statistics, or what follows sees features that the weights were never
    trained for.

    Parameters
    ----------
    symbol
        A network with the input ``data``.
    up_to
        An operator's name or the first parts of one: ``stage3`` stands for everything up to the
        last operator whose name is ``stage3`` or begins with ``stage3_``, ``stage3.`` or
        ``stage3/``.

    Returns
    -------
    Symbol
        The same network; frozen BatchNorms have ``use_global_stats``.
    list of str
        ``fixed_param_names`` for ``mx.mod.Module``, in the network's order.

    Raises
    ------
    LocationNetError
        No operator has such a name; the message lists the stages.
    """
    graph = json.loads(symbol.tojson())
    nodes = graph["nodes"]
    last = [index for index, node in enumerate(nodes) if _is_in(node, up_to)]
    if not last:
        raise LocationNetError(
            f"{up_to}: no such stage to freeze up to; there are {', '.join(_stages(nodes))}"
        )
    frozen = _with_ancestors(nodes, last)
    for index in frozen:
        if nodes[index]["op"] == "BatchNorm":
            nodes[index].setdefault("attrs", {})["use_global_stats"] = "True"
    auxiliary = set(symbol.list_auxiliary_states())
    fixed = [
        node["name"]
        for index, node in enumerate(nodes)
        if index in frozen and node["op"] == "null" and node["name"] not in {DATA, LABEL}
    ]
    return mx.sym.load_json(json.dumps(graph)), [name for name in fixed if name not in auxiliary]


def operators(symbol: mx.sym.Symbol) -> list[tuple[str, str]]:
    """Return (name, operator) of each node that computes, in the order of the graph."""
    nodes = json.loads(symbol.tojson())["nodes"]
    return [(node["name"], node["op"]) for node in nodes if node["op"] != "null"]


def parameter_shapes(
    symbol: mx.sym.Symbol, image_size: int
) -> tuple[dict[str, tuple[int, ...]], dict[str, tuple[int, ...]]]:
    """Return the shapes of the parameters and of the auxiliary states, by name.

    Raises
    ------
    LocationNetError
        The network takes no images of this size.
    """
    arguments, _, states = infer_shapes(symbol, image_size)
    shapes = dict(zip(symbol.list_arguments(), arguments, strict=True))
    for name in (DATA, LABEL):
        shapes.pop(name, None)
    return shapes, dict(zip(symbol.list_auxiliary_states(), states, strict=True))


def infer_shapes(
    symbol: mx.sym.Symbol, image_size: int, photos: int = 1
) -> tuple[list[tuple[int, ...]], list[tuple[int, ...]], list[tuple[int, ...]]]:
    """Return the shapes of a network's arguments, outputs and auxiliary states, in their order.

    Raises
    ------
    LocationNetError
        The network takes no images of this size.
    """
    try:
        with redirect_stdout(StringIO()):  # MXNet prints before it raises
            shapes = symbol.infer_shape(**{DATA: (photos, 3, image_size, image_size)})
    except mx.MXNetError as error:
        raise LocationNetError(
            f"the network takes no images of {image_size} px: {last_words(error)}"
        ) from error
    arguments, outputs, states = ([tuple(shape) for shape in part or ()] for part in shapes)
    return arguments, outputs, states


class _Unit:
    """One residual unit: the branch and the shortcut, to be added."""

    def __init__(self, name: str, width: int, stride: int, *, shortcut: bool) -> None:
        self._name, self._width, self._stride = name, width, stride
        self._has_shortcut = shortcut

    def basic(self, data: mx.sym.Symbol) -> tuple[mx.sym.Symbol, mx.sym.Symbol]:
        activated = self._activate(data, 1)
        branch = self._convolve(activated, 1, self._width, 3, self._stride)
        branch = self._convolve(self._activate(branch, 2), 2, self._width, 3, 1)
        return branch, self._shortcut(data, activated, self._width)

    def bottleneck(self, data: mx.sym.Symbol) -> tuple[mx.sym.Symbol, mx.sym.Symbol]:
        activated = self._activate(data, 1)
        branch = self._convolve(activated, 1, self._width, 1, 1)
        branch = self._convolve(self._activate(branch, 2), 2, self._width, 3, self._stride)
        branch = self._convolve(self._activate(branch, 3), 3, 4 * self._width, 1, 1)
        return branch, self._shortcut(data, activated, 4 * self._width)

    def _activate(self, data: mx.sym.Symbol, index: int) -> mx.sym.Symbol:
        return _activated(data, f"{self._name}_bn{index}", f"{self._name}_relu{index}")

    def _convolve(
        self, data: mx.sym.Symbol, index: int, filters: int, kernel: int, stride: int
    ) -> mx.sym.Symbol:
        return _convolution(data, f"{self._name}_conv{index}", filters, kernel, stride)

    def _shortcut(
        self, data: mx.sym.Symbol, activated: mx.sym.Symbol, filters: int
    ) -> mx.sym.Symbol:
        if not self._has_shortcut:
            return data
        return _convolution(activated, f"{self._name}_sc", filters, 1, self._stride)


def _stem(data: mx.sym.Symbol, image_size: int) -> mx.sym.Symbol:
    body = mx.sym.BatchNorm(data, fix_gamma=True, name="bn_data", **_NORM)
    if image_size <= _UNPOOLED_SIZE:
        return _convolution(body, "conv0", _WIDTHS[0], 3, 1)
    kernel, stride = (3, 1) if image_size <= _SMALL_SIZE else (7, 2)
    body = _activated(_convolution(body, "conv0", _WIDTHS[0], kernel, stride), "bn0", "relu0")
    return mx.sym.Pooling(
        body, kernel=(3, 3), stride=(2, 2), pad=(1, 1), pool_type="max", name="pooling0"
    )


def _activated(data: mx.sym.Symbol, norm: str, relu: str) -> mx.sym.Symbol:
    normed = mx.sym.BatchNorm(data, fix_gamma=False, name=norm, **_NORM)
    return mx.sym.Activation(normed, act_type="relu", name=relu)


def _convolution(
    data: mx.sym.Symbol, name: str, filters: int, kernel: int, stride: int
) -> mx.sym.Symbol:
    pad = kernel // 2
    return mx.sym.Convolution(
        data,
        num_filter=filters,
        kernel=(kernel, kernel),
        stride=(stride, stride),
        pad=(pad, pad),
        no_bias=True,
        name=name,
    )


def _is_in(node: dict[str, Any], stage: str) -> bool:
    name: str = node["name"]
    return node["op"] != "null" and (
        name == stage or name.startswith((f"{stage}_", f"{stage}.", f"{stage}/"))
    )


def _stages(nodes: Iterable[dict[str, Any]]) -> list[str]:
    names = (node["name"] for node in nodes if node["op"] != "null")
    firsts = (re.split(r"[_./]", name)[0] for name in names)
    return [first for first in dict.fromkeys(firsts) if first]


def _with_ancestors(nodes: list[dict[str, Any]], start: Iterable[int]) -> set[int]:
    found: set[int] = set()
    waiting = list(start)
    while waiting:
        index = waiting.pop()
        if index not in found:
            found.add(index)
            waiting += [source[0] for source in nodes[index]["inputs"]]
    return found
