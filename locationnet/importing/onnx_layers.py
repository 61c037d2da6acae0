"""An ONNX network as layers.

Knows ONNX's operators of convolutional classifiers, as exporters and simplifiers leave them; not
what network they should be.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from locationnet.importing.layers import EPSILON, Layers, Norm, Window
from locationnet.train.onnx_graph import OnnxGraph, attributes

_SAME = {"Cast", "Dropout", "Flatten", "Identity", "Reshape", "Squeeze"}
_SIGNS = {"Add": "+", "Sum": "+", "Sub": "-", "Mul": "*", "Div": "/"}


def onnx_layers(path: Path) -> Layers:
    """Read a network's layers.

    Parameters
    ----------
    path
        An ONNX file with one input, images.

    Returns
    -------
    Layers
        What the output depends on: of several the one that ends in a softmax, or else the first.

    Raises
    ------
    InputError
        The file cannot be read, or an operator is none of a ResNet's.
    MissingExtraError
        onnx is not installed.
    """
    graph = OnnxGraph(path)
    ends = [str(output.name) for output in graph.model.graph.output]
    end = min(ends, key=lambda name: _rank(graph, name))
    needed = graph.needs(end)
    layers = Layers(path, graph.input_name)
    sizes = set[str]()  # values that depend on the size of images alone
    for node in graph.model.graph.node:  # in the order of computing
        if not needed & set(node.output):
            continue
        is_image = any(map(layers.knows, node.input))
        if node.op_type == "Shape" or (sizes & set(node.input) and not is_image):
            sizes |= set(node.output)
        elif is_image:
            try:
                _translate(graph, layers, node)
            except (ValueError, KeyError, IndexError, TypeError) as error:
                raise layers.misfit(f"{_called(node)} cannot be read: {error}") from error
    layers.ends_at(end)
    return layers


def _translate(graph: OnnxGraph, layers: Layers, node: Any) -> None:
    source, result, name = str(node.input[0]), str(node.output[0]), str(node.name or node.output[0])
    operator, given = node.op_type, attributes(node)
    constants = range(1, len(node.input))
    if operator in _SIGNS:
        operands = [
            value if layers.knows(value) else graph.constant(node, index)
            for index, value in enumerate(map(str, node.input))
        ]
        layers.arithmetic(_SIGNS[operator], name, operands, result)
    elif any(layers.knows(node.input[index]) for index in constants):
        raise layers.misfit(f"{_called(node)} is no layer of the ResNet of 2017")
    elif operator in _SAME:
        layers.same(result, source)
    elif operator == "Conv":
        if given.get("group", 1) != 1 or set(given.get("dilations", [1])) != {1}:
            raise layers.misfit(f"{name} is dilated or in groups")
        weight, bias = graph.constant(node, 1), graph.optional(node, 2)
        how = {"weight": weight, "window": _window(given, weight.shape[2:])}
        how |= {} if bias is None else {"bias": bias}
        layers.add("convolution", name, [source], result, **how)
    elif operator == "BatchNormalization" and not given.get("training_mode"):
        parts = [np.asarray(graph.constant(node, index), np.float64) for index in range(1, 5)]
        gamma, beta, mean, variance = parts
        variance = variance + given.get("epsilon", 1e-5) - EPSILON
        layers.add("norm", name, [source], result, norm=Norm(gamma, beta, mean, variance))
    elif operator == "Relu":
        layers.add("relu", name, [source], result)
    elif operator == "MaxPool" and set(given.get("dilations", [1])) == {1}:
        layers.add("max pooling", name, [source], result, window=_window(given))
    elif operator == "AveragePool":
        layers.add("mean", name, [source], result, window=_window(given))
    elif operator == "GlobalAveragePool" or (
        operator == "ReduceMean" and _is_of_space(graph, node)
    ):
        layers.add("mean", name, [source], result)
    elif operator == "Gemm" and not given.get("transA"):
        weight, bias = graph.constant(node, 1), graph.optional(node, 2)
        how = {"weight": given.get("alpha", 1.0) * (weight if given.get("transB") else weight.T)}
        how |= {} if bias is None else {"bias": given.get("beta", 1.0) * bias.reshape(-1)}
        layers.add("last layer", name, [source], result, **how)
    elif operator == "MatMul":
        layers.add("last layer", name, [source], result, weight=graph.constant(node, 1).T)
    elif operator == "Softmax":
        layers.add("softmax", name, [source], result)
    elif operator == "Pad" and given.get("mode", b"constant") == b"constant":
        pads, value = graph.optional(node, 1), graph.optional(node, 2)
        sides = given.get("pads", []) if pads is None else pads.tolist()
        number = given.get("value", 0.0) if value is None else value.item()
        if number or len(sides) != 8 or any(sides[:2] + sides[4:6]):
            raise layers.misfit(f"{_called(node)} is no border of zeros")
        border = Window((1, 1), before=tuple(sides[2:4]), after=tuple(sides[6:]))
        layers.border(result, source, border)
    else:
        raise layers.misfit(f"{_called(node)} is no layer of the ResNet of 2017")


def _window(given: dict[str, Any], kernel: tuple[int, ...] = ()) -> Window:
    height, width = given.get("kernel_shape", kernel)
    down, across = given.get("strides", (1, 1))
    top, left, bottom, right = given.get("pads", (0, 0, 0, 0))
    # Of images whose sides the stride divides, as all are from 224 px on.
    missing = [max(0, side - step) for side, step in ((height, down), (width, across))]
    if given.get("auto_pad") == b"SAME_UPPER":
        (top, left), (bottom, right) = (
            [side // 2 for side in missing],
            [-(-side // 2) for side in missing],
        )
    elif given.get("auto_pad") == b"SAME_LOWER":
        (top, left), (bottom, right) = (
            [-(-side // 2) for side in missing],
            [side // 2 for side in missing],
        )
    round_up = bool(given.get("ceil_mode", 0))
    return Window((height, width), (down, across), (top, left), (bottom, right), round_up)


def _is_of_space(graph: OnnxGraph, node: Any) -> bool:
    axes = graph.optional(node, 1)
    chosen = attributes(node).get("axes", []) if axes is None else axes.tolist()
    return sorted(axis % 4 for axis in chosen) == [2, 3]


def _called(node: Any) -> str:
    return f"{node.name or node.output[0]} ({node.op_type})"


def _rank(graph: OnnxGraph, name: str) -> int:
    """Order outputs: one that ends in a softmax before all others."""
    while name in graph.producers and graph.producers[name].op_type in _SAME:
        name = graph.producers[name].input[0]
    return int(name not in graph.producers or graph.producers[name].op_type != "Softmax")
