"""Packs of the synthetic world and a network small enough to train in seconds."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from locationnet.geo import s2
from locationnet.geo.grid import Grid
from locationnet.pack.build import pack_photos
from locationnet.pack.format import Pack
from locationnet.train.backbones import parameter_shapes
from locationnet.train.compat import mx
from locationnet.train.config import Settings
from locationnet.train.module import random_weights

SIZE = 32


def load_world() -> ModuleType:
    """Import the generator, which is a script and belongs to no package."""
    path = Path(__file__).parents[2] / "scripts" / "synthetic_world.py"
    spec = importlib.util.spec_from_file_location("synthetic_world", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def town_grid() -> Grid:
    """One large cell for each town of the synthetic world, or for neighbours together."""
    lat, lng = np.array(load_world().TOWNS).T
    ids = np.unique(s2.parent_ids(s2.leaf_ids(lat, lng), 2))
    return Grid(ids, *s2.centers(ids))


@pytest.fixture(scope="session")
def packs(town_grid: Grid, tmp_path_factory: pytest.TempPathFactory) -> tuple[Pack, Pack]:
    """A training pack of about 100 photos and one of about 30 to validate on."""
    folder = tmp_path_factory.mktemp("world")
    made = []
    for name, photos, seed in (("train", 101, 0), ("val", 30, 1)):
        table = load_world().make_world(folder / name, photos, size=48, seed=seed)
        made.append(pack_photos(table, folder / name, town_grid, folder / f"{name}-pack"))
    return made[0], made[1]


@pytest.fixture(scope="session")
def make_network(tmp_path_factory: pytest.TempPathFactory, town_grid: Grid) -> Callable[..., Path]:
    """Write a checkpoint of two convolutions that has learned nothing; no BatchNorm by default."""

    def make(*, norm: bool = False, classes: int | None = None) -> Path:
        body = mx.sym.Variable("data")
        for number, filters in enumerate((8, 16)):
            body = mx.sym.Convolution(
                body, num_filter=filters, kernel=(3, 3), stride=(2, 2), name=f"conv{number}"
            )
            if norm:
                body = mx.sym.BatchNorm(body, fix_gamma=False, name=f"norm{number}")
            body = mx.sym.Activation(body, act_type="relu", name=f"relu{number}")
        body = mx.sym.Pooling(body, global_pool=True, kernel=(1, 1), pool_type="avg", name="pool")
        body = mx.sym.Flatten(body, name="flatten")
        outputs = len(town_grid) if classes is None else classes
        body = mx.sym.FullyConnected(body, num_hidden=outputs, name="fc1")
        symbol = mx.sym.SoftmaxOutput(body, name="softmax")
        prefix = tmp_path_factory.mktemp("network") / "small"
        symbol.save(f"{prefix}-symbol.json")
        arguments, states = parameter_shapes(symbol, SIZE)
        saved = {f"arg:{name}": value for name, value in random_weights(arguments, 0).items()}
        saved |= {f"aux:{name}": value for name, value in random_weights(states, 0).items()}
        mx.nd.save(f"{prefix}-0000.params", saved)
        return Path(f"{prefix}-0000.params")

    return make


@pytest.fixture(scope="session")
def small_network(make_network: Callable[..., Path]) -> Path:
    """One such checkpoint."""
    return make_network()


@pytest.fixture
def make_settings(
    packs: tuple[Pack, Pack], small_network: Path, tmp_path: Path
) -> Callable[..., Settings]:
    """Settings of a run that takes a second."""

    def make(**changes: Any) -> Settings:
        training, validation = packs
        usual: dict[str, Any] = {
            "train": training.path,
            "validation": validation.path,
            "out": tmp_path / "run",
            "init": small_network,
            "image_size": SIZE,
            "std": (60.0, 60.0, 60.0),
            "batch_size": 16,
            "epochs": 2,
            "rate": 0.05,
            "schedule": "cosine",
            "warmup": 0.5,
            "log_every": 3,
            "every_minutes": 0.0,
            "threads": 2,
        }
        return Settings(**{**usual, **changes})

    return make
