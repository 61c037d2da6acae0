"""What computes: CPU devices or GPUs, as ``--devices`` names them; imports no mxnet."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from locationnet.errors import InputError


@dataclass(frozen=True)
class Devices:
    """What computes: ``cpu`` or ``gpu`` and the numbers of the devices."""

    kind: Literal["cpu", "gpu"]
    indices: tuple[int, ...]

    @classmethod
    def parse(cls, text: str) -> Devices:
        """Read ``cpu``, ``cpu:16`` (sixteen CPU devices) or ``gpu:0-15``, ``gpu:0,2``.

        Raises
        ------
        InputError
            The text is not one of these or names a device twice.
        """
        kind, colon, numbers = text.strip().partition(":")
        if kind == "cpu" and (not colon or re.fullmatch(r"[1-9]\d{0,2}", numbers)):
            return cls("cpu", tuple(range(int(numbers or 1))))
        if kind == "gpu":
            return cls("gpu", _indices(numbers or "0"))
        raise InputError(f"{text!r} names no devices; expected cpu:16, gpu:0 or gpu:0-15")

    def __str__(self) -> str:
        if self.kind == "cpu":
            return f"cpu:{len(self.indices)}"
        return "gpu:" + ",".join(map(str, self.indices))

    def __len__(self) -> int:
        return len(self.indices)


def _indices(text: str) -> tuple[int, ...]:
    found: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"(\d{1,3})(?:-(\d{1,3}))?", part.strip())
        if match is None or int(match[2] or match[1]) < int(match[1]):
            raise InputError(f"{text!r} names no GPUs; expected numbers such as 0-15 or 0,2")
        found += range(int(match[1]), int(match[2] or match[1]) + 1)
    if len(set(found)) != len(found):
        raise InputError(f"{text!r} names a GPU twice")
    return tuple(found)
