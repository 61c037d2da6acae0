"""CLIP image towers of random numbers in Hugging Face's files, and a second way to run them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

Weights = dict[str, NDArray[Any]]

HIDDEN, WIDE, LAYERS, HEADS, PATCH, SIZE, PROJECTION = 64, 128, 2, 4, 56, 224, 768
CONFIG: dict[str, Any] = {
    "architectures": ["CLIPModel"],
    "model_type": "clip",
    "projection_dim": PROJECTION,
    "text_config": {"hidden_size": 768},
    "vision_config": {
        "hidden_size": HIDDEN,
        "intermediate_size": WIDE,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "patch_size": PATCH,
        "image_size": SIZE,
        "hidden_act": "quick_gelu",
        "layer_norm_eps": 1e-5,
    },
}


def tower_weights(seed: int = 0) -> Weights:
    """Weights that tell photos apart."""
    rng = np.random.default_rng(seed)
    tokens = (SIZE // PATCH) ** 2 + 1

    def normal(*shape: int, scale: float = 1.0) -> NDArray[np.float32]:
        return rng.normal(0, scale, shape).astype(np.float32)

    def norm(name: str) -> Weights:
        return {
            f"{name}.weight": 1 + normal(HIDDEN, scale=0.2),
            f"{name}.bias": normal(HIDDEN, scale=0.2),
        }

    def linear(name: str, inputs: int, outputs: int) -> Weights:
        return {
            f"{name}.weight": normal(outputs, inputs, scale=inputs**-0.5),
            f"{name}.bias": normal(outputs, scale=0.1),
        }

    vision: Weights = {
        "embeddings.class_embedding": normal(HIDDEN, scale=0.5),
        "embeddings.patch_embedding.weight": normal(HIDDEN, 3, PATCH, PATCH, scale=0.02),
        "embeddings.position_embedding.weight": normal(tokens, HIDDEN, scale=0.5),
        **norm("pre_layrnorm"),
        **norm("post_layernorm"),
    }
    for index in range(LAYERS):
        layer = f"encoder.layers.{index}"
        for part in "qkv":
            vision |= linear(f"{layer}.self_attn.{part}_proj", HIDDEN, HIDDEN)
        vision |= linear(f"{layer}.self_attn.out_proj", HIDDEN, HIDDEN)
        vision |= norm(f"{layer}.layer_norm1") | norm(f"{layer}.layer_norm2")
        vision |= linear(f"{layer}.mlp.fc1", HIDDEN, WIDE)
        vision |= linear(f"{layer}.mlp.fc2", WIDE, HIDDEN)
    weights = {f"vision_model.{name}": tensor for name, tensor in vision.items()}
    weights["visual_projection.weight"] = normal(PROJECTION, HIDDEN, scale=HIDDEN**-0.5)
    # What the text tower needs lies in the same file.
    weights["logit_scale"] = np.array(4.6, np.float32)
    weights["text_projection.weight"] = normal(PROJECTION, 4)
    return weights


def write_clip(folder: Path, weights: Weights | None = None, **vision: Any) -> Path:
    """Write ``config.json``, with some fields of the image tower changed, and the weights."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {**CONFIG, "vision_config": {**CONFIG["vision_config"], **vision}}
    (folder / "config.json").write_text(json.dumps(config))
    save_file(weights or tower_weights(), folder / "model.safetensors")
    return folder


def run_tower(weights: Weights, images: NDArray[np.float32]) -> NDArray[np.float64]:
    """What the tower answers, float64 ``(n, 768)``, patch by patch and head by head."""
    w = {name.removeprefix("vision_model."): t.astype(np.float64) for name, t in weights.items()}

    def norm(name: str, x: NDArray[np.float64]) -> NDArray[np.float64]:
        centred = x - x.mean(axis=-1, keepdims=True)
        spread = np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-5)
        return np.asarray(centred / spread * w[f"{name}.weight"] + w[f"{name}.bias"])

    def linear(name: str, x: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(x @ w[f"{name}.weight"].T + w[f"{name}.bias"])

    answers = []
    for image in images.astype(np.float64):
        filters = w["embeddings.patch_embedding.weight"].reshape(HIDDEN, -1)
        tokens = [w["embeddings.class_embedding"]]
        for top in range(0, SIZE, PATCH):
            for left in range(0, SIZE, PATCH):
                patch = image[:, top : top + PATCH, left : left + PATCH]
                tokens.append(filters @ patch.ravel())
        x = norm("pre_layrnorm", np.stack(tokens) + w["embeddings.position_embedding.weight"])
        for index in range(LAYERS):
            layer = f"encoder.layers.{index}"
            seen = norm(f"{layer}.layer_norm1", x)
            q, k, v = (linear(f"{layer}.self_attn.{part}_proj", seen) for part in "qkv")
            heads = []
            for head in np.split(np.arange(HIDDEN), HEADS):
                scores = q[:, head] @ k[:, head].T / np.sqrt(len(head))
                shares = np.exp(scores - scores.max(axis=1, keepdims=True))
                heads.append(shares / shares.sum(axis=1, keepdims=True) @ v[:, head])
            x = x + linear(f"{layer}.self_attn.out_proj", np.concatenate(heads, axis=1))
            inner = linear(f"{layer}.mlp.fc1", norm(f"{layer}.layer_norm2", x))
            x = x + linear(f"{layer}.mlp.fc2", inner / (1 + np.exp(-1.702 * inner)))
        answers.append(w["visual_projection.weight"] @ norm("post_layernorm", x[0]))
    return np.stack(answers)
