"""Files of a hub that answers, stops, lies or is not there."""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import time
from pathlib import Path

import pytest
from huggingface_hub import constants

from locationnet.errors import (
    FullDiskError,
    InputError,
    LocationNetError,
    RemoteFailedError,
)
from locationnet.importing.hub import fetch, get
from tests.importing.hub_server import COMMIT, Hub

CONTENT = os.urandom(300_000)


@pytest.fixture
def holding(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> Hub:
    """A hub with one file; nobody waits between two tries."""
    hub.files["some/model/model.safetensors"] = CONTENT
    monkeypatch.setattr(time, "sleep", lambda _: None)
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 50_000)
    return hub


def test_a_file_is_fetched_once_and_its_revision_is_known(holding: Hub, tmp_path: Path) -> None:
    source = fetch("some/model", "model.safetensors")
    assert source.path.read_bytes() == CONTENT
    assert source.path.is_relative_to(tmp_path / "home" / "downloads")
    assert source.fields == {
        "file": "model.safetensors",
        "from": f"some/model@{COMMIT}",
        "sha256": hashlib.sha256(CONTENT).hexdigest(),
    }
    assert len(holding.sent) == 1
    assert fetch("some/model", "model.safetensors") == source
    assert len(holding.sent) == 1
    holding.asked.clear()
    # A commit never changes: nobody is asked.
    assert fetch("some/model", "model.safetensors", COMMIT) == source
    assert holding.asked == []


def test_what_another_program_has_fetched_is_taken(holding: Hub, tmp_path: Path) -> None:
    cached = tmp_path / "cache" / "models--some--model" / "snapshots" / COMMIT
    cached.mkdir(parents=True)
    (cached / "model.safetensors").write_bytes(CONTENT)
    source = fetch("some/model", "model.safetensors", COMMIT)
    assert source.path == cached / "model.safetensors"
    assert holding.asked == []


def test_a_connection_that_stops_is_taken_up_where_it_stopped(holding: Hub) -> None:
    holding.stop_after = 100_000
    assert fetch("some/model", "model.safetensors").path.read_bytes() == CONTENT
    assert [start for _, start in holding.sent] == [None, "bytes=100000-", "bytes=200000-"]


def test_the_next_call_goes_on_where_this_one_ended(holding: Hub, tmp_path: Path) -> None:
    holding.stop_after, holding.stops = 100_000, 1
    shut = holding.files.copy()

    class Cut(BaseException):
        """Somebody presses Ctrl-C."""

    def cut(_: float) -> None:
        raise Cut

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Cut):
        patch.setattr(time, "sleep", cut)
        fetch("some/model", "model.safetensors")
    assert shut == holding.files
    parts = [path for path in (tmp_path / "home").rglob("*") if path.is_file()]
    assert [part.name for part in parts] == [".model.safetensors.part"]
    assert parts[0].stat().st_size == 100_000
    holding.asked.clear()
    source = fetch("some/model", "model.safetensors")
    assert source.path.read_bytes() == CONTENT
    assert [start for _, start in holding.sent] == ["bytes=100000-"]
    assert not parts[0].exists()


def test_a_hub_that_never_sends_the_rest_is_given_up(holding: Hub) -> None:
    holding.stop_after = 0
    with pytest.raises(RemoteFailedError, match="cannot be fetched from http://127") as raised:
        fetch("some/model", "model.safetensors")
    assert "\n" not in str(raised.value)


def test_a_file_that_is_not_what_the_hub_says_is_removed(holding: Hub, tmp_path: Path) -> None:
    holding.etags["model.safetensors"] = "0" * 64
    with pytest.raises(
        LocationNetError, match=r"not some/model's model.safetensors .*expected 0000"
    ):
        fetch("some/model", "model.safetensors")
    with pytest.raises(LocationNetError, match=r"expected 1111"):
        fetch("some/model", "model.safetensors", None, "1" * 64)
    assert [path for path in (tmp_path / "home").rglob("*") if path.is_file()] == []


def test_part_of_another_file_ends_in_the_right_one(holding: Hub, tmp_path: Path) -> None:
    folder = tmp_path / "home" / "downloads" / "some--model" / COMMIT
    folder.mkdir(parents=True)
    (folder / ".model.safetensors.part").write_bytes(bytes(400_000))  # longer than the file is
    assert fetch("some/model", "model.safetensors").path.read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("repository", "name", "revision", "why"),
    [
        ("some/model", "other.bin", None, "some/model/other.bin: no such file on http"),
        ("some/model", "model.safetensors", "v2", "no such revision on http"),
        ("no/model", "model.safetensors", None, "no/model/model.safetensors: no such model on"),
        ("a/b/c", "model.safetensors", None, "not a name that the hub gives"),
        ("some..model", "model.safetensors", None, "not a name that the hub gives"),
    ],
)
def test_what_the_hub_does_not_have_is_one_line(
    holding: Hub, repository: str, name: str, revision: str | None, why: str
) -> None:
    with pytest.raises(InputError) as raised:
        fetch(repository, name, revision)
    assert why in str(raised.value)
    assert "\n" not in str(raised.value)


def test_no_network_is_one_line(holding: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE",
            constants.HUGGINGFACE_CO_URL_TEMPLATE.replace(holding.url, url),
        )  # fmt: skip
        monkeypatch.setattr(constants, "ENDPOINT", url)
        with pytest.raises(RemoteFailedError, match=f"cannot be fetched from {url} ") as raised:
            fetch("some/model", "model.safetensors")
    assert "\n" not in str(raised.value)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(RemoteFailedError, match="cannot be fetched"):
        fetch("some/model", "model.safetensors")


def test_a_full_disk_is_one_line(holding: Hub, tmp_path: Path) -> None:
    folder = tmp_path / "home" / "downloads" / "some--model" / COMMIT
    folder.mkdir(parents=True)
    (folder / ".model.safetensors.part").symlink_to("/dev/full")
    with pytest.raises(FullDiskError, match="no room to keep it in"):
        fetch("some/model", "model.safetensors")
    shutil.rmtree(folder)
    folder.write_text("a file where the folder should be")
    with pytest.raises(LocationNetError, match="cannot be written"):
        fetch("some/model", "model.safetensors")


def test_a_folder_here_goes_before_the_hub(
    holding: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = get("some/model", "model.safetensors")
    assert (found.path.read_bytes(), found.commit) == (CONTENT, COMMIT)
    asked = len(holding.asked)
    (tmp_path / "some" / "model").mkdir(parents=True)
    with pytest.raises(InputError, match=r"model\.safetensors: cannot be read"):
        get("some/model", "model.safetensors")
    (tmp_path / "some" / "model" / "model.safetensors").write_bytes(b"mine")
    mine = get("some/model", "model.safetensors")
    assert (mine.path.read_bytes(), mine.origin, mine.commit) == (b"mine", "a local file", "")
    assert len(holding.asked) == asked
    for wrong in ("./clip", "/clip", "a/b/c", "", "../x", "~/clip"):
        with pytest.raises(InputError, match="no such folder, and no name of a model"):
            get(wrong, "config.json")
