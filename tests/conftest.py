"""Fixtures shared by all tests: a tiny real bundle, the demo locator, generated photos."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import numpy as np
import onnx
import pytest
from hypothesis import settings
from numpy.typing import NDArray
from PIL import Image

from locationnet.geo import s2
from locationnet.geo.grid import Grid
from locationnet.model.locator import Locator, load_model
from locationnet.model.manifest import write_manifest

# What hypothesis itself takes where CI is set, so that a newcomer's tests are those of CI: the same
# examples in each run, and no time limit on any. Half as many as it would take keep CI short.
settings.register_profile("short", settings.get_profile("ci"), max_examples=50)
settings.load_profile("short")

TINY_SIZE = 32
# A bright photo is Oslo, a dark one Nairobi, a red one San Francisco.
TINY_PLACES = [
    ("Oslo", "Oslo", "NO", 59.91, 10.75),
    ("Nairobi", "Nairobi County", "KE", -1.29, 36.82),
    ("San Francisco", "California", "US", 37.77, -122.42),
    ("Oakland", "California", "US", 37.80, -122.27),
]


@pytest.fixture(autouse=True)
def nothing_outlives_its_test(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """End what a test has started and left behind, with all that this has started in turn.

    A test that fails seldom reaches the line that ends its processes. Servers of a whole module or
    session are started before this, and ended by their own fixtures.
    """
    started: list[subprocess.Popen[Any]] = []
    start = subprocess.Popen.__init__

    def remembered(process: subprocess.Popen[Any], *words: Any, **how: Any) -> None:
        start(process, *words, **how)
        started.append(process)

    monkeypatch.setattr(subprocess.Popen, "__init__", remembered)
    yield
    for process in started:
        # Its group, if it has one, may outlive it.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        if process.poll() is None:
            process.kill()
            process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                with suppress(OSError):
                    stream.close()


@pytest.fixture(scope="session", autouse=True)
def own_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A data directory of the tests' own: no bundle of the developer's is found, none changed."""
    folder = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LOCATIONNET_HOME", str(folder))
        yield folder


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of development photos and coordinates, which is never committed."""
    folder = Path(__file__).parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the development data is not beside this checkout")
    return folder


@pytest.fixture(scope="session")
def chromium() -> Path:
    """A system Chromium; `.ci/run` installs one."""
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        if os.environ.get("TESTS_SKIP_NOTHING"):
            pytest.fail("Chromium is not installed, and nothing may be skipped")
        pytest.skip("Chromium is not installed")
    return Path(found)


@pytest.fixture(scope="session")
def browser_environment() -> dict[str, str | float | bool]:
    """What Chromium is started with: it ends at once where its socket's path has over 107 bytes."""
    return {**os.environ, "TMPDIR": "/tmp"}


@pytest.fixture(scope="session")
def rocket() -> Path:
    """The launch photo that ships inside scikit-image."""
    found = find_spec("skimage")
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent / "data" / "rocket.jpg"


@pytest.fixture(scope="session")
def make_bundle(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Write a real bundle whose network looks at the mean colour only."""

    def make(**fields: Any) -> Path:
        directory = tmp_path_factory.mktemp("bundle")
        _write_tiny_bundle(directory, fields)
        return directory

    return make


@pytest.fixture(scope="session")
def tiny_bundle(make_bundle: Callable[..., Path]) -> Path:
    """One such bundle, not to be changed."""
    return make_bundle()


@pytest.fixture(scope="session")
def embedding_bundle(make_bundle: Callable[..., Path]) -> Path:
    """A bundle whose network answers the mean colour as its embedding, not to be changed."""
    path = make_bundle()
    network = onnx.load(path / "model.onnx")
    for node in network.graph.node:
        for names in (node.input, node.output):
            names[:] = ["embedding" if name == "colour" else name for name in names]
    network.graph.output.append(
        onnx.helper.make_tensor_value_info("embedding", onnx.TensorProto.FLOAT, ["n", 3])
    )
    onnx.save(network, path / "model.onnx")
    fields = json.loads((path / "manifest.json").read_text())
    del fields["files"]
    write_manifest(path, fields)
    return path


@pytest.fixture(scope="session")
def tiny_locator(tiny_bundle: Path) -> Locator:
    """The locator of `tiny_bundle`."""
    return load_model(tiny_bundle)


@pytest.fixture(scope="session")
def demo_locator() -> Locator:
    """The locator that ships with the package."""
    return load_model("demo")


@pytest.fixture(scope="session")
def make_photo() -> Callable[..., bytes]:
    """Encode a plain-coloured or given image."""

    def make(
        colour: tuple[int, int, int] = (128, 128, 128),
        size: tuple[int, int] = (64, 48),
        form: str = "JPEG",
        image: Image.Image | None = None,
        **options: Any,
    ) -> bytes:
        buffer = io.BytesIO()
        (image or Image.new("RGB", size, colour)).save(buffer, form, **options)
        return buffer.getvalue()

    return make


def _write_tiny_bundle(directory: Path, fields: dict[str, Any]) -> None:
    """Write a bundle of four cells and a network of one matrix."""
    lat = np.array([place[3] for place in TINY_PLACES])
    lng = np.array([place[4] for place in TINY_PLACES])
    ids = s2.parent_ids(s2.leaf_ids(lat, lng), 10)
    order = np.argsort(ids)
    Grid(ids[order], lat[order], lng[order]).write(directory / "grids.txt")
    places = [TINY_PLACES[index] for index in order]
    rows = [
        f"{i},{city},{region},{country}" for i, (city, region, country, *_) in enumerate(places)
    ]
    text = "\n".join(["class,city,region,country", *rows]) + "\n"
    (directory / "places.csv").write_text(text, encoding="utf-8")
    prior = np.array([0.4, 0.2, 0.3, 0.1], np.float32)[order]
    np.save(directory / "prior.npy", prior)
    weights = np.array([[9, 9, 9], [-9, -9, -9], [9, -6, -6], [3, -3, -3]], np.float32)[order]
    onnx.save(_colour_network(weights), directory / "model.onnx")
    manifest = {
        "format": 1,
        "name": "tiny",
        "version": "0.0.1",
        "description": "Four cells told apart by colour, for tests.",
        "license": "Apache-2.0",
        "preprocessing": {
            "recipe": "pillow",
            "size": TINY_SIZE,
            "short_side": TINY_SIZE,
            "mean": [127.5] * 3,
            "std": [127.5] * 3,
        },
    }
    write_manifest(directory, {**manifest, **fields})


def _colour_network(weights: NDArray[np.float32]) -> onnx.ModelProto:
    """softmax(weights · mean colour)."""
    helper, floats = onnx.helper, onnx.TensorProto.FLOAT
    shape: list[str | int | None] = ["n", 3, TINY_SIZE, TINY_SIZE]
    graph = helper.make_graph(
        [
            helper.make_node("GlobalAveragePool", ["images"], ["pooled"]),
            helper.make_node("Flatten", ["pooled"], ["colour"]),
            helper.make_node("MatMul", ["colour", "weights"], ["logits"]),
            helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
        ],
        "tiny",
        [helper.make_tensor_value_info("images", floats, shape)],
        [helper.make_tensor_value_info("probabilities", floats, ["n", len(weights)])],
        [onnx.numpy_helper.from_array(np.ascontiguousarray(weights.T), "weights")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


@pytest.fixture
def s3_server() -> Iterator[str]:
    """The address of an empty store."""
    pytest.importorskip("boto3", reason="needs the extra 'aws'")
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    # What it holds belongs to the process, and outlives it.
    urlopen(Request(f"{url}/moto-api/reset", method="POST")).close()
    yield url
    server.stop()


@pytest.fixture
def put(s3_server: str) -> Callable[[str, bytes], None]:
    """Put an object into the store's public bucket ``commons``."""
    import boto3

    client = boto3.client(
        "s3",
        endpoint_url=s3_server,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )
    client.create_bucket(Bucket="commons", ACL="public-read")

    def put(key: str, content: bytes) -> None:
        client.put_object(Bucket="commons", Key=key, Body=content, ACL="public-read")

    return put
