"""The tensors of a file that PyTorch saved (``.pth``), read without PyTorch.

Knows the file's form, a zip with a pickle and the tensors' bytes; not what the tensors are. Of what
a pickle may call, the little that builds tensors is known here and nothing else: no file can make
this process run anything.
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools
import re
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from locationnet.errors import InputError

Tensor = NDArray[Any]

_STORAGES = {
    "DoubleStorage": "<f8", "FloatStorage": "<f4", "HalfStorage": "<f2",
    "LongStorage": "<i8", "IntStorage": "<i4",
}  # fmt: skip
# A pickle of names and shapes; the tensors' bytes are stored beside it.
_MAX_PICKLE_BYTES = 1 << 20
_MAX_DIMENSIONS = 32


def read_pth(file: BinaryIO, name: str) -> dict[str, Tensor]:
    """Read a file of tensors by name; a file of one tensor has it under ``""``.

    Parameters
    ----------
    file
        Its content.
    name
        What messages call it.

    Raises
    ------
    InputError
        It is damaged, or holds anything but tensors.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            return _read(archive)
    except _RefusedError as error:
        raise InputError(f"{name}: {error}") from error
    # Whatever damaged or hostile bytes make zipfile and pickle raise.
    except Exception as error:
        raise InputError(f"{name}: not a file of tensors as PyTorch writes it") from error


class _RefusedError(Exception):
    """What is wrong with the file."""


def _read(archive: zipfile.ZipFile) -> dict[str, Tensor]:
    pickles = [entry for entry in archive.infolist() if entry.filename.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise _RefusedError("not a file of tensors as PyTorch writes it")
    (entry,) = pickles
    folder = entry.filename.removesuffix("data.pkl")
    if entry.file_size > _MAX_PICKLE_BYTES:
        raise _RefusedError("holds far more than names and shapes of tensors")
    if (
        f"{folder}byteorder" in archive.namelist()
        and archive.read(f"{folder}byteorder") != b"little"
    ):
        raise _RefusedError("was written on a big-endian machine")
    content = archive.read(entry)
    # The unpickler makes room for the highest number that an object is noted under.
    for operation, argument, _ in pickletools.genops(content):
        if operation.name == "LONG_BINPUT" and int(argument or 0) > len(content):
            raise _RefusedError("not a file of tensors as PyTorch writes it")
    found = _Unpickler(content, archive, folder).load()
    if isinstance(found, np.ndarray):
        return {"": found}
    if not isinstance(found, dict) or not all(
        isinstance(name, str) and isinstance(tensor, np.ndarray) for name, tensor in found.items()
    ):
        raise _RefusedError("holds something else than tensors by name")
    return dict(found)


class _Unpickler(pickle.Unpickler):
    """Knows four things by name, none of which a pickle can change for others."""

    def __init__(self, content: bytes, archive: zipfile.ZipFile, folder: str) -> None:
        super().__init__(io.BytesIO(content))
        self._archive, self._folder = archive, folder

    def find_class(self, module: str, name: str) -> Any:
        known: dict[tuple[str, str], Callable[..., Any]] = {
            ("torch._utils", "_rebuild_tensor_v2"): self._tensor,
            ("torch._utils", "_rebuild_parameter"): self._parameter,
            ("collections", "OrderedDict"): OrderedDict,
        }
        if (module, name) in known:
            return known[module, name]
        if module == "torch" and name in _STORAGES:
            return name
        raise _RefusedError(f"asks for {module}.{name}, which no file of tensors needs")

    def persistent_load(self, pid: Any) -> Tensor:
        """Return a storage, the flat numbers that tensors are views of."""
        kind, storage, key, _, count = pid
        if kind != "storage" or storage not in _STORAGES or not re.fullmatch(r"\w+", key):
            raise _RefusedError("holds something else than tensors")
        entry = self._archive.getinfo(f"{self._folder}data/{key}")
        dtype = np.dtype(_STORAGES[storage])
        # PyTorch stores them as they are; what is compressed could be larger than any memory.
        if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != count * dtype.itemsize:
            raise _RefusedError(f"the numbers of tensor {key} are not as many as it says")
        return np.frombuffer(self._archive.read(entry), dtype)

    # Methods that are bound to this one reader: nobody can set an attribute of such.
    def _parameter(self, tensor: Tensor, *_: Any) -> Tensor:
        return tensor

    def _tensor(
        self,
        storage: Tensor,
        offset: int,
        shape: tuple[int, ...],
        strides: tuple[int, ...],
        *_: Any,
    ) -> Tensor:
        numbers = (offset, *shape, *strides)
        if (
            not isinstance(storage, np.ndarray)
            or not all(type(number) is int and number >= 0 for number in numbers)
            or len(shape) != len(strides)
            or len(shape) > _MAX_DIMENSIONS
        ):
            raise _RefusedError("a tensor's shape is not valid")
        count = math.prod(shape)
        last = offset + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
        if count and (last >= len(storage) or count > len(storage)):
            raise _RefusedError("a tensor reaches beyond its numbers")
        if not count:
            return np.zeros(shape, storage.dtype)
        view = np.lib.stride_tricks.as_strided(
            storage[offset:], shape, [step * storage.itemsize for step in strides], writeable=False
        )
        return view.copy()
