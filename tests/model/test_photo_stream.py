"""Many photos at once: in order, lazily, on several threads, past those that cannot be read."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from threadpoolctl import threadpool_info, threadpool_limits

from locationnet.errors import ImageError, LocationNetError, RemoteStatusError
from locationnet.images import Photo
from locationnet.model.locator import Locator
from locationnet.model.photo_stream import answer_photos
from locationnet.model.prediction import Prediction


@pytest.fixture
def folder(tmp_path: Path, make_photo: Callable[..., bytes]) -> Path:
    for number in range(20):
        colour = (250, 250, 250) if number % 2 else (5, 5, 5)
        (tmp_path / f"{number:02}.jpg").write_bytes(make_photo(colour))
    return tmp_path


@pytest.mark.parametrize("threads", [None, 1, 3])
@pytest.mark.parametrize("batch_size", [1, 3, 8, 50])
def test_answers_come_in_the_order_of_the_photos(
    tiny_locator: Locator, folder: Path, threads: int | None, batch_size: int
) -> None:
    paths = sorted(folder.iterdir())
    found = list(tiny_locator.stream(paths, threads=threads, batch_size=batch_size, top_k=1))
    assert [path for path, _ in found] == paths
    for path, answer in found:
        assert isinstance(answer, Prediction)
        alone = tiny_locator.locate(path, top_k=1)
        assert answer.mode.name == alone.mode.name
        assert answer.probabilities == pytest.approx(alone.probabilities, abs=1e-6)


def test_locate_many_is_the_same(tiny_locator: Locator, folder: Path) -> None:
    paths = sorted(folder.iterdir())
    names = [one.mode.name for one in tiny_locator.locate_many(paths)]
    assert names == [tiny_locator.locate(path).mode.name for path in paths]
    assert tiny_locator.locate_many([]) == []


class _Fetched:
    """A photo with a name of its own, fetched when its turn comes."""

    name = "https://photos.example/1.jpg"

    def __init__(self, data: bytes) -> None:
        self.data = data

    def read(self) -> bytes:
        if not self.data:
            raise LocationNetError("the server is gone")
        return self.data


def test_photos_may_be_given_in_every_form(
    tiny_locator: Locator, folder: Path, make_photo: Callable[..., bytes]
) -> None:
    bright = make_photo((250, 250, 250))
    photos: list[Photo] = [
        folder / "01.jpg", str(folder / "01.jpg"), bright, np.full((40, 40, 3), 250, np.uint8),
        _Fetched(bright),
    ]  # fmt: skip
    found = list(tiny_locator.stream(photos))
    assert all(source is photo for (source, _), photo in zip(found, photos, strict=True))
    assert {answer.mode.name for _, answer in found if isinstance(answer, Prediction)} == {
        "Oslo, NO"
    }


def test_errors_are_returned_in_the_photos_place_and_name_it(
    tiny_locator: Locator, folder: Path
) -> None:
    (folder / "03.jpg").write_bytes(b"no photo")
    photos: list[Photo] = [
        *sorted(folder.iterdir())[:5], folder / "gone.jpg", b"none", _Fetched(b""),
    ]  # fmt: skip
    found = dict(enumerate(answer for _, answer in tiny_locator.stream(photos, on_error="return")))
    assert [isinstance(found[number], Prediction) for number in range(8)] == [
        True, True, True, False, True, False, False, False,
    ]  # fmt: skip
    assert str(found[3]).startswith(f"{folder / '03.jpg'}: not a JPEG")
    assert isinstance(found[3], ImageError)
    assert str(found[5]) == f"{folder / 'gone.jpg'}: No such file or directory"
    assert isinstance(found[5], FileNotFoundError)
    assert str(found[6]).startswith("photo 7: ")
    assert str(found[7]) == "https://photos.example/1.jpg: the server is gone"


def test_an_error_keeps_what_it_knows_beside_its_message() -> None:
    def prepare(_: bytes) -> NDArray[np.float32]:
        raise RemoteStatusError(503, "7")

    ((_, error),) = answer_photos([b"1"], prepare, _numbers, on_error="return")
    assert isinstance(error, RemoteStatusError)
    assert (error.status, error.retry_after) == (503, "7")
    assert str(error) == "photo 1: the remote server answered 503, not 200; try again later"


def test_an_error_is_raised_after_the_answers_before_it(
    tiny_locator: Locator, folder: Path
) -> None:
    (folder / "03.jpg").write_bytes(b"no photo")
    answers = tiny_locator.stream(sorted(folder.iterdir()))
    assert [next(answers)[0].name for _ in range(3)] == ["00.jpg", "01.jpg", "02.jpg"]
    with pytest.raises(ImageError, match=r"03\.jpg: not a JPEG"):
        next(answers)
    with pytest.raises(ImageError, match=r"03\.jpg"):
        tiny_locator.locate_many(sorted(folder.iterdir()))


def _number(photo: bytes) -> NDArray[np.float32]:
    return np.full((1, 1, 1), float(photo), np.float32)


def _numbers(images: NDArray[np.float32]) -> list[float]:
    return [float(image.sum()) for image in images]


def test_only_a_few_batches_are_read_ahead() -> None:
    read = 0

    def photos() -> Iterator[bytes]:
        nonlocal read
        for number in range(1000):
            read += 1
            yield str(number).encode()

    answers = answer_photos(photos(), _number, _numbers, threads=2, batch_size=4)
    assert next(answers) == (b"0", 0.0)
    # Three batches of four at the network's door, and a photo for each thread.
    assert read <= 14
    answers.close()  # type: ignore[attr-defined]  # a generator
    assert read <= 14


def test_several_threads_decode_at_a_time() -> None:
    together = threading.Barrier(3, timeout=60)

    def prepare(photo: bytes) -> NDArray[np.float32]:
        together.wait()  # nobody passes alone
        return _number(photo)

    photos = [str(number).encode() for number in range(9)]
    found = answer_photos(photos, prepare, _numbers, threads=3, batch_size=9)
    assert [answer for _, answer in found] == [float(number) for number in range(9)]


def test_decoding_goes_on_while_the_network_computes() -> None:
    computing, decoded = threading.Event(), threading.Event()

    def prepare(photo: bytes) -> NDArray[np.float32]:
        if photo == b"3":
            assert computing.wait(60)
            decoded.set()
        return _number(photo)

    def compute(images: NDArray[np.float32]) -> list[float]:
        computing.set()
        assert decoded.wait(60)
        return _numbers(images)

    photos = [str(number).encode() for number in range(6)]
    found = list(answer_photos(photos, prepare, compute, threads=2, batch_size=2))
    assert len(found) == 6


@pytest.mark.parametrize("threads", [1, 2])
def test_numpys_own_threads_make_way_for_ours(threads: int) -> None:
    def blas() -> list[int]:
        # Not OpenMP's, as in MXNet's, which each thread counts by itself.
        return [
            pool["num_threads"]
            for pool in threadpool_info()
            if pool["user_api"] == "blas" and pool["threading_layer"] == "pthreads"
        ]

    during: list[int] = []

    def compute(images: NDArray[np.float32]) -> list[float]:
        during.extend(blas())
        return _numbers(images)

    with threadpool_limits(3, "blas"):
        before = blas()
        assert list(answer_photos([b"1"], _number, compute, threads=threads)) == [(b"1", 1.0)]
        assert blas() == before
    assert during == (before if threads == 1 else [1] * len(before))


def test_an_unforeseen_error_is_not_swallowed() -> None:
    def compute(_: NDArray[np.float32]) -> list[float]:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(answer_photos([b"1"], _number, compute))
    before = threading.active_count()
    time.sleep(0.05)
    assert threading.active_count() <= before


@pytest.mark.parametrize("wrong", [{"batch_size": 0}, {"threads": 0}, {"top_k": 0}])
def test_counts_are_at_least_1(tiny_locator: Locator, folder: Path, wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        list(tiny_locator.stream([folder / "00.jpg"], **wrong))  # type: ignore[arg-type]


def test_an_error_that_is_kept_keeps_no_pixels(
    tiny_locator: Locator, make_photo: Callable[..., bytes]
) -> None:
    photo = make_photo(size=(640, 480), form="PNG")
    cut = photo[: len(photo) // 2]
    ((_, error),) = tiny_locator.stream([cut], on_error="return")
    gc.collect()
    assert isinstance(error, ImageError)
    link: BaseException | None = error
    while link is not None:
        assert link.__traceback__ is None
        link = link.__cause__
    assert not [one for one in gc.get_objects() if isinstance(one, Image.Image)
                and one.size == (640, 480)]  # fmt: skip
