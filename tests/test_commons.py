"""Hashes and keys, against the pair that is known from the real bucket."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locationnet.commons import image_key, image_keys, is_photo_hash, photo_hash

pa = pytest.importorskip("pyarrow", reason="needs the extra 'data'")

URL = "http://farm7.staticflickr.com/6167/6162540254_5d22abd711.jpg"
HASH = "4ccb23d8746b8d9d76ffd603fc7988"


def test_the_known_photo_has_the_known_hash_and_key() -> None:
    assert photo_hash(URL) == HASH
    assert image_key(HASH) == f"data/images/4cc/b23/{HASH}.jpg"


@given(st.text())
def test_a_hash_is_the_md5_without_leading_zeros(url: str) -> None:
    padded = hashlib.md5(url.encode("utf-8", "replace")).hexdigest()
    pairs = [padded[at : at + 2] for at in range(0, 32, 2)]
    found = photo_hash(url.encode("utf-8", "replace").decode())
    assert found == "".join(f"{int(pair, 16):x}" for pair in pairs)
    assert is_photo_hash(found)


@pytest.mark.parametrize(
    "text", ["", "4ccb23d8746b8d9", "4CCB23D8746B8D9D76FF", "x" * 20, "a" * 33]
)
def test_other_texts_are_no_hashes(text: str) -> None:
    assert not is_photo_hash(text)


def test_keys_of_a_column_are_those_of_each() -> None:
    hashes = [photo_hash(str(number)) for number in range(50)]
    found = image_keys(pa.array([*hashes, None])).to_pylist()
    assert found == [*map(image_key, hashes), None]
