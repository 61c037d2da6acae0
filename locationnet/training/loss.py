"""What is minimised: a network's symbol with its pixels' preparation before and a loss behind.

Knows symbols; nothing of photos or optimizers. Parameters keep their names, so what is learned
through the loss belongs to the plain network and is saved with that.
"""

from __future__ import annotations

import json
from typing import Any

from locationnet.errors import LocationNetError
from locationnet.training.compat import mx
from locationnet.training.network import DATA, LABEL, head

LABEL_CLASSES = LABEL
LABEL_WEIGHTS = "softmax_label_weight"
TOP = 5

_SOFTMAXES = ("SoftmaxOutput", "Softmax", "softmax", "SoftmaxActivation")
Triple = tuple[float, float, float]


def training_symbol(
    network: mx.sym.Symbol,
    classes: int,
    *,
    mean: Triple,
    std: Triple,
    fp16: bool = False,
) -> mx.sym.Symbol:
    """Wrap a network for training and validation.

    Parameters
    ----------
    network
        Input ``data`` (n, 3, size, size), output probabilities by a softmax.
    classes
        How many.
    mean, std
        Red, green, blue: ``(x - mean) / std`` enters the network.
    fp16
        Let the network compute in float16.

    Returns
    -------
    Symbol
        Inputs: ``data``, uint8 (n, size, size, 3); ``softmax_label`` and ``softmax_label_weight``
        (n, k): classes and weights as in `locationnet.training.labels`. Outputs: the loss of each
        photo, ``-Σ weight · log p(class)``, float32 (n,); the best classes, float32
        (n, at most 5), best first.
    """
    pixels = mx.sym.transpose(
        mx.sym.cast(mx.sym.Variable(DATA), dtype="float32"), axes=(0, 3, 1, 2)
    )
    # One plane a channel: scalars need no extra inputs, and a symbol cannot hold constants.
    planes = mx.sym.split(pixels, num_outputs=3, axis=1)
    prepared = mx.sym.concat(
        *((planes[channel] - mean[channel]) * (1 / std[channel]) for channel in range(3)), dim=1
    )
    if fp16:
        prepared = mx.sym.cast(prepared, dtype="float16")
    logits = _logits(network)(**{DATA: prepared})
    if fp16:
        logits = mx.sym.cast(logits, dtype="float32")
    named = mx.sym.Variable(LABEL_CLASSES)
    weights = mx.sym.Variable(LABEL_WEIGHTS)
    # Only the named classes are read out of the table of log-probabilities.
    rows = mx.sym.broadcast_like(
        mx.sym.expand_dims(mx.sym.contrib.arange_like(named, axis=0), axis=1), named
    )
    own = mx.sym.gather_nd(mx.sym.log_softmax(logits, axis=1), mx.sym.stack(rows, named, axis=0))
    loss = mx.sym.MakeLoss(-mx.sym.sum(own * weights, axis=1), name="loss")
    top = mx.sym.topk(mx.sym.BlockGrad(logits), k=min(TOP, classes), axis=1, name="top")
    return mx.sym.Group([loss, mx.sym.BlockGrad(top)])


def with_new_head(network: mx.sym.Symbol, classes: int) -> mx.sym.Symbol:
    """Replace a network's last layer by one for so many classes, named ``fc1``.

    Raises
    ------
    LocationNetError
        The network does not end with a fully connected layer (and a softmax).
    """
    nodes, last = _last_layer(network)
    source, output, *_ = nodes[last]["inputs"][0]
    internals = network.get_internals()
    name = nodes[source]["name"]
    outputs = internals.list_outputs()
    wanted = f"{name}_output" if f"{name}_output" in outputs else f"{name}_output{output}"
    return head(internals[wanted], classes)


def head_parameters(network: mx.sym.Symbol) -> list[str]:
    """Return the names of the last layer's parameters."""
    nodes, last = _last_layer(network)
    return [nodes[source]["name"] for source, *_ in nodes[last]["inputs"][1:]]


def _logits(network: mx.sym.Symbol) -> mx.sym.Symbol:
    nodes, last = _last_layer(network)
    return network.get_internals()[f"{nodes[last]['name']}_output"]


def _last_layer(network: mx.sym.Symbol) -> tuple[list[dict[str, Any]], int]:
    """Return the graph's nodes and which of them is the last fully connected layer."""
    graph = json.loads(network.tojson())
    nodes = graph["nodes"]
    index = graph["heads"][0][0]
    while nodes[index]["op"] in (*_SOFTMAXES, "Cast", "amp_cast"):
        index = nodes[index]["inputs"][0][0]
    if nodes[index]["op"] != "FullyConnected":
        raise LocationNetError(
            f"the network ends with {nodes[index]['name']} ({nodes[index]['op']});"
            " expected a fully connected layer and a softmax"
        )
    return nodes, index
