"""What a network's classes are: cells of a grid, or labels.

Knows the files that either lies in; nothing of packs, runs or bundles, which all hold one of them.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from locationnet.errors import InputError
from locationnet.files import write_text
from locationnet.geo.grid import Grid


def is_label(name: str) -> bool:
    """Return whether a text can be a line of ``labels.txt``, and stay as it is."""
    return bool(name) and name == name.strip() and name.isprintable()


@dataclass(frozen=True)
class LabelSet:
    """Labels; class *i* is the label *i*.

    Parameters
    ----------
    names
        At least two, each once; no empty one, none with a line break or blanks around it.

    Raises
    ------
    InputError
        A name breaks these rules; the message says which.
    """

    names: tuple[str, ...]

    def __post_init__(self) -> None:
        if len(self.names) < 2:
            raise InputError(f"{len(self.names)} labels are too few to tell apart")
        seen: set[str] = set()
        for number, name in enumerate(self.names, 1):
            if not is_label(name):
                raise InputError(f"label {number}, {name!r}: empty, or with blanks or line breaks")
            if name in seen:
                raise InputError(f"label {number}, {name!r}: is there twice")
            seen.add(name)

    @classmethod
    def of(cls, values: Iterable[str]) -> LabelSet:
        """Return the different values, sorted; empty ones are left out."""
        return cls(tuple(sorted({value for value in values if value})))

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> LabelSet:
        """Read ``labels.txt``.

        Raises
        ------
        InputError
            The file cannot be read or breaks a rule; the message names it.
        """
        try:
            lines = Path(path).read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{os.fspath(path)}: cannot be read as text") from error
        try:
            return cls(tuple(lines))
        except InputError as error:
            raise InputError(f"{os.fspath(path)}: {error}") from error

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write ``labels.txt``, whole or not at all."""
        write_text(path, self._text)

    def __len__(self) -> int:
        return len(self.names)

    @cached_property
    def sha256(self) -> str:
        """The checksum of ``labels.txt``."""
        return hashlib.sha256(self._text.encode()).hexdigest()

    def assign(self, values: Sequence[str]) -> NDArray[np.int64]:
        """Return the class of each value, int64 ``(n,)``: −1 for one that is not a label."""
        indices = {name: index for index, name in enumerate(self.names)}
        return np.array([indices.get(value, -1) for value in values], np.int64)

    @property
    def _text(self) -> str:
        return "".join(f"{name}\n" for name in self.names)


ClassSet = Grid | LabelSet
"""Line *i* of its file is class *i*."""

GRID = "grids.txt"
LABELS = "labels.txt"


def classes_file(classes: ClassSet) -> str:
    """Return the name of the file that classes are lines of."""
    return GRID if isinstance(classes, Grid) else LABELS


def sha256_key(classes: ClassSet) -> str:
    """Return what summaries and records of runs call the checksum of the classes' file."""
    return "grid_sha256" if isinstance(classes, Grid) else "labels_sha256"


def read_classes(folder: Path) -> ClassSet:
    """Read the classes that a folder holds.

    Raises
    ------
    GridError, InputError
        There is neither file, or it breaks a rule.
    """
    if (folder / LABELS).is_file() and not (folder / GRID).exists():
        return LabelSet.read(folder / LABELS)
    return Grid.read(folder / GRID)
