"""Photos of a table to files in a folder, with a table beside them that `split` and `pack` read.

Knows the order in which files, journal and tables are written, so that a run that was killed loses
nothing and asks for nothing twice.

::

    photos.parquet        the rows whose photos are there, with their paths
    problems.csv          the others, and why
    data/images/…/….jpg   the photos, by hash
    .journal.sqlite       what became of each; a run is resumed with it
    .parts/               files that are being written
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from locationnet.download.checks import Placeholders, check_answer, check_pixels, fingerprint
from locationnet.download.disk_space import Space
from locationnet.download.failures import NO_ADDRESS, PLACEHOLDER, TEMPORARY, DownloadError
from locationnet.download.input_table import Batch, InputTable, with_paths
from locationnet.download.journal import Entry, Journal
from locationnet.download.scheduler import Photo
from locationnet.download.source import Source
from locationnet.download.transfers import Pace, PaceProgress, fetch_all
from locationnet.errors import InputError, LocationNetError
from locationnet.files import csv_writer, same_file, written_whole
from locationnet.tables.table_file import arrow_file

if TYPE_CHECKING:
    import pyarrow as pa

TABLE = "photos.parquet"
FAILURES = "problems.csv"
JOURNAL = ".journal.sqlite"
PARTS = ".parts"

# Mean of a photo before any is there: an estimate for 500 pixel JPEGs.
USUAL_BYTES = 130_000


@dataclass(frozen=True)
class Downloaded:
    """A download's outcome.

    Parameters
    ----------
    photos
        Rows whose photo is there.
    failures
        The other rows, by reason.
    """

    photos: int
    failures: dict[str, int]

    @property
    def postponed(self) -> int:
        """Rows whose photo may be there another day."""
        return sum(count for reason, count in self.failures.items() if reason in TEMPORARY)


def download_photos(
    table: Path,
    out: Path,
    source: Source,
    *,
    placeholders: Placeholders | None = None,
    space: Space | None = None,
    advance: PaceProgress | None = None,
    say: Callable[[str], object] | None = None,
) -> Downloaded:
    """Fetch the photos of a table; call it again after an interruption to resume.

    Parameters
    ----------
    table
        CSV or Parquet with a column of hashes or of URLs.
    out
        The folder.
    source
        Where the photos come from.
    placeholders
        Images that servers send in place of photos.
    space
        Watches the room for `out`.
    advance
        Called with photos done, photos in all and the pace.
    say
        Called with what a person should know before it begins.

    Raises
    ------
    InputError
        The table has neither column, or would be replaced.
    FullDiskError
        There is not enough room; the next call resumes from there.
    LocationNetError
        Another run uses the folder, or it cannot be written.
    """
    photos = InputTable(table)
    if any(same_file(table, out / name) for name in (TABLE, FAILURES, JOURNAL)):
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
        run = _Run(photos, out, journal, source, placeholders)
        if say is not None:
            run.warn_of_size(space, say)

        def tick(pace: Pace) -> None:
            space.watch()
            if advance is not None:
                advance(run.skipped + pace.photos, len(photos), pace)

        fetch_all(run.missing(), source, reader, run.make, run.record, tick)
        journal.find_copies()
        for path in journal.rejected():
            (out / path).unlink(missing_ok=True)
        return run.write_tables()


class _Run:
    def __init__(
        self,
        table: InputTable,
        out: Path,
        journal: Journal,
        source: Source,
        placeholders: Placeholders,
    ) -> None:
        self._table, self._out, self._journal = table, out, journal
        self._source, self._placeholders = source, placeholders
        self._found_out = journal.placeholders()
        # Paths that are being asked for: a table may hold a photo twice.
        self._pending: set[str] = set()
        self.skipped = 0

    def warn_of_size(self, space: Space, say: Callable[[str], object]) -> None:
        """Say so where the photos will probably not fit."""
        mean = self._journal.mean_bytes()
        # The journal may know photos of another table: this is a guess anyway.
        missing = max(0, len(self._table) - self._journal.count_final())
        need = missing * (mean or USUAL_BYTES)
        if need > space.room():
            say(
                f"{missing:,} photos need about {need / 1e9:,.1f} GB (an estimate:"
                f" {(mean or USUAL_BYTES) / 1e3:,.0f} kB each), and {space.room() / 1e9:,.1f} GB"
                " may be used"
            )

    def missing(self) -> Iterator[Photo]:
        """Yield the photos that are yet to be had."""
        for batch in self._table.batches():
            for index, (path, url) in enumerate(zip(batch.paths, batch.urls, strict=True)):
                if not path or path in self._pending or self._is_final(path):
                    self.skipped += 1
                    continue
                self._pending.add(path)
                yield Photo(batch.start + index, path, url)

    def _is_final(self, path: str) -> bool:
        return self._journal.is_final(path, self._source.asked)

    def make(self, photo: Photo, get: Callable[[Photo], bytes]) -> Entry:
        """Make sure of one photo's file; runs in many threads."""
        target = self._out / photo.path
        try:
            # Whole, if its run was killed before the journal knew of it.
            return self._checked(target.read_bytes())
        except FileNotFoundError:
            pass
        except DownloadError:
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
            raise DownloadError(PLACEHOLDER, "the same bytes as others before")
        return entry

    def record(self, photo: Photo, outcome: Entry | DownloadError) -> None:
        """Note what became of a photo."""
        self._pending.discard(photo.path)
        if isinstance(outcome, DownloadError):
            asked = self._source.asked(outcome.reason)
            outcome = Entry(outcome.reason, outcome.detail, source=asked)
        self._journal.note(photo.path, outcome)

    def _write(self, target: Path, data: bytes) -> None:
        with written_whole(target, self._out / PARTS) as part:
            target.parent.mkdir(parents=True, exist_ok=True)
            part.write_bytes(data)

    def write_tables(self) -> Downloaded:
        """Write what is there and what is not, each whole or not at all."""
        from pyarrow import parquet

        table, failures, parts = self._out / TABLE, self._out / FAILURES, self._out / PARTS
        reasons: Counter[str] = Counter()
        photos, writer = 0, None
        with (
            written_whole(failures, parts) as listing,
            written_whole(table, parts) as part,
            arrow_file(part, "wb") as content,
            listing.open("w", encoding="utf-8", newline="") as file,
        ):
            lines = csv_writer(file)
            lines.writerow(("row", "id", "path", "url", "reason", "detail"))
            for batch in self._table.batches():
                kept = self._kept(batch, lines, reasons)
                writer = writer or parquet.ParquetWriter(content, kept.schema)
                writer.write_table(kept)
                photos += kept.num_rows
            if writer is not None:
                writer.close()
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
