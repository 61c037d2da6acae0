"""Metadata in any form to one Parquet table of photos; a call that was interrupted goes on.

Each shard becomes a part beside the table; then all parts are settled together and written in the
order of the shards' names. The table gets its name when it is whole, and the parts go.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from locationnet.data.commons import HASH, image_keys
from locationnet.data.metadata.filters import Filters
from locationnet.data.metadata.keys import mixed
from locationnet.data.metadata.layouts import HASH_LIST, Layout
from locationnet.data.metadata.parts import GROUP_BITS, PartWriter, row_groups
from locationnet.data.metadata.readers import detect, read_raw
from locationnet.data.metadata.rows import GROUP, KEY, NUMERIC_ID, schema
from locationnet.data.metadata.settle import KEYED, LISTED, Fate, Settlement
from locationnet.data.metadata.shards import Shard, list_shards
from locationnet.data.metadata.work import Counts, Job, read_shards
from locationnet.errors import InputError, MissingExtraError
from locationnet.files import write_text

if TYPE_CHECKING:
    import pyarrow as pa

_FORMAT = 1
_BEGUN = "begun.json"
# A line of the list of hashes, compressed; only memory depends on it.
_LISTED_BYTES = 16

# The stage, how much of it is done and in all, and the rows read so far.
Progress = Callable[[str, int, int, int], object]


@dataclass(frozen=True)
class Summary:
    """How the rows fell.

    Parameters
    ----------
    kept
        Rows of the table.
    dropped
        The other rows by reason.
    layouts
        The shards of each layout, by its name; ``"empty"`` is one.
    garbled
        What is wrong with damaged files, by name.
    without_path
        Rows of the table of which nothing says where the photo lies.
    bad_hashes
        Lines of the list of hashes that could not be used.
    """

    kept: int
    dropped: Counter[str]
    layouts: Counter[str]
    garbled: dict[str, str]
    without_path: int
    bad_hashes: int

    @property
    def read(self) -> int:
        """All rows."""
        return self.kept + self.dropped.total()


def build_table(
    names: Sequence[str],
    out: Path,
    filters: Filters | None = None,
    *,
    hashes: str | None = None,
    endpoint_url: str | None = None,
    processes: int = 1,
    progress: Progress | None = None,
) -> Summary:
    """Read metadata and write the table; call it again after an interruption to go on.

    Parameters
    ----------
    names
        Files, folders and ``s3://`` addresses, of the layouts of `layouts`.
    out
        The Parquet file to write. Until it is whole, parts lie beside it in ``.NAME.parts``.
    filters
        What to keep; all photos with a place by default.
    hashes
        File of photo ids and hashes (``yfcc100m_hash``), which win over those in the metadata.
    endpoint_url
        The store of ``s3://`` addresses, where it is not Amazon's.
    processes
        How many shards are read at a time.
    progress
        Called as work goes on.

    Raises
    ------
    MissingExtraError
        pyarrow is not installed, or boto3 where it is needed.
    InputError
        A file cannot be read or has no known layout, nothing is kept, or the parts beside the table
        were begun with other files or filters.
    """
    try:
        import pyarrow as pa  # noqa: F401 - here only to say early that it is missing
    except ImportError as error:
        raise MissingExtraError("reading metadata", "data") from error
    filters = filters or Filters()
    progress = progress or (lambda *_: None)
    shards = list_shards(names, endpoint_url)
    lists = [] if hashes is None else list_shards([hashes], endpoint_url)
    if out.resolve() in {shard.path.resolve() for shard in (*shards, *lists) if shard.path}:
        raise InputError(f"{out}: is also read; give another --out")
    layouts = [_photo_layout(shard) for shard in shards]
    for shard in lists:
        _require_hashes(shard)
    parts = out.with_name(f".{out.name}.parts")
    _begin(out, parts, _facts(shards, lists, filters))
    jobs = [
        Job(shard, layout, parts / f"{number:05d}.parquet")
        for number, (shard, layout) in enumerate(zip(shards, layouts, strict=True))
        if layout is not None
    ]
    total = sum(job.shard.size for job in jobs)
    report = progress
    read_shards(jobs, filters, processes, lambda done, rows: report("reading", done, total, rows))
    made = _Table(jobs, lists, filters, parts, progress)
    kept, without_path = made.write(out)
    summary = Summary(
        kept=kept,
        dropped=sum((Counts.read(job).dropped for job in jobs), Counter()) + made.dropped,
        layouts=Counter("empty" if layout is None else layout.name for layout in layouts),
        garbled={job.shard.name: text for job in jobs if (text := Counts.read(job).garbled)},
        without_path=without_path,
        bad_hashes=made.bad_hashes,
    )
    shutil.rmtree(parts)
    if not kept:
        reasons = ", ".join(f"{count:,} {why}" for why, count in sorted(summary.dropped.items()))
        raise InputError(f"no photo is left of {summary.read:,} rows ({reasons or 'all empty'})")
    return summary


def _photo_layout(shard: Shard) -> Layout | None:
    layout = detect(shard)
    if layout == HASH_LIST:
        raise InputError(f"{shard.name}: holds the hashes of photos; give it with --hashes")
    return layout


def _require_hashes(shard: Shard) -> None:
    layout = detect(shard)
    if layout != HASH_LIST:
        found = "is empty" if layout is None else f"has the layout {layout.name}"
        raise InputError(f"{shard.name}: {found}; expected photo ids and hashes, tab-separated")


def _facts(shards: Sequence[Shard], lists: Sequence[Shard], filters: Filters) -> dict[str, Any]:
    return {
        "format": _FORMAT,
        "files": [[shard.name, shard.size, shard.stamp] for shard in shards],
        "hashes": [[shard.name, shard.size, shard.stamp] for shard in lists],
        **filters.facts(),
    }


def _begin(out: Path, parts: Path, facts: dict[str, Any]) -> None:
    """Claim the folder of parts for this work, or make sure that it was begun for it."""
    file = parts / _BEGUN
    try:
        parts.mkdir(exist_ok=True)
        earlier = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        write_text(file, json.dumps(facts))
        return
    except (OSError, ValueError) as error:
        raise InputError(f"{parts}: cannot be gone on with ({error}); remove it") from error
    changed = [name for name, value in facts.items() if earlier.get(name) != value]
    if changed:
        what = " and ".join(name.replace("_", " ") for name in changed)
        raise InputError(
            f"{out}: an interrupted call had begun it with other {what}; give the same to go on, or"
            f" remove the folder {parts} to start over"
        )


class _Table:
    """The parts, settled and written as one table."""

    def __init__(
        self,
        jobs: Sequence[Job],
        lists: Sequence[Shard],
        filters: Filters,
        parts: Path,
        progress: Progress,
    ) -> None:
        self._jobs = jobs
        self._progress = progress
        self._unfinished = parts / "table.unfinished"
        self.bad_hashes = 0
        self._rows = sum(Counts.read(job).kept for job in jobs)
        listed = sum(shard.size for shard in lists) // _LISTED_BYTES
        scratch = parts / "settling"
        shutil.rmtree(scratch, ignore_errors=True)  # of an earlier call
        self._settled = Settlement(scratch, max(self._rows, listed))
        self._settle(lists, filters)
        self.dropped = self._settled.dropped

    def write(self, out: Path) -> tuple[int, int]:
        """Write the table; return how many rows it has, and how many of them lack a path."""
        without_path = done = 0
        with PartWriter(self._unfinished, schema(part=False), "zstd") as writer:
            for number, table in self._groups(None):
                rows = _finished(table, self._settled.fate(number, table.num_rows))
                for batch in rows.to_batches():
                    without_path += batch.column("path").null_count
                    writer.write(batch)
                done += table.num_rows
                self._progress("writing", done, self._rows, done)
        if writer.rows:
            self._unfinished.replace(out)
        return writer.rows, without_path

    def _settle(self, lists: Sequence[Shard], filters: Filters) -> None:
        settled, rows = self._settled, 0
        for number, table in self._groups([KEY, GROUP, "lat", "lng"]):
            settled.add_rows(_records(table, number))
            rows += table.num_rows
            self._progress("comparing", rows, self._rows, rows)
        for shard in lists:
            self._list(shard)
        steps, done = settled.steps(filters.per_cell), 0

        def advance() -> None:
            nonlocal done
            done += 1
            self._progress("settling", done, steps, rows)

        settled.decide(filters.opt_out, filters.per_cell, advance)

    def _list(self, shard: Shard) -> None:
        """Take in a list of hashes."""
        bad: Counter[str] = Counter()
        rows = done = 0

        def advance(count: int) -> None:
            nonlocal done
            done += count
            self._progress("hashes", done, shard.size, rows)

        for batch in read_raw(shard, HASH_LIST, bad, advance):
            listed = _listed(batch)
            rows += batch.num_rows
            self.bad_hashes += batch.num_rows - len(listed)
            self._settled.add_hashes(listed)
        self.bad_hashes += bad.total()

    def _groups(self, columns: list[str] | None) -> Iterator[tuple[int, pa.Table]]:
        """Yield the row groups of all parts, numbered through."""
        number = 0
        for job in self._jobs:
            for table in row_groups(job.part, columns):
                yield number, table
                number += 1


def _records(table: pa.Table, group: int) -> NDArray[Any]:
    records = np.empty(table.num_rows, KEYED)
    lat, lng = (np.array(table[name]).view(np.uint64) for name in ("lat", "lng"))
    records["key"] = np.array(table[KEY])
    records["group"] = np.array(table[GROUP])
    records["content"] = mixed(mixed(lat) ^ lng)
    records["position"] = (group << GROUP_BITS) + np.arange(table.num_rows, dtype=np.uint64)
    return records


def _listed(batch: pa.RecordBatch) -> NDArray[Any]:
    """Return the usable lines of a batch of photo ids and hashes."""
    import pyarrow as pa
    import pyarrow.compute as pc

    ids, hashes = batch.column("photoid"), batch.column("hash")
    good = pc.and_(
        pc.match_substring_regex(ids, NUMERIC_ID), pc.match_substring_regex(hashes, f"^{HASH}$")
    )
    ids, hashes = ids.filter(good), hashes.filter(good)
    records = np.empty(len(ids), LISTED)
    records["key"] = np.array(ids.cast(pa.string()).cast(pa.uint64()))
    records["hash"] = hashes.to_pylist()
    return records


def _finished(table: pa.Table, fate: Fate) -> pa.Table:
    """Return the rows that are kept, with the hashes of the list and the keys of the images."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if len(fate.hashed):
        mask = np.zeros(table.num_rows, np.bool_)
        mask[fate.hashed] = True
        found = pa.array([text.decode() for text in fate.hashes.tolist()], pa.string())
        hashes = pc.replace_with_mask(table["hash"].combine_chunks(), pa.array(mask), found)
        table = table.set_column(table.schema.get_field_index("hash"), "hash", hashes)
    table = table.select(schema(part=False).names).filter(pa.array(fate.keep))
    path = pc.coalesce(table["path"], image_keys(table["hash"]))
    return table.set_column(table.schema.get_field_index("path"), "path", path)
