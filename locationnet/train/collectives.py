"""Sums, means and broadcasts over all workers that train together, by MXNet's parameter server.

Knows ranks and arrays; nothing of photos or networks. Who starts the processes is
`locationnet.train.distributed.launcher`'s business.
"""

from __future__ import annotations

import json
import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from locationnet.train.compat import mx
from locationnet.train.config import LEADS

# Room for a JSON text that is shared as numbers.
_TEXT = 8192


class Collectives:
    """The collective operations of one worker; it is alone unless a store is given.

    Parameters
    ----------
    kvstore
        A synchronous distributed store, or None.
    """

    def __init__(self, kvstore: Any = None) -> None:
        self.kvstore = kvstore
        self.rank = 0 if kvstore is None else int(kvstore.rank)
        self.workers = 1 if kvstore is None else int(kvstore.num_workers)
        self._known: set[str] = set()

    @classmethod
    def join(cls, kind: str) -> Collectives:
        """Join the workers that the environment names (``DMLC_ROLE=worker`` …), or stay alone.

        Parameters
        ----------
        kind
            ``cpu`` or ``gpu``: where gradients are summed before they travel.
        """
        if os.environ.get("DMLC_ROLE") != "worker":
            return cls()
        return cls(mx.kv.create("dist_device_sync" if kind == "gpu" else "dist_sync"))

    @property
    def leads(self) -> bool:
        """Whether this worker writes files and speaks for all."""
        mark = os.environ.get(LEADS)
        return self.rank == 0 if mark is None else mark == "1"

    def sum(self, name: str, values: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
        """Return the sum over all workers, in float32 precision; everyone must call it.

        Parameters
        ----------
        name
            The same everywhere; belongs to arrays of one shape.
        values
            Any shape.
        """
        if self.kvstore is None:
            return values
        key = f"sum:{name}"
        array = mx.nd.array(values.astype(np.float32))
        if key not in self._known:
            self.kvstore.init(key, mx.nd.zeros(array.shape))
            self._known.add(key)
        self.kvstore.push(key, array)
        self.kvstore.pull(key, out=array)
        return np.asarray(array.asnumpy(), np.float64)

    def share(self, name: str, arrays: dict[str, mx.nd.NDArray]) -> None:
        """Overwrite everyone's arrays with the leader's; names and shapes must agree."""
        if self.kvstore is None:
            return
        for part, array in sorted(arrays.items()):
            # The sum of the leader's and nothing: `init` would take those of rank 0, which the
            # parameter server gives to any machine.
            key = f"share:{name}:{part}"
            nothing = mx.nd.zeros(array.shape, dtype=array.dtype)
            self.kvstore.init(key, nothing)
            self.kvstore.push(key, array if self.leads else nothing)
            self.kvstore.pull(key, out=array)

    def share_json(self, name: str, value: dict[str, Any]) -> dict[str, Any]:
        """Return the leader's value; its JSON text must be shorter than 8 KiB."""
        if self.kvstore is None:
            return value
        text = np.zeros(_TEXT, np.float32)
        encoded = json.dumps(value).encode()
        text[: len(encoded)] = np.frombuffer(encoded, np.uint8)
        array = mx.nd.array(text)
        self.share(name, {"json": array})
        shared = array.asnumpy().astype(np.uint8).tobytes().rstrip(b"\0")
        return dict(json.loads(shared))

    def average(self, name: str, arrays: dict[str, mx.nd.NDArray]) -> dict[str, mx.nd.NDArray]:
        """Return each array's mean over all workers; everyone must call it."""
        if self.kvstore is None:
            return arrays
        return {
            part: mx.nd.array(
                self.sum(f"{name}:{part}", value.asnumpy().astype(np.float64)) / self.workers
            )
            for part, value in sorted(arrays.items())
        }
