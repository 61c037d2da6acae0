"""What is minimised: a network's symbol with its pixels' preparation before and a loss behind.

Knows symbols; nothing of photos or optimizers. Parameters keep their names, so what is learned
through the loss belongs to the plain network and is saved with that.
"""

from __future__ import annotations

from locationnet.train.backbones import DATA, LABEL
from locationnet.train.compat import mx
from locationnet.train.last_layer import last_layer

LABEL_CLASSES = LABEL
LABEL_WEIGHTS = "softmax_label_weight"
TOP = 5

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
        (n, k): classes and weights as in `locationnet.train.soft_labels`. Outputs: the loss of each
        photo, ``-Σ weight · log p(class)``, float32 (n,); the best classes, float32
        (n, at most 5), best first.
    """
    logits = last_layer(network).logits(**{DATA: prepared_pixels(mean, std, fp16=fp16)})
    if fp16:
        logits = mx.sym.cast(logits, dtype="float32")
    loss = mx.sym.MakeLoss(cross_entropy(logits), name="loss")
    return mx.sym.Group([loss, best_classes(logits, classes)])


def prepared_pixels(mean: Triple, std: Triple, *, fp16: bool) -> mx.sym.Symbol:
    """Return what enters a network: ``data``, uint8 (n, size, size, 3), as (n, 3, size, size)."""
    pixels = mx.sym.transpose(
        mx.sym.cast(mx.sym.Variable(DATA), dtype="float32"), axes=(0, 3, 1, 2)
    )
    # One plane a channel: scalars need no extra inputs, and a symbol cannot hold constants.
    planes = mx.sym.split(pixels, num_outputs=3, axis=1)
    prepared = mx.sym.concat(
        *((planes[channel] - mean[channel]) * (1 / std[channel]) for channel in range(3)), dim=1
    )
    return mx.sym.cast(prepared, dtype="float16") if fp16 else prepared


def cross_entropy(logits: mx.sym.Symbol) -> mx.sym.Symbol:
    """Return ``-Σ weight · log p(class)`` of each photo, float32 (n,), over its label's pairs."""
    named = mx.sym.Variable(LABEL_CLASSES)
    weights = mx.sym.Variable(LABEL_WEIGHTS)
    # Only the named classes are read out of the table of log-probabilities.
    rows = mx.sym.broadcast_like(
        mx.sym.expand_dims(mx.sym.contrib.arange_like(named, axis=0), axis=1), named
    )
    own = mx.sym.gather_nd(mx.sym.log_softmax(logits, axis=1), mx.sym.stack(rows, named, axis=0))
    return -mx.sym.sum(own * weights, axis=1)


def best_classes(logits: mx.sym.Symbol, classes: int) -> mx.sym.Symbol:
    """Return the best classes, float32 (n, at most 5), best first; nothing is learned from them."""
    top = mx.sym.topk(mx.sym.BlockGrad(logits), k=min(TOP, classes), axis=1, name="top")
    return mx.sym.BlockGrad(top)
