"""Work on a Dask cluster that is there already, a task at a time on each of its threads.

Knows tasks; not what they do. A task can be repeated: a worker that dies takes its own with it, and
another one does it again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, TypeVar

from locationnet.errors import LocationNetError, MissingExtraError

# Enough that no worker waits for work, and no table of millions of rows waits in the scheduler.
_AHEAD = 2
_RETRIES = 3

_Key = TypeVar("_Key")
_Result = TypeVar("_Result")


class Cluster:
    """A connection to a scheduler; use it as a context manager.

    Parameters
    ----------
    address
        The scheduler's, such as ``tcp://host:8786``.
    what
        What is to be done, for the message that says what to install.

    Raises
    ------
    MissingExtraError
        distributed is not installed.
    LocationNetError
        The cluster cannot be reached, or has no workers.
    """

    def __init__(self, address: str, what: str) -> None:
        try:
            import distributed
        except ImportError as error:
            raise MissingExtraError(what, "dask") from error
        self._dask: Any = distributed  # of its functions, few are typed
        try:
            self._client = self._dask.Client(address, set_as_default=False)
        except (OSError, ValueError) as error:
            raise LocationNetError(f"{address}: no Dask scheduler answers ({error})") from error
        self.threads = sum(self._client.nthreads().values())
        """How many tasks are done at a time."""
        if not self.threads:
            self._client.close()
            raise LocationNetError(f"{address}: the cluster has no workers")

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def do(
        self, tasks: Iterable[tuple[_Key, Callable[[], _Result]]]
    ) -> Iterator[tuple[_Key, _Result]]:
        """Yield the result of each task with its key, in the order in which they are done.

        Parameters
        ----------
        tasks
            Read as needed; each travels to a worker.

        Raises
        ------
        LocationNetError
            A task raised it, or keeps failing.
        """
        left = iter(tasks)
        keys: dict[str, _Key] = {}

        def submitted(count: int) -> Iterator[Any]:
            for key, task in islice(left, count):
                future = self._client.submit(task, pure=False, retries=_RETRIES)
                keys[future.key] = key
                yield future

        with self._client.as_current():
            running = self._dask.as_completed(list(submitted(_AHEAD * self.threads)))
            for future in running:
                try:
                    result = future.result()
                except LocationNetError:
                    raise
                except Exception as error:  # whatever a worker died of
                    raise LocationNetError(
                        f"a worker failed: {type(error).__name__}: {error};"
                        " run the same command to go on"
                    ) from error
                yield keys.pop(future.key), result
                for more in submitted(1):
                    running.add(more)
