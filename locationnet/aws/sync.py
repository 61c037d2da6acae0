"""Folders to S3 and back: what is the same stays, what was cut is resumed, JSON files come last.

Knows files and objects; nothing of what is in them. A hidden record in the local folder says which
version in S3 each file equals, so that gigabytes are not read again to learn that they are the
same; without it sha256 decides. Names that begin with a dot stay where they are.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from locationnet.aws.common import CONNECTIONS, AWSError, clear_errors
from locationnet.aws.transfer import SHA256, Location, Sent, Upload, download, upload
from locationnet.errors import InputError, LocationNetError
from locationnet.files import file_sha256, write_text
from locationnet.progress import Progress

RECORD = ".locationnet-sync.json"
# S3 deletes at most so many objects in one call.
_DELETE_AT_ONCE = 1000


@dataclass(frozen=True)
class Moved:
    """What a sync did: how many files were moved, were the same already, were removed."""

    files: int = 0
    bytes: int = 0
    same: int = 0
    removed: int = 0


@dataclass(frozen=True)
class _Object:
    size: int
    etag: str


def push(
    s3: Any,
    folder: Path,
    target: Location,
    *,
    mirror: Callable[[str], bool] = lambda _: False,
    advance: Progress = lambda *_: None,
) -> Moved:
    """Make an address in S3 contain what a folder contains.

    JSON files come last, as they say that others are whole.

    Parameters
    ----------
    s3
        A client of S3.
    folder, target
        From where to where.
    mirror
        Says of a name in S3 whether it goes when the folder has no such file any more.
    advance
        Called with the bytes that are done and with all that there are.

    Raises
    ------
    InputError
        There is no such folder.
    AWSError
        S3 refused or cannot be reached; the next call resumes.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: there is no such folder")
    local = _local(folder)
    remote = listing(s3, target)
    with _Record(folder, target) as record:
        tally = _Tally(sum(status.st_size for status in local.values()), advance)

        def send(name: str) -> None:
            path, here = folder / name, local[name]
            there = remote.get(name)
            if there is not None and _is_same(s3, path, here, target / name, there, record, name):
                tally.keep(there.size)
                return
            try:
                sent = upload(
                    s3,
                    path,
                    target / name,
                    tally.advance,
                    record.uploads.get(name),
                    lambda started: record.start(name, started),
                )
            except FileNotFoundError:
                return  # removed since; so are old checkpoints
            record.keep(name, sent)
            tally.move(sent.size)

        for marks_whole in (False, True):
            _all(send, [name for name in local if name.endswith(".json") == marks_whole])
    gone = [name for name in remote if name not in local and mirror(name)]
    _delete(s3, target, gone)
    return tally.moved(removed=len(gone))


def pull(
    s3: Any,
    source: Location,
    folder: Path,
    *,
    selected: Callable[[str], bool] = lambda _: True,
    advance: Progress = lambda *_: None,
) -> Moved:
    """Make a folder contain what an address in S3 contains; files that are only here stay.

    Parameters
    ----------
    s3
        A client of S3.
    source, folder
        From where to where; the folder is made.
    selected
        Says of a name whether it is fetched.
    advance
        Called with the bytes that are done and with all that there are.

    Raises
    ------
    AWSError
        S3 refused, cannot be reached or sent other bytes; the next call resumes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    remote = {name: there for name, there in listing(s3, source).items() if selected(name)}
    local = _local(folder)
    with _Record(folder, source) as record:
        tally = _Tally(sum(there.size for there in remote.values()), advance)

        def fetch(name: str) -> None:
            path, there = folder / name, remote[name]
            here = local.get(name)
            if here is not None and _is_same(s3, path, here, source / name, there, record, name):
                tally.keep(there.size)
                return
            download(s3, source / name, there.etag, there.size, path, tally.advance)
            record.keep(name, Sent(there.etag, there.size, path.stat().st_mtime_ns))
            tally.move(there.size)

        for marks_whole in (False, True):
            _all(fetch, [name for name in remote if name.endswith(".json") == marks_whole])
    return tally.moved()


def listing(s3: Any, address: Location) -> dict[str, _Object]:
    """Return what lies under an address, by the name relative to it, sorted.

    Raises
    ------
    AWSError
        S3 refused or cannot be reached.
    """
    prefix = f"{address.path}/" if address.path else ""
    found = {}
    with clear_errors(str(address)):
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket=address.bucket, Prefix=prefix)
        for page in pages:
            for entry in page.get("Contents", []):
                name = entry["Key"].removeprefix(prefix)
                if _is_plain(name.split("/")):
                    found[name] = _Object(int(entry["Size"]), str(entry["ETag"]))
    return found


def _is_plain(parts: Iterable[str]) -> bool:
    """Whether a name stays inside its folder and is not hidden."""
    return all(part and not part.startswith(".") for part in parts)


def _local(folder: Path) -> dict[str, os.stat_result]:
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if _is_plain(name.parts):
            with contextlib.suppress(FileNotFoundError):  # removed since
                if path.is_file():
                    found[name.as_posix()] = path.stat()
    return found


def _is_same(
    s3: Any,
    path: Path,
    here: os.stat_result,
    address: Location,
    there: _Object,
    record: _Record,
    name: str,
) -> bool:
    if here.st_size != there.size:
        return False
    now = Sent(there.etag, here.st_size, here.st_mtime_ns)
    if record.files.get(name) == now:
        return True
    with clear_errors(str(address)):
        sha256 = s3.head_object(**address.arguments)["Metadata"].get(SHA256)
    with contextlib.suppress(FileNotFoundError):
        if sha256 == file_sha256(path):
            record.keep(name, now)
            return True
    return False


def _all(work: Callable[[str], None], names: list[str]) -> None:
    """Do some at a time; the first failure ends it."""
    pool = ThreadPoolExecutor(CONNECTIONS)
    try:
        for waiting in [pool.submit(work, name) for name in names]:
            waiting.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _delete(s3: Any, target: Location, names: list[str]) -> None:
    with clear_errors(str(target)):
        for start in range(0, len(names), _DELETE_AT_ONCE):
            objects = [{"Key": (target / n).path} for n in names[start : start + _DELETE_AT_ONCE]]
            answer = s3.delete_objects(
                Bucket=target.bucket, Delete={"Objects": objects, "Quiet": True}
            )
            for failed in answer.get("Errors", []):
                raise AWSError(f"s3://{target.bucket}/{failed['Key']}: {failed['Code']}")


class _Record:
    """Which version of which object in S3 each file of a folder equals; kept in the folder."""

    def __init__(self, folder: Path, address: Location) -> None:
        self._path, self._address = folder / RECORD, str(address)
        self._lock = threading.Lock()
        self.files: dict[str, Sent] = {}
        self.uploads: dict[str, Upload] = {}
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
            known = json.loads(self._path.read_text(encoding="utf-8"))
            if known["place"] == self._address:
                files = {name: Sent(**value) for name, value in known["files"].items()}
                uploads = {name: Upload(**value) for name, value in known["uploads"].items()}
                self.files, self.uploads = files, uploads

    def __enter__(self) -> _Record:
        return self

    def __exit__(self, *_: object) -> None:
        self._write()

    def keep(self, name: str, sent: Sent) -> None:
        with self._lock:
            self.files[name] = sent
            self.uploads.pop(name, None)

    def start(self, name: str, upload: Upload) -> None:
        # At once: a process that is killed is resumed from here.
        with self._lock:
            self.uploads[name] = upload
        self._write()

    def _write(self) -> None:
        with self._lock:
            known = {
                "place": self._address,
                "files": {name: asdict(sent) for name, sent in self.files.items()},
                "uploads": {name: asdict(upload) for name, upload in self.uploads.items()},
            }
            # Without it the next call works all the same: a folder may be read-only.
            with contextlib.suppress(LocationNetError):
                write_text(self._path, json.dumps(known) + "\n")


class _Tally:
    """Counts from several threads."""

    def __init__(self, total: int, report: Progress) -> None:
        self._total, self._report = total, report
        self._lock = threading.Lock()
        self._done = self._files = self._bytes = self._same = 0

    def advance(self, count: int) -> None:
        with self._lock:
            self._done += count
            self._report(self._done, self._total)

    def keep(self, size: int) -> None:
        self.advance(size)
        with self._lock:
            self._same += 1

    def move(self, size: int) -> None:
        with self._lock:
            self._files += 1
            self._bytes += size

    def moved(self, removed: int = 0) -> Moved:
        return Moved(self._files, self._bytes, self._same, removed)
