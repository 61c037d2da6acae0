"""Single layers of MXNet's symbols, and symbols that are none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from locationnet.errors import InputError
from locationnet.importing.layers import Layer, Window
from locationnet.importing.symbol_layers import symbol_layers
from locationnet.train.compat import mx

S = mx.sym
X, ROW = S.var("data"), S.var("row")
ARRAYS = {"arg:row": np.array([1.0, 2.0, 4.0]), "aux:column": np.ones((3, 1, 1))}


def layer_of(folder: Path, symbol: Any) -> Layer:
    symbol.save(str(folder / "net.json"))
    [layer] = symbol_layers(folder / "net.json", ARRAYS)[0].layers
    return layer


BY_CHANNEL = S.reshape(ROW, shape=(1, 3, 1, 1))


@pytest.mark.parametrize(
    ("symbol", "scale", "shift"),
    [
        (S.broadcast_sub(X, BY_CHANNEL), [1, 1, 1], [-1, -2, -4]),
        (S.broadcast_div(X, BY_CHANNEL), [1, 0.5, 0.25], [0, 0, 0]),
        (S.broadcast_mul(S.sqrt(BY_CHANNEL + 3), X), np.sqrt([4, 5, 7]), [0, 0, 0]),
        (S.broadcast_mul(S.rsqrt(BY_CHANNEL), X), [1, 0.5**0.5, 0.5], [0, 0, 0]),
        (X - 2, [1], [-2]),
        (2 - X, [-1], [2]),
        (X / 4, [0.25], [0]),
        (X * 255, [255], [0]),
        (S.Dropout(S.BlockGrad(X)) + 1, [1], [1]),
    ],
)
def test_arithmetic_is_a_norm(tmp_path: Path, symbol: Any, scale: Any, shift: Any) -> None:
    norm = layer_of(tmp_path, symbol).norm
    assert np.allclose(norm.scale, scale)
    assert np.allclose(norm.shift, shift)


def test_a_border_of_its_own_belongs_to_the_pooling_behind_it(tmp_path: Path) -> None:
    padded = S.Pad(X, mode="constant", constant_value=0, pad_width=(0, 0, 0, 0, 1, 0, 1, 0))
    how = {"kernel": (3, 3), "stride": (2, 2), "pool_type": "max", "pooling_convention": "full"}
    layer = layer_of(tmp_path, S.Pooling(padded, **how))
    assert layer.window == Window((3, 3), (2, 2), (1, 1), (0, 0), round_up=True)
    assert layer.window.result(112) == (56, 56)


def test_the_output_that_is_a_softmax_is_taken(tmp_path: Path) -> None:
    group = S.Group([S.Flatten(X), S.softmax(X)])
    group.save(str(tmp_path / "net.json"))
    layers, output = symbol_layers(tmp_path / "net.json", {})
    assert output == 1
    assert [layer.kind for layer in layers.layers] == ["softmax"]


NODE = {"op": "null", "name": "data", "inputs": []}
RELU = {"op": "relu", "name": "r", "inputs": [[0, 0, 0]]}


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        ("", "not a symbol of MXNet"),
        ([], "not a symbol of MXNet"),
        ({"nodes": [NODE, RELU]}, "not a symbol of MXNet"),
        ({"nodes": [NODE, RELU], "heads": []}, r"not a symbol of MXNet \(it has no output\)"),
        ({"nodes": [NODE], "heads": [[7, 0]]}, "not a symbol of MXNet"),
        (
            {"nodes": [{**NODE, "inputs": [[0, 0]]}], "heads": [[0, 0]]},
            "fed by one that comes later",
        ),
        ({"nodes": [{**NODE, "name": "row"}], "heads": [[0, 0]]}, "it takes no image"),
        ({"nodes": [NODE, {**RELU, "inputs": []}], "heads": [[1, 0]]}, "it takes no image"),
        ({"nodes": [NODE, {**RELU, "op": "LRN"}], "heads": [[1, 0]]}, r"r \(LRN\) is no layer"),
        ({"nodes": [NODE, {**RELU, "op": "Pooling"}], "heads": [[1, 0]]}, "r (Pooling)"),
    ],
)
def test_what_is_no_symbol_is_one_line(tmp_path: Path, graph: Any, message: str) -> None:
    path = tmp_path / "net.json"
    path.write_text(graph if isinstance(graph, str) else json.dumps(graph))
    if message == "r (Pooling)":  # of one pixel each: nothing is wrong with it yet
        assert symbol_layers(path, ARRAYS)[0].layers[0].kind == "max pooling"
        return
    with pytest.raises(InputError, match=rf"net\.json: .*{message}|net\.json: {message}"):
        symbol_layers(path, ARRAYS)


values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)
nodes = st.fixed_dictionaries(
    {
        "op": st.sampled_from(["null", "relu", "Convolution", "BatchNorm", "Pooling", "_plus"])
        | values,
        "name": st.text(max_size=2) | values,
        "inputs": st.lists(st.lists(st.integers(-1, 3), max_size=3), max_size=3) | values,
    },
    optional={"attrs": st.dictionaries(st.sampled_from(["kernel", "pad", "layout"]), values)},
)


@given(st.lists(nodes, max_size=4), st.lists(st.lists(st.integers(-1, 3), max_size=2), max_size=2))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_any_json_is_read_or_one_line(tmp_path: Path, made: list[Any], heads: list[Any]) -> None:
    path = tmp_path / "net.json"
    path.write_text(json.dumps({"nodes": made, "heads": heads}))
    try:
        symbol_layers(path, ARRAYS)
    except InputError as error:
        assert str(error).startswith(f"{path}: ")
