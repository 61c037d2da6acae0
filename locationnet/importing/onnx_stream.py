"""An ONNX file written one weight at a time, so that a network of gigabytes needs no second copy.

Knows the file; not what network it is. To Protocol Buffers the order of a message's fields is all
one: so each weight is written as soon as it is known and the operators after them, and how long the
graph has become goes into the place that was kept for it at the start.
"""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from locationnet.errors import InputError, MissingExtraError

_OPSET, _IR_VERSION = 17, 8
# Numbers of fields, and how they are written: a length, then as many bytes.
_GRAPH, _INITIALIZER = b"\x3a", b"\x2a"
_LENGTH_BYTES = 5
# What one message of Protocol Buffers may hold.
_MAX_BYTES = (1 << 31) - 1


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
        self._path = path
        self._file: BinaryIO = path.open("wb")
        model = onnx.ModelProto(ir_version=_IR_VERSION, producer_name="locationnet")
        model.opset_import.append(onnx.helper.make_opsetid("", _OPSET))
        self._file.write(model.SerializeToString() + _GRAPH)
        self._length_at = self._file.tell()
        self._file.write(_length(0, _LENGTH_BYTES))

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
        self._file.write(graph.SerializeToString())
        length = self._file.tell() - self._length_at - _LENGTH_BYTES
        if length > _MAX_BYTES:
            raise InputError(
                f"{self._path}: would be larger than 2 GB; store it with --weights f16"
            )
        self._file.seek(self._length_at)
        self._file.write(_length(length, _LENGTH_BYTES))

    def _write(self, name: str, values: NDArray[Any]) -> None:
        weight = self._onnx.numpy_helper.from_array(values, name).SerializeToString()
        self._file.write(_INITIALIZER + _length(len(weight)))
        self._file.write(weight)


def _length(number: int, at_least: int = 1) -> bytes:
    """Write a number seven bits a byte, the lowest first; zeros may follow, to a fixed width."""
    groups: list[int] = []
    while number or len(groups) < at_least:
        groups.append(number & 127)
        number >>= 7
    return bytes([group | 128 for group in groups[:-1]] + groups[-1:])
