"""One step of learning, on one device and on sixteen."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from locationnet.errors import LocationNetError
from locationnet.geo.grid import Grid
from locationnet.train.compat import mx
from locationnet.train.loss import LABEL_CLASSES, LABEL_WEIGHTS, training_symbol
from locationnet.train.module import Optimizer, TrainingModule, random_weights
from locationnet.train.schedule import Schedule

Arrays = dict[str, np.ndarray[Any, Any]]

SIZE, BATCH = 32, 32


@pytest.fixture
def make_module(
    make_network: Callable[..., Path], town_grid: Grid
) -> Callable[..., tuple[TrainingModule, Optimizer]]:
    path = make_network()
    symbol = mx.sym.load(str(path).replace("-0000.params", "-symbol.json"))

    def make(devices: int = 1, **changes: Any) -> tuple[TrainingModule, Optimizer]:
        fixed = changes.pop("fixed", ())
        module = TrainingModule(
            training_symbol(symbol, len(town_grid), mean=(127.0,) * 3, std=(60.0,) * 3),
            [mx.cpu(index) for index in range(devices)],
            [mx.io.DataDesc("data", (BATCH, SIZE, SIZE, 3), np.uint8, "NHWC")],
            [mx.io.DataDesc(name, (BATCH, 1)) for name in (LABEL_CLASSES, LABEL_WEIGHTS)],
            fixed=fixed,
        )
        module.set_weights(random_weights(module.shapes, 0), {})
        usual: dict[str, Any] = {
            "schedule": Schedule("step", 0.1, 0, 10),
            "momentum": 0.9,
            "weight_decay": 0.0,
            "rates": {},
        }
        how = Optimizer(**{**usual, **changes})
        module.set_optimizer(how)
        return module, how

    return make


def _batch(classes: int, seed: int = 0, weight: float = 1.0) -> mx.io.DataBatch:
    random = np.random.default_rng(seed)
    data = mx.nd.array(random.integers(0, 256, (BATCH, SIZE, SIZE, 3)), dtype=np.uint8)
    labels = mx.nd.array(random.integers(0, classes, (BATCH, 1)))
    return mx.io.DataBatch([data], [labels, mx.nd.full((BATCH, 1), weight)], pad=0)


def _weights(module: TrainingModule) -> Arrays:
    return _numpy(module.weights()[0])


def _numpy(arrays: Mapping[str, Any]) -> Arrays:
    return {name: value.asnumpy() for name, value in arrays.items()}


def test_sixteen_devices_make_the_gradient_of_one(
    make_module: Callable[..., tuple[TrainingModule, Optimizer]], town_grid: Grid
) -> None:
    gradients = []
    for devices in (1, 16):
        module, _ = make_module(devices)
        module.step(_batch(len(town_grid))).read()
        # The first momentum is the gradient times the learning rate, with the sign turned.
        gradients.append({name: value / -0.1 for name, value in _numpy(module.momentum()).items()})
    one, sixteen = gradients
    assert one.keys() == sixteen.keys()
    assert len(one) == 6
    for name, gradient in one.items():
        assert np.abs(gradient).max() > 1e-3
        np.testing.assert_allclose(sixteen[name], gradient, atol=1e-4, err_msg=name)


def test_sixteen_devices_answer_as_one(
    make_module: Callable[..., tuple[TrainingModule, Optimizer]], town_grid: Grid
) -> None:
    answers = [make_module(devices)[0].answer(_batch(len(town_grid))).read() for devices in (1, 16)]
    np.testing.assert_allclose(answers[0].loss, answers[1].loss, rtol=1e-4)
    np.testing.assert_array_equal(answers[0].best, answers[1].best)


def test_only_weights_decay(
    make_module: Callable[..., tuple[TrainingModule, Optimizer]], town_grid: Grid
) -> None:
    module, _ = make_module(weight_decay=0.5)
    biased = random_weights(module.shapes, 0)
    for name, value in biased.items():
        if name.endswith("_bias"):
            value[:] = 1
    module.set_weights(biased, {})
    before = _weights(module)
    module.step(_batch(len(town_grid), weight=0.0)).read()
    for name, value in _weights(module).items():
        kept = 1.0 if name.endswith("_bias") else 1 - 0.1 * 0.5
        np.testing.assert_allclose(value, kept * before[name], rtol=1e-5, err_msg=name)


def test_a_layer_learns_at_its_own_rate_and_a_fixed_one_not_at_all(
    make_module: Callable[..., tuple[TrainingModule, Optimizer]], town_grid: Grid
) -> None:
    batch = _batch(len(town_grid))
    plain, _ = make_module()
    slow, _ = make_module(rates={"conv1_weight": 0.1}, fixed=("conv0_weight", "conv0_bias"))
    before = _weights(plain)
    plain.step(batch).read()
    slow.step(batch).read()
    usual, own = _weights(plain), _weights(slow)
    np.testing.assert_array_equal(own["conv0_weight"], before["conv0_weight"])
    np.testing.assert_allclose(
        own["conv1_weight"] - before["conv1_weight"],
        0.1 * (usual["conv1_weight"] - before["conv1_weight"]),
        atol=1e-6,
    )
    np.testing.assert_allclose(own["fc1_weight"], usual["fc1_weight"], atol=1e-6)
    assert not any("conv0" in name for name in slow.momentum())


def test_momentum_is_carried_to_another_number_of_devices(
    make_module: Callable[..., tuple[TrainingModule, Optimizer]], town_grid: Grid
) -> None:
    batches = [_batch(len(town_grid), seed) for seed in (1, 2)]
    first, how = make_module(2)
    first.step(batches[0]).read()
    weights, momentum = first.weights()[0], first.momentum()
    assert {f"momentum:{name}" for name in first.shapes} == set(first.empty_momentum())
    first.step(batches[1]).read()
    second, _ = make_module(1)
    second.set_weights(weights, {})
    second.set_optimizer(how, momentum)
    second.step(batches[1]).read()
    for name, value in _weights(first).items():
        np.testing.assert_allclose(_weights(second)[name], value, atol=1e-5, err_msg=name)


def test_weights_that_do_not_fit_are_named(
    make_module: Callable[..., tuple[TrainingModule, Optimizer]],
) -> None:
    module, _ = make_module()
    weights = random_weights(module.shapes, 0)
    with pytest.raises(LocationNetError, match=r"conv0_weight: expected shape \(8, 3, 3, 3\)"):
        module.set_weights({**weights, "conv0_weight": mx.nd.zeros((1,))}, {})
    del weights["fc1_bias"]
    with pytest.raises(LocationNetError, match=r"fc1_bias: .* got none"):
        module.set_weights(weights, {})


def test_a_seed_gives_the_same_weights_in_any_order() -> None:
    shapes: dict[str, tuple[int, ...]] = {"a_weight": (4, 9), "b_gamma": (3,), "b_beta": (3,)}
    one, other = random_weights(shapes, 5), random_weights(dict(reversed(shapes.items())), 5)
    np.testing.assert_array_equal(one["a_weight"].asnumpy(), other["a_weight"].asnumpy())
    assert not np.array_equal(
        one["a_weight"].asnumpy(), random_weights(shapes, 6)["a_weight"].asnumpy()
    )
    assert one["b_gamma"].asnumpy().tolist() == [1, 1, 1]
    assert one["b_beta"].asnumpy().tolist() == [0, 0, 0]
    deviation = random_weights({"w": (400, 100)}, 0)["w"].asnumpy().std()
    assert deviation == pytest.approx((2 / 100) ** 0.5, rel=0.02)
