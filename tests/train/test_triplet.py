"""The triplet loss by hand and against numeric slopes, and runs that learn with it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray

from locationnet.errors import InputError, LocationNetError
from locationnet.pack.format import Pack
from locationnet.train import checkpoints, loop
from locationnet.train.compat import mx
from locationnet.train.config import Settings
from locationnet.train.log import read
from locationnet.train.loop import train
from locationnet.train.presets import resumed
from locationnet.train.triplet import triplet_loss, triplet_symbol
from tests.train.test_loss import linear

Make = Callable[..., Settings]
Floats = NDArray[np.float64]


def _on_circle(*degrees: float) -> Floats:
    """Return embeddings whose squared distances are 2 − 2 cos of the angle between."""
    angles = np.radians(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def _of_places(*places: int) -> Floats:
    """Return the relations of photos of these places, which are far apart."""
    same = np.equal.outer(places, places)
    return np.where(same, 1.0, -1.0) - np.eye(len(places))


def _computed(embedding: Floats, relations: Floats, margin: float) -> tuple[Floats, Floats]:
    """Return MXNet's losses and the gradient of their sum."""
    symbol = mx.sym.MakeLoss(
        triplet_loss(mx.sym.Variable("embedding"), mx.sym.Variable("relations"), margin)
    )
    given = {"embedding": mx.nd.array(embedding), "relations": mx.nd.array(relations)}
    slope = mx.nd.zeros(embedding.shape)
    executor = symbol.bind(mx.cpu(), given, args_grad={"embedding": slope})
    [losses] = executor.forward(is_train=True)
    executor.backward()
    return losses.asnumpy(), slope.asnumpy()


def _by_loops(embedding: Floats, relations: Floats, margin: float) -> Floats:
    """Return the losses as the paper's sentence reads, one triplet after the other."""
    distance = ((embedding[:, None] - embedding[None]) ** 2).sum(axis=2)
    losses = []
    for anchor, row in enumerate(relations):
        negatives = distance[anchor][row < 0]
        found = []
        for to_positive in distance[anchor][row > 0]:
            farther = negatives[negatives > to_positive]
            if len(negatives):
                to_negative = farther.min() if len(farther) else negatives.max()
                found.append(max(0.0, margin + to_positive - to_negative))
        losses.append(np.mean(found) if found else 0.0)
    return np.array(losses)


def test_the_loss_of_four_photos_is_what_a_pencil_says() -> None:
    # Two of one place at 0° and 20°, two of another at 30° and 80°.
    embedding, relations = _on_circle(0, 20, 30, 80), _of_places(0, 0, 1, 1)
    losses, _ = _computed(embedding, relations, margin=0.2)
    near, far = (2 - 2 * np.cos(np.radians(angle)) for angle in (20, 30))
    # Seen from 0°, 30° is the nearest negative behind 20°, and within the margin.
    assert losses[0] == pytest.approx(0.2 + near - far, abs=1e-5)
    # Seen from 20°, 30° is nearer than 0° and passed over: 60° away, 80° is far enough.
    assert losses[1] == pytest.approx(0, abs=1e-6)
    # Seen from 30°, both negatives are nearer than 80°: the farther of them, at 0°, counts.
    across, to_first = (2 - 2 * np.cos(np.radians(angle)) for angle in (50, 30))
    assert losses[2] == pytest.approx(0.2 + across - to_first, abs=1e-5)
    assert_allclose(losses, _by_loops(embedding, relations, 0.2), atol=1e-5)


def test_photos_without_positives_or_negatives_cost_nothing() -> None:
    relations = np.array([[0, 0, -1], [0, 0, 0], [-1, 0, 0]], float)
    losses, slope = _computed(_on_circle(0, 10, 20), relations, margin=1.0)
    assert_array_equal(losses, 0)
    assert_array_equal(slope, 0)
    relations = np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]], float)
    assert_array_equal(_computed(_on_circle(0, 10, 20), relations, margin=1.0)[0], 0)


def test_mining_and_gradient_agree_with_loops_over_triplets() -> None:
    random = np.random.default_rng(5)
    embedding = random.standard_normal((12, 6))
    embedding /= np.linalg.norm(embedding, axis=1, keepdims=True)
    relations = _of_places(*random.integers(0, 4, 12))
    relations[np.triu_indices(12)] *= random.integers(0, 2, 78)
    losses, slope = _computed(embedding, relations, margin=0.4)
    assert (losses > 0).any()
    assert_allclose(losses, _by_loops(embedding, relations, 0.4), atol=1e-5)
    # 2 − 2 cos is the squared distance on the sphere only, so the slopes are compared along it.
    step = 1e-5
    for row, column in np.ndindex(*embedding.shape):
        along = np.eye(6)[column] - embedding[row, column] * embedding[row]
        moved = []
        for sign in (1, -1):
            changed = embedding.copy()
            changed[row] += sign * step * along
            changed[row] /= np.linalg.norm(changed[row])
            moved.append(_by_loops(changed, relations, 0.4).sum())
        assert slope[row] @ along == pytest.approx((moved[0] - moved[1]) / (2 * step), abs=1e-3)


def test_the_classifier_learns_without_changing_what_it_reads() -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (4, 4, 4, 3)).astype(np.uint8)
    body = mx.sym.Convolution(mx.sym.Variable("data"), num_filter=3, kernel=(1, 1), name="conv")
    network = linear(3)(data=body)
    symbol = triplet_symbol(network, 3, margin=0.5, mean=(0, 0, 0), std=(255, 255, 255))
    shapes = {
        "data": (4, 4, 4, 3), "softmax_label": (4, 1), "softmax_label_weight": (4, 1),
        "relations": (4, 4),
    }  # fmt: skip
    types = dict.fromkeys(shapes, np.float32) | {"data": np.uint8}
    executor = symbol.simple_bind(mx.cpu(), **shapes, type_dict=types)
    executor.copy_params_from(
        {
            "conv_weight": mx.nd.array(np.eye(3).reshape(3, 3, 1, 1)),
            "conv_bias": mx.nd.zeros(3),
            "fc1_weight": mx.nd.zeros((3, 3)),
            "fc1_bias": mx.nd.zeros(3),
        }
    )
    features = pixels.mean(axis=(1, 2)) / 255
    slopes = []
    for classes in ([0, 0, 1, 1], [2, 1, 0, 0]):
        outputs = executor.forward(
            is_train=True,
            data=mx.nd.array(pixels, dtype=np.uint8),
            softmax_label=mx.nd.array(np.reshape(classes, (4, 1))),
            softmax_label_weight=mx.nd.ones((4, 1)),
            relations=mx.nd.array(_of_places(0, 0, 1, 1)),
        )
        executor.backward()
        lengths = np.linalg.norm(features, axis=1, keepdims=True)
        assert_allclose(outputs[2].asnumpy(), features / lengths, rtol=1e-4)
        assert_allclose(outputs[3].asnumpy(), np.log(3), rtol=1e-4)
        slope = (1 / 3 - np.eye(3)[classes]).T @ features
        assert_allclose(executor.grad_dict["fc1_weight"].asnumpy(), slope, atol=1e-4)
        slopes.append(executor.grad_dict["conv_weight"].asnumpy().copy())
    assert np.abs(slopes[0]).max() > 1e-3
    assert_array_equal(*slopes)


def _epochs(run: Path) -> list[dict[str, Any]]:
    return [record for record in read(run / "log.jsonl") if record["kind"] == "epoch"]


def test_a_run_learns_to_find_photos_of_the_same_place(
    make_settings: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = make_settings(objective="triplet", epochs=6, rate=0.2, margin=0.5)
    outcome = train(settings)
    epochs = _epochs(settings.out)
    recalls = [record["validation"]["recall_at_1"] for record in epochs]
    assert outcome.best_epoch == 1 + int(np.argmax(recalls))
    assert json.loads((settings.out / "best.json").read_text())["by"] == "recall_at_1"
    assert epochs[-1]["loss"] < epochs[0]["loss"]
    assert max(recalls) > 0.3
    for record in epochs:
        found = [record["validation"][f"recall_at_{many}"] for many in (1, 5, 10)]
        assert found == sorted(found)
        assert 0 <= record["validation"]["nearest_within_25_km"] <= 1
        assert "loss" not in record["validation"]
    said = capsys.readouterr().err
    assert "places x 4 photos on each device" in said
    assert "recall@1/5/10" in said
    assert (settings.out / "training.png").is_file()


def test_a_resumed_run_goes_through_the_same_batches(
    make_settings: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    how = {"objective": "triplet", "epochs": 2, "every_batches": 1, "devices": "cpu:2"}
    whole = make_settings(**how, batch_size=8, out=tmp_path / "whole")
    train(whole)
    stopped = make_settings(**how, batch_size=8, out=tmp_path / "stopped")

    def fail(*_: object) -> None:
        raise LocationNetError("stopped here")

    with monkeypatch.context() as patch, pytest.raises(LocationNetError, match="stopped here"):
        patch.setattr(loop, "validate", fail)
        train(stopped)
    newest = checkpoints.newest(stopped.out)
    assert newest is not None
    shutil.rmtree(newest)
    with pytest.raises(InputError, match="batch size is 8, not 16"):
        resumed(stopped.out, {"batch_size": 16, "devices": "cpu:1"}, {})
    train(stopped, resume=True)
    first, second = (
        mx.nd.load(str(run.out / "checkpoint-0002.params")) for run in (whole, stopped)
    )
    for name, value in first.items():
        assert_allclose(second[name].asnumpy(), value.asnumpy(), atol=1e-3, err_msg=name)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"margin": 0.0}, "margin 0.0: expected above 0"),
        ({"batch_size": 4}, "expected two places or more of 4 photos each"),
        ({"batch_size": 18}, "expected two places or more of 4 photos each"),
        ({"photos_per_place": 1}, "expected at least 2"),
        ({"photos_per_place": 0}, "expected at least 2"),
        ({"positive_km": 50.0, "negative_km": 25.0}, "the second no smaller"),
        ({"place_km": 20.0, "negative_km": 25.0}, "within 40 km, negatives beyond 25 km"),
        ({"positive_km": float("nan")}, "expected 0 or more"),
        ({"place_km": -1.0}, "expected a number above 0"),
        ({"smooth_km": 75.0}, "belong to the objective cross-entropy"),
        ({"best_by": "loss"}, "expected one of recall_at_1"),
        ({"objective": "cross-entropy", "margin": 0.3}, "--margin needs --objective triplet"),
        ({"objective": "cross-entropy", "best_by": "recall_at_1"}, "expected one of loss"),
        ({"objective": "quadruplet"}, "expected cross-entropy or triplet"),
    ],
)
def test_a_setting_that_does_not_fit_is_one_line(
    make_settings: Make, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        make_settings(**{"objective": "triplet", **changes})


def test_too_few_places_are_said_before_anything_is_written(
    make_settings: Make, packs: tuple[Pack, Pack]
) -> None:
    for changes, said in (
        ({"batch_size": 128}, r"a batch of a device takes 32 places x 4 photos"),
        ({"positive_km": 0.0}, r"no two photos of a batch show the same place"),
        ({"negative_km": 20037.0}, r"no two photos of a batch show different places"),
    ):
        settings = make_settings(objective="triplet", **changes)
        with pytest.raises(InputError, match=said):
            train(settings)
        assert not settings.out.exists()
