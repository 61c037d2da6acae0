"""A file that holds a table: its form, its compression, its encoding, its columns.

Knows bytes and headers; not what the columns mean. What a file is follows from how it begins, not
from its name, which is often wrong.
"""

from __future__ import annotations

import bz2
import codecs
import csv
import gzip
import lzma
import os
import re
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal

from locationnet.errors import InputError, MissingExtraError
from locationnet.tables.columns import NUMBER, known_columns, same_name

if TYPE_CHECKING:
    import pyarrow as pa

PARQUET_MAGIC = b"PAR1"
SQLITE_MAGIC = b"SQLite format 3\0"

_GZIP, _XZ, _ZSTD = b"\x1f\x8b", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd"
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
_BZ2 = re.compile(rb"BZh[1-9](1AY&SY|\x17rE8P\x90)")
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_UTF32 = (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)
# Files that people take for tables, by how they begin.
_OTHERS = {
    SQLITE_MAGIC: "a SQLite database",
    b"ARROW1": "an Arrow file",
    b"\xd0\xcf\x11\xe0": "an old spreadsheet",
    b"%PDF": "a PDF",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive",
    b"Rar!": "a RAR archive",
}
_TAR = b"ustar"
_DELIMITERS = (",", "\t", ";", "|")
# A first line by which spreadsheets name the delimiter.
_SEP_LINE = re.compile(r"sep=(.)")
_NUMBER = re.compile(NUMBER)
# What text never contains; a form feed or a tab it may.
_BINARY = re.compile(r"[\x00-\x08\x0e-\x1a\x1c-\x1f]")
_SAMPLE_BYTES = 1 << 16
# As many as show a compression.
START_BYTES = 16

# What a decompressor says to bytes that it cannot use.
DAMAGE = (EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, OSError)


@dataclass(frozen=True)
class TableFile:
    """A table on disk.

    Parameters
    ----------
    path
        The file.
    form
        ``"csv"``, delimited text with a header; or ``"parquet"``.
    names
        Its columns, in order, each once.
    delimiter
        Of text: what stands between two columns.
    header_lines
        Of text: the lines up to the first row, the header's own and blank ones before it.
    """

    path: Path
    form: Literal["csv", "parquet"]
    names: tuple[str, ...]
    delimiter: str = ","
    header_lines: int = 0


def open_table(path: Path) -> TableFile:
    """Find out what a table is.

    Raises
    ------
    MissingExtraError
        pyarrow is not installed.
    InputError
        The file is missing or empty, is not a table, or two columns have one name.
    """
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError as error:
        raise MissingExtraError("reading tables", "data") from error
    with opened(path) as raw:
        start = raw.read(len(PARQUET_MAGIC))
    if start == PARQUET_MAGIC:
        try:
            with arrow_file(path) as raw:
                names = tuple(parquet.read_schema(raw).names)
        except (pa.ArrowInvalid, OSError) as error:
            raise damaged_parquet(path, error) from error
        table = TableFile(path, "parquet", names)
    else:
        with open_text(path) as text:
            table = header_of(path, text.read(_SAMPLE_BYTES))
    twice = [name for name, count in Counter(table.names).items() if count > 1]
    if twice:
        raise same_name(path, twice[:1])
    return table


def header_of(path: Path, sample: bytes) -> TableFile:
    """Return the columns that delimited text begins with.

    Parameters
    ----------
    path
        The file, for messages.
    sample
        The beginning of its text.

    Raises
    ------
    InputError
        It is empty or not text, or its header is damaged.
    """
    try:
        # The sample may end within a character.
        text = codecs.getincrementaldecoder("utf-8")().decode(sample)
    except UnicodeDecodeError:
        text = sample.decode(errors="surrogateescape")
    lines = text.split("\n")
    first = next((number for number, line in enumerate(lines) if line.strip()), None)
    if first is None:
        raise InputError(f"{path}: empty; expected a header and rows")
    if _BINARY.search(lines[first]):
        raise InputError(f"{path}: not a table of text (it contains control bytes)")
    candidates: Sequence[str] = _DELIMITERS
    said = _SEP_LINE.fullmatch(lines[first].strip(" \r"))
    if said is not None:
        candidates, first = said.group(1), first + 1
    found = [_header(lines[first:], delimiter) for delimiter in candidates]
    best = max(
        range(len(found)), key=lambda one: (known_columns(found[one][0]), len(found[one][0]))
    )
    names, count = found[best]
    if not all(names for names, _ in found) and not known_columns(names):
        raise InputError(f"{path}: line {first + 1}: a quote in the header is never closed")
    try:
        "".join(names).encode()
    except UnicodeEncodeError as error:
        raise InputError(f"{path}: its header is not UTF-8; save the table as UTF-8") from error
    names = [name.strip() for name in names]
    number = next(filter(_NUMBER.fullmatch, names), None)
    if number is not None and not known_columns(names):
        raise InputError(
            f"{path}: line {first + 1}: {number!r} is not the name of a column; expected a header"
        )
    return TableFile(path, "csv", tuple(names), candidates[best], first + count)


def _header(lines: Sequence[str], delimiter: str) -> tuple[list[str], int]:
    """Return the names in the first row and how many lines they take; none where it is damaged."""
    reader = csv.reader((f"{line}\n" for line in lines), delimiter=delimiter, strict=True)
    try:
        return next(reader, []), reader.line_num
    except csv.Error:
        return [], 0


@contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """Open a file for its bytes.

    Raises
    ------
    InputError
        It is missing or cannot be read.
    """
    if path.exists() and not path.is_file():
        raise InputError(f"{path}: not a file")
    try:
        file = path.open("rb")
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file") from error
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise InputError(f"{path}: cannot be read ({why})") from error
    with file:
        yield file


def arrow_file(path: Path, mode: Literal["rb", "wb"] = "rb") -> pa.NativeFile:
    """Open a file for Arrow, which by itself takes no path that is not UTF-8.

    Raises
    ------
    OSError
        It cannot be opened.
    """
    import pyarrow as pa

    return pa.OSFile(os.fsencode(path), mode)


@contextmanager
def open_text(path: Path) -> Iterator[Text]:
    """Open a file of text, however it is compressed and encoded.

    Raises
    ------
    InputError
        It cannot be read, or contains something else.
    """
    with opened(path) as raw:
        try:
            yield Text(path, raw)
        except DAMAGE as error:
            raise InputError(f"{path}: corrupt ({first_line(error)})") from error


class Text:
    """The text of a file as UTF-8 with lines that end in a line feed, and how much was read for it.

    Parameters
    ----------
    path
        The file, for messages.
    raw
        The file, opened for its bytes.
    """

    def __init__(self, path: Path, raw: IO[bytes]) -> None:
        self._raw = raw
        start = _start(raw)
        self._stream = _unzipped(path, raw) if start.startswith(_ZIP) else decompressed(raw, start)
        self._before = self._stream.read(_SAMPLE_BYTES)
        encoding = _encoding(path, self._before)
        self._decoder = codecs.getincrementaldecoder(encoding)() if encoding else None
        self._before = self._before.removeprefix(codecs.BOM_UTF8)
        # Old Macs end lines with a return alone; elsewhere one may be part of a value.
        self._returns = b"\n" not in self._before
        self._return = False

    def tell(self) -> int:
        """Return how many bytes of the file have been read."""
        return self._raw.tell()

    def read(self, count: int) -> bytes:
        """Return about `count` bytes of text; none at the end."""
        while True:
            data, self._before = self._before or self._stream.read(count), b""
            end = not data
            if self._decoder is not None:
                data = self._decoder.decode(data, final=end).encode(errors="surrogatepass")
            # A return at the end of one piece may belong to a line feed at the start of the next.
            if self._return:
                data = b"\r" + data
            self._return = not end and data.endswith(b"\r")
            if self._return:
                data = data[:-1]
            if b"\r" in data:
                data = data.replace(b"\r\n", b"\n")
            if self._returns:
                data = data.replace(b"\r", b"\n")
            if data or end:
                return data


def is_bzip2(start: bytes) -> bool:
    """Return, by its first bytes, whether a file is compressed with bzip2."""
    return _BZ2.match(start) is not None


def decompressed(raw: Any, start: bytes) -> Any:
    """Return a stream of a file's bytes without their compression; see `DAMAGE`.

    Parameters
    ----------
    raw
        The file, at its beginning.
    start
        How it begins, `START_BYTES` of it.
    """
    if start.startswith(_GZIP):
        return gzip.GzipFile(fileobj=raw)
    if is_bzip2(start):
        return bz2.BZ2File(raw)
    if start.startswith(_XZ):
        return lzma.LZMAFile(raw)
    if start.startswith(_ZSTD):
        import pyarrow as pa

        return pa.input_stream(raw, compression="zstd")
    return raw


def is_utf8_text(start: bytes) -> bool:
    """Return, by its first bytes, whether a decompressed file can be read as lines of UTF-8."""
    return not (
        b"\0" in start[:4]
        or start.startswith((PARQUET_MAGIC, *_ZIP, *_UTF16, *_OTHERS))
        or start[257:262] == _TAR
    )


def _start(raw: IO[bytes]) -> bytes:
    start = raw.read(START_BYTES)
    raw.seek(0)
    return start


def _unzipped(path: Path, raw: IO[bytes]) -> IO[bytes]:
    """Return the one file in a zip archive."""
    archive = zipfile.ZipFile(raw)
    inside = [
        member
        for member in archive.infolist()
        if not member.is_dir()
        and not member.filename.startswith("__MACOSX/")
        and not Path(member.filename).name.startswith(".")
    ]
    names = [member.filename for member in inside]
    if "[Content_Types].xml" in names or "mimetype" in names:
        raise InputError(f"{path}: a spreadsheet; save it as CSV in UTF-8")
    if len(inside) != 1:
        shown = ", ".join(map(repr, names[:5])) or "none"
        raise InputError(f"{path}: an archive of {len(inside)} files ({shown}); expected one table")
    try:
        return archive.open(inside[0])
    except (RuntimeError, NotImplementedError) as error:
        raise InputError(f"{path}: cannot be unpacked ({error})") from error


def _encoding(path: Path, start: bytes) -> str:
    """Return the encoding of text by its first bytes, ``""`` for UTF-8.

    Raises
    ------
    InputError
        It is something else than text.
    """
    for magic, what in _OTHERS.items():
        if start.startswith(magic):
            raise InputError(f"{path}: {what}; expected CSV or Parquet")
    if start.startswith(PARQUET_MAGIC):
        raise InputError(f"{path}: a Parquet file that is compressed once more; unpack it first")
    if start[257:262] == _TAR:
        raise InputError(f"{path}: an archive of files (tar); unpack it and name the table")
    if start.startswith(_UTF32):
        return "utf-32"
    if start.startswith(_UTF16):
        return "utf-16"
    if b"\0" in start[:4]:
        raise InputError(
            f"{path}: not UTF-8 (perhaps UTF-16 without a byte order mark); save the table as UTF-8"
        )
    return ""


def damaged_parquet(path: Path, error: Exception) -> InputError:
    """Return what to raise where Arrow cannot read a Parquet file."""
    return InputError(f"{path}: corrupt Parquet ({first_line(error)})")


def first_line(error: Exception) -> str:
    """Return the first line of what an error says, without what is in the file."""
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    return text.encode("ascii", "backslashreplace").decode()
