"""Bundles: one directory that holds everything a prediction depends on, with its checksums.

Knows what the files are and that they belong together; not how a network runs or what an answer is.
"""

from __future__ import annotations

import csv
import hashlib
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from locationnet.classes import GRID, LABELS, ClassSet, LabelSet
from locationnet.errors import BundleError, InputError
from locationnet.geo.grid import Grid
from locationnet.home import models_folder
from locationnet.model.checksums import is_sha256
from locationnet.model.manifest import MANIFEST, ClipRecipe, Manifest, Recipe2017, read_manifest
from locationnet.preprocess import Preprocessing, recipe_2017, recipe_clip

REQUIRED = ("model.onnx", "prior.npy")
# Beside them, of what the classes are: cells with their names, or labels.
OF_PLACES = (GRID, "places.csv")
OF_LABELS = (LABELS,)
PACKAGED = Path(__file__).parent.parent / "bundles"
DEFAULT = "demo"


@dataclass(frozen=True, repr=False)
class CellNames:
    """Offline place names of a grid's cells, in class order; ``""`` where there is none.

    ``country`` is an ISO 3166-1 alpha-2 code.
    """

    city: list[str]
    region: list[str]
    country: list[str]

    def name(self, class_index: int) -> str:
        """Return ``"city, region, country"`` without its empty or repeated parts."""
        parts = (self.city[class_index], self.region[class_index], self.country[class_index])
        return ", ".join(dict.fromkeys(part for part in parts if part))


@dataclass(frozen=True, repr=False)
class Bundle:
    """A bundle on disk; its files are read on first use.

    Parameters
    ----------
    path
        The directory.
    manifest
        Its validated manifest.
    """

    path: Path
    manifest: Manifest

    def __repr__(self) -> str:
        return f"Bundle({self.manifest.name} {self.manifest.version}, {self.path})"

    @classmethod
    def open(cls, name_or_path: str | os.PathLike[str] = DEFAULT) -> Bundle:
        """Find a bundle by name (see `available_models`) or path and read its manifest.

        Raises
        ------
        BundleError
            There is none, its manifest is invalid, or a file is missing.
        """
        path = _find(name_or_path)
        manifest = read_manifest(path / MANIFEST)
        of_classes = OF_LABELS if LABELS in manifest.files else OF_PLACES
        for name in (
            *REQUIRED,
            *of_classes,
            *(offer.file for offer in manifest.precisions.values()),
        ):
            if name not in manifest.files:
                raise BundleError(f"{path / MANIFEST}: files must list {name}")
        for name in manifest.files:
            if not (path / name).is_file():
                raise BundleError(f"{path / name}: missing, though the manifest lists it")
        return cls(path, manifest)

    def verify(self, *, again: bool = True) -> None:
        """Check the sha256 of every file, and that the tables have one row for each cell.

        Parameters
        ----------
        again
            Whether to read a large file although it was verified before, and has kept its size and
            time since.

        Raises
        ------
        BundleError
            Names the first file that is not what the manifest says.
        """
        for name, expected in self.manifest.files.items():
            if not is_sha256(self.path / name, expected, again=again):
                raise BundleError(
                    f"{self.path / name}: corrupt or truncated (its sha256 is not the manifest's)"
                )
        classes = len(self.class_set)
        what = f"labels of {LABELS}" if self.has_labels else f"cells of {GRID}"
        tables = {"prior.npy": len(self.prior)}
        if not self.has_labels:
            tables["places.csv"] = len(self.names.city)
        for name, rows in tables.items():
            if rows != classes:
                raise BundleError(f"{self.path / name}: {rows} rows for the {classes} {what}")

    @property
    def has_labels(self) -> bool:
        """Whether its classes are labels, not places."""
        return LABELS in self.manifest.files

    @cached_property
    def class_set(self) -> ClassSet:
        """What its classes are; class *i* is line *i* of its file."""
        if not self.has_labels:
            return Grid.read(self.path / GRID)
        try:
            return LabelSet.read(self.path / LABELS)
        except InputError as error:
            raise BundleError(str(error)) from error

    @property
    def grid(self) -> Grid:
        """The cells; class *i* is line *i* of ``grids.txt``.

        Raises
        ------
        BundleError
            Its classes are labels.
        """
        if not isinstance(self.class_set, Grid):
            raise BundleError(
                f"{self.path}: answers with labels, not places; use `locationnet classify`"
            )
        return self.class_set

    @property
    def labels(self) -> LabelSet:
        """The labels; class *i* is line *i* of ``labels.txt``.

        Raises
        ------
        BundleError
            Its classes are places.
        """
        if not isinstance(self.class_set, LabelSet):
            raise BundleError(
                f"{self.path}: answers with places, not labels; use `locationnet locate`"
            )
        return self.class_set

    @cached_property
    def prior(self) -> NDArray[np.float64]:
        """Share of photos in each class before any is seen, float64 ``(classes,)``, above 0."""
        path = self.path / "prior.npy"
        try:
            prior = np.load(path, allow_pickle=False).astype(np.float64)
        except (OSError, ValueError, EOFError) as error:
            raise BundleError(f"{path}: not a NumPy array") from error
        if prior.ndim != 1 or not np.isfinite(prior).all() or not (prior > 0).all():
            raise BundleError(f"{path}: expected one positive number for each class")
        return np.asarray(prior / prior.sum())

    @cached_property
    def names(self) -> CellNames:
        """Place names of the cells."""
        path = self.path / "places.csv"
        with path.open(encoding="utf-8", newline="") as file:
            header, *rows = csv.reader(file) or [[]]
        try:
            chosen = [header.index(name) for name in ("city", "region", "country")]
            return CellNames(*([row[index] for row in rows] for index in chosen))
        except (ValueError, IndexError) as error:
            raise BundleError(f"{path}: expected columns city, region, country") from error

    @cached_property
    def concepts(self) -> list[str]:
        """Labels of the concepts that a bundle's evidence speaks of; empty where it has none."""
        if "concepts.txt" not in self.manifest.files:
            return []
        return (self.path / "concepts.txt").read_text(encoding="utf-8").splitlines()

    @property
    def network_sha256(self) -> str:
        """What embeddings depend on, the network and how it is given photos, as a hash."""
        recipe = self.manifest.preprocessing.model_dump_json()
        return hashlib.sha256(f"{self.manifest.files['model.onnx']} {recipe}".encode()).hexdigest()

    @property
    def preprocessing(self) -> Preprocessing:
        """How the network wants its photos."""
        recipe = self.manifest.preprocessing
        if isinstance(recipe, Recipe2017):
            return recipe_2017(recipe.size)
        if isinstance(recipe, ClipRecipe):
            return recipe_clip(recipe.size)
        return Preprocessing("pillow", recipe.size, recipe.short_side, recipe.mean, recipe.std)


def available_models() -> list[str]:
    """Return the names of the bundles that ship with the package or were imported, sorted."""
    return sorted(_named())


def _named() -> dict[str, Path]:
    """Return the bundles that have a name here; those of the package keep theirs."""
    return {
        manifest.parent.name: manifest.parent
        for folder in (models_folder(), PACKAGED)
        for manifest in folder.glob(f"*/{MANIFEST}")
        if not manifest.parent.name.startswith(".")  # one that is being written
    }


def _find(name_or_path: str | os.PathLike[str]) -> Path:
    named = _named()
    if isinstance(name_or_path, str) and name_or_path in named:
        return named[name_or_path]
    path = Path(name_or_path)
    if (path / MANIFEST).is_file():
        return path
    if _is_checkpoint(path):
        raise BundleError(
            f"{path}: an MXNet checkpoint, not a bundle; `locationnet export` makes one of it"
        )
    if path.is_dir():
        raise BundleError(f"{path}: not a bundle (it has no {MANIFEST})")
    names = ", ".join(sorted(named))
    raise BundleError(f"{path}: no such bundle; give a bundle's directory or one of: {names}")


def _is_checkpoint(path: Path) -> bool:
    if path.is_dir():
        return any(path.glob("*.params"))
    return (
        path.suffix == ".params"
        or path.name.endswith("-symbol.json")
        or path.with_name(f"{path.name}-symbol.json").is_file()
    )
