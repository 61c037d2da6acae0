"""Shards and what joins them: photos shrunk, written in the order of their rows, made a pack.

Knows what a shard is made of and when it counts as finished; not where photos come from. A shard's
files get their names when it is whole, its table last: what has a table is finished, all else is
made anew, and the same rows and photos always give the same bytes.
"""

from __future__ import annotations

import io
import json
import shutil
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from locationnet.classes import ClassSet, classes_file, sha256_key
from locationnet.errors import InputError
from locationnet.files import csv_writer, write_text, written_whole
from locationnet.images import cropped, shrunk
from locationnet.pack.format import ATTRIBUTION, FORMAT, PHOTOS, SKIPPED, SUMMARY, Pack, shard_name
from locationnet.pack.recordio import ShardWriter
from locationnet.pack.rows import COLUMNS, Box, Rows
from locationnet.tables.read import write_table
from locationnet.tables.table_file import arrow_file

SHORT_SIDE = 256
SHARD_PHOTOS = 4096
_QUALITY = 92
_STATE = ".begun.json"
_PARTS = ".parts"


@dataclass(frozen=True)
class Packed:
    """A photo as it is packed.

    Parameters
    ----------
    jpeg
        Its bytes.
    phash
        See `difference_hash`.
    """

    jpeg: bytes
    phash: int


def shrink(image: Image.Image, box: Box | None = None, *, of_stored: bool = False) -> Packed:
    """Return a photo that `open_image` opened, or the part of it in a box, as it is packed.

    See `locationnet.images.cropped` for `of_stored`.

    Raises
    ------
    ImageError
        Its pixels cannot be decoded.
    """
    if box is not None:
        image = cropped(image, box, SHORT_SIDE, of_stored=of_stored)
    image = shrunk(image, SHORT_SIDE)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=_QUALITY)
    return Packed(buffer.getvalue(), difference_hash(image))


def difference_hash(image: Image.Image) -> int:
    """Return 64 bits that near-duplicates of a photo share.

    Each says whether a pixel is brighter than its left neighbour, in the photo shrunk to 9 × 8 grey
    pixels (the "dHash" of Krawetz, 2013).
    """
    grey = np.asarray(image.convert("L").resize((9, 8)), np.int16)
    bits = (grey[:, 1:] > grey[:, :-1]).ravel()
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def prepare_folder(
    out: Path,
    source_sha256: str,
    classes: ClassSet,
    shard_photos: int,
    columns: Mapping[str, str],
    images: Path | None = None,
) -> dict[str, Any]:
    """Make a folder ready for these photos, or make sure that it was begun for them.

    Parameters
    ----------
    out
        The folder.
    source_sha256
        Checksum of the table.
    classes
        What the classes are.
    shard_photos
        Rows for each shard.
    columns
        The columns of the table that are used; see `PhotoTable.names`.
    images
        Folder that paths start from, where photos come from one.

    Returns
    -------
    dict
        What the pack's summary begins with.

    Raises
    ------
    InputError
        The folder contains something else.
    """
    state = {
        "format": FORMAT,
        "source_sha256": source_sha256,
        sha256_key(classes): classes.sha256,
        "short_side": SHORT_SIDE,
        "shard_photos": shard_photos,
    }
    used = {f"{what}_column": columns.get(what) for what in COLUMNS}
    used["images_folder"] = None if images is None else str(images.resolve())
    noted = {**state, **used}
    file = out / _STATE
    try:
        (out / _PARTS).mkdir(parents=True, exist_ok=True)
        earlier = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if any(path.name != _PARTS for path in out.iterdir()):
            raise InputError(f"{out}: not empty, and not a pack that was begun here") from None
        with written_whole(file, out / _PARTS) as part:
            part.write_text(json.dumps(noted), encoding="utf-8")
        earlier = noted
    except (OSError, ValueError) as error:
        raise InputError(f"{out}: not a folder that a pack can be written to") from error
    for name, value in noted.items():
        # Packs that were begun before what is `used` was noted lack it, and nothing contradicts.
        if earlier.get(name, used.get(name)) != value:
            raise InputError(
                f"{out}: begun with another {name.replace('_', ' ')}; give another --out, or the"
                " same photos, columns and classes to go on"
            )
    classes.write(out / classes_file(classes))
    return state


def whole_pack(out: Path) -> Pack | None:
    """Return the pack in a folder if it is whole; what a killed call left beside it goes."""
    if not (out / SUMMARY).is_file():
        return None
    shutil.rmtree(out / _PARTS, ignore_errors=True)
    return Pack.open(out)


def is_finished(out: Path, shard: int) -> bool:
    """Return whether a shard is whole."""
    return _table_of(out, shard).is_file()


def part_path(out: Path, shard: int, suffix: str) -> Path:
    """Return the path of something that is only kept until the pack is whole."""
    return out / _PARTS / f"{shard_name(shard)}{suffix}"


def write_shard(rows: Rows, photos: Iterable[Packed | str], out: Path, shard: int) -> None:
    """Write one shard, its table last.

    Parameters
    ----------
    rows
        Its rows.
    photos
        For each row the photo, or why there is none.
    out
        The pack's folder.
    shard
        Its number.
    """
    import pyarrow as pa

    name = shard_name(shard)
    kept: list[int] = []
    hashes: list[int] = []
    skipped: list[tuple[str, str]] = []
    with (
        written_whole(out / f"{name}.idx", out / _PARTS) as idx,
        written_whole(out / f"{name}.rec", out / _PARTS) as rec,
        ShardWriter(rec, idx) as writer,
    ):
        for row, photo in enumerate(photos):
            if isinstance(photo, str):
                skipped.append((rows.paths[row], photo))
                continue
            writer.write(int(rows.classes[row]), photo.jpeg)
            kept.append(row)
            hashes.append(photo.phash)
    chosen = np.array(kept, np.int64)

    def column(values: list[str]) -> Any:
        return pa.array([values[row] for row in kept], pa.string())

    columns = {
        "shard": pa.array(np.full(len(kept), shard, np.int32)),
        "record": pa.array(np.arange(len(kept), dtype=np.int64)),
        "id": column(rows.ids),
        "lat": pa.array(rows.lat[chosen]),
        "lng": pa.array(rows.lng[chosen]),
        "uploader": column(rows.uploaders),
        "phash": pa.array(hashes, pa.uint64()),
        "class": pa.array(rows.classes[chosen].astype(np.int32)),
    }
    credited = {name: column(values) for name, values in rows.credits.items()}
    write_text(_skipped_of(out, shard), json.dumps(skipped))
    if credited:
        table = {"id": columns["id"], "uploader": columns["uploader"], **credited}
        write_table(part_path(out, shard, ".credits.parquet"), pa.table(table))
    write_table(_table_of(out, shard), pa.table(columns))


def write_pack(
    out: Path, classes: ClassSet, state: dict[str, Any], shards: int, *, credited: bool
) -> Pack:
    """Make finished shards a pack.

    Raises
    ------
    InputError
        There is no photo in any.
    """
    import pyarrow as pa
    from pyarrow import parquet

    def joined(suffix: str) -> pa.Table:
        tables = []
        for shard in range(shards):
            with arrow_file(part_path(out, shard, suffix)) as part:
                tables.append(parquet.read_table(part))
        return pa.concat_tables(tables)

    photos = joined(".parquet")
    if not photos.num_rows:
        raise InputError(f"{out}: none of the photos can be packed; see {SKIPPED}")
    write_table(out / PHOTOS, photos)
    if credited:
        write_table(out / ATTRIBUTION, joined(".credits.parquet"))
    reasons = Counter[str]()
    listing = io.StringIO()
    writer = csv_writer(listing)
    writer.writerow(("path", "reason"))
    for shard in range(shards):
        skipped = json.loads(_skipped_of(out, shard).read_text(encoding="utf-8"))
        writer.writerows(skipped)
        reasons.update(reason for _, reason in skipped)
    write_text(out / SKIPPED, listing.getvalue())
    counts = np.bincount(photos["class"].to_numpy(), minlength=len(classes))
    summary = {
        **state,
        "records": photos.num_rows,
        "shards": shards,
        "classes": len(classes),
        "counts_per_class": counts.tolist(),
        "skipped": dict(sorted(reasons.items())),
    }
    write_text(out / SUMMARY, json.dumps(summary) + "\n")
    shutil.rmtree(out / _PARTS)
    return Pack.open(out)


def _table_of(out: Path, shard: int) -> Path:
    return part_path(out, shard, ".parquet")


def _skipped_of(out: Path, shard: int) -> Path:
    return part_path(out, shard, ".json")
