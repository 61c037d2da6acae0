"""A bundle's ``manifest.json``: what it says, and how it is read and written.

Knows fields and their limits; not what the files of a bundle hold.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PositiveFloat,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from locationnet.errors import BundleError, InputError
from locationnet.files import file_sha256, write_text

MANIFEST = "manifest.json"

_Triple = tuple[float, float, float]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PillowRecipe(_Strict):
    """``preprocessing`` of a bundle trained by this package."""

    recipe: Literal["pillow"]
    size: int = Field(ge=16, le=2048)
    short_side: int = Field(ge=16, le=4096)
    mean: _Triple
    std: tuple[PositiveFloat, PositiveFloat, PositiveFloat]

    @model_validator(mode="after")
    def _check_sizes(self) -> PillowRecipe:
        if self.short_side < self.size:
            raise ValueError(f"short_side {self.short_side} is smaller than size {self.size}")
        return self


class Recipe2017(_Strict):
    """``preprocessing`` of the 2017 weights."""

    recipe: Literal["2017"]
    size: int = Field(default=224, ge=16, le=2048)


class ClipRecipe(_Strict):
    """``preprocessing`` of a bundle whose network begins with CLIP's image tower."""

    recipe: Literal["clip"]
    size: int = Field(default=224, ge=16, le=2048)


class Precision(_Strict):
    """One reduced precision of the network, and what it costs on photos it was not fitted to.

    ``allowed`` says whether a locator may use it: the exporter decides by ``top1_agreement`` (how
    often both name the same cell first) and ``metric_change`` (reduced minus float32, by metric).
    """

    runtime: Literal["onnxruntime", "openvino"]
    file: Name = "model.onnx"
    allowed: bool
    photos: int = Field(ge=1)
    calibration_photos: int = Field(default=0, ge=0)
    layers: Literal["all", "last"] = "all"
    top1_agreement: float = Field(ge=0, le=1)
    metric_change: dict[str, float]


class Rate(_Strict):
    """How often something was right, and its 95 % interval."""

    value: float = Field(ge=0, le=1)
    low: float = Field(ge=0, le=1)
    high: float = Field(ge=0, le=1)


class HintRate(_Strict):
    """How often the strongest hint was right among photos with so many bits of information.

    From ``from_bits`` to below ``to_bits`` (None: any number above). ``country`` and
    ``within_750_km`` are None without photos.
    """

    from_bits: float = Field(ge=0)
    to_bits: float | None
    photos: int = Field(ge=0)
    country: Rate | None
    within_750_km: Rate | None


class Calibration(_Strict):
    """What `locationnet calibrate` measured, on which photos, and what it replaced.

    Errors are expected calibration errors (15 bins) of the most probable cell, ``geoscore`` the
    mean of the best points, ``prior_geoscore`` that of the prior's. ``replaced`` holds the fields
    of the manifest as they were.
    """

    photos_of: str
    photos: int = Field(ge=1)
    clustered_by: str
    error_before: float
    error_after: float
    geoscore: float
    prior_geoscore: float
    hints: tuple[HintRate, ...]
    replaced: dict[str, Any]


class Manifest(_Strict):
    """The contents of ``manifest.json``.

    ``files`` maps each file of the bundle to its sha256. ``training`` and ``accuracy`` are fields
    for people: what the network learned from and what was measured. ``precisions`` are those that
    were measured beside float32, the preferred one first. ``calibrated`` is false where nobody has
    compared the network's own probabilities with how often it is right, and every answer says so.
    """

    format: Literal[1]
    name: Name
    version: Annotated[str, Field(pattern=r"^[0-9A-Za-z][0-9A-Za-z.+-]*$", max_length=50)]
    description: str
    license: str
    demo: bool = False
    calibrated: bool = True
    preprocessing: Annotated[PillowRecipe | Recipe2017 | ClipRecipe, Field(discriminator="recipe")]
    temperature: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    abstain_below_bits: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    training: dict[str, Any] = {}
    accuracy: dict[str, Any] = {}
    precisions: dict[Literal["bf16", "int8"], Precision] = {}
    calibration: Calibration | None = None
    files: dict[Name, Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]]


def check_name(name: str) -> None:
    """Make sure that a bundle may have a name.

    Raises
    ------
    InputError
        It may not.
    """
    try:
        TypeAdapter(Name).validate_python(name)
    except ValidationError as error:
        raise InputError(
            f"{name}: not a valid name of a bundle; expected letters, digits, and . _ - after one"
        ) from error


def read_manifest(path: Path) -> Manifest:
    """Read a manifest.

    Raises
    ------
    BundleError
        It is not JSON, or a field is missing or invalid.
    """
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise BundleError(f"{path}: not JSON ({error})") from error
    return _validate(path, fields)


def write_manifest(directory: Path, fields: dict[str, Any]) -> Manifest:
    """Write ``manifest.json`` for the files that lie in `directory`, atomically.

    Parameters
    ----------
    directory
        Holds the bundle's other files.
    fields
        Everything in `Manifest` but ``files``.

    Raises
    ------
    BundleError
        A field is missing or invalid.
    """
    files = {
        path.name: file_sha256(path)
        for path in sorted(directory.iterdir())
        if path.is_file() and path.name != MANIFEST and not path.name.startswith(".")
    }
    manifest = _validate(directory / MANIFEST, {**fields, "files": files})
    save_manifest(directory, manifest)
    return manifest


def save_manifest(directory: Path, manifest: Manifest) -> None:
    """Write a manifest whose checksums are known, atomically."""
    text = json.dumps(manifest.model_dump(mode="json"), indent=1, ensure_ascii=False)
    write_text(directory / MANIFEST, text + "\n")


def _validate(path: Path, fields: object) -> Manifest:
    try:
        return Manifest.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "the manifest"
        raise BundleError(f"{path}: {field}: {first['msg']}") from error
