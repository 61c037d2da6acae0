"""An opened photo to the network's input tensor, as a bundle's manifest says.

Knows recipes; formats and limits are in `locationnet.images`, and nothing is known of the network.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from locationnet.images import (
    averaged,
    decoding,
    load,
    opaque,
    orientation,
    upright,
    upright_box,
)

# ImageNet channel means (red, green, blue) that the 2017 training subtracted.
MEAN_2017 = (123.68, 116.779, 103.939)
# Of CLIP's own training photos (Radford et al. 2021), which it gives on a scale of 0 to 1.
MEAN_CLIP = (255 * 0.48145466, 255 * 0.4578275, 255 * 0.40821073)
STD_CLIP = (255 * 0.26862954, 255 * 0.26130258, 255 * 0.27577711)

# A strip of a few pixels would grow to gigabytes: beyond so many squares it is not resized whole.
_WHOLE = 4


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
        ``"clip"``: the short side is resized to `size` with Pillow's bicubic filter and the centre
        square is kept, to the pixel as CLIP's own processor does it.
    size
        Side of the network's square input, pixels.
    short_side
        Side that the photo's short side is resized to before the centre crop, pixels.
    mean, std
        Red, green and blue, on the 0–255 scale.
    """

    recipe: Literal["pillow", "2017", "clip"]
    size: int
    short_side: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


def recipe_2017(size: int = 224) -> Preprocessing:
    """Return the preprocessing that the 2017 weights expect."""
    return Preprocessing("2017", size, size, MEAN_2017, (1.0, 1.0, 1.0))


def recipe_clip(size: int = 224) -> Preprocessing:
    """Return the preprocessing that CLIP's image tower expects."""
    return Preprocessing("clip", size, size, MEAN_CLIP, STD_CLIP)


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
    with decoding():
        if how.recipe == "2017":
            square = _square_2017(image, how.size)
        elif how.recipe == "clip":
            square = _square_clip(image, how.size)
        else:
            square = _square_pillow(image, how)
    pixels = (square - np.asarray(how.mean, np.float32)) / np.asarray(how.std, np.float32)
    return np.ascontiguousarray(pixels.transpose(2, 0, 1), dtype=np.float32)


def _square_pillow(image: Image.Image, how: Preprocessing) -> NDArray[np.float32]:
    # JPEG decodes at 1/2, 1/4 or 1/8 for next to nothing; twice the final size keeps the filter's
    # input sharp enough that the result hardly depends on it.
    enough = 2 * how.short_side
    stored = orientation(image)
    load(image, enough)
    factor = max(1, min(image.size) // enough)
    square = averaged(image, _centre(image, factor), factor)
    side = square.width * how.size / how.short_side
    margin = (square.width - side) / 2
    resized = square.resize(
        (how.size, how.size),
        Image.Resampling.BILINEAR,
        box=(margin, margin, margin + side, margin + side),
    )
    # A centre square turns in place, so turning the small result equals turning the large photo.
    return np.asarray(upright(resized, stored), np.float32)


def _square_2017(image: Image.Image, size: int) -> NDArray[np.float32]:
    """Return what ``skimage.transform.resize(order=1, mode="constant", anti_aliasing=False)`` does.

    It looks at two pixels in each direction for each that it makes, so only these are converted;
    scikit-image would turn the whole photo into float64 first, 24 bytes a pixel. A test compares
    the two. The package itself takes nothing from scikit-image but the photos that it ships.
    """
    stored = orientation(image)
    load(image)
    left, top, right, _ = _centre(image)
    side = right - left
    places = (np.arange(size) + 0.5) * side / size - 0.5
    before = np.floor(places).astype(np.int64)
    near = np.stack([before, before + 1])
    weights = np.stack([1 - (places - before), places - before])
    weights[(near < 0) | (near >= side)] = 0  # all around the photo is black
    near = np.clip(near, 0, side - 1)
    rows, row_of = np.unique(near, return_inverse=True)
    strip = np.stack(
        [
            np.asarray(opaque(image.crop((left, top + row, right, top + row + 1))))[0]
            for row in rows.tolist()
        ]
    )
    of_rows = row_of.reshape(near.shape)
    across = sum(weights[i][:, None] * strip[:, near[i]] for i in (0, 1))
    sampled = sum(weights[i][:, None, None] * across[of_rows[i]] for i in (0, 1))
    bands = np.asarray(sampled * (256 / 255), np.float32).transpose(2, 0, 1)
    return np.stack([np.asarray(upright(Image.fromarray(band), stored)) for band in bands], axis=-1)


def _square_clip(image: Image.Image, size: int) -> NDArray[np.float32]:
    """Return what resizing the upright photo whole and cropping it would.

    The processor rounds the long side down to whole pixels, so the photo is squeezed a little, and
    so are the margins. Of a photo that is far longer than wide only what is kept is resized, and
    Pillow's rounding of where that lies may move a pixel by a few of 255.
    """
    stored = orientation(image)
    load(image, 2 * size)
    width, height = image.size if stored < 5 else (image.height, image.width)
    if width > height:
        wide, high = int(size * width / height), size
    else:
        wide, high = size, int(size * height / width)
    left, top = (wide - size) // 2, (high - size) // 2
    kept = (left / wide, top / high, (left + size) / wide, (top + size) / high)
    # Where it lies in the pixels as stored.
    kept = upright_box(kept, {6: 8, 8: 6}.get(stored, stored))
    if max(wide, high) <= _WHOLE * size:
        if stored >= 5:
            wide, high = high, wide
        plain = image.mode == "RGB" and not image.has_transparency_data
        whole = image if plain else averaged(image, (0, 0, *image.size), 1)
        resized = whole.resize((wide, high), Image.Resampling.BICUBIC)
        left, top = round(kept[0] * wide), round(kept[1] * high)
        square = resized.crop((left, top, left + size, top + size))
    else:
        x_from, x_to, from_left, to_right = _with_surroundings(kept[0], kept[2], image.width, size)
        y_from, y_to, from_top, to_bottom = _with_surroundings(kept[1], kept[3], image.height, size)
        square = averaged(image, (x_from, y_from, x_to, y_to), 1).resize(
            (size, size), Image.Resampling.BICUBIC, box=(from_left, from_top, to_right, to_bottom)
        )
    return np.asarray(upright(square, stored), np.float32)


def _with_surroundings(
    start: float, end: float, pixels: int, size: int
) -> tuple[int, int, float, float]:
    """Return which pixels the bicubic filter looks at, and where the kept part lies among them.

    The part is given as shares of a side of `pixels` pixels, and resized to `size`.
    """
    start, end = start * pixels, end * pixels
    # Two pixels to each side, of the smaller image's where it shrinks; and one for rounding.
    reach = 2 * max(1.0, (end - start) / size) + 1
    first, last = max(0, int(start - reach)), min(pixels, int(end + reach) + 1)
    return first, last, max(0.0, start - first), min(end - first, float(last - first))


def _centre(image: Image.Image, factor: int = 1) -> tuple[int, int, int, int]:
    """Return the box of the centre square; its side is a multiple of `factor`."""
    side = min(image.size) // factor * factor
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return left, top, left + side, top + side
