"""Whether a network can become a bundle, found out before anybody trains it.

Knows how to try: random weights, a real export, and the answers of MXNet and ONNX Runtime side by
side; no operator by its name, so that none needs to be listed.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from locationnet.errors import LocationNetError, MissingExtraError
from locationnet.model.sessions import OnnxSession
from locationnet.train.backbones import parameter_shapes
from locationnet.train.compat import last_words, mx
from locationnet.train.convert import (
    EMBEDDING,
    PROBABILITIES,
    TOLERANCE,
    Answers,
    SourceNetwork,
    difference,
)
from locationnet.train.last_layer import last_layer
from locationnet.train.weights import Weights

# Deviations of the pixels of the images that are answered: some effects (a small epsilon) show on
# small numbers only, others (a normalisation over neighbours) on large ones.
_SCALES = (1.0, 60.0)


def check_export(
    network: mx.sym.Symbol, image_size: int, learned: Mapping[str, mx.nd.NDArray] | None = None
) -> None:
    """Export a network with random weights and compare what it answers.

    Parameters
    ----------
    network
        Input ``data`` (n, 3, image_size, image_size), output a softmax.
    image_size
        Pixels.
    learned
        Weights by name, for a network that answers no finite numbers with random ones.

    Raises
    ------
    LocationNetError
        The network cannot be exported, answers otherwise than MXNet, or otherwise each time; the
        message names the operator.
    MissingExtraError
        onnx is not installed.
    """
    random = np.random.default_rng(0)
    scales = np.array(_SCALES, np.float32).reshape(-1, 1, 1, 1)
    size = (len(_SCALES), 3, image_size, image_size)
    images = scales * random.standard_normal(size, np.float32)
    weights = _random_weights(network, image_size)
    largest = _largest_feature(weights, image_size, images)
    if not np.isfinite(largest) and learned:
        for values in (weights.arguments, weights.auxiliary):
            values.update({name: learned[name] for name in values if name in learned})
        largest = _largest_feature(weights, image_size, images)
    # A softmax with a confident answer would hide what is wrong before it.
    if 0 < largest < np.inf:
        last = last_layer(network).parameters[0]
        weights.arguments[last] = weights.arguments[last] / largest
    source = SourceNetwork(weights, image_size)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        source.write_onnx(path)
        expected, found = source.run(images), onnx_answers(path, images)
        if not is_same(expected, found):
            raise LocationNetError(why_different(source, path, images))


@contextmanager
def about(network: str) -> Iterator[None]:
    """Begin what an error says with what it is about."""
    try:
        yield
    except MissingExtraError:
        raise
    except LocationNetError as error:
        raise LocationNetError(f"{network}: {error}") from error


def onnx_answers(path: Path, images: NDArray[np.float32]) -> Answers:
    """Let ONNX Runtime compute the answers to float32 ``(n, 3, size, size)``.

    Raises
    ------
    LocationNetError
        It cannot.
    """
    try:
        found = OnnxSession(path, threads=2).run(images)
    except Exception as error:  # ONNX Runtime's errors share no public base class
        raise LocationNetError(
            f"ONNX Runtime cannot run the network: {last_words(error.__cause__ or error)}"
        ) from error
    return Answers(*(np.asarray(found[name], np.float32) for name in (PROBABILITIES, EMBEDDING)))


def is_same(expected: Answers, found: Answers) -> bool:
    """Whether answers are the same but for the order in which float32 numbers were added."""
    return (
        difference(expected.embedding, found.embedding) <= TOLERANCE
        and difference(expected.probabilities, found.probabilities) <= TOLERANCE
    )


def why_different(source: SourceNetwork, path: Path, images: NDArray[np.float32]) -> str:
    """Say which operator makes the answers of a network and of its ONNX file differ."""
    first, second = source.inner_values(images), source.inner_values(images)
    for name, value in first.items():
        if not np.array_equal(value, second[name], equal_nan=True):
            return (
                f"{source.name_of(name)} is random when the network answers too: no two answers"
                " are the same"
            )
        if not np.isfinite(value).all():
            return f"{source.name_of(name)} answers NaN or infinity"
    found = _inner_values(path, list(first), images)
    for name, value in first.items():
        if name in found and not difference(value, found[name]) <= TOLERANCE:
            return (
                f"{source.name_of(name)} becomes another operator in ONNX: its numbers differ from"
                f" MXNet's by {difference(value, found[name]):.1e} of the largest"
            )
    expected, answers = source.run(images), onnx_answers(path, images)
    if difference(expected.embedding, answers.embedding) <= TOLERANCE:
        return f"{source.end} is another end than a plain softmax, which is what a bundle has"
    return "no operator alone is wrong, but small differences grow on their way"


def _largest_feature(weights: Weights, image_size: int, images: NDArray[np.float32]) -> float:
    return float(np.abs(SourceNetwork(weights, image_size).run(images).embedding).max())


def _inner_values(
    path: Path, names: list[str], images: NDArray[np.float32]
) -> dict[str, NDArray[Any]]:
    """Let ONNX Runtime compute values inside of a network, those that have such names there."""
    import onnx

    model = onnx.load(path)
    made = {name for node in model.graph.node for name in node.output}
    declared = {output.name for output in model.graph.output}
    inside = [name for name in names if name in made - declared]
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in inside)
    with tempfile.TemporaryDirectory() as folder:
        onnx.save(model, Path(folder) / "inside.onnx")
        answers = OnnxSession(Path(folder) / "inside.onnx", threads=2).run(images)
    return {name: np.asarray(answers[name]) for name in inside}


def _random_weights(network: mx.sym.Symbol, image_size: int) -> Weights:
    """Give every parameter values that a trained network might have, float32.

    Moving statistics and scales are moved from where they begin, or a mistake would not show.
    """
    random = np.random.default_rng(1)
    roles = _roles(network)

    def value(name: str, shape: tuple[int, ...]) -> mx.nd.NDArray:
        role = roles.get(name, name)
        if "var" in role:
            made = np.exp2(random.uniform(-1, 3, shape))
        elif "gamma" in role:
            made = random.uniform(0.5, 1.5, shape)
        elif len(shape) > 1:
            made = np.sqrt(2 / np.prod(shape[1:])) * random.standard_normal(shape, np.float32)
        else:
            made = 0.1 * random.standard_normal(shape)
        return mx.nd.array(made.astype(np.float32))

    shapes, states = parameter_shapes(last_layer(network).logits, image_size)
    return Weights(
        network,
        {name: value(name, shape) for name, shape in shapes.items()},
        {name: value(name, shape) for name, shape in states.items()},
    )


def _roles(network: mx.sym.Symbol) -> dict[str, str]:
    """Return what each parameter is called by the operator that it enters, such as ``gamma``."""
    nodes = json.loads(network.tojson())["nodes"]
    roles = {}
    for node in nodes:
        if node["op"] != "null":
            declared = mx.operator.get_operator_arguments(node["op"])
            inputs = zip(node["inputs"], declared.names, declared.types, strict=False)
            for (index, *_), role, kind in inputs:
                if kind.startswith("NDArray"):
                    roles[nodes[index]["name"]] = role
    return roles
