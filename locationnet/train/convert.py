"""A network's parameters to an ONNX file that any runtime reads, and what MXNet answers to compare.

Knows the graph's two faces, MXNet's and ONNX's; nothing of bundles or photos.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from locationnet.errors import LocationNetError
from locationnet.train.backbones import DATA, infer_shapes, operators
from locationnet.train.compat import last_words, mx
from locationnet.train.last_layer import last_layer
from locationnet.train.onnx_export import to_graph
from locationnet.train.onnx_file import IMAGES, write_onnx_file
from locationnet.train.symbols import in_float32, original_name, with_distinct_names
from locationnet.train.weights import Weights

PROBABILITIES = "probabilities"
EMBEDDING = "embedding"

# Largest difference between MXNet's answers and ONNX Runtime's, relative to the largest number;
# float32 sums in another order differ by less than a tenth of it.
TOLERANCE = 1e-4

# What cannot be bound is a RuntimeError around MXNet's own.
_MXNET_ERRORS = (mx.MXNetError, RuntimeError)


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
        self.image_size = image_size
        reserved = (IMAGES, PROBABILITIES, EMBEDDING)
        symbol, renamed = with_distinct_names(in_float32(weights.symbol), reserved)
        self._probabilities, self._logits, self._features, _ = last_layer(symbol)
        self._arguments = _float32(weights.arguments, renamed)
        self._auxiliary = _float32(weights.auxiliary, renamed)
        Weights(self._logits, self._arguments, self._auxiliary).check(image_size)
        [answers] = infer_shapes(self._logits, image_size)[1]
        if len(answers) != 2:
            raise LocationNetError(
                f"{self._logits.name} (FullyConnected) answers {answers[1:]} for each image, and"
                " not a number for each class: flatten is off"
            )

    def run(self, images: NDArray[np.float32]) -> Answers:
        """Let MXNet compute the answers to float32 ``(n, 3, size, size)``.

        Raises
        ------
        LocationNetError
            MXNet cannot; the message names the operator.
        """
        group = mx.sym.Group([self._probabilities, mx.sym.Flatten(self._features)])
        try:
            return Answers(*self._compute(group, images))
        except _MXNET_ERRORS as error:
            raise LocationNetError(
                f"MXNet cannot compute {self._first_failing(images)}: {last_words(error)}"
            ) from error

    def inner_values(self, images: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
        """Let MXNet compute what every operator makes of images, up to the last layer.

        By name as in the ONNX file, in the order of the graph.
        """
        inside = self._inside()
        group = mx.sym.Group(list(inside.values()))
        return dict(zip(inside, self._compute(group, images), strict=True))

    def name_of(self, value: str) -> str:
        """Return name and kind of the operator that makes a value of `inner_values`."""
        kinds = dict(operators(self._probabilities))
        name = value if value in kinds else value.rstrip("0123456789")
        return f"{original_name(name)} ({kinds[name]})"

    @property
    def end(self) -> str:
        """Name and kind of the last operator."""
        return self.name_of(self._probabilities.name)

    def write_onnx(self, path: Path) -> None:
        """Write the network as an ONNX file.

        Input ``images`` (N, 3, size, size); outputs ``probabilities`` (N, classes) and
        ``embedding`` (N, features). `path` is not written atomically.

        Raises
        ------
        MissingExtraError
            onnx is not installed.
        LocationNetError
            One of the operators cannot become ONNX; the message names it.
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
        try:
            graph = to_graph(group, parameters, size)
            _write(graph, parameters, path, size, _widths(group, size))
        except (LocationNetError, OSError):
            raise
        except Exception as error:  # neither mxnet's exporter nor onnx has a base class of its own
            raise LocationNetError(
                f"the network cannot become ONNX: {last_words(error)}"
            ) from error

    def _compute(self, group: mx.sym.Symbol, images: NDArray[np.float32]) -> list[NDArray[Any]]:
        # Not as an executor: what that fuses on CPUs, it fuses even where a value in between is
        # asked for.
        known = {**self._arguments, **self._auxiliary, DATA: mx.nd.array(images)}
        for name, shape in zip(
            group.list_arguments(),
            infer_shapes(group, self.image_size, len(images))[0],
            strict=True,
        ):
            if name not in known:
                known[name] = mx.nd.zeros(shape)  # a label, which changes no answer
        answers = mx.nd.CachedOp(group)(*(known[name] for name in group.list_inputs()))
        return [
            answer.asnumpy() for answer in (answers if isinstance(answers, list) else [answers])
        ]

    def _inside(self) -> dict[str, mx.sym.Symbol]:
        """Return what each operator makes, by its name in ONNX."""
        computing = {name for name, _ in operators(self._logits)}
        internals = self._logits.get_internals()
        inside = {}
        for index, output in enumerate(internals.list_outputs()):
            made = re.fullmatch(r"(.+)_output(\d*)", output)
            if made and made[1] in computing:
                inside[made[1] + made[2]] = internals[index]
        return inside

    def _first_failing(self, images: NDArray[np.float32]) -> str:
        """Return the operator that MXNet stumbles over: the first up to which it cannot compute."""
        inside = list(self._inside().items())

        def fails(count: int) -> bool:
            try:
                self._compute(mx.sym.Group([symbol for _, symbol in inside[:count]]), images)
            except _MXNET_ERRORS:
                return True
            return False

        first = bisect_left(range(1, len(inside) + 1), True, key=fails)
        return self.name_of(inside[first][0]) if first < len(inside) else self.end


def difference(expected: NDArray[Any], found: NDArray[Any]) -> float:
    """Return the largest difference, relative to the largest number of each image.

    NaN where the shapes differ.
    """
    if expected.shape != found.shape:
        return float("nan")
    axes = tuple(range(1, expected.ndim))
    largest = np.abs(expected).max(axes)
    apart = np.abs(expected - found).max(axes)
    return float((apart / np.maximum(largest, np.finfo(np.float32).tiny)).max())


def _write(
    graph: Any,
    parameters: dict[str, mx.nd.NDArray],
    path: Path,
    size: int,
    widths: dict[str, int],
) -> None:
    nodes = _needed(graph)
    for node in nodes:
        node.input[:] = [IMAGES if name == DATA else name for name in node.input]
    named = {name for node in nodes for name in node.input}
    learned = (entry.name for entry in graph.input if entry.name in named & set(parameters))
    write_onnx_file(
        path,
        nodes,
        {name: parameters[name].asnumpy() for name in learned},
        size=size,
        widths=widths,
        constants=[tensor for tensor in graph.initializer if tensor.name in named],
    )


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
    _, outputs, _ = infer_shapes(group, size)
    return dict(zip((PROBABILITIES, EMBEDDING), (shape[1] for shape in outputs), strict=True))


def _float32(values: dict[str, mx.nd.NDArray], renamed: dict[str, str]) -> dict[str, mx.nd.NDArray]:
    return {
        renamed.get(name, name): value.astype(np.float32, copy=False)
        for name, value in values.items()
    }
