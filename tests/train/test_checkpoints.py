"""What a run's folder holds after kills, and what is picked up from it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from locationnet.errors import LocationNetError
from locationnet.train import checkpoints
from locationnet.train.checkpoints import Progress, State
from locationnet.train.compat import mx


def _state(epoch: int, batch: int, value: float = 0.0) -> State:
    return State(
        Progress(epoch=epoch, batch=batch, updates=10 * epoch + batch, best=0.5, best_epoch=1),
        {"arg:w": mx.nd.full((2, 3), value), "aux:v": mx.nd.ones((3,))},
        {"momentum:w": mx.nd.full((2, 3), -value)},
    )


def test_what_was_written_is_read(tmp_path: Path) -> None:
    path = checkpoints.write(tmp_path, _state(1, 4, 7.0), end_of_epoch=False)
    assert checkpoints.newest(tmp_path) == path
    state = checkpoints.read(path)
    assert state.progress == _state(1, 4).progress
    assert state.parameters["arg:w"].asnumpy().tolist() == [[7.0] * 3] * 2
    assert state.optimizer["momentum:w"].asnumpy()[0, 0] == -7
    assert not list(tmp_path.glob("*.params"))


def test_an_optimizer_without_momentum_is_empty(tmp_path: Path) -> None:
    state = State(Progress(epoch=1), {"arg:w": mx.nd.ones((1,))})
    assert checkpoints.read(checkpoints.write(tmp_path, state, end_of_epoch=True)).optimizer == {}


def test_only_the_two_newest_states_stay_and_every_epochs_parameters(tmp_path: Path) -> None:
    for epoch in range(1, 5):
        checkpoints.write(tmp_path, _state(epoch, 0), end_of_epoch=True)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [
        *(f"checkpoint-{epoch:04d}.params" for epoch in range(1, 5)),
        "state-0003-0000000",
        "state-0004-0000000",
    ]


@pytest.mark.parametrize("damage", ["no mark", "short weights", "no optimizer", "broken mark"])
def test_a_half_written_state_is_never_picked_up(tmp_path: Path, damage: str) -> None:
    whole = checkpoints.write(tmp_path, _state(1, 0), end_of_epoch=True)
    half = checkpoints.write(tmp_path, _state(1, 9), end_of_epoch=False)
    assert checkpoints.newest(tmp_path) == half
    if damage == "no mark":
        (half / "complete.json").unlink()
    elif damage == "short weights":
        data = (half / "weights.params").read_bytes()
        (half / "weights.params").write_bytes(data[:-1])
    elif damage == "no optimizer":
        (half / "optimizer.params").unlink()
    else:
        (half / "complete.json").write_text('{"sizes": {"wei')
    assert checkpoints.newest(tmp_path) == whole
    # The run comes back to that place and writes it again.
    again = checkpoints.write(tmp_path, _state(1, 9, 3.0), end_of_epoch=False)
    assert again == half == checkpoints.newest(tmp_path)
    assert checkpoints.read(again).parameters["arg:w"].asnumpy()[0, 0] == 3


def test_what_a_kill_left_behind_is_cleared_away(tmp_path: Path) -> None:
    path = checkpoints.write(tmp_path, _state(1, 0), end_of_epoch=False)
    shutil.copytree(path, tmp_path / ".state-abandoned")
    checkpoints.write(tmp_path, _state(2, 0), end_of_epoch=False)
    assert not (tmp_path / ".state-abandoned").exists()


def test_a_full_disk_is_one_clear_line_and_leaves_the_old_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = checkpoints.write(tmp_path, _state(1, 0), end_of_epoch=False)

    def full(*_: object) -> None:
        raise mx.MXNetError("Check failed: fwrite")

    monkeypatch.setattr(mx.nd, "save", full)
    with pytest.raises(LocationNetError, match="is the disk full"):
        checkpoints.write(tmp_path, _state(2, 0), end_of_epoch=False)
    assert checkpoints.newest(tmp_path) == path
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_a_folder_without_a_run_is_named(tmp_path: Path) -> None:
    assert checkpoints.newest(tmp_path / "nothing") is None
    with pytest.raises(LocationNetError, match="contains no run"):
        checkpoints.read_run_fields(tmp_path)
    (tmp_path / "checkpoint-run.json").write_text("[]")
    with pytest.raises(LocationNetError, match="lacks the run's settings"):
        checkpoints.read_run_fields(tmp_path)
