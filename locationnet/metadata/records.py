"""One batch of raw fields to rows of the table: checked, filtered, decoded.

Knows nothing of files, of other batches, or of what happens to the rows. Every row that is left
out is counted once, by the first reason in the order of the checks.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

import numpy as np
from numpy.typing import NDArray

from locationnet.commons import HASH, photo_hash
from locationnet.geo import s2
from locationnet.metadata.filters import CAP_LEVEL, Filters, licence_name
from locationnet.metadata.keys import Keys, text_keys, uploader_cell_keys
from locationnet.metadata.layouts import Layout
from locationnet.tables.coordinates import faults
from locationnet.tables.read import Mask, as_floats, as_names, as_texts, as_utf8

if TYPE_CHECKING:
    import pyarrow as pa

NOT_TEXT = "not UTF-8"
NO_ID = "no photo id"
NO_MARKER = "neither photo nor video"
VIDEO = "video"
LOW_ACCURACY = "accuracy too low or unknown"
OUTSIDE = "outside the box"
LICENCE = "another licence"
OPTED_OUT = "opted out"

# What a part holds beyond the table: what differs between photos, and what the cap counts by.
KEY, UPLOADER_CELL = "key", "uploader_cell"

_COORDINATES = ("latitude", "longitude")
_NAMES = ("photoid", "uid", "hash", "downloadurl")
_ENCODED = ("uid", "unickname", "datetaken", "title", "licensename")
NUMERIC_ID = r"^[1-9][0-9]{0,18}$"
_ACCURACY = r"^[0-9]{1,2}$"
_CONTROL = re.compile(r"[\x00-\x1f]+")


def schema(*, part: bool) -> pa.Schema:
    """Return the columns of the table; a part also has `KEY` and `UPLOADER_CELL`."""
    import pyarrow as pa

    text, degrees = pa.string(), pa.float64()
    keys = [(KEY, pa.uint64()), (UPLOADER_CELL, pa.uint64())] if part else []
    return pa.schema(
        [
            ("id", text), ("path", text), ("lat", degrees), ("lng", degrees), ("uploader", text),
            ("accuracy", pa.int8()), ("taken", text), ("url", text), ("hash", text),
            ("licence", text), ("attribution", text), *keys,
        ]
    )  # fmt: skip


def wanted_rows(
    raw: pa.RecordBatch, layout: Layout, filters: Filters, dropped: Counter[str], file: str
) -> pa.RecordBatch:
    """Return the rows of a batch that are wanted, as parts hold them.

    Parameters
    ----------
    raw
        The fields of `layout`, texts as bytes or strings.
    layout
        Where they come from.
    filters
        What is wanted.
    dropped
        Counts the other rows by reason.
    file
        Its name, for messages.

    Raises
    ------
    InputError
        A column of a Parquet file has a type that makes no sense there.
    """
    import pyarrow.compute as pc

    rows = _Rows(raw, dropped)
    _make_texts(rows, file, encoded=layout.encoded)
    _check(rows, layout, filters, file)
    if layout.encoded:
        for field in _ENCODED:
            if rows.has(field):
                rows.put(field, _decoded(rows.text(field)))
    for field in ("downloadurl", "hash"):
        if rows.has(field):
            rows.put(field, pc.utf8_trim_whitespace(rows.text(field)))
    _name_licences(rows)
    rows.drop({LICENCE: ~_each_once(rows.text("licence"), filters.wants_licence)})
    rows.put("hash", _hashes(rows))
    if filters.opt_out:
        listed = list(filters.opt_out)
        rows.drop({OPTED_OUT: _among(rows.text("uid"), listed) | _among(rows.text("hash"), listed)})
    return _part(rows, layout, filters)


class _Rows:
    """A batch that loses rows and gains columns."""

    def __init__(self, batch: pa.RecordBatch, dropped: Counter[str]) -> None:
        self.batch = batch
        self._dropped = dropped

    def __len__(self) -> int:
        return int(self.batch.num_rows)

    def has(self, field: str) -> bool:
        return field in self.batch.schema.names

    def column(self, field: str) -> Any:
        return self.batch.column(field)

    def text(self, field: str) -> Any:
        """Return a column of texts; empty ones where there is no such column."""
        import pyarrow as pa

        return self.column(field) if self.has(field) else pa.array([""] * len(self), pa.string())

    def put(self, field: str, column: Any) -> None:
        """Add a column, or replace it."""
        if self.has(field):
            index = self.batch.schema.get_field_index(field)
            self.batch = self.batch.set_column(index, field, column)
        else:
            self.batch = self.batch.append_column(field, column)

    def drop(self, reasons: dict[str, Mask]) -> None:
        """Leave out the rows that have a reason, and count each by its first."""
        import pyarrow as pa

        gone = np.zeros(len(self), np.bool_)
        for reason, mask in reasons.items():
            if count := int((mask & ~gone).sum()):
                self._dropped[reason] += count
                gone |= mask
        if gone.any():
            self.batch = self.batch.filter(pa.array(~gone))


def _make_texts(rows: _Rows, file: str, *, encoded: bool) -> None:
    """Turn bytes into strings, and into texts what else a Parquet file may hold."""
    import pyarrow as pa
    import pyarrow.compute as pc

    bad = np.zeros(len(rows), np.bool_)
    for name in rows.batch.schema.names:
        if pa.types.is_binary(rows.column(name).type):
            bad |= as_utf8(rows.column(name))[1]
    rows.drop({NOT_TEXT: bad})
    for name in rows.batch.schema.names:
        column = rows.column(name)
        if name in _COORDINATES and not pa.types.is_binary(column.type):
            continue  # numbers stay numbers
        column = as_texts(column, f"{file}: the column of {name}")
        if not encoded and name in _NAMES:
            column = as_names(column)
        rows.put(name, pc.fill_null(column, ""))


def _check(rows: _Rows, layout: Layout, filters: Filters, file: str) -> None:
    """Drop what is not a photo with coordinates that are wanted; put lat, lng, accuracy and id."""
    import pyarrow as pa

    ids, known = _ids(rows, layout)
    lat = as_floats(rows.column("latitude"), f"{file}: the latitude")
    lng = as_floats(rows.column("longitude"), f"{file}: the longitude")
    accuracy = _accuracy(rows.text("accuracy"))
    reasons = {NO_ID: ~known}
    if rows.has("marker"):
        marker = rows.text("marker")
        reasons[VIDEO] = _among(marker, ["1"])
        reasons[NO_MARKER] = ~_among(marker, ["0", "1"])
    reasons |= faults(lat, lng)
    if filters.min_accuracy is not None:
        reasons[LOW_ACCURACY] = _as_numpy(accuracy.fill_null(-1)) < filters.min_accuracy
    if filters.box is not None:
        reasons[OUTSIDE] = ~filters.box.contains(lat[0], lng[0])
    for name, column in (("id", ids), ("lat", lat[0]), ("lng", lng[0]), ("accuracy", accuracy)):
        rows.put(name, pa.array(column))
    rows.drop(reasons)


def _ids(rows: _Rows, layout: Layout) -> tuple[Any, Mask]:
    """Return each row's photo id and whether it has one."""
    import pyarrow.compute as pc

    ids = rows.text("photoid")
    numeric = layout.encoded
    known = pc.match_substring_regex(ids, NUMERIC_ID) if numeric else pc.not_equal(ids, "")
    if layout.else_id:
        other = rows.text(layout.else_id)
        ids = pc.if_else(known, ids, other)
        also = _is_hash(other) if layout.else_id == "hash" else pc.not_equal(other, "")
        known = pc.or_(known, also)
    return ids, _as_numpy(known)


def _accuracy(column: Any) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc

    return pc.cast(pc.if_else(pc.match_substring_regex(column, _ACCURACY), column, None), pa.int8())


def _name_licences(rows: _Rows) -> None:
    """Put the column ``licence``: SPDX identifiers where the address names them."""
    import pyarrow as pa
    import pyarrow.compute as pc

    pairs = pc.binary_join_element_wise(rows.text("licensename"), rows.text("licenseurl"), "\t")
    pairs = pairs.dictionary_encode()
    names = [licence_name(*pair.split("\t", 1)) for pair in pairs.dictionary.to_pylist()]
    rows.put("licence", pa.array(names, pa.string()).take(pairs.indices))


def _each_once(column: Any, test: Any) -> Mask:
    """Ask a question about each different text, and return the answer for each row."""
    coded = column.dictionary_encode()
    answers = np.array([test(text) for text in coded.dictionary.to_pylist()], np.bool_)
    each: Mask = answers[_as_numpy(coded.indices)]
    return each


def _hashes(rows: _Rows) -> Any:
    """Return the hash of each photo: the one that is there, or that of the URL, or none."""
    import pyarrow as pa
    import pyarrow.compute as pc

    hashes, urls = rows.text("hash"), rows.text("downloadurl")
    there = _is_hash(hashes)
    computed = pc.and_(pc.invert(there), pc.not_equal(urls, ""))
    hashes = pc.if_else(there, hashes, "")
    found = [photo_hash(url) for url in urls.filter(computed).to_pylist()]
    return pc.replace_with_mask(hashes, computed, pa.array(found, pa.string()))


def _is_hash(column: Any) -> Any:
    import pyarrow.compute as pc

    return pc.match_substring_regex(column, f"^{HASH}$")


def _part(rows: _Rows, layout: Layout, filters: Filters) -> pa.RecordBatch:
    import pyarrow as pa

    keys = _photo_keys(rows.column("id"))
    uploader_cells = np.zeros(len(rows), np.uint64)
    if filters.per_cell is not None:
        uploader_cells = _uploader_cells(rows, keys)
    attribution = rows.text("attribution") if not layout.encoded else _attribution(rows)
    columns = {
        "id": rows.column("id"),
        "path": rows.text("path"),
        "lat": rows.column("lat"),
        "lng": rows.column("lng"),
        "uploader": rows.text("uid"),
        "accuracy": rows.column("accuracy"),
        "taken": rows.text("datetaken"),
        "url": rows.text("downloadurl"),
        "hash": rows.column("hash"),
        "licence": rows.column("licence"),
        "attribution": attribution,
        KEY: pa.array(keys),
        UPLOADER_CELL: pa.array(uploader_cells),
    }
    filled = [_known(column) for column in columns.values()]
    return pa.RecordBatch.from_arrays(filled, schema=schema(part=True))


def _known(column: Any) -> Any:
    """Return a column with null for empty texts."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not pa.types.is_string(column.type):
        return column
    return pc.if_else(pc.equal(column, ""), None, column)


def _photo_keys(ids: Any) -> Keys:
    """Return a number for each photo: its id, where that is one."""
    import pyarrow as pa
    import pyarrow.compute as pc

    numeric = pc.match_substring_regex(ids, NUMERIC_ID)
    keys = _as_numpy(pc.cast(pc.if_else(numeric, ids, "0"), pa.uint64())).copy()
    other = ~_as_numpy(numeric)
    if other.any():
        keys[other] = text_keys(ids.filter(pa.array(other)).to_pylist())
    return keys


def _uploader_cells(rows: _Rows, keys: Keys) -> Keys:
    """Return what the cap counts by; a photo without an uploader stands alone."""
    uploaders = rows.text("uid").dictionary_encode()
    names = text_keys(uploaders.dictionary.to_pylist())[_as_numpy(uploaders.indices)]
    lat, lng = _as_numpy(rows.column("lat")), _as_numpy(rows.column("lng"))
    pairs = uploader_cell_keys(names, s2.parent_ids(s2.leaf_ids(lat, lng), CAP_LEVEL))
    return np.where(_among(rows.text("uid"), [""]), keys, pairs)


def _attribution(rows: _Rows) -> Any:
    """Return ``"title" by nickname, page, licence (its address)``, as far as these are known."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not rows.has("pageurl"):
        return rows.text("attribution")
    join = pc.binary_join_element_wise
    title, name = (pc.utf8_trim_whitespace(rows.text(field)) for field in ("title", "unickname"))
    title = pc.if_else(pc.equal(title, ""), "Photo", join('"', title, '"', ""))
    name = pc.if_else(pc.equal(name, ""), rows.text("uid"), name)
    address = rows.text("licenseurl")
    address = pc.if_else(pc.equal(address, ""), "", join(" (", address, ")", ""))
    text = join(title, " by ", name, ", ", rows.text("pageurl"), ", ", rows.column("licence"), "")
    return join(text, address, "").cast(pa.string())


def _among(column: Any, texts: list[str]) -> Mask:
    import pyarrow as pa
    import pyarrow.compute as pc

    return _as_numpy(pc.is_in(column, value_set=pa.array(texts, pa.string())))


def _decoded(column: Any) -> Any:
    """Undo percent-encoding with ``+`` for a space; a control character becomes a space."""
    import pyarrow as pa
    import pyarrow.compute as pc

    column = pc.replace_substring(column, "+", " ")
    escaped = pc.match_substring(column, "%")
    if _text_bytes(column).min(initial=ord(" ")) < ord(" "):
        escaped = pc.or_(escaped, pc.match_substring_regex(column, _CONTROL.pattern))
    if not pc.any(escaped).as_py():
        return column
    coded = column.filter(escaped).dictionary_encode()  # names come again and again
    plain = [
        _CONTROL.sub(" ", unquote_to_bytes(text).decode(errors="replace"))
        for text in coded.dictionary.to_pylist()
    ]
    plain_texts = pa.array(plain, pa.string()).take(coded.indices)
    return pc.replace_with_mask(column, escaped, plain_texts)


def _text_bytes(column: Any) -> NDArray[np.uint8]:
    """Return the bytes of all texts of a column, perhaps with some that lie around them."""
    data = column.buffers()[2]
    return np.empty(0, np.uint8) if data is None else np.frombuffer(data, np.uint8)


def _as_numpy(column: Any) -> NDArray[Any]:
    """Return an Arrow array's values."""
    return np.asarray(column.to_numpy(zero_copy_only=False))
