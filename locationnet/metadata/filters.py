"""What a user wants of the photos: accuracy, licences, a box, a cap, and who opted out.

Knows nothing of files of metadata or of how they are read.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from locationnet.errors import InputError
from locationnet.geo.box import Box

# The cap counts an uploader's photos in a cell of about 10 km, a town.
CAP_LEVEL = 10

_LICENCE_URL = re.compile(
    r"https?://(?:www\.)?creativecommons\.org/(licenses|publicdomain)/([a-z-]+)/(\d\.\d)",
    re.IGNORECASE,
)
_PUBLIC_DOMAIN = {"zero": "CC0", "mark": "CC-PDM"}
_VERSION = re.compile(r"-\d\.\d$")


@dataclass(frozen=True)
class Filters:
    """What to keep.

    Parameters
    ----------
    min_accuracy
        Least accuracy of a position, 1 (world) to 16 (street); a photo that says none is dropped.
    licences
        Names as `licence_key` gives them; none means all.
    box
        Where.
    opt_out
        Uploaders and hashes whose photos are left out.
    per_cell
        Most photos of one uploader in one S2 cell of level `CAP_LEVEL`.
    """

    min_accuracy: int | None = None
    licences: frozenset[str] = frozenset()
    box: Box | None = None
    opt_out: frozenset[str] = frozenset()
    per_cell: int | None = None

    def fields(self) -> dict[str, Any]:
        """Return what distinguishes these filters from others, as JSON can hold it."""
        listed = "\n".join(sorted(self.opt_out)).encode()
        return {
            "min_accuracy": self.min_accuracy,
            "licences": sorted(self.licences),
            "bbox": None if self.box is None else str(self.box),
            "opt_out": hashlib.sha256(listed).hexdigest() if self.opt_out else None,
            "per_cell": self.per_cell,
        }

    def wants_licence(self, name: str) -> bool:
        """Return whether photos under a licence, by its full name, are kept."""
        return not self.licences or bool(self.licences & _keys(name))


def licence_name(name: str, url: str) -> str:
    """Return a licence's SPDX identifier, from its address, or else the name that it came with."""
    match = _LICENCE_URL.match(url)
    if match is None:
        return name
    kind, code, version = match[1].lower(), match[2].lower(), match[3]
    if kind == "publicdomain":
        return f"{_PUBLIC_DOMAIN.get(code, code)}-{version}"
    return f"CC-{code.upper()}-{version}"


def licence_key(text: str) -> str:
    """Return a licence as `Filters.licences` wants it, from ``by``, ``CC BY 2.0``, ``cc-by-nc``."""
    return text.strip().lower().replace(" ", "-").removeprefix("cc-")


def read_opt_out(path: Path) -> frozenset[str]:
    """Read uploaders and hashes, one a line; blank lines and those that start with ``#`` aside.

    Raises
    ------
    InputError
        The file cannot be read.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({error})") from error
    return frozenset(_meant(lines))


def _meant(lines: Iterable[str]) -> Iterable[str]:
    stripped = (line.strip() for line in lines)
    return (line for line in stripped if line and not line.startswith("#"))


def _keys(name: str) -> set[str]:
    """Return the ways to ask for a licence: with its version, and for any."""
    key = licence_key(name)
    return {key, _VERSION.sub("", key)}
