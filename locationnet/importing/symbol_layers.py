"""An MXNet symbol and its arrays as layers, read without MXNet.

Knows symbols as MXNet has written them since its first versions and as other programs do; not what
network they should be.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from locationnet.errors import InputError
from locationnet.importing.layers import EPSILON, Array, Kind, Layers, Norm, Window

_SAME = {
    *("blockgrad", "cast", "amp_cast", "dropout", "expand_dims", "flatten", "identity", "_copy"),
    *("reshape", "squeeze", "stop_gradient"),
}
_SOFTMAXES = {"softmax", "softmaxactivation", "softmaxoutput"}
_SIGNS = {
    **dict.fromkeys(("elemwise_add", "broadcast_add", "broadcast_plus", "_plus", "_add"), "+"),
    **dict.fromkeys(("elementwisesum", "add_n", "_plusscalar", "_plus_scalar"), "+"),
    **dict.fromkeys(("elemwise_sub", "broadcast_sub", "broadcast_minus", "_minus", "_sub"), "-"),
    **dict.fromkeys(("_minusscalar", "_minus_scalar"), "-"),
    **dict.fromkeys(("elemwise_mul", "broadcast_mul", "_mul", "_mulscalar", "_mul_scalar"), "*"),
    **dict.fromkeys(("elemwise_div", "broadcast_div", "_div", "_divscalar", "_div_scalar"), "/"),
}
# With the number before the value.
_REVERSED = {"_rminusscalar": "-", "_rminus_scalar": "-", "_rdivscalar": "/", "_rdiv_scalar": "/"}
_COMPUTED: dict[str, Callable[..., Any]] = {
    "+": np.add,
    "-": np.subtract,
    "*": np.multiply,
    "/": np.divide,
    "sqrt": np.sqrt,
    "rsqrt": lambda value: 1 / np.sqrt(value),
    "reciprocal": np.reciprocal,
    "negative": np.negative,
}


def symbol_layers(path: Path, arrays: Mapping[str, Array]) -> tuple[Layers, int]:
    """Read a symbol's layers.

    Parameters
    ----------
    path
        The symbol, JSON.
    arrays
        Its arrays by name, with or without ``arg:`` and ``aux:`` before.

    Returns
    -------
    Layers
        What the output depends on; the image is called as in the file.
    int
        Number of this output among several.

    Raises
    ------
    InputError
        The file is no symbol, an array is missing, or an operator is none of a ResNet's.
    """
    nodes, heads = _read(path)
    number = min(range(len(heads)), key=lambda head: _rank(nodes[heads[head]]))
    return _Reader(path, nodes, arrays).read(heads[number]), number


class _Reader:
    def __init__(
        self, path: Path, nodes: list[dict[str, Any]], arrays: Mapping[str, Array]
    ) -> None:
        self._path, self._nodes = path, nodes
        self._arrays = {re.sub("^(arg|aux):", "", name): array for name, array in arrays.items()}
        self._constants: dict[str, Array] = {}
        self._layers = Layers(path, "")

    def read(self, head: int) -> Layers:
        needed = self._needed(head)
        variables = [node for node in needed if node["op"] == "null"]
        unknown = [node["name"] for node in variables if node["name"] not in self._arrays]
        if not unknown:
            raise InputError(f"{self._path}: it takes no image")
        image = "data" if "data" in unknown else unknown[0]
        lacking = [name for name in unknown if name != image]
        if lacking:
            raise InputError(f"{self._path}: the parameters lack {', '.join(lacking[:3])}")
        self._layers = Layers(self._path, image)
        for node in needed:
            if node["op"] != "null":
                self._try(node)
            elif node["name"] == image:
                self._layers.same(_value(node), image)
            else:
                self._constants[_value(node)] = self._arrays[node["name"]]
        self._layers.ends_at(_value(self._nodes[head]))
        return self._layers

    def _needed(self, head: int) -> list[dict[str, Any]]:
        """Return the nodes that one depends on, in the file's order, which is that of computing."""
        wanted, waiting = set[int](), [head]
        while waiting:
            index = waiting.pop()
            if index not in wanted:
                wanted.add(index)
                waiting += self._nodes[index]["inputs"]
        return [self._nodes[index] for index in sorted(wanted)]

    def _try(self, node: dict[str, Any]) -> None:
        try:
            self._translate(node)
        except (ValueError, KeyError, IndexError, TypeError) as error:
            raise InputError(
                f"{self._path}: {node['name']} ({node['op']}) cannot be read: {error}"
            ) from error

    def _translate(self, node: dict[str, Any]) -> None:
        operator = node["op"].lower().removesuffix("_v1")
        given, result = node["attrs"], _value(node)
        inputs = [_value(self._nodes[index]) for index in node["inputs"]]
        operands = [
            value if self._layers.knows(value) else self._constants[value] for value in inputs
        ]
        if operator in _REVERSED or operator.endswith("scalar"):
            number = np.asarray(float(_text(given, "scalar", "0")))
            operands = [number, *operands] if operator in _REVERSED else [*operands, number]
        sign = _SIGNS.get(operator) or _REVERSED.get(operator)
        if not any(isinstance(operand, str) for operand in operands):
            self._constants[result] = self._compute(node, sign or operator, operands)
        elif sign:
            self._layers.arithmetic(sign, node["name"], operands, result)
        elif operator in _SAME:
            self._layers.same(result, inputs[0])
        else:
            self._add(node, operator, inputs, operands[1:])

    def _compute(self, node: dict[str, Any], operator: str, operands: list[Any]) -> Array:
        if operator in _SAME:
            shape = _numbers(node["attrs"], "shape") if operator == "reshape" else []
            return np.reshape(operands[0], shape) if shape else operands[0]
        if operator not in _COMPUTED:
            raise self._unknown(node)
        return np.asarray(_COMPUTED[operator](*operands))

    def _add(
        self, node: dict[str, Any], operator: str, inputs: list[str], constants: list[Any]
    ) -> None:
        given, name, source = node["attrs"], node["name"], inputs[0]
        add, result = self._layers.add, _value(node)
        if any(isinstance(constant, str) for constant in constants):
            raise self._unknown(node)
        if operator == "convolution" and _text(given, "layout", "NCHW") in ("NCHW", "None"):
            if set(_numbers(given, "dilate") + _numbers(given, "num_group")) - {1}:
                raise InputError(f"{self._path}: {name} is dilated or in groups")
            how = {"weight": constants[0], "window": _window(given)}
            add("convolution", name, [source], result, **how, **_bias(constants))
        elif operator in ("batchnorm", "cudnnbatchnorm") and _text(given, "axis", "1") == "1":
            add("norm", name, [source], result, norm=self._norm(node, constants))
        elif operator == "relu" or (operator == "activation" and given.get("act_type") == "relu"):
            add("relu", name, [source], result)
        elif operator == "pooling" and given.get("pooling_convention") != "same":
            kind = _text(given, "pool_type", "max")
            if _is_on(given, "global_pool") and kind == "avg":
                add("mean", name, [source], result)
            elif _is_on(given, "global_pool") or kind not in ("max", "avg"):
                raise self._unknown(node)
            else:
                called: Kind = "mean" if kind == "avg" else "max pooling"
                add(called, name, [source], result, window=_window(given))
        elif operator == "mean" and sorted(_numbers(given, "axis")) in ([2, 3], [-2, -1]):
            add("mean", name, [source], result)
        elif operator == "fullyconnected":
            add("last layer", name, [source], result, weight=constants[0], **_bias(constants))
        elif operator in _SOFTMAXES:
            add("softmax", name, [source], result)
        elif operator == "pad" and given.get("mode", "constant") == "constant":
            top, bottom, left, right = ([*_numbers(given, "pad_width"), *[0] * 8])[4:8]
            border = Window((1, 1), before=(top, left), after=(bottom, right))
            self._layers.border(result, source, border)
        else:
            raise self._unknown(node)

    def _norm(self, node: dict[str, Any], constants: list[Any]) -> Norm:
        name, given = node["name"], node["attrs"]
        try:
            # Files from before MXNet 0.9 leave the statistics' names to convention.
            constants += [
                self._arrays[f"{name}_moving_{what}"]
                for what in ("mean", "var")[len(constants) - 2 :]
            ]
            gamma, beta, mean, variance = (np.asarray(part, np.float64) for part in constants)
        except (KeyError, ValueError) as error:
            raise InputError(f"{self._path}: the arrays of {name} are not a BatchNorm's") from error
        if _is_on(given, "fix_gamma", "True"):
            gamma = np.ones_like(gamma)  # whatever is saved
        return Norm(gamma, beta, mean, variance + float(_text(given, "eps", "0.001")) - EPSILON)

    def _unknown(self, node: dict[str, Any]) -> InputError:
        return InputError(
            f"{self._path}: {node['name']} ({node['op']}) is no layer of the ResNet of 2017"
        )


def _read(path: Path) -> tuple[list[dict[str, Any]], list[int]]:
    """Return the nodes, with attributes and numbers of inputs alike in all versions, and heads."""
    try:
        graph = json.loads(path.read_text(encoding="utf-8"))
        nodes = []
        for index, node in enumerate(graph["nodes"]):
            attributes: dict[str, str] = {}
            for key in ("attr", "param", "attrs"):
                attributes |= {str(name): str(text) for name, text in (node.get(key) or {}).items()}
            inputs = [int(source[0]) for source in node["inputs"]]
            if not all(0 <= source < index for source in inputs):
                raise ValueError(f"node {index} is fed by one that comes later")
            op, name = str(node["op"]), str(node["name"])
            if op.lower() in _SOFTMAXES:
                del inputs[1:]  # a loss is also fed with the truth
            nodes.append(
                {"index": index, "op": op, "name": name, "attrs": attributes, "inputs": inputs}
            )
        heads = [int(head[0]) for head in graph["heads"]]
        if not heads or not all(0 <= head < len(nodes) for head in heads):
            raise ValueError("it has no output")
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        raise InputError(f"{path}: not a symbol of MXNet ({error})") from error
    return nodes, heads


def _rank(node: dict[str, Any]) -> int:
    """Order outputs: the probabilities before the last layer's, and both before all others."""
    operator = node["op"].lower()
    return 0 if operator in _SOFTMAXES else 1 if operator == "fullyconnected" else 2


def _value(node: dict[str, Any]) -> str:
    # Names need not be distinct.
    return f"{node['index']}/{node['name']}"


def _window(given: Mapping[str, str]) -> Window:
    kernel, stride, pad = (
        (*(_numbers(given, name) or [default] * 2), default)[:2]
        for name, default in (("kernel", 1), ("stride", 1), ("pad", 0))
    )
    round_up = given.get("pooling_convention") == "full"
    return Window(kernel, stride, pad, pad, round_up)  # type: ignore[arg-type]


def _bias(constants: list[Any]) -> dict[str, Array]:
    return {"bias": constants[1]} if len(constants) > 1 else {}


def _numbers(given: Mapping[str, str], name: str) -> list[int]:
    return [int(part) for part in re.findall(r"-?\d+", given.get(name, ""))]


def _text(given: Mapping[str, str], name: str, default: str) -> str:
    text = given.get(name, default)
    return default if text == "None" else text


def _is_on(given: Mapping[str, str], name: str, default: str = "False") -> bool:
    return given.get(name, default).lower() in ("true", "1")
