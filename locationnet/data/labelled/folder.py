"""A folder for each label, with its photos anywhere below.

Knows names of folders and files; opens no photo.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from locationnet.containers import is_photo_name, kind_of_name
from locationnet.data.labelled.table import Builder, Labelled
from locationnet.errors import InputError

NO_PHOTO = "no photo by its name"
NO_LABEL = "in no folder of a label"


def read_folder(folder: Path, names: Sequence[str] = ()) -> Labelled:
    """List the photos of each label, sorted.

    Raises
    ------
    InputError
        There are no photos, or none of a label that was asked for, or a name cannot be used.
    """
    found = Builder(folder)
    found.left_out[NO_LABEL] += sum(path.is_file() for path in folder.iterdir())
    labels = sorted(
        path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")
    )
    for name in names:
        if name not in {path.name for path in labels}:
            raise InputError(f"{folder}: holds no folder {name!r}")
    for path in labels:
        if names and path.name not in names:
            continue
        for photo in sorted(path.rglob("*")):
            if not photo.is_file():
                continue
            if not is_photo_name(photo):
                found.left_out[f"{NO_PHOTO} ({kind_of_name(photo)})"] += 1
                continue
            name = photo.relative_to(folder).as_posix()
            try:
                name.encode()
            except UnicodeEncodeError as error:
                raise InputError(f"{folder}: the name {name!r} is not UTF-8") from error
            found.add(path.name, {"id": name, "path": name})
    if not found.rows:
        raise InputError(f"{folder}: holds no photos in folders named after their labels")
    return found.labelled()
