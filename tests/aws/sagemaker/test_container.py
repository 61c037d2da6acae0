"""The training container's side of SageMaker, with the folders that SageMaker makes."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from locationnet.aws.sagemaker import container
from locationnet.cli import app
from locationnet.model.bundle import Bundle
from locationnet.pack.format import Pack
from locationnet.train import checkpoints
from tests.waiting import PATIENCE, wait_until

# As SageMaker writes them: all values are text.
HYPERPARAMETERS = {
    "init": "small-0000.params", "image-size": "32", "batch_size": "16", "epochs": "3",
    "rate": "0.05", "threads": "1", "std": "60 60 60", "flip": "false", "every-minutes": "0",
    "log-every": "7",
}  # fmt: skip
TRAIN = "import sys; from pathlib import Path; from locationnet.aws.sagemaker import container\n"
TRAIN += "sys.exit(container.train(Path(sys.argv[1])))"


@pytest.fixture
def make_root(packs: tuple[Pack, Pack], small_network: Path, tmp_path: Path) -> Callable[..., Path]:
    """Lay `/opt/ml` out."""

    def make(**changes: str) -> Path:
        root = tmp_path / "ml"
        for name in ("input/config", "input/data", "model", "output", "checkpoints"):
            (root / name).mkdir(parents=True)
        for name, folder in (
            ("train", packs[0].path), ("val", packs[1].path), ("init", small_network.parent),
        ):  # fmt: skip
            shutil.copytree(folder, root / "input" / "data" / name)
        changed = {name.replace("_", "-"): value for name, value in changes.items()}
        path = root / "input" / "config" / "hyperparameters.json"
        path.write_text(json.dumps({**HYPERPARAMETERS, **changed}))
        config = {"current_host": "algo-1", "hosts": ["algo-1"]}
        (root / "input" / "config" / "resourceconfig.json").write_text(json.dumps(config))
        return root

    return make


@pytest.fixture
def started() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    processes = []

    def start(root: Path) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", TRAIN, root],
            env={**os.environ, "TRAINING_JOB_NAME": "town-1", "OMP_NUM_THREADS": "1"},
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def test_a_job_is_stopped_resumed_and_leaves_a_bundle(
    make_root: Callable[..., Path], started: Callable[..., subprocess.Popen[str]]
) -> None:
    """SIGTERM is how SageMaker takes a spot machine; it brings the checkpoints to the next one."""
    root = make_root(epochs="9000")
    first = started(root)
    wait_until((root / "checkpoints" / "checkpoint-0001.params").exists, first)
    first.send_signal(signal.SIGTERM)
    said = first.communicate(timeout=PATIENCE)[1]
    assert first.returncode == 128 + signal.SIGTERM, said
    stopped_at = re.findall(r"stopped at (epoch \d+, batch \d+)", said)[0]
    assert not list((root / "model").iterdir())
    assert not (root / "output" / "failure").exists()
    # With patience the run comes to its end; without, the stop would race with it.
    options = {**HYPERPARAMETERS, "epochs": "9000", "patience": "1"}
    (root / "input" / "config" / "hyperparameters.json").write_text(json.dumps(options))
    second = started(root)
    said = second.communicate(timeout=PATIENCE)[1]
    assert second.returncode == 0, said
    assert f"resuming at {stopped_at}" in said
    bundle = Bundle.open(root / "model")
    bundle.verify()
    assert bundle.manifest.name == "town-1"
    settings = checkpoints.read_run_fields(root / "checkpoints")["settings"]
    assert settings["augmentation"]["flip"] is False


def test_hyperparameters_are_read_as_sagemaker_and_its_library_write_them(
    make_root: Callable[..., Path], started: Callable[..., subprocess.Popen[str]]
) -> None:
    root = make_root(init='"small-0000.params"', fp16="False", steps="[0.5, 0.75]", rate='"0.05"')
    path = root / "input" / "config" / "hyperparameters.json"
    added = {"_tuning_objective_metric": "top1", "sagemaker_program": '"x.py"', "seed": "null"}
    path.write_text(json.dumps({**json.loads(path.read_text()), **added, "epochs": 1}))
    process = started(root)
    said = process.communicate(timeout=PATIENCE)[1]
    assert process.returncode == 0, said
    settings = checkpoints.read_run_fields(root / "checkpoints")["settings"]
    assert (settings["fp16"], settings["steps"], settings["rate"]) == (False, [0.5, 0.75], 0.05)


def test_what_the_container_decides_is_no_hyperparameter(make_root: Callable[..., Path]) -> None:
    root = make_root(out="/tmp/elsewhere")
    assert container.train(root) == 1
    assert "hyperparameter out: leave it out" in (root / "output" / "failure").read_text()


def test_a_wrong_hyperparameter_is_sagemakers_failure_reason(
    make_root: Callable[..., Path], started: Callable[..., subprocess.Popen[str]]
) -> None:
    root = make_root(epoch="3")
    process = started(root)
    process.communicate(timeout=PATIENCE)
    assert process.returncode == 2
    first = (root / "output" / "failure").read_text().splitlines()[0]
    assert first == "Error: No such option: --epoch (Possible options: --epochs)"


def test_a_missing_channel_is_named(make_root: Callable[..., Path]) -> None:
    root = make_root()
    shutil.rmtree(root / "input" / "data" / "val")
    assert container.train(root) == 1
    assert "the job has no channel 'val'" in (root / "output" / "failure").read_text()
    (root / "input" / "config" / "hyperparameters.json").write_text("[")
    assert container.train(root) == 1
    assert "not SageMaker's hyperparameters" in (root / "output" / "failure").read_text()


def test_a_bundle_that_cannot_be_written_is_sagemakers_failure_reason(
    make_root: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make_root()
    (root / "model").rmdir()
    (root / "model").write_text("in the way")

    class Export:
        """Training that has nothing to do, and an export that leaves a file."""

        last_lines = ()

        def __init__(self, words: list[str], *_: object) -> None:
            if "export" in words:
                bundle = Path(words[words.index("--out") + 1])
                bundle.mkdir()
                (bundle / "manifest.json").write_text("{}")

        def wait(self, _: float) -> int:
            return 0

        def kill(self) -> None:
            pass

    monkeypatch.setattr(container, "Child", Export)
    assert container.train(root) == 1
    failure = (root / "output" / "failure").read_text()
    assert "File exists" in failure
    assert str(root / "model") in failure


def test_train_without_arguments_notices_where_it_is(
    make_root: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert CliRunner().invoke(app, ["train"]).exit_code == 2
    root = make_root()
    shutil.rmtree(root / "input" / "data" / "train")
    monkeypatch.setattr(container, "ROOT", root)
    assert CliRunner().invoke(app, ["train"]).exit_code == 1
    assert "no channel 'train'" in (root / "output" / "failure").read_text()
