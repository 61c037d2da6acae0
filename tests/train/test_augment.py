import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from PIL import Image

from locationnet.train.augment import DRAWS, augmented, crop_box, uniforms
from locationnet.train.config import Augmentation

MIDDLE = np.full(DRAWS, 0.5)


def test_numbers_depend_on_seed_epoch_and_record_alone() -> None:
    records = np.array([5, 9, 5])
    first = uniforms(1, 2, records)
    assert_array_equal(first[0], first[2])
    assert_array_equal(first[1:2], uniforms(1, 2, np.array([9])))
    for other in (uniforms(2, 2, records), uniforms(1, 3, records)):
        assert not np.any(first == other)


def test_numbers_are_uniform() -> None:
    numbers = uniforms(0, 0, np.arange(20_000))
    assert numbers.min() >= 0
    assert numbers.max() < 1
    for column in numbers.T:
        assert np.abs(np.histogram(column, 10, (0, 1))[0] / 2000 - 1).max() < 0.1
    assert np.abs(np.corrcoef(numbers.T) - np.eye(DRAWS)).max() < 0.03


@given(
    st.integers(1, 600),
    st.integers(1, 600),
    st.lists(st.floats(0, 1, exclude_max=True), min_size=DRAWS, max_size=DRAWS),
)
def test_a_crop_lies_inside_the_photo(width: int, height: int, draws: list[float]) -> None:
    left, upper, right, lower = crop_box(width, height, Augmentation(), np.array(draws))
    assert 0 <= left < right <= width + 1e-9
    assert 0 <= upper < lower <= height + 1e-9


def test_the_whole_photo_can_be_kept() -> None:
    how = Augmentation(min_area=1, max_aspect=1)
    assert crop_box(80, 80, how, MIDDLE) == pytest.approx((0, 0, 80, 80))


def test_a_flip_mirrors_and_nothing_else() -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 255, (8, 8, 3), np.uint8))
    how = Augmentation(min_area=1, max_aspect=1, colour=0)
    draws = MIDDLE.copy()
    plain = np.asarray(augmented(image, 8, how, draws))
    draws[4] = 0.1
    assert_array_equal(np.asarray(augmented(image, 8, how, draws)), plain[:, ::-1])
    assert_array_equal(plain, np.asarray(image))


def test_colours_at_the_middle_stay_and_grey_keeps_grey() -> None:
    image = Image.new("RGB", (4, 4), (200, 30, 90))
    how = Augmentation(min_area=1, flip=False, colour=0.5)
    assert augmented(image, 4, how, MIDDLE).getpixel((0, 0)) == (200, 30, 90)
    grey = Image.new("L", (4, 4), 100)
    draws = np.array([0.5] * 5 + [0.9, 0.2, 0.9])
    red, green, blue = augmented(grey, 4, how, draws).getpixel((0, 0))  # type: ignore[misc]
    assert abs(red - green) <= 1
    assert abs(green - blue) <= 1


def test_a_large_photo_decoded_at_a_reduced_scale_looks_the_same() -> None:
    across, down = np.meshgrid(np.linspace(0, 255, 800), np.linspace(0, 255, 600))
    picture = np.stack([across, down, 255 - across], axis=-1).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=95)
    how = Augmentation(colour=0)
    draws = np.array([0.4, 0.7, 0.3, 0.6, 0.9, 0.5, 0.5, 0.5])
    reduced = augmented(Image.open(buffer), 32, how, draws)
    full = augmented(Image.open(buffer).convert("RGB"), 32, how, draws)
    difference = np.asarray(reduced, float) - np.asarray(full, float)
    assert np.abs(difference).max() < 6
