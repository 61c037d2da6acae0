"""One network on one or many devices: a step, an answer, its weights and its momentum.

Knows ``mx.mod.Module`` and its optimizer; nothing of epochs, files or where photos are from.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from locationnet.errors import LocationNetError
from locationnet.train.backbones import DATA
from locationnet.train.compat import mx
from locationnet.train.schedule import Schedule

_MOMENTUM, _MASTER = "momentum:", "master:"
Arrays = dict[str, mx.nd.NDArray]


class Answer(NamedTuple):
    """What a batch gave: loss float32 ``(n,)`` and best classes int64 ``(n, at most 5)``.

    Where embeddings are learned, they are float32 ``(n, features)``, of length 1.
    """

    loss: NDArray[np.float32]
    best: NDArray[np.int64]
    embedding: NDArray[np.float32] | None = None


class Pending:
    """An answer that the devices may still be computing."""

    def __init__(self, outputs: Sequence[mx.nd.NDArray]) -> None:
        self._outputs = outputs

    def read(self) -> Answer:
        """Wait for the answer."""
        loss, best, *embedding = (output.asnumpy() for output in self._outputs)
        return Answer(loss, best.astype(np.int64), *embedding)


@dataclass(frozen=True)
class Optimizer:
    """SGD with momentum.

    Parameters
    ----------
    schedule
        The learning rate by update.
    momentum, weight_decay
        As usual; parameters with one dimension (biases, normalisations) do not decay.
    rates
        Learning rate of parameters relative to the schedule, by name; 1 unless given.
    updates
        That were made before, in a resumed run.
    """

    schedule: Schedule
    momentum: float
    weight_decay: float
    rates: Mapping[str, float]
    updates: int = 0


class TrainingModule:
    """An ``mx.mod.Module`` bound to its devices, with its optimizer.

    Parameters
    ----------
    symbol
        From `locationnet.train.loss.training_symbol`, or another whose outputs begin with those of
        an `Answer`.
    contexts
        The devices; each gets an equal share of every batch.
    data, label
        Descriptions of the inputs, as iterators provide them.
    fixed
        Names of parameters that stay as they are.
    kvstore
        Where gradients meet; None for a single device.
    """

    def __init__(
        self,
        symbol: mx.sym.Symbol,
        contexts: Sequence[mx.Context],
        data: Sequence[mx.io.DataDesc],
        label: Sequence[mx.io.DataDesc],
        *,
        fixed: Sequence[str] = (),
        kvstore: Any = None,
    ) -> None:
        self._module = mx.mod.Module(
            symbol,
            data_names=[DATA],
            label_names=[description.name for description in label],
            context=list(contexts),
            fixed_param_names=list(fixed),
        )
        self._module.bind(data, label, for_training=True)
        self._fixed = frozenset(fixed)
        self._kvstore = kvstore
        self._devices = len(contexts)
        self._global_batch = data[0].shape[0] * (kvstore.num_workers if kvstore else 1)
        # One device's share: photos that are compared with each other are.
        inputs = {
            description.name: (description.shape[0] // self._devices, *description.shape[1:])
            for description in (*data, *label)
        }
        arguments, _, states = symbol.infer_shape(**inputs)
        self.shapes = {
            name: shape
            for name, shape in zip(symbol.list_arguments(), arguments, strict=True)
            if name not in inputs
        }
        self.state_shapes = dict(zip(symbol.list_auxiliary_states(), states, strict=True))

    def set_weights(self, arguments: Arrays, auxiliary: Arrays) -> None:
        """Put weights on all devices.

        Raises
        ------
        LocationNetError
            One is missing or has another shape.
        """
        for expected, found in ((self.shapes, arguments), (self.state_shapes, auxiliary)):
            for name, shape in expected.items():
                if name not in found or found[name].shape != shape:
                    got = f"shape {found[name].shape}" if name in found else "none"
                    raise LocationNetError(f"parameter {name}: expected shape {shape}, got {got}")
        self._module.init_params(
            initializer=None,
            arg_params={name: arguments[name] for name in self.shapes},
            aux_params={name: auxiliary[name] for name in self.state_shapes},
            force_init=True,
        )

    def weights(self) -> tuple[Arrays, Arrays]:
        """Return copies of the parameters and auxiliary states, float32, on the CPU.

        Where float16 is computed, parameters come from their float32 masters.
        """
        arguments, auxiliary = self._module.get_params()
        masters: Arrays = {}
        if any(value.dtype == np.float16 for value in arguments.values()):
            masters = {
                name.removeprefix(_MASTER): value
                for name, value in self.momentum().items()
                if name.startswith(_MASTER)
            }
        return (
            {
                name: masters.get(name, value).astype(np.float32)
                for name, value in arguments.items()
            },
            {name: value.astype(np.float32) for name, value in auxiliary.items()},
        )

    def set_optimizer(self, how: Optimizer, momentum: Arrays | None = None) -> None:
        """Prepare for `step`.

        Parameters
        ----------
        how
            The optimizer.
        momentum
            What `momentum` returned when the run was interrupted, on any number of devices.
        """
        optimizer = mx.optimizer.SGD(
            learning_rate=how.schedule.base_lr,
            lr_scheduler=how.schedule,
            momentum=how.momentum,
            wd=how.weight_decay,
            rescale_grad=1 / self._global_batch,
            multi_precision=True,
            begin_num_update=how.updates,
            param_idx2name=dict(self._by_index()),
        )
        optimizer.set_wd_mult({name: float(len(s) > 1) for name, s in self.shapes.items()})
        optimizer.set_lr_mult(dict(how.rates))
        # Weights are updated where they are, not on a server: only so do all workers hold the
        # momentum that a checkpoint needs.
        before = os.environ.get("MXNET_UPDATE_ON_KVSTORE")
        os.environ["MXNET_UPDATE_ON_KVSTORE"] = "0"
        try:
            self._module.init_optimizer(
                kvstore=self._kvstore or "device", optimizer=optimizer, force_init=True
            )
        finally:
            if before is None:
                del os.environ["MXNET_UPDATE_ON_KVSTORE"]
            else:
                os.environ["MXNET_UPDATE_ON_KVSTORE"] = before
        self._restore(momentum or {})

    def step(self, batch: mx.io.DataBatch) -> Pending:
        """Learn from a batch; returns before the devices are done."""
        self._module.forward(batch, is_train=True)
        self._module.backward()
        self._module.update()
        return self._pending()

    def answer(self, batch: mx.io.DataBatch) -> Pending:
        """Answer without learning."""
        self._module.forward(batch, is_train=False)
        return self._pending()

    def momentum(self) -> Arrays:
        """Return the optimizer's state of each parameter, on the CPU; equal on all devices.

        Named ``momentum:…`` and, where float16 is computed, ``master:…`` (float32 weights).
        """
        found = {}
        states = self._updater.states if self._updater else {}
        for index, name in self._by_index():
            state = states.get(index)
            if state is None or index % self._devices:
                continue
            momentum, master = state if isinstance(state, tuple) else (state, None)
            for kind, value in ((_MOMENTUM, momentum), (_MASTER, master)):
                if value is not None:
                    found[kind + name] = value.as_in_context(mx.cpu()).copy()
        return found

    def empty_momentum(self) -> Arrays:
        """Return zeros in the names and shapes of `momentum`."""
        empty = {}
        for name, (array, *_) in self._trained():
            empty[_MOMENTUM + name] = mx.nd.zeros(array.shape)
            if array.dtype == np.float16:
                empty[_MASTER + name] = mx.nd.zeros(array.shape)
        return empty

    @property
    def _updater(self) -> Any:
        return self._module._updater if self._module.optimizer_initialized else None

    def _by_index(self) -> list[tuple[int, str]]:
        """Return the indices that MXNet's module gives to each parameter on each device."""
        names = self._module._exec_group.param_names
        return [
            (index * self._devices + device, name)
            for index, name in enumerate(names)
            for device in range(self._devices)
        ]

    def _trained(self) -> list[tuple[str, list[mx.nd.NDArray]]]:
        """Return name and arrays, one on each device, of the parameters that are not fixed."""
        executors = self._module._exec_group
        return [
            (name, arrays)
            for name, arrays in zip(executors.param_names, executors.param_arrays, strict=True)
            if name not in self._fixed
        ]

    def _restore(self, momentum: Arrays) -> None:
        executors = self._module._exec_group
        for index, name in self._by_index():
            if _MOMENTUM + name not in momentum:
                continue
            parameter, device = divmod(index, self._devices)
            context = executors.param_arrays[parameter][device].context
            state = momentum[_MOMENTUM + name].copyto(context)
            if _MASTER + name in momentum:
                state = (state, momentum[_MASTER + name].copyto(context))
            self._updater.states[index] = state
            self._updater.states_synced[index] = True

    def _pending(self) -> Pending:
        # Copies: the next batch overwrites MXNet's own arrays.
        outputs = self._module.get_outputs()[: len(Answer._fields)]
        return Pending([output.copyto(mx.cpu()) for output in outputs])


def random_weights(shapes: Mapping[str, tuple[int, ...]], seed: int) -> Arrays:
    """Return weights to start from, float32, the same for a name and a seed on every machine.

    Normal with the variance 2 / inputs (He et al., "Delving Deep into Rectifiers", ICCV 2015) for
    weights, 1 for scales and moving variances, 0 for the rest.
    """
    arrays = {}
    for name, shape in shapes.items():
        if len(shape) > 1:
            random = np.random.default_rng([seed, zlib.crc32(name.encode())])
            deviation = np.sqrt(2 / np.prod(shape[1:]))
            values = deviation * random.standard_normal(shape, np.float32)
        else:
            values = np.full(shape, name.endswith(("_gamma", "_var", "gamma")), np.float32)
        arrays[name] = mx.nd.array(values)
    return arrays
