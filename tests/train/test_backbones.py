from __future__ import annotations

import json
from collections import Counter
from typing import Any

import numpy as np
import pytest

from locationnet.errors import LocationNetError
from locationnet.train.backbones import (
    UNITS,
    freeze,
    operators,
    parameter_shapes,
    resnet,
    resnet_like,
)
from locationnet.train.compat import mx

NORM = ("gamma", "beta")


def expected_2017() -> tuple[list[tuple[str, str]], dict[str, tuple[int, ...]]]:
    """Operators in order and parameters of the 2017 network, written out from its description."""
    order = [
        ("bn_data", "BatchNorm"),
        ("conv0", "Convolution"),
        ("bn0", "BatchNorm"),
        ("relu0", "Activation"),
        ("pooling0", "Pooling"),
    ]
    shapes: dict[str, tuple[int, ...]] = {"conv0_weight": (64, 3, 7, 7)}
    shapes |= {f"bn_data_{part}": (3,) for part in NORM}
    shapes |= {f"bn0_{part}": (64,) for part in NORM}
    inputs, adds = 64, 0
    for stage, (units, width) in enumerate(
        zip((3, 4, 23, 3), (64, 128, 256, 512), strict=True), start=1
    ):
        for unit in range(1, units + 1):
            name = f"stage{stage}_unit{unit}"
            for part in (1, 2, 3):
                order += [
                    (f"{name}_bn{part}", "BatchNorm"),
                    (f"{name}_relu{part}", "Activation"),
                    (f"{name}_conv{part}", "Convolution"),
                ]
            shapes |= {f"{name}_bn1_{part}": (inputs,) for part in NORM}
            shapes |= {f"{name}_bn2_{part}": (width,) for part in NORM}
            shapes |= {f"{name}_bn3_{part}": (width,) for part in NORM}
            shapes[f"{name}_conv1_weight"] = (width, inputs, 1, 1)
            shapes[f"{name}_conv2_weight"] = (width, width, 3, 3)
            shapes[f"{name}_conv3_weight"] = (4 * width, width, 1, 1)
            if unit == 1:
                order.append((f"{name}_sc", "Convolution"))
                shapes[f"{name}_sc_weight"] = (4 * width, inputs, 1, 1)
            order.append((f"_plus{adds}", "elemwise_add"))
            inputs, adds = 4 * width, adds + 1
    order += [
        ("bn1", "BatchNorm"),
        ("relu1", "Activation"),
        ("pool1", "Pooling"),
        ("flatten0", "Flatten"),
        ("fc1", "FullyConnected"),
        ("softmax", "SoftmaxOutput"),
    ]
    shapes |= {f"bn1_{part}": (2048,) for part in NORM}
    shapes |= {"fc1_weight": (15527, 2048), "fc1_bias": (15527,)}
    return order, shapes


def attributes(symbol: mx.sym.Symbol) -> dict[str, dict[str, str]]:
    nodes = json.loads(symbol.tojson())["nodes"]
    return {node["name"]: node.get("attrs", {}) for node in nodes}


def saved_by_0_9(symbol: mx.sym.Symbol, key: str) -> str:
    """Write a symbol as MXNet 0.9 did: attributes under another key."""
    graph = json.loads(symbol.tojson())
    for node in graph["nodes"]:
        node[key if node["op"] != "null" else "attr"] = node.pop("attrs", {})
    graph["attrs"]["mxnet_version"] = ["int", 904]
    return json.dumps(graph)


def initialised(symbol: mx.sym.Symbol, size: int, batch: int = 8) -> Any:
    mx.random.seed(5)
    executor = symbol.simple_bind(mx.cpu(), data=(batch, 3, size, size), grad_req="write")
    initializer = mx.init.Xavier(magnitude=2)
    for name, array in executor.arg_dict.items():
        if name not in ("data", "softmax_label"):
            initializer(mx.init.InitDesc(name), array)
    for name, array in executor.aux_dict.items():
        array[:] = float(name.endswith("_var"))
    return executor


def test_resnet_101_has_the_parameters_of_2017() -> None:
    _, shapes = expected_2017()
    found, states = parameter_shapes(resnet(101, 15527), 224)
    assert (len(found), len(states)) == (310, 204)
    assert found == shapes
    assert states == {
        f"{name.removesuffix('_gamma')}_{part}": shape
        for name, shape in shapes.items()
        if name.endswith("_gamma")
        for part in ("moving_mean", "moving_var")
    }


def test_resnet_101_has_the_operators_of_2017_in_order() -> None:
    order, _ = expected_2017()
    found = operators(resnet(101, 15527))
    assert found == order
    assert Counter(operator for _, operator in found).most_common(4) == [
        ("Convolution", 104),
        ("BatchNorm", 102),
        ("Activation", 101),
        ("elemwise_add", 33),
    ]


def test_resnet_101_has_the_attributes_of_2017() -> None:
    found = attributes(resnet(101, 15527))
    norms = {name: values for name, values in found.items() if "eps" in values}
    assert all(values["eps"] == "2e-05" for values in norms.values())
    assert all(values["momentum"] == "0.9" for values in norms.values())
    computing = {name for name, operator in operators(resnet(101, 9)) if operator == "BatchNorm"}
    assert [name for name in computing if found[name]["fix_gamma"] == "True"] == ["bn_data"]
    convolutions = [
        name for name, operator in operators(resnet(101, 9)) if operator == "Convolution"
    ]
    assert all(found[name]["no_bias"] == "True" for name in convolutions)
    strided = [name for name in convolutions if found[name]["stride"] == "(2, 2)"]
    assert strided == [
        "conv0",
        *(f"stage{stage}_unit1_{part}" for stage in (2, 3, 4) for part in ("conv2", "sc")),
    ]
    assert found["pooling0"]["pool_type"] == "max"
    assert found["pooling0"]["pad"] == "(1, 1)"
    assert found["pool1"]["kernel"] == "(7, 7)"
    assert found["pool1"]["global_pool"] == "True"


@pytest.mark.parametrize("depth", sorted(UNITS))
@pytest.mark.parametrize("size", [32, 64, 96, 224, 331])
def test_every_depth_takes_images_of_any_size(depth: int, size: int) -> None:
    symbol = resnet(depth, 11, size)
    _, outputs, _ = symbol.infer_shape(data=(2, 3, size, size))
    assert outputs == [(2, 11)]
    per_unit = 3 if depth >= 50 else 2
    layers = [
        name
        for name, operator in operators(symbol)
        if operator in ("Convolution", "FullyConnected") and not name.endswith("_sc")
    ]
    assert len(layers) == depth == per_unit * sum(UNITS[depth]) + 2


def test_small_images_are_not_shrunk_before_the_first_stage() -> None:
    sides = {}
    for size in (32, 64, 224):
        internals = resnet(18, 3, size).get_internals()["_plus0_output"]
        sides[size] = internals.infer_shape(data=(1, 3, size, size))[1][0][2]
    assert sides == {32: 32, 64: 32, 224: 56}


def test_an_unknown_depth_lists_the_known_ones() -> None:
    with pytest.raises(LocationNetError, match="18, 34, 50, 101, 152; not 20"):
        resnet(20, 3)


def test_logits_end_before_the_softmax() -> None:
    assert operators(resnet(18, 3, 32, logits_only=True))[-1] == ("fc1", "FullyConnected")


@pytest.mark.parametrize("depth", sorted(UNITS))
@pytest.mark.parametrize("size", [32, 64, 224])
def test_a_network_is_rebuilt_from_its_parameters(depth: int, size: int) -> None:
    symbol = resnet(depth, 13, size)
    shapes, _ = parameter_shapes(symbol, size)
    assert resnet_like(shapes).tojson() == symbol.tojson()


def test_parameters_of_something_else_are_not_taken_for_a_resnet() -> None:
    with pytest.raises(LocationNetError, match="not those of one of our ResNets"):
        resnet_like({"fc1_weight": (3, 4)})


@pytest.mark.parametrize("key", ["attr", "param"])
def test_a_symbol_saved_by_mxnet_0_9_is_the_same_network(key: str) -> None:
    symbol = resnet(101, 15527)
    loaded = mx.sym.load_json(saved_by_0_9(symbol, key))
    assert operators(loaded) == operators(symbol)
    assert parameter_shapes(loaded, 224) == parameter_shapes(symbol, 224)
    assert attributes(loaded) == attributes(symbol)


def test_freezing_puts_batch_norm_into_inference_mode_up_to_the_stage() -> None:
    symbol, fixed = freeze(resnet(18, 5, 64), "stage2")
    norms = {
        name: attributes(symbol)[name].get("use_global_stats")
        for name, operator in operators(symbol)
        if operator == "BatchNorm"
    }
    frozen = {name for name, value in norms.items() if value == "True"}
    assert frozen == {
        "bn_data",
        "bn0",
        *(f"stage{s}_unit{u}_bn{b}" for s in (1, 2) for u in (1, 2) for b in (1, 2)),
    }
    assert not any(name.startswith(("stage3", "stage4", "bn1", "fc1", "data")) for name in fixed)
    trained = set(symbol.list_arguments()) - set(fixed)
    assert all(
        name.startswith(("stage3", "stage4", "bn1_", "fc1", "data", "softmax")) for name in trained
    )
    assert "stage2_unit1_sc_weight" in fixed
    assert "bn_data_beta" in fixed


def test_freezing_does_not_change_the_network_otherwise() -> None:
    symbol = resnet(18, 5, 32)
    frozen, _ = freeze(symbol, "flatten0")
    assert operators(frozen) == operators(symbol)
    assert parameter_shapes(frozen, 32) == parameter_shapes(symbol, 32)
    assert resnet(18, 5, 32, frozen_to="flatten0").tojson() == frozen.tojson()


def test_a_frozen_body_gives_the_same_features_in_training_and_inference() -> None:
    rng = np.random.default_rng(0)
    images = mx.nd.array(rng.normal(3, 2, (8, 3, 32, 32)))
    for stage, same in ((None, False), ("relu1", True)):
        symbol = resnet(18, 5, 32, frozen_to=stage)
        executor = initialised(symbol, 32)
        before = {name: value.asnumpy() for name, value in executor.aux_dict.items()}
        inference, training = (
            executor.forward(is_train=mode, data=images)[0].asnumpy() for mode in (False, True)
        )
        executor.backward()
        mx.nd.waitall()
        after = {name: value.asnumpy() for name, value in executor.aux_dict.items()}
        assert np.allclose(inference, training, atol=1e-5) is same
        assert all(np.array_equal(before[name], after[name]) for name in before) is same


def test_an_unknown_stage_lists_what_there_is() -> None:
    with pytest.raises(
        LocationNetError, match=r"stage9: no such stage.*conv0.*stage1.*stage4.*fc1"
    ):
        freeze(resnet(18, 5, 32), "stage9")


def test_a_stage_is_not_the_beginning_of_another_ones_name() -> None:
    _, fixed = freeze(resnet(101, 5), "stage3_unit1")
    assert "stage3_unit1_conv3_weight" in fixed
    assert not any(name.startswith(("stage3_unit2", "stage3_unit1" + "0")) for name in fixed)
