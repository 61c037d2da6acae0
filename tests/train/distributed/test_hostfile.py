"""Who trains with whom, read from files and variables."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from locationnet.errors import InputError
from locationnet.train.distributed.hostfile import Node, find_layout, is_here


def test_alone_without_hosts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DMLC_ROLE", raising=False)
    assert find_layout(None, tmp_path / "none.json") is None


def test_hosts_and_their_workers_are_read(tmp_path: Path) -> None:
    hosts = tmp_path / "hosts"
    hosts.write_text("# two machines\n127.0.0.1 2\n\nubuntu@gpu-2.internal   # the other\n")
    layout = find_layout(hosts)
    assert layout is not None
    assert layout.nodes == (Node("127.0.0.1", 2), Node("ubuntu@gpu-2.internal"))
    assert layout.workers == 3
    assert layout.by_ssh


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("127.0.0.1\nhost two\n", ":2: expected a host"),
        ("127.0.0.1 0\n", ":1: expected"),
        ("-oProxyCommand=evil 1\n", ":1: expected"),
        ("127.0.0.1\n127.0.0.1\n", "twice"),
        ("# nobody\n", "names no hosts"),
        ("192.0.2.1\n127.0.0.1\n", "start on its first host, 192.0.2.1"),
    ],
)
def test_a_wrong_hosts_file_is_named(tmp_path: Path, text: str, wrong: str) -> None:
    hosts = tmp_path / "hosts"
    hosts.write_text(text)
    with pytest.raises(InputError, match=wrong) as caught:
        find_layout(hosts)
    assert str(hosts) in str(caught.value)


def test_a_worker_of_somebody_elses_group_organises_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DMLC_ROLE", "worker")
    assert find_layout(None) is None
    with pytest.raises(InputError, match="drop --hosts"):
        find_layout(tmp_path / "hosts")


def test_sagemakers_description_names_the_machines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DMLC_ROLE", raising=False)
    config = tmp_path / "resourceconfig.json"
    config.write_text(json.dumps({"hosts": ["algo-2", "algo-1"], "current_host": "algo-2"}))
    layout = find_layout(None, config)
    assert layout is not None
    assert [node.host for node in layout.nodes] == ["algo-1", "algo-2"]
    assert layout.here == 1
    assert not layout.by_ssh
    # Named by --hosts it means the same.
    assert find_layout(config, tmp_path / "none.json") == layout
    config.write_text(json.dumps({"hosts": ["algo-1"], "current_host": "algo-1"}))
    assert find_layout(None, config) is None
    config.write_text("{")
    with pytest.raises(InputError, match=r"resourceconfig\.json"):
        find_layout(None, config)


def test_this_machine_knows_its_own_names() -> None:
    assert is_here("localhost")
    assert is_here("127.0.0.2")
    assert not is_here("192.0.2.1")
    assert not is_here("no-such-host.invalid")
