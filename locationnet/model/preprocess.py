"""Bytes of a photo to the network's input tensor, as a bundle's manifest says.

Knows nothing of files, of the network or of the network's answer. Every limit is enforced on the
header, before a single pixel is decoded, and of the metadata only the EXIF orientation is read:
an embedded position never reaches the answer.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from locationnet.errors import ImageError, ImageTooLargeError

FORMATS = ("JPEG", "PNG", "WEBP")
MAX_PIXELS = 40_000_000
# libwebp decodes at full size only, into buffers of its own beside Pillow's; libjpeg keeps all
# coefficients of a progressive file, and a narrow one cannot be decoded at a reduced scale.
MAX_PIXELS_COSTLY = 16_000_000
_NARROW = 2400

# ImageNet channel means (red, green, blue) that the 2017 training subtracted.
MEAN_2017 = (123.68, 116.779, 103.939)

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
_DECODER_ERRORS = (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError)


@dataclass(frozen=True)
class Preprocessing:
    """How a network wants its photos.

    Parameters
    ----------
    recipe
        ``"pillow"``: the short side is resized to `short_side` with Pillow's bilinear filter (which
        averages when it shrinks) and the centre square of `size` is kept; ``(x - mean) / std`` on
        0–255. ``"2017"``: the centre square of the short side is sampled as scikit-image does it
        without anti-aliasing, scaled to 0–256, and the mean is subtracted, as in the 2017 notebook.
    size
        Side of the network's square input, pixels.
    short_side
        Side that the photo's short side is resized to before the centre crop, pixels.
    mean, std
        Red, green and blue, on the 0–255 scale.
    """

    recipe: Literal["pillow", "2017"]
    size: int
    short_side: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


def recipe_2017(size: int = 224) -> Preprocessing:
    """Return the preprocessing that the 2017 weights expect."""
    return Preprocessing("2017", size, size, MEAN_2017, (1.0, 1.0, 1.0))


def open_image(data: bytes) -> Image.Image:
    """Read the header of a JPEG, PNG or WebP and check its size; no pixel is decoded.

    Raises
    ------
    ImageError
        The bytes are in none of the three formats.
    ImageTooLargeError
        The header announces more than 40 megapixels (16 for WebP, CMYK and
        narrow progressive JPEG).
    """
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    # Pillow warns from 89 megapixels on and raises from 179; warnings may be errors.
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageTooLargeError(
            f"the image has more than the {MAX_PIXELS // 10**6} megapixels that we decode"
        ) from error
    except _DECODER_ERRORS as error:
        raise ImageError("not a JPEG, PNG or WebP image") from error
    narrow = "progressive" in image.info and min(image.size) < _NARROW
    costly = image.format == "WEBP" or image.mode == "CMYK" or narrow
    _limit(image, MAX_PIXELS_COSTLY if costly else MAX_PIXELS)
    return image


def _limit(image: Image.Image, pixels: int) -> None:
    width, height = image.size
    if width * height > pixels:
        raise ImageTooLargeError(
            f"the image has {width} x {height} pixels; the limit is {pixels // 10**6} megapixels"
        )


def tensor(image: Image.Image, how: Preprocessing) -> NDArray[np.float32]:
    """Decode an opened image into the network's input.

    Parameters
    ----------
    image
        From `open_image`, or any Pillow image; a lazily opened JPEG is decoded at a reduced scale.
    how
        The bundle's preprocessing.

    Returns
    -------
    float32 (3, size, size)
        Red, green, blue; the photo upright.

    Raises
    ------
    ImageError
        The pixels cannot be decoded (truncated or corrupt file).
    """
    try:
        if how.recipe == "2017":
            square = _square_2017(image, how.size)
        else:
            square = _square_pillow(image, how)
    except _DECODER_ERRORS as error:
        raise ImageError("the image is truncated or corrupt") from error
    pixels = (square - np.asarray(how.mean, np.float32)) / np.asarray(how.std, np.float32)
    return np.ascontiguousarray(pixels.transpose(2, 0, 1), dtype=np.float32)


def _square_pillow(image: Image.Image, how: Preprocessing) -> NDArray[np.float32]:
    # JPEG decodes at 1/2, 1/4 or 1/8 for next to nothing; twice the final size keeps the filter's
    # input sharp enough that the result hardly depends on it. Other formats ignore the hint.
    image.draft("RGB", (2 * how.short_side, 2 * how.short_side))
    orientation = _orientation(image)
    square = _centre_square(image, at_least=2 * how.short_side)
    side = square.width * how.size / how.short_side
    margin = (square.width - side) / 2
    resized = square.resize(
        (how.size, how.size),
        Image.Resampling.BILINEAR,
        box=(margin, margin, margin + side, margin + side),
    )
    return np.asarray(_upright(resized, orientation), np.float32)


def _square_2017(image: Image.Image, size: int) -> NDArray[np.float32]:
    from scipy import ndimage  # only bundles of 2017 pay for loading it

    if "progressive" in image.info:  # decoded at full size here, beside all its coefficients
        _limit(image, MAX_PIXELS_COSTLY)
    orientation = _orientation(image)
    square = _upright(_centre_square(image), orientation)
    sampled = np.empty((size, size, 3), np.float64)
    for channel, band in enumerate(square.split()):
        # What skimage.transform.resize(order=1, mode="constant", anti_aliasing=False) computes,
        # without its float64 copy of the whole photo.
        ndimage.zoom(
            np.asarray(band),
            size / square.width,
            output=sampled[..., channel],
            order=1,
            mode="grid-constant",
            grid_mode=True,
        )
    return np.asarray(sampled * (256 / 255), np.float32)


def shrunk(image: Image.Image, short_side: int) -> Image.Image:
    """Decode an opened photo, upright and RGB, with its short side at most `short_side` pixels.

    Raises
    ------
    ImageError
        The pixels cannot be decoded (truncated or corrupt file).
    """
    try:
        image.draft("RGB", (2 * short_side, 2 * short_side))
        orientation = _orientation(image)
        image.load()
        factor = max(1, min(image.size) // (2 * short_side))
        small = _averaged(image, (0, 0, *image.size), factor)
    except _DECODER_ERRORS as error:
        raise ImageError("the image is truncated or corrupt") from error
    scale = short_side / min(small.size)
    if scale < 1:
        size = (round(small.width * scale), round(small.height * scale))
        small = small.resize(size, Image.Resampling.BILINEAR)
    return _upright(small, orientation)


def cropped(image: Image.Image, box: tuple[float, float, float, float]) -> Image.Image:
    """Decode a part of an opened photo, upright and RGB.

    Parameters
    ----------
    image
        From `open_image`.
    box
        Left, top, right and bottom as shares of the upright photo's width and height.

    Raises
    ------
    ImageError
        The pixels cannot be decoded (truncated or corrupt file).
    """
    try:
        image.load()
        upright = _upright(image, _orientation(image))
        width, height = upright.size
        left, top = (min(int(box[0] * width), width - 1), min(int(box[1] * height), height - 1))
        right, bottom = max(left + 1, round(box[2] * width)), max(top + 1, round(box[3] * height))
        return _opaque(upright.crop((left, top, right, bottom)))
    except _DECODER_ERRORS as error:
        raise ImageError("the image is truncated or corrupt") from error


def _centre_square(image: Image.Image, at_least: int | None = None) -> Image.Image:
    """Cut the centre square and make it opaque RGB.

    Where `at_least` is given, blocks of pixels are averaged as long as no side gets smaller than
    that.
    """
    image.load()
    shortest = min(image.size)
    factor = 1 if at_least is None else max(1, shortest // at_least)
    side = shortest // factor * factor
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return _averaged(image, (left, top, left + side, top + side), factor)


def _averaged(image: Image.Image, box: tuple[int, int, int, int], factor: int) -> Image.Image:
    """Return a part of a decoded image, opaque RGB, each block of `factor`² pixels as one.

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
        part.paste(_opaque(band).reduce(factor), (0, row))
    return part


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # whatever is wrong with the EXIF block says nothing about the pixels
        return 1


def _opaque(image: Image.Image) -> Image.Image:
    """Convert to RGB; what is transparent is laid on white, as a browser shows it."""
    if image.mode.startswith("I"):  # 16-bit grey: Pillow's own conversion clips instead of scaling
        grey = np.asarray(image, np.float32) / 257
        return Image.fromarray(np.clip(grey, 0, 255).astype(np.uint8)).convert("RGB")
    if not image.has_transparency_data:
        return image.convert("RGB")
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")


def _upright(square: Image.Image, orientation: int) -> Image.Image:
    # A centre square turns in place, so turning the small result equals turning the large photo.
    method = _UNDO_ORIENTATION.get(orientation)
    return square if method is None else square.transpose(method)
