"""Records are what MXNet reads and writes, whatever bytes they hold."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from locationnet.errors import InputError
from locationnet.pack.recordio import ShardWriter, read_offsets, read_record

MAGIC = struct.pack("<I", 0xCED7230A)
# Bytes that hold the magic number often, at offsets that need escaping and at offsets that do not.
tricky = st.lists(st.sampled_from([MAGIC, b"\n", b"ab", b"\x0a\x23", MAGIC[:3]]), max_size=12).map(
    b"".join
)


def _write(folder: Path, records: list[tuple[int, bytes]]) -> Path:
    rec = folder / "a.rec"
    with ShardWriter(rec, folder / "a.idx") as writer:
        numbers = [writer.write(label, jpeg) for label, jpeg in records]
    assert numbers == list(range(len(records)))
    return rec


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 15526), tricky | st.binary(max_size=50)), max_size=8))
def test_records_come_back_in_any_order(
    tmp_path_factory: pytest.TempPathFactory, records: list[tuple[int, bytes]]
) -> None:
    rec = _write(tmp_path_factory.mktemp("records"), records)
    offsets = read_offsets(rec)
    assert len(offsets) == len(records)
    for number in reversed(range(len(records))):
        assert read_record(rec, int(offsets[number])) == records[number]


def test_mxnet_reads_our_records_and_we_read_mxnets(tmp_path: Path) -> None:
    compat = pytest.importorskip("locationnet.train.compat", reason="needs the extra 'train'")
    recordio = compat.mx.recordio
    records = [
        (3, b"jpeg"),
        (15526, MAGIC * 3),
        (0, b""),
        (7, b"abcd" + MAGIC + b"x"),
        (1, b"y" * 9),
    ]
    rec = _write(tmp_path, records)
    theirs = recordio.MXIndexedRecordIO(str(tmp_path / "a.idx"), str(rec), "r")
    for number, (label, jpeg) in enumerate(records):
        header, body = recordio.unpack(theirs.read_idx(number))
        assert (int(header.label), body) == (label, jpeg)
    theirs.close()
    writer = recordio.MXIndexedRecordIO(str(tmp_path / "b.idx"), str(tmp_path / "b.rec"), "w")
    for number, (label, jpeg) in enumerate(records):
        writer.write_idx(number, recordio.pack(recordio.IRHeader(0, label, number, 0), jpeg))
    writer.close()
    assert (tmp_path / "b.rec").read_bytes() == rec.read_bytes()
    rec = tmp_path / "b.rec"
    assert [read_record(rec, int(offset)) for offset in read_offsets(rec)] == records


@pytest.mark.parametrize("keep", [3, 10, 40, 61])
def test_a_truncated_shard_is_named(tmp_path: Path, keep: int) -> None:
    rec = _write(tmp_path, [(1, b"0123456789"), (2, b"0123456789")])
    rec.write_bytes(rec.read_bytes()[:keep])
    offset = int(read_offsets(rec)[1])
    with pytest.raises(InputError, match=r"a\.rec: the record at byte \d+ is trunc"):
        read_record(rec, offset)


def test_an_overwritten_shard_is_named(tmp_path: Path) -> None:
    rec = _write(tmp_path, [(1, b"0123456789")])
    rec.write_bytes(b"?" * rec.stat().st_size)
    with pytest.raises(InputError, match="the record at byte 0 is truncated or"):
        read_record(rec, 0)


@pytest.mark.parametrize("text", [None, "0\n", "a\tb\n"])
def test_a_missing_or_broken_index_is_named(tmp_path: Path, text: str | None) -> None:
    rec = _write(tmp_path, [(1, b"a")])
    if text is None:
        (tmp_path / "a.idx").unlink()
    else:
        (tmp_path / "a.idx").write_text(text)
    with pytest.raises(InputError, match=r"a\.idx"):
        read_offsets(rec)
