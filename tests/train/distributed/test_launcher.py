"""Workers that learn together, as real processes on this machine."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from locationnet.errors import InputError, LocationNetError
from locationnet.train import checkpoints
from locationnet.train.compat import mx
from locationnet.train.config import Settings
from locationnet.train.distributed.hostfile import Layout, Node
from locationnet.train.distributed.launcher import launch
from locationnet.train.loop import train
from tests.waiting import PATIENCE, wait_until

Make = Callable[..., Settings]
Arrays = dict[str, np.ndarray[Any, Any]]

# What `locationnet train` does with settings that are ready; each worker leaves its weights.
TRAIN = """
import json, sys
from pathlib import Path
from locationnet.train.compat import mx
from locationnet.train.config import Settings
from locationnet.train.loop import train
from locationnet.train.parts import Parts

close = Parts.close
def leave_weights(self):
    arguments, auxiliary = self.module.weights()
    mx.nd.save(f"{sys.argv[2]}-{self.collectives.rank}.params", {**arguments, **auxiliary})
    close(self)
Parts.close = leave_weights
values = json.loads(sys.argv[1])
train(Settings.from_json(values, out=Path(values["out"])))
"""
LAUNCH = """
import json, sys
from pathlib import Path
from locationnet.train.distributed import launcher, remote_nodes
from locationnet.train.distributed.hostfile import find_layout
from locationnet.train.config import Settings

values, hosts, restarts, resume, port, sagemaker = json.loads(sys.argv[1])
remote_nodes.PORT = launcher.PORT = port
layout = find_layout(Path(hosts) if hosts else None, Path(sagemaker or "/nowhere"))
settings = Settings.from_json(values, out=Path(values["out"]))
try:
    launcher.launch(layout, settings, resume=resume, restarts=restarts)
except launcher.InterruptedRunError as error:
    print(error, flush=True)
    sys.exit(128 + error.signal)
except Exception as error:
    print("error:", error, flush=True)
    sys.exit(1)
"""


@pytest.fixture
def started() -> Iterator[list[subprocess.Popen[str]]]:
    """Processes that do not outlive the test."""
    processes: list[subprocess.Popen[str]] = []
    yield processes
    for process in processes:
        process.kill()
        process.communicate()


def _start(
    started: list[subprocess.Popen[str]], *words: str, **variables: str
) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", *words],
        env={**os.environ, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    started.append(process)
    return process


def _launch(
    started: list[subprocess.Popen[str]],
    settings: Settings,
    hosts: str | None,
    *,
    restarts: int = 0,
    resume: bool = False,
    port: int = 0,
    sagemaker: Path | None = None,
) -> subprocess.Popen[str]:
    path = settings.out.parent / "hosts"
    if hosts is not None:
        path.write_text(hosts)
    job = [settings.to_json(), hosts and str(path), restarts, resume, port,
           sagemaker and str(sagemaker)]  # fmt: skip
    return _start(started, LAUNCH, json.dumps(job))


def _weights(path: Path) -> Arrays:
    return {name: value.asnumpy() for name, value in mx.nd.load(str(path)).items()}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _workers(launcher: int) -> list[int]:
    """Return the process ids of the workers that a launcher has started."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes().decode(errors="replace")
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError):
            continue
        if parent == launcher and "launcher import work" in command:
            found.append(int(folder.name))
    return sorted(found)


def _wait_for(text: str, log: Path, process: subprocess.Popen[str]) -> None:
    wait_until(lambda: log.exists() and text in log.read_text(), process)


def test_two_workers_reach_the_same_weights(
    make_settings: Make, tmp_path: Path, started: list[subprocess.Popen[str]]
) -> None:
    """Started through DMLC_*, they learn exactly what one worker learns on two devices.

    From triplets, which ask for more than cross-entropy does: each device's photos stay together.
    """
    how = {"batch_size": 8, "epochs": 1, "objective": "triplet"}
    settings = make_settings(**how, out=tmp_path / "together")
    variables = {
        "DMLC_PS_ROOT_URI": "127.0.0.1",
        "DMLC_PS_ROOT_PORT": str(_free_port()),
        "DMLC_NUM_WORKER": "2",
        "DMLC_NUM_SERVER": "1",
    }
    left = tmp_path / "left"
    words = (TRAIN, json.dumps(settings.to_json()), str(left))
    for role in ("scheduler", "server", "worker", "worker"):
        _start(started, *words, DMLC_ROLE=role, **variables)
    for process in started:
        out, _ = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, out
    first, second = (_weights(tmp_path / f"left-{rank}.params") for rank in (0, 1))
    assert first.keys() == second.keys()
    for name, value in first.items():
        np.testing.assert_array_equal(value, second[name], err_msg=name)
    alone = make_settings(**how, devices="cpu:2", out=tmp_path / "alone")
    train(alone)
    for name, value in _weights(alone.out / "checkpoint-0001.params").items():
        plain = name.partition(":")[2]
        assert np.abs(value - first[plain]).max() < 2e-3, name
    records = [
        json.loads((run / "log.jsonl").read_text().splitlines()[-1])
        for run in (settings.out, alone.out)
    ]
    assert records[0]["loss"] == pytest.approx(records[1]["loss"], abs=0.02)
    assert records[0]["validation"] == pytest.approx(records[1]["validation"], abs=0.1, rel=0.1)


def test_workers_of_which_one_was_killed_are_brought_back_and_finish(
    make_settings: Make, started: list[subprocess.Popen[str]]
) -> None:
    settings = make_settings(batch_size=4, epochs=6, every_batches=4, log_every=1)
    launcher = _launch(started, settings, "127.0.0.1 2\n", restarts=1)
    # In the middle of the second epoch.
    _wait_for('"epoch": 2, "batch": 5', settings.out / "log.jsonl", launcher)
    os.kill(_workers(launcher.pid)[1], signal.SIGKILL)
    out, _ = launcher.communicate(timeout=PATIENCE)
    assert launcher.returncode == 0, out
    assert "was killed by signal 9; restart 1 of 1 from the last checkpoint" in out
    resumed = re.search(r"resuming at epoch (\d), batch (\d+)", out)
    assert resumed is not None
    assert int(resumed[1]) >= 2
    assert (settings.out / "checkpoint-0006.params").is_file()
    updates = [
        record["update"]
        for line in (settings.out / "log.jsonl").read_text().splitlines()
        if (record := json.loads(line))["kind"] == "batch"
    ]
    # Each update is logged once: what was lost was made again, and nothing was left out.
    assert updates == list(range(1, updates[-1] + 1))


def test_a_dead_worker_ends_all_and_shows_its_last_lines(
    make_settings: Make, started: list[subprocess.Popen[str]]
) -> None:
    settings = make_settings(batch_size=4, epochs=2000, log_every=1)
    launcher = _launch(started, settings, "127.0.0.1 2\n")
    _wait_for('"epoch": 2', settings.out / "log.jsonl", launcher)
    workers = _workers(launcher.pid)
    assert len(workers) == 2
    os.kill(workers[0], signal.SIGKILL)
    out, _ = launcher.communicate(timeout=30)  # the limit that is promised
    assert launcher.returncode == 1
    assert "killed by signal 9, and all workers were ended" in out
    assert "locationnet train --resume" in out
    assert re.search(r"^  \| .+", out, re.MULTILINE)
    assert not any(Path(f"/proc/{worker}").exists() for worker in workers)


def test_two_machines_stop_when_asked_and_are_resumed(
    make_settings: Make, started: list[subprocess.Popen[str]]
) -> None:
    settings = make_settings(batch_size=4, epochs=300, log_every=1)
    hosts = "127.0.0.1\n127.0.0.2\n"
    launcher = _launch(started, settings, hosts)
    _wait_for('"epoch": 2', settings.out / "log.jsonl", launcher)
    launcher.send_signal(signal.SIGTERM)
    out, _ = launcher.communicate(timeout=PATIENCE)
    assert launcher.returncode == 128 + signal.SIGTERM, out
    assert "locationnet train --resume" in out
    state = checkpoints.read(_newest(settings.out))
    assert state.progress.updates > 0
    assert checkpoints.read_run_fields(settings.out)["workers"] == 2
    # The one that speaks and writes is on the leading machine, whichever is rank 0.
    assert "epoch 1 done" in (settings.out / "logs" / "worker-0.log").read_text()
    assert "epoch 1 done" not in (settings.out / "logs-1" / "worker-0.log").read_text()
    launcher = _launch(started, settings, hosts, resume=True)
    _wait_for(f'"epoch": {state.progress.epoch + 2}', settings.out / "log.jsonl", launcher)
    launcher.send_signal(signal.SIGTERM)
    out, _ = launcher.communicate(timeout=PATIENCE)
    assert launcher.returncode == 128 + signal.SIGTERM, out
    assert "resuming at epoch" in out
    assert checkpoints.read(_newest(settings.out)).progress.updates > state.progress.updates


def _newest(run: Path) -> Path:
    newest = checkpoints.newest(run)
    assert newest is not None
    return newest


def test_hosts_can_be_named(make_settings: Make, started: list[subprocess.Popen[str]]) -> None:
    settings = make_settings(batch_size=8, epochs=1)
    launcher = _launch(started, settings, "localhost\n127.0.0.2\n")
    out, _ = launcher.communicate(timeout=PATIENCE)
    assert launcher.returncode == 0, out
    assert checkpoints.read_run_fields(settings.out)["workers"] == 2


def test_a_remote_node_that_is_asked_to_stop_has_all_write_a_checkpoint(
    make_settings: Make, tmp_path: Path, started: list[subprocess.Popen[str]]
) -> None:
    settings = make_settings(batch_size=4, epochs=300, log_every=1)
    port = _free_port()
    launchers = _sagemaker(started, settings, tmp_path, port)
    _wait_for('"epoch": 2', settings.out / "log.jsonl", launchers[0])
    launchers[1].send_signal(signal.SIGTERM)
    out, _ = launchers[0].communicate(timeout=PATIENCE)
    assert launchers[0].returncode == 128 + signal.SIGTERM, out
    assert checkpoints.read(_newest(settings.out)).progress.epoch >= 1
    launchers[1].communicate(timeout=PATIENCE)


def test_a_worker_that_fails_in_any_way_does_not_hang_the_others(
    make_settings: Make, tmp_path: Path, started: list[subprocess.Popen[str]]
) -> None:
    """Started through DMLC_*: one worker raises what nobody expected, and is gone at once."""
    settings = make_settings(batch_size=8, epochs=1)
    variables = {
        "DMLC_PS_ROOT_URI": "127.0.0.1",
        "DMLC_PS_ROOT_PORT": str(_free_port()),
        "DMLC_NUM_WORKER": "2",
        "DMLC_NUM_SERVER": "1",
    }
    script = (
        TRAIN.replace("close(self)", "raise ValueError('unforeseen')")
        .replace("train(Settings", "from locationnet.cli.train import _train\n_train(Settings")
        .replace('out=Path(values["out"])))', 'out=Path(values["out"])), resume=False)')
    )
    words = (script, json.dumps(settings.to_json()), str(tmp_path / "left"))
    for role in ("scheduler", "server", "worker", "worker"):
        _start(started, *words, DMLC_ROLE=role, **variables)
    for worker in started[2:]:
        out, _ = worker.communicate(timeout=PATIENCE)
        assert worker.returncode == 1, out
        assert "ValueError: unforeseen" in out


def _sagemaker(
    started: list[subprocess.Popen[str]], settings: Settings, folder: Path, port: int
) -> list[subprocess.Popen[str]]:
    machines = ["127.0.0.1", "127.0.0.2"]
    launchers = []
    for number, name in enumerate(machines):
        config = folder / f"resourceconfig-{number}.json"
        config.write_text(json.dumps({"hosts": machines, "current_host": name}))
        launchers.append(_launch(started, settings, None, port=port, sagemaker=config))
    return launchers


def test_sagemakers_machines_find_each_other(
    make_settings: Make, tmp_path: Path, started: list[subprocess.Popen[str]]
) -> None:
    settings = make_settings(batch_size=8, epochs=1)
    launchers = _sagemaker(started, settings, tmp_path, _free_port())
    for launcher in launchers:
        out, _ = launcher.communicate(timeout=PATIENCE)
        assert launcher.returncode == 0, out
    assert (settings.out / "checkpoint-0001.params").is_file()
    assert checkpoints.read_run_fields(settings.out)["workers"] == 2


def test_what_a_worker_refuses_is_said_once_and_not_tried_again(
    make_settings: Make, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken-0001.params"
    broken.write_bytes(b"no parameters")
    (tmp_path / "broken-symbol.json").write_text("{}")
    settings = make_settings(init=broken)
    with pytest.raises(LocationNetError, match="broken"):
        launch(Layout((Node("127.0.0.1", 2),)), settings, restarts=3)
    assert "restart" not in capfd.readouterr().err


def test_several_workers_on_one_machine_cannot_share_gpus(make_settings: Make) -> None:
    settings = make_settings(devices="gpu:0-1")
    with pytest.raises(InputError, match="one worker"):
        launch(Layout((Node("127.0.0.1", 2),)), settings)
