"""Photos by their names, which people write with or without folders and with or without a suffix.

Knows names, and where files lie below a folder; not what is in them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from locationnet.image_formats import SUFFIXES, is_photo_name

# Tables name photos of formats too that we do not read.
_SUFFIXES = SUFFIXES | {".gif", ".bmp", ".tif", ".tiff"}


class _Name(NamedTuple):
    folders: tuple[str, ...]
    stem: str
    suffix: str


def bare(name: str) -> str:
    """Return a photo's name without folders and suffix."""
    return _parts(name).stem


def has_suffix(name: str) -> bool:
    """Return whether a name ends like a photo's file."""
    return bool(_parts(name).suffix)


class PhotoNames:
    """Photos to be found by name.

    A name without folders or suffix is that of each photo that it could be; one with folders is
    that of a photo with the same ones, as far as both have some.

    Parameters
    ----------
    names
        Of the photos: ids, or paths, those of Windows too.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._names = [_parts(name) for name in names]
        self._by_stem: dict[str, list[int]] = {}
        for index, name in enumerate(self._names):
            self._by_stem.setdefault(name.stem, []).append(index)

    def find(self, name: str) -> list[int]:
        """Return the indices of the photos that a name fits best; several where it is ambiguous."""
        wanted = _parts(name)
        found: dict[tuple[bool, bool, int], list[int]] = {}
        for index in self._by_stem.get(wanted.stem, ()):
            photo = self._names[index]
            depth = min(len(photo.folders), len(wanted.folders))
            if not depth or photo.folders[-depth:] == wanted.folders[-depth:]:
                likeness = photo.folders == wanted.folders, photo.suffix == wanted.suffix, depth
                found.setdefault(likeness, []).append(index)
        return found[max(found)] if found else []


def photo_files(folder: Path) -> list[Path]:
    """Return the photos below a folder, sorted; hidden ones, as macOS makes, are left out."""
    return sorted(
        path for path in folder.rglob("*") if is_photo_name(path) and "__MACOSX" not in path.parts
    )


def find_files(folder: Path, names: Sequence[str]) -> tuple[Path, ...]:
    """Return where photos lie below a folder, by their path or by their name alone.

    A photo that is not there gets the path that its name says, below the folder in any case.
    """
    files = photo_files(folder)
    known = PhotoNames(path.relative_to(folder).as_posix() for path in files)
    found = []
    for name in names:
        matches = known.find(name) or known.find(bare(name))
        found.append(files[matches[0]] if matches else _path(folder, name))
    return tuple(found)


def _path(folder: Path, name: str) -> Path:
    folders, stem, suffix = _parts(name)
    return folder.joinpath(*folders, stem + (suffix or ".jpg"))


def _parts(name: str) -> _Name:
    *folders, last = [
        part for part in name.strip().replace("\\", "/").split("/") if part not in {"", ".", ".."}
    ] or [""]
    stem, dot, suffix = last.rpartition(".")
    if stem and f".{suffix.lower()}" in _SUFFIXES:
        return _Name(tuple(folders), stem, dot + suffix.lower())
    return _Name(tuple(folders), last, "")
