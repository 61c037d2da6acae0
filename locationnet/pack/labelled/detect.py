"""Which layout a folder of labelled photos has, and the table that comes of any.

Knows the layouts by the files that only they have; what these mean is in the other modules.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from locationnet.errors import InputError
from locationnet.pack.labelled.flickrlogos import LISTS, read_flickrlogos
from locationnet.pack.labelled.label_folders import read_folder
from locationnet.pack.labelled.listing import Labelled
from locationnet.pack.labelled.openimages import DESCRIPTIONS, read_open_images


def read_labelled(
    folder: Path,
    *,
    part: str | None = None,
    names: Sequence[str] = (),
    crop: bool = True,
) -> Labelled:
    """Read a folder of labelled photos, or of what is known about them.

    Parameters
    ----------
    folder
        A folder for each label; or FlickrLogos-32; or the CSV files of Open Images.
    part
        Which part of the set, such as ``trainset`` or ``train``; a folder of labels has none.
    names
        Labels to take; all where it is empty. Of Open Images, classes by name, at least two.
    crop
        Give the boxes around what is labelled, where the layout has them.

    Raises
    ------
    InputError
        The folder has none of the layouts, or a file of it cannot be read.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder")
    if any(folder.glob(DESCRIPTIONS)):
        return read_open_images(folder, part or "train", names, crop=crop)
    if any(folder.glob(LISTS)):
        return read_flickrlogos(folder, part or "trainset", names, crop=crop)
    if part is not None:
        raise InputError(f"{folder}: a folder of labels, which has no part {part!r}")
    return read_folder(folder, names)
