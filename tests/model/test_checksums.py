"""A large file is hashed once, and again whenever anything about it has changed."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

import locationnet.model.checksums as checksums
from locationnet.errors import BundleError
from locationnet.files import file_sha256
from locationnet.model.checksums import is_sha256
from locationnet.model.locator import load_model


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """Names of the files that were read in whole; each counts as large."""
    names: list[str] = []

    def reading(path: Path) -> str:
        names.append(path.name)
        return file_sha256(path)

    monkeypatch.setattr(checksums, "file_sha256", reading)
    monkeypatch.setattr(checksums, "_LARGE_BYTES", 0)
    monkeypatch.setenv("LOCATIONNET_HOME", str(tmp_path / "home"))
    return names


def test_a_file_that_has_not_changed_is_read_once(read: list[str], tmp_path: Path) -> None:
    path, expected = tmp_path / "model.onnx", hashlib.sha256(b"weights").hexdigest()
    path.write_bytes(b"weights")
    assert all(is_sha256(path, expected) for _ in range(3))
    assert read == ["model.onnx"]
    assert is_sha256(path, expected, again=True)
    assert len(read) == 2
    # Through a link it is the same file; under another checksum it is not what was verified.
    (tmp_path / "link.onnx").symlink_to(path)
    assert is_sha256(tmp_path / "link.onnx", expected)
    assert len(read) == 2
    assert not is_sha256(path, "0" * 64)
    assert len(read) == 3


def test_a_file_that_has_changed_is_read_again(read: list[str], tmp_path: Path) -> None:
    path, expected = tmp_path / "model.onnx", hashlib.sha256(b"weights").hexdigest()
    path.write_bytes(b"weights")
    assert is_sha256(path, expected)
    path.write_bytes(b"weight")
    assert not is_sha256(path, expected)
    path.write_bytes(b"WEIGHTS")
    os.utime(path, ns=(1, 1))
    assert not is_sha256(path, expected)
    assert len(read) == 3


@pytest.mark.parametrize("content", ["", "[]", "{", '{"a": 1}'])
def test_a_corrupt_memory_costs_only_time(read: list[str], tmp_path: Path, content: str) -> None:
    path, expected = tmp_path / "model.onnx", hashlib.sha256(b"weights").hexdigest()
    path.write_bytes(b"weights")
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "checksums.json").write_text(content)
    assert is_sha256(path, expected)
    assert is_sha256(path, expected)
    assert len(read) == 1
    assert str(path.resolve()) in json.loads((tmp_path / "home" / "checksums.json").read_text())


def test_without_a_folder_to_write_to_each_time_is_the_first(
    read: list[str], tmp_path: Path
) -> None:
    path, expected = tmp_path / "model.onnx", hashlib.sha256(b"weights").hexdigest()
    path.write_bytes(b"weights")
    (tmp_path / "home").write_text("a file where the folder would be")
    assert is_sha256(path, expected)
    assert is_sha256(path, expected)
    assert len(read) == 2


def test_a_bundle_is_verified_whole_when_asked(
    read: list[str], make_bundle: Callable[..., Path]
) -> None:
    bundle = make_bundle()
    load_model(bundle)
    first = len(read)
    load_model(bundle)
    assert len(read) == first
    model = bundle / "model.onnx"
    kept = model.stat()
    content = bytearray(model.read_bytes())
    content[-1] ^= 1
    model.write_bytes(content)
    os.utime(model, ns=(kept.st_atime_ns, kept.st_mtime_ns))
    with pytest.raises(BundleError, match=r"model\.onnx: corrupt"):
        load_model(bundle, verify=True)
