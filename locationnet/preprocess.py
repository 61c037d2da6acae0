"""An opened photo to the network's input tensor, as a bundle's manifest says.

Knows recipes; formats and limits are in `locationnet.images`, and nothing is known of the network.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from locationnet.images import averaged, decoding, load, opaque, orientation, upright

# ImageNet channel means (red, green, blue) that the 2017 training subtracted.
MEAN_2017 = (123.68, 116.779, 103.939)


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


def _centre(image: Image.Image, factor: int = 1) -> tuple[int, int, int, int]:
    """Return the box of the centre square; its side is a multiple of `factor`."""
    side = min(image.size) // factor * factor
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return left, top, left + side, top + side
