"""An ONNX file as a graph to walk: who makes which value, and what does not depend on the images.

Knows ONNX only; nothing of MXNet.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from locationnet.errors import InputError, MissingExtraError

_LAST_LAYERS = {"Gemm", "MatMul"}


class OnnxGraph:
    """A network with one input, images float32 ``(n, 3, height, width)``.

    Parameters
    ----------
    path
        The file.

    Raises
    ------
    InputError
        It cannot be read or is not such a network.
    MissingExtraError
        onnx is not installed.
    """

    def __init__(self, path: Path) -> None:
        try:
            import onnx
        except ModuleNotFoundError as error:
            raise MissingExtraError("importing ONNX backbones", "train") from error
        self.path = path
        try:
            self.model: Any = onnx.load(path)
            onnx.checker.check_model(self.model)
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror})") from error
        except Exception as error:  # protobuf's and onnx's errors share no base class
            raise InputError(f"{path}: not an ONNX network") from error
        graph = self.model.graph
        self._values: dict[str, NDArray[Any]] = {
            tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer
        }
        inputs = [entry for entry in graph.input if entry.name not in self._values]
        if len(inputs) != 1 or len(inputs[0].type.tensor_type.shape.dim) != 4:
            raise InputError(f"{path}: expected one input, images (n, 3, height, width)")
        self.input_name = str(inputs[0].name)
        # The declared height of the images, if any.
        self.image_size = int(inputs[0].type.tensor_type.shape.dim[2].dim_value) or None
        self.producers: dict[str, Any] = {name: node for node in graph.node for name in node.output}

    def features(self) -> str:
        """Return the name of the value that the last fully connected layer is fed with.

        Raises
        ------
        InputError
            There is no such layer at the end.
        """
        name = self.model.graph.output[0].name
        while name in self.producers:
            node = self.producers[name]
            name = str(node.input[0])
            if node.op_type in _LAST_LAYERS:
                return name
            if node.op_type == "Conv":
                break
        raise InputError(f"{self.path}: no fully connected layer at its end to replace")

    def needs(self, name: str) -> set[str]:
        """Return the names of all values that one depends on, with its own."""
        found, waiting = set[str](), [name]
        while waiting:
            current = waiting.pop()
            if current not in found:
                found.add(current)
                if current in self.producers:
                    waiting += self.producers[current].input
        return found

    def constant(self, node: Any, index: int) -> NDArray[Any]:
        """Return an input that does not depend on the images, computing it where needed.

        Raises
        ------
        InputError
            It does depend on them.
        """
        name = node.input[index]
        if name not in self._values:
            self._values[name] = self._compute(name)
        return self._values[name]

    def optional(self, node: Any, index: int) -> NDArray[Any] | None:
        """Return such an input, or None where the node goes without."""
        present = len(node.input) > index and node.input[index]
        return self.constant(node, index) if present else None

    def _compute(self, name: str) -> NDArray[Any]:
        from onnx import TensorProto, helper
        from onnx.reference import ReferenceEvaluator

        needed = self.needs(name)
        if self.input_name in needed:
            raise InputError(f"{self.path}: {name} depends on the images, which is not supported")
        whole = self.model.graph
        graph = helper.make_graph(
            [node for node in whole.node if needed & set(node.output)],
            "constant",
            [],
            [helper.make_tensor_value_info(name, TensorProto.UNDEFINED, None)],
            [tensor for tensor in whole.initializer if tensor.name in needed],
        )
        model = helper.make_model(
            graph, opset_imports=self.model.opset_import, ir_version=self.model.ir_version
        )
        answers: Any = ReferenceEvaluator(model).run(None, {})
        return np.asarray(answers[0])


def attributes(node: Any) -> dict[str, Any]:
    """Return a node's attributes by name."""
    from onnx import helper

    return {entry.name: helper.get_attribute_value(entry) for entry in node.attribute}
