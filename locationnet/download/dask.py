"""Shards made by the workers of a Dask cluster that is there already, one shard a task.

Knows tasks and workers; what a shard is made of is `locationnet.download.to_pack`'s. Tasks can be
repeated: a worker that dies takes its task with it, and another one resumes where it stopped.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from locationnet.download.to_pack import Plan, make_one
from locationnet.download.transfers import Pace
from locationnet.errors import LocationNetError, MissingExtraError

# Enough that no worker waits for work, and no table of millions of rows waits in the scheduler.
_AHEAD = 2
_RETRIES = 3


def make_on_cluster(plan: Plan, report: Callable[[int, Pace], object], address: str) -> int:
    """Make the missing shards of a plan on a cluster; see `locationnet.download.to_pack.Make`.

    Parameters
    ----------
    plan
        The shards; their folder must be the same on all machines.
    report
        Called with the rows that are done and the pace.
    address
        The scheduler's, such as ``tcp://host:8786``.

    Raises
    ------
    MissingExtraError
        distributed is not installed.
    LocationNetError
        The cluster cannot be reached, has no workers, or a task keeps failing.
    """
    try:
        import distributed
    except ImportError as error:
        raise MissingExtraError("packing on a cluster", "dask") from error
    dask: Any = distributed  # of its functions, few are typed
    try:
        client = dask.Client(address, set_as_default=False)
    except (OSError, ValueError) as error:
        raise LocationNetError(f"{address}: no Dask scheduler answers ({error})") from error
    with client, client.as_current():
        at_a_time = sum(client.nthreads().values())
        if not at_a_time:
            raise LocationNetError(f"{address}: the cluster has no workers")
        missing = plan.missing()
        sizes: dict[str, int] = {}

        def submit_next() -> Any:
            found = next(missing, None)
            if found is None:
                return None
            shard, rows = found
            future = client.submit(
                make_one, plan.job, shard, rows, at_a_time, pure=False, retries=_RETRIES
            )
            sizes[future.key] = len(rows)
            return future

        first = [submit_next() for _ in range(_AHEAD * at_a_time)]
        running = dask.as_completed([future for future in first if future is not None])
        done = left = 0
        for future in running:
            try:
                left += future.result()
            except LocationNetError:
                raise
            except Exception as error:  # whatever a worker died of
                raise LocationNetError(
                    f"a worker failed: {type(error).__name__}: {error};"
                    " run the same command to go on"
                ) from error
            done += sizes.pop(future.key)
            report(done, Pace(photos=done, connections=at_a_time))
            more = submit_next()
            if more is not None:
                running.add(more)
        return left
