from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from locationnet.errors import LocationNetError
from locationnet.train.backbones import operators, parameter_shapes, resnet
from locationnet.train.compat import mx
from locationnet.train.weights import find_checkpoint, load_weights, run_fields


def save(prefix: Path, epoch: int, *, drop: str = "", symbol: mx.sym.Symbol | None = None) -> None:
    symbol = symbol or resnet(18, 3, 32)
    shapes, states = parameter_shapes(symbol, 32)
    arguments = {name: mx.nd.ones(shape) for name, shape in shapes.items() if name != drop}
    auxiliary = {name: mx.nd.zeros(shape) for name, shape in states.items()}
    mx.model.save_checkpoint(str(prefix), epoch, symbol, arguments, auxiliary)


def test_a_symbol_beside_the_parameters_is_used_as_it_is(tmp_path: Path) -> None:
    save(tmp_path / "net", 7)
    data = json.loads((tmp_path / "net-symbol.json").read_text())
    for node in data["nodes"]:
        node["attr"] = node.pop("attrs", {})
        if node["name"] == "conv0":
            node["attr"]["workspace"] = "512"
    data["attrs"]["mxnet_version"] = ["int", 904]
    (tmp_path / "net-symbol.json").write_text(json.dumps(data))
    loaded = load_weights(tmp_path / "net", 7)
    loaded.check(32)
    assert operators(loaded.symbol) == operators(resnet(18, 3, 32))
    assert loaded.symbol.attr_dict()["conv0"]["workspace"] == "512"


def test_without_a_symbol_the_resnet_is_recognised(tmp_path: Path) -> None:
    save(tmp_path / "net", 7)
    (tmp_path / "net-symbol.json").unlink()
    loaded = load_weights(tmp_path / "net", 7)
    loaded.check(32)
    assert loaded.symbol.tojson() == resnet(18, 3, 32).tojson()
    np.testing.assert_array_equal(loaded.arguments["fc1_bias"].asnumpy(), np.ones(3))


def test_without_a_symbol_other_networks_are_not_recognised(tmp_path: Path) -> None:
    mx.nd.save(str(tmp_path / "net-0001.params"), {"arg:w": mx.nd.ones(3)})
    with pytest.raises(LocationNetError, match=r"net-symbol.json: missing, and of net-0001.params"):
        load_weights(tmp_path / "net", 1)


def test_a_missing_parameter_is_named(tmp_path: Path) -> None:
    save(tmp_path / "net", 1, drop="stage2_unit1_sc_weight")
    with pytest.raises(LocationNetError, match=r"lack stage2_unit1_sc_weight \(128, 64, 1, 1\)"):
        load_weights(tmp_path / "net", 1).check(32)


def test_a_parameter_of_another_shape_is_named(tmp_path: Path) -> None:
    save(tmp_path / "net", 1)
    resnet(18, 9, 32).save(str(tmp_path / "net-symbol.json"))
    with pytest.raises(LocationNetError, match=r"fc1_weight has shape \(3, 512\).*\(9, 512\)"):
        load_weights(tmp_path / "net", 1).check(32)


@pytest.mark.parametrize("content", [b"", b"\x00" * 40, b"PK\x03\x04 not MXNet"])
def test_a_corrupt_file_is_one_clear_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "net-0001.params").write_bytes(content)
    with pytest.raises(LocationNetError, match=r"net-0001.params: not") as caught:
        load_weights(tmp_path / "net", 1)
    assert "\n" not in str(caught.value)


def test_a_truncated_file_is_one_clear_line(tmp_path: Path) -> None:
    save(tmp_path / "net", 1)
    path = tmp_path / "net-0001.params"
    path.write_bytes(path.read_bytes()[:100_000])
    with pytest.raises(LocationNetError, match="not parameters saved by MXNet, or truncated"):
        load_weights(tmp_path / "net", 1)


def test_a_corrupt_symbol_is_one_clear_line(tmp_path: Path) -> None:
    save(tmp_path / "net", 1)
    (tmp_path / "net-symbol.json").write_text("{}")
    with pytest.raises(LocationNetError, match=r"net-symbol.json: not a symbol"):
        load_weights(tmp_path / "net", 1)


def test_a_network_with_another_input_is_refused(tmp_path: Path) -> None:
    symbol = mx.sym.softmax(mx.sym.FullyConnected(mx.sym.var("pixels"), num_hidden=2, name="fc1"))
    symbol.save(str(tmp_path / "net-symbol.json"))
    mx.nd.save(str(tmp_path / "net-0001.params"), {"arg:fc1_weight": mx.nd.ones((2, 3))})
    with pytest.raises(LocationNetError, match="no input named data"):
        load_weights(tmp_path / "net", 1)


def test_a_checkpoint_is_found_by_prefix_or_folder(tmp_path: Path) -> None:
    for name in ("checkpoint-0001.params", "checkpoint-0012.params", "other-0044.params"):
        (tmp_path / name).touch()
    assert find_checkpoint(tmp_path).epoch == 12
    assert find_checkpoint(tmp_path / "checkpoint", 1).epoch == 1
    assert find_checkpoint(tmp_path / "other").prefix == tmp_path / "other"
    (tmp_path / "best.json").write_text('{"epoch": 1}')
    assert find_checkpoint(tmp_path).epoch == 1
    assert find_checkpoint(tmp_path / "other").epoch == 44
    with pytest.raises(
        LocationNetError, match=r"checkpoint-0002.params: no such file; there is 1, 12"
    ):
        find_checkpoint(tmp_path, 2)
    with pytest.raises(LocationNetError, match="no checkpoint"):
        find_checkpoint(tmp_path / "nothing")
    (tmp_path / "best.json").write_text("[]")
    with pytest.raises(LocationNetError, match=r"best.json: does not name an epoch"):
        find_checkpoint(tmp_path)


def test_a_run_without_notes_has_none(tmp_path: Path) -> None:
    assert run_fields(tmp_path / "net") == {}
    (tmp_path / "net-run.json").write_text("{")
    with pytest.raises(LocationNetError, match=r"net-run.json: not JSON"):
        run_fields(tmp_path / "net")
