"""An ONNX file written one weight at a time, so that a network of gigabytes needs no second copy.

Knows the file; not what network it is. Protocol Buffers define that messages one after another in
a file are one message, their lists joined: so each weight is written as soon as it is known, as a
model of nothing else, and the operators come last.
"""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from locationnet.errors import InputError, MissingExtraError

_OPSET, _IR_VERSION = 17, 8


class OnnxStream:
    """A network that is being written; a context, which closes the file.

    Parameters
    ----------
    path
        The file.
    half
        Store matrices as float16; the runtime computes with them in float32 all the same.

    Raises
    ------
    MissingExtraError
        onnx is not installed.
    """

    def __init__(self, path: Path, *, half: bool) -> None:
        try:
            import onnx
        except ModuleNotFoundError as error:
            raise MissingExtraError("writing ONNX files", "geoclip") from error
        self._onnx = onnx
        self._half = half
        self._nodes: list[Any] = []
        self._file: BinaryIO = path.open("wb")

    def __enter__(self) -> OnnxStream:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def add(self, operator: str, *inputs: str, name: str | None = None, **attributes: Any) -> str:
        """Add an operator with one output and return the output's name."""
        output = name or f"{operator.lower()}_{len(self._nodes)}"
        node = self._onnx.helper.make_node(operator, list(inputs), [output], output, **attributes)
        self._nodes.append(node)
        return output

    def weight(self, name: str, values: NDArray[np.float32]) -> str:
        """Write a weight and return the name under which it is float32.

        Raises
        ------
        InputError
            It is too large for float16.
        """
        if not self._half or values.ndim < 2:
            self._write(name, values)
            return name
        limit = np.finfo(np.float16).max
        if values.size and float(np.abs(values).max()) > limit:
            raise InputError(f"{name}: holds numbers above {limit:g}; import it with --weights f32")
        self._write(f"{name}.f16", values.astype(np.float16))
        return self.add("Cast", f"{name}.f16", name=name, to=self._onnx.TensorProto.FLOAT)

    def integers(self, name: str, values: int | list[int]) -> str:
        """Write whole numbers, one or a list of them, and return their name."""
        self._write(name, np.asarray(values, np.int64))
        return name

    def finish(self, image: str, size: int, outputs: dict[str, int]) -> None:
        """Write the operators.

        Parameters
        ----------
        image
            Name of the input, ``(n, 3, size, size)``.
        size
            Its side, pixels.
        outputs
            How wide each output is, by name: ``(n, width)``.
        """
        helper, floats = self._onnx.helper, self._onnx.TensorProto.FLOAT
        graph = helper.make_graph(
            self._nodes,
            "locationnet",
            [helper.make_tensor_value_info(image, floats, ["n", 3, size, size])],
            [
                helper.make_tensor_value_info(name, floats, ["n", width])
                for name, width in outputs.items()
            ],
        )
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", _OPSET)],
            ir_version=_IR_VERSION,
            producer_name="locationnet",
        )
        self._file.write(model.SerializeToString())

    def _write(self, name: str, values: NDArray[Any]) -> None:
        model = self._onnx.ModelProto()
        model.graph.initializer.append(self._onnx.numpy_helper.from_array(values, name))
        self._file.write(model.SerializeToString())
