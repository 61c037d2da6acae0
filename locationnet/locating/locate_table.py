"""A table of photos located, part by part: killed and called again, it goes on where it stopped.

Knows parts and who makes them; how photos are read is `addressed`'s, what an answer is `model`'s.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache, partial
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from locationnet.cluster import Cluster
from locationnet.errors import InputError, LocationNetError
from locationnet.files import file_sha256
from locationnet.locating.addressed import Source, read_ahead
from locationnet.model.answer import ROW, answer_row
from locationnet.model.locator import Locator, load_model
from locationnet.model.photo_stream import reason_of
from locationnet.model.prediction import Prediction
from locationnet.model.region import Region
from locationnet.progress import Progress
from locationnet.tables.columns import ALIASES, find_column, missing_columns, plain_name
from locationnet.tables.read import check_fits_text, check_table_name, names_column, write_slices
from locationnet.tables.resumable import PART_ROWS, Parts
from locationnet.tables.slices import SlicedTable

if TYPE_CHECKING:
    import pyarrow as pa

# Where a photo is, in this order: what a row does not have is looked for in the next.
_FIELDS = ("path", "key", "url")
_ERROR = "error"
# Rows that are joined and written together.
_JOINED_PARTS = 64

Part = tuple[int, Sequence[str]]
Make = Callable[["Job", Iterable[Part]], Iterator[tuple[int, "pa.Table"]]]
"""Answers parts, each its first row and the names of its photos, in any order."""


@dataclass(frozen=True)
class Job:
    """How photos are located; travels to other machines.

    Parameters
    ----------
    model
        A bundle's name or path, the same on all machines.
    source
        Where photos lie.
    region
        Where they are known to come from.
    coarse_km
        See `Prediction.coarse`; None for answers as fine as they are.
    threads
        Photos worked on at a time; as many as there are processors by default.
    """

    model: str
    source: Source = field(default_factory=Source)
    region: Region = field(default_factory=Region)
    coarse_km: float | None = None
    threads: int | None = None

    def told(self, prediction: Prediction) -> Prediction:
        """Return an answer as it is asked for."""
        if self.region:
            prediction = prediction.within(self.region)
        return prediction if self.coarse_km is None else prediction.coarse(self.coarse_km)


@dataclass(frozen=True)
class Located:
    """How many rows name a place, how many could be read but do not, and how many failed."""

    located: int = 0
    unsure: int = 0
    failed: int = 0


def locate_table(
    table: Path,
    out: Path,
    job: Job,
    *,
    make: Make | None = None,
    advance: Progress | None = None,
) -> Located:
    """Locate the photos of a table and write its rows with their places beside them.

    Parameters
    ----------
    table
        CSV or Parquet with paths, keys or URLs.
    out
        What to write, in the form that its suffix names: all columns of the table, then those of
        `locationnet.model.answer.answer_row` and ``error``, with ``predicted_`` before their names
        where the table has such columns itself. Unfinished work lies beside it in a folder.
    job
        How.
    make
        Who answers; this process by default.
    advance
        Called with the rows that are done and how many there are.

    Raises
    ------
    InputError
        The table, one of its columns or the region is not valid.
    LocationNetError
        The model cannot be loaded, a file not be written, or the cluster fails.
    """
    check_table_name(out)
    rows = SlicedTable(table)
    check_fits_text(out, rows.schema)
    names = _answer_names(table, rows.names)
    columns = [column for name in _FIELDS if (column := find_column(table, rows.names, name))]
    if not columns:
        raise missing_columns(table, rows.names, *_FIELDS)
    locator = load_model(job.model)
    try:
        job.told(locator.prior())
    except ValueError as error:
        raise InputError(str(error)) from error
    parts = Parts(out.with_name(f"{out.name}.parts"), _fingerprint(table, job, locator))

    def missing() -> Iterator[Part]:
        for start, slice_ in zip(
            range(0, len(rows), PART_ROWS), rows.slices(PART_ROWS), strict=True
        ):
            if start not in parts:
                yield start, _names(table, slice_, columns)

    done = sum(
        min(PART_ROWS, len(rows) - start)
        for start in range(0, len(rows), PART_ROWS)
        if start in parts
    )
    for start, answers in (make or answer_here)(job, missing()):
        parts.write(start, answers)
        done += answers.num_rows
        if advance is not None:
            advance(done, len(rows))
    joined = _Joined(rows, parts, names)
    write_slices(out, joined.schema, joined.slices())
    parts.remove()
    return joined.counts


def answer_here(job: Job, parts: Iterable[Part]) -> Iterator[tuple[int, pa.Table]]:
    """Answer parts one behind the other, without a pause between them; see `Make`."""
    locator = _locator(job.model)
    photos = read_ahead(((start, name) for start, names in parts for name in names), job.source)
    answers = locator.stream(photos, threads=job.threads, on_error="return")
    for start, group in groupby(answers, lambda pair: pair[0].part):
        yield start, _table([_row(job, answer) for _, answer in group])


def answer_on_cluster(
    job: Job, parts: Iterable[Part], address: str
) -> Iterator[tuple[int, pa.Table]]:
    """Answer parts on the workers of a Dask cluster, which must reach the photos; see `Make`."""
    with Cluster(address, "locating on a cluster") as cluster:
        mine = replace(job, source=job.source.shared_by(cluster.threads), threads=1)
        tasks = ((start, partial(_answer_one, mine, names)) for start, names in parts)
        yield from cluster.do(tasks)


def _answer_one(job: Job, names: Sequence[str]) -> pa.Table:
    [(_, answers)] = answer_here(job, [(0, names)])
    return answers


@lru_cache(maxsize=1)
def _locator(model: str) -> Locator:
    return load_model(model)


def _row(job: Job, answer: Prediction | LocationNetError | OSError) -> dict[str, Any]:
    if isinstance(answer, Prediction):
        return {**answer_row(job.told(answer)), _ERROR: None}
    return {_ERROR: reason_of(answer)}


def _table(rows: list[dict[str, Any]]) -> pa.Table:
    import pyarrow as pa

    return pa.Table.from_pylist(rows, _schema())


def _schema() -> pa.Schema:
    import pyarrow as pa

    text = ("place", "country", "summary", _ERROR)
    flags = ("abstained", "located", "calibrated")
    return pa.schema(
        (name, pa.string() if name in text else pa.bool_() if name in flags else pa.float64())
        for name in (*ROW, _ERROR)
    )


def _names(table: Path, rows: pa.Table, columns: Sequence[str]) -> list[str]:
    texts = [names_column(table, rows, column) for column in columns]
    return [next(filter(None, row), "") for row in zip(*texts, strict=True)]


def _answer_names(table: Path, names: Sequence[str]) -> list[str]:
    """Return what the answers' columns are called beside those of the table."""
    own = {plain_name(name) for name in names}
    fields = {name: {name, *ALIASES.get(name, ())} for name in (*ROW, _ERROR)}
    # A position is a pair.
    fields["lat"] = fields["lng"] = fields["lat"] | fields["lng"]
    found = [f"predicted_{name}" if fields[name] & own else name for name in fields]
    twice = own & set(found)
    if twice:
        raise InputError(f"{table}: has a column {min(twice)!r} already; rename or remove it")
    return found


def _fingerprint(table: Path, job: Job, locator: Locator) -> str:
    """Return what the answers depend on, as a hash."""
    manifest = locator.bundle.manifest.model_dump_json()
    where = [job.source.images, job.source.endpoint_url, sorted(job.source.exempt)]
    how = [asdict(job.region), job.coarse_km, where]
    told = json.dumps([file_sha256(table), how, locator.precision, manifest, PART_ROWS, ROW])
    return hashlib.sha256(told.encode()).hexdigest()


class _Joined:
    """A table's rows with their answers, and how many there are of each kind as they are read."""

    def __init__(self, rows: SlicedTable, parts: Parts, names: list[str]) -> None:
        import pyarrow as pa

        self._rows, self._parts, self._names = rows, parts, names
        added = [field.with_name(name) for field, name in zip(_schema(), names, strict=True)]
        self.schema = pa.schema([*rows.schema, *added], rows.schema.metadata)
        self.counts = Located()

    def slices(self) -> Iterator[pa.Table]:
        import pyarrow as pa

        start = 0
        for rows in self._rows.slices(PART_ROWS * _JOINED_PARTS):
            stop = start + rows.num_rows
            parts = [self._parts.read(at) for at in range(start, stop, PART_ROWS)]
            answers = pa.concat_tables(parts)
            self._count(answers)
            for name, column in zip(self._names, answers.columns, strict=True):
                rows = rows.append_column(self.schema.field(name), column)
            yield rows
            start = stop

    def _count(self, answers: pa.Table) -> None:
        import pyarrow.compute as pc

        located = pc.sum(answers["located"]).as_py() or 0
        failed = len(answers) - answers[_ERROR].null_count
        self.counts = Located(
            self.counts.located + located,
            self.counts.unsure + len(answers) - located - failed,
            self.counts.failed + failed,
        )
