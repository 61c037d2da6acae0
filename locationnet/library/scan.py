"""A tree of photos into the library: only what is new or changed is read, nothing written there.

Knows files, links and moves; what a photo says of itself is read by `photo_facts`.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from locationnet.errors import InputError
from locationnet.image_formats import READ, is_photo_name, kind_of_name
from locationnet.library import xmp
from locationnet.library.catalog import Catalog, Photo, sidecar_text
from locationnet.library.photo_facts import RAW_SUFFIXES, Facts, read_photo, with_xmp
from locationnet.names import printable

# What a kill may lose is read again in this time.
_COMMIT_S = 2.0
# Photos between two looks at the clock and two moves of a bar.
_STEP = 50

Sidecars = tuple[tuple[str, int, int], ...]


@dataclass
class Scanned:
    """What a scan found, in numbers of files.

    Parameters
    ----------
    read, unchanged, moved
        Photos that were read, that are as they were, and that were found under another name.
    missing
        Photos that were there before and are not now; they are kept, and come back with the files.
    duplicates
        Photos whose file is, by its fingerprint, the same as another's.
    links
        Links to what is listed anyway.
    other
        Files that are no photos, by kind.
    unreadable
        A line for each file and folder that could not be read.
    """

    read: int = 0
    unchanged: int = 0
    moved: int = 0
    missing: int = 0
    duplicates: int = 0
    links: int = 0
    other: Counter[str] = field(default_factory=Counter)
    unreadable: list[str] = field(default_factory=list)


def scan(
    folder: Path, catalog: Catalog, advance: Callable[[int], object] = lambda _: None
) -> Scanned:
    """Bring the library up to what lies below a folder.

    Parameters
    ----------
    folder
        Where photos lie; links to folders are followed once.
    catalog
        The library. Photos of other folders that it knows are left alone.
    advance
        Called with how many photos were looked at since the last call.

    Raises
    ------
    InputError
        The folder is not there.
    FullDiskError
        There is no room for the library; what was read until then is kept.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder")
    root = folder.resolve()
    found = Scanned()
    before = catalog.stamps()
    seen: set[bytes] = set()
    photos = _photos(root, found)
    ended = False
    while not ended:
        ended = True
        started = time.monotonic()
        with catalog.changes():
            for count, (path, stat, sidecars) in enumerate(photos, 1):
                seen.add(os.fsencode(path))
                _take(catalog, before, path, stat, sidecars, found)
                if count % _STEP == 0:
                    advance(_STEP)
                    if time.monotonic() - started > _COMMIT_S:
                        ended = False
                        break
    with catalog.changes():
        _note_missing(catalog, root, seen, found)
    return found


def _take(
    catalog: Catalog,
    before: dict[bytes, tuple[int, int, int, str, bool]],
    path: Path,
    stat: os.stat_result,
    sidecars: Sidecars,
    found: Scanned,
) -> None:
    """Read one photo unless the library knows it as it is."""
    stamp = (stat.st_size, stat.st_mtime_ns, sidecar_text(sidecars))
    number, *known, missing = before.get(os.fsencode(path), (0, 0, 0, "", False))
    if number and tuple(known) == stamp:
        if missing:
            catalog.set_missing(number, missing=False)
        found.unchanged += 1
        return
    try:
        fingerprint, facts = read_photo(path)
        for name, _, _ in sidecars:
            facts = _beside(facts, Path(name))
    except OSError as error:
        found.unreadable.append(f"{printable(path)}: {error.strerror or error}")
        return
    if not facts.kind and is_photo_name(path):
        found.unreadable.append(f"{printable(path)}: not a {READ} image")
        return
    found.read += 1
    alike = catalog.with_fingerprint(fingerprint)
    gone = [row for row in alike if row.number != number and not _in_place(row)]
    if gone:
        # Names may have been exchanged, so what was here may turn up under another one.
        if number:
            catalog.detach(number)
        number = gone[0].number
        before.pop(os.fsencode(gone[0].path), None)
        found.moved += 1
    elif alike and not number:
        found.duplicates += 1
    catalog.put(Photo(number, path, stat.st_size, stat.st_mtime_ns, fingerprint, facts, sidecars))


def _in_place(photo: Photo) -> bool:
    """Return whether a photo's file is where it was and as it was."""
    try:
        stat = photo.path.stat()
    except (OSError, ValueError):
        return False
    return (stat.st_size, stat.st_mtime_ns) == (photo.size, photo.changed_ns)


def _beside(facts: Facts, sidecar: Path) -> Facts:
    """Add what a sidecar says; a position there was set later than the file's, and wins."""
    said = xmp.parse(sidecar.read_bytes())
    if said.lat is not None:
        facts = with_xmp(_without_place(facts), said)
    return with_xmp(facts, said)


def _without_place(facts: Facts) -> Facts:
    return Facts(facts.kind, facts.camera, facts.serial, facts.taken, facts.utc)


def _note_missing(catalog: Catalog, root: Path, seen: set[bytes], found: Scanned) -> None:
    below = os.path.join(os.fsencode(root), b"")  # noqa: PTH118  # a name may not be UTF-8
    for path, (number, *_, missing) in catalog.stamps().items():
        if path not in seen and path.startswith(below) and not os.path.lexists(path):
            found.missing += 1
            if not missing:
                catalog.set_missing(number, missing=True)


def _photos(root: Path, found: Scanned) -> Iterator[tuple[Path, os.stat_result, Sidecars]]:
    """Yield the photos of a tree; links after all else, and only to what was not listed."""
    folders, linked = [root], list[Path]()
    visited: set[tuple[int, int]] = set()
    listed: set[tuple[int, int]] = set()
    while folders or linked:
        link = not folders
        folder = linked.pop(0) if link else folders.pop()
        try:
            stat = folder.stat()
            if link and not folder.is_dir():
                if (stat.st_dev, stat.st_ino) in listed:
                    found.links += 1
                else:
                    listed.add((stat.st_dev, stat.st_ino))
                    yield folder, stat, _sidecars(folder, None)
                continue
            if (stat.st_dev, stat.st_ino) in visited:
                found.links += 1
                continue
            visited.add((stat.st_dev, stat.st_ino))
            with os.scandir(folder) as entries:
                here = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            found.unreadable.append(f"{printable(folder)}: {error.strerror or error}")
            continue
        names = {entry.name for entry in here}
        below = []
        for entry in here:
            path = Path(entry.path)
            try:
                if entry.is_dir(follow_symlinks=False):
                    below.append(path)
                elif entry.is_symlink():
                    if path.is_dir() or _is_photo(path):
                        linked.append(path)
                elif not _is_photo(path):
                    found.other[kind_of_name(path)] += 1
                elif entry.is_file():
                    stat = entry.stat()
                    listed.add((stat.st_dev, stat.st_ino))
                    yield path, stat, _sidecars(path, names)
            except OSError as error:
                found.unreadable.append(f"{printable(path)}: {error.strerror or error}")
        folders += reversed(below)


def _is_photo(path: Path) -> bool:
    return is_photo_name(path) or (
        path.suffix.lower() in RAW_SUFFIXES and not path.name.startswith(".")
    )


def _sidecars(photo: Path, names: set[str] | None) -> Sidecars:
    """Return the sidecars that lie beside a photo."""
    found = []
    for path in xmp.sidecars(photo):
        if names is None or path.name in names:
            try:
                stat = path.stat()
            except OSError:
                continue
            found.append((os.fspath(path), stat.st_size, stat.st_mtime_ns))
    return tuple(found)
