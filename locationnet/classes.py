"""What a network's classes are: cells of a grid, or labels.

Knows the files that either lies in; nothing of packs, runs or bundles, which all hold one of them.
"""

from __future__ import annotations

from pathlib import Path

from locationnet.geo.grid import Grid
from locationnet.labels import LabelSet

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
