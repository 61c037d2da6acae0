"""One small class for each inference runtime; knows shapes and names, not what they mean."""

from __future__ import annotations

import re
import threading
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from locationnet.errors import BundleError, MissingExtraError
from locationnet.names import valid_text
from locationnet.processors import processors

# Without these instructions int8 products may overflow (AVX2 adds pairs in 16 bits) and bfloat16
# is slower than float32; what was measured at the export would not hold.
_INSTRUCTIONS = {
    "bf16": {"amx_bf16", "avx512_bf16"},
    "int8": {"amx_int8", "avx512_vnni", "avx_vnni", "asimddp"},
}


class Session(Protocol):
    """What the runtimes below have in common."""

    @property
    def output_names(self) -> list[str]:
        """Names of the outputs that `run` answers."""
        ...

    def run(self, images: NDArray[np.float32]) -> dict[str, NDArray[np.generic]]:
        """Run the network on float32 ``(n, 3, size, size)`` and return its outputs by name."""
        ...


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
        options.log_severity_level = 4  # errors are raised, and need not be printed too
        # A spinning thread burns the core that the next request's decoding needs.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = onnxruntime.InferenceSession(
                _source(path), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # ONNX Runtime's errors share no public base class
            raise BundleError(f"{path}: not a network that ONNX Runtime can load") from error
        self._names = [output.name for output in self._session.get_outputs()]

    @property
    def output_names(self) -> list[str]:
        """Names of the outputs that `run` answers."""
        return list(self._names)

    def run(self, images: NDArray[np.float32]) -> dict[str, NDArray[np.generic]]:
        """Run the network on float32 ``(n, 3, size, size)`` and return its outputs by name."""
        return dict(zip(self._names, self._session.run(None, {"images": images}), strict=True))


class OpenVinoSession:
    """An OpenVINO network on the CPU, safe to run from several threads at once.

    Parameters
    ----------
    path
        An ONNX file.
    threads
        Threads of one inference.
    precision
        What products are computed in.

    Raises
    ------
    MissingExtraError
        OpenVINO is not installed.
    BundleError
        OpenVINO refuses the file.
    """

    def __init__(
        self, path: Path, *, threads: int = 1, precision: Literal["f32", "bf16"] = "f32"
    ) -> None:
        try:
            import openvino
        except ModuleNotFoundError as error:
            raise MissingExtraError("running networks with OpenVINO", "openvino") from error
        # Inferences at a time are streams here: with one, threads that call `run` take turns.
        streams = max(1, processors() // threads)
        settings = {
            "INFERENCE_PRECISION_HINT": precision,
            "INFERENCE_NUM_THREADS": streams * threads,
            "NUM_STREAMS": streams,
            "ENABLE_CPU_PINNING": False,  # other processes, and decoding, want the cores too
        }
        try:
            core, source = openvino.Core(), _source(path)
            network = core.read_model(source) if isinstance(source, bytes) else source
            self._network = core.compile_model(network, "CPU", settings)
        except Exception as error:  # OpenVINO's errors are bare RuntimeErrors and worse
            raise BundleError(f"{path}: not a network that OpenVINO can load") from error
        self._names = [output.get_any_name() for output in self._network.outputs]
        # A request holds the buffers of one inference, so each thread has its own.
        self._local = threading.local()

    @property
    def output_names(self) -> list[str]:
        """Names of the outputs that `run` answers."""
        return list(self._names)

    def run(self, images: NDArray[np.float32]) -> dict[str, NDArray[np.generic]]:
        """Run the network on float32 ``(n, 3, size, size)`` and return its outputs by name."""
        if not hasattr(self._local, "request"):
            self._local.request = self._network.create_infer_request()
        self._local.request.infer({"images": images})
        return {name: self._local.request.get_tensor(name).data.copy() for name in self._names}


def _source(path: Path) -> str | bytes:
    """Return what a runtime loads: a path, or the file itself where its path is not UTF-8."""
    name = str(path)
    return name if name == valid_text(name) else path.read_bytes()


@cache
def can_run(runtime: str, precision: str) -> bool:
    """Say whether this machine has the runtime and the CPU instructions of a reduced precision."""
    if runtime == "openvino" and find_spec("openvino") is None:
        return False
    try:
        described = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:  # not Linux: unknown, so float32
        return False
    flags = re.search(r"^(?:flags|Features)\s*:(.*)$", described, re.MULTILINE)
    return flags is not None and not _INSTRUCTIONS[precision].isdisjoint(flags[1].split())
