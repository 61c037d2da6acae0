"""Reading a checkpoint that any MXNet program may have written: a symbol and its parameters.

Knows the two files ``PREFIX-symbol.json`` and ``PREFIX-0012.params`` and what ``train`` notes down
beside them; not what the network is for.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from locationnet.errors import LocationNetError
from locationnet.train.backbones import DATA, LABEL, parameter_shapes, resnet_like
from locationnet.train.compat import last_words, mx
from locationnet.train.symbols import with_norms_on_channels

# What `train` calls its checkpoints in the directory of a run.
RUN_PREFIX = "checkpoint"


@dataclass(frozen=True)
class Weights:
    """A network with its parameters.

    Parameters
    ----------
    symbol
        Input ``data``, one output.
    arguments, auxiliary
        NDArrays by name, on the CPU; auxiliary states are the moving means and variances.
    """

    symbol: mx.sym.Symbol
    arguments: dict[str, mx.nd.NDArray]
    auxiliary: dict[str, mx.nd.NDArray]

    def check(self, image_size: int) -> None:
        """Check that every parameter of the symbol is there and has the right shape.

        Raises
        ------
        LocationNetError
            Names the first parameter that is missing or has another shape.
        """
        wanted_arguments, wanted_auxiliary = parameter_shapes(self.symbol, image_size)
        for wanted, found in (
            (wanted_arguments, self.arguments),
            (wanted_auxiliary, self.auxiliary),
        ):
            for name, shape in wanted.items():
                if name not in found:
                    raise LocationNetError(f"the parameters lack {name} {shape}")
                if found[name].shape != shape:
                    raise LocationNetError(
                        f"parameter {name} has shape {found[name].shape}, and the network wants"
                        f" {shape}"
                    )


@dataclass(frozen=True)
class Checkpoint:
    """Where a checkpoint lies: its files begin with ``prefix``."""

    prefix: Path
    epoch: int


def params_path(prefix: str | os.PathLike[str], epoch: int) -> Path:
    """Return the parameters' file as MXNet names it: ``PREFIX-0012.params``."""
    return Path(f"{os.fspath(prefix)}-{epoch:04d}.params")


def find_checkpoint(path: str | os.PathLike[str], epoch: int | None = None) -> Checkpoint:
    """Find a checkpoint by prefix or by the directory of a run.

    Parameters
    ----------
    path
        ``RUN_DIR/checkpoint``, or ``RUN_DIR`` for the same.
    epoch
        By default the one that the run's ``best.json`` names, or else the latest.

    Raises
    ------
    LocationNetError
        There is none.
    """
    prefix = Path(path)
    if prefix.is_dir():
        prefix = prefix / RUN_PREFIX
    name = re.compile(re.escape(prefix.name) + r"-(\d{4,})\.params")
    matches = (name.fullmatch(file.name) for file in prefix.parent.glob("*.params"))
    epochs = sorted(int(match[1]) for match in matches if match)
    if not epochs:
        raise LocationNetError(f"{prefix}: no checkpoint ({prefix.name}-NNNN.params) found")
    if epoch is None:
        best = _best_epoch(prefix)
        epoch = epochs[-1] if best is None else best
    if epoch not in epochs:
        there = ", ".join(map(str, epochs))
        raise LocationNetError(f"{params_path(prefix, epoch)}: no such file; there is {there}")
    return Checkpoint(prefix, epoch)


def load_weights(prefix: str | os.PathLike[str], epoch: int) -> Weights:
    """Load a checkpoint.

    A symbol file is used as it is, whichever MXNet wrote it. Without one the parameters must be
    those of one of our ResNets.

    Parameters
    ----------
    prefix
        Path of both files without ``-symbol.json`` and ``-0012.params``.
    epoch
        The number in the parameters' name.

    Raises
    ------
    LocationNetError
        A file is missing or corrupt; the message names it.
    """
    path = params_path(prefix, epoch)
    if not path.is_file():
        raise LocationNetError(f"{path}: no such checkpoint")
    try:
        saved = mx.nd.load(str(path))
    except mx.MXNetError as error:
        raise LocationNetError(f"{path}: not parameters saved by MXNet, or truncated") from error
    if not isinstance(saved, dict) or not all(name[:4] in ("arg:", "aux:") for name in saved):
        raise LocationNetError(f"{path}: not the parameters of a network (arg:…, aux:…)")
    arguments = {name[4:]: value for name, value in saved.items() if name.startswith("arg:")}
    auxiliary = {name[4:]: value for name, value in saved.items() if name.startswith("aux:")}
    return Weights(
        _symbol(Path(f"{os.fspath(prefix)}-symbol.json"), arguments, path), arguments, auxiliary
    )


def run_fields(prefix: str | os.PathLike[str]) -> dict[str, Any]:
    """Return what ``train`` wrote into ``PREFIX-run.json``; empty where there is no such file.

    Raises
    ------
    LocationNetError
        The file is not a JSON object.
    """
    path = Path(f"{os.fspath(prefix)}-run.json")
    if not path.is_file():
        return {}
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise LocationNetError(f"{path}: not JSON ({error})") from error
    if not isinstance(fields, dict):
        raise LocationNetError(f"{path}: expected a JSON object")
    return fields


def _best_epoch(prefix: Path) -> int | None:
    """Return the epoch that a run's ``best.json`` names, if the prefix is a run's."""
    pointer = prefix.parent / "best.json"
    if prefix.name != RUN_PREFIX or not pointer.is_file():
        return None
    try:
        return int(json.loads(pointer.read_text(encoding="utf-8"))["epoch"])
    except (ValueError, TypeError, KeyError) as error:
        raise LocationNetError(f"{pointer}: does not name an epoch") from error


def _symbol(path: Path, arguments: dict[str, mx.nd.NDArray], params: Path) -> mx.sym.Symbol:
    if not path.is_file():
        try:
            return resnet_like({name: value.shape for name, value in arguments.items()})
        except LocationNetError as error:
            raise LocationNetError(f"{path}: missing, and of {params.name} {error}") from error
    try:
        symbol = with_norms_on_channels(mx.sym.load(str(path)))
    except mx.MXNetError as error:
        reason = last_words(error)
        raise LocationNetError(f"{path}: not a symbol that MXNet reads ({reason})") from error
    inputs = set(symbol.list_arguments()) - set(arguments) - {LABEL}
    if DATA not in inputs:
        raise LocationNetError(f"{path}: the network has no input named {DATA}")
    return symbol
