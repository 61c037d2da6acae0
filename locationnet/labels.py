"""The names of classes that are not places: one a line of ``labels.txt``, in class order.

What a `Grid` is to places, this is to everything else; knows nothing of photos or networks.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from locationnet.errors import InputError
from locationnet.files import write_text


def is_label(name: str) -> bool:
    """Tell whether a text can be a line of ``labels.txt``, and stay as it is."""
    return bool(name) and name == name.strip() and name.isprintable()


@dataclass(frozen=True)
class LabelSet:
    """Labels; class *i* is the label *i*.

    Parameters
    ----------
    names
        At least two, each once; no empty one, none with a line break or blanks around it.

    Raises
    ------
    InputError
        A name breaks these rules; the message says which.
    """

    names: tuple[str, ...]

    def __post_init__(self) -> None:
        if len(self.names) < 2:
            raise InputError(f"{len(self.names)} labels are too few to tell apart")
        seen: set[str] = set()
        for number, name in enumerate(self.names, 1):
            if not is_label(name):
                raise InputError(f"label {number}, {name!r}: empty, or with blanks or line breaks")
            if name in seen:
                raise InputError(f"label {number}, {name!r}: is there twice")
            seen.add(name)

    @classmethod
    def of(cls, values: Iterable[str]) -> LabelSet:
        """Return the different values, sorted; empty ones are none."""
        return cls(tuple(sorted({value for value in values if value})))

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> LabelSet:
        """Read ``labels.txt``.

        Raises
        ------
        InputError
            The file cannot be read or breaks a rule; the message names it.
        """
        try:
            lines = Path(path).read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{os.fspath(path)}: cannot be read as text") from error
        try:
            return cls(tuple(lines))
        except InputError as error:
            raise InputError(f"{os.fspath(path)}: {error}") from error

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write ``labels.txt``, whole or not at all."""
        write_text(path, self._text)

    def __len__(self) -> int:
        return len(self.names)

    @cached_property
    def sha256(self) -> str:
        """The checksum of ``labels.txt``."""
        return hashlib.sha256(self._text.encode()).hexdigest()

    def assign(self, values: Sequence[str]) -> NDArray[np.int64]:
        """Return the class of each value, int64 ``(n,)``: −1 for one that is no label."""
        places = {name: index for index, name in enumerate(self.names)}
        return np.array([places.get(value, -1) for value in values], np.int64)

    @property
    def _text(self) -> str:
        return "".join(f"{name}\n" for name in self.names)
