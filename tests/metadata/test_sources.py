"""Files found and decompressed, on this machine and in S3."""

from __future__ import annotations

import bz2
import gzip
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from synthetic_commons import make_commons

from locationnet.errors import InputError, LocationNetError
from locationnet.metadata.build_table import Summary, build_table
from locationnet.metadata.sources import CorruptError, UnsureError, list_shards, open_text

parquet = pytest.importorskip("pyarrow.parquet", reason="needs the extra 'data'")

CONTENT = b"".join(b"%d\tsome text\n" % number for number in range(200_000))


@pytest.fixture
def lbzip2() -> None:
    """The parallel decompressor; `.ci/run` installs it."""
    if shutil.which("lbzip2") is None:
        if os.environ.get("TESTS_SKIP_NOTHING"):
            pytest.fail("lbzip2 is not installed, and nothing may be skipped")
        pytest.skip("lbzip2 is not installed")


def read(path: Path, threads: int) -> tuple[bytes, int, str]:
    """Return what a file holds, where reading it ended, and what is wrong with it."""
    found, problem, end = b"", "", 0
    with open_text(list_shards([str(path)])[0], threads=threads) as text:
        try:
            while data := text.read(1 << 16):
                assert len(data) <= 1 << 16
                found += data
        except (CorruptError, UnsureError) as error:
            problem = str(error)
        end = text.tell()
    return found, end, problem


@pytest.mark.parametrize("threads", [1, 2])
def test_bzip2_is_read_by_one_thread_and_by_many(
    threads: int, tmp_path: Path, lbzip2: None
) -> None:
    path = tmp_path / "a.bz2"
    middle = len(CONTENT) // 2
    packed = bz2.compress(CONTENT[:middle]) + bz2.compress(CONTENT[middle:])
    path.write_bytes(packed)
    assert read(path, threads) == (CONTENT, len(packed), "")
    path.write_bytes(packed[: len(packed) * 3 // 4])
    found, _, problem = read(path, threads)
    assert problem
    assert CONTENT.startswith(found)


def test_of_damaged_bzip2_the_same_rows_are_read_with_lbzip2_and_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lbzip2: None
) -> None:
    (shard,) = make_commons(tmp_path / "c", 12_000, suffix=".bz2").shards
    content = bytearray(shard.read_bytes())
    for offset in (len(content) * 5 // 8, len(content) * 3 // 4):
        content[offset : offset + 50] = b"\0" * 50
    shard.write_bytes(content)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(4))
    seen: list[tuple[int, int, int]] = []

    def build(out: Path) -> Summary:
        seen.clear()

        def note(stage: str, done: int, total: int, rows: int) -> None:
            if stage == "reading":
                seen.append((done, total, rows))

        return build_table([str(shard)], out, progress=note)

    made = [build(tmp_path / f"{time}.parquet") for time in range(3)]
    assert seen[-1] == (len(content), len(content), made[0].read)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "which", lambda name: None)
        alone = build(tmp_path / "alone.parquet")
    assert alone.kept > 0
    assert list(alone.corrupt) == [str(shard)]
    for time, summary in enumerate(made):
        assert summary == alone
        assert (tmp_path / f"{time}.parquet").read_bytes() == (
            tmp_path / "alone.parquet"
        ).read_bytes()


def test_without_lbzip2_bzip2_is_read_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    path = tmp_path / "a.BZ2"
    path.write_bytes(bz2.compress(CONTENT))
    assert read(path, 2)[0] == CONTENT


def test_reading_may_stop_early(tmp_path: Path, lbzip2: None) -> None:
    path = tmp_path / "a.bz2"
    path.write_bytes(bz2.compress(CONTENT))
    with open_text(list_shards([str(path)])[0], threads=2) as text:
        assert CONTENT.startswith(text.read(10))


def test_a_decompressor_that_is_killed_is_no_damage(tmp_path: Path, lbzip2: None) -> None:
    path = tmp_path / "a.bz2"
    path.write_bytes(bz2.compress(CONTENT))
    before = children()
    with open_text(list_shards([str(path)])[0], threads=2) as text:
        (process,) = children() - before
        os.kill(process, signal.SIGKILL)
        with pytest.raises(LocationNetError, match=r"a\.bz2: lbzip2 was killed \(signal 9\)"):
            while text.read(1 << 20):
                pass


def children() -> set[int]:
    """The processes that this thread started."""
    return set(map(int, Path("/proc/thread-self/children").read_text().split()))


def test_gzip_in_pieces_is_one_file(tmp_path: Path) -> None:
    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress(CONTENT) + gzip.compress(b"end"))
    assert read(path, 1)[0] == CONTENT + b"end"
    path.write_bytes(gzip.compress(CONTENT) + b"garbage")
    found, _, problem = read(path, 1)
    assert found == CONTENT and problem


def test_a_folder_stands_for_its_files_but_not_for_hidden_ones(tmp_path: Path) -> None:
    for name in ("b", "a.gz", "deep/c", ".hidden", ".parts/d"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    found = list_shards([str(tmp_path / "b"), str(tmp_path)])
    assert [shard.name for shard in found] == [
        str(tmp_path / name) for name in ("a.gz", "b", "deep/c")
    ]


def test_shards_in_s3_give_the_same_table(
    s3_server: str, put: Callable[[str, bytes], None], tmp_path: Path
) -> None:
    made = make_commons(tmp_path / "c", 400, columns=23, shards=2, suffix=".bz2")
    assert made.hashes is not None
    names = [str(path) for path in made.shards]
    build_table(names, tmp_path / "here.parquet", hashes=str(made.hashes))
    for path in made.shards:
        put(f"meta/{path.name}", path.read_bytes())
    put("yfcc100m_hash.bz2", made.hashes.read_bytes())
    build_table(
        ["s3://commons/meta"],
        tmp_path / "there.parquet",
        hashes="s3://commons/yfcc100m_hash.bz2",
        endpoint_url=s3_server,
    )
    here, there = (parquet.read_table(tmp_path / f"{name}.parquet") for name in ("here", "there"))
    assert there.equals(here)
    for content in (b"SQLite format 3\0", b"PAR1", b"id,lat,lng\n1,2,3\n"):
        put("local", content)
        with pytest.raises(InputError, match=r"s3://commons/local: .* must be on this machine"):
            build_table(["s3://commons/local"], tmp_path / "x.parquet", endpoint_url=s3_server)
