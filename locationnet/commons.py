"""What Multimedia Commons calls its photos: the hash of a photo and its key in the bucket.

Knows nothing of metadata files or of the network.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

BUCKET = "multimedia-commons"
REGION = "us-west-2"

# A byte below 16 is one digit.
HASH = r"[0-9a-f]{16,32}"
_HASH = re.compile(HASH)
_BYTES = [f"{number:x}" for number in range(256)]


def photo_hash(url: str) -> str:
    """Return the hash of the photo that YFCC100M downloads from `url`.

    The MD5 of the URL with each byte printed in hexadecimal *without* its leading zero, so 16 to 32
    characters.
    """
    digest = hashlib.md5(url.encode(), usedforsecurity=False).digest()
    return "".join([_BYTES[byte] for byte in digest])


def is_photo_hash(text: str) -> bool:
    """Return whether a text can be the hash of a photo."""
    return _HASH.fullmatch(text) is not None


def image_key(photo_hash: str) -> str:
    """Return where the photo lies in the bucket, and below a folder that mirrors it."""
    return f"data/images/{photo_hash[:3]}/{photo_hash[3:6]}/{photo_hash}.jpg"


def photo_path(photo: str, url: str) -> str:
    """Return where a photo goes, by its hash or else its URL; ``""`` where it has neither.

    Blanks around either are not part of it.
    """
    photo, url = photo.strip(), url.strip()
    if is_photo_hash(photo):
        return image_key(photo)
    return image_key(photo_hash(url)) if url else ""


def image_keys(photo_hashes: pa.Array) -> pa.Array:
    """Return `image_key` of each hash; null where there is none."""
    import pyarrow.compute as pc

    first, second = (pc.utf8_slice_codeunits(photo_hashes, at, at + 3) for at in (0, 3))
    file = pc.binary_join_element_wise(photo_hashes, ".jpg", "")
    return pc.binary_join_element_wise("data/images", first, second, file, "/")
