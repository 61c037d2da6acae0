"""Checkpoint to bundle: converted, proven equal, calibrated, and written whole or not at all.

Knows what a bundle holds and where each part comes from; nothing of how the network was trained.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from locationnet.classes import ClassSet, classes_file, sha256_key
from locationnet.errors import InputError, LocationNetError
from locationnet.export import quantize
from locationnet.export.temperature import calibration_error, fit_temperature, metrics
from locationnet.export.validation_photos import SHIPPED, Sample, shipped_photos
from locationnet.geo.grid import Grid
from locationnet.model.bundle import Bundle
from locationnet.model.bundle_folder import check_target, whole_folder, write_places
from locationnet.model.manifest import Manifest, write_manifest
from locationnet.model.sessions import OnnxSession, Session
from locationnet.preprocess import Preprocessing, recipe_2017
from locationnet.train.convert import PROBABILITIES, SourceNetwork
from locationnet.train.export_check import about, is_same, onnx_answers, why_different
from locationnet.train.weights import load_weights, params_path, run_fields

if TYPE_CHECKING:
    from locationnet.pack.format import Pack

# Largest difference between MXNet's probabilities and the bundle's that an export accepts.
PARITY = 1e-5
PARITY_PHOTOS = 16
CALIBRATION_PHOTOS = 512
MAX_PHOTOS = 5000

Reduced = Literal["bf16", "int8"]


@dataclass(frozen=True)
class Label:
    """What a bundle says about itself to people."""

    name: str
    version: str = "1.0.0"
    description: str = "Trained with locationnet."
    license: str = "unstated"


def export_bundle(
    prefix: str | os.PathLike[str],
    epoch: int,
    classes: ClassSet,
    out: Path,
    *,
    label: Label | None = None,
    preprocessing: Preprocessing | None = None,
    validation: Pack | None = None,
    reduced: Sequence[Reduced] = (),
    calibration: Pack | None = None,
    max_photos: int = MAX_PHOTOS,
    threads: int = 1,
    overwrite: bool = False,
) -> Manifest:
    """Make a bundle of a checkpoint.

    Parameters
    ----------
    prefix, epoch
        The checkpoint; see `load_weights`.
    classes
        What its classes are.
    out
        Directory to write; it appears when everything in it is right.
    label
        Name and licence; the name is the directory's by default.
    preprocessing
        What the network was trained on; by default what ``train`` noted in ``PREFIX-run.json``,
        and the recipe of 2017 where there is no such file.
    validation
        Held-out photos to fit the temperature to and to measure on.
    reduced
        Reduced precisions to make and measure on the validation photos.
    calibration
        Photos that int8 is calibrated with; by default 512 of the validation's, which are then
        not measured on.
    max_photos
        How many of the validation's photos are used, drawn at random.
    threads
        Of one inference while the bundle is measured.
    overwrite
        Replace a bundle that `out` holds.

    Raises
    ------
    LocationNetError
        Something is missing or does not fit together, or the converted network's answers differ
        from MXNet's.
    """
    check_target(out, overwrite=overwrite)
    fields = run_fields(prefix)
    how = preprocessing or _recorded_preprocessing(prefix, fields)
    _check_classes(prefix, fields, classes)
    weights = load_weights(prefix, epoch)
    with about(os.fspath(prefix)):
        source = SourceNetwork(weights, how.size)
    sample, own = _draw(validation, calibration, reduced, classes, max_photos)
    label = label or Label(out.resolve().name)
    with whole_folder(out) as folder:
        with about(os.fspath(prefix)):
            source.write_onnx(folder / "model.onnx")
            parity = _parity(source, folder / "model.onnx", sample, how, classes)
        classes.write(folder / classes_file(classes))
        np.save(folder / "prior.npy", _prior(fields, len(classes)))
        if isinstance(classes, Grid):
            write_places(folder / "places.csv", classes)
        accuracy: dict[str, Any] = {"parity": parity}
        temperature, offers = 1.0, dict[str, Any]()
        if sample is not None:
            session = OnnxSession(folder / "model.onnx", threads=threads)
            temperature, measured, offers = _measure(
                folder, session, sample, own, reduced, classes, how, threads
            )
            accuracy |= measured
        manifest = write_manifest(
            folder,
            {
                "format": 1,
                **asdict(label),
                "preprocessing": _preprocessing_fields(how),
                "calibrated": sample is not None,
                "temperature": temperature,
                "training": _training_fields(prefix, epoch, fields),
                "accuracy": accuracy,
                "precisions": offers,
            },
        )
        Bundle.open(folder).verify()
    return manifest


def _draw(
    validation: Pack | None,
    calibration: Pack | None,
    reduced: Sequence[Reduced],
    classes: ClassSet,
    max_photos: int,
) -> tuple[Sample | None, Sample | None]:
    """Choose the photos to measure on and those for int8, before anything expensive happens."""
    if validation is None:
        if reduced:
            raise InputError(f"{reduced[0]} is measured on held-out photos: give --validation")
        return None, None
    for pack in (validation, calibration):
        if pack is not None:
            pack.check_classes(classes)
    measured, own = Sample.draw(validation, max_photos), None
    if "int8" in reduced:
        own = Sample.draw(calibration or validation, CALIBRATION_PHOTOS, seed=1)
        measured = measured.without(own)
    if reduced:
        quantize.check_sizes([measured] if own is None else [measured, own])
    return measured, own


def _measure(
    folder: Path,
    session: Session,
    sample: Sample,
    calibration: Sample | None,
    reduced: Sequence[Reduced],
    classes: ClassSet,
    how: Preprocessing,
    threads: int,
) -> tuple[float, dict[str, Any], dict[str, Any]]:
    """Return the temperature, the fields for ``accuracy`` and those for ``precisions``."""

    def answer(session: Session) -> NDArray[np.float32]:
        parts = [session.run(batch)[PROBABILITIES] for batch in sample.batches(how)]
        return np.concatenate(parts).astype(np.float32, copy=False)

    truth, probabilities = sample.truth, answer(session)
    temperature = fit_temperature(probabilities, truth)
    fields = {
        "validation": {"photos": len(sample), **_rounded(metrics(probabilities, truth, classes))},
        "calibration": {
            "photos": len(sample),
            "temperature": temperature,
            "expected_calibration_error_before": calibration_error(probabilities, truth),
            "expected_calibration_error_after": calibration_error(
                probabilities, truth, temperature
            ),
        },
    }
    baseline = quantize.Baseline(probabilities, truth, classes, answer)
    model, offers = folder / "model.onnx", {}
    for name in dict.fromkeys(reduced):
        if name == "int8" and calibration is not None:
            made = folder / "model-int8.onnx"
            measured = quantize.int8(model, made, baseline, calibration, how, threads=threads)
        else:
            measured = quantize.bf16(model, baseline, threads=threads)
        offers[str(name)] = asdict(measured)
    return temperature, fields, offers


def _parity(
    source: SourceNetwork,
    path: Path,
    sample: Sample | None,
    how: Preprocessing,
    classes: ClassSet,
) -> dict[str, Any]:
    """Compare MXNet's answers with the bundle's and return the fields."""
    if sample is None:
        images, where = shipped_photos(how), f"photos of scikit-image: {', '.join(SHIPPED)}"
    else:
        batches = list(sample.batches(how, PARITY_PHOTOS))
        images, where = np.concatenate(batches), "photos of the validation pack"
    expected, found = source.run(images), onnx_answers(path, images)
    outputs, lines = expected.probabilities.shape[1], len(classes)
    if outputs != lines:
        what = (
            f"the grid {lines} cells" if isinstance(classes, Grid) else f"there are {lines} labels"
        )
        raise LocationNetError(f"the network has {outputs} outputs and {what}: not its classes")
    if not np.isfinite(expected.probabilities).all():
        raise LocationNetError("the checkpoint answers NaN: the training has diverged")
    difference = float(np.abs(expected.probabilities - found.probabilities).max())
    # Where classes are many, all probabilities may be as small as the difference that is allowed.
    if not (difference <= PARITY and is_same(expected, found)):
        raise LocationNetError(
            f"the converted network differs from MXNet's by {difference:.1e} (at most {PARITY:g}"
            f" is accepted): {why_different(source, path, images)}"
        )
    return {
        "max_probability_difference": difference,
        "max_embedding_difference": float(np.abs(expected.embedding - found.embedding).max()),
        "photos": len(images),
        "measured_on": where,
    }


def _recorded_preprocessing(
    prefix: str | os.PathLike[str], fields: dict[str, Any]
) -> Preprocessing:
    if not fields:
        # `train` always takes notes; what else is about are the weights of 2017.
        return recipe_2017()
    try:
        found = fields["preprocessing"]
        if found["recipe"] == "2017":
            return recipe_2017(int(found.get("size", 224)))
        (r, g, b), (sr, sg, sb) = found["mean"], found["std"]
        return Preprocessing(
            found["recipe"], int(found["size"]), int(found["short_side"]), (r, g, b), (sr, sg, sb)
        )
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{os.fspath(prefix)}-run.json: preprocessing is not what `train` writes"
            f" ({type(error).__name__}: {error}); say it with --recipe"
        ) from error


def _preprocessing_fields(how: Preprocessing) -> dict[str, Any]:
    if how.recipe == "2017":
        return {"recipe": how.recipe, "size": how.size}
    return asdict(how)


def _check_classes(
    prefix: str | os.PathLike[str], fields: dict[str, Any], classes: ClassSet
) -> None:
    recorded = fields.get(sha256_key(classes))
    if recorded is not None and recorded != classes.sha256:
        what = "another grid" if isinstance(classes, Grid) else "other labels"
        raise InputError(
            f"{os.fspath(prefix)}: trained on {what} (sha256 {recorded[:12]}…, and here it is"
            f" {classes.sha256[:12]}…)"
        )


def _prior(fields: dict[str, Any], classes: int) -> NDArray[np.float32]:
    """Share of training photos in each cell, float32 ``(classes,)``; equal where unknown.

    Laplace's rule, one photo more in each cell, keeps cells without any possible.
    """
    counts = np.asarray(fields.get("counts_per_class") or np.zeros(classes), np.float64)
    if counts.shape != (classes,) or not (counts >= 0).all():
        raise InputError(f"counts_per_class of the run: expected {classes} numbers of photos")
    return np.asarray((counts + 1) / (counts.sum() + classes), np.float32)


def _training_fields(
    prefix: str | os.PathLike[str], epoch: int, fields: dict[str, Any]
) -> dict[str, Any]:
    path = params_path(prefix, epoch)
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    elsewhere = ("preprocessing", "counts_per_class")
    noted = {
        name: _without_folders(value) for name, value in fields.items() if name not in elsewhere
    }
    return {"checkpoint": path.name, "checkpoint_sha256": sha256, "epoch": epoch, **noted}


def _without_folders(value: Any) -> Any:
    """Return fields with the last part of paths only: a bundle travels, folders do not."""
    if isinstance(value, dict):
        return {name: _without_folders(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_without_folders(part) for part in value]
    return Path(value).name if isinstance(value, str) and value.startswith("/") else value


def _rounded(values: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 6) for name, value in values.items()}
