"""The layouts in which metadata of photos come, and how they are recognised.

Knows columns; not where files lie nor how they are compressed. Fields go by the names of YFCC100M's
SQLite edition, whatever a layout calls them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from locationnet.commons import is_photo_hash
from locationnet.errors import InputError
from locationnet.tables.columns import NUMBER, find_column, missing_columns

YFCC_23 = (
    "photoid", "uid", "unickname", "datetaken", "dateuploaded", "capturedevice", "title",
    "description", "usertags", "machinetags", "longitude", "latitude", "accuracy", "pageurl",
    "downloadurl", "licensename", "licenseurl", "serverid", "farmid", "secret", "secretoriginal",
    "ext", "marker",
)  # fmt: skip
YFCC_25 = ("line", "photoid", "hash", *YFCC_23[1:])
HASHES = ("photoid", "hash")
PLACING_2015 = ("hash", "marker", "year", "node", "place", "longitude", "latitude")
# Between the latitude and the hash, the files of 2016 have more or fewer columns.
PLACING_2016_START = ("photoid", "", "longitude", "latitude")
# How its training files name a place: 7:Oslo:Town.
_PLACING_LABEL = re.compile(r"\d+:[^:\t]+:[^:\t]+.*")

# What a table may know about a photo; the rest is left where it is.
FIELDS = (
    "photoid", "path", "hash", "uid", "unickname", "datetaken", "title", "longitude", "latitude",
    "accuracy", "pageurl", "downloadurl", "licensename", "licenseurl", "marker", "attribution",
)  # fmt: skip
# The columns of own tables that hold these fields, as `locationnet.tables.columns` calls them.
_OWN_COLUMNS = {
    "photoid": "id", "path": "path", "hash": "hash", "uid": "uploader", "datetaken": "taken",
    "longitude": "lng", "latitude": "lat", "accuracy": "accuracy", "downloadurl": "url",
    "licensename": "licence", "attribution": "attribution",
}  # fmt: skip
_NUMBER = re.compile(rf"\s*{NUMBER}\s*")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\ufffd]")
_SHOWN = 120


@dataclass(frozen=True)
class Layout:
    """Where the fields of a photo stand.

    Parameters
    ----------
    name
        As the summary says it.
    form
        ``"tab"``: lines of tab-separated columns without a header; ``"sqlite"``; ``"table"``:
        delimited text with a header, or Parquet.
    columns
        The field that each column holds, ``""`` for none that has a name here; of a table,
        the file's own column names.
    fields
        Of a table: the field of each column. Otherwise the columns are the fields.
    encoded
        Whether texts are percent-encoded with ``+`` for a space, and photo ids are numbers.
    else_id
        The field that names a photo where `photoid` does not, ``""`` for none.
    """

    name: str
    form: str
    columns: tuple[str, ...]
    fields: tuple[str, ...] = ()
    encoded: bool = True
    else_id: str = ""

    @property
    def wanted(self) -> dict[str, int]:
        """The index of each column that holds a field, by the field."""
        fields = self.fields or self.columns
        return {field: index for index, field in enumerate(fields) if field in FIELDS}


SQLITE = Layout("YFCC100M, SQLite edition", "sqlite", YFCC_23)
SQLITE_TABLE = "yfcc100m_dataset"
_FIXED = (
    Layout("YFCC100M, 25 columns", "tab", YFCC_25),
    Layout("YFCC100M, 23 columns", "tab", YFCC_23),
    Layout("Placing task 2015", "tab", PLACING_2015, else_id="hash"),
)
HASH_LIST = Layout("hashes of YFCC100M", "tab", HASHES)


def tab_layout(file: str, lines: Sequence[str]) -> Layout:
    """Recognise the layout of tab-separated lines: that which most of them follow.

    Parameters
    ----------
    file
        Its name, for the message.
    lines
        The first lines of the file, not empty, without their ends.

    Raises
    ------
    InputError
        No line follows a known layout; the message shows the first.
    """
    votes: dict[Layout, int] = {}
    for line in lines:
        found = _layout_of(line.split("\t"))
        if found is not None:
            votes[found] = votes.get(found, 0) + 1
    if not votes:
        first = lines[0]
        if _CONTROL.search(first):
            raise InputError(f"{file}: not a table of text (it contains control bytes)")
        shown = first if len(first) <= _SHOWN else f"{first[:_SHOWN]}…"
        raise InputError(
            f"{file}: unknown layout; row 1 has {first.count(chr(9)) + 1} tab-separated columns:"
            f" {shown!r}; expected YFCC100M's 25 or 23, the Placing task's with their hash, or a"
            " header that names a latitude and a longitude column"
        )
    return max(votes, key=votes.__getitem__)


def table_layout(file: str, names: Sequence[str]) -> Layout | None:
    """Return the layout of a table with these column names, or None without coordinates."""
    found = {field: find_column(file, names, own) for field, own in _OWN_COLUMNS.items()}
    if found["latitude"] is None or found["longitude"] is None:
        return None
    if found["photoid"] is None and found["path"] is None:
        raise missing_columns(file, names, "id", "path")
    columns = {field: name for field, name in found.items() if name is not None}
    return Layout("table", "table", tuple(columns.values()), tuple(columns), False, "path")


def _layout_of(row: list[str]) -> Layout | None:
    for layout in _FIXED:
        if _follows(row, layout) and (layout.else_id != "hash" or row[0]):
            return layout
    if _follows(row, HASH_LIST) and row[1]:
        return HASH_LIST
    if len(row) < len(PLACING_2016_START) + 1:
        return None
    # Nothing but the last column distinguishes it from any other numbers in the third and fourth.
    hashed = is_photo_hash(row[-1])
    if not hashed and _PLACING_LABEL.fullmatch(row[-1]) is None:
        return None
    more = [""] * (len(row) - len(PLACING_2016_START) - 1)
    columns = (*PLACING_2016_START, *more, "hash" if hashed else "")
    layout = Layout("Placing task 2016", "tab", columns, else_id="hash")
    return layout if row[2] and row[3] and _follows(row, layout) else None


def _follows(row: list[str], layout: Layout) -> bool:
    """Return whether a row has a layout's columns, each with something that can stand there."""
    return len(row) == len(layout.columns) and all(
        (field == "photoid" and layout.else_id) or _fits(field, row[index])
        for field, index in layout.wanted.items()
    )


def _fits(field: str, text: str) -> bool:
    if field == "photoid":
        return text.isdecimal()
    if field == "marker":
        return text in ("0", "1")
    if field == "hash":
        return not text or is_photo_hash(text)
    if field in ("latitude", "longitude"):
        return not text or _NUMBER.fullmatch(text) is not None
    return True
