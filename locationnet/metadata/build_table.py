"""Metadata in any form to one Parquet table of photos; a call that was interrupted is resumed.

Each shard becomes a part beside the table; then all parts are deduplicated together and written in
the order of the shards' names. The table gets its name when it is whole, and the parts go.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from locationnet.errors import InputError, MissingExtraError
from locationnet.files import same_file
from locationnet.metadata.assemble import Assembler
from locationnet.metadata.filters import Filters
from locationnet.metadata.layouts import HASH_LIST, Layout
from locationnet.metadata.lock import locked
from locationnet.metadata.parse import detect
from locationnet.metadata.pool import Counts, Job, read_shards
from locationnet.metadata.sources import Shard, list_shards
from locationnet.progress import RowsProgress

_FORMAT = 1


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
    corrupt
        What is wrong with damaged files, by name.
    without_path
        Rows of the table of which nothing says where the photo lies.
    bad_hashes
        Lines of the list of hashes that could not be used.
    """

    kept: int
    dropped: Counter[str]
    layouts: Counter[str]
    corrupt: dict[str, str]
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
    progress: RowsProgress | None = None,
) -> Summary:
    """Read metadata and write the table; call it again after an interruption to resume.

    Parameters
    ----------
    names
        Files, folders and ``s3://`` addresses, of the layouts of `layouts`.
    out
        The Parquet file to write. Until it is whole, parts lie beside it in ``.NAME.parts``.
    filters
        What to keep; all photos with coordinates by default.
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
        are of other files or filters.
    LocationNetError
        Another call is writing the table.
    """
    try:
        import pyarrow as pa  # noqa: F401 - here only to say early that it is missing
    except ImportError as error:
        raise MissingExtraError("reading metadata", "data") from error
    filters = filters or Filters()
    progress = progress or (lambda *_: None)
    shards = list_shards(names, endpoint_url)
    lists = [] if hashes is None else list_shards([hashes], endpoint_url)
    if any(shard.path and same_file(out, shard.path) for shard in (*shards, *lists)):
        raise InputError(f"{out}: is also read; give another --out")
    layouts = [_photo_layout(shard) for shard in shards]
    for shard in lists:
        _require_hashes(shard)
    with locked(out, _state(shards, lists, filters)) as parts:
        jobs = [
            Job(shard, layout, parts / f"{number:05d}.parquet")
            for number, (shard, layout) in enumerate(zip(shards, layouts, strict=True))
            if layout is not None
        ]
        read_shards(jobs, filters, processes, progress)
        assembler = Assembler([job.part for job in jobs], parts / "deduplicating", progress)
        kept, without_path = assembler.write(assembler.deduplicate(lists, filters), out)
        counts = {job.shard.name: Counts.read(job) for job in jobs}
    corrupt = {name: count.corrupt for name, count in counts.items() if count.corrupt}
    summary = Summary(
        kept=kept,
        dropped=sum((count.dropped for count in counts.values()), assembler.dropped),
        layouts=Counter("empty" if layout is None else layout.name for layout in layouts),
        corrupt=corrupt | assembler.corrupt,
        without_path=without_path,
        bad_hashes=assembler.bad_hashes,
    )
    if not kept:
        reasons = ", ".join(f"{count:,} {why}" for why, count in sorted(summary.dropped.items()))
        raise InputError(f"no photo is left of {summary.read:,} rows ({reasons or 'all empty'})")
    return summary


def _photo_layout(shard: Shard) -> Layout | None:
    layout = detect(shard)
    if layout == HASH_LIST:
        raise InputError(f"{shard.name}: contains the hashes of photos; give it with --hashes")
    return layout


def _require_hashes(shard: Shard) -> None:
    layout = detect(shard)
    if layout != HASH_LIST:
        found = "is empty" if layout is None else f"has the layout {layout.name}"
        raise InputError(f"{shard.name}: {found}; expected photo ids and hashes, tab-separated")


def _state(shards: Sequence[Shard], lists: Sequence[Shard], filters: Filters) -> dict[str, Any]:
    return {
        "format": _FORMAT,
        "files": [[shard.name, shard.size, shard.stamp] for shard in shards],
        "hashes": [[shard.name, shard.size, shard.stamp] for shard in lists],
        **filters.fields(),
    }
