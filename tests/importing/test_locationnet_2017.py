"""The network of 2017 in the forms that it may be found in: a ResNet-101 with random weights, its
layers renamed, folded, split and ended otherwise, saved as MXNet and as ONNX, and imported."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner, Result

from locationnet.cli import app
from locationnet.errors import InputError, LocationNetError, MissingExtraError
from locationnet.export.validation_photos import shipped_photos
from locationnet.geo import s2
from locationnet.geo.grid import Grid
from locationnet.importing import locationnet_2017 as module
from locationnet.importing.layers import EPSILON, Layers
from locationnet.importing.match_structure import match
from locationnet.importing.proof_of_fit import compare
from locationnet.importing.resnet_2017 import named_layers
from locationnet.importing.symbol_layers import symbol_layers
from locationnet.model.bundle import Bundle
from locationnet.model.locator import load_model
from locationnet.model.sessions import OnnxSession
from locationnet.net.fetch import FetchPolicy
from locationnet.preprocess import MEAN_2017, recipe_2017
from locationnet.train.backbones import parameter_shapes, resnet
from locationnet.train.compat import mx, onnx_exporter
from locationnet.train.convert import Answers, SourceNetwork
from locationnet.train.weights import Weights

ROOT = Path(__file__).parents[2]
CLASSES = 15_527
STAGES = ((3, 64), (4, 128), (23, 256), (3, 512))
PARTS = ("gamma", "beta", "moving_mean", "moving_var")
S = mx.sym
Arrays = dict[str, NDArray[np.float32]]


@dataclass(frozen=True)
class Form:
    """How a file says the same network."""

    folded: bool = False  # a BatchNorm behind a convolution is part of it
    split: bool = False  # a BatchNorm is a product and a sum
    softmax: bool = True
    mean: bool = False  # the mean colour is subtracted by the network
    bn_data: bool = True  # else it is part of what subtracts the mean
    shortcut_first: bool = False
    renamed: bool = True


@pytest.fixture(autouse=True)
def no_large_files_are_left(tmp_path: Path) -> Iterator[None]:
    """Remove what pytest would keep: up to a gigabyte for each test."""
    yield
    shutil.rmtree(tmp_path)


@pytest.fixture(scope="session")
def learned() -> Arrays:
    """Random weights by the names of 2017, statistics moved, that give spread answers."""
    random = np.random.default_rng(17)
    shapes, states = parameter_shapes(resnet(101, CLASSES), 224)
    made = {}
    for name, shape in {**shapes, **states}.items():
        if name.endswith("_var"):
            value = random.uniform(0.5, 4, shape)
        elif name.endswith("_gamma"):
            value = random.uniform(0.5, 1.5, shape)
        elif len(shape) > 1:
            value = random.standard_normal(shape, np.float32) * np.sqrt(1 / np.prod(shape[1:]))
        else:
            value = 0.1 * random.standard_normal(shape)
        made[name] = np.asarray(value, np.float32)
    made["bn_data_moving_var"] *= 60**2
    made["bn_data_moving_mean"] *= 100
    largest = np.abs(answers_of(made).embedding).max()
    made["fc1_weight"] *= 120 / largest
    return made


@pytest.fixture(scope="session")
def photos() -> NDArray[np.float32]:
    return shipped_photos(recipe_2017())


def answers_of(learned: Arrays) -> Answers:
    """Let MXNet answer with our own symbol."""
    arrays = {name: mx.nd.array(value) for name, value in learned.items()}
    weights = Weights(resnet(101, CLASSES), arrays, arrays)
    return SourceNetwork(weights, 224).run(shipped_photos(recipe_2017()))


@pytest.fixture(scope="session")
def expected(learned: Arrays) -> NDArray[np.float32]:
    probabilities = answers_of(learned).probabilities
    top = np.sort(probabilities, axis=1)[:, -5:]
    assert (top > 3e-5).all()  # or the comparisons would say little
    assert (top < 0.99).all()
    return probabilities


@pytest.fixture(scope="session")
def cells(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As many cells as 2017 had: those of the repository, 200 of them quartered."""
    own = Grid.read(ROOT / "grids.txt")
    quartered = np.flatnonzero(own.levels < 20)[:200]
    children = s2.child_ids(own.ids[quartered]).reshape(-1)
    lat, lng = s2.centers(children)
    kept = np.setdiff1d(np.arange(len(own)), quartered)
    grid = Grid(
        np.concatenate([own.ids[kept], children]),
        np.concatenate([own.lat[kept], lat]),
        np.concatenate([own.lng[kept], lng]),
    )
    assert len(grid) == CLASSES
    path = tmp_path_factory.mktemp("cells") / "other-grids.txt"
    grid.write(path)
    return path


class Foreign:
    """Writes the network of some parameters as another program might."""

    def __init__(self, learned: Arrays, form: Form) -> None:
        self.learned, self.form = learned, form
        self.arrays: Arrays = {}
        self._names = 0

    def name(self, ours: str) -> str:
        self._names += 1
        return f"node{(self._names * 7919) % 100_003}" if self.form.renamed else ours

    def array(self, ours: str, value: NDArray[Any]) -> Any:
        name = f"array{len(self.arrays)}" if self.form.renamed else ours
        self.arrays[name] = np.asarray(value, np.float32)
        return S.var(name, shape=value.shape)

    def symbol(self) -> Any:
        body = S.var("in" if self.form.renamed else "data")
        scale, shift = self.affine("bn_data")
        mean = np.reshape(MEAN_2017, (1, 3, 1, 1))
        if self.form.mean and self.form.bn_data:
            body = S.broadcast_sub(body, self.array("mean", mean), name=self.name("minus"))
        elif self.form.mean:
            body = self.multiplied(body, scale, shift - scale * mean.reshape(-1))
        if self.form.bn_data:
            body = self.norm(body, "bn_data")
        body = self.activated(self.convolved(body, "conv0", "bn0", 64, 7, 2), "bn0", inside=True)
        how = {"kernel": (3, 3), "stride": (2, 2), "pad": (1, 1), "pool_type": "max"}
        body = S.Pooling(body, name=self.name("pooling0"), **how)
        for stage, (units, width) in enumerate(STAGES, start=1):
            for unit in range(1, units + 1):
                stride = 2 if unit == 1 and stage > 1 else 1
                body = self.unit(body, f"stage{stage}_unit{unit}", width, stride, unit == 1)
        body = self.activated(body, "bn1")
        whole: dict[str, Any] = {"global_pool": True, "pool_type": "avg"}
        body = S.Flatten(S.Pooling(body, name=self.name("pool1"), **whole), name=self.name("flat"))
        parts = (
            self.array(f"fc1_{part}", self.learned[f"fc1_{part}"]) for part in ("weight", "bias")
        )
        body = S.FullyConnected(body, *parts, num_hidden=self.classes, name=self.name("fc1"))
        return S.SoftmaxOutput(body, name=self.name("softmax")) if self.form.softmax else body

    @property
    def classes(self) -> int:
        return len(self.learned["fc1_bias"])

    def unit(self, data: Any, name: str, width: int, stride: int, first: bool) -> Any:
        activated = self.activated(data, f"{name}_bn1")

        def branch() -> Any:
            body = self.convolved(activated, f"{name}_conv1", f"{name}_bn2", width, 1, 1)
            body = self.activated(body, f"{name}_bn2", inside=True)
            body = self.convolved(body, f"{name}_conv2", f"{name}_bn3", width, 3, stride)
            body = self.activated(body, f"{name}_bn3", inside=True)
            return self.convolved(body, f"{name}_conv3", None, 4 * width, 1, 1)

        def shortcut() -> Any:
            if not first:
                return data
            return self.convolved(activated, f"{name}_sc", None, 4 * width, 1, stride)

        if self.form.shortcut_first:
            return S.elemwise_add(shortcut(), branch(), name=self.name("plus"))
        return S.elemwise_add(branch(), shortcut(), name=self.name("plus"))

    def convolved(
        self, data: Any, name: str, norm: str | None, filters: int, kernel: int, stride: int
    ) -> Any:
        weight, parts = self.learned[f"{name}_weight"], {}
        if norm and self.form.folded:
            scale, shift = self.affine(norm)
            weight = weight * scale.reshape(-1, 1, 1, 1)
            parts["bias"] = self.array(f"{name}_bias", shift)
        return S.Convolution(
            data,
            self.array(f"{name}_weight", weight),
            **parts,
            num_filter=filters,
            kernel=(kernel, kernel),
            stride=(stride, stride),
            pad=(kernel // 2, kernel // 2),
            no_bias=not parts,
            name=self.name(name),
        )

    def activated(self, data: Any, name: str, *, inside: bool = False) -> Any:
        if not (inside and self.form.folded):
            data = self.norm(data, name)
        return S.Activation(data, act_type="relu", name=self.name(f"{name}_relu"))

    def norm(self, data: Any, name: str) -> Any:
        if self.form.split and name != "bn_data":
            return self.multiplied(data, *self.affine(name))
        variables = [self.array(f"{name}_{part}", self.learned[f"{name}_{part}"]) for part in PARTS]
        how = {"eps": EPSILON, "fix_gamma": name == "bn_data", "name": self.name(name)}
        return S.BatchNorm(data, *variables, **how)

    def multiplied(self, data: Any, scale: Any, shift: Any) -> Any:
        product, total = (
            self.array(f"constant{len(self.arrays)}", np.reshape(part, (1, -1, 1, 1)))
            for part in (scale, shift)
        )
        data = S.broadcast_mul(data, product, name=self.name("times"))
        return S.broadcast_add(data, total, name=self.name("plus"))

    def affine(self, name: str) -> tuple[Any, Any]:
        gamma, beta, mean, variance = (
            self.learned[f"{name}_{part}"].astype(np.float64) for part in PARTS
        )
        gamma = np.ones_like(gamma) if name == "bn_data" else gamma
        scale = gamma / np.sqrt(variance + EPSILON)
        return scale, beta - mean * scale


def save_mxnet(learned: Arrays, form: Form, symbol: Path, params: Path) -> None:
    foreign = Foreign(learned, form)
    network = foreign.symbol()
    states = set(network.list_auxiliary_states())
    arrays = {
        f"{'aux' if name in states else 'arg'}:{name}": mx.nd.array(value)
        for name, value in foreign.arrays.items()
    }
    network.save(str(symbol))
    mx.nd.save(str(params), arrays)


def save_onnx(learned: Arrays, form: Form, path: Path) -> None:
    """Write probabilities as this package does, or logits as mxnet's own exporter does.

    Every name is replaced.
    """
    foreign = Foreign(learned, replace(form, renamed=False))
    network = foreign.symbol()
    states = set(network.list_auxiliary_states())
    arrays = {name: mx.nd.array(value) for name, value in foreign.arrays.items()}
    if form.softmax:
        arguments = {name: value for name, value in arrays.items() if name not in states}
        auxiliary = {name: value for name, value in arrays.items() if name in states}
        SourceNetwork(Weights(network, arguments, auxiliary), 224).write_onnx(path)
    else:
        # It writes the gamma that MXNet leaves out of account.
        arrays["bn_data_gamma"] = mx.nd.ones(3)
        with onnx_exporter():
            mx.onnx.export_model(network, arrays, [(1, 3, 224, 224)], [np.float32], str(path))
    model = onnx.load(path)
    graph = model.graph
    if form.softmax:
        del graph.output[1]
    names: dict[str, str] = {}
    for node in graph.node:
        for part in (node.input, node.output):
            part[:] = [names.setdefault(name, f"v{len(names)}") for name in part]
        node.name = ""
    for entry in (*graph.initializer, *graph.input, *graph.output):
        entry.name = names.get(entry.name, "unused")
    onnx.save(model, path)


def import_2017(*words: object) -> Result:
    return CliRunner().invoke(app, ["import", "locationnet-2017", *map(str, words)])


def check_bundle(bundle: Path, photos: NDArray[np.float32], expected: NDArray[np.float32]) -> None:
    """Compare a bundle with MXNet's answers to the network that was hidden in the file."""
    found = OnnxSession(bundle / "model.onnx", threads=2).run(photos)
    assert found["embedding"].shape == (len(photos), 2048)
    compare("MXNet", expected, np.asarray(found["probabilities"], np.float32))


def test_a_renamed_symbol_is_imported(
    tmp_path: Path, learned: Arrays, photos: Any, expected: Any, cells: Path, rocket: Path
) -> None:
    save_mxnet(learned, Form(), tmp_path / "net-symbol.json", tmp_path / "net-0003.params")
    out = tmp_path / "bundle"
    done = import_2017(tmp_path / "net-symbol.json", "--grid", cells, "--force", "-o", out)
    assert done.exit_code == 0, done.output
    assert done.output.count("not byte for byte the original (MD5 ") == 3
    assert "104 convolutions, 102 norms and 15,527 classes" in done.output
    assert "of the file's in MXNet" in done.output
    check_bundle(out, photos, expected)
    assert (out / "grids.txt").read_bytes() == cells.read_bytes()
    bundle = Bundle.open(out)
    assert bundle.manifest.name == "locationnet-2017"
    assert bundle.manifest.license == "CC-BY-SA-3.0"
    assert not bundle.manifest.calibrated
    assert bundle.preprocessing == recipe_2017()
    assert bundle.manifest.accuracy["parity"]["max_probability_difference"] <= 1e-5
    md5 = hashlib.md5((tmp_path / "net-0003.params").read_bytes()).hexdigest()
    assert bundle.manifest.training["imported_from"][0]["md5"] == md5
    prediction = load_model(out).locate(rocket)
    assert len(prediction.probabilities) == CLASSES


def test_a_folded_symbol_that_ends_in_logits_is_imported(
    tmp_path: Path, learned: Arrays, photos: Any, expected: Any, cells: Path
) -> None:
    form = Form(folded=True, split=True, softmax=False, shortcut_first=True)
    save_mxnet(learned, form, tmp_path / "net.json", tmp_path / "net.params")
    out = tmp_path / "bundle"
    done = import_2017(tmp_path / "net.json", "--grid", cells, "--force", "-o", out)
    assert done.exit_code == 0, done.output
    check_bundle(out, photos, expected)


@pytest.mark.parametrize(
    "form",
    [Form(softmax=False), Form(folded=True, mean=True, bn_data=False, shortcut_first=True)],
    ids=["logits", "folded, with the mean"],
)
def test_a_renamed_onnx_file_is_imported(
    tmp_path: Path, learned: Arrays, photos: Any, expected: Any, cells: Path, form: Form
) -> None:
    save_onnx(learned, form, tmp_path / "net.onnx")
    out = tmp_path / "bundle"
    done = import_2017(tmp_path / "net.onnx", "--grid", cells, "--force", "-o", out)
    assert done.exit_code == 0, done.output
    assert "of the file's in ONNX Runtime" in done.output
    assert ("subtracts the mean colour itself" in done.output) == form.mean
    check_bundle(out, photos, expected)


def test_parameters_alone_are_imported_by_their_names_without_mxnet(
    tmp_path: Path, learned: Arrays, photos: Any, expected: Any, cells: Path
) -> None:
    path = tmp_path / "RN101-5k500-0012.params"
    save_mxnet(learned, Form(renamed=False), tmp_path / "symbol", path)
    with_mxnet = module._open(path)
    assert match(with_mxnet.layers).ends_in_softmax
    compare("MXNet", expected, with_mxnet.run(photos))
    words = ["import", "locationnet-2017", path, "--grid", cells, "--force", "-o", tmp_path / "b"]
    program = "import sys; sys.modules['mxnet'] = None; from locationnet.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, words)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "not compared with the file as it is: MXNet is not installed" in done.stdout
    assert "parity" not in Bundle.open(tmp_path / "b").manifest.accuracy
    check_bundle(tmp_path / "b", photos, expected)


def matched(learned: Arrays, form: Form, folder: Path) -> Any:
    foreign = Foreign(learned, form)
    foreign.symbol().save(str(folder / "net.json"))
    layers, output = symbol_layers(folder / "net.json", foreign.arrays)
    assert output == 0
    return match(layers)


@pytest.mark.parametrize("softmax", [True, False])
@pytest.mark.parametrize(
    "how",
    [
        {},
        {"folded": True},
        {"split": True},
        {"folded": True, "shortcut_first": True},
        {"mean": True},
        {"mean": True, "bn_data": False, "folded": True},
    ],
    ids=lambda how: " ".join(how),
)
def test_every_form_of_the_network_is_the_same_one(
    tmp_path: Path, learned: Arrays, how: dict[str, bool], softmax: bool
) -> None:
    form = Form(softmax=softmax, **how)
    found, exact = matched(learned, form, tmp_path), Foreign(learned, Form())
    assert (found.ends_in_softmax, found.subtracts_mean) == (softmax, form.mean)
    assert list(found.parameters.convolutions) == [
        name.removesuffix("_weight") for name in learned if learned[name].ndim == 4
    ]
    assert len(found.parameters.norms) == 102
    for name, norm in found.parameters.norms.items():
        scale, shift = exact.affine(name)
        if form.folded and name != "bn1" and not name.endswith(("_bn1", "data")):
            before = (
                "conv0" if name == "bn0" else name.replace("bn2", "conv1").replace("bn3", "conv2")
            )
            weight = learned[f"{before}_weight"] * scale.reshape(-1, 1, 1, 1)
            assert np.allclose(found.parameters.convolutions[before], weight, rtol=1e-6)
            scale = np.ones_like(scale)
        assert np.allclose(norm.scale, scale, rtol=1e-5)
        assert np.allclose(norm.shift, shift, rtol=1e-5, atol=1e-5)
        # Statistics that are there stay what they are, so that the network can be trained on.
        if not form.split and not form.folded:
            assert np.allclose(norm.mean, learned[f"{name}_moving_mean"])
            assert np.allclose(norm.variance, learned[f"{name}_moving_var"])


def test_a_network_without_bn_data_is_said_to_be_one(tmp_path: Path, learned: Arrays) -> None:
    found = matched(learned, Form(bn_data=False), tmp_path)
    assert (found.has_bn_data, found.subtracts_mean, found.factor) == (False, False, 1)
    assert np.allclose(found.parameters.norms["bn_data"].scale, np.ones(3))
    assert np.allclose(found.parameters.norms["bn_data"].shift, np.zeros(3))
    assert matched(learned, Form(), tmp_path).has_bn_data


@pytest.mark.parametrize("factor", [255.0, 256.0])
def test_colours_from_0_to_1_are_what_the_file_gets(
    tmp_path: Path, learned: Arrays, factor: float, photos: NDArray[np.float32]
) -> None:
    class Scaled(Foreign):
        def norm(self, data: Any, name: str) -> Any:
            if name == "bn_data":
                data = S.broadcast_sub(data * factor, self.array("mean", mean), name="minus")
            return super().norm(data, name)

    mean = np.reshape(MEAN_2017, (1, 3, 1, 1))
    foreign = Scaled(learned, Form())
    foreign.symbol().save(str(tmp_path / "net.json"))
    found = match(symbol_layers(tmp_path / "net.json", foreign.arrays)[0])
    assert found.subtracts_mean
    assert found.factor == factor
    wanted = found.as_the_file_wants(photos)
    assert -0.001 < wanted.min() < 0.1
    assert 0.9 < wanted.max() < 1.01
    assert np.allclose(found.parameters.norms["bn_data"].mean, learned["bn_data_moving_mean"])


class Resized:
    """Arrays of a network's shapes that take no memory."""

    def __init__(self, depth: int, classes: int) -> None:
        self.symbol = resnet(depth, classes)
        shapes, states = parameter_shapes(self.symbol, 224)
        self.arrays: Arrays = {
            name: np.broadcast_to(np.float32(1), shape)
            for name, shape in {**shapes, **states}.items()
        }

    def layers(self, folder: Path) -> Layers:
        self.symbol.save(str(folder / "net.json"))
        return symbol_layers(folder / "net.json", self.arrays)[0]

    def edited(self, edit: Callable[[dict[str, dict[str, Any]]], object]) -> None:
        graph = json.loads(self.symbol.tojson())
        edit({node["name"]: node for node in graph["nodes"]})
        self.symbol = S.load_json(json.dumps(graph))


def reshaped(name: str, *shape: int) -> Callable[[Resized], object]:
    one = np.float32(1)
    return lambda net: net.arrays.update({name: np.broadcast_to(one, shape)})


def attributes(name: str, **given: str) -> Callable[[Resized], object]:
    return lambda net: net.edited(lambda nodes: nodes[name]["attrs"].update(given))


def exchanged(one: str, other: str) -> Callable[[Resized], object]:
    """Let two layers that follow on each other follow the other way round."""

    def edit(nodes: dict[str, dict[str, Any]]) -> None:
        first, second = nodes[one], nodes[other]
        for key in ("op", "attrs"):
            first[key], second[key] = second.get(key, {}), first.get(key, {})
        first["inputs"], second["inputs"] = (
            first["inputs"][:1],
            [*second["inputs"], *first["inputs"][1:]],
        )

    return lambda net: net.edited(edit)


def without(name: str) -> Callable[[Resized], object]:
    return lambda net: net.arrays.pop(name)


OTHERS: dict[str, tuple[int, int, Callable[[Resized], object]]] = {
    "the network has 53 convolutions, expected 104 (a ResNet-101)": (50, CLASSES, lambda _: None),
    "the network has 155 convolutions, expected 104 (a ResNet-101)": (152, CLASSES, lambda _: None),
    "the network has 21 convolutions, expected 104 (a ResNet-101)": (18, CLASSES, lambda _: None),
    "the last layer has 15,526 classes, expected 15,527 (fc1)": (101, 15_526, lambda _: None),
    "convolution 12 is 256×128×1×1, expected 128×256×1×1 (stage2_unit1_conv1;": (
        *(101, CLASSES),
        reshaped("stage2_unit1_conv1_weight", 256, 128, 1, 1),
    ),
    "convolution 5 is 64×256×1×1, expected 256×64×1×1 (stage1_unit1_sc; ours: stage1_unit1_sc)": (
        *(101, CLASSES),
        reshaped("stage1_unit1_sc_weight", 64, 256, 1, 1),
    ),
    "norm 4 has 65 channels, expected 64 (stage1_unit1_bn2; ours: stage1_unit1_bn2)": (
        *(101, CLASSES),
        lambda net: [reshaped(f"stage1_unit1_bn2_{part}", 65)(net) for part in PARTS],
    ),
    "behind fc1 (last layer): operands could not be broadcast together with": (
        *(101, CLASSES),
        reshaped("fc1_bias", CLASSES - 1),
    ),
    "norm 6 has 255 channels, expected 256 (stage1_unit2_bn1; ours: stage1_unit2_bn1)": (
        *(101, CLASSES),
        reshaped("stage1_unit2_bn1_beta", 255),
    ),
    "behind convolution 2 (stage1_unit1_conv1) comes relu stage1_unit1_bn2, expected one norm": (
        *(101, CLASSES),
        exchanged("stage1_unit1_bn2", "stage1_unit1_relu2"),
    ),
    "convolution 13 (stage2_unit1_conv2) is 3×3 with stride 1×1 and borders of 1/1/1/1": (
        *(101, CLASSES),
        attributes("stage2_unit1_conv2", stride="(1, 1)"),
    ),
    "the max pooling is 3×3 with stride 2×2 and borders of 0/0/0/0, expected 3×3": (
        *(101, CLASSES),
        attributes("pooling0", pad="(0, 0)"),
    ),
    "conv0 is dilated or in groups": (101, CLASSES, attributes("conv0", dilate="(2, 2)")),
    "pooling0 (Pooling) is no layer of the ResNet of 2017": (
        *(101, CLASSES),
        attributes("pooling0", pool_type="sum"),
    ),
    "relu0 (Activation) is no layer of the ResNet of 2017": (
        *(101, CLASSES),
        attributes("relu0", act_type="tanh"),
    ),
    "the parameters lack stage3_unit7_conv2_weight": (
        *(101, CLASSES),
        without("stage3_unit7_conv2_weight"),
    ),
    "bn0 (BatchNorm) cannot be read: could not convert string to float: 'small'": (
        *(101, CLASSES),
        lambda net: rewritten(net, "bn0", eps="small"),
    ),
}


def rewritten(net: Resized, name: str, **given: str) -> None:
    """Change attributes that MXNet itself would not read."""
    tojson = net.symbol.tojson

    class Symbol:
        def save(self, path: str) -> None:
            graph = json.loads(tojson())
            next(node for node in graph["nodes"] if node["name"] == name)["attrs"] |= given
            Path(path).write_text(json.dumps(graph))

    net.symbol = Symbol()


@pytest.mark.parametrize("message", OTHERS)
def test_another_network_is_one_line_that_names_the_layer(tmp_path: Path, message: str) -> None:
    depth, classes, change = OTHERS[message]
    net = Resized(depth, classes)
    change(net)
    with pytest.raises(InputError) as caught:
        match(net.layers(tmp_path))
    assert str(caught.value).startswith(f"{tmp_path / 'net.json'}: {message}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("called", ["param", "attr"])
def test_a_symbol_of_an_older_mxnet_is_read(tmp_path: Path, called: str) -> None:
    """Attributes were called otherwise, and the statistics of a BatchNorm had no nodes once."""
    net = Resized(101, CLASSES)
    graph = json.loads(net.symbol.tojson())
    kept = [index for index, node in enumerate(graph["nodes"]) if "_moving_" not in node["name"]]
    places = {old: new for new, old in enumerate(kept)}
    nodes = [graph["nodes"][index] for index in kept]
    for node in nodes:
        given = node.pop("attrs", {})
        node[called] = {name: text.replace(", ", ",") for name, text in given.items()}
        node["inputs"] = [[places[source], 0] for source, *_ in node["inputs"] if source in places]
    heads = [[places[source], 0] for source, *_ in graph["heads"]]
    (tmp_path / "old.json").write_text(json.dumps({"nodes": nodes, "heads": heads}))
    found = match(symbol_layers(tmp_path / "old.json", net.arrays)[0])
    assert found.parameters.norms["bn_data"].gamma.tolist() == [1, 1, 1]


def test_names_alone_must_be_those_of_2017(tmp_path: Path) -> None:
    net, path = Resized(101, CLASSES), tmp_path / "x.params"
    match(named_layers(path, {f"arg:{name}": array for name, array in net.arrays.items()}))
    with pytest.raises(InputError, match=r"x\.params: the last layer has 15,526 classes"):
        match(named_layers(path, Resized(101, CLASSES - 1).arrays))
    with pytest.raises(InputError, match="the parameters lack stage3_unit7_bn1_gamma"):
        named_layers(path, Resized(50, CLASSES).arrays)
    with pytest.raises(InputError, match="a ResNet-101 has no stage2_unit5_bn1_gamma"):
        named_layers(path, Resized(152, CLASSES).arrays | Resized(101, CLASSES).arrays)
    reshaped("stage2_unit1_conv1_weight", 256, 128, 1, 1)(net)
    with pytest.raises(InputError, match="convolution 12 is 256×128×1×1, expected 128×256×1×1"):
        match(named_layers(path, net.arrays))


def test_the_parameters_beside_a_symbol_must_be_the_only_ones(tmp_path: Path, cells: Path) -> None:
    symbol = tmp_path / "net-symbol.json"
    symbol.write_text("{}")
    words = (symbol, "--grid", cells, "--force", "-o", tmp_path / "b")
    assert str(import_2017(*words).exception) == (
        f"{symbol}: no parameters beside it: expected net.params or net-NNNN.params"
    )
    for name in ("net-0001.params", "net-0012.params", "network.params", "net-best.params"):
        (tmp_path / name).touch()
    assert str(import_2017(*words).exception) == (
        f"{symbol}: several parameters beside it: give one of net-0001.params, net-0012.params"
    )
    (tmp_path / "net-0012.params").unlink()
    assert "net-0001.params: empty" in str(import_2017(*words).exception)
    assert not (tmp_path / "b").exists()
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("net.onnx", b"no network", "net.onnx: not an ONNX network"),
        ("net.params", b"no parameters, but long enough to be some", "net.params: not a list of"),
        ("net.h5", b"", "net.h5: expected X.params, an MXNet symbol X.json, or X.onnx"),
        ("none.onnx", None, "none.onnx: no such file"),
    ],
)
def test_another_file_is_one_line_and_leaves_nothing(
    tmp_path: Path, cells: Path, name: str, content: bytes | None, message: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    before = sorted(tmp_path.iterdir())
    done = import_2017(tmp_path / name, "--grid", cells, "--force", "-o", tmp_path / "b")
    assert isinstance(done.exception, LocationNetError)
    assert str(done.exception).startswith(f"{tmp_path / message}")
    assert sorted(tmp_path.iterdir()) == before


def test_another_grid_is_refused_unless_forced(tmp_path: Path, cells: Path) -> None:
    (tmp_path / "net.params").touch()
    words = (tmp_path / "net.params", "-o", tmp_path / "b", "--grid")
    md5 = hashlib.md5(cells.read_bytes()).hexdigest()
    assert str(import_2017(*words, cells).exception) == (
        f"{cells}: not the grid of 2017 (its MD5 is {md5}, expected"
        " 1228c937dafe828f636f056f5099bf78); --force takes it all the same"
    )
    done = import_2017(*words, ROOT / "grids.txt", "--force")
    assert str(done.exception) == (
        f"{ROOT / 'grids.txt'}: 14,927 cells, and the network has 15,527 classes"
    )
    (tmp_path / "broken.txt").write_text("47e7\t1\n")
    done = import_2017(*words, tmp_path / "broken.txt", "--force")
    assert str(done.exception).startswith(f"{tmp_path / 'broken.txt'}:1: expected token, lat, lng")
    assert "cannot be read" in str(import_2017(*words, tmp_path / "none.txt").exception)
    assert not (tmp_path / "b").exists()


@pytest.fixture
def grid_server(cells: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ThreadingHTTPServer]:
    """A server that the grid is fetched from; every other path is not found."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = self.path == "/grids.txt"
            self.send_response(200 if found else 404)
            self.end_headers()
            self.wfile.write(cells.read_bytes() if found else b"")

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever)
    thread.start()
    pair = f"127.0.0.1:{server.server_port}"
    monkeypatch.setattr(module, "_GRID_POLICY", FetchPolicy(exempt=(pair,)))
    monkeypatch.setattr(module, "GRID_URL", f"http://{pair}/grids.txt")
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def test_the_grid_is_fetched_and_checked(
    tmp_path: Path, grid_server: ThreadingHTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "net.params").touch()
    words = (tmp_path / "net.params", "-o", tmp_path / "b")
    url = module.GRID_URL
    assert str(import_2017(*words).exception).startswith(f"{url}: not the grid of 2017 (its MD5")
    assert "net.params: empty" in str(import_2017(*words, "--force").exception)
    monkeypatch.setattr(module, "GRID_URL", f"{url}/none")
    assert str(import_2017(*words).exception) == (
        f"grids.txt of 2017 cannot be fetched from {url}/none (the remote server answered 404, not"
        " 200: there is nothing at this address; is it complete?): give it with --grid"
    )
    grid_server.shutdown()
    grid_server.server_close()
    done = import_2017(*words)
    assert "could not be reached): give it with --grid" in str(done.exception)
    assert not (tmp_path / "b").exists()


def test_a_network_that_answers_nan_is_refused_without_mxnet_too(tmp_path: Path) -> None:
    helper, floats, path = onnx.helper, onnx.TensorProto.FLOAT, tmp_path / "x.params"
    nan = onnx.numpy_helper.from_array(np.array(np.nan, np.float32), "nan")
    graph = helper.make_graph(
        [helper.make_node("Mul", ["images", "nan"], ["probabilities"])],
        "nan",
        [helper.make_tensor_value_info("images", floats, ["n", 3, 224, 224])],
        [helper.make_tensor_value_info("probabilities", floats, ["n", 3, 224, 224])],
        [nan],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, tmp_path / "model.onnx")

    def not_installed(_: object) -> NDArray[np.float32]:
        raise MissingExtraError("training", "train")

    network = module._Network([path], Layers(path, "data"), "MXNet", not_installed)
    found = match(Resized(101, CLASSES).layers(tmp_path))
    with pytest.raises(InputError, match=r"x\.params: its network answers NaN"):
        module._fit(network, found, tmp_path / "model.onnx")


def test_answers_that_differ_are_no_fit() -> None:
    theirs = np.array([[0.5, 0.3, 0.1, 0.06, 0.03, 0.01]], np.float32)
    assert compare("MXNet", theirs, theirs).difference == 0
    for place, change in ((0, 2e-5), (4, 5e-5), (5, np.nan)):
        ours = theirs.copy()
        ours[0, place] += change
        with pytest.raises(LocationNetError, match="answers otherwise than the file in MXNet"):
            compare("MXNet", theirs, ours)
