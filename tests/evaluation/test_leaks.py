"""What was trained on is found again among the test photos."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from locationnet.errors import InputError
from locationnet.evaluation.benchmarks import from_table
from locationnet.evaluation.leaks import NEAR_BITS, leaks, near_duplicates
from locationnet.geo import s2
from locationnet.geo.grid import Grid
from locationnet.pack.build import pack_photos


def test_hashes_are_near_up_to_a_number_of_bits() -> None:
    base = np.uint64(0x0123456789ABCDEF)
    flips = [np.uint64((1 << bits) - 1) for bits in (0, 1, NEAR_BITS, NEAR_BITS + 1, 64)]
    hashes = np.array([base ^ flip for flip in flips], np.uint64)
    assert near_duplicates(hashes, np.array([base])).tolist() == [True, True, True, False, False]
    assert near_duplicates(hashes, np.array([], np.uint64)).tolist() == [False] * 5


def _photo(path: Path, seed: int, quality: int = 90, size: int = 300) -> None:
    coarse = np.random.default_rng(seed).integers(0, 255, (6, 8, 3), np.uint8)
    image = Image.fromarray(coarse).resize((size * 4 // 3, size), Image.Resampling.BICUBIC)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    path.write_bytes(buffer.getvalue())


def _table(folder: Path, name: str, rows: list[tuple[int, str]]) -> Path:
    for seed, _ in rows:
        if not (folder / f"{name}-{seed}.jpg").exists():
            _photo(folder / f"{name}-{seed}.jpg", seed)
    table = folder / f"{name}.csv"
    lines = [f"{name}-{seed}.jpg,1,2,{who}" for seed, who in rows]
    table.write_text("path,lat,lng,uploader\n" + "\n".join(lines) + "\n")
    return table


def test_uploaders_and_copies_are_reported(tmp_path: Path) -> None:
    ids = s2.parent_ids(s2.leaf_ids(np.array([1.0]), np.array([2.0])), 3)
    train = _table(tmp_path, "train", [(1, "ann"), (2, "ben"), (3, "eve")])
    pack_photos(train, tmp_path, Grid(ids, *s2.centers(ids)), tmp_path / "pack")
    # The second photo again, smaller and compressed harder, under another name.
    _photo(tmp_path / "test-2.jpg", 2, quality=40, size=260)
    test = _table(tmp_path, "test", [(2, "dan"), (7, "ann"), (8, "fay")])
    (tmp_path / "test-8.jpg").write_bytes(b"broken")
    found = leaks(from_table(test), tmp_path / "pack")
    assert len(found) == 2
    assert found[0].startswith("1 of 3 photos are by uploaders of")
    assert found[1].startswith("1 of 3 photos are nearly the same")
    clean = _table(tmp_path, "clean", [(11, "gus"), (12, "hal")])
    assert leaks(from_table(clean), tmp_path / "pack") == ()


def test_a_folder_that_is_no_pack_is_named(tmp_path: Path) -> None:
    test = _table(tmp_path, "test", [(1, "ann")])
    with pytest.raises(InputError, match="not a finished pack"):
        leaks(from_table(test), tmp_path)
