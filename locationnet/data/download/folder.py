"""Photos of a table to files in a folder, with a table beside them that `split` and `pack` read.

Knows the order in which files, journal and tables are written, so that a run that was killed loses
nothing and asks for nothing twice.

::

    photos.parquet        the rows whose photos are there, with their paths
    problems.csv          the others, and why
    data/images/…/….jpg   the photos, by hash
    .journal.sqlite       what became of each; a run goes on with it
    .parts/               files that are being written
"""

from __future__ import annotations

import errno
import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from locationnet.data.download.agenda import Photo
from locationnet.data.download.checks import (
    Placeholders,
    check_answer,
    check_pixels,
    fingerprint,
)
from locationnet.data.download.fetching import Pace, fetch_all
from locationnet.data.download.journal import Entry, Journal
from locationnet.data.download.problems import (
    NO_ADDRESS,
    PLACEHOLDER,
    TEMPORARY,
    ProblemError,
)
from locationnet.data.download.source import Source
from locationnet.data.download.space import Space
from locationnet.data.download.wanted import Batch, Wanted, with_paths
from locationnet.errors import FullDiskError, InputError, LocationNetError
from locationnet.files import csv_writer, same_file
from locationnet.tables.source import arrow_file

if TYPE_CHECKING:
    import pyarrow as pa

TABLE = "photos.parquet"
PROBLEMS = "problems.csv"
JOURNAL = ".journal.sqlite"
PARTS = ".parts"

# Mean of a photo before any is there: an estimate for 500 pixel JPEGs.
USUAL_BYTES = 130_000


@dataclass(frozen=True)
class Progress:
    """How far a download is.

    Parameters
    ----------
    done, total
        Photos.
    pace
        This run's.
    """

    done: int
    total: int
    pace: Pace


@dataclass(frozen=True)
class Downloaded:
    """A download's outcome.

    Parameters
    ----------
    photos
        Rows whose photo is there.
    problems
        The other rows, by reason.
    """

    photos: int
    problems: dict[str, int]

    @property
    def postponed(self) -> int:
        """Rows whose photo may be there another day."""
        return sum(count for reason, count in self.problems.items() if reason in TEMPORARY)


def download_photos(
    table: Path,
    out: Path,
    source: Source,
    *,
    placeholders: Placeholders | None = None,
    space: Space | None = None,
    advance: Callable[[Progress], object] | None = None,
    say: Callable[[str], object] | None = None,
) -> Downloaded:
    """Fetch the photos of a table; call it again after an interruption to go on.

    Parameters
    ----------
    table
        CSV or Parquet with a column of hashes or of URLs.
    out
        The folder.
    source
        Where the photos come from.
    placeholders
        Images that are none of the photos.
    space
        Watches the room for `out`.
    advance
        Told of the progress.
    say
        Told what a person should know before it begins.

    Raises
    ------
    InputError
        The table has neither column, or would be replaced.
    FullDiskError
        There is not enough room; the next call goes on from there.
    LocationNetError
        Another run uses the folder, or it cannot be written.
    """
    wanted = Wanted(table)
    if any(same_file(table, out / name) for name in (TABLE, PROBLEMS, JOURNAL)):
        raise InputError(f"{table}: would be replaced; choose another --out")
    reader = source.open()
    try:
        (out / PARTS).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LocationNetError(f"{out}: cannot be written ({error.strerror})") from error
    space = space or Space(out)
    space.check()
    with Journal(out / JOURNAL) as journal:
        for part in (out / PARTS).iterdir():  # of a run that was killed
            part.unlink()
        placeholders = placeholders or Placeholders()
        journal.find_listed(placeholders)
        run = _Run(wanted, out, journal, source, placeholders)
        if say is not None:
            run.warn_of_size(space, say)

        def tick(pace: Pace) -> None:
            space.watch()
            if advance is not None:
                advance(Progress(run.skipped + pace.photos, len(wanted), pace))

        fetch_all(run.missing(), source, reader, run.work, run.record, tick)
        journal.find_copies()
        for path in journal.rejected():
            (out / path).unlink(missing_ok=True)
        return run.write_tables()


class _Run:
    def __init__(
        self,
        wanted: Wanted,
        out: Path,
        journal: Journal,
        source: Source,
        placeholders: Placeholders,
    ) -> None:
        self._wanted, self._out, self._journal = wanted, out, journal
        self._source, self._placeholders = source, placeholders
        self._found_out = journal.placeholders()
        # Paths that are being asked for: a table may hold a photo twice.
        self._pending: set[str] = set()
        self.skipped = 0

    def warn_of_size(self, space: Space, say: Callable[[str], object]) -> None:
        """Say so where the photos will probably not fit."""
        mean = self._journal.mean_bytes()
        # The journal may know photos of another table: this is a guess anyway.
        missing = max(0, len(self._wanted) - self._journal.settled())
        need = missing * (mean or USUAL_BYTES)
        if need > space.room():
            say(
                f"{missing:,} photos need about {need / 1e9:,.1f} GB (an estimate:"
                f" {(mean or USUAL_BYTES) / 1e3:,.0f} kB each), and {space.room() / 1e9:,.1f} GB"
                " may be used"
            )

    def missing(self) -> Iterator[Photo]:
        """Yield the photos that are yet to be settled."""
        for batch in self._wanted.batches():
            for index, (path, url) in enumerate(zip(batch.paths, batch.urls, strict=True)):
                if not path or path in self._pending or self._is_settled(path):
                    self.skipped += 1
                    continue
                self._pending.add(path)
                yield Photo(batch.start + index, path, url)

    def _is_settled(self, path: str) -> bool:
        return self._journal.is_settled(path, self._source.asked)

    def work(self, photo: Photo, get: Callable[[Photo], bytes]) -> Entry:
        """Make sure of one photo's file; runs in many threads."""
        target = self._out / photo.path
        try:
            # Whole, if its run was killed before the journal knew of it.
            return self._checked(target.read_bytes())
        except FileNotFoundError:
            pass
        except ProblemError:
            target.unlink(missing_ok=True)
        data = get(photo)
        entry = self._checked(data)
        self._write(target, data)
        return entry

    def _checked(self, data: bytes) -> Entry:
        check_answer(data, self._placeholders)
        check_pixels(data)
        asked = self._source.asked(PLACEHOLDER)  # it may turn out to be one
        entry = Entry(None, size=len(data), fingerprint=fingerprint(data), source=asked)
        if entry.fingerprint in self._found_out:
            raise ProblemError(PLACEHOLDER, "the same bytes as others before")
        return entry

    def record(self, photo: Photo, outcome: Entry | ProblemError) -> None:
        """Note what became of a photo."""
        self._pending.discard(photo.path)
        if isinstance(outcome, ProblemError):
            asked = self._source.asked(outcome.reason)
            outcome = Entry(outcome.reason, outcome.detail, source=asked)
        self._journal.note(photo.path, outcome)

    def _write(self, target: Path, data: bytes) -> None:
        """Write a file under another name and rename it, so that it is whole or not there."""
        part = self._out / PARTS / target.name
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            part.write_bytes(data)
            part.replace(target)
        except OSError as error:
            with suppress(OSError):
                part.unlink(missing_ok=True)
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise FullDiskError(f"{target.parent}: {os.strerror(error.errno)}") from error
            raise LocationNetError(f"{target}: cannot be written ({error.strerror})") from error

    def write_tables(self) -> Downloaded:
        """Write what is there and what is not, each whole or not at all."""
        from pyarrow import parquet

        table, problems = self._out / TABLE, self._out / PROBLEMS
        parts = [self._out / PARTS / path.name for path in (table, problems)]
        reasons: Counter[str] = Counter()
        photos, writer = 0, None
        try:
            with (
                arrow_file(parts[0], "wb") as content,
                parts[1].open("w", encoding="utf-8", newline="") as file,
            ):
                lines = csv_writer(file)
                lines.writerow(("row", "id", "path", "url", "reason", "detail"))
                for batch in self._wanted.batches():
                    kept = self._kept(batch, lines, reasons)
                    writer = writer or parquet.ParquetWriter(content, kept.schema)
                    writer.write_table(kept)
                    photos += kept.num_rows
                if writer is not None:
                    writer.close()
            for path, part in zip((table, problems), parts, strict=True):
                part.replace(path)
        except OSError as error:
            raise LocationNetError(f"{self._out}: cannot be written ({error.strerror})") from error
        finally:
            for part in parts:
                part.unlink(missing_ok=True)
        return Downloaded(photos, dict(sorted(reasons.items())))

    def _kept(self, batch: Batch, lines: Any, reasons: Counter[str]) -> pa.Table:
        import pyarrow as pa

        there = []
        for index, path in enumerate(batch.paths):
            entry = self._journal.entry(path) if path else Entry(NO_ADDRESS)
            there.append(entry is not None and entry.reason is None)
            if entry is not None and entry.reason is not None:
                reasons[entry.reason] += 1
                lines.writerow(
                    (batch.start + index + 1, batch.ids[index], path, batch.urls[index],
                     entry.reason, entry.detail)
                )  # fmt: skip
        return with_paths(batch.rows, batch.paths).filter(pa.array(there))
