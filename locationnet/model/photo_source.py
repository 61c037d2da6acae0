"""A photo wherever it lies: what it is called, and its pixels from a file, the web or memory.

Knows nothing of networks or of answers.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from PIL import Image

from locationnet.errors import InputError
from locationnet.image_formats import READ
from locationnet.images import Photo, as_image

# No photo that we decode is larger; a device or an archive by mistake may be.
_MAX_BYTES = 256 << 20

# A drive of Windows has one letter.
_ADDRESS = re.compile(r"\s*[a-z][a-z0-9+.-]+://", re.IGNORECASE)


def photo_name(photo: Photo) -> str | None:
    """Return the path, URL or name of a photo; None of bytes and arrays, which have none."""
    name: object = photo
    if not isinstance(photo, (str, os.PathLike)):
        name = getattr(photo, "filename" if isinstance(photo, Image.Image) else "name", None)
    return os.fsdecode(name) if name and isinstance(name, (str, os.PathLike)) else None


def is_address(photo: Photo) -> bool:
    """Return whether a photo is given by its URL."""
    return isinstance(photo, str) and _ADDRESS.match(photo) is not None


def open_photo(photo: Photo) -> Image.Image:
    """Open a photo that is given in any form, a URL through the guarded fetch; see `Photo`.

    Raises
    ------
    ImageError
        It cannot be read.
    FetchError
        The URL is refused, or its server failed.
    OSError
        The file cannot be opened.
    """
    if isinstance(photo, str) and is_address(photo):
        from locationnet.net.fetch import FetchPolicy
        from locationnet.net.photo_urls import fetch_photo_sync

        photo = fetch_photo_sync(photo, FetchPolicy())
    return as_image(photo)


def read_file(path: Path) -> bytes:
    """Return the bytes of what may be a photo, if it is a regular file of a sane size.

    Raises
    ------
    InputError
        It cannot be read; the message says why, without its name.
    """
    try:
        if path.is_dir():
            raise InputError(f"no {READ} image below this folder")
        if path.exists() and not path.is_file():
            raise InputError("not a regular file")
        with path.open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a name with a NUL byte
        reason = getattr(error, "strerror", None) or "not a file name"
        raise InputError(f"cannot read the file ({reason})") from error
    if len(data) > _MAX_BYTES:
        raise InputError(f"larger than {_MAX_BYTES >> 20} MiB")
    return data
