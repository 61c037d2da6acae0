import shutil
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from locationnet.errors import LocationNetError
from locationnet.pack.format import Pack
from locationnet.preprocess import Preprocessing
from locationnet.train.config import Augmentation
from locationnet.train.data_iter import ALONE, PackIter, Part, Plan
from locationnet.train.soft_labels import SoftLabels

HOW = Preprocessing("pillow", 32, 37, (1.0, 2.0, 3.0), (4.0, 4.0, 4.0))


def make_iterator(
    pack: Pack, size: int = 16, part: Part = ALONE, *, plain: bool = False, threads: int = 2
) -> PackIter:
    return PackIter(
        pack,
        Plan(pack.records, size, part, None if plain else 3),
        SoftLabels(pack.grid),
        HOW,
        augmentation=None if plain else Augmentation(),
        threads=threads,
    )


def counting(batch: object) -> list[int]:
    index, pad = batch.index, batch.pad  # type: ignore[attr-defined]  # mxnet has no types
    return [int(record) for record in index[: len(index) - pad]]


def test_each_photo_comes_once_an_epoch(packs: tuple[Pack, Pack]) -> None:
    pack, _ = packs
    photos = make_iterator(pack)
    orders = []
    for _ in range(2):
        seen = [record for batch in photos for record in counting(batch)]
        assert sorted(seen) == list(range(pack.records))
        orders.append(seen)
        photos.reset()
    assert orders[0] != orders[1]
    photos.close()


def test_what_fills_up_the_last_batch_weighs_nothing(packs: tuple[Pack, Pack]) -> None:
    pack, _ = packs
    last = list(make_iterator(pack))[-1]
    assert last.pad == -pack.records % 16
    weights = last.label[1].asnumpy()[:, 0]
    assert_array_equal(weights, [1] * (16 - last.pad) + [0] * last.pad)


def test_workers_share_each_photo_out_and_form_the_same_batches(packs: tuple[Pack, Pack]) -> None:
    pack, _ = packs
    alone = list(make_iterator(pack, 12))
    shares = [list(make_iterator(pack, 4, Part(rank, 3))) for rank in range(3)]
    assert {len(share) for share in shares} == {len(alone)}
    seen = [record for share in shares for batch in share for record in counting(batch)]
    assert sorted(seen) == list(range(pack.records))
    for whole, *parts in zip(alone, *shares, strict=True):
        pixels = np.concatenate([part.data[0].asnumpy() for part in parts])
        assert_array_equal(pixels, whole.data[0].asnumpy())


def test_an_epoch_entered_in_the_middle_is_the_same(packs: tuple[Pack, Pack]) -> None:
    pack, _ = packs
    first, second = make_iterator(pack), make_iterator(pack, threads=1)
    first.start(5)
    expected = list(first)[4]
    second.next()
    second.start(5, 4)
    found = second.next()
    assert_array_equal(found.index, expected.index)
    assert_array_equal(found.data[0].asnumpy(), expected.data[0].asnumpy())
    assert_array_equal(found.label[0].asnumpy(), expected.label[0].asnumpy())


def test_labels_are_the_photos_own_cells(packs: tuple[Pack, Pack]) -> None:
    pack, _ = packs
    batch = make_iterator(pack).next()
    assert_array_equal(batch.label[0].asnumpy()[:, 0], pack.classes_of_records[batch.index])


def test_validation_photos_are_what_the_locator_would_see(packs: tuple[Pack, Pack]) -> None:
    from locationnet.images import open_image
    from locationnet.pack.recordio import read_offsets, read_record
    from locationnet.preprocess import tensor

    _, pack = packs
    batch = make_iterator(pack, plain=True).next()
    assert_array_equal(batch.index, np.arange(16))
    rec = pack.shards[0]
    expected = tensor(open_image(read_record(rec, int(read_offsets(rec)[7]))[1]), HOW)
    pixels = batch.data[0].asnumpy()[7].astype(np.float32).transpose(2, 0, 1)
    mean, std = (np.array(part, np.float32)[:, None, None] for part in (HOW.mean, HOW.std))
    assert_array_equal((pixels - mean) / std, expected)


def test_a_damaged_pack_is_named(packs: tuple[Pack, Pack], tmp_path: Path) -> None:
    pack, _ = packs
    copy = shutil.copytree(pack.path, tmp_path / "copy")
    shard = copy / "shard-00000.rec"
    shard.write_bytes(shard.read_bytes()[:2000])
    photos = make_iterator(Pack.open(copy))
    with pytest.raises(LocationNetError, match=r"copy: photo \d+ cannot be decoded"):
        list(photos)
    photos.close()


def test_fewer_photos_than_a_batch_are_one_batch(packs: tuple[Pack, Pack]) -> None:
    _, pack = packs
    (batch,) = make_iterator(pack, 100)
    assert batch.pad == 100 - pack.records
