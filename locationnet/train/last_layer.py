"""Where a classifier ends: its last fully connected layer, what enters it, and how to replace it.

Knows symbols of any network that ends with such a layer and a softmax; not what comes before.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from locationnet.errors import LocationNetError
from locationnet.train.backbones import head
from locationnet.train.compat import mx

_SOFTMAXES = ("SoftmaxOutput", "Softmax", "softmax", "SoftmaxActivation")
_CASTS = ("Cast", "amp_cast")


class LastLayer(NamedTuple):
    """A network's last layer.

    Parameters
    ----------
    probabilities
        Symbol of the softmax's output.
    logits
        Symbol of its output, before any cast and the softmax.
    features
        Symbol of its input.
    parameters
        Names of its weight and, if it has one, its bias.
    """

    probabilities: mx.sym.Symbol
    logits: mx.sym.Symbol
    features: mx.sym.Symbol
    parameters: list[str]


def last_layer(network: mx.sym.Symbol) -> LastLayer:
    """Find a network's last layer.

    Of several outputs one must be such a classifier's; the others are left aside.

    Raises
    ------
    LocationNetError
        The network does not end with a fully connected layer and a softmax, or has several ends
        like that.
    """
    graph = json.loads(network.tojson())
    nodes = graph["nodes"]
    heads = [head[0] for head in graph["heads"]]
    ends = [_before_softmax(nodes, head) for head in heads]
    classifiers = [
        (index, end)
        for index, (end, head) in enumerate(zip(ends, heads, strict=True))
        if nodes[end]["op"] == "FullyConnected" and nodes[head]["op"] in _SOFTMAXES
    ]
    if not classifiers:
        end = nodes[ends[0]]
        raise LocationNetError(
            f"the network ends with {end['name']} ({end['op']}); expected a fully"
            " connected layer and a softmax"
        )
    if len(classifiers) > 1:
        named = ", ".join(nodes[end]["name"] for _, end in classifiers)
        raise LocationNetError(f"the network has several classifiers ({named}); expected one")
    [(index, end)] = classifiers
    (source, output, *_), *parameters = nodes[end]["inputs"]
    return LastLayer(
        network[index],
        _made_by(network, nodes, end, 0),
        _made_by(network, nodes, source, output),
        [nodes[parameter]["name"] for parameter, *_ in parameters],
    )


def _before_softmax(nodes: list[dict[str, Any]], index: int) -> int:
    while nodes[index]["op"] in (*_SOFTMAXES, *_CASTS):
        index = nodes[index]["inputs"][0][0]
    return index


def _made_by(
    network: mx.sym.Symbol, nodes: list[dict[str, Any]], index: int, output: int
) -> mx.sym.Symbol:
    name = nodes[index]["name"]
    # Operators with several outputs number them, and an input is called as it is.
    names = (f"{name}_output", f"{name}_output{output}", name)
    internals = network.get_internals()
    outputs = [index for index, made in enumerate(internals.list_outputs()) if made in names]
    # Names need not be unique; the order is that of the nodes.
    return internals[outputs[sum(node["name"] == name for node in nodes[:index])]]


def with_new_head(network: mx.sym.Symbol, classes: int) -> mx.sym.Symbol:
    """Replace the last layer by one named ``fc1`` with so many classes; see `last_layer`."""
    return head(last_layer(network).features, classes)
