"""CLIP's image tower against a second implementation, and files that are none."""

from __future__ import annotations

import json
import shutil
import struct
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from safetensors.numpy import save_file

from locationnet.errors import InputError
from locationnet.export.quantize import _ALL_LAYERS, _quantise
from locationnet.importing.clip import add_tower, read_tower
from locationnet.importing.onnx_stream import OnnxStream
from locationnet.importing.tensor_file import open_tensors
from locationnet.model.sessions import OnnxSession, OpenVinoSession, Session
from tests.importing.clip_files import (
    CONFIG,
    PROJECTION,
    SIZE,
    run_tower,
    tower_weights,
    write_clip,
)

Floats = NDArray[np.float32]


def written(clip: Path, path: Path, *, half: bool) -> Path:
    tower = read_tower(clip / "config.json")
    with open_tensors(clip / "model.safetensors") as tensors, OnnxStream(path, half=half) as graph:
        seen, width = add_tower(graph, tower, tensors, "images", lambda *_: None)
        graph.finish("images", tower.image_size, {seen: width})
    return path


def answer(session: Session, images: Floats) -> Floats:
    (seen,) = session.run(images).values()
    return np.asarray(seen, np.float32)


@pytest.fixture
def images() -> Floats:
    return np.random.default_rng(5).normal(0, 1, (3, 3, SIZE, SIZE)).astype(np.float32)


def test_the_tower_answers_as_a_second_implementation_does(
    small_clip: Path, tmp_path: Path, images: Floats
) -> None:
    path = written(small_clip, tmp_path / "tower.onnx", half=False)
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    expected = run_tower(tower_weights(), images)
    assert expected.std() > 0.5  # photos are told apart
    found = answer(OnnxSession(path), images)
    assert found.shape == (3, PROJECTION)
    assert np.abs(found - expected).max() < 1e-4
    # One at a time is the same: nothing depends on how many there are.
    assert np.abs(answer(OnnxSession(path), images[1:2]) - expected[1]).max() < 1e-4


def test_half_the_size_answers_almost_the_same(
    small_clip: Path, tmp_path: Path, images: Floats
) -> None:
    whole = written(small_clip, tmp_path / "whole.onnx", half=False)
    half = written(small_clip, tmp_path / "half.onnx", half=True)
    onnx.checker.check_model(onnx.load(half), full_check=True)
    assert half.stat().st_size < 0.6 * whole.stat().st_size
    expected = run_tower(tower_weights(), images)
    found = answer(OnnxSession(half), images)
    assert 0 < np.abs(found - expected).max() < 0.02


def test_openvino_reads_the_file_too(small_clip: Path, tmp_path: Path, images: Floats) -> None:
    pytest.importorskip("openvino", reason="needs the extra 'openvino'")
    path = written(small_clip, tmp_path / "tower.onnx", half=True)
    found = answer(OpenVinoSession(path), images)
    assert np.abs(found - answer(OnnxSession(path), images)).max() < 1e-3


def test_the_tower_alone_is_read_as_well(small_clip: Path, tmp_path: Path) -> None:
    alone = {"model_type": "clip_vision_model", **CONFIG["vision_config"]}
    (tmp_path / "config.json").write_text(json.dumps(alone))
    assert read_tower(tmp_path / "config.json") == read_tower(small_clip / "config.json")
    # What a file leaves out is as in the library that wrote it.
    (tmp_path / "config.json").write_text('{"model_type": "clip", "vision_config": {}}')
    assert read_tower(tmp_path / "config.json").patches == 49


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "model_type is None, expected 'clip'"),
        ('{"model_type": "siglip"}', "model_type is 'siglip', expected 'clip'"),
        ('{"model_type": "clip", "vision_config": {"hidden_act": "gelu"}}', "hidden_act: "),
        ('{"model_type": "clip", "vision_config": {"hidden_size": 0}}', "hidden_size: "),
        ('{"model_type": "clip", "vision_config": {"hidden_size": 100}}', "not a multiple of"),
        ('{"model_type": "clip", "vision_config": {"patch_size": 999}}', "smaller than patch_size"),
        ('{"model_type": "clip", "vision_config": {"num_channels": 4}}', "num_channels: "),
        ('{"model_type": "clip", "vision_config": 3}', "vision_config: "),
        ('{"model_type": "clip", "vision_config": {"image_size": 100000}}', "image_size: "),
    ],
)  # fmt: skip
def test_a_config_that_is_not_clips_is_one_line(text: str, why: str, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(text)
    with pytest.raises(InputError) as raised:
        read_tower(path)
    assert str(raised.value).startswith(f"{path}: ")
    assert why in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_config_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"config.json: cannot be read \(No such file"):
        read_tower(tmp_path / "config.json")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"visual_projection.weight": None}, "contains no tensor visual_projection.weight"),
        (
            {"vision_model.encoder.layers.1.mlp.fc1.bias": np.zeros(3, np.float32)},
            "tensor vision_model.encoder.layers.1.mlp.fc1.bias: is 3, expected 128",
        ),
        (
            {"vision_model.embeddings.position_embedding.weight": np.zeros((50, 64), np.float32)},
            "is 50 x 64, expected 17 x 64",
        ),
        ({"vision_model.post_layernorm.bias": np.zeros(64, np.int32)}, "holds int32, expected"),
        ({"vision_model.post_layernorm.bias": np.full(64, np.nan, np.float32)}, "holds NaN"),
        (
            {"vision_model.encoder.layers.0.mlp.fc1.weight": np.full((128, 64), 1e5, np.float32)},
            "holds numbers above 65504; import it with --weights f32",
        ),
    ],
)
def test_a_weight_that_does_not_fit_is_one_line(
    change: dict[str, Any], why: str, tmp_path: Path
) -> None:
    weights = {
        name: tensor for name, tensor in {**tower_weights(), **change}.items() if tensor is not None
    }
    clip = write_clip(tmp_path / "clip", weights)
    with pytest.raises(InputError) as raised:
        written(clip, tmp_path / "tower.onnx", half=True)
    assert why in str(raised.value)
    assert "\n" not in str(raised.value)


def test_float16_weights_are_read(small_clip: Path, tmp_path: Path) -> None:
    halves = {name: tensor.astype(np.float16) for name, tensor in tower_weights().items()}
    clip = write_clip(tmp_path / "clip", halves)
    made = written(clip, tmp_path / "tower.onnx", half=True)
    images = np.ones((1, 3, SIZE, SIZE), np.float32)
    expected = answer(OnnxSession(written(small_clip, tmp_path / "other.onnx", half=True)), images)
    assert np.abs(answer(OnnxSession(made), images) - expected).max() < 0.02


@pytest.mark.parametrize("length", [0, 4, 8, 200, -1000])
def test_a_truncated_file_is_one_line(length: int, small_clip: Path, tmp_path: Path) -> None:
    clip = Path(shutil.copytree(small_clip, tmp_path / "clip"))
    path = clip / "model.safetensors"
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(InputError, match=r"model.safetensors: not a whole safetensors") as raised:
        written(clip, tmp_path / "tower.onnx", half=True)
    assert "\n" not in str(raised.value)


def test_what_numpy_lacks_is_one_line(small_clip: Path, tmp_path: Path) -> None:
    clip = Path(shutil.copytree(small_clip, tmp_path / "clip"))
    path = clip / "model.safetensors"
    save_file({"visual_projection.weight": np.zeros((2, 2), np.float16)}, path)
    content = path.read_bytes().replace(b'"F16"', b'"BF16"').replace(b"} ", b"}")
    header = content[8:].split(b"}}")[0] + b"}}"
    body = bytes(8)
    path.write_bytes(struct.pack("<Q", len(header)) + header + body)
    with (
        open_tensors(path) as tensors,
        pytest.raises(InputError, match=r"visual_projection.weight cannot be read") as raised,
    ):
        tensors.get("visual_projection.weight", 2, 2)
    assert "\n" not in str(raised.value)


def test_a_file_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    missing = tmp_path / "model.safetensors"
    with pytest.raises(InputError, match="no such file"), open_tensors(missing):
        pass


@pytest.mark.parametrize("half", [True, False])
def test_int8_takes_the_products_with_weights_alone(
    half: bool, small_clip: Path, tmp_path: Path, images: Floats
) -> None:
    model, out = written(small_clip, tmp_path / "tower.onnx", half=half), tmp_path / "int8.onnx"
    _quantise(model, out, _ALL_LAYERS, iter([images, images[::-1]]))
    stored = {tensor.name: tensor for tensor in onnx.load(out).graph.initializer}
    eighth = [
        name
        for name, tensor in stored.items()
        if tensor.data_type == onnx.TensorProto.INT8 and len(tensor.dims) > 1
    ]
    # Six in each of two layers, the patches and the projection; not what attention multiplies.
    assert len(eighth) == 6 * 2 + 2
    assert out.stat().st_size < 0.5 * tower_bytes()
    expected = run_tower(tower_weights(), images)
    found = answer(OnnxSession(out), images)
    cosines = (found * expected).sum(axis=1)
    cosines /= np.linalg.norm(found, axis=1) * np.linalg.norm(expected, axis=1)
    assert cosines.min() > 0.98


def tower_bytes() -> int:
    return sum(tensor.nbytes for name, tensor in tower_weights().items() if "vis" in name)
