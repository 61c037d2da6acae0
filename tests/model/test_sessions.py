from __future__ import annotations

import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from locationnet.errors import BundleError, MissingExtraError
from locationnet.model import sessions
from locationnet.model.locator import load_model
from locationnet.model.sessions import OnnxSession, OpenVinoSession, can_run

needs_openvino = pytest.mark.skipif(
    find_spec("openvino") is None, reason="OpenVINO is not installed"
)
IMAGES = np.random.default_rng(0).uniform(-1, 1, (6, 3, 32, 32)).astype(np.float32)
OFFER = {
    "runtime": "openvino",
    "allowed": True,
    "photos": 400,
    "top1_agreement": 0.999,
    "metric_change": {"top1": 0.0},
}


@pytest.fixture
def any_cpu() -> Any:
    can_run.cache_clear()
    yield
    can_run.cache_clear()


@needs_openvino
def test_openvino_runs_as_many_inferences_at_a_time_as_there_are_cores(tiny_bundle: Path) -> None:
    cores = len(os.sched_getaffinity(0))
    session = OpenVinoSession(tiny_bundle / "model.onnx")
    assert session._network.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS") == cores
    session = OpenVinoSession(tiny_bundle / "model.onnx", threads=cores)
    assert session._network.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS") == 1


@needs_openvino
def test_both_runtimes_give_the_same_answers(tiny_bundle: Path) -> None:
    path = tiny_bundle / "model.onnx"
    one, other = OnnxSession(path), OpenVinoSession(path)
    assert one.output_names == other.output_names == ["probabilities"]
    expected, found = (
        np.asarray(session.run(IMAGES)["probabilities"], np.float32) for session in (one, other)
    )
    np.testing.assert_allclose(found, expected, atol=1e-6)


@needs_openvino
def test_openvino_answers_several_threads_at_once(tiny_bundle: Path) -> None:
    session = OpenVinoSession(tiny_bundle / "model.onnx")
    expected = [session.run(image[None])["probabilities"] for image in IMAGES]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda image: session.run(image[None]), list(IMAGES) * 20))
    for index, answers in enumerate(found):
        np.testing.assert_array_equal(answers["probabilities"], expected[index % len(IMAGES)])


@needs_openvino
def test_what_openvino_cannot_load_is_named(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"nothing")
    with pytest.raises(BundleError, match=r"model.onnx: not a network that OpenVINO can load"):
        OpenVinoSession(tmp_path / "model.onnx")


def test_a_missing_openvino_names_the_extra(
    tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(MissingExtraError, match=r"locationnet\[openvino\]"):
        OpenVinoSession(tiny_bundle / "model.onnx")


@pytest.mark.parametrize(
    ("flags", "precision", "expected"),
    [
        ("flags\t\t: fpu avx2 amx_bf16 amx_tile", "bf16", True),
        ("flags\t\t: fpu avx2 avx512f", "bf16", False),
        ("flags\t\t: fpu avx2 avx_vnni", "int8", True),
        ("flags\t\t: fpu avx2", "int8", False),
        ("Features\t: fp asimd asimddp", "int8", True),
        ("no such line", "int8", False),
    ],
)
def test_the_cpu_must_have_the_instructions(
    any_cpu: None,
    monkeypatch: pytest.MonkeyPatch,
    flags: str,
    precision: str,
    expected: bool,
) -> None:
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: f"processor\t: 0\n{flags}\n")
    assert can_run("onnxruntime", precision) is expected


def test_without_the_runtime_a_precision_cannot_be_run(
    any_cpu: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "find_spec", lambda name: None)
    assert not can_run("openvino", "bf16")


@needs_openvino
def test_a_locator_takes_a_precision_that_bundle_and_machine_allow(
    make_bundle: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = make_bundle(precisions={"bf16": OFFER})
    monkeypatch.setattr("locationnet.model.network.can_run", lambda runtime, precision: True)
    assert load_model(bundle).precision == "bf16"
    assert load_model(bundle, precision="f32").precision == "f32"
    monkeypatch.setattr("locationnet.model.network.can_run", lambda runtime, precision: False)
    assert load_model(bundle).precision == "f32"
    with pytest.raises(BundleError, match="bf16 is measured, but this machine cannot run it"):
        load_model(bundle, precision="bf16")


def test_a_precision_that_lost_too_much_is_never_taken(
    make_bundle: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = make_bundle(precisions={"bf16": {**OFFER, "allowed": False}})
    monkeypatch.setattr("locationnet.model.network.can_run", lambda runtime, precision: True)
    assert load_model(bundle).precision == "f32"
    with pytest.raises(BundleError, match="bf16 is measured, but it costs too much accuracy"):
        load_model(bundle, precision="bf16")


def test_a_precision_in_a_file_that_is_not_there_is_refused(
    make_bundle: Callable[..., Path],
) -> None:
    offer = {**OFFER, "runtime": "onnxruntime", "file": "model-int8.onnx"}
    with pytest.raises(BundleError, match=r"files must list model-int8.onnx"):
        load_model(make_bundle(precisions={"int8": offer}))
