"""Gets a published benchmark's photos by their authors' own link, and says where others lie.

Knows links and zip archives; not what a benchmark's files mean (`layouts` does). The links are
ours, not a stranger's, so this is not `locationnet.remote`: it streams to disk, goes on where an
earlier call broke off, and uses the proxy that the environment names.
"""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
import urllib.request
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from http.client import HTTPException, HTTPResponse
from pathlib import Path, PurePosixPath
from typing import cast
from urllib.error import HTTPError, URLError

from locationnet.errors import InputError, LocationNetError, RemoteFailedError, RemoteTooLargeError
from locationnet.files import write_text
from locationnet.urls import parse_url

RECORD = "fetched.json"

Advance = Callable[[int, int | None], object]
"""Called with the bytes that are there so far, and with all there are where that is known."""

_BLOCK_BYTES = 1 << 16
_PHOTO_BYTES = 64 << 20
_SUFFIXES = (".jpg", ".jpeg")
_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+)", re.ASCII)
# What zipfile raises for bytes that are no archive, or a damaged, encrypted or exotic one.
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
    "placing2016": "mediaeval2016_test from https://github.com/multimedia-berkeley/tutorials and"
    " the photos from the bucket s3://multimedia-commons",
}


def fetch(
    name: str,
    folder: Path,
    *,
    archive: Archive | None = None,
    advance: Advance | None = None,
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
        Told of the progress.
    timeout_s
        Seconds that the server may be silent.

    Returns
    -------
    Path
        ``folder/name``, which holds the photos and `RECORD`: whence and when they came, and the
        archive's sha256. Give it to `locationnet.evaluation.layouts.load_benchmark`.

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
        raise InputError(f"{name!r} is no benchmark that we know; there are {known}")
    target, part = folder / key, folder / f".{key}.zip.part"
    if _is_there(target):
        return target
    try:
        target.mkdir(parents=True, exist_ok=True)
        _download(archive, part, advance, timeout_s)
        photos = _unpack(archive, part, target)
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
        _discard(part)
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


@dataclass(frozen=True)
class _State:
    """What an unfinished download is a part of; kept beside it."""

    url: str
    validator: str = ""
    total: int | None = None


def _download(archive: Archive, part: Path, advance: Advance | None, timeout_s: float) -> None:
    """Make `part` the whole archive, going on with what an earlier call left there."""
    state = _read_state(part)
    done = part.stat().st_size if state and state.url == archive.url and part.exists() else 0
    if state and done and done == state.total:
        return
    if not (state and done and state.validator):
        state, done = None, 0
    response = _open(archive, timeout_s, done, state)
    if state and not _continues(response, done, state):
        # Another version: start anew. An answer of 200 is already the whole of it.
        state, done = None, 0
        if response.status != 200:
            response.close()
            response = _open(archive, timeout_s)
    with response:
        if response.status != (206 if state else 200):
            raise RemoteFailedError(f"{archive.url}: answered {response.status}, not 200")
        if state is None:
            state = _new_state(archive.url, response)
            _discard(part)
            # Before the first byte, so that no byte is ever taken for another version's.
            write_text(_state_path(part), json.dumps(asdict(state)) + "\n")
        with part.open("ab") as file:
            for block in _blocks(archive.url, response, state.total, done):
                done += len(block)
                if max(done, state.total or 0) > archive.max_bytes:
                    raise RemoteTooLargeError(
                        f"{archive.url}: is larger than {archive.max_bytes:,} bytes"
                    )
                file.write(block)
                if advance is not None:
                    advance(done, state.total)


def _open(
    archive: Archive, timeout_s: float, done: int = 0, state: _State | None = None
) -> HTTPResponse:
    """Ask for the archive, or for what is missing of it; 416 comes back, other errors do not."""
    headers = {"User-Agent": "locationnet", "Accept-Encoding": "identity"}
    if state is not None:
        headers |= {"Range": f"bytes={done}-", "If-Range": state.validator}
    parse_url(archive.url)  # refuses all but http and https
    request = urllib.request.Request(archive.url, headers=headers)  # noqa: S310
    opener = urllib.request.build_opener()
    try:
        return cast(HTTPResponse, opener.open(request, timeout=timeout_s))
    except HTTPError as error:
        with error:
            if error.code == 416 and state is not None:
                return cast(HTTPResponse, error)
        what = "the link is dead" if error.code in (404, 410) else "the server refused"
        raise RemoteFailedError(
            f"{archive.url}: {what} ({error.code}); see {archive.page}"
        ) from error
    except (OSError, HTTPException, ValueError) as error:
        raise RemoteFailedError(f"{archive.url}: cannot be reached ({_reason(error)})") from error


def _continues(response: HTTPResponse, done: int, state: _State) -> bool:
    """Whether the answer goes on exactly where we are, in the same version."""
    found = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
    if response.status != 206 or found is None:
        return False
    same = _validator(response) in ("", state.validator)
    return same and int(found[1]) == done and state.total in (None, int(found[2]))


def _new_state(url: str, response: HTTPResponse) -> _State:
    length = response.headers.get("Content-Length", "")
    total = int(length) if length.isascii() and length.isdigit() else None
    return _State(url, _validator(response), total)


def _validator(response: HTTPResponse) -> str:
    """Return what names the version in ``If-Range``, or nothing (RFC 9110, section 13.1.5)."""
    etag = response.headers.get("ETag", "")
    found = etag if etag.startswith('"') else response.headers.get("Last-Modified", "")
    return found if found.isascii() and found.isprintable() else ""


def _blocks(url: str, response: HTTPResponse, total: int | None, done: int) -> Iterator[bytes]:
    try:
        while block := response.read1(_BLOCK_BYTES):
            done += len(block)
            yield block
    except (OSError, HTTPException) as error:
        raise RemoteFailedError(f"{url}: broke off ({_reason(error)}); run again") from error
    if total is not None and done != total:
        raise RemoteFailedError(
            f"{url}: broke off after {done:,} of {total:,} bytes; run again to go on"
        )


def _unpack(archive: Archive, part: Path, target: Path) -> int:
    """Put the archive's photos flat into `target`; return how many there are."""
    try:
        with (
            zipfile.ZipFile(part) as packed,
            tempfile.TemporaryDirectory(dir=target.parent, prefix=f"{part.name}-") as folder,
        ):
            ...
    except _DAMAGED:
        ...
    return 0
