"""Whether bytes that came are the photo: neither a placeholder nor a web page, and whole.

Knows nothing of where they came from.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from locationnet.download.failures import (
    DAMAGED,
    EMPTY,
    NEEDS_HEIC,
    NO_IMAGE,
    PLACEHOLDER,
    TOO_LARGE,
    WEB_PAGE,
    DownloadError,
)
from locationnet.errors import ImageError, ImageTooLargeError, InputError, MissingCodecError
from locationnet.images import open_image, shrunk

# So many different photos with the same bytes are a placeholder.
PLACEHOLDER_COPIES = 5

_MARKUP = re.compile(rb"\s*(?:\xef\xbb\xbf)?\s*<(?:!doctype|html|head|body|\?xml|!--)", re.I)
_LINE = re.compile(r"(?:(?P<size>[0-9]{1,10})(?:\s+|$))?(?P<hash>[0-9a-f]{32}|[0-9a-f]{64})?", re.I)
# Decoding all of a photo finds damage anywhere; a small result costs the least.
_GLANCE = 32


@dataclass(frozen=True)
class Placeholders:
    """Images that servers send in place of photos that are gone.

    Parameters
    ----------
    known
        (size in bytes or None, MD5 or SHA-256 in lower-case hexadecimal or ``""``); one of the two
        is given, and what is given must agree.
    """

    known: frozenset[tuple[int | None, str]] = field(default_factory=frozenset)

    @classmethod
    def read(cls, path: Path) -> Placeholders:
        """Read a list: on each line a size in bytes, an MD5 or SHA-256, or both; ``#`` comments.

        Raises
        ------
        InputError
            The file cannot be read, or a line is not a valid entry; the message names it.
        """
        known = set()
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{path}: cannot be read as text") from error
        for number, line in enumerate(lines, 1):
            text = line.partition("#")[0].strip()
            if not text:
                continue
            match = _LINE.fullmatch(text)
            if match is None:
                raise InputError(
                    f"{path}: line {number}: expected a size in bytes, an MD5 or SHA-256, or both"
                )
            size = None if match["size"] is None else int(match["size"])
            known.add((size, (match["hash"] or "").lower()))
        return cls(frozenset(known))

    def __contains__(self, data: bytes) -> bool:
        for size, digest in self.known:
            if size is not None and size != len(data):
                continue
            if not digest or digest == _digest(data, digest):
                return True
        return False

    def names(self, size: int, fingerprint: bytes) -> bool:
        """Return whether the list names an image by its size or MD5; SHA-256s need its bytes."""
        md5 = fingerprint.hex()
        return not self.known.isdisjoint({(size, ""), (None, md5), (size, md5)})


def fingerprint(data: bytes) -> bytes:
    """Return 16 bytes that differ between different photos."""
    return hashlib.md5(data, usedforsecurity=False).digest()


def check_answer(data: bytes, placeholders: Placeholders) -> None:
    """Make sure that bytes may be a photo; what they show is not looked at.

    Raises
    ------
    DownloadError
        They are empty, a web page or a placeholder.
    """
    if not data:
        raise DownloadError(EMPTY)
    if _MARKUP.match(data[:512]):
        raise DownloadError(WEB_PAGE)
    if data in placeholders:
        raise DownloadError(PLACEHOLDER)


def opened(data: bytes) -> Image.Image:
    """Read an image's header; see `locationnet.images.open_image`.

    Raises
    ------
    DownloadError
        The bytes are not an image that we read, or it is too large.
    """
    try:
        return open_image(data)
    except MissingCodecError as error:
        raise DownloadError(NEEDS_HEIC, str(error)) from error
    except ImageTooLargeError as error:
        raise DownloadError(TOO_LARGE, str(error)) from error
    except ImageError as error:
        raise DownloadError(NO_IMAGE) from error


def check_pixels(data: bytes) -> None:
    """Make sure that bytes are a whole photo, by decoding it.

    Raises
    ------
    DownloadError
        They are not an image that we read, or one that is damaged.
    """
    image = opened(data)
    try:
        shrunk(image, _GLANCE)
    except ImageError as error:
        raise DownloadError(DAMAGED) from error


def _digest(data: bytes, like: str) -> str:
    if len(like) == 64:
        return hashlib.sha256(data).hexdigest()
    return fingerprint(data).hex()
