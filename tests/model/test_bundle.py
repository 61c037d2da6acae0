"""What a bundle must hold, and what is said when it does not."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from locationnet.errors import BundleError
from locationnet.model.bundle import Bundle, available_models
from locationnet.model.locator import load_model
from locationnet.model.manifest import write_manifest


@pytest.fixture
def bundle(tiny_bundle: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(tiny_bundle, tmp_path / "bundle"))


def _edit(bundle: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = bundle / "manifest.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(manifest))


def _reseal(bundle: Path) -> None:
    """Write the checksums anew after a change that is to be found by other means."""
    manifest = json.loads((bundle / "manifest.json").read_text())
    del manifest["files"]
    write_manifest(bundle, manifest)


def test_the_demo_ships_with_the_package() -> None:
    assert "demo" in available_models()
    assert Bundle.open().manifest.name == "demo"


def test_a_whole_bundle_passes(bundle: Path) -> None:
    Bundle.open(bundle).verify()


@pytest.mark.parametrize("name", ["model.onnx", "grids.txt", "prior.npy", "places.csv"])
def test_a_file_with_one_changed_byte_is_named(bundle: Path, name: str) -> None:
    data = bytearray((bundle / name).read_bytes())
    data[len(data) // 2] ^= 1
    (bundle / name).write_bytes(data)
    with pytest.raises(BundleError, match=f"{name}: corrupt or truncated"):
        load_model(bundle)


@pytest.mark.parametrize("name", ["model.onnx", "grids.txt", "prior.npy", "places.csv"])
def test_a_truncated_file_is_named(bundle: Path, name: str) -> None:
    data = (bundle / name).read_bytes()
    (bundle / name).write_bytes(data[: len(data) // 2])
    with pytest.raises(BundleError, match=f"{name}: corrupt or truncated"):
        load_model(bundle)


@pytest.mark.parametrize("name", ["model.onnx", "grids.txt", "prior.npy", "places.csv"])
def test_a_missing_file_is_named(bundle: Path, name: str) -> None:
    (bundle / name).unlink()
    with pytest.raises(BundleError, match=f"{name}: missing"):
        load_model(bundle)


@pytest.mark.parametrize("name", ["model.onnx", "grids.txt", "prior.npy", "places.csv"])
def test_a_manifest_must_list_every_required_file(bundle: Path, name: str) -> None:
    _edit(bundle, lambda manifest: manifest["files"].pop(name))
    with pytest.raises(BundleError, match=f"must list {name}"):
        load_model(bundle)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("format", 2),
        ("name", "../demo"),
        ("temperature", 0),
        ("temperature", "NaN"),
        ("abstain_below_bits", -1),
        ("preprocessing", {"recipe": "magic"}),
        ("preprocessing", {"recipe": "pillow", "size": 224}),
        (
            "preprocessing",
            {"recipe": "pillow", "size": 64, "short_side": 32, "mean": [0] * 3, "std": [1] * 3},
        ),
        (
            "preprocessing",
            {"recipe": "pillow", "size": 32, "short_side": 32, "mean": [0] * 3, "std": [0, 1, 1]},
        ),
        ("surprise", 1),
        ("files", {"../../secret": "0" * 64}),
        ("files", {"model.onnx": "short"}),
    ],
)
def test_an_invalid_manifest_names_its_field(bundle: Path, field: str, value: object) -> None:
    _edit(bundle, lambda manifest: manifest.update({field: value}))
    with pytest.raises(BundleError, match=rf"manifest.json: {field}"):
        Bundle.open(bundle)


def test_a_manifest_that_is_not_json_is_refused(bundle: Path) -> None:
    (bundle / "manifest.json").write_text("{")
    with pytest.raises(BundleError, match=r"manifest\.json: not JSON"):
        Bundle.open(bundle)


def test_a_grid_with_more_cells_than_outputs_is_refused(bundle: Path) -> None:
    lines = (bundle / "grids.txt").read_text().splitlines()
    (bundle / "grids.txt").write_text("\n".join(lines[:-1]) + "\n")
    for name in ("prior.npy",):
        np.save(bundle / name, np.load(bundle / name)[:-1])
    rows = (bundle / "places.csv").read_text().splitlines()
    (bundle / "places.csv").write_text("\n".join(rows[:-1]) + "\n")
    _reseal(bundle)
    with pytest.raises(BundleError, match=r"model\.onnx: 4 outputs for the 3 cells"):
        load_model(bundle)


def test_a_prior_with_too_few_rows_is_refused(bundle: Path) -> None:
    np.save(bundle / "prior.npy", np.load(bundle / "prior.npy")[:-1])
    _reseal(bundle)
    with pytest.raises(BundleError, match=r"prior\.npy: 3 rows for the 4 cells"):
        load_model(bundle)


@pytest.mark.parametrize("prior", [[0.5, 0.5, 0.0, 0.0], [np.nan] * 4, [[0.25] * 4]])
def test_a_prior_that_is_no_distribution_is_refused(bundle: Path, prior: list[Any]) -> None:
    np.save(bundle / "prior.npy", np.array(prior))
    _reseal(bundle)
    with pytest.raises(BundleError, match=r"prior\.npy: expected one positive number"):
        load_model(bundle)


def test_a_prior_that_would_run_code_is_refused(bundle: Path) -> None:
    np.save(bundle / "prior.npy", np.array([print] * 4, dtype=object), allow_pickle=True)
    _reseal(bundle)
    with pytest.raises(BundleError, match=r"prior\.npy: not a NumPy array"):
        load_model(bundle)


def test_a_network_that_is_none_is_refused(bundle: Path) -> None:
    (bundle / "model.onnx").write_bytes(b"not a network")
    _reseal(bundle)
    with pytest.raises(BundleError, match=r"model\.onnx: not a network"):
        load_model(bundle)


def test_a_network_for_another_image_size_is_refused(bundle: Path) -> None:
    _edit(bundle, lambda manifest: manifest["preprocessing"].update(size=64, short_side=64))
    with pytest.raises(BundleError, match=r"model\.onnx: does not take images of 3 x 64 x 64"):
        load_model(bundle)


def test_evidence_needs_its_outputs(bundle: Path) -> None:
    (bundle / "concepts.txt").write_text("volcano\n")
    _reseal(bundle)
    with pytest.raises(BundleError, match=r"model\.onnx: no output named evidence_class"):
        load_model(bundle)


@pytest.mark.parametrize("name", ["net-0012.params", "net-symbol.json"])
def test_a_checkpoint_is_sent_to_export(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    for given in {tmp_path, tmp_path / name} if name.endswith("params") else {tmp_path / name}:
        with pytest.raises(BundleError, match="locationnet export"):
            load_model(given)


def test_a_checkpoint_prefix_is_sent_to_export(tmp_path: Path) -> None:
    (tmp_path / "RN101-symbol.json").touch()
    with pytest.raises(BundleError, match="locationnet export"):
        load_model(tmp_path / "RN101")


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(BundleError, match=r"no such bundle.*demo"):
        load_model("no-such-model")


def test_a_folder_without_a_manifest_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="not a bundle"):
        load_model(tmp_path)


def test_a_manifest_is_written_whole_or_not_at_all(bundle: Path) -> None:
    before = (bundle / "manifest.json").read_bytes()
    with pytest.raises(BundleError, match=r"manifest\.json: name"):
        write_manifest(bundle, {"format": 1})
    assert (bundle / "manifest.json").read_bytes() == before
    assert not list(bundle.glob(".manifest*"))


def test_a_bundle_in_the_data_directory_has_a_name(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCATIONNET_HOME", str(tmp_path))
    assert available_models() == ["demo"]
    shutil.copytree(tiny_bundle, tmp_path / "models" / "mine")
    shutil.copytree(tiny_bundle, tmp_path / "models" / ".half-written")
    (tmp_path / "models" / "no-bundle").mkdir()
    assert available_models() == ["demo", "mine"]
    assert load_model("mine").bundle.path == tmp_path / "models" / "mine"
    with pytest.raises(BundleError, match="give a bundle's directory or one of: demo, mine"):
        load_model("other")


def test_no_bundle_takes_the_name_of_one_that_ships(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCATIONNET_HOME", str(tmp_path))
    shutil.copytree(tiny_bundle, tmp_path / "models" / "demo")
    assert Bundle.open("demo").manifest.name == "demo"


def test_every_answer_of_a_model_that_is_not_calibrated_says_so(
    make_bundle: Callable[..., Path],
) -> None:
    photo = np.full((40, 40, 3), 200, np.uint8)
    for facts, said in (({}, None), ({"calibrated": False}, False)):
        locator = load_model(make_bundle(**facts))
        answer = locator.locate(photo)
        for one in (answer, answer.coarse(500)):
            assert one.to_dict().get("calibrated") is said
        assert "calibrated" not in locator.prior().to_dict()
