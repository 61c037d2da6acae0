"""Symbols in another form that answers the same: float32, distinct names, norms over channels.

Knows a symbol's JSON; neither parameters nor ONNX.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

from locationnet.train.compat import mx

_HALF_TYPES = ("float16", "bfloat16")
# How variables of a symbol number their types.
_FLOAT32, _FLOAT16 = "0", "2"
_NORMS = ("BatchNorm", "CuDNNBatchNorm")


def in_float32(symbol: mx.sym.Symbol) -> mx.sym.Symbol:
    """Let a network that computes in float16 compute in float32; other casts stay."""
    graph = json.loads(symbol.tojson())
    for node in graph["nodes"]:
        attributes = node.get("attrs", {})
        if attributes.get("dtype") in _HALF_TYPES:
            attributes["dtype"] = "float32"
        if attributes.get("__dtype__") == _FLOAT16:
            attributes["__dtype__"] = _FLOAT32
    return mx.sym.load_json(json.dumps(graph))


def with_distinct_names(
    symbol: mx.sym.Symbol, reserved: Iterable[str]
) -> tuple[mx.sym.Symbol, dict[str, str]]:
    """Rename what is called like something else, or like an output of another operator.

    Parameters
    ----------
    symbol
        A network.
    reserved
        Names that nothing may have.

    Returns
    -------
    Symbol
        The same network; new names are ``NUMBER/OLD``.
    dict
        New names of variables by the old ones.
    """
    graph = json.loads(symbol.tojson())
    nodes = graph["nodes"]
    known = Counter(node["name"] for node in nodes)
    computing = {node["name"] for node in nodes if node["op"] != "null"}
    renamed = {}
    for index, node in enumerate(nodes):
        name = node["name"]
        # Outputs of an operator x that has several are x0, x1 and so on in ONNX.
        numbered = re.sub(r"\d+$", "", name)
        taken = numbered != name and numbered in computing
        is_variable = node["op"] == "null"
        if name in reserved or (not is_variable and (known[name] > 1 or taken)):
            node["name"] = f"{index}/{name}"
            if is_variable:
                renamed[name] = node["name"]
    return mx.sym.load_json(json.dumps(graph)), renamed


def original_name(name: str) -> str:
    """Return what a node was called before `with_distinct_names`."""
    return re.sub(r"^\d+/", "", name)


def with_norms_on_channels(symbol: mx.sym.Symbol) -> mx.sym.Symbol:
    """Let every BatchNorm normalise over axis 1, its input turned where it was another.

    On a CPU mxnet 1.9.1 writes outside of its memory otherwise.
    """
    graph = json.loads(symbol.tojson())
    made: list[dict[str, Any]] = []
    new_indexes: list[int] = []  # of the old nodes among the new ones

    def add(node: dict[str, Any]) -> int:
        made.append(node)
        return len(made) - 1

    def swap(name: str, source: list[int], axis: str) -> int:
        attributes = {"dim1": "1", "dim2": axis}
        return add({"op": "SwapAxis", "name": name, "attrs": attributes, "inputs": [source]})

    for node in graph["nodes"]:
        inputs = [[new_indexes[index], *rest] for index, *rest in node["inputs"]]
        node = {**node, "inputs": inputs}
        name, axis = node["name"], node.get("attrs", {}).get("axis", "1")
        if node["op"] not in _NORMS or axis == "1":
            new_indexes.append(add(node))
            continue
        node["attrs"] = {**node["attrs"], "axis": "1"}
        turned = swap(f"{name}_turned", inputs[0], axis)
        norm = add({**node, "name": f"{name}_normed", "inputs": [[turned, 0, 0], *inputs[1:]]})
        new_indexes.append(swap(name, [norm, 0, 0], axis))
    if len(made) == len(new_indexes):
        return symbol
    return mx.sym.load_json(
        json.dumps(
            {
                "nodes": made,
                "arg_nodes": [index for index, node in enumerate(made) if node["op"] == "null"],
                "heads": [[new_indexes[index], *rest] for index, *rest in graph["heads"]],
                "attrs": graph["attrs"],
            }
        )
    )
