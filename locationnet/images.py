"""Photos out of the bytes of files: which formats are read, how large, and which way up.

Knows nothing of files, of networks or of what is made of a photo. Every door shares it. Limits are
enforced on the header, before a pixel is decoded, and of the metadata only the orientation is read:
an embedded position never reaches the answer.
"""

from __future__ import annotations

import io
import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image
from PIL.AvifImagePlugin import AvifImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from locationnet.errors import ImageError, ImageTooLargeError, MissingCodecError
from locationnet.file_kinds import TEXT, other_kind
from locationnet.heif import av1_pixels
from locationnet.image_formats import READ, Kind, jpeg_has_one_scan, kind_of, without_metadata

# Of a JPEG the pixels count that are decoded, at a reduced scale where that is enough; the others
# decode at full size only. Measured with these limits, an image takes at most 400 MiB: 4 bytes a
# pixel for JPEG and PNG, 17 for WebP, 11 to 16 for AVIF, 8 for HEIC as phones write it, and up to
# 16 for HEIC with more colour.
_MAX_PIXELS: dict[Kind, int] = {
    "JPEG": 52_000_000, "PNG": 40_000_000, "WEBP": 16_000_000, "AVIF": 24_000_000,
    "HEIF": 52_000_000,
}  # fmt: skip
_MAX_PIXELS_HEIC_COLOURFUL = 24_000_000
# Beside its pixels libjpeg keeps all coefficients of a JPEG in several scans, at any scale.
_MAX_JPEG_BYTES = 320 << 20
_COEFFICIENTS = "bytes of coefficients"
_SCALES = (1, 2, 4, 8)

_DECODERS: dict[str, Callable[[io.BytesIO], ImageFile]] = {
    "JPEG": JpegImageFile,
    "PNG": PngImageFile,
    "WEBP": WebPImageFile,
    "AVIF": AvifImageFile,
}
_BAND_ROWS = 128
_UNDO_ORIENTATION = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# What Pillow's decoders are known to raise on hostile bytes.
_DECODER_ERRORS = (
    OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError, RuntimeError,
)  # fmt: skip

Box = tuple[float, float, float, float]


class Readable(Protocol):
    """A photo that is fetched when its turn comes."""

    def read(self) -> bytes | Image.Image:
        """Return it."""


Photo = str | os.PathLike[str] | bytes | Image.Image | NDArray[np.uint8] | Readable


def open_image(data: bytes) -> Image.Image:
    """Read the header of a photo and check what decoding it would take; no pixel is decoded.

    Parameters
    ----------
    data
        A JPEG, PNG, WebP, AVIF or HEIC file; of several images in it, the first or primary one.

    Raises
    ------
    ImageError
        The bytes are in none of these formats.
    MissingCodecError
        They are HEIC, and the part that reads it is not installed.
    ImageTooLargeError
        Decoding would take too much memory: a PNG has more than 40 megapixels, a WebP 16, an AVIF
        24, a HEIC 52; or a JPEG, even at an eighth of its size, more than 52 or 320 MiB in all.
    """
    kind = kind_of(data)
    if kind is None:
        other = other_kind(data)
        # Plain text may be anything, a broken photo among it.
        but = "" if other in (None, TEXT) else f" but {other}"
        raise ImageError(f"not a {READ} image{but}")
    decoder = _heic_decoder() if kind == "HEIF" else _DECODERS[kind]
    slim = without_metadata(data, kind)
    try:
        # Not by Image.open, which refuses by the pixels of the header alone.
        image = decoder(io.BytesIO(slim))
    except Image.DecompressionBombError as error:
        raise ImageTooLargeError("the image has more pixels than we decode") from error
    except _DECODER_ERRORS as error:
        raise ImageError(f"not a {READ} image") from error
    if isinstance(image, JpegImageFile):
        image.info[_COEFFICIENTS] = 0 if jpeg_has_one_scan(slim) else _coefficients(image)
        if not _fits(image, _SCALES[-1]):
            raise ImageTooLargeError(
                f"the image has {image.width} x {image.height} pixels, which take more memory than"
                f" the limit even at 1/{_SCALES[-1]} of the size"
            )
        return image
    most = _MAX_PIXELS[kind]
    if kind == "HEIF" and not (image.mode == "RGB" and image.info.get("chroma") == 420):
        most = _MAX_PIXELS_HEIC_COLOURFUL
    if image.width * image.height > most:
        raise ImageTooLargeError(
            f"the image has {image.width} x {image.height} pixels; the limit is"
            f" {most // 10**6} megapixels"
        )
    if kind == "AVIF" and _coded_pixels(slim) > 2 * most:  # twice, for what is transparent
        raise ImageTooLargeError("the image has more pixels than its header says")
    return image


@cache
def can_read_heic() -> bool:
    """Return whether the optional part that decodes HEIC is installed."""
    try:
        _heic_decoder()
    except MissingCodecError:
        return False
    return True


def orientation(image: Image.Image) -> int:
    """Return which way up a photo is stored, 1 to 8 as EXIF counts."""
    try:
        found = int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # whatever is wrong with the metadata says nothing about the pixels
        return 1
    return found if found in _UNDO_ORIENTATION else 1


def upright(image: Image.Image, stored: int) -> Image.Image:
    """Turn and mirror decoded pixels as the orientation asks that they are stored in."""
    method = _UNDO_ORIENTATION.get(stored)
    return image if method is None else image.transpose(method)


def upright_box(box: Box, stored: int) -> Box:
    """Return where a part of the stored pixels lies in the upright photo.

    Parameters
    ----------
    box
        Left, top, right and bottom as shares of the stored width and height.
    stored
        From `orientation`.
    """
    left, top, right, bottom = box
    if stored >= 5:
        left, top, right, bottom = top, left, bottom, right
    if stored in (2, 3, 6, 7):
        left, right = 1 - right, 1 - left
    if stored in (3, 4, 7, 8):
        top, bottom = 1 - bottom, 1 - top
    return left, top, right, bottom


def load(image: Image.Image, at_least: int | None = None) -> None:
    """Decode an opened photo, a JPEG at a reduced scale where that is enough.

    Parameters
    ----------
    image
        From `open_image`.
    at_least
        What the short side may be reduced to, pixels. A JPEG that is beyond the limits of memory is
        reduced further, as far as it must.

    Raises
    ------
    ImageError
        The pixels cannot be decoded (truncated or corrupt file).
    """
    with decoding():
        if isinstance(image, JpegImageFile) and not image.decoderconfig:
            enough = 1 if at_least is None else max(1, min(image.size) // at_least)
            scale = max(scale for scale in _SCALES if scale <= enough)
            while not _fits(image, scale) and scale < _SCALES[-1]:
                scale *= 2
            image.draft("RGB", (max(1, image.width // scale), max(1, image.height // scale)))
        image.load()


def shrunk(image: Image.Image, short_side: int) -> Image.Image:
    """Decode an opened photo, upright and RGB, with its short side at most `short_side` pixels.

    Raises
    ------
    ImageError
        The pixels cannot be decoded (truncated or corrupt file).
    """
    stored = orientation(image)
    load(image, 2 * short_side)
    with decoding():
        factor = max(1, min(image.size) // (2 * short_side))
        if factor == 1 and _is_plain(image) and short_side < min(image.size):
            small = image  # resized below, and nothing else needs a copy
        else:
            small = averaged(image, (0, 0, *image.size), factor)
    scale = short_side / min(small.size)
    if scale < 1:
        size = (round(small.width * scale), round(small.height * scale))
        small = small.resize(size, Image.Resampling.BILINEAR)
    return upright(small, stored)


def cropped(
    image: Image.Image, box: Box, short_side: int | None, *, of_stored: bool = False
) -> Image.Image:
    """Decode a part of an opened photo, upright and RGB.

    Parameters
    ----------
    image
        From `open_image`.
    box
        Left, top, right and bottom as shares of the upright photo's width and height.
    short_side
        Of the part, in pixels, as it will be used; it keeps at least twice as many where it has
        them. None keeps all.
    of_stored
        The box's sides are shares of the pixels as stored, before the photo is put upright.

    Raises
    ------
    ImageError
        The pixels cannot be decoded (truncated or corrupt file).
    """
    stored = orientation(image)
    if not of_stored:
        box = upright_box(box, {6: 8, 8: 6}.get(stored, stored))
    share = min((box[2] - box[0]) * image.width, (box[3] - box[1]) * image.height) / min(image.size)
    load(image, None if short_side is None else math.ceil(2 * short_side / share))
    width, height = image.size
    left, top = min(round(box[0] * width), width - 1), min(round(box[1] * height), height - 1)
    right, bottom = max(left + 1, round(box[2] * width)), max(top + 1, round(box[3] * height))
    least = min(right - left, bottom - top)
    factor = 1 if short_side is None else max(1, least // (2 * short_side))
    with decoding():
        return upright(averaged(image, (left, top, right, bottom), factor), stored)


def averaged(image: Image.Image, box: tuple[int, int, int, int], factor: int) -> Image.Image:
    """Return a part of a decoded image, opaque RGB, each square of `factor` pixels a side as one.

    It is converted band by band, so that no second whole photo is ever held.
    """
    left, top = box[:2]
    width, height = (box[2] - left) // factor, (box[3] - top) // factor
    part = Image.new("RGB", (width, height))
    step = max(1, _BAND_ROWS // factor)
    for row in range(0, height, step):
        rows = min(step, height - row)
        upper = top + row * factor
        band = image.crop((left, upper, left + width * factor, upper + rows * factor))
        part.paste(opaque(band).reduce(factor), (0, row))
    return part


def opaque(image: Image.Image) -> Image.Image:
    """Convert to RGB; what is transparent is laid on white, as a browser shows it."""
    if image.mode.startswith("I"):  # 16-bit grey: Pillow's own conversion clips instead of scaling
        grey = np.asarray(image, np.float32) / 257
        return Image.fromarray(np.clip(grey, 0, 255).astype(np.uint8)).convert("RGB")
    if not image.has_transparency_data:
        return image.convert("RGB")
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")


def _is_plain(image: Image.Image) -> bool:
    return image.mode == "RGB" and not image.has_transparency_data


@contextmanager
def decoding() -> Iterator[None]:
    """Turn what Pillow's decoders raise on hostile bytes into an `ImageError`."""
    try:
        yield
    except _DECODER_ERRORS as error:
        raise ImageError("the image is truncated or corrupt") from error


def _heic_decoder() -> Callable[[io.BytesIO], ImageFile]:
    try:
        from pillow_heif.as_plugin import HeifImageFile
    except ImportError as error:
        raise MissingCodecError from error
    decoder: Callable[[io.BytesIO], ImageFile] = HeifImageFile
    return decoder


def _coded_pixels(avif: bytes) -> int:
    with decoding():
        return av1_pixels(avif)


def _coefficients(image: JpegImageFile) -> int:
    """Return the bytes of all coefficients of a JPEG: 64 of two bytes in each block."""
    across = max(h for _, h, _, _ in image.layer)
    down = max(v for _, _, v, _ in image.layer)
    units = -(-image.width // (8 * across)) * -(-image.height // (8 * down))
    return 128 * units * sum(h * v for _, h, v, _ in image.layer)


def _fits(image: JpegImageFile, scale: int) -> bool:
    """Return whether decoding at a scale keeps within the limits."""
    pixels = -(-image.width // scale) * -(-image.height // scale)
    each = 1 if image.mode == "L" else 4
    held: int = image.info.get(_COEFFICIENTS, 0)
    return pixels <= _MAX_PIXELS["JPEG"] and held + each * pixels <= _MAX_JPEG_BYTES


def as_image(photo: Photo) -> Image.Image:
    """Open a photo that is given in any form; see `Photo`.

    Raises
    ------
    ImageError
        It cannot be read.
    OSError
        The file cannot be opened.
    """
    if isinstance(photo, bytes):
        return open_image(photo)
    if isinstance(photo, Image.Image):
        return photo.copy()  # decoding at a reduced scale would change the caller's image
    if isinstance(photo, np.ndarray):
        if photo.dtype != np.uint8 or photo.ndim != 3 or photo.shape[2] != 3:
            raise ImageError(
                f"expected a uint8 array (height, width, 3), not {photo.dtype} {photo.shape}"
            )
        return Image.fromarray(photo)
    if isinstance(photo, (str, os.PathLike)):
        return open_image(Path(photo).read_bytes())
    return as_image(photo.read())
