"""A run's course: what it logs, when it ends, and what it says when something is wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from locationnet.errors import InputError, LocationNetError, MissingExtraError
from locationnet.pack.format import Pack
from locationnet.train import checkpoints, curves, loop
from locationnet.train.compat import mx
from locationnet.train.config import Settings
from locationnet.train.log import read
from locationnet.train.loop import train
from locationnet.train.preflight import clear_errors

Make = Callable[..., Settings]


def _epochs(run: Path) -> list[dict[str, Any]]:
    return [record for record in read(run / "log.jsonl") if record["kind"] == "epoch"]


def test_every_epoch_and_every_few_batches_are_logged(
    make_settings: Make, packs: tuple[Pack, Pack], capsys: pytest.CaptureFixture[str]
) -> None:
    settings = make_settings()
    outcome = train(settings)
    assert outcome.epochs == 2
    records = read(settings.out / "log.jsonl")
    # 101 photos are seven batches of 16.
    assert [
        (record["epoch"], record["batch"]) for record in records if record["kind"] == "batch"
    ] == [(epoch, batch) for epoch in (1, 2) for batch in (3, 6, 7)]
    for record in records:
        assert record["loss"] > 0
        assert record["images_per_second"] > 0
        assert record["memory_mb"] > 10
    epochs = _epochs(settings.out)
    for record in epochs:
        assert {"top1", "top5", "median_km", "geoscore", "within_25_km", "loss"} <= set(
            record["validation"]
        )
        within = [record["validation"][f"within_{km}_km"] for km in (1, 25, 200, 750, 2500)]
        assert within == sorted(within)
    assert epochs[-1]["rate"] < epochs[0]["rate"] <= settings.rate
    said = capsys.readouterr().err
    assert len([line for line in said.splitlines() if "batch" in line]) >= 6
    assert said.count("epoch 1 done") == 1
    facts = checkpoints.read_run_fields(settings.out)
    assert facts["train_photos"] == packs[0].records
    assert sum(facts["counts_per_class"]) == packs[0].records
    with Image.open(settings.out / "training.png") as picture:
        assert picture.size > (800, 500)


def test_the_best_epoch_is_the_one_that_was_asked_for(make_settings: Make) -> None:
    settings = make_settings(epochs=4, best_by="loss")
    outcome = train(settings)
    losses = [record["validation"]["loss"] for record in _epochs(settings.out)]
    assert outcome.best_epoch == 1 + int(np.argmin(losses))
    best = json.loads((settings.out / "best.json").read_text())
    assert best["epoch"] == outcome.best_epoch
    assert best["value"] == min(losses)
    assert (settings.out / best["params"]).is_file()


def test_patience_ends_a_run_that_gets_no_better(make_settings: Make) -> None:
    # A rate of next to nothing: the share of right answers cannot change.
    settings = make_settings(epochs=30, rate=1e-12, best_by="top1", patience=2)
    outcome = train(settings)
    assert outcome.epochs == 3
    assert outcome.best_epoch == 1


def test_a_loss_that_is_no_number_says_what_to_do(make_settings: Make) -> None:
    settings = make_settings(rate=1e30, epochs=3, warmup=0.0)
    with pytest.raises(LocationNetError) as caught:
        train(settings)
    message = str(caught.value)
    assert "not a number any more at epoch" in message
    assert "half the --rate" in message
    # What is there to resume from is from before.
    newest = checkpoints.newest(settings.out)
    assert newest is not None
    for value in checkpoints.read(newest).parameters.values():
        assert np.isfinite(value.asnumpy()).all()


def test_resuming_asks_for_batches_of_the_same_size(make_settings: Make) -> None:
    settings = make_settings(epochs=1)
    train(settings)
    with pytest.raises(InputError, match="each update took 16 photos"):
        train(make_settings(epochs=1, batch_size=8), resume=True)
    # Two devices of half the photos are the same update.
    train(make_settings(epochs=1, batch_size=8, devices="cpu:2"), resume=True)


def test_a_network_with_other_classes_gets_a_new_head(
    make_settings: Make, make_network: Callable[..., Path]
) -> None:
    settings = make_settings(init=make_network(classes=3, norm=True), epochs=1, freeze="relu0")
    before = mx.nd.load(str(settings.init))
    train(settings)
    after = mx.nd.load(str(settings.out / "checkpoint-0001.params"))
    assert after["arg:fc1_weight"].shape[0] == checkpoints.read_run_fields(settings.out)["classes"]
    for name in ("arg:conv0_weight", "arg:norm0_gamma", "aux:norm0_moving_mean"):
        np.testing.assert_array_equal(after[name].asnumpy(), before[name].asnumpy(), name)
    for name in ("arg:conv1_weight", "aux:norm1_moving_mean"):
        assert not np.array_equal(after[name].asnumpy(), before[name].asnumpy()), name


def test_an_epoch_is_saved_before_it_is_validated(
    make_settings: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = make_settings(epochs=1)

    def fail(*_: object) -> None:
        raise LocationNetError("a damaged photo")

    with monkeypatch.context() as patch, pytest.raises(LocationNetError, match="damaged"):
        patch.setattr(loop, "validate", fail)
        train(settings)
    newest = checkpoints.newest(settings.out)
    assert newest is not None
    assert checkpoints.read_progress(newest).batch == 7
    assert train(settings, resume=True).epochs == 1


def test_parameters_that_a_kill_kept_from_their_name_get_it_on_resume(
    make_settings: Make,
) -> None:
    settings = make_settings(epochs=1)
    train(settings)
    (settings.out / "checkpoint-0001.params").unlink()
    train(settings, resume=True)
    assert (settings.out / "checkpoint-0001.params").is_file()


@pytest.mark.parametrize(
    ("thrown", "said"),
    [
        (mx.MXNetError("cudaMalloc failed: out of memory"), "lower --batch-size (now 16 on each"),
        (RuntimeError("simple_bind error.\nError: out of memory"), "or add --fp16"),
        (mx.MXNetError("Stack trace:\nError in operator fc1: shape"), "operator fc1"),
    ],
)
def test_what_mxnet_throws_becomes_one_line(
    make_settings: Make, thrown: Exception, said: str
) -> None:
    with pytest.raises(LocationNetError) as caught, clear_errors(make_settings()):
        raise thrown
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_our_own_mistakes_stay_visible(make_settings: Make) -> None:
    with pytest.raises(RuntimeError, match="ours"), clear_errors(make_settings()):
        raise RuntimeError("ours")


def test_a_run_is_complete_without_matplotlib(
    make_settings: Make, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def missing(_: Path) -> Path:
        raise MissingExtraError("training.png", "train")

    monkeypatch.setattr(curves, "draw", missing)
    assert loop.train(make_settings(epochs=1)).epochs == 1
    assert "locationnet[train]" in capsys.readouterr().err


def test_a_log_that_a_kill_cut_short_is_read_up_to_there(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    log.write_text('{"kind": "batch", "update": 1}\n{"kind": "bat')
    assert read(log) == [{"kind": "batch", "update": 1}]
