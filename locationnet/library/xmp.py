"""What XMP says of a photo's place and time, embedded or in a sidecar beside it.

Knows the names that Adobe's specification gives them; parses nothing that could expand or fetch.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from xml.etree.ElementTree import ParseError

from locationnet.errors import MissingExtraError

_EXIF = "{http://ns.adobe.com/exif/1.0/}"
_DATES = (
    f"{_EXIF}DateTimeOriginal",
    "{http://ns.adobe.com/photoshop/1.0/}DateCreated",
)
# Degrees, minutes and perhaps seconds, and the side: "48,51.508N" or "48,51,30N".
_COORDINATE = re.compile(r"(\d{1,3}),(\d{1,2}(?:\.\d+)?)(?:,(\d{1,2}(?:\.\d+)?))?([NSEW])")
# A sidecar holds a few kilobytes; what is longer holds edits and masks, which say no place.
_MAX_BYTES = 8 << 20


@dataclass(frozen=True)
class XmpFacts:
    """What was found: degrees, and an ISO 8601 time with or without a zone; None where absent."""

    lat: float | None = None
    lng: float | None = None
    taken: datetime | None = None


NOTHING = XmpFacts()


def sidecars(photo: Path) -> list[Path]:
    """Return where a photo's sidecar may lie: ``IMG.jpg.xmp`` before ``IMG.xmp``."""
    return [photo.with_name(photo.name + ".xmp"), photo.with_name(photo.stem + ".xmp")]


def parse(data: bytes) -> XmpFacts:
    """Return what a packet or a sidecar says; `NOTHING` where it is not XMP.

    Raises
    ------
    MissingExtraError
        The part that reads it safely is not installed.
    """
    try:
        from defusedxml.common import DefusedXmlException
        from defusedxml.ElementTree import fromstring
    except ImportError as error:
        raise MissingExtraError("a photo library", "library") from error
    if len(data) > _MAX_BYTES:
        return NOTHING
    try:
        root = fromstring(data.strip(b"\0 \r\n\t"), forbid_dtd=True)
    except (ParseError, DefusedXmlException, ValueError, LookupError):
        return NOTHING
    said: dict[str, str] = {}
    for element in root.iter():
        for name, value in [*element.attrib.items(), (element.tag, element.text or "")]:
            if name not in said and value.strip():
                said[name] = value.strip()
    lat = _degrees(said.get(f"{_EXIF}GPSLatitude", ""), "NS", 90)
    lng = _degrees(said.get(f"{_EXIF}GPSLongitude", ""), "EW", 180)
    if lat is None or lng is None or (lat == 0 and lng == 0):
        lat = lng = None
    for name in _DATES:
        try:
            return XmpFacts(lat, lng, datetime.fromisoformat(said[name]))
        except (KeyError, ValueError):
            continue
    return XmpFacts(lat, lng)


def _degrees(text: str, sides: str, most: float) -> float | None:
    found = _COORDINATE.fullmatch(text)
    if found is None or found[4] not in sides:
        return None
    value = float(found[1]) + float(found[2]) / 60 + float(found[3] or 0) / 3600
    if not math.isfinite(value) or value > most:
        return None
    return -value if found[4] in "SW" else value
