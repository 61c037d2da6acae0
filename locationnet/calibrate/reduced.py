"""Reduced precisions of a bundle, measured on photos with known places before they are offered.

Knows benchmarks and sessions; how a network is quantised is `locationnet.export.quantize`'s.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from locationnet.errors import InputError
from locationnet.export import quantize
from locationnet.export.temperature import Truth
from locationnet.images import open_image
from locationnet.model.bundle import Bundle
from locationnet.model.manifest import Precision
from locationnet.model.sessions import Session
from locationnet.preprocess import Preprocessing, tensor

Reduced = Literal["bf16", "int8"]

# Not the name that an export gives, whose network `--undo` gives back.
INT8_FILE = "model-int8-calibrated.onnx"
# Photos that show how large activations get.
_FOR_ACTIVATIONS = 300
_BATCH = 16


@dataclass(frozen=True)
class Files:
    """Photos in files, as the network's input; see `quantize.Photos`."""

    paths: tuple[Path, ...]

    def __len__(self) -> int:
        return len(self.paths)

    def batches(self, how: Preprocessing) -> Iterator[NDArray[np.float32]]:
        """Yield float32 ``(up to 16, 3, size, size)``."""
        paths = iter(self.paths)
        while batch := [tensor(open_image(path.read_bytes()), how)
                        for path in islice(paths, _BATCH)]:  # fmt: skip
            yield np.stack(batch)


def measure_reduced(
    bundle: Bundle,
    paths: Sequence[Path],
    probabilities: NDArray[np.float32],
    truth: Truth,
    wanted: Sequence[Reduced],
    folder: Path,
    *,
    threads: int,
) -> dict[Reduced, Precision]:
    """Make and measure reduced precisions.

    Parameters
    ----------
    bundle
        The float32 network and its cells.
    paths
        Photos that can be read.
    probabilities, truth
        What float32 answered to them, ``(n, classes)``, and where they were taken.
    wanted
        Which to measure.
    folder
        Where a new network is written.
    threads
        Threads of one inference.

    Raises
    ------
    InputError
        There are too few photos, or this machine cannot run the precision.
    MissingExtraError
        A package is not installed.
    """
    order = np.random.default_rng(0).permutation(len(paths))
    apart = order[: _FOR_ACTIVATIONS if "int8" in wanted else 0]
    measured = np.sort(order[len(apart) :])
    if len(measured) < quantize.MIN_PHOTOS:
        least = quantize.MIN_PHOTOS + (_FOR_ACTIVATIONS if "int8" in wanted else 0)
        raise InputError(
            f"{len(paths)} photos can be read; measuring {' and '.join(wanted)} takes at least"
            f" {least}"
        )
    how, photos = bundle.preprocessing, Files(tuple(paths[index] for index in measured))

    def answer(session: Session) -> NDArray[np.float32]:
        parts = [session.run(batch)["probabilities"] for batch in photos.batches(how)]
        return np.concatenate(parts).astype(np.float32, copy=False)

    own = Truth(truth.classes[measured], truth.lat[measured], truth.lng[measured])
    baseline = quantize.Baseline(probabilities[measured], own, bundle.grid, answer)
    model = bundle.path / "model.onnx"
    found: dict[Reduced, Precision] = {}
    for name in dict.fromkeys(wanted):
        if name == "int8":
            activations = Files(tuple(paths[index] for index in apart))
            one = quantize.int8(
                model, folder / INT8_FILE, baseline, activations, how, threads=threads
            )
        else:
            one = quantize.bf16(model, baseline, threads=threads)
        found[name] = Precision.model_validate(asdict(one))
    return found
