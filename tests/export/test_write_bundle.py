from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pyarrow as pa
import pytest
from numpy.typing import NDArray
from PIL import Image
from pyarrow import parquet
from typer import Typer
from typer.testing import CliRunner

from locationnet.cli.export import export as export_verb
from locationnet.errors import BundleError, InputError, LocationNetError
from locationnet.export import write_bundle as module
from locationnet.export.validation_photos import Sample
from locationnet.export.write_bundle import Label, export_bundle
from locationnet.geo import s2
from locationnet.geo.grid import Grid
from locationnet.model.bundle import Bundle
from locationnet.model.locator import load_model
from locationnet.model.sessions import OnnxSession, can_run
from locationnet.pack.format import Pack
from locationnet.pack.recordio import ShardWriter
from locationnet.preprocess import Preprocessing, recipe_2017
from locationnet.train.backbones import parameter_shapes, resnet
from locationnet.train.compat import mx
from locationnet.train.convert import SourceNetwork
from locationnet.train.onnx_import import import_onnx
from locationnet.train.weights import Weights

SIZE = 32
HOW = Preprocessing("pillow", SIZE, SIZE, (127.5,) * 3, (63.75,) * 3)
FIXTURES = Path(__file__).parents[1] / "train" / "fixtures"
LAT = np.array([59.91, -1.29, 37.77, 35.66])
LNG = np.array([10.75, 36.82, -122.42, 139.73])
COLOURS = np.array([[200, 60, 60], [60, 200, 60], [60, 60, 200], [180, 180, 60]], np.float64)


def make_grid() -> Grid:
    ids = s2.parent_ids(s2.leaf_ids(LAT, LNG), 10)
    order = np.argsort(ids)
    return Grid(ids[order], LAT[order], LNG[order])


def write_pack(folder: Path, grid: Grid, photos: int, seed: int) -> Pack:
    """Write a pack whose photos' colours say their class, more or less."""
    folder.mkdir()
    rng = np.random.default_rng(seed)
    classes = rng.integers(0, len(grid), photos)
    rows: dict[str, list[Any]] = {"shard": [], "record": []}
    for shard, part in enumerate(np.array_split(np.arange(photos), 2)):
        name = f"shard-{shard:05d}"
        with ShardWriter(folder / f"{name}.rec", folder / f"{name}.idx") as writer:
            for index in part:
                mean = COLOURS[classes[index]] + rng.normal(0, 60, 3)
                pixels = np.clip(mean + rng.normal(0, 30, (SIZE, SIZE, 3)), 0, 255)
                buffer = io.BytesIO()
                Image.fromarray(pixels.astype(np.uint8)).save(buffer, "JPEG", quality=92)
                rows["record"].append(writer.write(int(classes[index]), buffer.getvalue()))
                rows["shard"].append(shard)
    table = {**rows, "class": classes, "lat": grid.lat[classes], "lng": grid.lng[classes]}
    parquet.write_table(pa.table(table), folder / "photos.parquet")
    grid.write(folder / "grids.txt")
    summary = {
        "format": 1,
        "records": photos,
        "classes": len(grid),
        "shards": 2,
        "counts_per_class": np.bincount(classes, minlength=len(grid)).tolist(),
        "grid_sha256": grid.sha256,
    }
    (folder / "pack.json").write_text(json.dumps(summary))
    return Pack.open(folder)


def random_weights(symbol: mx.sym.Symbol, size: int, seed: int = 3) -> Weights:
    """Give every parameter values that a trained network might have."""
    rng = np.random.default_rng(seed)
    shapes, states = parameter_shapes(symbol, size)

    def value(name: str, shape: tuple[int, ...]) -> NDArray[np.float64]:
        if name.endswith(("_gamma", "_var")):
            return rng.uniform(0.7, 1.3, shape)
        if name.endswith("_weight"):
            return rng.normal(0, np.sqrt(2 / np.prod(shape[1:])), shape)
        return rng.normal(0, 0.1, shape)

    return Weights(
        symbol,
        {name: mx.nd.array(value(name, shape)) for name, shape in shapes.items()},
        {name: mx.nd.array(value(name, shape)) for name, shape in states.items()},
    )


def save(weights: Weights, prefix: Path, epoch: int) -> None:
    mx.model.save_checkpoint(
        str(prefix), epoch, weights.symbol, weights.arguments, weights.auxiliary
    )


@pytest.fixture(scope="module")
def grid() -> Grid:
    return make_grid()


@pytest.fixture(scope="module")
def packs(tmp_path_factory: pytest.TempPathFactory, grid: Grid) -> tuple[Pack, Pack]:
    """A pack to learn from and one to validate on."""
    folder = tmp_path_factory.mktemp("packs")
    return write_pack(folder / "train", grid, 320, 1), write_pack(folder / "val", grid, 820, 2)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, packs: tuple[Pack, Pack], grid: Grid) -> Path:
    """A run's folder whose network has learned something, and is far too confident of it."""
    folder = tmp_path_factory.mktemp("run")
    symbol, arguments, states = import_onnx(FIXTURES / "resnet-opset9.onnx", len(grid))
    arguments = random_weights(symbol, SIZE).arguments | arguments
    weights = Weights(symbol, arguments, states)
    sample = Sample.draw(packs[0], 320)
    source = SourceNetwork(weights, SIZE)
    features = np.concatenate([source.run(batch).embedding for batch in sample.batches(HOW)])
    features = np.column_stack([features, np.ones(len(features))])
    wanted = np.eye(len(grid))[sample.truth.classes] - 1 / len(grid)
    solved = np.linalg.solve(
        features.T @ features + 0.1 * np.eye(features.shape[1]), features.T @ wanted
    )
    weights.arguments["fc1_weight"] = mx.nd.array(12 * solved[:-1].T)
    weights.arguments["fc1_bias"] = mx.nd.array(12 * solved[-1])
    save(weights, folder / "checkpoint", 2)
    save(random_weights(weights.symbol, SIZE, seed=9), folder / "checkpoint", 3)
    fields = {
        "preprocessing": {
            "recipe": "pillow", "size": SIZE, "short_side": SIZE,
            "mean": list(HOW.mean), "std": list(HOW.std),
        },
        "grid_sha256": grid.sha256,
        "counts_per_class": [90, 0, 9, 1],
        "network": "resnet-18",
        "settings": {"train": "/home/somebody/packs/train", "epochs": 3},
    }  # fmt: skip
    (folder / "checkpoint-run.json").write_text(json.dumps(fields))
    (folder / "best.json").write_text(json.dumps({"epoch": 2}))
    grid.write(folder / "grids.txt")
    return folder


@pytest.fixture(scope="module")
def bundle(
    tmp_path_factory: pytest.TempPathFactory, run: Path, packs: tuple[Pack, Pack], grid: Grid
) -> Path:
    """The run's bundle, calibrated on the validation pack."""
    out = tmp_path_factory.mktemp("bundles") / "colours"
    export_bundle(run / "checkpoint", 2, grid, out, validation=packs[1])
    return out


def manifest_of(bundle: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((bundle / "manifest.json").read_text())
    return found


def invoke(*arguments: object) -> Any:
    app = Typer()
    app.command()(export_verb)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_the_bundle_answers_what_mxnet_answers(
    bundle: Path, run: Path, packs: tuple[Pack, Pack]
) -> None:
    parity = manifest_of(bundle)["accuracy"]["parity"]
    assert 0 < parity["max_probability_difference"] <= 1e-5
    assert parity["photos"] == 16
    assert parity["measured_on"] == "photos of the validation pack"
    images = next(Sample.draw(packs[1], 16).batches(HOW))
    symbol, arguments, states = mx.model.load_checkpoint(str(run / "checkpoint"), 2)
    executor = symbol.simple_bind(mx.cpu(), grad_req="null", data=images.shape)
    executor.copy_params_from(arguments, states, allow_extra_params=True)
    expected = executor.forward(is_train=False, data=mx.nd.array(images))[0].asnumpy()
    found = OnnxSession(bundle / "model.onnx").run(images)
    np.testing.assert_allclose(np.asarray(found["probabilities"], float), expected, atol=1e-5)
    assert found["embedding"].shape == (16, 16)


def test_the_bundle_loads_and_locates(bundle: Path, make_photo: Callable[..., bytes]) -> None:
    locator = load_model(bundle)
    assert locator.precision == "f32"
    assert abs(locator.locate(make_photo((200, 60, 60))).probabilities.sum() - 1) < 1e-9


def test_the_onnx_file_is_as_runtimes_like_it(bundle: Path) -> None:
    model = onnx.load(bundle / "model.onnx")
    assert (model.ir_version, model.opset_import[0].version) == (8, 13)
    assert [entry.name for entry in model.graph.input] == ["images"]
    assert [entry.name for entry in model.graph.output] == ["probabilities", "embedding"]
    shapes = [
        [dim.dim_param or dim.dim_value for dim in entry.type.tensor_type.shape.dim]
        for entry in (*model.graph.input, *model.graph.output)
    ]
    assert shapes == [["N", 3, SIZE, SIZE], ["N", 4], ["N", 16]]
    assert "Reshape" not in {node.op_type for node in model.graph.node}


def test_the_temperature_makes_the_bundle_less_sure_and_better_calibrated(bundle: Path) -> None:
    fields = manifest_of(bundle)
    calibration = fields["accuracy"]["calibration"]
    before, after = (
        calibration[f"expected_calibration_error_{when}"] for when in ("before", "after")
    )
    assert fields["temperature"] == calibration["temperature"] > 1.5
    assert fields["calibrated"]
    assert after < before / 2
    validation = fields["accuracy"]["validation"]
    assert validation["photos"] == 820
    assert 0.5 < validation["top1"] < validation["top5"] == 1
    assert validation["within_25_km"] == validation["top1"]


def test_the_prior_counts_one_more_photo_in_each_cell(bundle: Path) -> None:
    np.testing.assert_allclose(Bundle.open(bundle).prior, np.array([91, 1, 10, 2]) / 104, rtol=1e-6)


def test_cells_are_named_after_the_nearest_town(bundle: Path) -> None:
    names = Bundle.open(bundle).names
    assert {"NO", "KE", "US", "JP"} == set(names.country)
    assert "San Francisco" in {
        city.replace("Mission District", "San Francisco") for city in names.city
    }


def test_the_manifest_says_where_it_comes_from_but_names_no_folder(bundle: Path) -> None:
    fields = manifest_of(bundle)
    training = fields["training"]
    assert fields["name"] == "colours"
    assert training["checkpoint"] == "checkpoint-0002.params"
    assert len(training["checkpoint_sha256"]) == 64
    assert training["network"] == "resnet-18"
    assert training["settings"] == {"train": "train", "epochs": 3}
    assert "somebody" not in json.dumps(fields)


def test_without_a_validation_pack_parity_is_proven_on_installed_photos(
    tmp_path: Path, run: Path, grid: Grid
) -> None:
    label = Label("mine", "2.0", "About colours.", "CC-BY-4.0")
    made = export_bundle(run / "checkpoint", 3, grid, tmp_path / "b", label=label)
    assert made.accuracy["parity"]["photos"] == 4
    assert "astronaut.png" in made.accuracy["parity"]["measured_on"]
    assert (made.name, made.version, made.license) == ("mine", "2.0", "CC-BY-4.0")
    assert made.temperature == 1
    assert not made.calibrated


def test_a_checkpoint_of_2017_needs_no_notes(tmp_path: Path, grid: Grid) -> None:
    prefix = tmp_path / "RN101-5k500"
    save(random_weights(resnet(18, 4, 224), 224), prefix, 12)
    grid.write(tmp_path / "grids-2017.txt")
    answer = invoke(
        prefix, "--epoch", 12, "--grid", tmp_path / "grids-2017.txt", "--out", tmp_path / "b"
    )
    assert answer.exit_code == 0, answer.output
    assert "preprocessing 2017, 224 px" in answer.output
    opened = Bundle.open(tmp_path / "b")
    assert opened.preprocessing == recipe_2017()
    np.testing.assert_allclose(opened.prior, [0.25] * 4)


def test_a_run_is_exported_by_its_folder_at_its_best_epoch(
    tmp_path: Path, run: Path, packs: tuple[Pack, Pack]
) -> None:
    answer = invoke(run, "-o", tmp_path / "b", "--validation", packs[1].path, "--photos", 64)
    assert answer.exit_code == 0, answer.output
    assert manifest_of(tmp_path / "b")["training"]["epoch"] == 2
    assert "parity        probabilities within" in answer.output
    assert "validation    top-1" in answer.output
    assert "expected calibration error" in answer.output


@pytest.mark.parametrize("name", ["resnet-opset9", "lite-opset9", "lite-opset17"])
def test_a_network_from_onnx_goes_back_to_onnx(tmp_path: Path, name: str, grid: Grid) -> None:
    symbol, arguments, states = import_onnx(
        FIXTURES / f"{name}.onnx", 4, frozen_to="conv1" if "resnet" in name else "stem"
    )
    made = random_weights(symbol, SIZE)
    save(Weights(symbol, {**made.arguments, **arguments}, states), tmp_path / "tuned", 1)
    manifest = export_bundle(tmp_path / "tuned", 1, grid, tmp_path / "b", preprocessing=HOW)
    assert manifest.accuracy["parity"]["max_probability_difference"] <= 1e-5


@pytest.mark.skipif(not can_run("openvino", "bf16"), reason="no OpenVINO, or a CPU without bf16")
def test_bf16_is_measured_and_used_where_it_is_allowed(
    tmp_path: Path, run: Path, packs: tuple[Pack, Pack], grid: Grid
) -> None:
    made = export_bundle(
        run / "checkpoint", 2, grid, tmp_path / "b", validation=packs[1], reduced=["bf16"]
    )
    offer = made.precisions["bf16"]
    assert (offer.runtime, offer.file, offer.photos) == ("openvino", "model.onnx", 820)
    assert offer.top1_agreement > 0.95
    assert abs(offer.metric_change["top1"]) < 0.05
    assert load_model(tmp_path / "b").precision == ("bf16" if offer.allowed else "f32")
    assert load_model(tmp_path / "b", precision="f32").precision == "f32"


@pytest.mark.skipif(not can_run("onnxruntime", "int8"), reason="a CPU without VNNI")
@pytest.mark.skipif(find_spec("ml_dtypes") is None, reason="ml_dtypes is not installed")
def test_int8_is_calibrated_on_other_photos_than_it_is_measured_on(
    tmp_path: Path, run: Path, packs: tuple[Pack, Pack], grid: Grid
) -> None:
    made = export_bundle(
        run / "checkpoint", 2, grid, tmp_path / "b", validation=packs[1], reduced=["int8"]
    )
    offer = made.precisions["int8"]
    assert offer.calibration_photos == 512
    assert offer.photos == 820 - 512 == made.accuracy["validation"]["photos"]
    assert offer.file == "model-int8.onnx"
    assert offer.file in made.files
    assert offer.top1_agreement > 0.9
    operators = {node.op_type for node in onnx.load(tmp_path / "b" / offer.file).graph.node}
    assert {"QuantizeLinear", "DequantizeLinear"} <= operators
    assert load_model(tmp_path / "b").precision == ("int8" if offer.allowed else "f32")


def test_a_precision_that_was_not_measured_is_not_to_be_had(bundle: Path) -> None:
    with pytest.raises(BundleError, match="the bundle does not offer int8"):
        load_model(bundle, precision="int8")


def test_reduced_precisions_need_held_out_photos(tmp_path: Path, run: Path, grid: Grid) -> None:
    with pytest.raises(InputError, match="bf16 is measured on held-out photos: give --validation"):
        export_bundle(run / "checkpoint", 2, grid, tmp_path / "b", reduced=["bf16"])


def test_too_few_photos_prove_nothing(
    tmp_path: Path, run: Path, packs: tuple[Pack, Pack], grid: Grid
) -> None:
    with pytest.raises(InputError, match=r"0 photos are left for it.*at least 300 each"):
        export_bundle(
            run / "checkpoint", 2, grid, tmp_path / "b", validation=packs[0], reduced=["int8"]
        )


def test_a_network_that_mxnet_exports_wrongly_is_refused(
    tmp_path: Path, run: Path, grid: Grid, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = SourceNetwork.run

    def differently(self: SourceNetwork, images: NDArray[np.float32]) -> Any:
        answers = answer(self, images)
        return replace(answers, probabilities=answers.probabilities + np.float32(2e-5))

    monkeypatch.setattr(SourceNetwork, "run", differently)
    with pytest.raises(LocationNetError, match=r"differs from MXNet's by 2\.\de-05"):
        export_bundle(run / "checkpoint", 2, grid, tmp_path / "b")
    assert list(tmp_path.iterdir()) == []


def test_a_failure_leaves_the_earlier_bundle_alone(
    tmp_path: Path, run: Path, grid: Grid, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "b"
    export_bundle(run / "checkpoint", 2, grid, out)
    before = (out / "manifest.json").read_bytes()
    with pytest.raises(InputError, match="b: exists; --overwrite replaces it"):
        export_bundle(run / "checkpoint", 3, grid, out)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(module, "write_places", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        export_bundle(run / "checkpoint", 3, grid, out, overwrite=True)
    assert (out / "manifest.json").read_bytes() == before
    export_bundle(run / "checkpoint", 3, grid, out, overwrite=True)
    assert manifest_of(out)["training"]["epoch"] == 3
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


def test_a_folder_that_is_no_bundle_is_never_replaced(
    tmp_path: Path, run: Path, grid: Grid
) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match="exists and is not a bundle"):
        export_bundle(run / "checkpoint", 2, grid, tmp_path, overwrite=True)


def test_another_grid_than_the_runs_is_refused(tmp_path: Path, run: Path, grid: Grid) -> None:
    other = Grid(grid.ids[:3], grid.lat[:3], grid.lng[:3])
    with pytest.raises(InputError, match="checkpoint: trained on another grid"):
        export_bundle(run / "checkpoint", 2, other, tmp_path / "b")


def test_a_grid_of_another_length_is_refused(tmp_path: Path, grid: Grid) -> None:
    save(random_weights(resnet(18, 5, SIZE), SIZE), tmp_path / "net", 1)
    with pytest.raises(LocationNetError, match="5 outputs and the grid 4 cells"):
        export_bundle(tmp_path / "net", 1, grid, tmp_path / "b", preprocessing=HOW)


def test_a_diverged_network_is_refused(tmp_path: Path, grid: Grid) -> None:
    weights = random_weights(resnet(18, 4, SIZE), SIZE)
    weights.arguments["fc1_bias"][:] = np.nan
    save(weights, tmp_path / "net", 1)
    with pytest.raises(LocationNetError, match="answers NaN: the training has diverged"):
        export_bundle(tmp_path / "net", 1, grid, tmp_path / "b", preprocessing=HOW)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"epochs": 3}, "preprocessing is not what `train` writes"),
        ({"preprocessing": {"recipe": "pillow", "size": "x"}}, "preprocessing is not what"),
        ([], "expected a JSON object"),
    ],
)
def test_notes_that_cannot_be_read_are_named(
    tmp_path: Path, grid: Grid, fields: object, message: str
) -> None:
    save(random_weights(resnet(18, 4, SIZE), SIZE), tmp_path / "net", 1)
    (tmp_path / "net-run.json").write_text(json.dumps(fields))
    with pytest.raises(LocationNetError, match=message) as caught:
        export_bundle(tmp_path / "net", 1, grid, tmp_path / "b")
    assert "net-run.json" in str(caught.value)
