"""One file to S3 or from it, resumed where an earlier attempt was cut.

Knows parts, ranges and checksums; which files are to be moved is `locationnet.aws.sync`'s business.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from locationnet.aws.common import AWSError, clear_errors
from locationnet.errors import InputError
from locationnet.files import file_sha256
from locationnet.progress import Advance

# Larger files travel in parts of this size, or of a 10,000th where that is more: S3 has no more
# parts than that.
PART_BYTES = 16 * 1024 * 1024
_MOST_PARTS = 10_000
_BLOCK_BYTES = 1 << 20
# The name under which the sha256 of what was uploaded is kept with the object.
SHA256 = "sha256"
# How often a download is resumed after a broken connection without having got any further.
_PATIENCE = 5


@dataclass(frozen=True)
class Location:
    """An address in S3: a bucket and a prefix or key without slashes around it."""

    bucket: str
    path: str = ""

    @classmethod
    def parse(cls, text: str) -> Location:
        """Read ``s3://bucket/path``.

        Raises
        ------
        InputError
            It is not such an address.
        """
        match = re.fullmatch(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/(.*))?", text)
        path = (match[2] or "").rstrip("/") if match else ""
        if match is None or (path and not all(path.split("/"))):
            raise InputError(f"{text!r} is not a valid address in S3; expected s3://BUCKET/FOLDER")
        return cls(match[1], path)

    def __truediv__(self, name: str) -> Location:
        return Location(self.bucket, f"{self.path}/{name}" if self.path else name)

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.path}"

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rpartition("/")[2]

    @property
    def parent(self) -> Location:
        """The folder that holds it."""
        return Location(self.bucket, self.path.rpartition("/")[0])

    @property
    def arguments(self) -> dict[str, str]:
        """What boto3 calls it."""
        return {"Bucket": self.bucket, "Key": self.path}


@dataclass(frozen=True)
class Upload:
    """An upload in parts that has started; ``sha256`` is of the whole file."""

    id: str
    sha256: str
    part_bytes: int


@dataclass(frozen=True)
class Sent:
    """What is in S3 now: the object's ETag, and how the local file looked when it was read."""

    etag: str
    size: int
    mtime_ns: int


def upload(
    s3: Any,
    path: Path,
    target: Location,
    advance: Advance,
    earlier: Upload | None = None,
    note: Callable[[Upload], object] = lambda _: None,
) -> Sent:
    """Put a file into S3; what is appended meanwhile is left for the next time.

    Parameters
    ----------
    s3
        A client of S3.
    path, target
        The file and its address.
    advance
        Called with the bytes done since its last call.
    earlier
        An earlier attempt in parts; resumed where the file is still the same.
    note
        Called with an attempt in parts before its first byte, so that a later call can resume it.

    Raises
    ------
    AWSError
        S3 refused or cannot be reached.
    OSError
        The file cannot be read.
    """
    with path.open("rb") as file, clear_errors(str(target)):
        # The same bytes are hashed and sent, even where the file is replaced meanwhile.
        status = os.fstat(file.fileno())
        if status.st_size <= PART_BYTES:
            data = file.read(status.st_size)
            metadata = {SHA256: hashlib.sha256(data).hexdigest()}
            answer = s3.put_object(**target.arguments, Body=data, Metadata=metadata)
            advance(len(data))
        else:
            answer = _upload_parts(s3, file, status.st_size, target, advance, earlier, note)
    return Sent(str(answer["ETag"]), status.st_size, status.st_mtime_ns)


def _upload_parts(
    s3: Any,
    file: IO[bytes],
    size: int,
    target: Location,
    advance: Advance,
    earlier: Upload | None,
    note: Callable[[Upload], object],
) -> Any:
    sha256 = _prefix_sha256(file, size)
    where = target.arguments
    there: dict[int, str] | None = None
    if earlier is not None and earlier.sha256 == sha256:
        there = _parts_there(s3, target, earlier, size)
    if earlier is None or there is None:
        part_bytes = max(PART_BYTES, -(-size // _MOST_PARTS))
        made = s3.create_multipart_upload(**where, Metadata={SHA256: sha256})
        earlier, there = Upload(str(made["UploadId"]), sha256, part_bytes), {}
        note(earlier)
    parts = []
    for number, start in enumerate(range(0, size, earlier.part_bytes), 1):
        length = min(earlier.part_bytes, size - start)
        etag = there.get(number)
        if etag is None:
            data = os.pread(file.fileno(), length, start)
            sent = s3.upload_part(**where, UploadId=earlier.id, PartNumber=number, Body=data)
            etag = str(sent["ETag"])
        advance(length)
        parts.append({"PartNumber": number, "ETag": etag})
    return s3.complete_multipart_upload(
        **where, UploadId=earlier.id, MultipartUpload={"Parts": parts}
    )


def _parts_there(s3: Any, target: Location, earlier: Upload, size: int) -> dict[int, str] | None:
    """Return the ETags of the parts that S3 has in full, or None if it has forgotten them."""
    from botocore.exceptions import ClientError

    found = {}
    try:
        for page in s3.get_paginator("list_parts").paginate(
            **target.arguments, UploadId=earlier.id
        ):
            for part in page.get("Parts", []):
                number = int(part["PartNumber"])
                start = (number - 1) * earlier.part_bytes
                if part["Size"] == min(earlier.part_bytes, size - start):
                    found[number] = str(part["ETag"])
    except ClientError as error:
        if error.response["Error"]["Code"] != "NoSuchUpload":
            raise
        return None
    return found


def _prefix_sha256(file: IO[bytes], size: int) -> str:
    digest = hashlib.sha256()
    left = size
    while left and (block := file.read(min(_BLOCK_BYTES, left))):
        digest.update(block)
        left -= len(block)
    return digest.hexdigest()


def download(s3: Any, source: Location, etag: str, size: int, path: Path, advance: Advance) -> None:
    """Fetch a file from S3 under a temporary name, then rename it; resumes what is there.

    Parameters
    ----------
    s3
        A client of S3.
    source
        The object.
    etag, size
        What it looked like in the listing; another version is refused.
    path
        Where it goes; its folder is made.
    advance
        Called with the bytes done since its last call.

    Raises
    ------
    AWSError
        S3 refused, cannot be reached or sent other bytes than were uploaded.
    OSError
        The file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Named by the version, so that no byte is ever taken for another version's.
    part = path.with_name(f".{path.name}.{re.sub(r'[^0-9a-zA-Z]', '', etag)}.part")
    for old in path.parent.glob(f".{_escaped(path.name)}.*.part"):
        if old != part:
            old.unlink()
    with clear_errors(str(source)), part.open("ab") as file:
        done = file.tell()
        advance(done)
        sha256 = _fetch(s3, source, etag, size, file, advance) if done < size or not size else None
        if sha256 is None:
            sha256 = s3.head_object(**source.arguments)["Metadata"].get(SHA256, "")
    if sha256 and file_sha256(part) != sha256:
        part.unlink()
        raise AWSError(f"{source}: what arrived is not what was uploaded; run again")
    part.replace(path)


def _fetch(
    s3: Any, source: Location, etag: str, size: int, file: IO[bytes], advance: Advance
) -> str:
    """Append what is missing and return the sha256 that was noted with the object, or nothing."""
    from botocore.exceptions import (
        ClientError,
        HTTPClientError,
        IncompleteReadError,
        ResponseStreamingError,
    )

    patience = _PATIENCE
    while True:
        done = file.tell()
        ranged = {"Range": f"bytes={done}-"} if done else {}
        try:
            answer = s3.get_object(**source.arguments, IfMatch=etag, **ranged)
            for block in _blocks(answer["Body"]):
                file.write(block)
                advance(len(block))
        except ClientError as error:
            if error.response["Error"]["Code"] in ("PreconditionFailed", "412"):
                raise AWSError(f"{source}: changed while it was being read; run again") from error
            raise
        except (HTTPClientError, IncompleteReadError, ResponseStreamingError):
            patience = patience - 1 if file.tell() == done else _PATIENCE
            if not patience:
                raise
        if file.tell() >= size:
            return str(answer["Metadata"].get(SHA256, ""))


def _blocks(body: Any) -> Iterator[bytes]:
    with contextlib.closing(body):
        yield from body.iter_chunks(_BLOCK_BYTES)


def _escaped(name: str) -> str:
    return re.sub(r"([*?\[])", r"[\1]", name)
