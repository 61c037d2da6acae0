"""A network as an ONNX file that every runtime of today reads, and can speed up.

Knows the file; not where its operators and parameters come from. Needs no MXNet.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from locationnet.errors import MissingExtraError

# Those that a runtime of today and mxnet's exporter both know.
OPSET, IR_VERSION = 13, 8
IMAGES = "images"


def write_onnx_file(
    path: Path,
    nodes: Sequence[Any],
    parameters: Mapping[str, NDArray[Any]],
    *,
    size: int,
    widths: Mapping[str, int],
    constants: Sequence[Any] = (),
) -> None:
    """Write operators and what they have learned; `path` is not written atomically.

    Parameters
    ----------
    path
        The file.
    nodes
        ONNX operators in the order in which they run; the photos are their input ``images``.
    parameters
        By name, written as float32.
    size
        Side of the photos, pixels: ``images`` is (N, 3, size, size).
    widths
        How wide each output is, by name: (N, width).
    constants
        Tensors of ONNX that are written as they are.

    Raises
    ------
    MissingExtraError
        onnx is not installed.
    """
    try:
        import onnx
    except ModuleNotFoundError as error:
        raise MissingExtraError("writing ONNX files", "train") from error
    from onnx import helper, numpy_helper

    def declared(name: str, shape: Sequence[str | int]) -> Any:
        return helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)

    graph = helper.make_graph(
        nodes,
        "locationnet",
        [declared(IMAGES, ["N", 3, size, size])]
        + [declared(name, array.shape) for name, array in parameters.items()],
        [declared(name, ["N", width]) for name, width in widths.items()],
        constants,
    )
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="locationnet",
    )
    # Before the parameters are in it: a check copies everything.
    onnx.checker.check_model(model, full_check=True)
    # They are no inputs: a runtime must then expect other values at each call and cannot fold
    # BatchNorm into the convolutions.
    del model.graph.input[1:]
    model.graph.initializer.extend(
        numpy_helper.from_array(np.ascontiguousarray(array, np.float32), name)
        for name, array in parameters.items()
    )
    onnx.save(model, path)
