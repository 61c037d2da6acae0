"""A bundle with what was measured in its manifest: in place, or a copy beside the user's others.

Knows manifests and folders; not what was measured.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from locationnet.calibrate.fit import Fit
from locationnet.errors import BundleError
from locationnet.files import file_sha256, written_whole
from locationnet.model.bundle import PACKAGED, Bundle
from locationnet.model.bundle_folder import check_target, installed, whole_folder
from locationnet.model.manifest import MANIFEST, Manifest, save_manifest

_FITTED = (
    "temperature", "abstain_below_bits", "calibrated", "calibration", "precisions", "files",
)  # fmt: skip


def default_target(bundle: Bundle) -> Path:
    """Return where a calibrated bundle is written: in place, or under a name where it may not be.

    A bundle of the package keeps its own name, so a copy of it is called ``NAME-calibrated``.
    """
    is_packaged = bundle.path.parent == PACKAGED
    if not is_packaged and os.access(bundle.path / MANIFEST, os.W_OK):
        return bundle.path
    name = bundle.manifest.name
    return installed(f"{name}-calibrated" if is_packaged else name)


def write_calibrated(bundle: Bundle, fit: Fit, target: Path, made: Path) -> None:
    """Write a bundle's manifest with what was measured.

    Parameters
    ----------
    bundle
        What was measured.
    fit
        What came of it.
    target
        The bundle's own folder, or another, which gets all files.
    made
        Where the networks lie that were made for it.

    Raises
    ------
    InputError
        The folder holds something else.
    FullDiskError
        There is no room for a copy.
    """
    manifest = bundle.manifest
    networks = sorted(made.iterdir())
    # Measured anew, it still knows what it was before the first time.
    replaced = manifest.calibration and manifest.calibration.replaced
    fields = {
        **manifest.model_dump(mode="json"),
        "temperature": fit.temperature,
        "abstain_below_bits": fit.abstain_below_bits,
        "calibrated": True,
        "calibration": {
            **fit.calibration.model_dump(mode="json"),
            "replaced": replaced or manifest.model_dump(mode="json", include=set(_FITTED)),
        },
    }
    if fit.precisions:
        fields["precisions"] = {
            **fields["precisions"],
            **{name: one.model_dump(mode="json") for name, one in fit.precisions.items()},
        }
        fields["files"] |= {path.name: file_sha256(path) for path in networks}
    calibrated = Manifest.model_validate(fields)
    if target == bundle.path:
        for path in networks:
            with written_whole(target / path.name) as part:
                shutil.copyfile(path, part)
        save_manifest(target, calibrated)
        return
    check_target(target, overwrite=True)
    with whole_folder(target) as folder:
        for name in manifest.files:
            _link_or_copy(bundle.path / name, folder / name)
        for path in networks:
            (folder / path.name).unlink(missing_ok=True)
            shutil.copyfile(path, folder / path.name)
        save_manifest(folder, calibrated)


def undo(bundle: Bundle) -> None:
    """Give a bundle back what its calibration replaced.

    Raises
    ------
    BundleError
        It was not calibrated.
    """
    if bundle.manifest.calibration is None:
        raise BundleError(f"{bundle.path}: was not calibrated, so there is nothing to undo")
    fields = bundle.manifest.model_dump(mode="json") | bundle.manifest.calibration.replaced
    before = Manifest.model_validate(fields)
    save_manifest(bundle.path, before)
    for name in bundle.manifest.files.keys() - before.files.keys():
        (bundle.path / name).unlink(missing_ok=True)


def _link_or_copy(source: Path, target: Path) -> None:
    """Let a copy share the disk's room with the original where it can."""
    try:
        target.hardlink_to(source.resolve())
    except OSError:
        shutil.copyfile(source, target)
