"""The files that metadata comes in: found by name, opened, decompressed.

Knows nothing of what their bytes mean.
"""

from __future__ import annotations

import io
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from locationnet.errors import InputError, LocationNetError
from locationnet.net.s3 import SCHEME, S3Object, S3Stream, list_objects
from locationnet.tables.table_file import DAMAGE, START_BYTES, decompressed, is_bzip2

_BUFFER_BYTES = 1 << 18


@dataclass(frozen=True)
class Shard:
    """One file of metadata.

    Parameters
    ----------
    name
        Its path, or its address in S3.
    size
        Bytes, as it lies there.
    stamp
        Changes when the file does.
    remote
        Where it is in S3.
    endpoint_url
        The store that it is in, where that is not Amazon's.
    """

    name: str
    size: int
    stamp: str
    remote: S3Object | None = None
    endpoint_url: str | None = None

    @property
    def path(self) -> Path | None:
        """The local file, if it is one."""
        return Path(self.name) if self.remote is None else None

    def open(self) -> io.RawIOBase:
        """Return its bytes as they lie there, unbuffered."""
        if self.remote is not None:
            return S3Stream(self.remote, self.endpoint_url)
        try:
            return open(self.name, "rb", buffering=0)  # noqa: PTH123 - the caller closes
        except OSError as error:
            raise InputError(f"{self.name}: cannot be read ({error.strerror})") from error


def list_shards(names: Iterable[str], endpoint_url: str | None = None) -> list[Shard]:
    """List the files that names stand for: files, all files below a folder, ``s3://`` addresses.

    Returns
    -------
    list of Shard
        Sorted by name, each once, so that their order on the command line means nothing.

    Raises
    ------
    InputError
        A name leads nowhere.
    """
    found: dict[str, Shard] = {}
    for name in names:
        for shard in _remote(name, endpoint_url) if name.startswith(SCHEME) else _local(name):
            found[shard.name] = shard
    return [found[name] for name in sorted(found)]


def _remote(name: str, endpoint_url: str | None) -> Iterator[Shard]:
    for item in list_objects(name, endpoint_url):
        yield Shard(item.name, item.size, item.etag, item, endpoint_url)


def _local(name: str) -> Iterator[Shard]:
    path = Path(name)
    if path.is_dir():
        files = [
            file
            for file in path.rglob("*")
            if file.is_file()
            and not any(part.startswith(".") for part in file.relative_to(path).parts)
        ]
        if not files:
            raise InputError(f"{path}: contains no files")
    elif path.is_file():
        files = [path]
    else:
        raise InputError(f"{path}: no such file")
    for file in files:
        status = file.stat()
        yield Shard(str(file), status.st_size, str(status.st_mtime_ns))


class CorruptError(Exception):
    """The compressed stream ends early or is damaged; the message says which."""


class UnsureError(Exception):
    """The same, but how much was returned before differs from one time to the next.

    With one thread a `CorruptError` would come, always after the same bytes.
    """


class Text:
    """A shard's decompressed bytes, and how far reading its file has come.

    Parameters
    ----------
    shard
        What to read.
    raw
        The shard, opened.
    stream
        Its decompressed bytes.
    process
        The decompressor, where it is a process of its own.
    """

    def __init__(
        self, shard: Shard, raw: io.RawIOBase, stream: Any, process: subprocess.Popen[bytes] | None
    ) -> None:
        self._shard = shard
        self._raw = raw
        self._stream = stream
        self._process = process

    def read(self, count: int) -> bytes:
        """Return some bytes, `count` at most; none at the end.

        Raises
        ------
        CorruptError
            What follows cannot be decompressed; everything before has been returned.
        UnsureError
            Several threads came upon something that cannot be decompressed.
        InputError
            The file itself cannot be read.
        LocationNetError
            The decompressor was killed.
        """
        try:
            data: bytes = self._stream.read(count)
        except DAMAGE as error:
            # Without an errno it was not the disk.
            if getattr(error, "errno", None) is not None:
                raise InputError(f"{self._shard.name}: cannot be read ({error})") from error
            raise CorruptError(str(error) or "ends early") from error
        if not data and self._process is not None:
            code = self._process.wait()
            if code < 0:
                raise LocationNetError(f"{self._shard.name}: lbzip2 was killed (signal {-code})")
            if code > 0:
                raise UnsureError(f"{self._shard.name}: lbzip2 failed ({code})")
        return data

    def tell(self) -> int:
        """Return how many bytes of the file have been read."""
        return self._raw.tell()


@contextmanager
def open_text(shard: Shard, *, threads: int = 1) -> Iterator[Text]:
    """Open a shard for its decompressed bytes.

    Parameters
    ----------
    shard
        Plain, or compressed as `locationnet.tables.table_file.decompressed` knows it: by its first
        bytes, whatever its name is.
    threads
        A local file of bzip2 is decompressed by so many threads of lbzip2, where that is installed.
    """
    with shard.open() as raw:
        buffered: Any = io.BufferedReader(raw, _BUFFER_BYTES)
        start = buffered.peek(START_BYTES)[:START_BYTES]
        tool = shutil.which("lbzip2") if threads > 1 and shard.path is not None else None
        if is_bzip2(start) and tool is not None:
            raw.seek(0)
            # The file's position is shared with the process, so `raw.tell` shows its progress.
            with subprocess.Popen(  # noqa: S603 - no shell, nothing of the user's in the words
                [tool, "-dc", "-n", str(threads)],
                stdin=raw.fileno(),
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            ) as process:
                try:
                    yield Text(shard, raw, process.stdout, process)
                finally:
                    process.kill()
        else:
            stream = decompressed(buffered, start)
            yield Text(shard, raw, _Prompt(stream) if hasattr(stream, "read1") else stream, None)


class _Prompt:
    """Reads what is there rather than as much as is wanted: nothing is lost before damage."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def read(self, count: int) -> bytes:
        data: bytes = self._file.read1(count)
        return data
