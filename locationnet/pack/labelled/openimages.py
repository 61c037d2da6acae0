"""Open Images as its CSV files say: classes by name with all below them, their boxes, their photos.

Knows the files of versions 4 to 7; downloads nothing. The photos come by their original URLs, with
`locationnet download --from urls`.

::

    class-descriptions-boxable.csv          /m/0k4j,Car a line
    bbox_labels_600_hierarchy.json          what is a kind of what; needed for names with kinds
    train-annotations-bbox.csv              ImageID, LabelName, XMin, XMax, YMin, YMax, IsGroupOf, …
    train-images-boxable-with-rotation.csv  ImageID, OriginalURL, License, Author, …
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from locationnet.errors import InputError
from locationnet.pack.labelled.listing import Builder, Labelled
from locationnet.pack.rows import BOX_PIXELS, STORED, Box
from locationnet.tables.columns import require_column
from locationnet.tables.read import stream_texts
from locationnet.tables.table_file import open_table

DESCRIPTIONS = "*class-descriptions*.csv"
HIERARCHY = "*hierarchy*.json"

GROUP = "a box around a group"
NO_BOX = "a box without an area"
NO_URL = "its photo has no URL"

_BOX_COLUMNS = ("ImageID", "LabelName", "XMin", "YMin", "XMax", "YMax", "IsGroupOf")
_PHOTO_COLUMNS = (
    "ImageID", "OriginalURL", "OriginalLandingURL", "License", "AuthorProfileURL", "Author",
    "Title",
)  # fmt: skip


def read_open_images(
    folder: Path, part: str, names: Sequence[str], *, crop: bool = True
) -> Labelled:
    """Read the boxes of some classes: a row for each, or one for each photo and class.

    Parameters
    ----------
    folder
        Holds the files.
    part
        ``train``, ``validation`` or ``test``.
    names
        Classes; each stands for itself and all kinds of it, under its own name. What is a kind of
        two of them counts for the nearer.
    crop
        Give the boxes; else whole photos, which may show several classes.

    Notes
    -----
    Boxes around groups are left out. A box is of the photo's stored pixels, and the table says so;
    what is cut out is put upright by the photo's own EXIF. The column Rotation, which says how far
    Flickr turns photos together with their boxes, is not needed.

    Raises
    ------
    InputError
        A file is missing or malformed, or there is no such class.
    """
    labels = pick_classes(_descriptions(folder), _hierarchy(folder), names)
    if len(set(labels.values())) < 2:
        raise InputError(f"{folder}: name at least two classes with --label")
    found = Builder(folder)
    boxes: dict[str, list[tuple[str, Box]]] = {}
    for row in _rows(_find(folder, part, "annotations-bbox"), _BOX_COLUMNS, set(labels)):
        if row["IsGroupOf"] == "1":
            found.left_out[GROUP] += 1
            continue
        box = _box(row)
        if box is None:
            found.left_out[NO_BOX] += 1
            continue
        boxes.setdefault(row["ImageID"], []).append((labels[row["LabelName"]], box))
    photos = _find(folder, part, "images", "image-ids", "image_ids")
    for row in _rows(photos, _PHOTO_COLUMNS, set(boxes)):
        mine = boxes.pop(row["ImageID"], None)
        if mine is None:
            raise InputError(f"{photos}: the ImageID {row['ImageID']!r} is there twice")
        _add(found, row, mine, crop=crop)
    if boxes:
        found.left_out[NO_URL] += sum(map(len, boxes.values()))
    if not found.rows:
        raise InputError(f"{photos}: contains no photos of {', '.join(names)}")
    return found.labelled()


def pick_classes(
    descriptions: dict[str, str], hierarchy: Any, names: Sequence[str]
) -> dict[str, str]:
    """Return the picked name of each class that counts for one, by its ``/m/…``.

    Parameters
    ----------
    descriptions
        Name of each class.
    hierarchy
        The JSON: nested objects with ``LabelName`` and perhaps ``Subcategory``; None for none.
    names
        The picked ones.

    Raises
    ------
    InputError
        There is no class of a name.
    """
    by_name = {name.lower(): label for label, name in descriptions.items()}
    picked = {}
    for name in names:
        if name.lower() not in by_name:
            near = sorted(other for other in by_name if name.lower() in other)[:5]
            hint = f"; there are {', '.join(near)}" if near else ""
            raise InputError(f"{name!r} is not a class of Open Images{hint}")
        picked[by_name[name.lower()]] = descriptions[by_name[name.lower()]]
    # Of a class below several picked ones, the nearest picked one and how far above it is.
    best: dict[str, tuple[int, str]] = {}

    def walk(node: Any, above: tuple[int, str] | None) -> None:
        label = node.get("LabelName", "")
        mine = (0, picked[label]) if label in picked else above
        if mine is not None and (label not in best or mine < best[label]):
            best[label] = mine
        for child in node.get("Subcategory", ()):
            walk(child, None if mine is None else (mine[0] + 1, mine[1]))

    if hierarchy is not None:
        walk(hierarchy, None)
    return {label: name for label, (_, name) in best.items()} | picked


def _add(found: Builder, row: dict[str, str], boxes: list[tuple[str, Box]], *, crop: bool) -> None:
    url = row["OriginalURL"].strip()
    if not url:
        found.left_out[NO_URL] += len(boxes)
        return
    fields = {
        "url": url,
        "uploader": row["AuthorProfileURL"] or row["Author"],
        "licence": row["License"],
        "attribution": f'"{row["Title"] or "Photo"}" by {row["Author"]}, '
        f"{row['OriginalLandingURL']}, {row['License']}",
    }
    if crop:
        for index, (label, box) in enumerate(boxes):
            of = {"id": f"{row['ImageID']}#{index}", **fields, BOX_PIXELS: STORED}
            found.add(label, of, box)
        return
    for label in sorted({label for label, _ in boxes}):
        found.add(label, fields={"id": row["ImageID"], **fields})


def _box(row: dict[str, str]) -> Box | None:
    try:
        sides = [float(row[name]) for name in ("XMin", "YMin", "XMax", "YMax")]
    except ValueError:
        return None
    left, top, right, bottom = (min(1.0, max(0.0, side)) for side in sides)
    return (left, top, right, bottom) if left < right and top < bottom else None


def _find(folder: Path, part: str, *kinds: str) -> Path:
    for path in sorted(folder.glob("*.csv")):
        if part in path.name and any(kind in path.name for kind in kinds):
            return path
    raise InputError(f"{folder}: contains no {part}-{kinds[0]}….csv")


def _descriptions(folder: Path) -> dict[str, str]:
    path = sorted(folder.glob(DESCRIPTIONS))[0]
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = [row for row in csv.reader(file) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read as CSV") from error
    for number, row in enumerate(rows, 1):
        if len(row) != 2:
            raise InputError(f"{path}: row {number}: expected a class and its name")
    return {label: name for label, name in rows if label != "LabelName"}


def _hierarchy(folder: Path) -> Any:
    path = next(iter(sorted(folder.glob(HIERARCHY))), None)
    if path is None:
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not JSON ({error})") from error
    if not _is_class(found):
        raise InputError(
            f"{path}: expected one object, the root of all classes, and below it only such"
        )
    return found


def _is_class(node: Any) -> bool:
    """Return whether something of the hierarchy's JSON is a class, and all below it are."""
    return (
        isinstance(node, dict)
        and isinstance(node.get("LabelName", ""), str)
        and isinstance(below := node.get("Subcategory", []), list)
        and all(map(_is_class, below))
    )


def _rows(path: Path, columns: Sequence[str], keys: set[str]) -> Iterator[dict[str, str]]:
    """Yield the rows of a large CSV whose class, or else whose photo, is among the keys."""
    table = open_table(path)
    for name in columns:
        require_column(path, table.names, name)
    import pyarrow as pa
    import pyarrow.compute as pc

    key = "LabelName" if "LabelName" in columns else "ImageID"
    wanted = pa.array(sorted(keys), pa.string())
    for batch in stream_texts(table, columns):
        chosen = batch.filter(pc.is_in(batch.column(key), value_set=wanted))
        yield from chosen.to_pylist()
