"""What a file is that is no photo we read, by its bytes and what its server calls it.

Knows nothing of how photos are read, nor of where the bytes come from: it finds the words for
people who sent, or named, something else.
"""

from __future__ import annotations

import re

WEB_PAGE = "a web page"
SVG = "an SVG drawing"
PDF = "a PDF document"
VIDEO = "a video"
AUDIO = "a sound recording"
ARCHIVE = "an archive"
TEXT = "text"
# Behind it the name of a format.
IMAGE = "an image of the format "
RAW = "a camera's raw file"

# Where a format says its name in other places than at the start.
_HEAD = 1024
_MARKUP_HEAD = 4096
_PAGE = 1 << 18
_STARTS: tuple[tuple[bytes, str], ...] = (
    (b"GIF8", f"{IMAGE}GIF"), (b"\0\0\1\0", f"{IMAGE}ICO"),
    (b"\0\0\0\x0cjP  ", f"{IMAGE}JPEG 2000"), (b"\xff\x4f\xff\x51", f"{IMAGE}JPEG 2000"),
    (b"\0\0\0\x0cJXL ", f"{IMAGE}JPEG XL"), (b"\xff\x0a", f"{IMAGE}JPEG XL"),
    (b"8BPS", f"{IMAGE}Photoshop"), (b"gimp xcf", f"{IMAGE}GIMP"),
    (b"\x76\x2f\x31\x01", f"{IMAGE}OpenEXR"), (b"II\xbc\x01", f"{IMAGE}JPEG XR"),
    (b"FUJIFILMCCD-RAW", RAW), (b"IIRO", RAW), (b"IIRS", RAW), (b"IIU\0", RAW),
    (b"MMOR", RAW), (b"\0MRM", RAW), (b"FOVb", RAW),
    (b"II*\0", f"{IMAGE}TIFF, or {RAW}"), (b"MM\0*", f"{IMAGE}TIFF, or {RAW}"),
    (b"%!PS", "a PostScript document"),
    (b"\x1a\x45\xdf\xa3", VIDEO), (b"\0\0\1\xba", VIDEO), (b"\0\0\1\xb3", VIDEO),
    (b"FLV\x01", VIDEO), (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", VIDEO), (b"OggS", VIDEO),
    (b"#EXTM3U", VIDEO),
    (b"ID3", AUDIO), (b"fLaC", AUDIO),
    (b"PK\x03\x04", "a ZIP archive or an office document"), (b"\x1f\x8b", ARCHIVE),
    (b"7z\xbc\xaf\x27\x1c", ARCHIVE), (b"Rar!", ARCHIVE), (b"BZh", ARCHIVE),
    (b"\xfd7zXZ\0", ARCHIVE), (b"\x28\xb5\x2f\xfd", ARCHIVE),
)  # fmt: skip
_RIFF = {b"AVI ": VIDEO, b"WAVE": AUDIO}
# Of the family of MP4: how a file, or a box of QuickTime at its start, calls itself.
_BRANDS = {b"crx ": RAW, b"M4A ": AUDIO, b"M4B ": AUDIO, b"jxl ": f"{IMAGE}JPEG XL"}
_QUICKTIME = frozenset({b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"})
_MARKS = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16", b"\xef\xbb\xbf": "utf-8-sig"}
_TAGS = re.compile(
    r"<(?:!doctype html|html|head|body|script|style|title|meta|link|base|frameset|iframe|div|p|a|h1"
    r"|table|center|font|br|b|span|main|form)\b"
)
_PROLOGUE = re.compile(r"(?:\s|<\?.*?\?>|<!--.*?-->|<!doctype svg.*?>)*", re.DOTALL)
_ELEMENT = re.compile(r"\s*<[a-z_?!]")
_PASSWORD = re.compile(rb"<input\b[^>]{0,300}\btype\s*=\s*[\"']?password\b", re.IGNORECASE)
_CONTROLS = re.compile(r"[\x00-\x08\x0e-\x1a\x1c-\x1f\ufffd]")
_DECLARED = (
    ("text/html", WEB_PAGE), ("application/xhtml+xml", WEB_PAGE), ("image/svg+xml", SVG),
    ("application/pdf", PDF), ("video/", VIDEO), ("audio/", AUDIO),
    ("application/vnd.apple.mpegurl", VIDEO), ("application/x-mpegurl", VIDEO),
    ("application/dash+xml", VIDEO), ("application/json", TEXT), ("text/", TEXT),
)  # fmt: skip


def other_kind(data: bytes, media_type: str = "") -> str | None:
    """Return what a file is that is no JPEG, PNG, WebP, AVIF or HEIC; None where nothing tells.

    Parameters
    ----------
    data
        The file, not empty.
    media_type
        What the server called it, believed only where the bytes do not speak for themselves.
    """
    found = _by_start(data)
    if found is None and b"%PDF-" in data[:_HEAD]:
        found = PDF
    if found is None:
        found = _of_text(data[:_MARKUP_HEAD])
    if found is None or found == TEXT:
        named = media_type.partition(";")[0].strip().lower()
        found = next((kind for start, kind in _DECLARED if named.startswith(start)), found)
    return found


def asks_for_password(page: bytes) -> bool:
    """Return whether a web page has a field for a password."""
    return _PASSWORD.search(page[:_PAGE]) is not None


def _by_start(data: bytes) -> str | None:
    if data[:4] == b"RIFF":
        return _RIFF.get(data[8:12])
    if data[4:8] == b"ftyp":
        return _BRANDS.get(data[8:12], VIDEO)
    # What may begin a text is looked at twice.
    if data[4:8] in _QUICKTIME and data[0] < 0x20:
        return VIDEO
    if data[:2] == b"BM" and data[6:10] == bytes(4):
        return f"{IMAGE}BMP"
    return next((kind for start, kind in _STARTS if data.startswith(start)), None)


def _of_text(head: bytes) -> str | None:
    code = next((code for mark, code in _MARKS.items() if head.startswith(mark)), "utf-8")
    text = head.decode(code, "replace").lower()
    if len(head) == _MARKUP_HEAD:
        text = text.removesuffix("\ufffd")  # a letter cut in two
    body = _PROLOGUE.sub("", text, count=1)
    if body.startswith("<svg"):
        return SVG
    if _TAGS.match(body):  # whatever encoding the rest is in
        return WEB_PAGE
    if _CONTROLS.search(text):
        return None
    return "an XML document" if _ELEMENT.match(text) else TEXT
