"""The end of a network is found and replaced."""

from __future__ import annotations

import pytest

from locationnet.errors import LocationNetError
from locationnet.train.backbones import resnet
from locationnet.train.compat import mx
from locationnet.train.last_layer import last_layer, with_new_head


def test_a_new_head_has_as_many_classes_as_asked_for() -> None:
    symbol = with_new_head(resnet(18, 9, 32), 4)
    arguments, outputs, _ = symbol.infer_shape(data=(1, 3, 32, 32))
    assert outputs == [(1, 4)]
    assert dict(zip(symbol.list_arguments(), arguments, strict=True))["fc1_weight"] == (4, 512)
    assert last_layer(symbol).parameters == ["fc1_weight", "fc1_bias"]


def test_a_network_without_a_last_layer_is_refused() -> None:
    pooled = mx.sym.Flatten(mx.sym.Variable("data"), name="flat")
    with pytest.raises(LocationNetError, match=r"ends with flat \(Flatten\)"):
        with_new_head(mx.sym.SoftmaxOutput(pooled, name="softmax"), 4)


def test_a_network_that_ends_without_a_softmax_is_refused() -> None:
    with pytest.raises(LocationNetError, match="expected a fully connected layer and a softmax"):
        last_layer(resnet(18, 9, 32, logits_only=True))


def test_casts_before_the_softmax_are_looked_through() -> None:
    symbol = mx.sym.FullyConnected(mx.sym.Variable("data"), num_hidden=3, no_bias=True, name="fc")
    symbol = mx.sym.SoftmaxOutput(mx.sym.cast(symbol, dtype="float32"), name="softmax")
    assert last_layer(symbol).parameters == ["fc_weight"]
    assert last_layer(symbol).logits.list_outputs() == ["fc_output"]
