"""Where a classifier ends: its last fully connected layer, what enters it, and how to replace it.

Knows symbols of any network that ends with such a layer and a softmax; not what comes before.
"""

from __future__ import annotations

import json
from typing import NamedTuple

from locationnet.errors import LocationNetError
from locationnet.train.backbones import head
from locationnet.train.compat import mx

_SOFTMAXES = ("SoftmaxOutput", "Softmax", "softmax", "SoftmaxActivation")
_CASTS = ("Cast", "amp_cast")


class LastLayer(NamedTuple):
    """A network's last layer.

    Parameters
    ----------
    logits
        Symbol of its output, before any cast and the softmax.
    features
        Symbol of its input.
    parameters
        Names of its weight and, if it has one, its bias.
    """

    logits: mx.sym.Symbol
    features: mx.sym.Symbol
    parameters: list[str]


def last_layer(network: mx.sym.Symbol) -> LastLayer:
    """Find a network's last layer.

    Raises
    ------
    LocationNetError
        The network does not end with a fully connected layer and a softmax.
    """
    graph = json.loads(network.tojson())
    nodes = graph["nodes"]
    softmax = node = nodes[graph["heads"][0][0]]
    while node["op"] in (*_SOFTMAXES, *_CASTS):
        node = nodes[node["inputs"][0][0]]
    if node["op"] != "FullyConnected" or softmax["op"] not in _SOFTMAXES:
        raise LocationNetError(
            f"the network ends with {node['name']} ({node['op']}); expected a fully connected"
            " layer and a softmax"
        )
    (source, output, *_), *parameters = node["inputs"]
    internals = network.get_internals()
    before = nodes[source]["name"]
    # Operators with several outputs number them, and an input is called as it is.
    names = (f"{before}_output", f"{before}_output{output}", before)
    name = next(name for name in names if name in internals.list_outputs())
    return LastLayer(
        internals[f"{node['name']}_output"],
        internals[name],
        [nodes[parameter]["name"] for parameter, *_ in parameters],
    )


def with_new_head(network: mx.sym.Symbol, classes: int) -> mx.sym.Symbol:
    """Replace the last layer by one named ``fc1`` with so many classes; see `last_layer`."""
    return head(last_layer(network).features, classes)
