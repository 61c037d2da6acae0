"""Writing a bundle's folder: whole or not at all, over nothing that is not a bundle.

Knows where a bundle may be written and what its cells are called; not what its network is.
"""

from __future__ import annotations

import csv
import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from locationnet.errors import FullDiskError, InputError
from locationnet.geo.grid import Grid
from locationnet.geo.towns import nearest_towns
from locationnet.home import models_folder
from locationnet.model.bundle import PACKAGED
from locationnet.model.manifest import MANIFEST, check_name


def installed(name: str) -> Path:
    """Return the folder in which a bundle is found by its name, in the user's data directory.

    Raises
    ------
    InputError
        The name is not valid, or a bundle of the package has it.
    """
    check_name(name)
    if (PACKAGED / name).exists():
        raise InputError(f"{name}: is what a bundle of the package is called; choose another name")
    models_folder().mkdir(parents=True, exist_ok=True)
    return models_folder() / name


def check_target(out: Path, *, overwrite: bool) -> None:
    """Make sure that a bundle may be written, before anything expensive happens.

    Raises
    ------
    InputError
        Its parent is missing, or `out` holds something that may not be replaced.
    """
    if not out.absolute().parent.is_dir():
        raise InputError(f"{out}: the folder to write it in does not exist")
    if not out.exists():
        return
    if not out.is_dir() or (any(out.iterdir()) and not (out / MANIFEST).is_file()):
        raise InputError(f"{out}: exists and is not a bundle")
    if any(out.iterdir()) and not overwrite:
        raise InputError(f"{out}: exists; --overwrite replaces it")


@contextmanager
def whole_folder(out: Path) -> Iterator[Path]:
    """Give a folder beside `out` that takes its name, and its place, if the block succeeds.

    Raises
    ------
    FullDiskError
        There is no room for it.
    """
    out = out.absolute()
    beside = out.with_name(f".{out.name}.part")
    shutil.rmtree(beside, ignore_errors=True)  # of a call that was killed
    folder = beside / "new"
    folder.mkdir(parents=True)
    try:
        yield folder
        if out.exists():
            out.rename(beside / "old")
        folder.rename(out)
    except OSError as error:
        # NumPy says of a disk that is full only how many bytes it wrote, without a number.
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, None):
            raise
        why = error.strerror or str(error)
        raise FullDiskError(f"{out}: cannot be written ({why})") from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def write_places(path: Path, grid: Grid) -> None:
    """Name each cell after the town nearest to its centroid.

    Raises
    ------
    MissingExtraError
        reverse_geocode is not installed.
    """
    towns = nearest_towns(grid.lat, grid.lng)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["class", "city", "region", "country"])
        for index, town in enumerate(towns):
            writer.writerow([index, *town])
