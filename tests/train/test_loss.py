import numpy as np
from numpy.testing import assert_allclose, assert_array_equal

from locationnet.train.backbones import resnet
from locationnet.train.compat import mx
from locationnet.train.loss import training_symbol


def linear(classes: int) -> mx.sym.Symbol:
    pooled = mx.sym.Pooling(
        mx.sym.Variable("data"), global_pool=True, kernel=(1, 1), pool_type="avg"
    )
    layer = mx.sym.FullyConnected(mx.sym.Flatten(pooled), num_hidden=classes, name="fc1")
    return mx.sym.SoftmaxOutput(layer, name="softmax")


def test_loss_and_gradient_are_those_of_weighted_cross_entropy() -> None:
    random = np.random.default_rng(0)
    symbol = training_symbol(linear(7), 7, mean=(10, 20, 30), std=(2, 3, 4))
    executor = symbol.simple_bind(
        mx.cpu(), data=(5, 4, 4, 3), softmax_label=(5, 3), softmax_label_weight=(5, 3),
        type_dict={"data": np.uint8, "softmax_label": np.float32},
    )  # fmt: skip
    pixels = random.integers(0, 255, (5, 4, 4, 3)).astype(np.uint8)
    weight = random.normal(0, 0.02, (7, 3)).astype(np.float32)
    named = np.array([random.permutation(7)[:3] for _ in range(5)])
    label_weights = random.uniform(0, 1, (5, 3))
    label_weights[4] = 0
    executor.copy_params_from({"fc1_weight": mx.nd.array(weight), "fc1_bias": mx.nd.zeros(7)})
    loss, top = executor.forward(
        is_train=True,
        data=mx.nd.array(pixels, dtype=np.uint8),
        softmax_label=mx.nd.array(named),
        softmax_label_weight=mx.nd.array(label_weights),
    )
    executor.backward()

    features = (pixels.mean(axis=(1, 2)) - [10, 20, 30]) / [2, 3, 4]
    logits = features @ weight.T
    logp = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    target = np.zeros((5, 7))
    np.put_along_axis(target, named, label_weights, axis=1)
    assert_allclose(loss.asnumpy(), -(target * logp).sum(axis=1), rtol=1e-4, atol=1e-5)
    assert_array_equal(top.asnumpy(), np.argsort(-logits, axis=1)[:, :5])
    slope = target.sum(axis=1, keepdims=True) * np.exp(logp) - target
    gradient = executor.grad_dict["fc1_weight"].asnumpy()
    assert_allclose(gradient, slope.T @ features, rtol=1e-3, atol=1e-3)


def test_parameters_keep_their_names() -> None:
    network = resnet(18, 9, 32)
    symbol = training_symbol(network, 9, mean=(0, 0, 0), std=(1, 1, 1))
    inputs = {"data", "softmax_label", "softmax_label_weight"}
    assert set(symbol.list_arguments()) - inputs == set(network.list_arguments()) - inputs
    assert symbol.list_auxiliary_states() == network.list_auxiliary_states()


def test_float16_computes_between_two_casts() -> None:
    symbol = training_symbol(resnet(18, 9, 32), 9, mean=(0, 0, 0), std=(1, 1, 1), fp16=True)
    types, outputs, _ = symbol.infer_type(
        data=np.uint8, softmax_label=np.float32, softmax_label_weight=np.float32
    )
    found = dict(zip(symbol.list_arguments(), types, strict=True))
    assert found["fc1_weight"] == np.float16
    assert found["conv0_weight"] == np.float16
    assert found["bn1_gamma"] == np.float32
    assert outputs[0] == np.float32
