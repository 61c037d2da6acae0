"""An ONNX backbone to an MXNet symbol with a new head, to be fine-tuned.

Knows the operators of convolutional classifiers as PyTorch exports them, at any opset, BatchNorm
kept or folded; nothing of what the backbone was trained on. Every import is checked against ONNX
Runtime, so an operator that is read wrongly cannot go unnoticed.

mxnet's own importer stops at opset 9, loses the parameters' names and wants no constant computed in
the graph, hence this one.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from locationnet.errors import InputError
from locationnet.train.backbones import DATA, HEAD, LABEL, freeze, head
from locationnet.train.compat import mx
from locationnet.train.onnx_graph import OnnxGraph, attributes

Imported = tuple["mx.sym.Symbol", dict[str, "mx.nd.NDArray"], dict[str, "mx.nd.NDArray"]]

# Relative to the largest feature; float32 sums in another order differ by less than a tenth of it.
TOLERANCE = 1e-3


def import_onnx(
    path: str | os.PathLike[str],
    classes: int,
    *,
    image_size: int | None = None,
    frozen_to: str | None = None,
) -> Imported:
    """Import a backbone: everything before its last fully connected layer.

    Layers are named after PyTorch's modules with underscores (``layer3_0_conv1``), so that `freeze`
    finds stages by the names that their authors gave them.

    Parameters
    ----------
    path
        An ONNX file with one input, images float32 ``(n, 3, height, width)``.
    classes
        Outputs of the new head ``fc1``, whose parameters are yet to be initialised.
    image_size
        Side of the images to check it on; by default what the file declares, or 224.
    frozen_to
        Put BatchNorm into inference mode up to this stage; see `freeze`.

    Returns
    -------
    symbol, arg_params, aux_params
        The network with input ``data`` and output ``softmax_output``; the backbone's parameters.

    Raises
    ------
    InputError
        The file is not such a network, or MXNet's answers differ from ONNX Runtime's.
    MissingExtraError
        onnx is not installed.
    """
    graph = OnnxGraph(Path(path))
    made = _Translator(graph)
    name = graph.features()
    features = made.symbol(name)
    _check(graph, name, features, made, image_size or graph.image_size or 224)
    symbol = head(features, classes)
    if frozen_to is not None:
        symbol, _ = freeze(symbol, frozen_to)
    return symbol, made.arguments, made.auxiliary


class _Translator:
    """Translates the nodes that a value depends on, each once."""

    def __init__(self, graph: OnnxGraph) -> None:
        self._graph = graph
        self._symbols: dict[str, Any] = {graph.input_name: mx.sym.Variable(DATA)}
        self._names = {DATA, LABEL, HEAD, "softmax"}
        self.arguments: dict[str, mx.nd.NDArray] = {}
        self.auxiliary: dict[str, mx.nd.NDArray] = {}
        self._translations: dict[str, Callable[[Any], Any]] = {
            "Add": self._binary(mx.sym.broadcast_add),
            "AveragePool": self._pool,
            "BatchNormalization": self._batch_norm,
            # Only between the last pooling and the head, or before the first layer.
            "Cast": self._image,
            "Clip": self._clip,
            "Conv": self._convolution,
            "Dropout": self._image,
            "Flatten": self._flatten,
            "GlobalAveragePool": self._global_average,
            "Identity": self._image,
            "MaxPool": self._pool,
            "Mul": self._binary(mx.sym.broadcast_mul),
            "Pad": self._pad,
            "ReduceMean": self._mean,
            "Relu": self._activation("relu"),
            # Whatever else a Reshape may mean, the check of the answers would tell.
            "Reshape": self._flatten,
            "Sigmoid": self._activation("sigmoid"),
            "Squeeze": self._flatten,
        }

    def symbol(self, name: str) -> Any:
        """Return a value's symbol, the nodes before it translated first."""
        waiting = [name]
        while waiting:
            current = waiting[-1]
            if current in self._symbols:
                waiting.pop()
                continue
            if current not in self._graph.producers:
                raise InputError(f"{self._graph.path}: {current} is a constant, not an image")
            node = self._graph.producers[current]
            missing = [source for source in self._sources(node) if source not in self._symbols]
            if missing:
                waiting += missing
            else:
                self._symbols[current] = self._translate(node)
        return self._symbols[name]

    def _sources(self, node: Any) -> list[str]:
        """Return the inputs that carry images; the others are parameters and constants."""
        if node.op_type in ("Add", "Mul"):
            return list(node.input)
        return [node.input[0]]

    def _translate(self, node: Any) -> Any:
        if node.op_type not in self._translations:
            known = ", ".join(sorted(self._translations))
            raise InputError(
                f"{self._graph.path}: operator {node.op_type} ({node.name}) cannot be imported;"
                f" known are {known}"
            )
        return self._translations[node.op_type](node)

    def _name(self, node: Any, weight: int | None = None) -> str:
        """Name a layer after its parameter ``layer1.0.conv1.weight``, else after its node."""
        found = node.input[weight].rpartition(".")[0] if weight is not None else ""
        if not found or ":" in found:
            # /layer1/layer1.0/conv1/Conv: PyTorch repeats the path of a Sequential.
            parts = [part for part in node.name.split("/") if part][:-1]
            found = ".".join(
                part
                for part, after in zip_longest(parts, parts[1:], fillvalue="")
                if not after.startswith(f"{part}.")
            )
        base = re.sub(r"\W", "_", found or node.op_type.lower())
        name, count = base, 1
        while name in self._names:
            name, count = f"{base}_{count}", count + 1
        self._names.add(name)
        return name

    def _image(self, node: Any) -> Any:
        return self._symbols[node.input[0]]

    def _convolution(self, node: Any) -> Any:
        given = attributes(node)
        weight, bias = self._graph.constant(node, 1), self._graph.optional(node, 2)
        if weight.ndim != 4:
            raise InputError(
                f"{self._graph.path}: {node.name} is not a two-dimensional convolution"
            )
        name = self._name(node, 1)
        data, pad = self._padded(node, name)
        self.arguments[f"{name}_weight"] = _ndarray(weight)
        if bias is not None:
            self.arguments[f"{name}_bias"] = _ndarray(bias)
        return mx.sym.Convolution(
            data,
            num_filter=weight.shape[0],
            kernel=weight.shape[2:],
            stride=tuple(given.get("strides", (1, 1))),
            dilate=tuple(given.get("dilations", (1, 1))),
            pad=pad,
            num_group=given.get("group", 1),
            no_bias=bias is None,
            name=name,
        )

    def _padded(self, node: Any, name: str) -> tuple[Any, tuple[int, int]]:
        given = attributes(node)
        if given.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID"):
            raise InputError(f"{self._graph.path}: {node.name}: auto_pad is not supported")
        top, left, bottom, right = given.get("pads", (0, 0, 0, 0))
        if (top, left) == (bottom, right):
            return self._image(node), (top, left)
        return _zero_padded(self._image(node), (top, bottom, left, right), f"{name}_pad"), (0, 0)

    def _batch_norm(self, node: Any) -> Any:
        given = attributes(node)
        name = self._name(node, 1)
        parts = [self._graph.constant(node, index) for index in range(1, 5)]
        for suffix, value in zip(("gamma", "beta"), parts[:2], strict=True):
            self.arguments[f"{name}_{suffix}"] = _ndarray(value)
        for suffix, value in zip(("moving_mean", "moving_var"), parts[2:], strict=True):
            self.auxiliary[f"{name}_{suffix}"] = _ndarray(value)
        return mx.sym.BatchNorm(
            self._image(node),
            eps=given.get("epsilon", 1e-5),
            momentum=given.get("momentum", 0.9),
            fix_gamma=False,
            name=name,
        )

    def _pool(self, node: Any) -> Any:
        given = attributes(node)
        top, left, bottom, right = given.get("pads", (0, 0, 0, 0))
        dilated = tuple(given.get("dilations", (1, 1))) != (1, 1)
        if (top, left) != (bottom, right) or dilated or "auto_pad" in given:
            raise InputError(f"{self._graph.path}: {node.name}: such a pooling is not supported")
        return mx.sym.Pooling(
            self._image(node),
            kernel=tuple(given["kernel_shape"]),
            stride=tuple(given.get("strides", (1, 1))),
            pad=(top, left),
            pool_type="max" if node.op_type == "MaxPool" else "avg",
            count_include_pad=bool(given.get("count_include_pad", 0)),
            pooling_convention="full" if given.get("ceil_mode", 0) else "valid",
            name=self._name(node),
        )

    def _global_average(self, node: Any) -> Any:
        return mx.sym.Pooling(
            self._image(node),
            global_pool=True,
            kernel=(1, 1),
            pool_type="avg",
            name=self._name(node),
        )

    def _mean(self, node: Any) -> Any:
        given, axes_input = attributes(node), self._graph.optional(node, 1)
        axes = given.get("axes", []) if axes_input is None else axes_input.tolist()
        if sorted(axis % 4 for axis in axes) != [2, 3]:
            raise InputError(
                f"{self._graph.path}: {node.name}: only means over both image axes are read"
            )
        pooled = self._global_average(node)
        if given.get("keepdims", 1):
            return pooled
        return mx.sym.Flatten(pooled, name=self._name(node))

    def _pad(self, node: Any) -> Any:
        given = attributes(node)
        pads_input, value = self._graph.optional(node, 1), self._graph.optional(node, 2)
        pads = given.get("pads", []) if pads_input is None else pads_input.tolist()
        fill = given.get("value", 0.0) if value is None else value.item()
        plain = given.get("mode", b"constant") == b"constant" and fill == 0 and len(pads) == 8
        if not plain or any(pads[:2] + pads[4:6]):
            raise InputError(f"{self._graph.path}: {node.name}: only borders of zeros are read")
        if not any(pads):
            return self._image(node)
        sides = (pads[2], pads[6], pads[3], pads[7])
        return _zero_padded(self._image(node), sides, self._name(node))

    def _clip(self, node: Any) -> Any:
        given = attributes(node)
        low, high = self._graph.optional(node, 1), self._graph.optional(node, 2)
        limits = np.finfo(np.float32)
        return mx.sym.clip(
            self._image(node),
            a_min=float(given.get("min", limits.min)) if low is None else low.item(),
            a_max=float(given.get("max", limits.max)) if high is None else high.item(),
            name=self._name(node),
        )

    def _activation(self, kind: str) -> Callable[[Any], Any]:
        def translate(node: Any) -> Any:
            return mx.sym.Activation(self._image(node), act_type=kind, name=self._name(node))

        return translate

    def _flatten(self, node: Any) -> Any:
        return mx.sym.Flatten(self._image(node), name=self._name(node))

    def _binary(self, operation: Callable[..., Any]) -> Callable[[Any], Any]:
        def translate(node: Any) -> Any:
            left, right = (self._symbols[name] for name in node.input)
            return operation(left, right, name=self._name(node))

        return translate


def _check(graph: OnnxGraph, name: str, features: Any, made: _Translator, image_size: int) -> None:
    """Compare MXNet's features with ONNX Runtime's on random images."""
    import onnxruntime
    from onnx import ModelProto, TensorProto, helper

    images = np.random.default_rng(0).standard_normal((2, 3, image_size, image_size), np.float32)
    model = ModelProto()
    model.CopyFrom(graph.model)
    del model.graph.output[:]
    model.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        expected = np.asarray(session.run(None, {graph.input_name: images})[0])
    except Exception as error:  # ONNX Runtime's errors share no public base class
        raise InputError(
            f"{graph.path}: ONNX Runtime cannot run it on images of {image_size} px"
        ) from error
    executor = features.simple_bind(mx.cpu(), grad_req="null", **{DATA: images.shape})
    executor.copy_params_from(made.arguments, made.auxiliary)
    found = executor.forward(is_train=False, **{DATA: mx.nd.array(images)})[0].asnumpy()
    if found.size != expected.size:
        raise InputError(f"{graph.path}: MXNet's features are {found.shape}, not {expected.shape}")
    difference = np.abs(found.reshape(expected.shape) - expected).max()
    if not difference <= TOLERANCE * max(1.0, float(np.abs(expected).max())):
        raise InputError(
            f"{graph.path}: MXNet's features differ from ONNX Runtime's by {difference:.1e}"
        )


def _zero_padded(data: Any, sides: tuple[int, int, int, int], name: str) -> Any:
    return mx.sym.Pad(
        data, mode="constant", constant_value=0, pad_width=(0, 0, 0, 0, *sides), name=name
    )


def _ndarray(value: NDArray[Any]) -> mx.nd.NDArray:
    return mx.nd.array(np.asarray(value, np.float32))
