from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from numpy.typing import NDArray

from locationnet.errors import InputError
from locationnet.export import quantize
from locationnet.export.quantize import Baseline
from locationnet.export.temperature import Truth
from locationnet.geo import s2
from locationnet.geo.grid import Grid
from locationnet.model.sessions import Session

LAT, LNG = np.array([10.0, 50.0]), np.array([20.0, 60.0])
GRID = Grid(s2.parent_ids(s2.leaf_ids(LAT, LNG), 8), LAT, LNG)
CLASSES = np.arange(1000) % 2
TRUTH = Truth(CLASSES, LAT[CLASSES], LNG[CLASSES])
FIELDS = {"runtime": "onnxruntime", "file": "f.onnx", "calibration_photos": 0, "layers": "all"}


def answers(wrong: int) -> NDArray[np.float32]:
    right = CLASSES.copy()
    right[:wrong] = 1 - right[:wrong]
    return np.asarray(np.eye(2)[right], np.float32)


class Silent:
    """A session that nobody runs."""

    output_names: ClassVar[list[str]] = []

    def run(self, images: NDArray[np.float32]) -> dict[str, NDArray[np.generic]]:
        raise AssertionError


def measure(full: int, reduced: int) -> quantize.Measured:
    def answer(_: Session) -> NDArray[np.float32]:
        return answers(reduced)

    return Baseline(answers(full), TRUTH, GRID, answer).measure(Silent(), **FIELDS)


def test_a_precision_that_changes_nothing_is_allowed() -> None:
    found = measure(100, 100)
    assert found.allowed
    assert found.top1_agreement == 1
    assert set(found.metric_change.values()) == {0.0}
    assert found.photos == 1000


def test_half_a_percent_may_be_lost() -> None:
    assert measure(0, 5).allowed
    found = measure(0, 6)
    assert not found.allowed
    assert found.metric_change["top1"] == pytest.approx(-0.006)
    assert found.metric_change["within_25_km"] == pytest.approx(-0.006)
    assert found.metric_change["geoscore"] < 0


def test_answers_that_are_as_good_but_others_are_not_allowed() -> None:
    found = measure(40, 0)
    assert found.metric_change["top1"] > 0
    assert found.top1_agreement == pytest.approx(0.96)
    assert not found.allowed


def test_a_cpu_without_the_instructions_measures_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(quantize, "can_run", lambda runtime, precision: False)
    with pytest.raises(InputError, match="bf16 cannot be measured here"):
        quantize.bf16(tmp_path, None)  # type: ignore[arg-type]  # never looked at
