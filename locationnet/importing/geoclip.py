"""GeoCLIP to a bundle: CLIP's image tower, GeoCLIP's head, and a class for each place it knows.

Knows how the parts make one network; how each is read is in the modules beside this one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from locationnet.errors import BundleError, InputError
from locationnet.geo.grid import Grid
from locationnet.geo.partition import one_each
from locationnet.importing.clip import CONFIG, WEIGHTS, Tower, add_tower, read_tower
from locationnet.importing.geoclip_files import (
    CLIP,
    CLIP_SHA256,
    VERSION,
    Backbone,
    Head,
    Parts,
    read_release,
    read_wheel,
)
from locationnet.importing.hub import Source, fetch, get, local_source
from locationnet.importing.location_encoder import FEATURES
from locationnet.importing.onnx_stream import OnnxStream
from locationnet.importing.tensor_file import TensorFile, open_tensors
from locationnet.model.bundle import Bundle
from locationnet.model.bundle_folder import check_target, installed, whole_folder, write_places
from locationnet.model.locator import Locator
from locationnet.model.manifest import Manifest, check_name, write_manifest
from locationnet.progress import StageProgress
from locationnet.tables.coordinates import CoordinateFiles

NAME, LEVEL = "geoclip", 10
# By its authors: the share of photos within so many kilometres.
_PUBLISHED = {
    "benchmark": "IM2GPS3k",
    "within_km": [1, 25, 200, 750, 2500],
    "share": [0.141, 0.345, 0.507, 0.697, 0.838],
    "by": "V. Vivanco Cepeda, G. K. Nayak, M. Shah: GeoCLIP, NeurIPS 2023",
}

FloatArray = NDArray[np.float32]


@dataclass(frozen=True)
class Imported:
    """What became of an import.

    Parameters
    ----------
    path, manifest
        The bundle.
    rows
        Usable rows of the gallery; a place that stands in it twice is one class.
    unusable
        Other rows, by what is wrong with them.
    """

    path: Path
    manifest: Manifest
    rows: int
    unusable: dict[str, int]


def import_geoclip(
    out: Path | None = None,
    *,
    name: str = NAME,
    clip: str | None = None,
    revision: str | None = None,
    release: str | None = None,
    wheel: Path | None = None,
    gallery: Path | None = None,
    level: int = LEVEL,
    half: bool = True,
    overwrite: bool = False,
    progress: StageProgress = lambda *_: None,
) -> Imported:
    """Make a bundle of GeoCLIP.

    Parameters
    ----------
    out
        Directory to write; by default it is installed under its name, as `available_models` lists.
    name
        The bundle's.
    clip
        A folder with CLIP's ``config.json`` and ``model.safetensors``, or a repository of the hub;
        by default what GeoCLIP was trained on.
    revision
        Of the repository in `release`, else in `clip`.
    release
        A folder or a repository with a GeoCLIP release, in place of the wheel.
    wheel
        The wheel of version 1.3.0; by default where it is installed, else fetched with pip.
    gallery
        A table of places to choose among, in place of GeoCLIP's own.
    level
        No cell is coarser than this S2 level.
    half
        Store matrices as float16.
    overwrite
        Replace a bundle that is there.
    progress
        Called as the work goes on.

    Raises
    ------
    LocationNetError
        Something cannot be fetched, is not what it should be, or cannot be written.
    """
    check_name(name)
    out = out or installed(name)
    check_target(out, overwrite=overwrite)
    if release is not None and wheel is not None:
        raise InputError("a release takes the place of the wheel: give one of them")
    if release is not None:
        parts = read_release(release, revision)
        revision = None
    else:
        parts = read_wheel(wheel)
    lat, lng, unusable = _gallery(parts, gallery)
    grid, places = one_each(lat, lng, level)
    tower, config, weights = _clip(clip, revision, parts.backbone)
    encoded = parts.locations.encode(lat[places], lng[places], partial(progress, "encoding places"))
    with whole_folder(out) as folder, open_tensors(weights.path) as tensors:
        with OnnxStream(folder / "model.onnx", half=half) as graph:
            _write(graph, tower, tensors, parts, encoded, partial(progress, "writing layers"))
        grid.write(folder / "grids.txt")
        np.save(folder / "prior.npy", np.full(len(grid), 1 / len(grid), np.float32))
        write_places(folder / "places.csv", grid)
        own = parts.sources if gallery is None else [*parts.sources, local_source(gallery)]
        fields = _fields(name, tower, [*own, config, weights], grid, len(lat), half=half)
        if release is not None:
            fields["license"] = "unstated"
        if release is None and gallery is None and _is_original(config, weights):
            fields["accuracy"]["published_by_others"] = _PUBLISHED
        manifest = write_manifest(folder, fields)
        progress("trying it", 0, 1)
        _try(folder)
        progress("trying it", 1, 1)
    return Imported(out, manifest, len(lat), unusable)


def _gallery(
    parts: Parts, own: Path | None
) -> tuple[NDArray[np.float64], NDArray[np.float64], dict[str, int]]:
    table = own or parts.gallery
    if isinstance(table, tuple):
        return *table, {}
    files = CoordinateFiles([table])
    chunks = list(files.chunks())
    lat, lng = (np.concatenate(column) for column in zip(*chunks, strict=True))
    return lat, lng, dict(files.bad)


def _clip(
    clip: str | None, revision: str | None, backbone: Backbone
) -> tuple[Tower, Source, Source]:
    """Return CLIP's image tower, its ``config.json`` and its ``model.safetensors``.

    What is wrong with the first shows before the second, which is large, is fetched.
    """
    where = clip or backbone.repository
    if revision is None:
        known = [one.revision for one in (backbone, CLIP) if one.repository == where]
        revision = known[0] if known else None
    pinned = CLIP_SHA256 if Backbone(where, revision) == CLIP else {}
    find = fetch if clip is None else get  # what nobody named is no folder that happens to be here
    config = find(where, CONFIG, revision, pinned.get(CONFIG))
    tower = read_tower(config.path)
    # Both of one commit, whatever happens to the branch in between.
    commit = config.commit or revision
    return tower, config, find(where, WEIGHTS, commit, pinned.get(WEIGHTS))


def _is_original(config: Source, weights: Source) -> bool:
    return {CONFIG: config.sha256, WEIGHTS: weights.sha256} == CLIP_SHA256


def _write(
    graph: OnnxStream,
    tower: Tower,
    tensors: TensorFile,
    parts: Parts,
    encoded: FloatArray,
    progress: Callable[[int, int], object],
) -> None:
    seen, width = add_tower(graph, tower, tensors, "images", progress)
    if width != parts.head.inputs:
        raise InputError(
            f"CLIP's image tower answers {width} numbers, and GeoCLIP's head takes"
            f" {parts.head.inputs}: it was trained on another one, {parts.backbone.repository}"
        )
    features = _add_head(graph, parts.head, seen)
    embedding = graph.add("LpNormalization", features, name="embedding", axis=1, p=2)
    scaled = graph.add("Mul", embedding, graph.weight("logit_scale", np.array([parts.scale], "f4")))
    logits = graph.add("MatMul", scaled, graph.weight("places", encoded.T))
    graph.add("Softmax", logits, name="probabilities", axis=1)
    outputs = {"probabilities": len(encoded), "embedding": FEATURES}
    graph.finish("images", tower.image_size, outputs)


def _add_head(graph: OnnxStream, head: Head, seen: str) -> str:
    (first, first_bias), (last, last_bias) = head.layers
    hidden = graph.add("MatMul", seen, graph.weight("head.0.weight", first.T))
    hidden = graph.add("Add", hidden, graph.weight("head.0.bias", first_bias))
    hidden = graph.add("Relu", hidden)
    hidden = graph.add("MatMul", hidden, graph.weight("head.2.weight", last.T))
    return graph.add("Add", hidden, graph.weight("head.2.bias", last_bias))


def _try(folder: Path) -> None:
    """Run the bundle as everybody will, so that what is broken never gets its name."""
    bundle = Bundle.open(folder)
    bundle.verify()
    locator = Locator(bundle)
    size = bundle.preprocessing.size
    (prediction,) = locator.predict(np.zeros((1, 3, size, size), np.float32))
    if not np.isfinite(prediction.probabilities).all():
        raise BundleError(f"{folder / 'model.onnx'}: answers NaN: the weights are not a model's")


def _fields(
    name: str, tower: Tower, sources: list[Source], grid: Grid, rows: int, *, half: bool
) -> dict[str, Any]:
    """Return the manifest's fields."""
    return {
        "format": 1,
        "name": name,
        "version": VERSION,
        "description": (
            f"GeoCLIP (V. Vivanco Cepeda and others, NeurIPS 2023) on CLIP's image tower, over"
            f" {len(grid):,} places."
        ),
        "license": "MIT",
        "calibrated": False,
        "preprocessing": {"recipe": "clip", "size": tower.image_size},
        "training": {
            "imported_from": [source.fields for source in sources],
            "weights": "float16" if half else "float32",
            "gallery_rows": rows,
            "places": len(grid),
        },
        "accuracy": {},
    }
