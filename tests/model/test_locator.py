"""The locator on a tiny real network: every form of photo, batches, calibration."""

from __future__ import annotations

import io
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from locationnet.errors import ImageError
from locationnet.model.locator import Locator, load_model

Maker = Callable[..., bytes]


def test_colours_lead_to_their_places(tiny_locator: Locator, make_photo: Maker) -> None:
    for colour, place in [
        ((250, 250, 250), "Oslo, NO"),
        ((5, 5, 5), "Nairobi, Nairobi County, KE"),
        ((250, 5, 5), "San Francisco, California, US"),
    ]:
        assert tiny_locator.locate(make_photo(colour)).mode.name == place


def test_path_bytes_image_and_array_give_the_same_answer(
    tiny_locator: Locator, make_photo: Maker, tmp_path: Path
) -> None:
    data = make_photo((200, 90, 40), form="PNG")
    path = tmp_path / "photo.png"
    path.write_bytes(data)
    image = Image.open(io.BytesIO(data))
    answers = [
        tiny_locator.locate(photo).probabilities
        for photo in (path, str(path), data, image, np.asarray(image))
    ]
    for answer in answers[1:]:
        assert np.array_equal(answer, answers[0])


def test_the_callers_image_is_left_as_it_was(tiny_locator: Locator, make_photo: Maker) -> None:
    image = Image.open(io.BytesIO(make_photo(size=(1000, 800))))
    tiny_locator.locate(image)
    assert image.size == (1000, 800)


def test_a_batch_equals_one_by_one(tiny_locator: Locator, make_photo: Maker) -> None:
    photos = [make_photo((index * 12, 90, 255 - index * 12)) for index in range(20)]
    batched = tiny_locator.locate_many(photos, batch_size=8, top_k=2)
    assert len(batched) == 20
    for photo, answer in zip(photos, batched, strict=True):
        single = tiny_locator.locate(photo, top_k=2)
        assert np.allclose(single.probabilities, answer.probabilities, atol=1e-6)
        assert len(answer.places) == 2


def test_threads_share_a_locator(tiny_locator: Locator, make_photo: Maker) -> None:
    photos = [make_photo((index, 255 - index, 90)) for index in range(0, 250, 10)]
    expected = [tiny_locator.locate(photo).probabilities for photo in photos]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda photo: tiny_locator.locate(photo).probabilities, photos))
    for answer, single in zip(answers, expected, strict=True):
        assert np.array_equal(answer, single)


def test_temperature_divides_the_logits(
    tiny_locator: Locator, make_bundle: Callable[..., Path], make_photo: Maker
) -> None:
    photo = make_photo((140, 120, 120), form="PNG")
    warm = load_model(make_bundle(temperature=2.0)).locate(photo).probabilities
    assert np.allclose(warm**2 / (warm**2).sum(), tiny_locator.locate(photo).probabilities)


def test_the_prior_is_the_answer_without_a_photo(tiny_locator: Locator) -> None:
    prior = tiny_locator.prior(2)
    assert prior.mode.name == "Oslo, NO"
    assert prior.mode.probability == pytest.approx(0.4, abs=1e-6)
    assert prior.information_bits == 0
    assert len(prior.places) == 2


def test_the_abstention_threshold_can_be_overridden(tiny_bundle: Path, make_photo: Maker) -> None:
    photo = make_photo((250, 5, 5))
    assert not load_model(tiny_bundle).locate(photo).abstained
    assert load_model(tiny_bundle, abstain_below_bits=50.0).locate(photo).abstained


@pytest.mark.parametrize(
    "array", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((4, 4, 4), np.uint8)]
)
def test_an_array_of_another_kind_is_refused(tiny_locator: Locator, array: object) -> None:
    with pytest.raises(ImageError, match="uint8 array"):
        tiny_locator.locate(array)  # type: ignore[arg-type]  # the point of the test


def test_top_k_is_at_least_one(tiny_locator: Locator, make_photo: Maker) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        tiny_locator.locate(make_photo(), top_k=0)


def test_counts_are_whole_and_positive(tiny_locator: Locator, make_photo: Maker) -> None:
    with pytest.raises(ValueError, match="top_k is at least 1"):
        tiny_locator.prior(0)
    with pytest.raises(ValueError, match="batch_size is at least 1"):
        tiny_locator.locate_many([make_photo()], batch_size=0)
    with pytest.raises(TypeError):
        tiny_locator.locate(make_photo(), top_k=2.5)  # type: ignore[arg-type]  # the point


def test_more_places_than_cells_are_all_of_them(tiny_locator: Locator, make_photo: Maker) -> None:
    assert len(tiny_locator.locate(make_photo(), top_k=100).places) == 4
