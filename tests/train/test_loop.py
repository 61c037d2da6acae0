"""Learning, resuming and refusing, by the real commands on a small synthetic world."""

from __future__ import annotations

import importlib.util
import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from locationnet.cli import app
from locationnet.model.locator import load_model
from tests.waiting import PATIENCE, wait_until

COMMAND = "from locationnet.cli import main\nif __name__ == '__main__':\n    main()\n"
SMALL = ("--preset", "small", "--image-size", 16, "--batch-size", 16, "--warmup", 0.5)


def _run(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def _done(*words: object) -> str:
    answer = _run(*words)
    assert answer.exit_code == 0, answer.exception or answer.output
    return answer.stdout


def _world(folder: Path, photos: int) -> Path:
    """Photos of eight towns, split and packed by the real commands."""
    path = Path(__file__).parents[2] / "scripts" / "synthetic_world.py"
    spec = importlib.util.spec_from_file_location("synthetic_world", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    table = module.make_world(folder, photos, size=48, towns=8)
    size = photos // 8
    _done(
        "partition", table, "-o", folder / "grids.txt", "--max-photos", size + 2, "--min-photos", 5
    )
    _done("split", table, "-o", folder, "--val", 0.2, "--test", 0)
    for name in ("train", "val"):
        _done(
            "pack", folder / f"{name}.csv", "--images", folder, "--grid", folder / "grids.txt",
            "--out", folder / "packs" / name, "--processes", 1,
        )  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Enough photos to learn from."""
    return _world(tmp_path_factory.mktemp("world"), 720)


@pytest.fixture(scope="module")
def village(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Enough photos to go through the motions."""
    return _world(tmp_path_factory.mktemp("village"), 160)


def _records(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


def _parameters(run: Path, epoch: int) -> dict[str, np.ndarray[Any, Any]]:
    from locationnet.train.compat import mx

    found = mx.nd.load(str(run / f"checkpoint-{epoch:04d}.params"))
    return {name: value.asnumpy() for name, value in found.items()}


def test_a_small_network_learns_where_photos_were_taken(world: Path, tmp_path: Path) -> None:
    packs, run, bundle = world / "packs", tmp_path / "run", tmp_path / "bundle"
    out = _done(
        "train", packs / "train", "--val", packs / "val", "-o", run, *SMALL, "--epochs", 10,
        "--rate", 0.02, "--min-area", 0.6, "--colour", 0.1,
    )  # fmt: skip
    assert "trained 10 epochs" in out
    assert (run / "training.png").stat().st_size > 10_000
    out = _done("export", run, "-o", bundle, "--validation", packs / "val")
    assert "parity" in out
    locator = load_model(bundle)
    rows = (world / "val.csv").read_text().replace('"', "").splitlines()[1:]
    photos = [row.split(",") for row in rows]
    answers = locator.locate_many([world / photo[0] for photo in photos])
    truth = locator.grid.assign(*np.array([photo[1:3] for photo in photos], float).T)
    right = [answer.mode.class_index for answer in answers] == truth
    assert np.mean(right) >= 0.9


def test_a_run_that_was_stopped_ends_as_one_that_was_not(village: Path, tmp_path: Path) -> None:
    packs = village / "packs"
    words = [
        "train", packs / "train", "--val", packs / "val", *SMALL, "--epochs", 3, "--log-every", 1,
    ]  # fmt: skip
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    _done(*words, "-o", whole)
    script = tmp_path / "run.py"
    script.write_text(COMMAND)
    command = [sys.executable, str(script), *map(str, words), "-o", str(stopped)]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    log = stopped / "log.jsonl"
    # Well inside the second epoch.
    wait_until(lambda: log.exists() and '"epoch": 2' in log.read_text(), running)
    running.send_signal(signal.SIGTERM)
    out, _ = running.communicate(timeout=PATIENCE)
    assert running.returncode == 128 + signal.SIGTERM, out
    assert "--resume" in out
    assert not (stopped / "checkpoint-0003.params").exists()
    _done("train", "--resume", "-o", stopped)
    again = _run(*words, "-o", stopped)
    assert again.exit_code == 1
    assert "contains a run already" in str(again.exception)
    first, second = _parameters(whole, 3), _parameters(stopped, 3)
    assert first.keys() == second.keys()
    # Two uninterrupted runs differ by as much now and then: threads add in any order, and the
    # statistics of a few small batches grow what comes of it.
    for name, value in first.items():
        tolerance = 0.1 if name.startswith("aux:") else 0.02
        assert np.abs(value - second[name]).max() <= tolerance * (1 + np.abs(value).max()), name


def test_a_pack_made_with_another_grid_is_refused(
    world: Path, village: Path, tmp_path: Path
) -> None:
    answer = _run(
        "train",
        village / "packs/train",
        "--val",
        world / "packs/val",
        "-o",
        tmp_path / "run",
        *SMALL,
    )
    assert answer.exit_code == 1
    assert "another grid" in str(answer.exception)


def test_there_is_nothing_to_resume_in_an_empty_folder(tmp_path: Path) -> None:
    answer = _run("train", "--resume", "-o", tmp_path)
    assert answer.exit_code == 1
    assert str(tmp_path) in str(answer.exception)


@pytest.mark.parametrize(
    "wrong",
    [
        ("--network", "resnet-19"),
        ("--devices", "tpu:4"),
        ("--epochs", 0),
        ("--best-by", "luck"),
        ("--fp16",),
        ("--image-size", 8),
    ],
)
def test_a_wrong_setting_is_one_clear_line(
    village: Path, tmp_path: Path, wrong: tuple[object, ...]
) -> None:
    packs = village / "packs"
    answer = _run("train", packs / "train", "--val", packs / "val", "-o", tmp_path / "run", *wrong)
    assert answer.exit_code in (1, 2)
    text = str(answer.exception) if answer.exit_code == 1 else answer.stderr
    assert len(text.strip().splitlines()) <= 4
    assert not (tmp_path / "run").exists()


def test_training_without_packs_is_wrong_usage(tmp_path: Path) -> None:
    assert _run("train", "-o", tmp_path / "run").exit_code == 2


def test_an_empty_validation_set_is_refused(village: Path, tmp_path: Path) -> None:
    empty = Path(shutil.copytree(village / "packs" / "val", tmp_path / "empty"))
    summary = json.loads((empty / "pack.json").read_text())
    summary["records"] = 0
    (empty / "pack.json").write_text(json.dumps(summary))
    answer = _run("train", village / "packs/train", "--val", empty, "-o", tmp_path / "run", *SMALL)
    assert answer.exit_code == 1
    assert "empty" in str(answer.exception)
