"""``.params`` files, MXNet's list of named arrays, read without MXNet.

Knows the four versions of an array in such a file; nothing of networks. Nothing in a file is
trusted: every count and size is held against what is left of the file before it is used.
"""

from __future__ import annotations

import math
import mmap
import os
import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from locationnet.errors import InputError

_LIST = 0x112
# The first array versions had none: their number of dimensions comes first.
_V1, _V2, _V3 = 0xF993FAC8, 0xF993FAC9, 0xF993FACA
_MOST_DIMENSIONS = 32  # NumPy's own limit below 2
_DENSE = 0
# By their numbers in MXNet; from int16 on only its version 2 writes them.
_TYPES = ("<f4", "<f8", "<f2", "u1", "<i4", "i1", "<i8", "?", "<i2", "<u2", "<u4", "<u8")


def read_arrays(path: str | os.PathLike[str]) -> dict[str, NDArray[Any]]:
    """Read named arrays.

    Parameters
    ----------
    path
        What ``mx.nd.save`` or any version of MXNet's ``save_checkpoint`` wrote.

    Returns
    -------
    dict
        Arrays by name, in the file's order, with the file's dtypes. They are views into the file,
        which is mapped into memory, and cannot be written to.

    Raises
    ------
    InputError
        The file cannot be read, is not such a list or is cut off; it holds arrays without names,
        or sparse ones.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            if not os.fstat(file.fileno()).st_size:
                raise InputError(f"{path}: empty, not a list of MXNet's arrays")
            content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise InputError(f"{path}: cannot be read ({why})") from error
    return _File(path, content).arrays()


class _File:
    """A file and the place up to which it is read."""

    def __init__(self, path: Path, content: mmap.mmap) -> None:
        self._path, self._content = path, content
        self._place = 0

    def arrays(self) -> dict[str, NDArray[Any]]:
        if len(self._content) < 24 or self._numbers("QQ")[0] != _LIST:
            raise InputError(f"{self._path}: not a list of MXNet's arrays")
        [count] = self._numbers("Q")
        self._expect(count, 4, "arrays")
        arrays = [self._array(number) for number in range(1, count + 1)]
        [named] = self._numbers("Q")
        self._expect(named, 8, "names")
        names = [self._name(number) for number in range(1, named + 1)]
        if len(names) != len(arrays):
            raise InputError(f"{self._path}: {len(arrays)} arrays with {len(names)} names")
        if self._place != len(self._content):
            left = len(self._content) - self._place
            raise InputError(f"{self._path}: {left} bytes follow after its last name")
        found = dict(zip(names, arrays, strict=True))
        if len(found) != len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise InputError(f"{self._path}: two arrays are called {twice}")
        return found

    def _array(self, number: int) -> NDArray[Any]:
        [version] = self._numbers("I")
        if version in (_V2, _V3) and self._numbers("i")[0] != _DENSE:
            raise InputError(f"{self._path}: array {number} is sparse, which is not read")
        if version in (_V1, _V2, _V3):
            [dimensions] = self._numbers("i")
            size = "q"
        else:
            dimensions, size = version, "I"
        if not 0 <= dimensions <= _MOST_DIMENSIONS:
            raise InputError(f"{self._path}: array {number} is damaged, or of an unknown version")
        shape = self._numbers(f"{dimensions}{size}")
        if min(shape, default=0) < 0:
            raise InputError(f"{self._path}: array {number} is damaged: its shape is {shape}")
        if not shape and version != _V3:  # where a number alone had no form yet
            return np.empty(0, np.float32)
        _device, _device_id, kind = self._numbers("iii")
        if not 0 <= kind < len(_TYPES):
            raise InputError(f"{self._path}: array {number} is of the unknown type {kind}")
        dtype = np.dtype(_TYPES[kind])
        length = math.prod(shape) * dtype.itemsize
        start = self._skip(length, f"array {number} of shape {shape}")
        try:
            return np.ndarray(shape, dtype, buffer=self._content, offset=start)
        except ValueError as error:  # one dimension is 0, and another beyond all addresses
            raise InputError(f"{self._path}: array {number} is damaged: {error}") from error

    def _name(self, number: int) -> str:
        [length] = self._numbers("Q")
        start = self._skip(length, f"name {number}")
        try:
            return self._content[start : start + length].decode("utf-8")
        except UnicodeDecodeError as error:
            raise InputError(f"{self._path}: name {number} is not UTF-8") from error

    def _numbers(self, form: str) -> tuple[int, ...]:
        form = f"<{form}"
        return struct.unpack_from(form, self._content, self._skip(struct.calcsize(form), "numbers"))

    def _expect(self, count: int, least: int, what: str) -> None:
        """Refuse a count that the rest of the file has no room for."""
        if count * least > len(self._content) - self._place:
            raise InputError(f"{self._path}: cut off or damaged: it says {count} {what}")

    def _skip(self, length: int, what: str) -> int:
        """Go on by some bytes; return where they start."""
        start = self._place
        if length > len(self._content) - start:
            raise InputError(f"{self._path}: cut off or damaged in {what}")
        self._place += length
        return start
