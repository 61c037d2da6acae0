"""GeoCLIP's files to a bundle: the real encoder and head, and every form that they come in."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import zipfile
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import save_file
from typer.testing import CliRunner, Result

from locationnet.cli import app
from locationnet.errors import FullDiskError, InputError, LocationNetError, RemoteFailedError
from locationnet.files import file_sha256
from locationnet.importing import geoclip_files
from locationnet.importing.geoclip import import_geoclip
from locationnet.importing.geoclip_files import WHEEL, read_release, read_wheel
from locationnet.importing.pth import read_pth
from locationnet.model.bundle import Bundle, available_models
from locationnet.model.locator import load_model
from locationnet.model.sessions import OnnxSession
from tests.importing.clip_files import SIZE, run_tower, tower_weights, write_clip
from tests.importing.hub_server import COMMIT, Hub

PACKAGE = Path(str(metadata.distribution("geoclip").locate_file("geoclip")))
CITIES = {"Oslo": (59.91, 10.75), "Nairobi": (-1.29, 36.82), "Tokyo": (35.66, 139.73)}
TABLE = "lat,lng\n" + "".join(f"{lat},{lng}\n" for lat, lng in [*CITIES.values(), CITIES["Oslo"]])


@pytest.fixture
def cities(tmp_path: Path) -> Path:
    path = tmp_path / "cities.csv"
    path.write_text(TABLE)
    return path


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LOCATIONNET_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(app, ["import", "geoclip", *map(str, words)])


def pth(name: str) -> dict[str, NDArray[Any]]:
    with (PACKAGE / "model" / "weights" / name).open("rb") as file:
        return read_pth(file, name)


def encoded(places: list[tuple[float, float]]) -> NDArray[np.float64]:
    """The location encoder by the book, a place and a capsule at a time, in double precision."""
    w = pth("location_encoder_weights.pth")
    found = []
    for lat, lng in np.radians(np.array(places, np.float32).astype(np.float64)):
        theta = np.arcsin(np.sqrt(3) / 2 * np.sin(lat))
        a1, a2, a3, a4 = 1.340264, -0.081106, 0.000893, 0.003796
        slope = 3 * (9 * a4 * theta**8 + 7 * a3 * theta**6 + 3 * a2 * theta**2 + a1)
        x = 2 * np.sqrt(3) * lng * np.cos(theta) / slope
        y = a4 * theta**9 + a3 * theta**7 + a2 * theta**3 + a1 * theta
        point = np.array([x, y]) * 66.50336 / 180
        total = np.zeros(512)
        for number in range(3):
            name = f"LocEnc{number}"
            angles = 2 * np.pi * w[f"{name}.capsule.0.b"].astype(np.float64) @ point
            values = np.concatenate([np.cos(angles), np.sin(angles)])
            for layer in (1, 3, 5):
                weight, bias = (w[f"{name}.capsule.{layer}.{part}"] for part in ("weight", "bias"))
                values = np.maximum(weight @ values + bias, 0)
            total += w[f"{name}.head.0.weight"] @ values + w[f"{name}.head.0.bias"]
        found.append(total / np.linalg.norm(total))
    return np.stack(found)


def test_the_real_encoder_answers_as_by_the_book() -> None:
    places = [*CITIES.values(), (90.0, 0.0), (-90.0, 12.0), (0.0, 180.0), (0.0, -180.0), (0.0, 0.0)]
    lat, lng = np.array(places).T.copy()
    seen: list[tuple[int, int]] = []
    found = read_wheel().locations.encode(lat, lng, lambda *how: seen.append(how))
    assert found.dtype == np.float32
    assert np.abs(np.linalg.norm(found, axis=1) - 1).max() < 1e-6
    # float32 is good to 0.04 of a logit, and a logit is 39.687 times as much.
    assert np.abs(found - encoded(places)).max() < 2e-4
    assert np.abs((found * encoded(places)).sum(axis=1) - 1).max() < 0.04 / 39.687
    assert seen == [(8, 8)]


def test_the_bundle_answers_as_its_parts_do(small_clip: Path, cities: Path, tmp_path: Path) -> None:
    out = tmp_path / "bundle"
    done = import_geoclip(out, clip=str(small_clip), gallery=cities, half=False)
    assert done.rows == 4
    bundle = Bundle.open(out)
    assert len(bundle.grid) == 3
    images = np.random.default_rng(1).normal(0, 1, (2, 3, SIZE, SIZE)).astype(np.float32)
    found = OnnxSession(out / "model.onnx").run(images)
    head = pth("image_encoder_mlp_weights.pth")
    hidden = run_tower(tower_weights(), images) @ head["0.weight"].T + head["0.bias"]
    features = np.maximum(hidden, 0) @ head["2.weight"].T + head["2.bias"]
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    assert np.abs(found["embedding"] - features).max() < 1e-5
    places = list(zip(bundle.grid.lat.tolist(), bundle.grid.lng.tolist(), strict=True))
    logits = float(np.exp(pth("logit_scale_weights.pth")[""])) * features @ encoded(places).T
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    # 0.04 of a logit moves a probability by at most 4 % of itself.
    assert np.abs(found["probabilities"] / expected - 1).max() < 0.08


def test_the_manifest_says_where_everything_is_from(
    small_clip: Path, cities: Path, tmp_path: Path
) -> None:
    out = tmp_path / "bundle"
    result = run("-o", out, "--clip", small_clip, "--gallery", cities, "--name", "mine")
    assert result.exit_code == 0, result.output
    assert "places         3 different ones in 4 rows" in result.output
    assert "not calibrated" in result.output
    assert result.output.splitlines()[-1] == f"wrote {out}"
    manifest = Bundle.open(out).manifest
    assert (manifest.name, manifest.version, manifest.license) == ("mine", "1.3.0", "MIT")
    assert not manifest.calibrated
    assert not manifest.calibrated
    assert manifest.license == "MIT"
    assert manifest.preprocessing.model_dump() == {"recipe": "clip", "size": 224}
    sources = {source["file"]: source for source in manifest.training["imported_from"]}
    assert sources.keys() == {
        "image_encoder_mlp_weights.pth", "location_encoder_weights.pth",
        "logit_scale_weights.pth", "coordinates_100K.csv", "cities.csv", "config.json",
        "model.safetensors",
    }  # fmt: skip
    assert sources["model.safetensors"]["from"] == "a local file"
    assert str(tmp_path) not in (out / "manifest.json").read_text()
    # Published figures are of the published weights: none are claimed for others.
    assert manifest.accuracy == {}
    prior = np.load(out / "prior.npy")
    assert np.allclose(prior, 1 / 3)
    assert set(Bundle.open(out).names.country) == {"NO", "KE", "JP"}


def test_a_bundle_without_a_folder_is_installed_under_its_name(
    small_clip: Path, cities: Path, home: Path
) -> None:
    result = run("--clip", small_clip, "--gallery", cities)
    assert result.exit_code == 0, result.output
    assert f"installed as geoclip: {home / 'models' / 'geoclip'}" in result.output
    assert available_models() == ["demo", "geoclip"]
    assert load_model("geoclip").bundle.manifest.name == "geoclip"
    listed = CliRunner().invoke(app, ["models"])
    assert "geoclip  1.3.0  GeoCLIP" in listed.output
    again = run("--clip", small_clip, "--gallery", cities)
    assert isinstance(again.exception, InputError)
    assert "exists; --overwrite replaces it" in str(again.exception)
    assert run("--clip", small_clip, "--gallery", cities, "--overwrite").exit_code == 0


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--name", "../x"], "not a valid name of a bundle"),
        (["--name", "a b", "-o", "x"], "not a valid name of a bundle"),
        (["--name", "demo"], "what a bundle of the package is called"),
        (["--release", ".", "--wheel", "x.whl"], "give one of them"),
        (["--wheel", "nowhere.whl"], "nowhere.whl: cannot be read (No such file"),
        (["--clip", "./nowhere"], "./nowhere: no such folder, and no name of a model"),
        (["--release", "./nowhere"], "./nowhere: no such folder, and no name of a model"),
        (["--gallery", "nowhere.csv"], "nowhere.csv"),
        (["-o", "nowhere/at/all"], "the folder to write it in does not exist"),
    ],
)
def test_what_is_wrong_is_said_in_one_line_and_nothing_is_left(
    words: list[str], why: str, home: Path, cities: Path, tmp_path: Path
) -> None:
    result = run("--gallery", cities, *words)
    assert isinstance(result.exception, LocationNetError), result.output
    assert why in str(result.exception)
    assert "\n" not in str(result.exception)
    assert [path for path in home.rglob("*") if path.is_file()] == []


def test_a_wrong_level_is_wrong_usage() -> None:
    assert run("--level", "31").exit_code == 2
    assert run("--weights", "f8").exit_code == 2


def test_a_tower_that_geoclip_was_not_trained_on_is_refused(
    small_clip: Path, cities: Path, tmp_path: Path
) -> None:
    weights = tower_weights()
    weights["visual_projection.weight"] = weights["visual_projection.weight"][:512]
    clip = write_clip(tmp_path / "clip", weights)
    out = tmp_path / "bundle"
    with pytest.raises(InputError, match=r"answers 512 numbers, and GeoCLIP's head takes 768"):
        import_geoclip(out, clip=str(clip), gallery=cities)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cities.csv", "clip"]
    clip = write_clip(tmp_path / "gelu", hidden_act="gelu")
    with pytest.raises(InputError, match="hidden_act"):
        import_geoclip(out, clip=str(clip), gallery=cities)


def test_a_failure_leaves_the_earlier_bundle_alone(
    small_clip: Path, cities: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "bundle"
    import_geoclip(out, clip=str(small_clip), gallery=cities)
    before = (out / "manifest.json").read_bytes()
    truncated = Path(shutil.copytree(small_clip, tmp_path / "clip")) / "model.safetensors"
    truncated.write_bytes(truncated.read_bytes()[:-1])
    with pytest.raises(InputError, match="not a whole safetensors file"):
        import_geoclip(out, clip=str(truncated.parent), gallery=cities, overwrite=True)
    assert (out / "manifest.json").read_bytes() == before
    assert not list(tmp_path.glob(".*"))


def test_a_full_disk_is_one_line_and_leaves_nothing(
    small_clip: Path, cities: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = Path.open

    def to_a_full_disk(path: Path, *how: Any, **more: Any) -> Any:
        return opened(Path("/dev/full") if path.name == "model.onnx" else path, *how, **more)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", to_a_full_disk)
        with pytest.raises(FullDiskError, match=r"bundle: cannot be written \(No space left"):
            import_geoclip(tmp_path / "bundle", clip=str(small_clip), gallery=cities)
    assert [path.name for path in tmp_path.iterdir()] == ["cities.csv"]


def test_both_files_come_from_the_hub(
    hub: Hub, small_clip: Path, cities: Path, tmp_path: Path
) -> None:
    for path in small_clip.iterdir():
        hub.files[f"some/clip/{path.name}"] = path.read_bytes()
    hub.files["some/clip/pytorch_model.bin"] = b"never fetched"
    out = tmp_path / "bundle"
    import_geoclip(out, clip="some/clip", gallery=cities)
    sources = Bundle.open(out).manifest.training["imported_from"]
    assert [source["from"] for source in sources[-2:]] == [f"some/clip@{COMMIT}"] * 2
    # The second is of the revision that the first was found at.
    assert [path for path, _ in hub.sent] == [
        "some/clip/resolve/main/config.json",
        f"some/clip/resolve/{COMMIT}/model.safetensors",
    ]
    with pytest.raises(InputError, match="no such revision"):
        import_geoclip(tmp_path / "b", clip="some/clip", revision="v9", gallery=cities)


def test_the_published_tower_is_pinned(hub: Hub, cities: Path, tmp_path: Path) -> None:
    """Another file under its name is refused, whatever checksum the hub tells of it."""
    hub.commit = str(geoclip_files.CLIP.revision)
    hub.files["openai/clip-vit-large-patch14/config.json"] = b"{}"
    pinned = r"not openai/clip-vit-large-patch14's config.json \(its sha256 is 44136fa355b3…"
    for clip in (None, "openai/clip-vit-large-patch14"):
        with pytest.raises(LocationNetError, match=pinned):
            import_geoclip(tmp_path / "b", clip=clip, gallery=cities)
    # Another revision is another thing, and what is wrong with it shows before its weights come.
    with pytest.raises(InputError, match="model_type is None"):
        import_geoclip(
            tmp_path / "b", clip="openai/clip-vit-large-patch14", revision="main", gallery=cities
        )
    assert not any(path.endswith("safetensors") for _, path, _ in hub.asked)
    assert not (tmp_path / "b").exists()


Change = Callable[[dict[str, Any], dict[str, NDArray[Any]]], object]


def write_release(folder: Path, change: Change = lambda *_: None) -> Path:
    """Write a release of format version 1 of GeoCLIP's own weights, with three places."""
    folder.mkdir()
    tensors = {
        **{f"location_encoder.{n}": t for n, t in pth("location_encoder_weights.pth").items()},
        **{f"image_encoder.mlp.{n}": t for n, t in pth("image_encoder_mlp_weights.pth").items()},
        "logit_scale": pth("logit_scale_weights.pth")[""],
    }
    config: dict[str, Any] = {
        "model_type": "geoclip-geolocation",
        "format_version": 1,
        "sigma": [1, 16, 256],
        "gallery_file": "places.csv",
        "backbone": {"repo_id": "some/clip", "revision": COMMIT},
    }
    change(config, tensors)
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "places.csv").write_text(TABLE.replace("lat,lng", "LAT,LON"))
    save_file(tensors, folder / "model.safetensors")
    return folder


def test_a_release_is_the_same_network(small_clip: Path, cities: Path, tmp_path: Path) -> None:
    release = write_release(tmp_path / "release")
    import_geoclip(tmp_path / "wheel", clip=str(small_clip), gallery=cities)
    import_geoclip(tmp_path / "other", clip=str(small_clip), release=str(release))
    own, other = ((tmp_path / name / "model.onnx").read_bytes() for name in ("wheel", "other"))
    assert own == other
    # Whoever publishes a release chooses its licence.
    assert Bundle.open(tmp_path / "other").manifest.license == "unstated"
    files = [
        source["file"]
        for source in Bundle.open(tmp_path / "other").manifest.training["imported_from"]
    ]
    assert files == [
        "config.json", "model.safetensors", "places.csv", "config.json", "model.safetensors",
    ]  # fmt: skip


def test_a_release_on_the_hub_names_its_tower(hub: Hub, small_clip: Path, tmp_path: Path) -> None:
    for repository, folder in (
        ("some/release", write_release(tmp_path / "release")),
        ("some/clip", small_clip),
    ):
        for path in folder.iterdir():
            hub.files[f"{repository}/{path.name}"] = path.read_bytes()
    import_geoclip(tmp_path / "bundle", release="some/release", revision="main")
    assert len(Bundle.open(tmp_path / "bundle").grid) == 3
    assert {path.split("/resolve/")[0] for path, _ in hub.sent} == {"some/release", "some/clip"}


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda c, _: c.update(model_type="geoclip-location-encoder"), "model_type is not"),
        (lambda c, _: c.update(format_version=2), "format_version is 2, expected 1"),
        (lambda c, _: c.update(format_version=True), "format_version is True, expected 1"),
        (lambda c, _: c.update(gallery_file="../places.csv"), "must name a file of the release"),
        (lambda c, _: c.update(gallery_file="other.csv"), "other.csv: cannot be read"),
        (lambda c, _: c.pop("gallery_file"), "must name a file of the release"),
        (lambda c, _: c.update(backbone="some/clip"), "backbone must say repo_id and revision"),
        (lambda _, t: t.pop("logit_scale"), "contains no tensor logit_scale"),
        (lambda _, t: t.update(logit_scale=np.array([1.0])), "logit_scale: is 1, expected one"),
        (lambda _, t: t.update(logit_scale=np.array(200.0)), "logit_scale 200 is beyond 100"),
        (lambda _, t: t.pop("location_encoder.LocEnc1.head.0.bias"), "no tensor LocEnc1.head.0"),
        (lambda _, t: t.update(more=np.zeros(2)), "tensor more is no part of"),
        (
            lambda _, t: t.update({"location_encoder.LocEnc0.more": np.zeros(2)}),
            "LocEnc0.more is no part of",
        ),
        (lambda _, t: t.pop("image_encoder.mlp.0.bias"), "no tensor image_encoder.mlp.0.bias"),
    ],
)
def test_a_release_that_is_none_is_one_line(change: Change, why: str, tmp_path: Path) -> None:
    release = write_release(tmp_path / "release", change)
    with pytest.raises(InputError) as raised:
        read_release(str(release))
    assert why in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.fixture
def zipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The wheel's files in a zip again, whose checksum stands for the wheel's."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    path = folder / WHEEL
    with zipfile.ZipFile(path, "w") as wheel:
        for file in metadata.files("geoclip") or []:
            if "__pycache__" not in file.parts and file.name not in ("INSTALLER", "REQUESTED"):
                wheel.write(file.locate(), str(file))
    monkeypatch.setattr(geoclip_files, "WHEEL_SHA256", file_sha256(path))
    return path


def test_the_wheel_is_read_as_a_zip(zipped: Path, tmp_path: Path) -> None:
    parts, installed = read_wheel(zipped), read_wheel()
    assert parts.scale == installed.scale == pytest.approx(39.687, abs=1e-3)
    assert isinstance(parts.gallery, tuple)
    assert len(parts.gallery[0]) == 100_000
    assert [source.sha256 for source in parts.sources] == [
        source.sha256 for source in installed.sources
    ]
    with zipped.open("ab") as file:
        file.write(b"x")
    with pytest.raises(InputError, match=f"not {WHEEL} as it was published"):
        read_wheel(zipped)


def without_geoclip(name: str) -> metadata.Distribution:
    raise metadata.PackageNotFoundError(name)


def test_pip_fetches_the_wheel_once(
    zipped: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(geoclip_files, "distribution", without_geoclip)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(zipped.parent))
    assert read_wheel().scale == pytest.approx(39.687, abs=1e-3)
    assert [path.name for path in (home / "downloads").iterdir()] == [WHEEL]
    monkeypatch.setenv("PIP_FIND_LINKS", str(home))  # where there is none
    assert read_wheel().scale == pytest.approx(39.687, abs=1e-3)


def test_a_wheel_that_pip_cannot_find_or_finds_wrong_is_one_line(
    zipped: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(geoclip_files, "distribution", without_geoclip)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(home))
    with pytest.raises(RemoteFailedError, match=r"cannot be fetched with pip .*--wheel") as raised:
        read_wheel()
    assert "\n" not in str(raised.value)
    monkeypatch.setenv("PIP_FIND_LINKS", str(zipped.parent))
    monkeypatch.setattr(geoclip_files, "WHEEL_SHA256", "0" * 64)
    with pytest.raises(LocationNetError, match="is not what was published"):
        read_wheel()
    assert list((home / "downloads").iterdir()) == []


def test_neither_torch_nor_geoclip_is_ever_imported(
    small_clip: Path, cities: Path, tmp_path: Path
) -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "from locationnet.importing.geoclip import import_geoclip\n"
        "import_geoclip(Path(sys.argv[1]), clip=sys.argv[2], gallery=Path(sys.argv[3]))\n"
        "print(sorted({'torch', 'geoclip', 'transformers', 'mxnet'} & set(sys.modules)))"
    )
    words = [sys.executable, "-c", code, *map(str, (tmp_path / "bundle", small_clip, cities))]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_command_itself_asks_the_hub_that_it_is_told(
    hub: Hub, small_clip: Path, cities: Path, tmp_path: Path
) -> None:
    for path in small_clip.iterdir():
        hub.files[f"some/clip/{path.name}"] = path.read_bytes()

    def command(endpoint: str) -> subprocess.CompletedProcess[str]:
        words = ["import", "geoclip", "--clip", "some/clip", "--gallery", str(cities)]
        return subprocess.run(
            [sys.executable, "-c", "from locationnet.cli import main; main()", *words],
            env={**os.environ, "HF_ENDPOINT": endpoint, "HF_HOME": str(tmp_path / "hf")},
            capture_output=True,
            text=True,
            check=False,
        )

    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{closed.getsockname()[1]}"
        failed = command(nobody)
    assert failed.returncode == 1
    (line,) = failed.stderr.splitlines()
    assert line.startswith(f"error: some/clip/config.json: cannot be fetched from {nobody} (")
    done = command(hub.url)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""  # no bar where nobody watches
    assert "installed as geoclip" in done.stdout
    assert available_models() == ["demo", "geoclip"]
