"""Writing files whole or not at all, and over no other; knows nothing of what is in them."""

from __future__ import annotations

import csv
import errno
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

from locationnet.errors import FullDiskError, LocationNetError
from locationnet.names import valid_text


def same_file(one: Path, other: Path) -> bool:
    """Return whether two paths lead to one file, links included, or would."""
    try:
        return one.samefile(other)
    except OSError:  # one of them is not there yet
        return one.resolve() == other.resolve()


def file_sha256(path: Path) -> str:
    """Return a file's checksum, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def written_whole(path: Path, folder: Path | None = None) -> Iterator[Path]:
    """Yield a temporary name for a file; at the end it is renamed, so that the file is whole.

    Parameters
    ----------
    path
        The file; what was there before is untouched until the end, and if anything is raised.
    folder
        Where the temporary file lies, on the same disk; beside the file by default. One that a
        killed process left there is written over by the next.

    Raises
    ------
    FullDiskError
        There is no room for it.
    LocationNetError
        It cannot be written.
    """
    part = (folder or path.parent) / f".{path.name}.part"
    try:
        yield part
        part.replace(path)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        what = f"{path}: cannot be written ({error.strerror or error})"
        raise (FullDiskError if full else LocationNetError)(what) from error
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write UTF-8 text, whole or not at all; see `written_whole` for what it raises.

    Names of files in the text that are not UTF-8 are written as by `locationnet.names.valid_text`.
    """
    with written_whole(Path(path)) as part:
        part.write_text(valid_text(text), encoding="utf-8", newline="")


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file, whole or not at all; see `written_whole` for what it raises."""
    with written_whole(path) as part:
        part.write_bytes(content)


def csv_writer(file: TextIO) -> Any:
    """Return a `csv.writer` whose rows end with a line feed.

    Readers end a row at a carriage return as well, and Python 3.11 quotes of the two only what it
    ends rows with itself: so it ends them with both.
    """

    class Rows:
        def write(self, row: str) -> int:
            return file.write(row.removesuffix("\r\n") + "\n")

    return csv.writer(Rows(), lineterminator="\r\n")
