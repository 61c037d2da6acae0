"""Shards made by the workers of a Dask cluster that is there already, one shard a task.

Knows shards; what one is made of is `locationnet.download.to_pack`'s. A worker that dies takes its
task with it, and another one resumes where it stopped.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from locationnet.cluster import Cluster
from locationnet.download.to_pack import Plan, make_one
from locationnet.download.transfers import Pace


def make_on_cluster(plan: Plan, report: Callable[[int, Pace], object], address: str) -> int:
    """Make the missing shards of a plan on a cluster; see `locationnet.download.to_pack.Make`.

    Parameters
    ----------
    plan
        The shards; their folder must be the same on all machines.
    report
        Called with the rows that are done and the pace.
    address
        See `locationnet.cluster.Cluster`, which also says what is raised.
    """
    with Cluster(address, "packing on a cluster") as cluster:
        tasks = (
            (len(rows), partial(make_one, plan.job, shard, rows, cluster.threads))
            for shard, rows in plan.missing()
        )
        done = left = 0
        for rows, left_of_them in cluster.do(tasks):
            left += left_of_them
            done += rows
            report(done, Pace(photos=done, connections=cluster.threads))
        return left
