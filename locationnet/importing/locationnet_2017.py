"""The network of 2017 to a bundle: found, recognised, matched, and proven to answer as the file.

Knows the original files by their checksums and what belongs to them; how a network is read and
matched is in the modules beside this one.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from locationnet.errors import FetchError, InputError, LocationNetError, MissingExtraError
from locationnet.export.validation_photos import SHIPPED, shipped_photos
from locationnet.geo.grid import Grid
from locationnet.importing.layers import Layers
from locationnet.importing.match_structure import Matched, match
from locationnet.importing.ndarray_list import read_arrays
from locationnet.importing.proof_of_fit import Fit, compare, onnx_answers, softmax
from locationnet.importing.resnet_2017 import CLASSES, named_layers, write_onnx
from locationnet.importing.symbol_layers import symbol_layers
from locationnet.model.bundle import Bundle
from locationnet.model.bundle_folder import check_target, installed, whole_folder, write_places
from locationnet.model.manifest import Manifest, write_manifest
from locationnet.net.fetch import FetchPolicy, fetch_sync
from locationnet.preprocess import recipe_2017

NAME = "locationnet-2017"
# MD5 of the files that the authors published.
_GRID_MD5 = "1228c937dafe828f636f056f5099bf78"
ORIGINALS = {
    "e206e84fd2b801a9faca47156638c009": "RN101-5k500-0012.params",
    "f1ea8e5e12c29b074626d85f109cc903": "RN101-5k500-symbol.json",
    _GRID_MD5: "grids.txt",
}
GRID_URL = "https://raw.githubusercontent.com/multimedia-berkeley/tutorials/master/grids.txt"
_GRID_POLICY = FetchPolicy(timeout_s=60, max_bytes=4 * 2**20)

_FORMS = (".onnx", ".params", ".json")

Answer = Callable[[NDArray[np.float32]], NDArray[np.float32]]


@dataclass(frozen=True)
class SourceFile:
    """One of the files that an import was made of.

    Parameters
    ----------
    file
        Its name, or the address that it was fetched from.
    md5, sha256
        Checksums.
    original
        Whether it is byte for byte one of the files that the authors published.
    """

    file: str
    md5: str
    sha256: str
    original: bool


@dataclass(frozen=True)
class Imported:
    """What became of an import.

    Parameters
    ----------
    path, manifest
        The bundle.
    files
        What it was made of, the grid last.
    matched
        The network.
    fit
        None where nothing is installed that runs the file as it is.
    """

    path: Path
    manifest: Manifest
    files: list[SourceFile]
    matched: Matched
    fit: Fit | None


@dataclass(frozen=True)
class _Network:
    """A network as it was found, and how to run it as it is."""

    files: list[Path]
    layers: Layers
    runtime: str
    run: Answer


def import_locationnet_2017(
    file: Path,
    out: Path | None = None,
    *,
    grid: Path | None = None,
    force: bool = False,
    overwrite: bool = False,
) -> Imported:
    """Make a bundle of the weights of 2017 in any of the forms that they are found in.

    Parameters
    ----------
    file
        ``X-NNNN.params`` or ``X.params``, with or without its symbol beside it; a symbol
        ``X.json`` or ``X-symbol.json`` with its parameters beside it; or an ONNX file.
    out
        Directory to write; it appears when everything in it is right. By default the bundle is
        installed under its name.
    grid
        ``grids.txt`` of 2017; fetched from its authors' repository by default.
    force
        Take a grid that is not the original's.
    overwrite
        Replace a bundle that `out` holds.

    Raises
    ------
    LocationNetError
        Something is missing, is not the network or the grid of 2017, or the bundle's answers
        differ from the file's.
    """
    out = out or installed(NAME)
    check_target(out, overwrite=overwrite)
    if not file.is_file():
        raise InputError(f"{file}: no such file")
    if file.suffix.lower() not in _FORMS:  # before anything is fetched for it
        raise InputError(f"{file}: expected X.params, an MXNet symbol X.json, or X.onnx")
    with whole_folder(out) as folder:
        cells, grid_source = _write_grid(folder / "grids.txt", grid, force=force)
        if len(cells) != CLASSES:
            raise InputError(
                f"{grid or GRID_URL}: {len(cells):,} cells, and the network has {CLASSES:,} classes"
            )
        # Before the network, which takes longer: they need an optional part.
        write_places(folder / "places.csv", cells)
        network = _open(file)
        matched = match(network.layers)
        write_onnx(folder / "model.onnx", matched.parameters)
        fit = _fit(network, matched, folder / "model.onnx")
        files = [*map(_source_file, network.files), grid_source]
        np.save(folder / "prior.npy", np.full(CLASSES, 1 / CLASSES, np.float32))
        manifest = write_manifest(folder, _fields(files, matched, fit))
        Bundle.open(folder).verify()
    return Imported(out, manifest, files, matched, fit)


def _open(file: Path) -> _Network:
    form = file.suffix.lower()
    if form == ".onnx":
        from locationnet.importing.onnx_layers import onnx_layers

        layers = onnx_layers(file)
        run = partial(onnx_answers, file, layers.image, layers.answer)
        return _Network([file], layers, "ONNX Runtime", run)
    if form == ".params":
        symbol, params = _symbol_of(file), file
    else:
        symbol, params = file, _params_of(file)
    arrays = read_arrays(params)
    if symbol is None:
        return _Network([params], named_layers(params, arrays), "MXNet", partial(_run, params))
    layers, output = symbol_layers(symbol, arrays)
    run = partial(_run, params, symbol=symbol, image=layers.image, output=output)
    return _Network([params, symbol], layers, "MXNet", run)


def _run(
    params: Path, images: NDArray[np.float32], *, symbol: Path | None = None, **how: Any
) -> NDArray[np.float32]:
    from locationnet.train.run_symbol import run_resnet_101, run_symbol

    if symbol is None:
        return run_resnet_101(params, images, CLASSES)
    return run_symbol(symbol, params, images=images, **how)


def _symbol_of(params: Path) -> Path | None:
    """Return the symbol beside parameters, if there is one."""
    prefix = re.sub(r"-\d{4,}$", "", params.stem)
    names = (f"{prefix}-symbol.json", f"{prefix}.json", f"{params.stem}.json")
    return next((path for name in names if (path := params.with_name(name)).is_file()), None)


def _params_of(symbol: Path) -> Path:
    """Return the parameters beside a symbol.

    Raises
    ------
    InputError
        There are none, or several.
    """
    prefix = symbol.stem.removesuffix("-symbol")
    fitting = re.compile(rf"({re.escape(symbol.stem)}|{re.escape(prefix)}(-\d{{4,}})?)\.params")
    found = sorted(path for path in symbol.parent.iterdir() if fitting.fullmatch(path.name))
    if not found:
        raise InputError(
            f"{symbol}: no parameters beside it: expected {prefix}.params or {prefix}-NNNN.params"
        )
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise InputError(f"{symbol}: several parameters beside it: give one of {names}")
    return found[0]


def _write_grid(path: Path, given: Path | None, *, force: bool) -> tuple[Grid, SourceFile]:
    """Write the grid as it is, byte for byte."""
    if given is None:
        try:
            content, where = fetch_sync(GRID_URL, _GRID_POLICY), GRID_URL
        except FetchError as error:
            raise LocationNetError(
                f"grids.txt of 2017 cannot be fetched from {GRID_URL} ({error}): give it with"
                " --grid"
            ) from error
    else:
        try:
            content, where = given.read_bytes(), given.name
        except OSError as error:
            raise InputError(f"{given}: cannot be read ({error.strerror})") from error
    source = _source(where, io.BytesIO(content))
    if not source.original and not force:
        raise InputError(
            f"{given or where}: not the grid of 2017 (its MD5 is {source.md5}, expected"
            f" {_GRID_MD5}); --force takes it all the same"
        )
    path.write_bytes(content)
    return Grid.read(given or path), source


def _fit(network: _Network, matched: Matched, model: Path) -> Fit | None:
    """Compare the bundle with the file, run as it is; None where MXNet is not installed."""
    images = shipped_photos(recipe_2017())
    ours = onnx_answers(model, "images", "probabilities", images)
    if not np.isfinite(ours).all():
        raise InputError(f"{network.files[0]}: its network answers NaN")
    try:
        theirs = network.run(matched.as_the_file_wants(images))
    except MissingExtraError:
        return None
    return compare(network.runtime, theirs if matched.ends_in_softmax else softmax(theirs), ours)


def _source_file(path: Path) -> SourceFile:
    with path.open("rb") as file:
        return _source(path.name, file)


def _source(name: str, content: BinaryIO) -> SourceFile:
    md5, sha256 = hashlib.md5(usedforsecurity=False), hashlib.sha256()
    while chunk := content.read(2**20):
        md5.update(chunk)
        sha256.update(chunk)
    return SourceFile(name, md5.hexdigest(), sha256.hexdigest(), md5.hexdigest() in ORIGINALS)


def _fields(files: list[SourceFile], matched: Matched, fit: Fit | None) -> dict[str, Any]:
    """Return the manifest's fields."""
    original = all(file.original for file in files)
    how = "the original files" if original else "files that are not all byte for byte the original"
    accuracy: dict[str, Any] = {}
    if fit is not None:
        accuracy["parity"] = {
            "against": f"the file as it is, in {fit.runtime}",
            "max_probability_difference": fit.difference,
            "max_relative_difference_of_first_five": fit.relative,
            "photos": fit.photos,
            "measured_on": f"photos of scikit-image: {', '.join(SHIPPED)}",
        }
    return {
        "format": 1,
        "name": NAME,
        "version": "1.0.0",
        "description": (
            "LocationNet of 2017 (ResNet-101, 15,527 cells, trained by its authors on 33.9 million"
            f" photos of YFCC100M), imported from {how}."
        ),
        "license": "CC-BY-SA-3.0",
        "calibrated": False,
        "preprocessing": {"recipe": "2017", "size": recipe_2017().size},
        "training": {
            "imported_from": [asdict(file) for file in files],
            "subtracted_the_mean_itself": matched.subtracts_mean,
            "multiplied_colours_by": matched.factor,
            "had_bn_data": matched.has_bn_data,
        },
        "accuracy": accuracy,
    }
