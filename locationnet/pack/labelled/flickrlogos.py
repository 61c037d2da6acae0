"""FlickrLogos-32 as its archive unpacks: lists of paths, photos by brand, boxes beside the masks.

Knows the set's files, and of a photo only its size and which way up it is stored: boxes are
measured in stored pixels.

::

    trainset.relpaths.txt                          classes/jpg/adidas/12.jpg a line
    classes/jpg/adidas/12.jpg
    classes/masks/adidas/12.jpg.bboxes.txt         "x y width height", then a box a line, pixels
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from locationnet.errors import ImageError, InputError
from locationnet.images import open_image, orientation, upright_box
from locationnet.pack.labelled.listing import Builder, Labelled
from locationnet.pack.rows import Box

LISTS = "*set*.relpaths.txt"
NO_LOGO = "no-logo"

NO_PHOTO = "its photo is missing or cannot be read"
OUTSIDE = "its box lies outside the photo"

_SUFFIX = ".relpaths.txt"
_BOX = re.compile(r"(\d+) +(\d+) +(\d+) +(\d+)")
_WHOLE = (0.0, 0.0, 1.0, 1.0)


def read_flickrlogos(
    folder: Path, part: str, names: Sequence[str] = (), *, crop: bool = True
) -> Labelled:
    """Read one list: a row for each box, or for each photo where nothing is cropped.

    Parameters
    ----------
    folder
        Holds the lists and ``classes``.
    part
        ``trainset``, ``valset``, ``testset``, ``valset-logosonly``, …
    names
        Brands; all where it is empty. Photos without a logo are labelled ``no-logo``.
    crop
        Give the boxes; photos without a logo are whole.

    Raises
    ------
    InputError
        There is no such list or a file of it is malformed.
    """
    lists = sorted(path.name.removesuffix(_SUFFIX) for path in folder.glob(LISTS))
    if part not in lists:
        raise InputError(f"{folder}: contains no list {part!r}; there are {', '.join(lists)}")
    listing = folder / f"{part}{_SUFFIX}"
    found = Builder(listing)
    for number, line in enumerate(_lines(listing), 1):
        path = PurePosixPath(line)
        if len(path.parts) != 4 or path.parts[:2] != ("classes", "jpg") or ".." in path.parts:
            raise InputError(f"{listing}: line {number}: expected classes/jpg/BRAND/PHOTO.jpg")
        label = path.parts[2]
        if names and label not in names:
            continue
        if not crop:
            found.add(label, {"id": path.name, "path": str(path)})
            continue
        for index, box in enumerate(_boxes(folder, path, found)):
            found.add(label, {"id": f"{path.name}#{index}", "path": str(path)}, box)
    for name in names:
        if name not in {row["label"] for row in found.rows}:
            raise InputError(f"{listing}: contains no photos of {name!r}")
    if not found.rows:
        raise InputError(f"{listing}: none of its photos can be used")
    return found.labelled()


def parse_boxes(text: str, file: str) -> list[tuple[int, int, int, int]]:
    """Read a ``.bboxes.txt``: left, top, width and height of each box, pixels.

    Raises
    ------
    InputError
        A line is malformed; the message names `file` and the line.
    """
    boxes = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or (number == 1 and line.split() == ["x", "y", "width", "height"]):
            continue
        match = _BOX.fullmatch(line.strip())
        if match is None:
            raise InputError(f"{file}: line {number}: expected x, y, width and height in pixels")
        left, top, width, height = map(int, match.groups())
        boxes.append((left, top, width, height))
    return boxes


def _boxes(folder: Path, path: PurePosixPath, found: Builder) -> list[Box]:
    """Return a photo's boxes as shares of the upright sides; count what cannot be used."""
    if path.parts[2] == NO_LOGO:
        return [_WHOLE]
    try:
        image = open_image((folder / path).read_bytes())
    except (OSError, ImageError):
        found.left_out[NO_PHOTO] += 1
        return []
    beside = folder / "classes" / "masks" / path.parts[2] / f"{path.name}.bboxes.txt"
    if not beside.is_file():  # HP's photos and masks differ in case
        beside = beside.parent.with_name(path.parts[2].lower()) / beside.name
    try:
        text = beside.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{beside}: the boxes of {path} cannot be read") from error
    width, height = image.size
    stored = orientation(image)
    boxes = []
    for left, top, wide, high in parse_boxes(text, str(beside)):
        right, bottom = min(left + wide, width), min(top + high, height)
        if left >= right or top >= bottom:
            found.left_out[OUTSIDE] += 1
            continue
        box = (left / width, top / height, right / width, bottom / height)
        boxes.append(upright_box(box, stored))
    return boxes


def _lines(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as text") from error
    return [line.strip() for line in lines if line.strip()]
