"""Photos from a bucket or their URLs straight to a pack; the originals are kept nowhere.

Knows the way of a photo: fetched, checked, shrunk, buffered, and written with its shard when all of
the shard's photos are done. Shards are independent of each other, so they can be made on several
machines (`make_on_cluster`), again after a failure, and always come out the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from locationnet.classes import ClassSet
from locationnet.cluster import Cluster
from locationnet.download.checks import Placeholders, check_answer, fingerprint, opened
from locationnet.download.disk_space import Space
from locationnet.download.failures import DAMAGED, NO_ADDRESS, DownloadError
from locationnet.download.scheduler import Photo
from locationnet.download.shard_buffer import ShardBuffer, discard
from locationnet.download.source import Reader, Source
from locationnet.download.transfers import Pace, PaceProgress, fetch_all
from locationnet.errors import ImageError, InputError, LocationNetError
from locationnet.pack.build import table_sha256
from locationnet.pack.format import Pack
from locationnet.pack.rows import Columns, PhotoTable, Rows, read_rows
from locationnet.pack.shards import (
    SHARD_PHOTOS,
    Packed,
    is_finished,
    part_path,
    prepare_folder,
    shrink,
    whole_pack,
    write_pack,
    write_shard,
)


@dataclass(frozen=True)
class Job:
    """How shards are made; travels to other machines.

    Parameters
    ----------
    out
        The pack's folder, the same on all machines.
    source
        Where photos come from.
    placeholders
        Images that servers send in place of photos.
    give_up
        Count photos whose servers fail as missing, rather than leaving their shards unfinished.
    """

    out: Path
    source: Source
    placeholders: Placeholders = field(default_factory=Placeholders)
    give_up: bool = False


@dataclass(frozen=True)
class Plan:
    """The shards of a pack and who they wait for.

    Parameters
    ----------
    job
        How they are made.
    rows
        The whole table.
    shard_photos
        Rows for each shard.
    """

    job: Job
    rows: PhotoTable
    shard_photos: int

    @property
    def shards(self) -> int:
        """How many there are."""
        return -(-len(self.rows) // self.shard_photos)

    def unfinished(self) -> dict[int, range]:
        """Return which rows the shards that are not finished have, by their number."""
        count, size = len(self.rows), self.shard_photos
        return {
            shard: range(shard * size, min(count, (shard + 1) * size))
            for shard in range(self.shards)
            if not is_finished(self.job.out, shard)
        }

    def missing(self) -> Iterator[tuple[int, Rows]]:
        """Yield number and rows of the shards that are not finished."""
        for shard, part in self.unfinished().items():
            yield shard, self.rows[part.start : part.stop]


Make = Callable[[Plan, Callable[[int, Pace], object]], int]
"""Makes a plan's missing shards, reports rows that are done, returns rows left for later."""


def download_to_pack(
    table: Path,
    classes: ClassSet,
    job: Job,
    *,
    columns: Columns | None = None,
    shard_photos: int = SHARD_PHOTOS,
    make: Make | None = None,
    space: Space | None = None,
    advance: PaceProgress | None = None,
) -> Pack:
    """Fetch and pack the photos of a table; call it again after an interruption to resume.

    Parameters
    ----------
    table
        CSV or Parquet with hashes or URLs, and latitudes and longitudes.
    classes
        Decide the classes.
    job
        Where to, and where from.
    columns
        Other names of columns.
    shard_photos
        Rows of the table for each shard.
    make
        Who makes the shards; this machine by default.
    space
        Watches the room for the pack.
    advance
        Called with rows done, rows in all and the pace.

    Raises
    ------
    InputError
        The table lacks a column or has boxes, the folder holds a pack of other photos, or nothing
        can be packed.
    LocationNetError
        Servers failed, and the pack waits for their photos; the next call asks them again.
    """
    out = job.out
    rows = read_rows(table, classes, columns or Columns(), remote=True)
    if rows.boxes is not None:
        raise InputError(
            f"{table}: has boxes, which only pack cuts out; download to a folder first"
        )
    # Whatever is wrong with the source is said before anything is written.
    make = make or partial(make_here, reader=job.source.open())
    state = prepare_folder(out, table_sha256(table), classes, shard_photos, rows.names)
    if (pack := whole_pack(out)) is not None:
        return pack
    space = space or Space(out)
    space.check()
    plan = Plan(job, rows, shard_photos)
    missing = sum(len(part) for part in plan.unfinished().values())

    def report(done: int, pace: Pace) -> None:
        space.watch()
        if advance is not None:
            advance(len(rows) - missing + done, len(rows), pace)

    left = make(plan, report)
    if left:
        raise LocationNetError(
            f"{out}: servers failed for {left:,} photos; run the same command later to ask again,"
            " or with --give-up to pack without them"
        )
    return write_pack(out, classes, state, plan.shards, credited=rows.credited)


def make_here(plan: Plan, report: Callable[[int, Pace], object], reader: Reader) -> int:
    """Make the missing shards on this machine; see `Make`."""
    return make_shards(plan.job, reader, plan.missing(), report)


def make_shards(
    job: Job,
    reader: Reader,
    shards: Iterator[tuple[int, Rows]],
    report: Callable[[int, Pace], object],
) -> int:
    """Make some shards, one behind the other but without a pause between them.

    Returns
    -------
    int
        Photos that are left for another time, because their servers failed.
    """
    making = _Making(job, shards)
    try:
        fetch_all(
            making.photos(),
            job.source,
            reader,
            making.make,
            making.record,
            lambda pace: report(making.done, pace),
        )
    finally:
        making.close()
    return making.left


class _Shard:
    """A shard in the making; its buffer is opened when there is something in it."""

    def __init__(self, job: Job, number: int, rows: Rows) -> None:
        self.number, self.rows = number, rows
        # Photos that are being asked for.
        self.waiting = 0
        self._path = part_path(job.out, number, ".sqlite")
        self._buffer = ShardBuffer(self._path) if self._path.exists() else None
        self.done = set() if self._buffer is None else self._buffer.rows()

    def keep(self, row: int, original: bytes, photo: Packed) -> None:
        self._opened().keep(row, original, photo)
        self.done.add(row)

    def reject(self, row: int, reason: str) -> None:
        self._opened().reject(row, reason)
        self.done.add(row)

    @property
    def whole(self) -> bool:
        return len(self.done) == len(self.rows)

    def write(self, out: Path) -> None:
        buffer = self._opened()
        write_shard(self.rows, buffer.in_order(self.rows.paths), out, self.number)
        buffer.remove()

    def close(self) -> None:
        if self._buffer is not None:
            self._buffer.close()

    def _opened(self) -> ShardBuffer:
        if self._buffer is None:
            self._buffer = ShardBuffer(self._path)
        return self._buffer


class _Making:
    def __init__(self, job: Job, shards: Iterator[tuple[int, Rows]]) -> None:
        self._job, self._shards = job, shards
        self._open: dict[int, _Shard] = {}
        self._of: dict[int, tuple[_Shard, list[int]]] = {}
        self.done = self.left = 0

    def photos(self) -> Iterator[Photo]:
        """Yield what is missing, shard by shard; once for all rows of a shard that want it."""
        number = 0
        for shard, rows in self._shards:
            making = self._open[shard] = _Shard(self._job, shard, rows)
            wanted = self._wanted(making)
            making.waiting = len(wanted)
            for path, same in wanted.items():
                self._of[number] = making, same
                urls = (rows.urls[row].strip() for row in same)
                yield Photo(number, path, next(filter(None, urls), ""))
                number += 1
            self._write_if_done(making)

    def _wanted(self, making: _Shard) -> dict[str, list[int]]:
        """Return the rows to ask for, by their photo."""
        wanted: dict[str, list[int]] = {}
        rows = making.rows
        for row, path in enumerate(rows.paths):
            if row not in making.done:
                failure = rows.no_class(row) or (None if path else NO_ADDRESS)
                if failure is None:
                    wanted.setdefault(path, []).append(row)
                    continue
                making.reject(row, failure)
            self.done += 1
        return wanted

    def make(self, photo: Photo, get: Callable[[Photo], bytes]) -> tuple[bytes, Packed]:
        """Fetch and shrink one photo; runs in many threads."""
        data = get(photo)
        check_answer(data, self._job.placeholders)
        image = opened(data)
        try:
            return fingerprint(data), shrink(image)
        except ImageError as error:
            raise DownloadError(DAMAGED) from error

    def record(self, photo: Photo, outcome: tuple[bytes, Packed] | DownloadError) -> None:
        """Buffer one photo for its rows, and write its shard when it was the last."""
        making, rows = self._of.pop(photo.row)
        self.done += len(rows)
        for row in rows:
            if not isinstance(outcome, DownloadError):
                making.keep(row, *outcome)
            elif outcome.temporary and not self._job.give_up:
                self.left += 1
            else:
                making.reject(row, outcome.reason)
        making.waiting -= 1
        self._write_if_done(making)

    def close(self) -> None:
        """Keep what is unfinished for another time."""
        for making in self._open.values():
            making.close()

    def _write_if_done(self, making: _Shard) -> None:
        """Write a shard that waits for no photo, or keep it for another time."""
        if making.waiting or making.number not in self._open:
            return
        if making.whole:
            making.write(self._job.out)
        else:
            making.close()
        del self._open[making.number]


def make_one(job: Job, shard: int, rows: Rows, machines: int) -> int:
    """Make one shard as one of several machines' tasks; do nothing where it is finished.

    Returns
    -------
    int
        See `make_shards`.
    """
    if is_finished(job.out, shard):
        discard(part_path(job.out, shard, ".sqlite"))
        return 0
    mine = replace(job, source=job.source.shared_by(machines))
    reader = mine.source.open()
    return make_shards(mine, reader, iter([(shard, rows)]), lambda _done, _pace: None)


def make_on_cluster(plan: Plan, report: Callable[[int, Pace], object], address: str) -> int:
    """Make the missing shards of a plan on a cluster; see `Make`.

    Parameters
    ----------
    plan
        The shards; their folder must be the same on all machines.
    report
        Called with the rows that are done and the pace.
    address
        See `locationnet.cluster.Cluster`, which also says what is raised. A worker that dies takes
        its task with it, and another one resumes where it stopped.
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
