"""A folder for each label, with its photos anywhere below.

Knows names of folders and files; opens no photo.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from locationnet.errors import InputError
from locationnet.image_formats import is_photo_name, kind_of_name
from locationnet.names import valid_text
from locationnet.pack.labelled.listing import Builder, Labelled

NO_PHOTO = "no photo by its name"
NO_LABEL = "in no folder of a label"
NOT_UTF8 = "a name that is not UTF-8"


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
            raise InputError(f"{folder}: contains no folder {name!r}")
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
            if name != valid_text(name):  # a table could not say where the photo lies
                found.left_out[NOT_UTF8] += 1
                continue
            found.add(path.name, {"id": name, "path": name})
    if not found.rows:
        counts = found.left_out.items()
        left_out = "".join(f"; {count} left out: {why}" for why, count in counts if count)
        raise InputError(
            f"{folder}: contains no photos in folders named after their labels{left_out}"
        )
    return found.labelled()
