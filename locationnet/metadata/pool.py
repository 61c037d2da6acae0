"""Shards to parts, many at a time: a pool of processes that know only their own shard.

A part's counts are written last; what has counts is finished, all else is made anew.
"""

from __future__ import annotations

import json
import multiprocessing
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from locationnet.errors import LocationNetError
from locationnet.files import write_text, written_whole
from locationnet.metadata.filters import Filters
from locationnet.metadata.layouts import Layout
from locationnet.metadata.parse import read_raw
from locationnet.metadata.records import schema, wanted_rows
from locationnet.metadata.row_groups import PartWriter
from locationnet.metadata.sources import CorruptError, Shard, UnsureError
from locationnet.processors import processors
from locationnet.progress import RowsProgress

# Bytes and rows read in all processes, in shared memory.
_totals: Any = None
_POLL_S = 0.2


@dataclass(frozen=True)
class Job:
    """A shard to read, and where its part and counts go."""

    shard: Shard
    layout: Layout
    part: Path

    @property
    def counts(self) -> Path:
        """The file of counts."""
        return self.part.with_suffix(".json")

    @property
    def done(self) -> bool:
        """Whether the part is finished."""
        return self.counts.is_file()


@dataclass(frozen=True)
class Counts:
    """How a shard's rows fell, and what is wrong with its file, ``""`` for nothing."""

    kept: int
    dropped: Counter[str]
    corrupt: str

    @classmethod
    def read(cls, job: Job) -> Counts:
        """Return the counts of a finished part."""
        fields = json.loads(job.counts.read_text(encoding="utf-8"))
        return cls(fields["kept"], Counter(fields["dropped"]), fields["corrupt"])


def read_shards(
    jobs: Sequence[Job], filters: Filters, processes: int, progress: RowsProgress
) -> None:
    """Make the parts that are not there yet.

    Parameters
    ----------
    jobs
        What is to be there afterwards.
    filters
        What to keep.
    processes
        How many shards are read at a time.
    progress
        Called now and then with the bytes and rows read so far, finished shards included.
    """
    missing = [job for job in jobs if not job.done]
    # The largest first, so that none of the large is left to the end.
    missing.sort(key=lambda job: -job.shard.size)
    all_bytes = sum(job.shard.size for job in jobs)
    before_bytes = sum(job.shard.size for job in jobs if job.done)
    before_rows = sum(_rows(job) for job in jobs if job.done)
    processes = max(1, min(processes, len(missing)))
    threads = max(1, processors() // processes)
    context = multiprocessing.get_context("spawn")
    totals = context.Array("q", 2)

    def show() -> None:
        progress("reading", before_bytes + totals[0], all_bytes, before_rows + totals[1])

    show()
    if processes == 1:
        for job in missing:
            _read(job, filters, threads, totals, show)
        return
    with ProcessPoolExecutor(processes, context, _share, (totals,)) as pool:
        waiting: set[Future[None]] = {
            pool.submit(_read_in_process, job, filters, threads) for job in missing
        }
        try:
            while waiting:
                done, waiting = wait(waiting, _POLL_S, FIRST_EXCEPTION)
                for future in done:
                    future.result()
                show()
        except BrokenProcessPool as error:
            raise LocationNetError(
                "a reading process was killed; run the same command to go on"
            ) from error
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _rows(job: Job) -> int:
    counts = Counts.read(job)
    return counts.kept + counts.dropped.total()


def _share(totals: Any) -> None:
    global _totals
    _totals = totals


def _read_in_process(job: Job, filters: Filters, threads: int) -> None:
    _read(job, filters, threads, _totals, lambda: None)


def _read(
    job: Job, filters: Filters, threads: int, totals: Any, show: Callable[[], object]
) -> None:
    """Write one part, its counts last."""
    dropped: Counter[str] = Counter()
    corrupt = ""
    bytes_read = rows_read = 0

    def advance(count: int) -> None:
        nonlocal bytes_read, rows_read
        count = min(count, job.shard.size - bytes_read)
        rows = writer.rows + dropped.total()
        with totals.get_lock():
            totals[0] += count
            totals[1] += rows - rows_read
        bytes_read, rows_read = bytes_read + count, rows
        show()

    try:
        with (
            written_whole(job.part) as part,
            PartWriter(part, schema(part=True), "lz4") as writer,
        ):
            raw = read_raw(job.shard, job.layout, dropped, advance, threads=threads)
            try:
                for batch in raw:
                    writer.write(wanted_rows(batch, job.layout, filters, dropped, job.shard.name))
            except CorruptError as error:
                corrupt = str(error)
    except UnsureError:
        with totals.get_lock():
            totals[0] -= bytes_read
            totals[1] -= rows_read
        _read(job, filters, 1, totals, show)
        return
    advance(job.shard.size)
    fields = {"kept": writer.rows, "dropped": dict(sorted(dropped.items())), "corrupt": corrupt}
    write_text(job.counts, json.dumps(fields))
