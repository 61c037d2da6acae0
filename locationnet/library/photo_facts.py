"""What a photo file says of its own camera, time and place: EXIF, and XMP where EXIF is silent.

The only module that reads an embedded position. Decodes no pixel, and raises for no file, however
broken its metadata is.
"""

from __future__ import annotations

import hashlib
import io
import math
import os
import re
import struct
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePath
from typing import Any, BinaryIO

from PIL import Image

from locationnet import heif
from locationnet.image_formats import jpeg_segments, kind_of
from locationnet.library import xmp

# Raw files that are TIFF inside, which Pillow reads the tags of.
RAW_SUFFIXES = frozenset(
    {
        ".dng", ".cr2", ".nef", ".nrw", ".arw", ".sr2", ".srf", ".pef", ".srw", ".3fr", ".iiq",
        ".erf", ".mef", ".mos", ".kdc", ".dcr",
    }
)  # fmt: skip
# Metadata stands at the beginning; a JPEG's first segments are in here.
_HEAD = 1 << 18
_MORE = 1 << 23
_END = 1 << 16
_MAX_HEIF = 256 << 20
# What a clock shows that has never been set, or whose battery was taken out.
_UNSET_DAYS = frozenset({(1904, 1, 1), (1970, 1, 1), (1980, 1, 1)})
_TIFF_STARTS = (b"II*\0", b"MM\0*")
_EXIF_IFD, _GPS_IFD = 0x8769, 0x8825
_MAKE, _MODEL, _SERIAL = 0x010F, 0x0110, 0xA431
# The time, its zone and its fractions: of the exposure, else of the digitisation. Not of the last
# change, which may be years later.
_TIMES = ((0x9003, 0x9011, 0x9291), (0x9004, 0x9012, 0x9292))
_LAT_SIDE, _LAT, _LNG_SIDE, _LNG, _GPS_TIME, _GPS_STATUS, _DOP, _GPS_DATE, _GPS_ERROR = (
    1, 2, 3, 4, 7, 9, 11, 29, 31,
)  # fmt: skip
# A dilution of precision of 1 is about 5 m with a consumer receiver.
_METERS_PER_DOP = 5.0
# No zone is farther from UTC.
_MAX_ZONE_S = 15 * 3600
_ZONE = re.compile(r"([+-])(\d\d):?(\d\d)")


@dataclass(frozen=True)
class Facts:
    """What a file says of itself.

    Parameters
    ----------
    kind
        ``"JPEG"``, ``"HEIF"``, …, ``"RAW"``; ``""`` for a kind that is not read.
    camera, serial
        Make and model, and the body's number; ``""`` where absent.
    taken
        What the camera's clock showed, seconds since 1970 as if it were UTC; None where unknown.
    utc
        The same moment in UTC, seconds since 1970; None where the zone is not known.
    lat, lng
        Degrees; None where absent.
    error_m
        How far off the position may be, meters; None where the file does not say.
    """

    kind: str = ""
    camera: str = ""
    serial: str = ""
    taken: float | None = None
    utc: float | None = None
    lat: float | None = None
    lng: float | None = None
    error_m: float | None = None


def read_photo(path: Path) -> tuple[bytes, Facts]:
    """Return a file's fingerprint and what it says.

    The fingerprint is BLAKE2 of the size, the first 256 KiB and the last 64: a photo's metadata
    and part of its pixels, so that a library on a slow disk need not be read whole.

    Raises
    ------
    OSError
        The file cannot be read.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        head = file.read(_HEAD)
        digest = hashlib.blake2b(struct.pack(">Q", size) + head, digest_size=16)
        if size > _HEAD:
            file.seek(max(_HEAD, size - _END))
            digest.update(file.read(_END))
        facts = Facts()
        # Whatever is wrong with the metadata says nothing about the photo.
        with suppress(Exception):
            facts = _facts(path, file, head, size)
    return digest.digest(), facts


def with_xmp(facts: Facts, said: xmp.XmpFacts) -> Facts:
    """Add what XMP says to what EXIF does not."""
    if facts.lat is None and said.lat is not None:
        facts = replace(facts, lat=said.lat, lng=said.lng, error_m=None)
    if facts.taken is None and said.taken is not None:
        zoned = said.taken
        clock = _clock(zoned.replace(tzinfo=None))
        utc = zoned.timestamp() if zoned.tzinfo is not None and clock is not None else None
        facts = replace(facts, taken=clock, utc=utc)
    return facts


def _facts(path: PurePath, file: BinaryIO, head: bytes, size: int) -> Facts:
    kind = kind_of(head)
    if kind is None:
        if path.suffix.lower() in RAW_SUFFIXES and head.startswith(_TIFF_STARTS):
            exif = Image.Exif()
            file.seek(0)
            exif.load_from_fp(file)
            return _from_exif("RAW", exif)
        return Facts()
    facts = Facts(kind)
    with suppress(Exception):
        found, packet = _embedded(kind, file, head, size)
        if found:
            exif = Image.Exif()
            exif.load(found)
            facts = _from_exif(kind, exif)
        if packet and (facts.lat is None or facts.taken is None):
            facts = with_xmp(facts, xmp.parse(packet))
    return facts


def _embedded(kind: str, file: BinaryIO, head: bytes, size: int) -> tuple[bytes, bytes]:
    """Return the EXIF and XMP of a file, ``b""`` where it has none."""
    if kind == "JPEG":
        found = _of_jpeg(head)
        if not found[0] and size > len(head) and not _reaches_pixels(head):
            file.seek(0)
            found = _of_jpeg(file.read(_MORE))
        return found
    if kind == "PNG":
        return _of_chunks(file, 8, ">I4s", 4, {b"eXIf": 0, b"iTXt": 1})
    if kind == "WEBP":
        return _of_chunks(file, 12, "<4sI", 0, {b"EXIF": 0, b"XMP ": 1})
    file.seek(0)
    return heif.metadata(file.read(_MAX_HEIF))


def _of_jpeg(data: bytes) -> tuple[bytes, bytes]:
    found = [b"", b""]
    for segment in jpeg_segments(data):
        for number, start in enumerate((b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0")):
            if segment.marker == 0xE1 and segment.body.startswith(start) and not found[number]:
                found[number] = segment.body[0 if number == 0 else len(start) :]
    return found[0], found[1]


def _reaches_pixels(head: bytes) -> bool:
    return any(segment.marker == 0xDA for segment in jpeg_segments(head))


def _of_chunks(
    file: BinaryIO, start: int, layout: str, tail: int, wanted: dict[bytes, int]
) -> tuple[bytes, bytes]:
    """Walk the chunks of a PNG or a WebP, reading only those wanted."""
    found = [b"", b""]
    file.seek(start)
    while len(header := file.read(8)) == 8:
        one, other = struct.unpack(layout, header)
        name, length = (one, other) if isinstance(one, bytes) else (other, one)
        padded = length + tail + (0 if tail else length % 2)
        if name in wanted and length <= _MORE and not found[wanted[name]]:
            body = file.read(padded)[:length]
            text = b"XML:com.adobe.xmp\0\0\0\0\0"
            if name != b"iTXt":
                found[wanted[name]] = body
            elif body.startswith(text):
                found[1] = body[len(text) :]
        else:
            file.seek(padded, io.SEEK_CUR)
    return found[0], found[1]


def _from_exif(kind: str, exif: Image.Exif) -> Facts:
    own: dict[int, Any] = exif.get_ifd(_EXIF_IFD)
    gps: dict[int, Any] = exif.get_ifd(_GPS_IFD)
    make, model = _text(exif.get(_MAKE)), _text(exif.get(_MODEL))
    camera = model if make and model.lower().startswith(make.lower()) else f"{make} {model}".strip()
    lat, lng = _position(gps)
    taken, utc = _moment(own, gps)
    return Facts(
        kind, camera, _text(own.get(_SERIAL)), taken, utc, lat, lng,
        None if lat is None else _error_m(gps),
    )  # fmt: skip


def _moment(own: dict[int, Any], gps: dict[int, Any]) -> tuple[float | None, float | None]:
    """Return what the camera's clock showed, and the moment in UTC."""
    taken = utc = None
    for time_tag, zone_tag, fraction_tag in _TIMES:
        taken = _clock(_parsed(_text(own.get(time_tag))))
        if taken is None:
            continue
        fraction = _text(own.get(fraction_tag))
        taken += float(f"0.{fraction}") if fraction.isascii() and fraction.isdigit() else 0
        zone = _ZONE.fullmatch(_text(own.get(zone_tag)))
        if zone:
            offset = 3600 * int(zone[2]) + 60 * int(zone[3])
            if offset <= _MAX_ZONE_S:
                utc = taken - (offset if zone[1] == "+" else -offset)
        break
    satellite = _satellite_time(gps)
    if satellite is not None:
        if taken is None:
            taken = utc = satellite
        elif utc is None and abs(taken - satellite) <= _MAX_ZONE_S:
            utc = satellite
    return taken, utc


def _satellite_time(gps: dict[int, Any]) -> float | None:
    """Return the receiver's time, UTC; it goes on where a camera's clock is wrong."""
    day = _parsed(_text(gps.get(_GPS_DATE)).replace("-", ":") + " 00:00:00")
    parts = _numbers(gps.get(_GPS_TIME))
    if day is None or parts is None or not all(0 <= part < 61 for part in parts):
        return None
    start = _clock(day)
    return None if start is None else start + 3600 * parts[0] + 60 * parts[1] + parts[2]


def _parsed(text: str) -> datetime | None:
    for layout in ("%Y:%m:%d %H:%M:%S", "%Y-%m-%d %H:%M:%S"):
        with suppress(ValueError):
            return datetime.strptime(text, layout)  # a camera's clock has no zone
    return None


def _clock(shown: datetime | None) -> float | None:
    """Return a clock's time as seconds since 1970, None where the clock was never set."""
    if shown is None or (shown.year, shown.month, shown.day) in _UNSET_DAYS:
        return None
    return (shown.replace(tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(seconds=1)


def _position(gps: dict[int, Any]) -> tuple[float | None, float | None]:
    if _text(gps.get(_GPS_STATUS)).upper() == "V":  # the receiver had no fix
        return None, None
    lat = _degrees(gps.get(_LAT), _text(gps.get(_LAT_SIDE)), "NS", 90)
    lng = _degrees(gps.get(_LNG), _text(gps.get(_LNG_SIDE)), "EW", 180)
    # Software writes zeros where it knows nothing.
    if lat is None or lng is None or (lat == 0 and lng == 0):
        return None, None
    return lat, lng


def _degrees(value: Any, side: str, sides: str, most: float) -> float | None:
    parts = _numbers(value)
    side = side[:1].upper()
    if parts is None or side not in sides or not side:
        return None
    degrees = parts[0] + parts[1] / 60 + parts[2] / 3600
    if min(parts) < 0 or degrees > most:
        return None
    return -degrees if side == sides[1] else degrees


def _error_m(gps: dict[int, Any]) -> float | None:
    for tag, scale in ((_GPS_ERROR, 1.0), (_DOP, _METERS_PER_DOP)):
        with suppress(TypeError, ValueError, ZeroDivisionError):
            value = scale * float(gps[tag]) if tag in gps else math.nan
            if math.isfinite(value) and value > 0:
                return value
    return None


def _numbers(value: Any) -> tuple[float, float, float] | None:
    """Return up to three rationals of EXIF as numbers, the absent ones as 0."""
    try:
        parts = [float(part) for part in value]
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    if not 1 <= len(parts) <= 3 or not all(map(math.isfinite, parts)):
        return None
    parts += [0.0] * (3 - len(parts))
    return parts[0], parts[1], parts[2]


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    return value.split("\0")[0].strip() if isinstance(value, str) else ""
