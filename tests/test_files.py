"""Files are written whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from locationnet.errors import FullDiskError, LocationNetError
from locationnet.files import write_text, written_whole


def test_a_file_is_replaced_with_the_usual_permissions(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old and longer")
    write_text(path, "naïve\r\n")
    assert path.read_bytes() == "naïve\r\n".encode()
    umask = os.umask(0)
    os.umask(umask)
    assert path.stat().st_mode & 0o777 == 0o666 & ~umask
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_not_there_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(LocationNetError, match=r"a\.txt: cannot be written \(No such file"):
        write_text(tmp_path / "missing" / "a.txt", "text")


def test_a_target_that_cannot_be_replaced_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "a.txt").mkdir()
    with pytest.raises(LocationNetError, match=r"a\.txt: cannot be written"):
        write_text(tmp_path / "a.txt", "text")
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_what_fails_halfway_leaves_what_was_there(tmp_path: Path) -> None:
    path, folder = tmp_path / "a.bin", tmp_path / "parts"
    folder.mkdir()
    path.write_bytes(b"old")
    with pytest.raises(ValueError, match="halfway"), written_whole(path, folder) as part:
        part.write_bytes(b"ne")
        assert part.parent == folder
        raise ValueError("halfway")
    assert path.read_bytes() == b"old"
    assert not list(folder.iterdir())
    with written_whole(path, folder) as part:
        part.write_bytes(b"new")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert not list(folder.iterdir())


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_is_told_from_other_failures(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    (tmp_path / ".a.txt.part").symlink_to("/dev/full")
    with pytest.raises(FullDiskError, match=r"a\.txt: cannot be written \(No space left"):
        write_text(path, "text")
    assert not list(tmp_path.iterdir())
