"""RecordIO: labelled JPEGs one behind the other in a ``.rec`` file, their offsets in an ``.idx``.

The format is MXNet's (dmlc-core's ``recordio.h``, ``mxnet.recordio.IRHeader``), so that any MXNet
program reads what is written here; knows nothing of grids or of where photos come from.
"""

from __future__ import annotations

import struct
from io import BufferedReader, BufferedWriter
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from locationnet.errors import InputError

_MAGIC = 0xCED7230A
_MAGIC_BYTES = struct.pack("<I", _MAGIC)
_LENGTH_BITS = 29
_LENGTH_MASK = (1 << _LENGTH_BITS) - 1
# What a record, or a part of one, is: a whole, or the first, a middle or the last part. A record is
# cut wherever the magic number stands at a multiple of four, and reading puts it back.
_WHOLE, _FIRST, _MIDDLE, _LAST = range(4)
_HEADER = struct.Struct("<IfQQ")  # flag (0: one label), label, id, a second id


class ShardWriter:
    """Writes one ``.rec`` and its ``.idx``; use it as a context manager.

    Parameters
    ----------
    rec, idx
        The two files; they are replaced.
    """

    def __init__(self, rec: Path, idx: Path) -> None:
        self._rec: BufferedWriter = rec.open("wb")
        self._idx = idx.open("w", encoding="ascii")
        self._count = 0

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self._rec.close()
        self._idx.close()

    def write(self, label: int, jpeg: bytes) -> int:
        """Append a record; return its number, from 0."""
        number = self._count
        self._idx.write(f"{number}\t{self._rec.tell()}\n")
        self._rec.write(framed(_HEADER.pack(0, label, number, 0) + jpeg))
        self._count += 1
        return number


def read_record(rec: Path, offset: int) -> tuple[int, bytes]:
    """Return label and JPEG of the record at an offset; opens the file anew, safe between threads.

    Raises
    ------
    InputError
        The file is missing, truncated or corrupt there.
    """
    try:
        with rec.open("rb") as file:
            file.seek(offset)
            record = _unframed(file)
    except OSError as error:
        raise InputError(f"{rec}: cannot be read ({error.strerror})") from error
    if record is None or len(record) < _HEADER.size:
        raise InputError(f"{rec}: the record at byte {offset} is truncated or corrupt")
    _, label, _, _ = _HEADER.unpack_from(record)
    return int(label), record[_HEADER.size :]


def read_offsets(rec: Path) -> NDArray[np.int64]:
    """Return where each record of a ``.rec`` file starts, int64 ``(records,)``, from its ``.idx``.

    Raises
    ------
    InputError
        The ``.idx`` beside it is missing or not a valid index.
    """
    path = rec.with_suffix(".idx")
    try:
        lines = path.read_text(encoding="ascii").splitlines()
        return np.array([int(line.split("\t")[1]) for line in lines], np.int64)
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file; it must lie beside its .rec") from error
    except (ValueError, IndexError) as error:
        raise InputError(f"{path}: not an index of a .rec file") from error


def framed(record: bytes) -> bytes:
    """Return a record as it stands in a ``.rec`` file.

    Raises
    ------
    InputError
        It is longer than the 512 MiB that a record may have.
    """
    if len(record) > _LENGTH_MASK:
        raise InputError(f"a record of {len(record)} bytes is longer than RecordIO's 512 MiB")
    parts = _parts(record)
    last = len(parts) - 1
    framed_parts = []
    for index, part in enumerate(parts):
        if last == 0:
            kind = _WHOLE
        else:
            kind = _FIRST if index == 0 else _LAST if index == last else _MIDDLE
        framed_parts += [
            _MAGIC_BYTES,
            struct.pack("<I", kind << _LENGTH_BITS | len(part)),
            part,
            bytes(-len(part) % 4),
        ]
    return b"".join(framed_parts)


def _parts(record: bytes) -> list[bytes]:
    """Cut a record at each magic number that stands at a multiple of four."""
    parts, start = [], 0
    found = record.find(_MAGIC_BYTES)
    while found >= 0:
        if found % 4 == 0:
            parts.append(record[start:found])
            start = found + 4
            found = record.find(_MAGIC_BYTES, start)
        else:
            found = record.find(_MAGIC_BYTES, found + 1)
    return [*parts, record[start:]]


def _unframed(file: BufferedReader) -> bytes | None:
    """Return the record that starts here, or None where there is no whole one."""
    parts: list[bytes] = []
    while True:
        head = file.read(8)
        if len(head) < 8:
            return None
        magic, word = struct.unpack("<II", head)
        kind, length = word >> _LENGTH_BITS, word & _LENGTH_MASK
        starts = kind in (_WHOLE, _FIRST)
        if magic != _MAGIC or starts == bool(parts):
            return None
        part = file.read(length)
        if len(part) < length:
            return None
        file.seek(-length % 4, 1)
        parts.append(part)
        if kind in (_WHOLE, _LAST):
            return _MAGIC_BYTES.join(parts)
