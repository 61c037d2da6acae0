"""All parts to one table: deduplicated together, then written in their order.

Knows parts and lists of hashes; not how parts are made.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from locationnet.commons import HASH, image_keys
from locationnet.files import written_whole
from locationnet.metadata.dedupe import KEYED, LISTED, Decision, Deduplicator
from locationnet.metadata.filters import Filters
from locationnet.metadata.keys import mixed
from locationnet.metadata.layouts import HASH_LIST
from locationnet.metadata.parse import read_raw
from locationnet.metadata.records import KEY, NUMERIC_ID, UPLOADER_CELL, schema
from locationnet.metadata.row_groups import GROUP_BITS, PartWriter, row_groups
from locationnet.metadata.sources import CorruptError, Shard
from locationnet.progress import RowsProgress
from locationnet.tables.table_file import arrow_file

if TYPE_CHECKING:
    import pyarrow as pa

# A line of a list of hashes, compressed; only memory depends on it.
_LISTED_BYTES = 16


class Assembler:
    """Deduplicates parts and writes them.

    Parameters
    ----------
    parts
        Parquet files of `schema`, in the order in which the table is to have them.
    scratch
        A folder for what deduplicating needs; emptied first.
    progress
        Called as work goes on.

    Attributes
    ----------
    dropped
        Rows that deduplicating left out, by reason.
    bad_hashes
        Lines of lists of hashes that could not be used.
    corrupt
        What is wrong with damaged lists, by name.
    """

    def __init__(self, parts: Sequence[Path], scratch: Path, progress: RowsProgress) -> None:
        from pyarrow import parquet

        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
        self._parts = parts
        self._scratch = scratch
        self._progress = progress
        self._rows = 0
        for part in parts:
            with arrow_file(part) as file:
                self._rows += parquet.read_metadata(file).num_rows
        self.dropped: Counter[str] = Counter()
        self.bad_hashes = 0
        self.corrupt: dict[str, str] = {}

    def deduplicate(self, lists: Sequence[Shard], filters: Filters) -> Deduplicator:
        """Decide about all rows, with the hashes of some lists."""
        listed = sum(shard.size for shard in lists) // _LISTED_BYTES
        made, rows = Deduplicator(self._scratch, max(self._rows, listed)), 0
        for number, table in self._groups([KEY, UPLOADER_CELL, "lat", "lng"]):
            made.add_rows(_records(table, number))
            rows += table.num_rows
            self._progress("comparing", rows, self._rows, rows)
        for shard in lists:
            self._add_list(shard, made)
        steps, done = made.steps(filters.per_cell), 0

        def advance() -> None:
            nonlocal done
            done += 1
            self._progress("deduplicating", done, steps, rows)

        made.decide(filters.opt_out, filters.per_cell, advance)
        self.dropped = made.dropped
        return made

    def write(self, made: Deduplicator, out: Path) -> tuple[int, int]:
        """Write the table; return how many rows it has, and how many of them lack a path.

        A table without rows is not written.
        """
        without_path = done = 0
        if self._rows == self.dropped.total():
            return 0, 0
        with (
            written_whole(out, self._scratch) as part,
            PartWriter(part, schema(part=False), "zstd") as writer,
        ):
            for number, table in self._groups(None):
                rows = _kept(table, made.decision(number, table.num_rows))
                for batch in rows.to_batches():
                    without_path += batch.column("path").null_count
                    writer.write(batch)
                done += table.num_rows
                self._progress("writing", done, self._rows, done)
        return writer.rows, without_path

    def _add_list(self, shard: Shard, made: Deduplicator) -> None:
        """Take in a list of hashes."""
        bad: Counter[str] = Counter()
        rows = done = 0

        def advance(count: int) -> None:
            nonlocal done
            done += count
            self._progress("hashes", done, shard.size, rows)

        try:
            for batch in read_raw(shard, HASH_LIST, bad, advance):
                listed = _listed(batch)
                rows += batch.num_rows
                self.bad_hashes += batch.num_rows - len(listed)
                made.add_hashes(listed)
        except CorruptError as error:
            self.corrupt[shard.name] = str(error)
        self.bad_hashes += bad.total()

    def _groups(self, columns: list[str] | None) -> Iterator[tuple[int, pa.Table]]:
        """Yield the row groups of all parts, numbered through."""
        number = 0
        for part in self._parts:
            for table in row_groups(part, columns):
                yield number, table
                number += 1


def _records(table: pa.Table, number: int) -> NDArray[Any]:
    records = np.empty(table.num_rows, KEYED)
    lat, lng = (np.array(table[name]).view(np.uint64) for name in ("lat", "lng"))
    records["key"] = np.array(table[KEY])
    records["uploader_cell"] = np.array(table[UPLOADER_CELL])
    records["content"] = mixed(mixed(lat) ^ lng)
    records["position"] = (number << GROUP_BITS) + np.arange(table.num_rows, dtype=np.uint64)
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


def _kept(table: pa.Table, decision: Decision) -> pa.Table:
    """Return the rows that are kept, with the hashes of the list and the keys of the images."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if len(decision.hashed):
        mask = np.zeros(table.num_rows, np.bool_)
        mask[decision.hashed] = True
        found = pa.array([text.decode() for text in decision.hashes.tolist()], pa.string())
        hashes = pc.replace_with_mask(table["hash"].combine_chunks(), pa.array(mask), found)
        table = table.set_column(table.schema.get_field_index("hash"), "hash", hashes)
    table = table.select(schema(part=False).names).filter(pa.array(decision.keep))
    path = pc.coalesce(table["path"], image_keys(table["hash"]))
    return table.set_column(table.schema.get_field_index("path"), "path", path)
