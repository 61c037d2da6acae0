"""Image files by their names and bytes: which are read, and what of one its pixels need.

Knows how JPEG, PNG, WebP, AVIF and HEIC files are laid out; decodes nothing, and is quick to
import. Of the metadata only what may hold the orientation is kept, so that no profile, comment or
thumbnail, however large or broken, stops an image that decodes.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import PurePath
from typing import Literal, NamedTuple

from locationnet import heif

Kind = Literal["JPEG", "PNG", "WEBP", "AVIF", "HEIF"]

JPEG_COMMENT = 0xFE
READ = "JPEG, PNG, WebP, AVIF or HEIC"
MEDIA_TYPES: dict[Kind, str] = {
    "JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp", "AVIF": "image/avif",
    "HEIF": "image/heic",
}  # fmt: skip
# What photos of these formats are called.
SUFFIXES = frozenset(
    {
        ".jpg", ".jpeg", ".jpe", ".jfif", ".jfi", ".jif", ".pjpeg", ".pjp", ".mpo",
        ".png", ".apng", ".webp", ".avif", ".avifs", ".heic", ".heics", ".heif", ".heifs", ".hif",
    }
)  # fmt: skip

# An orientation stands in a few hundred bytes; what is longer is something else beside it.
_MAX_METADATA = 1 << 20
# Start of frame, by how it is coded.
_SEQUENTIAL = frozenset({0xC0, 0xC1, 0xC3, 0xC9, 0xCB})
_PROGRESSIVE = frozenset({0xC2, 0xCA})


class Segment(NamedTuple):
    """One segment of a JPEG before its pixels; `start` and `end` include the marker."""

    marker: int
    body: bytes
    start: int
    end: int


def is_photo_name(name: PurePath) -> bool:
    """Return whether a file is called as photos are; what it holds is seen when it is opened."""
    return name.suffix.lower() in SUFFIXES and not name.name.startswith(".")


def kind_of_name(name: PurePath) -> str:
    """Return what people call files such as one that is no photo by its name."""
    if name.name.startswith("."):
        return "hidden"
    return name.suffix.lower() or "without a suffix"


def kind_of(data: bytes) -> Kind | None:
    """Return the format of a file by its first bytes, None where we do not read it."""
    if data.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    return heif.kind_of(data)


def without_metadata(data: bytes, kind: Kind) -> bytes:
    """Return a file of one still image with the same pixels and orientation.

    Parameters
    ----------
    data
        The file. Where it is damaged, the rest stays as it is: decoding will say what is wrong.
    kind
        From `kind_of`.
    """
    if kind == "JPEG":
        return _jpeg(data)
    if kind == "PNG":
        return _png(data)
    return _webp(data) if kind == "WEBP" else heif.still(data, kind)


def jpeg_segments(data: bytes) -> Iterator[Segment]:
    """Yield the segments of a JPEG up to and with the first start of a scan (ISO/IEC 10918-1, B).

    It ends early where no segment begins, which is damage.
    """
    offset = 2
    while data[:2] == b"\xff\xd8" and offset + 4 <= len(data) and data[offset] == 0xFF:
        marker = data[offset + 1]
        if marker == 0xFF:  # a filler
            offset += 1
            continue
        if marker == 0xD9:
            return
        if marker == 0x01 or 0xD0 <= marker <= 0xD8:  # markers without a length
            offset += 2
            continue
        end = offset + 2 + int.from_bytes(data[offset + 2 : offset + 4], "big")
        if end < offset + 4 or end > len(data):
            return
        yield Segment(marker, data[offset + 4 : end], offset, end)
        if marker == 0xDA:
            return
        offset = end


def jpeg_has_one_scan(data: bytes) -> bool:
    """Return whether a JPEG's first scan is its only one, so that no coefficients are kept."""
    colours = 0
    for segment in jpeg_segments(data):
        if segment.marker in _PROGRESSIVE:
            return False
        if segment.marker in _SEQUENTIAL and len(segment.body) > 5:
            colours = segment.body[5]
        if segment.marker == 0xDA and segment.body:
            return segment.body[0] >= colours > 0
    return False


def _jpeg(data: bytes) -> bytes:
    parts, seen, end = [data[:2]], set[bytes](), 2
    for marker, body, start, after in jpeg_segments(data):
        end = after
        if 0xE0 <= marker <= 0xEF or marker == JPEG_COMMENT:
            name = _jpeg_metadata(marker, body)
            if name is None or name in seen:
                continue
            seen.add(name)
        parts.append(data[start:after])
    return b"".join([*parts, data[end:]])


def _jpeg_metadata(marker: int, body: bytes) -> bytes | None:
    """Name what must stay of a JPEG's metadata: what says how colours are coded, and which way up.

    Decoders believe the first two only where they are whole.
    """
    for number, name, least in (
        (0xE0, b"JFIF\0", 14),
        (0xEE, b"Adobe", 12),
        (0xE1, b"Exif\0\0", 6),
        (0xE1, b"http://ns.adobe.com/xap/1.0/\0", 29),
    ):
        if marker == number and body.startswith(name) and len(body) >= least:
            return name
    return None


def _png(data: bytes) -> bytes:
    parts, offset = [data[:8]], 8
    while offset + 12 <= len(data):
        length, name = struct.unpack_from(">I4s", data, offset)
        end = offset + 12 + length
        ancillary = bool(name[0] & 0x20)
        if not ancillary or (end <= len(data) and _png_wants(name, data[offset + 4 : end])):
            parts.append(data[offset:end])
        offset = end
    return b"".join([*parts, data[offset:]])


def _png_wants(name: bytes, chunk: bytes) -> bool:
    """Return whether an ancillary chunk, from its name to its checksum, is needed and whole."""
    body = chunk[4:-4]
    if name == b"zTXt":
        # How ImageMagick kept EXIF before PNG had a chunk for it.
        wanted = body.startswith(b"Raw profile type exif\0\0") and _inflates(body[23:])
    elif name == b"tEXt":
        wanted = body.startswith(b"Raw profile type exif\0")
    elif name == b"iTXt":
        wanted = body.startswith(b"XML:com.adobe.xmp\0\0\0\0\0")
    elif name == b"tRNS":
        wanted = bool(body)
    else:
        wanted = name == b"eXIf"
    if not wanted or len(body) > _MAX_METADATA:
        return False
    return zlib.crc32(chunk[:-4]) == int.from_bytes(chunk[-4:], "big")


def _inflates(packed: bytes) -> bool:
    stream = zlib.decompressobj()
    try:
        stream.decompress(packed, _MAX_METADATA)
    except zlib.error:
        return False
    return stream.eof


def _webp(data: bytes) -> bytes:
    parts, offset, extended, kept = list[bytes](), 12, None, set[bytes]()
    while offset + 8 <= len(data):
        name, length = struct.unpack_from("<4sI", data, offset)
        end = offset + 8 + length + length % 2
        if name == b"VP8X" and not parts:
            extended = bytearray(data[offset:end])
        elif name in (b"ICCP", b"EXIF", b"XMP "):
            if name != b"ICCP" and length <= _MAX_METADATA and end <= len(data):
                parts.append(data[offset:end])
                kept.add(name)
        else:
            parts.append(data[offset:end])
        offset = end
    if extended is not None and len(extended) >= 9:
        flags = extended[8] & ~0x2C  # ICC profile, EXIF, XMP
        extended[8] = flags | 0x08 * (b"EXIF" in kept) | 0x04 * (b"XMP " in kept)
        parts.insert(0, bytes(extended))
    body = b"".join(parts)
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body
