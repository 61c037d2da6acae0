"""A photo wherever it lies: what it is called, and its pixels from a file, the web or memory.

Knows nothing of networks or of answers.
"""

from __future__ import annotations

import os
import re

from PIL import Image

from locationnet.images import Photo, as_image

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
        from locationnet.net.fetch import FetchPolicy, fetch_sync

        photo = fetch_sync(photo, FetchPolicy())
    return as_image(photo)
