"""Gets a published benchmark's photos by their authors' own link, and says where others lie.

Knows links and zip archives; not what a benchmark's files mean, which is in `benchmark_files`.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

from locationnet.errors import InputError, LocationNetError, RemoteFailedError
from locationnet.evaluation.archive import discard, download
from locationnet.files import write_text
from locationnet.progress import Progress

RECORD = "fetched.json"

_PHOTO_BYTES = 64 << 20
_SUFFIXES = (".jpg", ".jpeg")
# What zipfile raises for bytes that are not a valid archive, or a damaged, encrypted or exotic one.
_DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError, OSError)


@dataclass(frozen=True)
class Archive:
    """A zip archive of photos behind a fixed link.

    Parameters
    ----------
    url
        Where it lies.
    page
        The page that links to it, for when the link is dead.
    photos
        How many JPEGs it holds; another number is an error.
    max_bytes
        The most that is accepted of the archive, and of all its photos together.
    """

    url: str
    page: str
    photos: int
    max_bytes: int = 512 << 20


_IM2GPS = "http://graphics.cs.cmu.edu/projects/im2gps/"
ARCHIVES = {"im2gps": Archive(f"{_IM2GPS}gps_query_imgs.zip", _IM2GPS, 237)}
_BY_HAND = {
    "im2gps3k": "the photos from https://github.com/lugiavn/revisiting-im2gps and"
    " im2gps3k_places365.csv from https://github.com/TIBHannover/GeoEstimation",
    "yfcc4k": "the photos and info.txt from https://github.com/lugiavn/revisiting-im2gps",
    "yfcc26k": "yfcc25600_places365.csv and the photos' URLs from"
    " https://github.com/TIBHannover/GeoEstimation",
    "placing2016": "mediaeval2016_test from https://github.com/multimedia-berkeley/tutorials and"
    " the photos from the bucket s3://multimedia-commons",
}


def fetch(
    name: str,
    folder: Path,
    *,
    archive: Archive | None = None,
    advance: Progress | None = None,
    timeout_s: float = 30.0,
) -> Path:
    """Download and unpack a benchmark's photos; where they are already, do nothing.

    Parameters
    ----------
    name
        ``im2gps``; the other published benchmarks have no direct link.
    folder
        Where benchmarks are kept.
    archive
        Another link than the one that we know.
    advance
        See `locationnet.evaluation.archive.download`.
    timeout_s
        Seconds that the server may be silent.

    Returns
    -------
    Path
        ``folder/name``, which holds the photos and `RECORD`: whence and when they came, and the
        archive's sha256. Give it to `locationnet.evaluation.benchmark_files.load_benchmark`.

    Raises
    ------
    InputError
        The benchmark has no direct link; the message says where its files are.
    RemoteFailedError
        The link is dead, the server broke off (the next call goes on from there), or what it gave
        is not the archive.
    RemoteTooLargeError
        The archive is larger than accepted.
    LocationNetError
        A file cannot be written.
    """
    key = name.lower()
    archive = archive or ARCHIVES.get(key)
    if archive is None:
        if key in _BY_HAND:
            raise InputError(f"{name}: has no direct link; get {_BY_HAND[key]}")
        known = ", ".join((*ARCHIVES, *_BY_HAND))
        raise InputError(f"{name!r} is not a benchmark that we know; there are {known}")
    target, part = folder / key, folder / f".{key}.zip.part"
    if _is_there(target):
        return target
    try:
        folder.mkdir(parents=True, exist_ok=True)
        download(
            archive.url,
            part,
            max_bytes=archive.max_bytes,
            page=archive.page,
            advance=advance,
            timeout_s=timeout_s,
        )
        try:
            photos = _unpack(archive, part, target)
        except RemoteFailedError:
            discard(part)  # resuming it could only fail again
            raise
        with part.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        record = {
            "url": archive.url,
            "sha256": sha256,
            "bytes": part.stat().st_size,
            "photos": photos,
            "fetched": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        # Last, because it says that all the photos are there.
        write_text(target / RECORD, json.dumps(record, indent=1) + "\n")
        discard(part)
    except OSError as error:
        raise LocationNetError(f"{target}: cannot be written ({error.strerror})") from error
    return target


def _is_there(target: Path) -> bool:
    try:
        photos = json.loads((target / RECORD).read_text(encoding="utf-8"))["photos"]
        found = sum(path.suffix.lower() in _SUFFIXES for path in target.iterdir())
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return isinstance(photos, int) and found >= photos


def _unpack(archive: Archive, part: Path, target: Path) -> int:
    """Put the archive's photos flat into `target`, all or none; return how many there are."""
    with tempfile.TemporaryDirectory(dir=part.parent, prefix=f".{target.name}-") as temporary:
        paths = []
        for name, data in _photos(archive, part):
            paths.append(Path(temporary) / name)
            paths[-1].write_bytes(data)
        target.mkdir(exist_ok=True)
        for path in paths:
            path.replace(target / path.name)
    return len(paths)


def _photos(archive: Archive, part: Path) -> Iterator[tuple[str, bytes]]:
    try:
        with zipfile.ZipFile(part) as packed:
            for name, member in _members(archive, packed).items():
                with packed.open(member) as file:
                    # Never more than announced, whatever it inflates to; then comes its checksum.
                    data = file.read(member.file_size)
                if len(data) != member.file_size:
                    raise zipfile.BadZipFile(f"{name} is cut short")
                yield name, data
    except _DAMAGED as error:
        raise RemoteFailedError(
            f"{archive.url}: what came is not a valid zip archive ({error})"
        ) from error


def _members(archive: Archive, packed: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """Return the JPEGs of an archive by file name; refuse names and sizes that are traps."""
    found: dict[str, zipfile.ZipInfo] = {}
    for member in packed.infolist():
        path = PurePosixPath(member.filename)
        name = member.filename
        if path.is_absolute() or ".." in path.parts or "\\" in name or not name.isprintable():
            raise RemoteFailedError(f"{archive.url}: holds a file named {name!r}")
        # macOS puts a hidden twin beside each file.
        if path.suffix.lower() not in _SUFFIXES or path.name.startswith(".") or member.is_dir():
            continue
        if path.name in found:
            raise RemoteFailedError(f"{archive.url}: holds {path.name} twice")
        found[path.name] = member
    sizes = [member.file_size for member in found.values()]
    if sum(sizes) > archive.max_bytes or max(sizes, default=0) > _PHOTO_BYTES:
        raise RemoteFailedError(f"{archive.url}: holds more than {archive.max_bytes:,} bytes")
    if len(found) != archive.photos:
        raise RemoteFailedError(
            f"{archive.url}: holds {len(found):,} photos, expected {archive.photos:,}"
        )
    return found
