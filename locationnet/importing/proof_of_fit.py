"""Whether an imported network answers as the file does that it came from, run as it is.

Knows the runtimes that run such files; not how the file was read.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from locationnet.errors import LocationNetError

# Largest differences between probabilities that an import accepts: of any class, and of each of
# the first five in parts of itself.
ABSOLUTE, RELATIVE = 1e-5, 1e-3
FIRST = 5
# Below, no logit of a confident network is exact enough in float32 to ask for parts of itself.
_LEAST = 1e-6

Images = NDArray[np.float32]


@dataclass(frozen=True)
class Fit:
    """How near the imported network's answers are to the file's.

    Parameters
    ----------
    runtime
        What ran the file.
    photos
        How many were answered.
    difference
        The largest between two probabilities.
    relative
        The largest among the file's first five, in parts of the file's probability.
    """

    runtime: str
    photos: int
    difference: float
    relative: float


def compare(runtime: str, theirs: Images, ours: Images) -> Fit:
    """Compare probabilities, both ``(photos, classes)``.

    Raises
    ------
    LocationNetError
        They differ by more than is accepted, or are no probabilities.
    """
    apart = np.abs(theirs.astype(np.float64) - ours)
    first = np.argsort(-theirs, axis=1, kind="stable")[:, :FIRST]
    likely = np.maximum(np.take_along_axis(theirs, first, 1), _LEAST)
    relative = np.take_along_axis(apart, first, 1) / likely
    fit = Fit(runtime, len(theirs), float(apart.max()), float(relative.max()))
    if not (fit.difference <= ABSOLUTE and fit.relative <= RELATIVE):
        raise LocationNetError(
            f"the imported network answers otherwise than the file in {runtime}: probabilities"
            f" differ by {fit.difference:.1e}, the first five by {fit.relative:.1e} of themselves"
            f" (at most {ABSOLUTE:g} and {RELATIVE:g} are accepted)"
        )
    return fit


def softmax(logits: Images) -> Images:
    """Return the probabilities of logits ``(photos, classes)``."""
    powers = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), np.float32)


def onnx_answers(path: Path, image: str, output: str, images: Images) -> Images:
    """Let ONNX Runtime answer images float32 ``(n, 3, size, size)``, one at a time.

    Raises
    ------
    LocationNetError
        It cannot.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        answers = [session.run([output], {image: one[None]})[0] for one in images]
    except Exception as error:  # ONNX Runtime's errors share no public base class
        reason = str(error).strip().splitlines() or ["no reason given"]
        raise LocationNetError(f"{path}: ONNX Runtime cannot run it: {reason[0]}") from error
    return np.concatenate([np.asarray(answer, np.float32) for answer in answers])
