"""The tensors of a ``.safetensors`` file, one at a time, with what is expected of each.

Knows the file; not what the tensors are.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from locationnet.errors import InputError, MissingExtraError


class TensorFile:
    """An opened file; see `open_tensors`."""

    def __init__(self, path: Path, opened: Any) -> None:
        self._path, self._opened = path, opened
        self.names = frozenset(opened.keys())

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of one that is there."""
        return tuple(self._opened.get_slice(name).get_shape())

    def get(self, name: str, *shape: int | None) -> NDArray[np.float32]:
        """Return one tensor as float32.

        Parameters
        ----------
        name
            Of the tensor.
        shape
            What is expected; None for a side of any length.

        Raises
        ------
        InputError
            There is none, it has another shape, or it holds NaN or infinity.
        """
        if name not in self.names:
            raise InputError(f"{self._path}: contains no tensor {name}")
        try:
            tensor = self._opened.get_tensor(name)
        except Exception as error:  # safetensors' own, and what NumPy says of types it lacks
            raise InputError(f"{self._path}: tensor {name} cannot be read ({error})") from error
        return checked(f"{self._path}: tensor {name}", tensor, *shape)


@contextmanager
def open_tensors(path: Path) -> Iterator[TensorFile]:
    """Open a file of tensors.

    Raises
    ------
    InputError
        It is missing, truncated or something else.
    MissingExtraError
        safetensors is not installed.
    """
    try:
        from safetensors import SafetensorError, safe_open
    except ModuleNotFoundError as error:
        raise MissingExtraError("reading safetensors", "geoclip") from error
    try:
        opened = safe_open(path, framework="numpy")
    except (SafetensorError, OSError) as error:
        why = "no such file" if not path.is_file() else f"not a whole safetensors file ({error})"
        raise InputError(f"{path}: {why}") from error
    with opened as file:
        yield TensorFile(path, file)


def checked(what: str, tensor: NDArray[Any], *shape: int | None) -> NDArray[np.float32]:
    """Return a tensor as float32, if it is as expected; see `TensorFile.get`."""
    fits = len(tensor.shape) == len(shape) and all(
        wanted in (None, side) for side, wanted in zip(tensor.shape, shape, strict=True)
    )
    if not fits:
        raise InputError(f"{what}: is {_sides(tensor.shape)}, expected {_sides(shape)}")
    if tensor.dtype.kind != "f":
        raise InputError(f"{what}: holds {tensor.dtype}, expected floating-point numbers")
    # An array without dimensions stays one: `np.ascontiguousarray` would give it one.
    numbers = np.asarray(tensor, np.float32)
    if not np.isfinite(numbers).all():
        raise InputError(f"{what}: holds NaN or infinity")
    return numbers


def _sides(shape: tuple[int | None, ...]) -> str:
    return " x ".join("any" if side is None else str(side) for side in shape) or "one number"
