"""What the user named on the command line, as a list of photos: files, folders, globs and URLs.

Knows nothing of what a photo shows; reading one is left to whoever iterates.
"""

from __future__ import annotations

import glob
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from locationnet.errors import InputError

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp"})


@dataclass(frozen=True)
class Source:
    """One photo: a local path or a URL, as the user would write it."""

    name: str

    @property
    def is_url(self) -> bool:
        """Whether `name` is to be fetched."""
        return self.name.lower().startswith(("http://", "https://"))

    def read(self) -> bytes:
        """Return the photo's bytes.

        Raises
        ------
        FetchError
            The URL is refused or its server failed.
        InputError
            The file cannot be read.
        """
        if self.is_url:
            from locationnet.remote import FetchPolicy, fetch_sync

            return fetch_sync(self.name, FetchPolicy())
        try:
            return Path(self.name).read_bytes()
        except OSError as error:
            raise InputError(f"cannot read the file ({error.strerror})") from error


def expand(names: Iterable[str]) -> list[Source]:
    """List the photos that `names` stand for, in order.

    A folder stands for the images below it, by suffix; a pattern for its matches; anything else,
    even a file that is not there, for itself.

    Raises
    ------
    InputError
        A folder or a pattern holds no image.
    """
    found: list[Source] = []
    for name in names:
        source = Source(name)
        path = Path(name)
        if source.is_url or path.is_file():
            found.append(source)
        elif path.is_dir():
            found += _some(name, (match for match in path.rglob("*") if _is_image(match)))
        elif glob.has_magic(name):
            # Path.glob takes no absolute pattern.
            matches = (Path(match) for match in glob.iglob(name, recursive=True))  # noqa: PTH207
            found += _some(name, (match for match in matches if match.is_file()))
        else:
            found.append(source)
    return found


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and path.is_file()


def _some(name: str, paths: Iterable[Path]) -> list[Source]:
    sources = [Source(str(path)) for path in sorted(paths)]
    if not sources:
        raise InputError(f"{name}: no JPEG, PNG or WebP image there")
    return sources
