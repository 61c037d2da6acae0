"""Both recipes against values computed by hand, the limits, and what is read of the metadata."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps

from locationnet.images import open_image
from locationnet.preprocess import MEAN_2017, Preprocessing, recipe_2017, recipe_clip, tensor

PLAIN = Preprocessing("pillow", 4, 4, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
Maker = Callable[..., bytes]


def _gradient(width: int, height: int) -> Image.Image:
    """Red counts columns, green counts rows, blue is constant."""
    rows, columns = np.mgrid[0:height, 0:width]
    pixels = np.stack([columns * 10, rows * 10, np.full_like(rows, 7)], axis=-1)
    return Image.fromarray(pixels.astype(np.uint8))


def test_the_centre_square_is_kept_pixel_for_pixel_where_nothing_is_resized() -> None:
    pixels = tensor(_gradient(8, 4), PLAIN)
    assert pixels.shape == (3, 4, 4)
    assert pixels.dtype == np.float32
    assert pixels[0].tolist() == [[20, 30, 40, 50]] * 4
    assert pixels[1].tolist() == [[value] * 4 for value in (0, 10, 20, 30)]


def test_the_pillow_recipe_averages_when_it_shrinks() -> None:
    image = Image.fromarray(np.tile(np.array([[0, 200]], np.uint8), (8, 4)))
    pixels = tensor(image, PLAIN)
    assert pixels.shape == (3, 4, 4)
    # Columns alternate 0 and 200; a triangle filter two source pixels wide on each side weighs
    # 1/8 3/8 3/8 1/8 away from the border: 100 everywhere.
    assert np.abs(pixels[:, 1:-1, 1:-1] - 100).max() <= 1


def test_mean_and_standard_deviation_are_applied_for_each_channel() -> None:
    how = Preprocessing("pillow", 4, 4, (1.0, 2.0, 3.0), (2.0, 4.0, 8.0))
    pixels = tensor(Image.new("RGB", (4, 4), (11, 22, 43)), how)
    assert pixels[:, 0, 0].tolist() == [5.0, 5.0, 5.0]


def test_a_larger_short_side_crops_more() -> None:
    how = Preprocessing("pillow", 4, 8, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    pixels = tensor(_gradient(8, 8), how)
    assert pixels[0, 0].tolist() == [20, 30, 40, 50]
    assert pixels[1, :, 0].tolist() == [20, 30, 40, 50]


def test_the_2017_recipe_samples_without_smoothing() -> None:
    # 8 -> 4 samples at source coordinates 0.5, 2.5, 4.5, 6.5: the mean of two neighbours.
    pixels = tensor(_gradient(8, 8), recipe_2017(4))
    red = np.array([5, 25, 45, 65]) / 255 * 256 - MEAN_2017[0]
    blue = 7 / 255 * 256 - MEAN_2017[2]
    assert np.allclose(pixels[0], red[None, :], atol=1e-4)
    assert np.allclose(pixels[1], (red + MEAN_2017[0] - MEAN_2017[1])[:, None], atol=1e-4)
    assert np.allclose(pixels[2], blue, atol=1e-4)


@pytest.mark.parametrize("size", [(640, 480), (333, 500), (100, 90), (1200, 1201)])
def test_the_2017_recipe_is_what_scikit_image_computes(size: tuple[int, int]) -> None:
    from skimage.transform import resize

    noise = np.random.default_rng(1).integers(0, 256, (*size[::-1], 3), np.uint8)
    side = min(size)
    left, top = (size[0] - side) // 2, (size[1] - side) // 2
    square = noise[top : top + side, left : left + side]
    reference = resize(square, (224, 224), order=1, mode="constant", anti_aliasing=False) * 256
    pixels = tensor(Image.fromarray(noise), recipe_2017())
    assert np.abs(pixels - (reference - MEAN_2017).transpose(2, 0, 1)).max() < 1e-4


def test_a_large_photo_shrinks_in_blocks_first(make_photo: Maker) -> None:
    how = Preprocessing("pillow", 64, 64, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    large = _gradient(25, 25).resize((1501, 1003))
    for mode in ("RGB", "RGBA"):
        pixels = tensor(open_image(make_photo(image=large.convert(mode), form="PNG")), how)
        square = large.crop((249, 0, 1252, 1003)).resize((64, 64), Image.Resampling.BILINEAR)
        assert np.abs(pixels - np.asarray(square).transpose(2, 0, 1)).max() <= 2


def test_the_2017_recipe_aliases_where_the_pillow_recipe_does_not() -> None:
    stripes = Image.fromarray(np.tile(np.array([[0, 255, 255, 0]], np.uint8), (32, 8)))
    old = tensor(stripes, recipe_2017(8))
    new = tensor(stripes, Preprocessing("pillow", 8, 8, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)))
    assert old[0].max() > 128 - MEAN_2017[0] + 100
    assert np.abs(new[:, 2:-2, 2:-2] - 127.5).max() < 1.5


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("how", [PLAIN, recipe_2017(4)], ids=["pillow", "2017"])
def test_a_turned_photo_is_put_upright(
    orientation: int, how: Preprocessing, make_photo: Maker
) -> None:
    turns: dict[int, Callable[[NDArray[np.uint8]], NDArray[np.uint8]]] = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a, 1),
        7: lambda a: a.transpose(1, 0, 2)[::-1, ::-1],
        8: lambda a: np.rot90(a, 3),
    }
    upright = np.asarray(_gradient(4, 4))
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(np.ascontiguousarray(turns[orientation](upright)))
    data = make_photo(image=stored, form="PNG", exif=exif)
    expected = tensor(_gradient(4, 4), how)
    assert np.array_equal(tensor(open_image(data), how), expected)


def test_an_embedded_position_changes_nothing(make_photo: Maker) -> None:
    exif = Image.Exif()
    exif[0x8825] = {1: "N", 2: (48.0, 51.0, 30.0), 3: "E", 4: (2.0, 17.0, 40.0)}
    with_position = make_photo(image=_gradient(8, 8), form="PNG", exif=exif)
    without = make_photo(image=_gradient(8, 8), form="PNG")
    assert with_position != without
    assert np.array_equal(
        tensor(open_image(with_position), PLAIN), tensor(open_image(without), PLAIN)
    )


@pytest.mark.filterwarnings("ignore:.*EXIF")  # Pillow says so in passing
def test_a_broken_exif_block_is_ignored(make_photo: Maker) -> None:
    data = make_photo(image=_gradient(8, 8), form="JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\x7fjunk")
    assert tensor(open_image(data), PLAIN).shape == (3, 4, 4)


def test_a_large_jpeg_is_decoded_at_a_reduced_scale(make_photo: Maker) -> None:
    image = open_image(make_photo(image=_gradient(250, 250).resize((2000, 2000))))
    tensor(image, Preprocessing("pillow", 224, 256, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)))
    assert image.size == (1000, 1000)  # 1/4 would be 500, less than twice the short side


def test_transparency_is_laid_on_white(make_photo: Maker) -> None:
    clear = Image.new("RGBA", (8, 8), (10, 20, 30, 0))
    pixels = tensor(open_image(make_photo(image=clear, form="PNG")), PLAIN)
    assert (pixels == 255).all()


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16", "CMYK"])
def test_every_colour_mode_becomes_three_channels(mode: str, make_photo: Maker) -> None:
    if mode == "I;16":
        image = Image.fromarray(np.full((8, 8), 128 * 257, np.uint16))
    else:
        image = Image.new("RGB", (8, 8), (128, 128, 128)).convert(mode)
    data = make_photo(image=image, form="JPEG" if mode == "CMYK" else "PNG")
    pixels = tensor(open_image(data), PLAIN)
    assert pixels.shape == (3, 4, 4)
    assert np.abs(pixels - 128).max() <= 3  # black and white are dithered, then averaged


def test_a_palette_with_a_transparent_colour_is_laid_on_white(make_photo: Maker) -> None:
    image = Image.new("P", (8, 8), 0)
    image.putpalette([10, 20, 30] * 256)
    data = make_photo(image=image, form="PNG", transparency=0)
    assert (tensor(open_image(data), PLAIN) == 255).all()


def test_only_the_first_frame_of_an_animation_is_read(make_photo: Maker) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("white", "black")]
    data = make_photo(
        image=frames[0], form="WEBP", save_all=True, append_images=frames[1:], lossless=True
    )
    assert (tensor(open_image(data), PLAIN) == 255).all()


def _by_clips_processor(upright: Image.Image, size: int) -> NDArray[np.float64]:
    """Resize the whole photo, then cut the middle out of it, as CLIP's own processor does."""
    width, height = upright.size
    short, long = min(width, height), max(width, height)
    longer = int(size * long / short)
    whole = upright.resize(
        (size, longer) if width < height else (longer, size), Image.Resampling.BICUBIC
    )
    left, top = (whole.width - size) // 2, (whole.height - size) // 2
    pixels = np.asarray(whole.crop((left, top, left + size, top + size)), np.float64) / 255
    mean = np.array([0.48145466, 0.4578275, 0.40821073])
    std = np.array([0.26862954, 0.26130258, 0.27577711])
    return np.asarray(((pixels - mean) / std).transpose(2, 0, 1))


@pytest.mark.parametrize(
    "size",
    [
        (640, 480),
        (333, 500),
        (100, 90),
        (1201, 1200),
        (224, 224),
        (225, 224),
        (3000, 200),
        (7, 900),
    ],
)
def test_the_clip_recipe_is_what_clips_processor_computes(
    size: tuple[int, int], make_photo: Maker
) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (*size[::-1], 3), np.uint8)
    image = Image.fromarray(noise)
    expected = _by_clips_processor(image, 224)
    found = tensor(open_image(make_photo(image=image, form="PNG")), recipe_clip())
    assert found.shape == (3, 224, 224)
    assert np.abs(found - expected).max() <= 2e-5


def test_a_strip_of_a_few_pixels_takes_no_gigabytes(make_photo: Maker) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (3, 60_000, 3), np.uint8)
    pixels = tensor(open_image(make_photo(image=Image.fromarray(noise), form="PNG")), recipe_clip())
    assert pixels.shape == (3, 224, 224)
    middle = Image.fromarray(noise[:, 29_900:30_100])
    assert np.abs(pixels - _by_clips_processor(middle, 224)).max() <= 0.1


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_clip_recipe_crops_the_upright_photo(orientation: int, make_photo: Maker) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    # A long side of an odd number of pixels too many: left and top are not right and bottom.
    noise = np.random.default_rng(2).integers(0, 256, (224, 401, 3), np.uint8)
    stored = open_image(make_photo(image=Image.fromarray(noise), form="PNG", exif=exif))
    upright = ImageOps.exif_transpose(
        Image.open(io.BytesIO(make_photo(image=Image.fromarray(noise), form="PNG", exif=exif)))
    )
    difference = tensor(stored, recipe_clip()) - _by_clips_processor(upright, 224)
    assert np.abs(difference).max() <= 2e-5


def test_the_clip_recipe_lays_transparency_on_white(make_photo: Maker) -> None:
    clear = Image.new("RGBA", (300, 260), (10, 20, 30, 0))
    pixels = tensor(open_image(make_photo(image=clear, form="PNG")), recipe_clip())
    assert np.allclose(pixels, _by_clips_processor(Image.new("RGB", (300, 260), "white"), 224))


def test_the_clip_recipe_decodes_a_large_jpeg_at_a_reduced_scale(make_photo: Maker) -> None:
    image = open_image(make_photo(image=_gradient(250, 250).resize((2000, 2000))))
    tensor(image, recipe_clip())
    assert image.size == (500, 500)
