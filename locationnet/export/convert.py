"""A network's parameters to an ONNX file that any runtime reads, and the proof that it is the same.

Knows the graph's two faces, MXNet's and ONNX's; nothing of bundles or photos.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from locationnet.errors import LocationNetError
from locationnet.train.backbones import DATA
from locationnet.train.compat import mx, onnx_exporter
from locationnet.train.last_layer import last_layer
from locationnet.train.weights import Weights

OPSET = 13
IR_VERSION = 8
IMAGES = "images"
PROBABILITIES = "probabilities"
EMBEDDING = "embedding"

_CASTS = {"Cast", "amp_cast"}


@dataclass(frozen=True)
class Answers:
    """What a network says about n images.

    ``probabilities`` float32 ``(n, classes)``; ``embedding`` float32 ``(n, features)``: the pooled
    features before the last layer.
    """

    probabilities: NDArray[np.float32]
    embedding: NDArray[np.float32]


class SourceNetwork:
    """The checkpoint's own network in float32, cut open before its last layer.

    Parameters
    ----------
    weights
        Of a network that ends with a fully connected layer and a softmax.
    image_size
        Side of the square input, pixels.

    Raises
    ------
    LocationNetError
        The network ends otherwise, or the parameters do not fit.
    """

    def __init__(self, weights: Weights, image_size: int) -> None:
        weights.check(image_size)
        self.image_size = image_size
        self._symbol = _in_float32(weights.symbol)
        self._logits, self._features, _ = last_layer(self._symbol)
        self._arguments = {name: _float32(value) for name, value in weights.arguments.items()}
        self._auxiliary = {name: _float32(value) for name, value in weights.auxiliary.items()}
        # MXNet computes as if these were 1, whatever is saved; mxnet's exporter does not know.
        for name in _fixed_gammas(self._symbol):
            self._arguments[name] = mx.nd.ones_like(self._arguments[name])

    def run(self, images: NDArray[np.float32]) -> Answers:
        """Let MXNet compute the answers to float32 ``(n, 3, size, size)``."""
        group = mx.sym.Group([self._symbol, mx.sym.Flatten(self._features)])
        executor = group.simple_bind(mx.cpu(), grad_req="null", **{DATA: images.shape})
        executor.copy_params_from(self._arguments, self._auxiliary, allow_extra_params=True)
        executor.forward(is_train=False, **{DATA: mx.nd.array(images)})
        probabilities, embedding = (output.asnumpy() for output in executor.outputs)
        return Answers(probabilities, embedding)

    def write_onnx(self, path: Path) -> None:
        """Write the network as an ONNX file.

        Input ``images`` (N, 3, size, size); outputs ``probabilities`` (N, classes) and
        ``embedding`` (N, features). `path` is not written atomically.

        Raises
        ------
        MissingExtraError
            onnx is not installed.
        LocationNetError
            mxnet's exporter does not know one of the operators.
        """
        group = mx.sym.Group(
            [
                mx.sym.softmax(self._logits, name=PROBABILITIES),
                mx.sym.Flatten(self._features, name=EMBEDDING),
            ]
        )
        used = {*group.list_arguments(), *group.list_auxiliary_states()}
        # The exporter wants plain names, and only those of the graph.
        everything = {**self._arguments, **self._auxiliary}
        parameters = {name: value for name, value in everything.items() if name in used}
        size = self.image_size
        with onnx_exporter() as export_model, tempfile.TemporaryDirectory() as folder:
            raw = Path(folder) / "raw.onnx"
            try:
                export_model(
                    group,
                    parameters,
                    [(1, 3, size, size)],
                    [np.float32],
                    str(raw),
                    dynamic=True,
                    dynamic_input_shapes=[(None, 3, size, size)],
                )
            except AttributeError as error:
                raise LocationNetError(f"the network cannot become ONNX: {error}") from error
            _polish(raw, path, size, _widths(group, size))


def _polish(raw: Path, path: Path, size: int, widths: dict[str, int]) -> None:
    import onnx
    from onnx import helper

    graph = onnx.load(raw).graph
    _bypass_reshapes(graph)
    nodes = _needed(graph)
    for node in nodes:
        node.input[:] = [IMAGES if name == DATA else name for name in node.input]
    named = {name for node in nodes for name in node.input}

    def declared(name: str, shape: list[str | int]) -> Any:
        return helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)

    polished = helper.make_graph(
        nodes,
        "locationnet",
        # The exporter lists the parameters as inputs too: a runtime must then expect other values
        # at each call and cannot fold BatchNorm into the convolutions.
        [declared(IMAGES, ["N", 3, size, size])],
        [declared(name, ["N", width]) for name, width in widths.items()],
        [tensor for tensor in graph.initializer if tensor.name in named],
    )
    model = helper.make_model(
        polished,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="locationnet",
    )
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


def _bypass_reshapes(graph: Any) -> None:
    """Read a fully connected layer's result directly.

    The exporter computes its shape at run time, for inputs of any rank; ours are flat.
    """
    products = {node.output[0] for node in graph.node if node.op_type == "Gemm"}
    direct = {
        node.output[0]: node.input[0]
        for node in graph.node
        if node.op_type == "Reshape" and node.input[0] in products
    }
    for node in graph.node:
        node.input[:] = [direct.get(name, name) for name in node.input]


def _needed(graph: Any) -> list[Any]:
    """Return the nodes that the outputs depend on, in the graph's order."""
    wanted = {output.name for output in graph.output}
    nodes = []
    for node in reversed(graph.node):  # the graph is in topological order
        if wanted & set(node.output):
            wanted |= set(node.input)
            nodes.append(node)
    return nodes[::-1]


def _widths(group: mx.sym.Symbol, size: int) -> dict[str, int]:
    _, shapes, _ = group.infer_shape(**{DATA: (1, 3, size, size)})
    return dict(zip((PROBABILITIES, EMBEDDING), (shape[1] for shape in shapes), strict=True))


def _fixed_gammas(symbol: mx.sym.Symbol) -> list[str]:
    """Return the scales of BatchNorms that have none (``fix_gamma``, the default)."""
    nodes = json.loads(symbol.tojson())["nodes"]
    return [
        nodes[node["inputs"][1][0]]["name"]
        for node in nodes
        if node["op"] == "BatchNorm" and node.get("attrs", {}).get("fix_gamma", "True") == "True"
    ]


def _in_float32(symbol: mx.sym.Symbol) -> mx.sym.Symbol:
    graph = json.loads(symbol.tojson())
    for node in graph["nodes"]:
        if node["op"] in _CASTS:
            node["attrs"]["dtype"] = "float32"
    return mx.sym.load_json(json.dumps(graph))


def _float32(value: mx.nd.NDArray) -> mx.nd.NDArray:
    return value.astype(np.float32, copy=False)
