"""One small class for each inference runtime; knows shapes and names, not what they mean."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from locationnet.errors import BundleError


class OnnxSession:
    """An ONNX Runtime session on the CPU.

    One thread by default: as many single-threaded workers as cores give more photos a second than
    one worker with as many threads.

    Raises
    ------
    BundleError
        ONNX Runtime refuses the file.
    """

    def __init__(self, path: Path, *, threads: int = 1) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # A spinning thread burns the core that the next request's decoding needs.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = onnxruntime.InferenceSession(
                path, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # ONNX Runtime's errors share no public base class
            raise BundleError(f"{path}: not a network that ONNX Runtime can load") from error
        self._names = [output.name for output in self._session.get_outputs()]

    @property
    def output_names(self) -> list[str]:
        """Names of the outputs that `run` answers."""
        return list(self._names)

    @property
    def input_shape(self) -> list[int | str | None]:
        """Declared shape of the input ``images``; names stand for free dimensions."""
        return list(self._session.get_inputs()[0].shape)

    def run(self, images: NDArray[np.float32]) -> dict[str, NDArray[np.generic]]:
        """Run the network on float32 ``(n, 3, size, size)`` and return its outputs by name."""
        return dict(zip(self._names, self._session.run(None, {"images": images}), strict=True))
