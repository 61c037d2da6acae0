"""The weights that a run starts from: a fresh ResNet's, or those of a network trained before.

Knows checkpoints, ONNX files and symbols; nothing of photos or devices.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from locationnet.classes import ClassSet, sha256_key
from locationnet.errors import InputError, LocationNetError
from locationnet.train.backbones import freeze, resnet
from locationnet.train.compat import mx
from locationnet.train.config import Settings
from locationnet.train.last_layer import last_layer, with_new_head
from locationnet.train.weights import load_weights, run_fields

_PARAMS = re.compile(r"(.+)-(\d{4,})\.params")


@dataclass(frozen=True)
class InitialWeights:
    """A network before its first step.

    Parameters
    ----------
    symbol
        The plain network: input ``data``, output ``softmax``.
    arguments, auxiliary
        What it has learned; the rest is yet to be initialised.
    fixed
        Names of parameters that never change.
    head
        Names of the last layer's parameters.
    """

    symbol: mx.sym.Symbol
    arguments: dict[str, mx.nd.NDArray]
    auxiliary: dict[str, mx.nd.NDArray]
    fixed: list[str]
    head: list[str]

    @property
    def keeps_head(self) -> bool:
        """Whether the last layer too comes from the checkpoint."""
        return all(name in self.arguments for name in self.head)

    def check_export(self, settings: Settings) -> None:
        """Make sure that a bundle can be made of what this network will learn.

        Our own ResNets need no proof.

        Raises
        ------
        LocationNetError
            It cannot; the message names the file and the operator.
        """
        if settings.init is None:
            return
        from locationnet.train.export_check import about, check_export

        with about(f"{settings.init}: no bundle could be made of this network once it is trained"):
            check_export(self.symbol, settings.image_size, {**self.arguments, **self.auxiliary})


def initial_weights(settings: Settings, classes: ClassSet) -> InitialWeights:
    """Build or load the network that a run starts from.

    The last layer of a checkpoint is kept only where its run had the same classes (or, for one that
    has no record of its run, as many classes).

    Raises
    ------
    LocationNetError
        The checkpoint cannot be read, is not a network that we can train, or lacks the stage to
        freeze.
    """
    arguments: dict[str, mx.nd.NDArray] = {}
    auxiliary: dict[str, mx.nd.NDArray] = {}
    if settings.init is None:
        symbol = resnet(settings.depth, len(classes), settings.image_size)
    elif settings.init.suffix == ".onnx":
        from locationnet.train.onnx_import import import_onnx

        symbol, arguments, auxiliary = import_onnx(
            settings.init, len(classes), image_size=settings.image_size
        )
    else:
        symbol, arguments, auxiliary = _from_checkpoint(settings.init, classes)
    fixed: list[str] = []
    if settings.freeze is not None:
        symbol, fixed = freeze(symbol, settings.freeze)
    return InitialWeights(symbol, arguments, auxiliary, fixed, last_layer(symbol).parameters)


def _from_checkpoint(
    path: Path, classes: ClassSet
) -> tuple[mx.sym.Symbol, dict[str, mx.nd.NDArray], dict[str, mx.nd.NDArray]]:
    match = _PARAMS.fullmatch(path.name)
    if match is None:
        raise InputError(f"{path}: expected a checkpoint PREFIX-0012.params or an .onnx file")
    prefix = path.with_name(match[1])
    learned = load_weights(prefix, int(match[2]))
    fields = run_fields(prefix)
    same = not fields or fields.get(sha256_key(classes)) == classes.sha256
    names = last_layer(learned.symbol).parameters
    missing = [name for name in names if name not in learned.arguments]
    if missing:
        raise LocationNetError(f"{path}: lacks the parameter {missing[0]} of its last layer")
    outputs = learned.arguments[names[0]].shape[0]
    if outputs == len(classes) and same:
        return learned.symbol, dict(learned.arguments), dict(learned.auxiliary)
    symbol = with_new_head(learned.symbol, len(classes))
    replaced = {*names, *last_layer(symbol).parameters}
    arguments = {name: v for name, v in learned.arguments.items() if name not in replaced}
    return symbol, arguments, dict(learned.auxiliary)
