"""AVIF and HEIC files as boxes: one still image without metadata, and how large it truly is.

Knows ISO/IEC 14496-12 and 23008-12, and of AV1 only where a picture's size stands; decodes nothing.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import suppress
from typing import Literal, NamedTuple

# Profiles of photos have less; each image of a file would get a copy of its own.
_MAX_PROFILE = 1 << 16
_AVIF_BRANDS = frozenset({b"avif", b"avis"})
_HEIC_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"})
_IMAGE_BRANDS = frozenset({b"mif1", b"msf1"})
_SEQUENCE_HEADER = 1


class _Box(NamedTuple):
    """Where a box's kind, its content and its end stand."""

    kind: bytes
    at: int
    start: int
    end: int


class _Item(NamedTuple):
    """An item of a file: its number, its type, and where the type stands."""

    number: int
    kind: bytes
    at: int


def kind_of(data: bytes) -> Literal["AVIF", "HEIF"] | None:
    """Return which of the two a file is by the brands that it names, None for neither."""
    if data[4:8] != b"ftyp":
        return None
    # The minor version stands where a second brand would.
    end = min(int.from_bytes(data[:4], "big"), len(data), 1 << 10)
    brands = {data[start : start + 4] for start in (8, *range(16, end - 3, 4))}
    if brands & _AVIF_BRANDS:
        return "AVIF"
    return "HEIF" if brands & _HEIC_BRANDS or data[8:12] in _IMAGE_BRANDS else None


def still(data: bytes, kind: str) -> bytes:
    """Return a file that stands for one image, without EXIF, XMP and large colour profiles.

    Which way up such an image is stands in properties of it, and EXIF is not to be asked. Boxes are
    renamed to ``free`` and items to ``skip``, which nobody reads, so that all else stays put;
    an animation's first brand would have its frames read instead of its still image.
    """
    out = bytearray(data)
    out[8:12] = b"avif" if kind == "AVIF" else b"heic"
    with suppress(ValueError, IndexError):  # decoding will say what is wrong
        for meta in _top(out, b"meta"):
            _without_metadata(out, meta)
    return bytes(out)


def metadata(data: bytes) -> tuple[bytes, bytes]:
    """Return the EXIF, from its TIFF header on, and the XMP of a file; ``b""`` where it has none.

    Raises
    ------
    ValueError
        Its boxes are broken.
    """
    exif = xmp = b""
    try:
        for meta in _top(data, b"meta"):
            inside = {box.kind: box for box in _boxes(data, meta.start + 4, meta.end)}
            items = [it for it in _items(data, inside[b"iinf"]) if it.kind in (b"Exif", b"mime")]
            stored = _stored(data, inside[b"iloc"], inside.get(b"idat")) if items else {}
            for item in items:
                body = stored.get(item.number, b"")
                if item.kind == b"Exif" and not exif:
                    exif = body[4 + int.from_bytes(body[:4], "big") :]
                elif item.kind == b"mime" and not xmp and b"xmpmeta" in body:
                    xmp = body
    except (KeyError, IndexError, struct.error) as error:
        raise ValueError("broken boxes") from error
    return exif, xmp


def av1_pixels(data: bytes) -> int:
    """Return how many pixels the pictures of an AVIF have together, by what is coded.

    What its boxes say may be anything: a decoder goes by the pictures.

    Raises
    ------
    ValueError
        Its boxes or its pictures are broken.
    """
    pixels, metas = 0, _top(data, b"meta")
    if not metas:
        raise ValueError("no still image")
    try:
        for meta in metas:
            inside = {box.kind: box for box in _boxes(data, meta.start + 4, meta.end)}
            stored = _stored(data, inside[b"iloc"], inside.get(b"idat"))
            for item in _items(data, inside[b"iinf"]):
                if item.kind == b"av01":
                    pixels += _largest_picture(stored[item.number])
    except (KeyError, IndexError, struct.error) as error:
        raise ValueError("broken boxes") from error
    return pixels


def _boxes(data: bytes | bytearray, start: int, end: int) -> Iterator[_Box]:
    while start + 8 <= end:
        size, kind = struct.unpack_from(">I4s", data, start)
        body = start + 8
        if size == 1 and start + 16 <= end:
            size, body = int.from_bytes(data[start + 8 : start + 16], "big"), start + 16
        elif size == 0:
            size = end - start
        if size < body - start or start + size > end:
            raise ValueError("a box is longer than what it lies in")
        yield _Box(kind, start + 4, body, start + size)
        start += size


def _top(data: bytes | bytearray, kind: bytes) -> list[_Box]:
    """Return the boxes of a kind that lie in no other."""
    found: list[_Box] = []
    # Phones append what is no box; an image that is cut off will not decode.
    with suppress(ValueError):
        found.extend(box for box in _boxes(data, 0, len(data)) if box.kind == kind)
    return found


def _without_metadata(data: bytearray, meta: _Box) -> None:
    for box in _boxes(data, meta.start + 4, meta.end):
        if box.kind == b"iinf":
            for item in _items(data, box):
                if item.kind in (b"Exif", b"mime"):
                    data[item.at : item.at + 4] = b"skip"
        elif box.kind == b"iprp":
            for ipco in _boxes(data, box.start, box.end):
                for property_ in _boxes(data, ipco.start, ipco.end) if ipco.kind == b"ipco" else ():
                    if property_.kind == b"colr" and property_.end - property_.at > _MAX_PROFILE:
                        data[property_.at : property_.at + 4] = b"free"


def _items(data: bytes | bytearray, iinf: _Box) -> Iterator[_Item]:
    count = 2 if data[iinf.start] == 0 else 4
    for box in _boxes(data, iinf.start + 4 + count, iinf.end):
        version = data[box.start]
        if box.kind == b"infe" and version >= 2:
            at = box.start + 4 + (2 if version == 2 else 4)
            number = int.from_bytes(data[box.start + 4 : at], "big")
            yield _Item(number, bytes(data[at + 2 : at + 6]), at + 2)


def _stored(data: bytes, iloc: _Box, idat: _Box | None) -> dict[int, bytes]:
    """Return the bytes of each item."""
    reader = _Bits(data[iloc.start : iloc.end])
    version = reader.take(8)
    reader.take(24)
    offset_size, length_size, base_size, index_size = (8 * reader.take(4) for _ in range(4))
    wide = 16 if version < 2 else 32
    stored, room = {}, 2 * len(data)
    for _ in range(reader.take(wide)):
        number = reader.take(wide)
        method = reader.take(16) & 15 if version else 0
        reader.take(16)
        base = reader.take(base_size)
        parts = []
        for _ in range(reader.take(16)):
            if version:
                reader.take(index_size)
            start = base + reader.take(offset_size)
            length = reader.take(length_size) or len(data)
            if method == 1 and idat is not None:
                parts.append(data[idat.start + start : min(idat.start + start + length, idat.end)])
            elif method == 0:
                parts.append(data[start : start + length])
            else:
                raise ValueError("an item that lies in another")
            room -= len(parts[-1])
            if room < 0:
                raise ValueError("items that lie in one another")
        stored[number] = b"".join(parts)
    return stored


def _largest_picture(stream: bytes) -> int:
    """Return the most pixels that a sequence header of a stream of AV1 allows (AV1, 5.3, 5.5)."""
    largest, offset = 0, 0
    while offset < len(stream):
        header = stream[offset]
        offset += 2 if header & 4 else 1
        length = len(stream) - offset
        if header & 2:
            length = shift = 0
            while True:
                octet = stream[offset]
                offset, length, shift = offset + 1, length | (octet & 127) << shift, shift + 7
                if octet < 128 or shift > 56:
                    break
        if header >> 3 & 15 == _SEQUENCE_HEADER:
            largest = max(largest, _pixels(_Bits(stream[offset : offset + length])))
        offset += length
    return largest


def _pixels(bits: _Bits) -> int:
    """Return width times height of a sequence header (AV1, 5.5.1)."""
    bits.take(4)
    if bits.take(1):  # reduced_still_picture_header
        bits.take(5)
    else:
        _pass_operating_points(bits)
    wide, high = bits.take(4) + 1, bits.take(4) + 1
    return (bits.take(wide) + 1) * (bits.take(high) + 1)


def _pass_operating_points(bits: _Bits) -> None:
    delay = 0
    if bits.take(1):  # timing_info_present_flag
        bits.take(64)
        if bits.take(1):  # equal_picture_interval
            zeros = 0
            while not bits.take(1):
                zeros += 1
            bits.take(zeros)
        if bits.take(1):  # decoder_model_info_present_flag
            delay = bits.take(5) + 1
            bits.take(42)
    display_delay = bits.take(1)
    for _ in range(bits.take(5) + 1):
        bits.take(12)
        if bits.take(5) > 7:  # seq_level_idx
            bits.take(1)
        if delay and bits.take(1):
            bits.take(2 * delay + 1)
        if display_delay and bits.take(1):
            bits.take(4)


class _Bits:
    """Reads numbers of any count of bits, the highest first."""

    def __init__(self, data: bytes) -> None:
        self._data, self._offset = data, 0

    def take(self, count: int) -> int:
        end = self._offset + count
        if end > 8 * len(self._data):
            raise ValueError("it ends too early")
        octets = self._data[self._offset // 8 : -(-end // 8)]
        self._offset = end
        return int.from_bytes(octets, "big") >> -end % 8 & (1 << count) - 1
