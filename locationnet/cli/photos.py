"""What the user named on the command line, as a list of photos: files, folders, globs and URLs.

Knows nothing of what a photo shows; reading one is left to whoever iterates.
"""

from __future__ import annotations

import glob
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from locationnet.cli.terminal import say, say_error
from locationnet.errors import InputError
from locationnet.image_formats import is_photo_name, kind_of_name

# They are done before a bar is read.
_FEW = 8
_Answer = TypeVar("_Answer")


@dataclass(frozen=True)
class Source:
    """One photo: a local path or a URL, as the user would write it."""

    name: str

    @property
    def is_url(self) -> bool:
        """Whether `name` is to be fetched."""
        return self.name.strip().lower().startswith(("http://", "https://"))

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
            from locationnet.net.fetch import FetchPolicy
            from locationnet.net.photo_urls import fetch_photo_sync

            return fetch_photo_sync(self.name, FetchPolicy())
        from locationnet.model.photo_source import read_file
        from locationnet.net.photo_urls import is_meant_as_address, wrong_address

        path = Path(self.name)
        if is_meant_as_address(self.name) and not path.exists():
            raise InputError(wrong_address(self.name))
        return read_file(path)


def expand(names: Iterable[str]) -> list[Source]:
    """List the photos that `names` stand for, in order.

    A folder stands for the images below it, by suffix, and a line on standard error counts its
    other files; a pattern stands for its matches; anything else, even a file that is not there or a
    folder without images, for itself: reading it says why not.
    """
    found: list[Source] = []
    for name in names:
        source = Source(name)
        found += [source] if source.is_url else _below(name) or [source]
    return found


def _below(name: str) -> list[Source]:
    """List the photos of a folder or a pattern, sorted."""
    path = Path(name)
    try:
        if not name:
            return []
        if path.is_dir():
            files = [match for match in path.rglob("*") if match.is_file()]
            matches = [file for file in files if is_photo_name(file)]
            _say_left_out(name, [file for file in files if not is_photo_name(file)])
        elif not path.exists() and glob.has_magic(name):
            # Path.glob takes no absolute pattern.
            matches = [Path(match) for match in glob.iglob(name, recursive=True)]  # noqa: PTH207
        else:
            return []
        return [Source(str(match)) for match in sorted(matches) if match.is_file()]
    except (OSError, ValueError):  # reading the name itself will say what is wrong with it
        return []


def _say_left_out(folder: str, files: list[Path]) -> None:
    if files:
        kinds = Counter(map(kind_of_name, files))
        order = sorted(kinds, key=lambda kind: (-kinds[kind], kind))
        counts = ", ".join(f"{kinds[kind]:,} {kind}" for kind in order)
        say(f"{folder}: {len(files):,} other files are not read: {counts}", error=True)


def answered(
    sources: list[Source],
    stream: Callable[[Iterable[Source]], Iterable[tuple[Source, _Answer | Exception]]],
    doing: str,
) -> Iterator[tuple[Source, _Answer]]:
    """Yield the photos that can be read with their answers; a line on standard error names others.

    Parameters
    ----------
    sources
        The photos.
    stream
        Answers them, or says why it cannot; see `locationnet.Locator.stream`.
    doing
        What the moving bar says.
    """
    for source, answer in stream(_progress(sources, doing)):
        if isinstance(answer, Exception):
            say_error(str(answer))
        else:
            yield source, answer


def _progress(sources: list[Source], doing: str) -> Iterable[Source]:
    """Show a bar for long work, unless the answers themselves scroll past on the terminal."""
    if len(sources) <= _FEW or sys.stdout.isatty() or not sys.stderr.isatty():
        return sources
    from rich.console import Console
    from rich.progress import track

    return track(sources, doing, console=Console(stderr=True))
