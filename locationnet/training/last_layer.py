"""Where a classifier ends: its last fully connected layer, what enters it, and how to replace it.

Knows symbols of any network that ends with such a layer and a softmax; not what comes before.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from locationnet.errors import LocationNetError
from locationnet.training.compat import mx
from locationnet.training.network import head

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
    ends = [_before_softmax(nodes, nodes[head[0]]) for head in graph["heads"]]
    classifiers = {
        end["name"]: index
        for index, (end, head) in enumerate(zip(ends, graph["heads"], strict=True))
        if end["op"] == "FullyConnected" and nodes[head[0]]["op"] in _SOFTMAXES
    }
    if not classifiers:
        raise LocationNetError(
            f"the network ends with {ends[0]['name']} ({ends[0]['op']}); expected a fully"
            " connected layer and a softmax"
        )
    if len(classifiers) > 1:
        raise LocationNetError(
            f"the network has several classifiers ({', '.join(classifiers)}); expected one"
        )
    [(layer, index)] = classifiers.items()
    (source, output, *_), *parameters = ends[index]["inputs"]
    internals = network.get_internals()
    before = nodes[source]["name"]
    # Operators with several outputs number them, and an input is called as it is.
    names = (f"{before}_output", f"{before}_output{output}", before)
    name = next(name for name in names if name in internals.list_outputs())
    return LastLayer(
        network[index],
        internals[f"{layer}_output"],
        internals[name],
        [nodes[parameter]["name"] for parameter, *_ in parameters],
    )


def _before_softmax(nodes: list[dict[str, Any]], node: dict[str, Any]) -> dict[str, Any]:
    while node["op"] in (*_SOFTMAXES, *_CASTS):
        node = nodes[node["inputs"][0][0]]
    return node


def with_new_head(network: mx.sym.Symbol, classes: int) -> mx.sym.Symbol:
    """Replace the last layer by one named ``fc1`` with so many classes; see `last_layer`."""
    return head(last_layer(network).features, classes)
