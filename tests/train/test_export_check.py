"""Networks of every kind are exported with random weights and compared with MXNet's answers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from locationnet.cli import app
from locationnet.errors import LocationNetError
from locationnet.model.sessions import OnnxSession
from locationnet.train.backbones import parameter_shapes, resnet
from locationnet.train.compat import mx
from locationnet.train.config import Settings
from locationnet.train.convert import PROBABILITIES, SourceNetwork
from locationnet.train.export_check import check_export
from locationnet.train.loop import train
from locationnet.train.symbols import with_norms_on_channels
from locationnet.train.weights import Weights, load_weights

SIZE = 24
Build = Callable[[Any], Any]
S = mx.sym


def convolved(data: Any, name: str, filters: int = 8, **how: Any) -> Any:
    usual: dict[str, Any] = {"kernel": (3, 3), "pad": (1, 1), "num_filter": filters}
    return S.Convolution(data, name=name, **{**usual, **how})


def pooled(data: Any) -> Any:
    return S.Flatten(S.Pooling(data, global_pool=True, kernel=(7, 7), pool_type="avg", name="gap"))


def ended(features: Any, **how: Any) -> Any:
    return S.SoftmaxOutput(
        S.FullyConnected(features, num_hidden=5, name="last", **how), name="softmax"
    )


def around(middle: Build) -> Any:
    """Build a network with two convolutions around what is tried."""
    return ended(pooled(convolved(middle(convolved(S.var("data"), "c1")), "c2")))


def with_one(operator: Any, **how: Any) -> Any:
    """Try one operator, named ``mid``."""
    return around(lambda x: operator(x, name="mid", **how))


def spelled(network: Any, operator: str, **attributes: str | None) -> Any:
    """Write attributes as people's files have them; None leaves one out."""
    graph = json.loads(network.tojson())
    for node in graph["nodes"]:
        if node["name"] == operator:
            for name, text in attributes.items():
                node.setdefault("attrs", {})[name] = text
                if text is None:
                    del node["attrs"][name]
    return S.load_json(json.dumps(graph))


def pooling(**how: Any) -> Any:
    usual: dict[str, Any] = {"kernel": (3, 4), "stride": (2, 2), "name": "mid"}
    return around(lambda x: S.Pooling(x, **{**usual, **how}))


def deconvolution(**how: Any) -> Any:
    usual: dict[str, Any] = {"kernel": (3, 3), "num_filter": 8, "name": "mid"}
    return around(lambda x: S.Deconvolution(x, **{**usual, **how}))


def norm(**attributes: str | None) -> Any:
    network = around(lambda x: S.BatchNorm(x, name="mid", fix_gamma=False))
    return spelled(network, "mid", **attributes)


def shared_slope() -> Any:
    return around(
        lambda x: S.LeakyReLU(x, S.var("mid_gamma", shape=(1,)), act_type="prelu", name="mid")
    )


def unflattened(**how: Any) -> Any:
    data = convolved(S.var("data"), "c1")
    return ended(S.Pooling(data, kernel=(4, 4), stride=(4, 4), pool_type="avg"), **how)


def channels_shuffled() -> Any:
    return around(
        lambda x: S.Reshape(
            S.SwapAxis(S.Reshape(x, shape=(0, -4, 2, -1, -2)), dim1=1, dim2=-3), shape=(0, -3, -2)
        )
    )


def of_unlucky_names() -> Any:
    halves = S.SliceChannel(convolved(S.var("data"), "images"), num_outputs=2, name="mid")
    joined = S.Concat(S.relu(halves[1], name="mid0"), S.relu(halves[0], name="mid0"), name="mid1")
    features = S.FullyConnected(pooled(joined), num_hidden=6, name="embedding")
    return S.SoftmaxOutput(
        S.FullyConnected(features, num_hidden=5, name="probabilities"), name="prob"
    )


def with_shared_weights() -> Any:
    weight, bias = S.var("both_weight"), S.var("both_bias")
    how = {"kernel": (3, 3), "pad": (1, 1), "num_filter": 8}
    return around(
        lambda x: S.Convolution(S.relu(S.Convolution(x, weight, bias, **how)), weight, bias, **how)
    )


def with_constants() -> Any:
    def middle(data: Any) -> Any:
        scale = S.reshape(S.arange(8), shape=(1, 8, 1, 1)) + S.full((1, 8, 1, 1), 3.0)
        return S.broadcast_add(S.broadcast_mul(data, scale), S.ones((1, 8, 1, 1)))

    return around(middle)


def several_outputs() -> Any:
    features = pooled(convolved(S.var("data"), "c1"))
    return S.Group([S.BlockGrad(features, name="features"), ended(features)])


EXPORTED: dict[str, Any] = {
    "prelu": with_one(S.LeakyReLU, act_type="prelu"),
    "prelu-shared": shared_slope(),
    "prelu-flat": ended(
        S.LeakyReLU(S.FullyConnected(S.var("data"), num_hidden=7), act_type="prelu")
    ),
    "rrelu": around(lambda x: S.LeakyReLU(x, act_type="rrelu", name="mid")[0]),
    **{kind: with_one(S.LeakyReLU, act_type=kind) for kind in ("leaky", "elu", "selu", "gelu")},
    **{
        kind: with_one(S.Activation, act_type=kind)
        for kind in ("relu", "sigmoid", "tanh", "softrelu", "softsign")
    },
    **{
        f"pool-{kind}-{rule}-{''.join(map(str, pad))}": (
            pooling(
                pool_type=kind,
                pooling_convention=rule,
                pad=pad,
            )
        )
        for kind in ("max", "avg", "sum")
        for rule in ("valid", "full")
        for pad in ((0, 0), (1, 1), (1, 0))
    },
    "pool-avg-full-uncounted": pooling(
        pool_type="avg", pooling_convention="full", pad=(1, 1), count_include_pad=False
    ),
    "pool-lp": pooling(pool_type="lp", p_value=2, pooling_convention="full"),
    "pool-global-sum": pooling(pool_type="sum", global_pool=True),
    "pool-global-1": spelled(pooling(pool_type="avg"), "mid", global_pool="1"),
    "pool-spelled": spelled(
        pooling(pool_type="avg"), "mid", count_include_pad="0", kernel="[3, 3]", pad="(1L, 1L)"
    ),
    "pool-v1": around(lambda x: S.Pooling_v1(x, kernel=(3, 3), stride=(2, 2), pool_type="sum")),
    "deconvolution": deconvolution(),
    "deconvolution-bias": deconvolution(no_bias=False, stride=(2, 2), pad=(1, 1)),
    "deconvolution-adj": deconvolution(stride=(3, 2), pad=(0, 1), adj=(2, 1)),
    "deconvolution-groups": deconvolution(num_group=4),
    "deconvolution-dilated": deconvolution(dilate=(2, 2)),
    "fully-connected-4d": unflattened(),
    "fully-connected-true": spelled(unflattened(), "last", flatten="true"),
    "fully-connected-inside": ended(
        S.relu(S.FullyConnected(convolved(S.var("data"), "c1"), num_hidden=6, name="mid"))
    ),
    "fully-connected-3d": ended(
        S.mean(
            S.FullyConnected(
                S.Reshape(convolved(S.var("data"), "c1"), shape=(0, 0, -1)),
                num_hidden=6,
                flatten=False,
            ),
            axis=1,
        )
    ),
    "fully-connected-flat": ended(pooled(S.var("data")), flatten=False),
    "no-bias-1": spelled(ended(pooled(S.var("data")), no_bias=True), "last", no_bias="1"),
    "convolution-no-bias": spelled(
        around(lambda x: convolved(x, "mid", no_bias=True)), "mid", no_bias="true", layout="None"
    ),
    "convolution-groups": around(
        lambda x: convolved(x, "mid", num_group=4, dilate=(2, 2), stride=(2, 1))
    ),
    **{
        f"fix-gamma-{text}": norm(fix_gamma=text)
        for text in ("True", "true", "TRUE", "1", None, "False", "false", "0")
    },
    "norm-no-eps": norm(eps=None, momentum=None),
    "norm-axis-3": norm(axis="3"),
    "norm-axis-minus-1": norm(axis="-1"),
    "norm-flat": ended(S.BatchNorm(pooled(S.var("data")), axis=-1, name="mid")),
    "norm-of-data": ended(pooled(convolved(S.BatchNorm(S.var("data")), "c1"))),
    "norm-v1": with_one(S.BatchNorm_v1),
    "norm-of-gpus": around(lambda x: S.contrib.SyncBatchNorm(x, name="mid", key="k", ndev=1)),
    **{
        f"l2-{mode}": with_one(S.L2Normalization, mode=mode, eps=0.5)
        for mode in ("instance", "channel", "spatial")
    },
    "lrn": with_one(S.LRN, nsize=5),
    "instance-norm": with_one(S.InstanceNorm),
    "layer-norm": with_one(S.LayerNorm),
    **{
        f"reshape-{number}": ended(
            S.Flatten(S.Reshape(convolved(S.var("data"), "c1"), shape=shape))
        )
        for number, shape in enumerate(
            [(0, -1), (0, 0, -3), (0, -4, 2, 4, 0, 0), (0, -4, -1, 2, -2), (0, -3, -2), (-2,)]
        )
    },
    "reshape-reverse": ended(
        S.Flatten(S.Reshape(convolved(S.var("data"), "c1"), shape=(-1, 8, 0, 0), reverse=True))
    ),
    "shuffle": channels_shuffled(),
    **{
        f"{name}-{number}": ended(
            S.Flatten(getattr(S, name)(S.tanh(convolved(S.var("data"), "c1")) * 0.02, **how))
        )
        for name in ("mean", "sum", "max", "min")
        for number, how in enumerate(
            [
                dict[str, Any](axis=(2, 3)),
                {"axis": -1, "keepdims": True},
                {"axis": (0, 1), "exclude": True},
            ]
        )
    },
    "concat": around(lambda x: S.Concat(x, S.tanh(x), dim=-1)),
    "old-names": around(lambda x: S.ElementWiseSum(x, S.elemwise_add(x, S.tanh(x)))),
    "scalars": around(lambda x: (2 - x) * 3 / (x * x + 1) - x / 2 + x**2),
    "upsampling": around(lambda x: S.UpSampling(x, scale=2, sample_type="nearest")),
    "crop": around(lambda x: S.Crop(x, h_w=(10, 12), offset=(2, 3))),
    "clip": around(lambda x: S.clip(x, 0, 6)),
    "dropout": around(lambda x: S.Dropout(x, p=0.3)),
    "softmax-inside": around(lambda x: S.SoftmaxActivation(x, mode="channel")),
    "whole-numbers": around(
        lambda x: S.Cast(S.Cast(S.clip(x * 9, -9, 9), dtype="int32"), dtype="float32") + x
    ),
    "shared-weights": with_shared_weights(),
    "constants": with_constants(),
    "unlucky-names": of_unlucky_names(),
    "several-outputs": several_outputs(),
    "softmax": S.softmax(S.FullyConnected(pooled(S.var("data")), num_hidden=5)),
}


def weights_of(network: Any) -> Weights:
    """Give a network weights as training leaves them; scales and statistics have moved."""
    random = np.random.default_rng(5)
    features = network.get_internals()
    arguments, _, states = features.infer_shape(data=(1, 3, SIZE, SIZE))

    def values(names: list[str], shapes: list[tuple[int, ...]], low: float) -> dict[str, Any]:
        return {
            name: mx.nd.array(random.uniform(0.2 if "var" in name else low, 0.9, shape) * 0.3)
            for name, shape in zip(names, shapes, strict=True)
            if name != "data" and not name.endswith("_label")
        }

    return Weights(
        network,
        values(network.list_arguments(), arguments, -0.7),
        values(network.list_auxiliary_states(), states, -0.7),
    )


@pytest.mark.parametrize("kind", EXPORTED)
def test_a_network_is_exported_exactly(kind: str, tmp_path: Path) -> None:
    network = EXPORTED[kind]
    check_export(with_norms_on_channels(network), SIZE)
    weights = weights_of(network)
    plain = Weights(with_norms_on_channels(network), weights.arguments, weights.auxiliary)
    SourceNetwork(plain, SIZE).write_onnx(tmp_path / "model.onnx")
    images = np.random.default_rng(1).standard_normal((3, 3, SIZE, SIZE), np.float32)
    found = OnnxSession(tmp_path / "model.onnx").run(images)[PROBABILITIES].astype(np.float32)
    # MXNet itself, on the network as its file has it.
    if kind.startswith("norm-axis"):
        network = plain.symbol  # on CPUs, MXNet crashes otherwise
    known = {**weights.arguments, **weights.auxiliary, "data": mx.nd.array(images)}
    inputs = [known.get(name, mx.nd.zeros(3)) for name in network.list_inputs()]
    expected = mx.nd.CachedOp(network)(*inputs)
    expected = expected[-1] if isinstance(expected, list) else expected
    np.testing.assert_allclose(found, expected.asnumpy(), atol=1e-5)
    assert expected.asnumpy().std(0).max() > 1e-6


NOISE = S.random.normal(shape=(1, 8, 1, 1), name="mid")
REFUSED: dict[str, tuple[Any, str]] = {
    "dropout": (
        with_one(S.Dropout, mode="always"),
        r"mid \(Dropout\) cannot become ONNX: .*mode",
    ),
    "random": (
        around(lambda x: S.broadcast_add(x, NOISE)),
        r"mid \(_random_normal\) is random when the network answers too",
    ),
    "unknown": (
        with_one(S.GroupNorm, num_groups=2),
        r"mid \(GroupNorm\) cannot become ONNX: No conversion function",
    ),
    "half-known": (
        with_one(S.Crop, h_w=(9, 9), center_crop=True),
        r"mid \(Crop\) cannot become ONNX: .*center_crop",
    ),
    "known-wrongly": (
        around(
            lambda x: S.Pooling_v1(
                x,
                kernel=(3, 3),
                stride=(2, 2),
                pool_type="avg",
                pooling_convention="full",
                name="mid",
            )
        ),
        r"mid \(Pooling_v1\) becomes another operator in ONNX: its numbers differ",
    ),
    "not-on-cpus": (
        deconvolution(stride=(2, 2), target_shape=(30, 31)),
        r"MXNet cannot compute mid \(Deconvolution\)",
    ),
    "nan": (
        with_one(S.sqrt),
        r"mid \(sqrt\) answers NaN or infinity",
    ),
    "flatten-off": (
        unflattened(flatten=False),
        r"last \(FullyConnected\) answers \(8, 6, 5\) for each image",
    ),
    "temperature": (
        S.softmax(
            S.FullyConnected(pooled(S.var("data")), num_hidden=5), temperature=3.0, name="end"
        ),
        r"end \(softmax\) is another end than a plain softmax",
    ),
    "two-classifiers": (
        S.Group([ended(pooled(S.var("data"))), around(lambda x: x)]),
        r"several classifiers",
    ),
    "regression": (
        S.LinearRegressionOutput(S.FullyConnected(S.var("data"), num_hidden=5), name="end"),
        r"ends with end \(LinearRegressionOutput\)",
    ),
    "too-small": (
        pooling(kernel=(40, 40), pool_type="max"),
        r"takes no images of 24 px",
    ),
}


def test_what_computed_in_float16_is_exported_in_float32(tmp_path: Path) -> None:
    def network(*types: str) -> Any:
        data = S.var("data", dtype=types[0])
        for dtype in types:
            data = S.Cast(S.amp_cast(data, dtype=dtype), dtype=dtype)
        return ended(S.Cast(pooled(convolved(data, "c1")), dtype="float32"))

    images = np.random.default_rng(1).standard_normal((3, 3, SIZE, SIZE), np.float32)
    weights = weights_of(network("float32"))
    found = []
    for types in (("float16", "float16"), ("float32",)):
        half = Weights(network(*types), weights.arguments, {})
        SourceNetwork(half, SIZE).write_onnx(tmp_path / "model.onnx")
        found.append(OnnxSession(tmp_path / "model.onnx").run(images)[PROBABILITIES])
    assert np.array_equal(found[0], found[1])


@pytest.mark.parametrize("kind", REFUSED)
def test_a_network_that_cannot_be_exported_exactly_is_named_in_one_line(
    kind: str, capfd: pytest.CaptureFixture[str]
) -> None:
    network, message = REFUSED[kind]
    with pytest.raises(LocationNetError, match=message) as caught:
        check_export(network, SIZE)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_weights_that_were_learned_are_tried_where_random_ones_give_no_numbers() -> None:
    network = with_one(S.sqrt)
    ones = {name: mx.nd.ones(shape) for name, shape in parameter_shapes(network, SIZE)[0].items()}
    # Still of both signs, and so is their sum; a bias that is large makes all of it positive.
    ones["c1_weight"][:], ones["c1_bias"][:] = 1e-3, 1e3
    before = {name: value.asnumpy() for name, value in ones.items()}
    check_export(network, SIZE, ones)
    assert all(np.array_equal(value.asnumpy(), before[name]) for name, value in ones.items())


def test_a_symbol_of_an_old_mxnet_is_read(tmp_path: Path) -> None:
    network = norm(fix_gamma="true")
    graph = json.loads(network.tojson())
    for node in graph["nodes"]:
        node["attr"] = node.pop("attrs", {})
    graph["attrs"]["mxnet_version"] = ["int", 904]
    (tmp_path / "old-symbol.json").write_text(json.dumps(graph))
    weights = weights_of(network)
    saved = {f"arg:{name}": value for name, value in weights.arguments.items()}
    saved |= {f"aux:{name}": value for name, value in weights.auxiliary.items()}
    mx.nd.save(str(tmp_path / "old-0001.params"), saved)
    check_export(load_weights(tmp_path / "old", 1).symbol, SIZE)


def write(network: Any, prefix: Path) -> Path:
    network.save(f"{prefix}-symbol.json")
    weights = weights_of(network)
    saved = {f"arg:{name}": value for name, value in weights.arguments.items()}
    saved |= {f"aux:{name}": value for name, value in weights.auxiliary.items()}
    mx.nd.save(f"{prefix}-0003.params", saved)
    return Path(f"{prefix}-0003.params")


def test_training_says_so_before_it_begins(
    make_settings: Callable[..., Settings], tmp_path: Path
) -> None:
    init = write(REFUSED["dropout"][0], tmp_path / "always")
    settings = make_settings(init=init, image_size=SIZE)
    with pytest.raises(LocationNetError, match=r"always-0003.params: no bundle .* mid \(Dropout\)"):
        train(settings)
    assert not settings.out.exists()


def test_the_command_says_it_in_one_line(
    make_settings: Callable[..., Settings], tmp_path: Path
) -> None:
    init = write(REFUSED["unknown"][0], tmp_path / "grouped")
    settings = make_settings()
    words = ["train", settings.train, "--val", settings.validation, "--init", init]
    words += ["--image-size", SIZE, "-o", tmp_path / "run"]
    answer = CliRunner().invoke(app, [str(word) for word in words])
    assert isinstance(answer.exception, LocationNetError)
    assert "mid (GroupNorm)" in str(answer.exception)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("kind", ["prelu", "norm-axis-3", "unlucky-names", "fix-gamma-true"])
def test_what_may_be_trained_is_exported_afterwards(
    kind: str, make_settings: Callable[..., Settings], tmp_path: Path
) -> None:
    init = write(EXPORTED[kind], tmp_path / "net")
    outcome = train(make_settings(init=init, image_size=SIZE, epochs=1))
    answer = CliRunner().invoke(
        app, ["export", str(outcome.run), "-o", str(tmp_path / "bundle")], catch_exceptions=False
    )
    assert answer.exit_code == 0, answer.output


def test_the_2017_network_passes() -> None:
    check_export(resnet(101, 6, 64), 64)
