"""Random crops, flips and colours that depend on the photo and the epoch alone.

Knows single photos and uniform numbers; nothing of packs, batches or threads. The numbers are a
hash of (seed, epoch, record), so that neither the batch size nor the number of workers changes
them, and a resumed run sees exactly what an uninterrupted one does.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from locationnet.train.config import Augmentation

# Uniform numbers that one photo takes.
DRAWS = 8
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
# Rec. 601 luma, which Pillow's own conversion to grey uses.
_LUMA = np.array([0.299, 0.587, 0.114])
_GREY = 127.5

Box = tuple[float, float, float, float]


def uniforms(seed: int, epoch: int, records: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the uniform numbers of photos, float64 ``(n, DRAWS)`` in [0, 1).

    Each is a hash of seed, epoch, record and column (splitmix64: Steele et al., "Fast splittable
    pseudorandom number generators", OOPSLA 2014).
    """
    with np.errstate(over="ignore"):
        state = _mixed(np.array([seed], np.uint64))
        state = _mixed(state + np.uint64(epoch))
        state = _mixed(state + records.astype(np.uint64))
        columns = np.arange(1, DRAWS + 1, dtype=np.uint64) * _GOLDEN
        bits = _mixed(state[:, None] + columns)
    return np.asarray((bits >> np.uint64(11)) * 2.0**-53)


def crop_box(width: int, height: int, how: Augmentation, draws: NDArray[np.float64]) -> Box:
    """Return the box of a random crop, pixels: left, upper, right, lower.

    The area's share is uniform and the aspect ratio log-uniform, as in Szegedy et al., "Going
    deeper with convolutions" (CVPR 2015); a crop that does not fit is made to fit, and then keeps
    less of the photo.
    """
    area = width * height * (how.min_area + (1 - how.min_area) * float(draws[0]))
    aspect = math.exp((2 * float(draws[1]) - 1) * math.log(how.max_aspect))
    crop_width = min(float(width), math.sqrt(area * aspect))
    crop_height = min(float(height), math.sqrt(area / aspect))
    left = (width - crop_width) * float(draws[2])
    upper = (height - crop_height) * float(draws[3])
    return left, upper, left + crop_width, upper + crop_height


def augmented(
    image: Image.Image, size: int, how: Augmentation, draws: NDArray[np.float64]
) -> Image.Image:
    """Return a random variant of a photo, RGB, `size` × `size`.

    Parameters
    ----------
    image
        As opened; a JPEG is decoded at a reduced scale where the crop has pixels to spare.
    size
        Side of the result, pixels.
    draws
        float64 ``(DRAWS,)`` from `uniforms`.
    """
    box = crop_box(*image.size, how, draws)
    spare = min(box[2] - box[0], box[3] - box[1]) / (2 * size)
    if spare >= 2:
        width, height = image.size
        image.draft("RGB", (math.ceil(width / spare), math.ceil(height / spare)))
        across, down = image.width / width, image.height / height
        box = (box[0] * across, box[1] * down, box[2] * across, box[3] * down)
        box = (box[0], box[1], min(box[2], image.width), min(box[3], image.height))
    if image.mode != "RGB":
        image = image.convert("RGB")
    varied = image.resize((size, size), Image.Resampling.BILINEAR, box=box)
    if how.flip and draws[4] < 0.5:
        varied = varied.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if how.colour > 0:
        varied = varied.convert("RGB", _colour_matrix(how.colour, draws[5:8]))
    return varied


def _colour_matrix(most: float, draws: NDArray[np.float64]) -> tuple[float, ...]:
    """Return brightness, contrast (around mid-grey) and saturation as one 3 × 4 matrix."""
    brightness, contrast, saturation = 1 + most * (2 * draws - 1)
    mix = saturation * np.eye(3) + (1 - saturation) * _LUMA
    matrix = np.empty((3, 4))
    matrix[:, :3] = brightness * contrast * mix
    matrix[:, 3] = _GREY * (1 - contrast)
    return tuple(matrix.ravel().tolist())


def _mixed(state: NDArray[np.uint64]) -> NDArray[np.uint64]:
    state = state + _GOLDEN
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))
