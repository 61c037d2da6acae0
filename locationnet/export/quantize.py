"""Reduced precisions: made, measured against float32 and allowed only where they cost nothing.

Knows how a network is quantised and what it may lose; not what a bundle is.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from locationnet.classes import ClassSet
from locationnet.errors import InputError, MissingExtraError, install_command
from locationnet.export.temperature import Truth, metrics
from locationnet.export.validation_photos import Sample
from locationnet.model.sessions import OnnxSession, OpenVinoSession, Session, can_run
from locationnet.preprocess import Preprocessing

# Fewer photos neither calibrate activations nor separate a loss of half a percent from chance.
MIN_PHOTOS = 300
# A precision is allowed where it names the same cell this often and loses at most this share of
# photos, for each of top-1, top-5 and the distances.
MIN_AGREEMENT = 0.97
MAX_LOSS = 0.005

_LAST_LAYER = ["Gemm"]
_ALL_LAYERS = ["Conv", "Gemm", "MatMul"]

Answer = Callable[[Session], NDArray[np.float32]]


class Photos(Protocol):
    """Photos as the network's input."""

    def __len__(self) -> int:
        """How many there are."""
        ...

    def batches(self, how: Preprocessing) -> Iterator[NDArray[np.float32]]:
        """Yield float32 ``(some, 3, size, size)``."""
        ...


@dataclass(frozen=True)
class Measured:
    """One reduced precision as the manifest's ``precisions`` lists it."""

    runtime: Literal["onnxruntime", "openvino"]
    file: str
    allowed: bool
    photos: int
    calibration_photos: int
    layers: Literal["all", "last"]
    top1_agreement: float
    metric_change: dict[str, float]


class Baseline:
    """Measures sessions against what float32 answered on the same photos.

    Parameters
    ----------
    probabilities
        What float32 answered, float32 ``(n, classes)``.
    truth
        Of the same photos.
    classes
        What they are.
    answer
        Runs a session on the same photos.
    """

    def __init__(
        self, probabilities: NDArray[np.float32], truth: Truth, classes: ClassSet, answer: Answer
    ) -> None:
        self._best = probabilities.argmax(axis=1)
        self._metrics = metrics(probabilities, truth, classes)
        self._truth, self._classes, self._answer = truth, classes, answer

    def measure(self, session: Session, **fields: Any) -> Measured:
        """Return agreement and change of metrics, and whether they are good enough."""
        probabilities = self._answer(session)
        agreement = float((probabilities.argmax(axis=1) == self._best).mean())
        found = metrics(probabilities, self._truth, self._classes)
        change = {name: round(found[name] - value, 6) for name, value in self._metrics.items()}
        shares = (loss for name, loss in change.items() if name.startswith(("top", "within")))
        allowed = agreement >= MIN_AGREEMENT and min(shares) >= -MAX_LOSS
        return Measured(
            allowed=allowed,
            photos=len(probabilities),
            top1_agreement=round(agreement, 6),
            metric_change=change,
            **fields,
        )


def check_sizes(samples: Iterable[Sample]) -> None:
    """Refuse samples that are too small to calibrate or to measure a reduced precision.

    Raises
    ------
    InputError
        Names the pack and the number of photos it should hold.
    """
    for sample in samples:
        if len(sample) < MIN_PHOTOS:
            raise InputError(
                f"{sample.pack.path}: {len(sample)} photos are left for it; calibrating and"
                f" measuring a reduced precision take at least {MIN_PHOTOS} each"
            )


def bf16(model: Path, baseline: Baseline, *, threads: int = 1) -> Measured:
    """Measure OpenVINO's bfloat16 on the float32 file.

    Raises
    ------
    InputError
        This machine cannot run it.
    """
    if not can_run("openvino", "bf16"):
        raise InputError(
            f"bf16 cannot be measured here: it takes OpenVINO ({install_command('openvino')})"
            " and a CPU with AMX or AVX512-BF16"
        )
    session = OpenVinoSession(model, threads=threads, precision="bf16")
    return baseline.measure(
        session, runtime="openvino", file=model.name, calibration_photos=0, layers="all"
    )


def int8(
    model: Path,
    out: Path,
    baseline: Baseline,
    calibration: Photos,
    how: Preprocessing,
    *,
    threads: int = 1,
) -> Measured:
    """Quantise a network and measure it; where all layers lose too much, only the last one.

    Parameters
    ----------
    model
        The float32 file.
    out
        The file to write.
    baseline
        What to measure with.
    calibration
        Photos that show how large activations get; not those of the baseline.
    how
        The network's preprocessing.

    Raises
    ------
    InputError
        This machine cannot run it.
    MissingExtraError
        onnxruntime's tools lack a package.
    """
    if not can_run("onnxruntime", "int8"):
        raise InputError("int8 cannot be measured here: it takes a CPU with VNNI or AMX")
    attempts: list[tuple[Literal["all", "last"], list[str]]] = [
        ("all", _ALL_LAYERS),
        ("last", _LAST_LAYER),
    ]
    for layers, operators in attempts:
        _quantise(model, out, operators, calibration.batches(how))
        measured = baseline.measure(
            OnnxSession(out, threads=threads),
            runtime="onnxruntime",
            file=out.name,
            calibration_photos=len(calibration),
            layers=layers,
        )
        if measured.allowed:
            break
    return measured


def _quantise(
    model: Path, out: Path, operators: list[str], batches: Iterator[NDArray[np.float32]]
) -> None:
    """Write a static QDQ copy: int8 weights a channel, uint8 activations."""
    try:
        import onnx
        from onnxruntime import quantization
        from onnxruntime.quantization.shape_inference import quant_pre_process
    except ModuleNotFoundError as error:  # onnxruntime does not declare what its tools import
        raise MissingExtraError("quantising to int8", "train") from error

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc]  # it has no types
        def get_next(self) -> dict[str, NDArray[np.float32]] | None:
            batch = next(batches, None)
            return None if batch is None else {"images": batch}

    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # onnxruntime's tools use onnx's old names
        prepared = Path(folder) / "prepared.onnx"
        # Folds BatchNorm into the convolutions, so that their products stay in int8.
        quant_pre_process(str(model), str(prepared), skip_symbolic_shape=True)
        quantization.quantize_static(
            str(prepared),
            str(out),
            Reader(),
            quant_format=quantization.QuantFormat.QDQ,
            op_types_to_quantize=operators,
            per_channel=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            # What attention multiplies are answers on both sides, and no weights.
            extra_options={"MatMulConstBOnly": True},
        )
    onnx.checker.check_model(onnx.load(out))
