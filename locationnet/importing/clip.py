"""CLIP's image tower, in the files that Hugging Face publishes it in, as operators of ONNX.

Knows CLIP alone (Radford et al. 2021): what is done with what the tower sees is up to others.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, Field, PositiveInt, ValidationError, model_validator

from locationnet.errors import InputError
from locationnet.importing.onnx_stream import OnnxStream
from locationnet.importing.tensor_file import TensorFile
from locationnet.progress import Progress

CONFIG, WEIGHTS = "config.json", "model.safetensors"


class Tower(BaseModel):
    """The shape of an image tower; what a file leaves out is as in the library ``transformers``."""

    hidden_size: PositiveInt = 768
    intermediate_size: PositiveInt = 3072
    num_hidden_layers: PositiveInt = 12
    num_attention_heads: PositiveInt = 12
    num_channels: Literal[3] = 3
    image_size: int = Field(default=224, ge=16, le=2048)
    patch_size: PositiveInt = 32
    hidden_act: Literal["quick_gelu"] = "quick_gelu"
    layer_norm_eps: float = Field(default=1e-5, gt=0, lt=1)

    @model_validator(mode="after")
    def _check_sizes(self) -> Tower:
        if self.hidden_size % self.num_attention_heads:
            raise ValueError("hidden_size is not a multiple of num_attention_heads")
        if self.image_size < self.patch_size:
            raise ValueError("image_size is smaller than patch_size")
        return self

    @property
    def patches(self) -> int:
        """How many patches a photo is cut into."""
        return (self.image_size // self.patch_size) ** 2


def read_tower(path: Path) -> Tower:
    """Read the ``config.json`` of a CLIP model, or of its image tower alone.

    Raises
    ------
    InputError
        It is missing, not the configuration of a model, or of a tower that is not CLIP's.
    """
    try:
        fields: Any = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not JSON") from error
    kind = fields.get("model_type") if isinstance(fields, dict) else None
    if kind not in ("clip", "clip_vision_model"):
        raise InputError(f"{path}: model_type is {kind!r}, expected 'clip'")
    inner = fields.get("vision_config") or {} if kind == "clip" else fields
    try:
        return Tower.model_validate(inner)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "vision_config"
        raise InputError(f"{path}: {field}: {first['msg']}") from error


def add_tower(
    graph: OnnxStream, tower: Tower, tensors: TensorFile, images: str, progress: Progress
) -> tuple[str, int]:
    """Write the tower, from photos to their place in the space that CLIP shares with texts.

    Parameters
    ----------
    graph
        Where to.
    tower
        Its shape.
    tensors
        Its weights.
    images
        Name of the input, ``(n, 3, image_size, image_size)``.
    progress
        Called with how many layers are written.

    Returns
    -------
    str, int
        The output's name, ``(n, width)``, and its width.

    Raises
    ------
    InputError
        A weight is missing or does not fit.
    """
    writer = _Writer(graph, tower, tensors)
    tokens = writer.embedded(images)
    for layer in range(tower.num_hidden_layers):
        tokens = writer.block(f"encoder.layers.{layer}", tokens)
        progress(layer + 1, tower.num_hidden_layers)
    # The first token has gathered what the photo shows.
    first = graph.add("Gather", tokens, graph.integers("first", 0), axis=1)
    seen = writer.norm("post_layernorm", first)
    projection = tensors.get("visual_projection.weight", None, tower.hidden_size)
    weight = graph.weight("visual_projection", projection.T)
    return graph.add("MatMul", seen, weight), len(projection)


class _Writer:
    def __init__(self, graph: OnnxStream, tower: Tower, tensors: TensorFile) -> None:
        self._graph, self._tower, self._tensors = graph, tower, tensors
        heads, hidden = tower.num_attention_heads, tower.hidden_size
        self._head_shape = graph.integers("heads", [0, 0, heads, hidden // heads])
        self._token_shape = graph.integers("tokens", [0, 0, hidden])
        self._scale = graph.weight(
            "scale", np.float32((hidden // heads) ** -0.5) * np.ones(1, "f4")
        )
        self._slope = graph.weight("slope", np.full(1, 1.702, np.float32))

    def embedded(self, images: str) -> str:
        """Cut photos into patches; a token for each, behind one for the whole photo."""
        graph, tower, hidden = self._graph, self._tower, self._tower.hidden_size
        side = tower.patch_size
        filters = self._get("embeddings.patch_embedding.weight", hidden, 3, side, side)
        whole = self._get("embeddings.class_embedding", hidden)
        positions = self._get("embeddings.position_embedding.weight", tower.patches + 1, hidden)
        # The whole photo's token is the same for all photos: it goes with its position.
        positions = positions.copy()
        positions[0] += whole
        patches = graph.add(
            "Conv", images, graph.weight("patches", filters), strides=[side, side],
            kernel_shape=[side, side],
        )  # fmt: skip
        rows = graph.add("Reshape", patches, graph.integers("rows", [0, hidden, -1]))
        tokens = graph.add("Transpose", rows, perm=[0, 2, 1])
        padded = graph.add("Pad", tokens, graph.integers("one_before", [0, 1, 0, 0, 0, 0]))
        placed = graph.add("Add", padded, graph.weight("positions", positions))
        return self.norm("pre_layrnorm", placed)  # so spelled in every file

    def block(self, name: str, tokens: str) -> str:
        """Let tokens look at one another, then each think for itself."""
        graph = self._graph
        attended = self._attention(f"{name}.self_attn", self.norm(f"{name}.layer_norm1", tokens))
        tokens = graph.add("Add", tokens, attended)
        hidden, wide = self._tower.hidden_size, self._tower.intermediate_size
        inner = self._linear(
            f"{name}.mlp.fc1", self.norm(f"{name}.layer_norm2", tokens), hidden, wide
        )
        gate = graph.add("Sigmoid", graph.add("Mul", inner, self._slope))
        thought = self._linear(f"{name}.mlp.fc2", graph.add("Mul", inner, gate), wide, hidden)
        return graph.add("Add", tokens, thought)

    def norm(self, name: str, tokens: str) -> str:
        graph, hidden = self._graph, self._tower.hidden_size
        parts = [
            graph.weight(f"{name}.{part}", self._get(f"{name}.{part}", hidden))
            for part in ("weight", "bias")
        ]
        epsilon = self._tower.layer_norm_eps
        return graph.add("LayerNormalization", tokens, *parts, axis=-1, epsilon=epsilon)

    def _attention(self, name: str, tokens: str) -> str:
        graph, hidden = self._graph, self._tower.hidden_size
        query, key, value = (
            graph.add("Reshape", self._linear(f"{name}.{part}_proj", tokens, hidden, hidden),
                      self._head_shape)
            for part in "qkv"
        )  # fmt: skip
        by_head: dict[str, Any] = {"perm": [0, 2, 1, 3]}
        scores = graph.add(
            "MatMul",
            graph.add("Mul", graph.add("Transpose", query, **by_head), self._scale),
            graph.add("Transpose", key, perm=[0, 2, 3, 1]),
        )
        shares = graph.add("Softmax", scores, axis=-1)
        mixed = graph.add("MatMul", shares, graph.add("Transpose", value, **by_head))
        joined = graph.add("Reshape", graph.add("Transpose", mixed, **by_head), self._token_shape)
        return self._linear(f"{name}.out_proj", joined, hidden, hidden)

    def _linear(self, name: str, tokens: str, inputs: int, outputs: int) -> str:
        graph = self._graph
        weight = graph.weight(f"{name}.weight", self._get(f"{name}.weight", outputs, inputs).T)
        bias = graph.weight(f"{name}.bias", self._get(f"{name}.bias", outputs))
        return graph.add("Add", graph.add("MatMul", tokens, weight), bias)

    def _get(self, name: str, *shape: int) -> np.ndarray[Any, np.dtype[np.float32]]:
        return self._tensors.get(f"vision_model.{name}", *shape)
