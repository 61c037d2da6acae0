from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from locationnet.errors import InputError
from locationnet.train import onnx_import as module
from locationnet.train.backbones import freeze, operators
from locationnet.train.compat import mx
from locationnet.train.onnx_import import import_onnx

FIXTURES = Path(__file__).parent / "fixtures"
NAMES = ["resnet-opset9", "resnet-opset17", "lite-opset9", "lite-opset17"]


def features(imported: Any, images: np.ndarray[Any, Any]) -> Any:
    symbol, arguments, states = imported
    last = symbol.get_internals()["fc1_output"].get_children()[0]
    executor = last.simple_bind(mx.cpu(), grad_req="null", data=images.shape)
    executor.copy_params_from(arguments, states)
    return executor.forward(is_train=False, data=mx.nd.array(images))[0].asnumpy()


def tiny(
    path: Path, *nodes: onnx.NodeProto, opset: int = 13, outputs: tuple[str, ...] = ("logits",)
) -> Path:
    """Write nodes between ``images`` and a last layer that reads ``flat``."""
    rng = np.random.default_rng(0)
    weights = {
        "w": rng.normal(size=(4, 3, 3, 3)),
        "fc": rng.normal(size=(4, 2)),
        "three": np.full((1, 3, 1, 1), 3.0),
    }
    graph = helper.make_graph(
        [*nodes, helper.make_node("MatMul", ["flat", "fc"], ["logits"], name="last")],
        "tiny",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["n", 3, 8, 8])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", "k"]) for name in outputs],
        [
            numpy_helper.from_array(value.astype(np.float32), name)
            for name, value in weights.items()
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.save(model, path)
    return path


CONV = helper.make_node("Conv", ["images", "w"], ["maps"], name="conv", kernel_shape=[3, 3])
POOL = helper.make_node("GlobalAveragePool", ["maps"], ["pooled"], name="pool")
FLAT = helper.make_node("Flatten", ["pooled"], ["flat"], name="flat")


@pytest.mark.parametrize("name", NAMES)
def test_a_backbone_from_pytorch_gives_pytorchs_features(name: str) -> None:
    with np.load(FIXTURES / f"{name.partition('-')[0]}.npz") as expected:
        images, wanted = expected["images"], expected["features"]
    found = features(import_onnx(FIXTURES / f"{name}.onnx", 7), images)
    np.testing.assert_allclose(found.reshape(wanted.shape), wanted, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_the_head_is_new(name: str) -> None:
    symbol, arguments, states = import_onnx(FIXTURES / f"{name}.onnx", 7)
    assert operators(symbol)[-2:] == [("fc1", "FullyConnected"), ("softmax", "SoftmaxOutput")]
    assert symbol.infer_shape(data=(2, 3, 32, 32))[1] == [(2, 7)]
    missing = set(symbol.list_arguments()) - set(arguments)
    assert missing == {"data", "softmax_label", "fc1_weight", "fc1_bias"}
    assert set(symbol.list_auxiliary_states()) == set(states)


def test_layers_keep_the_names_of_pytorchs_modules() -> None:
    symbol, arguments, states = import_onnx(FIXTURES / "resnet-opset9.onnx", 7)
    names = [name for name, _ in operators(symbol)]
    assert names[:4] == ["conv1", "bn1", "relu", "maxpool"]
    assert arguments["layer2_0_downsample_0_weight"].shape == (16, 8, 1, 1)
    assert states["layer1_1_bn2_moving_var"].shape == (8,)
    folded, arguments, states = import_onnx(FIXTURES / "resnet-opset17.onnx", 7)
    assert arguments["layer2_0_downsample_0_bias"].shape == (16,)
    assert not states
    assert len(operators(folded)) == len(names) - 8


def test_a_backbone_freezes_up_to_a_module() -> None:
    symbol, *_ = import_onnx(FIXTURES / "lite-opset9.onnx", 7)
    _, fixed = freeze(symbol, "blocks_1")
    assert {name.split("_")[0] + name.split("_")[1] for name in fixed} == {
        "stem0", "stem1", "blocks0", "blocks1",
    }  # fmt: skip
    frozen, *_ = import_onnx(FIXTURES / "lite-opset9.onnx", 7, frozen_to="blocks_1")
    assert frozen.tojson().count("use_global_stats") > symbol.tojson().count("use_global_stats")


def test_a_wrong_translation_cannot_go_unnoticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        module._Translator, "_mean", lambda self, node: mx.sym.sum(self._image(node), axis=(2, 3))
    )
    with pytest.raises(InputError, match=r"lite-opset9.onnx: MXNet's features differ"):
        import_onnx(FIXTURES / "lite-opset9.onnx", 7)


def test_constants_that_are_computed_in_the_graph_are_read(tmp_path: Path) -> None:
    half = numpy_helper.from_array(np.array([0, 0, 0, 1], np.int64))
    nodes = [
        helper.make_node("Constant", [], ["half"], value=half),
        helper.make_node("Concat", ["half", "half"], ["pads"], axis=0),
        helper.make_node("Pad", ["images", "pads"], ["padded"], name="pad"),
        helper.make_node("Conv", ["padded", "w"], ["maps"], name="conv"),
        POOL,
        FLAT,
    ]
    symbol, *_ = import_onnx(tiny(tmp_path / "tiny.onnx", *nodes), 2)
    assert operators(symbol)[0] == ("pad", "Pad")


def test_unequal_padding_and_layers_without_names_are_read(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Conv", ["images", "w"], ["maps"], pads=[0, 0, 1, 1], strides=[2, 2]),
        helper.make_node("Sigmoid", ["maps"], ["gate"]),
        helper.make_node("Mul", ["maps", "gate"], ["swish"]),
        helper.make_node("ReduceMean", ["swish"], ["flat"], axes=[-1, -2], keepdims=0),
    ]
    symbol, *_ = import_onnx(tiny(tmp_path / "tiny.onnx", *nodes), 2)
    assert [name for name, _ in operators(symbol)][:5] == [
        "conv_pad", "conv", "sigmoid", "mul", "reducemean",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ([helper.make_node("Elu", ["images"], ["maps"], name="odd"), POOL, FLAT],
         r"operator Elu \(odd\) cannot be imported; known are Add, "),
        ([helper.make_node("Conv", ["images", "w"], ["maps"], name="c", auto_pad="SAME_UPPER"),
          POOL, FLAT], "c: auto_pad is not supported"),
        ([helper.make_node("Add", ["images", "three"], ["more"]),
          helper.make_node("Conv", ["more", "w"], ["maps"]), POOL, FLAT],
         "three is a constant, not an image"),
        ([CONV, helper.make_node("ReduceMean", ["maps"], ["flat"], axes=[1], keepdims=0)],
         "only means over both image axes"),
        ([helper.make_node("MaxPool", ["images"], ["maps"], name="m", kernel_shape=[2, 2],
                           pads=[0, 0, 1, 1]), POOL, FLAT], "m: such a pooling is not supported"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_named(
    tmp_path: Path, nodes: list[onnx.NodeProto], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        import_onnx(tiny(tmp_path / "tiny.onnx", *nodes), 2)


def not_onnx(path: Path) -> None:
    path.write_bytes(b"\x00not a network")


def without_layer(path: Path) -> None:
    tiny(path, CONV, POOL, FLAT, outputs=("flat",))


def absent(path: Path) -> None:
    path.unlink(missing_ok=True)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (not_onnx, "not an ONNX network"),
        (without_layer, "no fully connected layer at its end"),
        (absent, "cannot be read"),
    ],
)
def test_a_file_that_is_no_backbone_is_one_clear_line(
    tmp_path: Path, make: Callable[[Path], None], message: str
) -> None:
    path = tmp_path / "network.onnx"
    make(path)
    with pytest.raises(InputError, match=message) as caught:
        import_onnx(path, 2)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)
