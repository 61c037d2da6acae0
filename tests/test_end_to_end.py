"""The whole way from metadata to a report, killed and gone on with, ends as if nothing had been."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from pyarrow import parquet

ROOT = Path(__file__).parents[1]
RECIPE = ROOT / "scripts" / "recipe_end_to_end.sh"
SMALL = {"ROWS": "2000", "IMAGES": "160", "MAX_PHOTOS": "60", "MIN_PHOTOS": "4"}
OPTIONS = ["--epochs", "2", "--image-size", "32"]
# What shows that a step has begun; a kill comes a little later.
MARKS = (
    "world/whole", "photos.parquet", "sets", "grids.txt", "packs/train", "packs/val", "test",
    "run/log.jsonl", "run/checkpoint-0001.params", "bundle", "report",
)  # fmt: skip


def _start(out: Path) -> subprocess.Popen[bytes]:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    with out.with_suffix(".log").open("ab") as log:
        return subprocess.Popen(
            ["sh", RECIPE, out, *OPTIONS], env={**os.environ, **SMALL, "PATH": path},
            stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip


def _finish(out: Path) -> None:
    process = _start(out)
    try:
        assert process.wait(300) == 0, out.with_suffix(".log").read_text(errors="replace")
    finally:
        _kill(process)


def _kill(process: subprocess.Popen[bytes]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    process.wait()


def _counts(out: Path) -> dict[str, Any]:
    """Return what every step made, in numbers."""
    packs = {name: json.loads((out / "packs" / name / "pack.json").read_text()) for name in SETS}
    lines = [json.loads(line) for line in (out / "run" / "log.jsonl").read_text().splitlines()]
    report = json.loads((out / "report" / "report.json").read_text())
    return {
        "rows": parquet.read_metadata(out / "photos.parquet").num_rows,
        "cells": len((out / "grids.txt").read_text().splitlines()),
        "packed": {name: pack["records"] for name, pack in packs.items()},
        "skipped": {name: pack["skipped"] for name, pack in packs.items()},
        "per class": {name: pack["counts_per_class"] for name, pack in packs.items()},
        "epochs": sorted(line["epoch"] for line in lines if line["kind"] == "epoch"),
        "evaluated": report["photos"],
        "broken": report["broken"],
    }


SETS = ("train", "val")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("whole") / "out"
    _finish(out)
    return out


def test_metadata_becomes_a_bundle_and_a_report(whole: Path) -> None:
    counts = _counts(whole)
    assert counts["rows"] > 500
    assert counts["packed"]["train"] > 60
    assert counts["evaluated"] > 5
    assert counts["broken"] == 0
    assert (whole / "bundle" / "model.onnx").is_file()
    assert (whole / "report" / "report.html").is_file()


def test_killed_at_three_places_it_ends_the_same(whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    draws = random.Random(7)
    for mark in sorted(draws.sample(range(len(MARKS)), 3)):
        process = _start(out)
        try:
            while not (out / MARKS[mark]).exists():
                assert process.poll() is None, out.with_suffix(".log").read_text(errors="replace")
                time.sleep(0.02)
            time.sleep(draws.uniform(0, 1))
        finally:
            _kill(process)
    _finish(out)
    assert _counts(out) == _counts(whole)
    left = [path.name for path in out.rglob("*") if path.suffix == ".part"]
    assert left == []
