"""What the columns of tables of photos are called: every name that any verb knows, in one place.

Knows names; not files, and not what stands in the columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from locationnet.errors import InputError

# The names of each field, the preferred one first: where a table has two of them, the earlier one
# is read. They are compared without case, and with blanks and hyphens as underscores.
_LAT, _LNG = ("lat", "latitude"), ("lng", "lon", "long", "longitude")
_PREDICTED, _TRUE = ("predicted", "pred", "best"), ("gt", "true", "truth")
ALIASES: dict[str, tuple[str, ...]] = {
    "id": ("id", "photo_id", "photoid", "image_id", "imageid", "img_id"),
    "path": (
        "path", "file", "filename", "file_name", "filepath", "file_path", "image", "image_path",
        "img_path",
    ),
    "hash": ("hash", "photo_hash"),
    "url": (
        "url", "download_url", "downloadurl", "original_url", "originalurl", "image_url",
        "photo_url",
    ),
    "key": ("key", "s3_key", "object_key", "s3_uri", "s3_url"),
    "uploader": (
        "uploader", "user", "author", "photographer", "uid", "user_id", "userid", "owner",
        "owner_nsid", "ownernsid",
    ),
    "lat": _LAT,
    "lng": _LNG,
    "label": ("label",),
    "taken": ("taken", "datetaken", "date_taken", "date"),
    "accuracy": ("accuracy",),
    "licence": ("licence", "license", "licensename", "license_name"),
    "attribution": ("attribution",),
    "page": ("page", "pageurl", "page_url"),
    "x_min": ("x_min", "xmin"),
    "y_min": ("y_min", "ymin"),
    "x_max": ("x_max", "xmax"),
    "y_max": ("y_max", "ymax"),
    "box_pixels": ("box_pixels",),
    # Of benchmarks and of answers to them: the photo, whether by its id or its path.
    "photo": ("photo", "name"),
    "predicted_lat": tuple(f"{whose}_{name}" for whose in _PREDICTED for name in _LAT),
    "predicted_lng": tuple(f"{whose}_{name}" for whose in _PREDICTED for name in _LNG),
    "true_lat": tuple(f"{whose}_{name}" for whose in _TRUE for name in _LAT),
    "true_lng": tuple(f"{whose}_{name}" for whose in _TRUE for name in _LNG),
    "rank": ("rank",),
    "probability": ("probability", "prob", "confidence", "score"),
}  # fmt: skip

# What messages call a field that cannot be found.
_PLURALS = {
    "id": "photo ids", "path": "paths", "hash": "hashes", "url": "URLs", "key": "keys",
    "uploader": "uploaders",
    "lat": "latitudes", "lng": "longitudes", "label": "labels",
    "predicted_lat": "predicted latitudes", "predicted_lng": "predicted longitudes",
    "true_lat": "true latitudes", "true_lng": "true longitudes",
}  # fmt: skip
_SHOWN = 20
# How tables write numbers: by ASCII's digits alone, for Arrow and for Python's `re`.
NUMBER = r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?"


def find_column(
    file: Path | str, names: Sequence[str], field: str, wanted: str | None = None
) -> str | None:
    """Return the column that holds a field, as it is written in the table, or None.

    Parameters
    ----------
    file
        The table, for messages.
    names
        Its columns.
    field
        One of `ALIASES`.
    wanted
        The column's own name, where somebody has given it.

    Raises
    ------
    InputError
        The column that was asked for is not there, or there are two of one name.
    """
    if wanted is not None:
        return require_column(file, names, wanted)
    by_name: dict[str, list[str]] = {}
    for name in names:
        by_name.setdefault(plain_name(name), []).append(name)
    for alias in ALIASES[field]:
        found = by_name.get(alias, [])
        if len(found) > 1:
            raise same_name(file, found)
        if found:
            return found[0]
    return None


def same_name(file: Path | str, names: Sequence[str]) -> InputError:
    """Return what to raise where several columns have one name, but for case and blanks."""
    if len(set(names)) > 1:
        what = f"columns {' and '.join(map(repr, names))} have one name"
    else:
        what = f"two columns are named {names[0]!r}" if names[0] else "two columns have no name"
    return InputError(f"{file}: {what}; rename or remove one")


def need_column(
    file: Path | str,
    names: Sequence[str],
    field: str,
    wanted: str | None = None,
    option: str = "",
) -> str:
    """Return the column that holds a field; see `find_column`.

    Parameters
    ----------
    option
        The option of the command line that names it, for the message.

    Raises
    ------
    InputError
        There is none; the message shows the columns and the names that would be found.
    """
    found = find_column(file, names, field, wanted)
    if found is None:
        raise missing_columns(file, names, field, option=option)
    return found


def missing_columns(
    file: Path | str, names: Sequence[str], *fields: str, option: str = ""
) -> InputError:
    """Return what to raise where a table has none of some fields."""
    what = " or ".join(_PLURALS[field] for field in fields)
    usual = ", ".join(ALIASES[field][0] for field in fields)
    hint = f"; name it with {option}" if option else f"; expected one such as {usual}"
    return InputError(f"{file}: no column of {what} among {shown_columns(names)}{hint}")


def require_column(file: Path | str, names: Sequence[str], wanted: str) -> str:
    """Return the name of a column that must be there.

    Raises
    ------
    InputError
        It is not.
    """
    if wanted not in names:
        raise InputError(f"{file}: no column {wanted!r}; there are {shown_columns(names)}")
    return wanted


def shown_columns(names: Sequence[str]) -> str:
    """Return the first columns' names for a message."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(map(repr, names[:_SHOWN])) + more


def known_columns(names: Sequence[str]) -> int:
    """Return how many names are those of a field."""
    every = {alias for aliases in ALIASES.values() for alias in aliases}
    return sum(plain_name(name) in every for name in names)


def plain_name(name: str) -> str:
    """Return a column's name as names are compared."""
    return name.strip().lower().replace(" ", "_").replace("-", "_")
