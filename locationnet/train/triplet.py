"""The triplet loss: photos of one place closer to each other than to photos of any other place.

Knows symbols and what pairs of photos are to each other; nothing of places, photos or optimizers.

One network embeds all photos of a batch, and they are compared on the device that holds them
(a siamese network whose branches share everything). The classifier at its end learns too, from
embeddings that it cannot change: its gradient stops before them.
"""

from __future__ import annotations

from locationnet.train.backbones import DATA
from locationnet.train.compat import mx
from locationnet.train.last_layer import last_layer
from locationnet.train.loss import Triple, best_classes, cross_entropy, prepared_pixels

LABEL_RELATIONS = "relations"
# More than the largest squared distance on the unit sphere.
_FAR = 8.0


def triplet_symbol(
    network: mx.sym.Symbol,
    classes: int,
    *,
    margin: float,
    mean: Triple,
    std: Triple,
    fp16: bool = False,
) -> mx.sym.Symbol:
    """Wrap a network for training and validation; see `locationnet.train.loss.training_symbol`.

    Parameters
    ----------
    network
        Input ``data`` (n, 3, size, size), output probabilities by a softmax.
    classes
        How many.
    margin
        See `triplet_loss`.
    mean, std
        Red, green, blue: ``(x - mean) / std`` enters the network.
    fp16
        Let the network compute in float16.

    Returns
    -------
    Symbol
        Inputs: ``data``, uint8 (n, size, size, 3); ``softmax_label`` and ``softmax_label_weight``
        (n, k); ``relations`` (n, n), see `triplet_loss`. Outputs: the triplet loss of each photo,
        float32 (n,); the classifier's best classes, float32 (n, at most 5); the embedding of length
        1, float32 (n, features); the classifier's loss, float32 (n,).
    """
    end = last_layer(network)
    features = mx.sym.Flatten(end.features(**{DATA: prepared_pixels(mean, std, fp16=fp16)}))
    embedding = mx.sym.L2Normalization(mx.sym.cast(features, dtype="float32"), eps=1e-8)
    weight, *bias = (mx.sym.Variable(name) for name in end.parameters)
    logits = mx.sym.FullyConnected(
        mx.sym.BlockGrad(features), weight, *bias, num_hidden=classes, no_bias=not bias
    )
    logits = mx.sym.cast(logits, dtype="float32")
    relations = mx.sym.Variable(LABEL_RELATIONS)
    return mx.sym.Group(
        [
            mx.sym.MakeLoss(triplet_loss(embedding, relations, margin), name="loss"),
            best_classes(logits, classes),
            mx.sym.BlockGrad(embedding, name="embedding"),
            mx.sym.MakeLoss(cross_entropy(logits), name="classifier_loss"),
        ]
    )


def triplet_loss(
    embedding: mx.sym.Symbol, relations: mx.sym.Symbol, margin: float
) -> mx.sym.Symbol:
    """Return each photo's mean loss over its positives, float32 (n,); 0 for one without.

    For an anchor a and a positive p it is ``max(0, margin + d(a, p) - d(a, n))``, where d is the
    squared distance and n the semi-hard negative: the nearest that is farther than p, or the
    farthest where none is (Schroff et al., "FaceNet", CVPR 2015, section 3.2; with the hardest
    negatives of all, embeddings collapse into a point).

    Parameters
    ----------
    embedding
        Float32 (n, features), each of length 1.
    relations
        Float32 (n, n): 1 for a positive, −1 for a negative, 0 for neither.
    margin
        By how much negatives must be farther.
    """
    distance = 2 - 2 * mx.sym.dot(embedding, embedding, transpose_b=True)
    positive, negative = relations > 0, relations < 0
    # What is mined is mined without a gradient: anchors down, positives across, negatives behind.
    seen = mx.sym.BlockGrad(distance)
    no_negative = _FAR * (1 - negative)
    behind = mx.sym.expand_dims(seen + no_negative, axis=1)
    nearer = mx.sym.broadcast_lesser_equal(behind, mx.sym.expand_dims(seen, axis=2))
    semi_hard = mx.sym.broadcast_add(_FAR * nearer, behind)
    nearest = mx.sym.argmin(semi_hard, axis=2)
    farthest = mx.sym.argmax(seen - no_negative, axis=1, keepdims=True)
    exists = mx.sym.min(semi_hard, axis=2) < _FAR
    mined = mx.sym.where(exists, nearest, mx.sym.broadcast_like(farthest, nearest))
    to_mined = mx.sym.pick(
        mx.sym.broadcast_like(mx.sym.expand_dims(distance, axis=1), nearer),
        mx.sym.BlockGrad(mined),
        axis=2,
    )
    # A photo without negatives has nothing to learn from.
    counts = mx.sym.broadcast_mul(positive, mx.sym.max(negative, axis=1, keepdims=True))
    losses = mx.sym.relu(margin + distance - to_mined) * counts
    return mx.sym.sum(losses, axis=1) / mx.sym.maximum(mx.sym.sum(counts, axis=1), 1)
