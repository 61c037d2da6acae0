"""Single layers of ONNX files, as exporters and simplifiers write them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from locationnet.errors import InputError
from locationnet.importing.layers import EPSILON, Layer, Layers, Window
from locationnet.importing.onnx_layers import onnx_layers

Node = tuple[str, list[str], dict[str, Any]]
CHANNELS = np.array([1.0, 2.0, 4.0], np.float32)
CONSTANTS = {
    "weight": np.ones((8, 3, 3, 3), np.float32),
    "bias": np.arange(8, dtype=np.float32),
    "channels": CHANNELS.reshape(1, 3, 1, 1),
    "row": CHANNELS,
    "column": CHANNELS.reshape(3, 1, 1),
    "wide": np.ones((1, 3, 8, 8), np.float32),
    "number": np.array(2, np.float32),
    "shape": np.array([1, 3, 1, 1]),
    "space": np.array([2, 3]),
    "sides": np.array([0, 0, 1, 1, 0, 0, 1, 1]),
    "deep": np.array([0, 1, 1, 1, 0, 0, 1, 1]),
    "matrix": np.ones((3, 5), np.float32),
    "flat": np.ones(5, np.float32),
}


def layers_of(folder: Path, *nodes: Node) -> Layers:
    """Read a chain of nodes; ``x`` is the value before each."""
    made, value = [], "image"
    for number, (operator, inputs, attributes) in enumerate(nodes):
        names = [value if name == "x" else name for name in inputs]
        constant = "x" not in inputs
        result = names[0] + "'" if constant else f"v{number}"
        made.append(helper.make_node(operator, names, [result], **attributes))
        value = value if constant else result
    return read(folder, made, value, CONSTANTS)


def read(folder: Path, nodes: list[Any], answer: str, constants: dict[str, Any]) -> Layers:
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, 8, 8])],
        [helper.make_tensor_value_info(answer, TensorProto.FLOAT, ["n"])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    onnx.save(model, folder / "net.onnx")
    return onnx_layers(folder / "net.onnx")


def layer_of(folder: Path, *nodes: Node) -> Layer:
    [layer] = layers_of(folder, *nodes).layers
    return layer


@pytest.mark.parametrize(
    ("given", "before", "after"),
    [
        ({"pads": [1, 1, 0, 0]}, (1, 1), (0, 0)),
        ({"auto_pad": "SAME_UPPER"}, (0, 0), (1, 1)),
        ({"auto_pad": "SAME_LOWER"}, (1, 1), (0, 0)),
        ({"auto_pad": "VALID"}, (0, 0), (0, 0)),
    ],
)
def test_borders_are_read(
    tmp_path: Path, given: dict[str, Any], before: tuple[int, int], after: tuple[int, int]
) -> None:
    layer = layer_of(tmp_path, ("Conv", ["x", "weight"], {"strides": [2, 2], **given}))
    assert layer.window == Window((3, 3), (2, 2), before, after)
    assert layer.bias.shape == (1,)


def test_a_border_of_its_own_belongs_to_the_convolution_behind_it(tmp_path: Path) -> None:
    layer = layer_of(
        tmp_path,
        ("Pad", ["x", "sides"], {}),
        ("Identity", ["x"], {}),
        ("Conv", ["x", "weight", "bias"], {"pads": [0, 0, 1, 1]}),
    )
    assert layer.window == Window((3, 3), (1, 1), (1, 1), (2, 2))
    assert layer.bias.tolist() == list(range(8))


@pytest.mark.parametrize(
    ("operator", "inputs", "scale", "shift"),
    [
        ("Add", ["x", "channels"], [1, 1, 1], [1, 2, 4]),
        ("Add", ["column", "x"], [1, 1, 1], [1, 2, 4]),
        ("Sub", ["x", "channels"], [1, 1, 1], [-1, -2, -4]),
        ("Sub", ["channels", "x"], [-1, -1, -1], [1, 2, 4]),
        ("Mul", ["channels", "x"], [1, 2, 4], [0, 0, 0]),
        ("Div", ["x", "channels"], [1, 0.5, 0.25], [0, 0, 0]),
        ("Mul", ["x", "number"], [2], [0]),
    ],
)
def test_arithmetic_with_constants_is_a_norm(
    tmp_path: Path, operator: str, inputs: list[str], scale: list[float], shift: list[float]
) -> None:
    norm = layer_of(tmp_path, (operator, inputs, {})).norm
    assert np.allclose(norm.scale, scale)
    assert np.allclose(norm.shift, shift)


def test_a_constant_is_computed(tmp_path: Path) -> None:
    layer = layer_of(
        tmp_path,
        ("Reshape", ["row", "shape"], {}),
        ("Sqrt", ["row'"], {}),
        ("Mul", ["x", "row''"], {}),
    )
    assert np.allclose(layer.norm.scale, np.sqrt(CHANNELS))


def test_a_shape_that_is_computed_from_the_image_s_is_no_layer(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("GlobalAveragePool", ["image"], ["pooled"]),
        helper.make_node("Shape", ["pooled"], ["whole"]),
        helper.make_node("Slice", ["whole", "zero", "one"], ["photos"]),
        helper.make_node("Concat", ["photos", "rest"], ["target"], axis=0),
        helper.make_node("Reshape", ["pooled", "target"], ["features"]),
        helper.make_node("MatMul", ["features", "matrix"], ["answer"]),
    ]
    numbers = {"zero": [0], "one": [1], "rest": [-1]}
    constants = {**CONSTANTS, **{name: np.array(value) for name, value in numbers.items()}}
    layers = read(tmp_path, nodes, "answer", constants).layers
    assert [layer.kind for layer in layers] == ["mean", "last layer"]


def test_a_norm_s_epsilon_becomes_ours(tmp_path: Path) -> None:
    inputs = ["x", "row", "row", "row", "row"]
    norm = layer_of(tmp_path, ("BatchNormalization", inputs, {"epsilon": 0.5})).norm
    assert np.allclose(norm.variance, CHANNELS + 0.5 - EPSILON)
    assert np.allclose(norm.scale, CHANNELS / np.sqrt(CHANNELS + 0.5))
    assert np.allclose(norm.shift, CHANNELS - CHANNELS * norm.scale)


@pytest.mark.parametrize(
    "node",
    [
        ("GlobalAveragePool", ["x"], {}),
        ("ReduceMean", ["x", "space"], {"keepdims": 0}),
        ("AveragePool", ["x"], {"kernel_shape": [8, 8]}),
    ],
    ids=lambda node: node[0],
)
def test_a_mean_and_a_last_layer_are_read(tmp_path: Path, node: Node) -> None:
    flat: Node = ("Flatten", ["x"], {})
    ends: list[Node] = [("Gemm", ["x", "matrix", "flat"], {}), ("MatMul", ["x", "matrix"], {})]
    for last in ends:
        mean, end, *_ = layers_of(tmp_path, node, flat, last, ("Softmax", ["x"], {})).layers
        assert (mean.kind, end.kind) == ("mean", "last layer")
        assert end.weight.shape == (5, 3)


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ([("LRN", ["x"], {"size": 3})], r"v0 \(LRN\) is no layer of the ResNet of 2017"),
        ([("Mul", ["x", "x"], {})], r"v0 combines what is seen by \*"),
        ([("Div", ["number", "x"], {})], "v0 divides by what is seen"),
        ([("Add", ["x", "wide"], {})], r"v0 \(Add\) cannot be read: a constant of shape \(1, 3, 8"),
        ([("Pad", ["x", "deep"], {})], r"v0 \(Pad\) is no border of zeros"),
        ([("Pad", ["x", "sides"], {"mode": "edge"})], r"v0 \(Pad\) is no layer"),
        ([("Pad", ["x", "sides"], {}), ("Relu", ["x"], {})], "v1 follows on a border of zeros"),
        ([("Conv", ["x", "weight"], {"dilations": [2, 2]})], "v0 is dilated or in groups"),
    ],
    ids=lambda part: part[0][0] if isinstance(part, list) else "",
)
def test_what_no_resnet_has_is_named(tmp_path: Path, nodes: list[Node], message: str) -> None:
    with pytest.raises(InputError, match=rf"net\.onnx: {message}"):
        layers_of(tmp_path, *nodes)
