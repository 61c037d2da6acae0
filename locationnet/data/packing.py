"""Photos to a pack, in many processes; a run that was killed goes on where it stopped.

A shard is the work of one process on its own rows of the table. Its files get their names when it
is whole, its table last: what has a table is finished, all else is made anew.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import multiprocessing
import shutil
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from locationnet.data.coordinates import LAT_NAMES, LNG_NAMES, numbers
from locationnet.data.pack import FORMAT, GRID, PHOTOS, SKIPPED, SUMMARY, Pack, shard_name
from locationnet.data.records import ShardWriter
from locationnet.data.tables import (
    PHOTO_NAMES,
    UPLOADER_NAMES,
    find_column,
    read_table,
    write_table,
)
from locationnet.errors import ImageError, ImageTooLargeError, InputError, LocationNetError
from locationnet.files import write_text
from locationnet.geo.grid import Grid
from locationnet.geo.s2 import valid_coordinates
from locationnet.model.preprocess import open_image, shrunk

if TYPE_CHECKING:
    import pyarrow as pa

SHORT_SIDE = 256
SHARD_PHOTOS = 4096
_QUALITY = 92
_BEGUN = ".begun.json"
_PARTS = ".parts"

NO_CELL = "in no cell of the grid"
BAD_COORDINATE = "no usable coordinate"
NO_FILE = "cannot be opened"
TOO_LARGE = "too many pixels"


@dataclass(frozen=True)
class Rows:
    """Some rows of the table of photos, as plain lists that can travel to another process."""

    paths: list[str]
    ids: list[str]
    uploaders: list[str]
    lat: NDArray[np.float64]
    lng: NDArray[np.float64]
    classes: NDArray[np.int64]

    def __getitem__(self, part: slice) -> Rows:
        return Rows(
            self.paths[part], self.ids[part], self.uploaders[part],
            self.lat[part], self.lng[part], self.classes[part],
        )  # fmt: skip


def pack_photos(
    table: Path,
    images: Path,
    grid: Grid,
    out: Path,
    *,
    lat_column: str | None = None,
    lng_column: str | None = None,
    group_column: str | None = None,
    processes: int = 1,
    shard_photos: int = SHARD_PHOTOS,
    advance: Callable[[int, int], object] | None = None,
) -> Pack:
    """Pack the photos of a table; call it again after an interruption to go on.

    Parameters
    ----------
    table
        CSV or Parquet with the columns path (also file, filename, image), latitude and longitude,
        and perhaps id and uploader (also user, author, photographer).
    images
        Folder that the paths start from.
    grid
        Decides the classes.
    out
        The pack's folder.
    lat_column, lng_column, group_column
        Other names of the columns of latitudes, longitudes and uploaders.
    processes
        How many photos are decoded at a time.
    shard_photos
        Rows of the table for each shard.
    advance
        Called with (rows done, rows in all) as shards are finished.

    Raises
    ------
    InputError
        The table lacks a column, the folder holds a pack of other photos, or nothing can be packed.
    """
    begun = {
        "format": FORMAT,
        "source_sha256": _sha256(table),
        "grid_sha256": grid.sha256,
        "short_side": SHORT_SIDE,
        "shard_photos": shard_photos,
    }
    rows = _read_rows(table, grid, lat_column, lng_column, group_column)
    _begin(out, begun)
    if (out / SUMMARY).is_file():
        return Pack.open(out)
    grid.write(out / GRID)
    starts = range(0, len(rows.paths), shard_photos)
    done = 0
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
        waiting = {
            pool.submit(_pack_shard, rows[start : start + shard_photos], images, out, shard)
            for shard, start in enumerate(starts)
            if not _table_of(out, shard).is_file()
        }
        missing = len(waiting)
        try:
            done = min(len(rows.paths), (len(starts) - missing) * shard_photos)
            for finished in as_completed(waiting):
                done = min(len(rows.paths), done + finished.result())
                if advance is not None:
                    advance(done, len(rows.paths))
        except BrokenProcessPool as error:
            raise LocationNetError(
                f"{out}: a packing process was killed; run the same command to go on"
            ) from error
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return _finish(out, grid, begun, len(starts))


def difference_hash(image: Any) -> int:
    """Return 64 bits that near-duplicates of a photo share.

    Each says whether a pixel is brighter than its left neighbour, in the photo shrunk to 9 × 8 grey
    pixels (the "dHash" of Krawetz, 2013).
    """
    grey = np.asarray(image.convert("L").resize((9, 8)), np.int16)
    bits = (grey[:, 1:] > grey[:, :-1]).ravel()
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def _pack_shard(rows: Rows, images: Path, out: Path, shard: int) -> int:
    """Write one shard, its table last; return how many rows were worked through."""
    import pyarrow as pa

    name = shard_name(shard)
    rec, idx = out / f".{name}.rec.part", out / f".{name}.idx.part"
    kept: list[tuple[int, int]] = []
    skipped: list[tuple[str, str]] = []
    with ShardWriter(rec, idx) as writer:
        for row, path in enumerate(rows.paths):
            try:
                jpeg, fingerprint = _shrunk_jpeg(images / path, int(rows.classes[row]))
            except InputError as error:
                skipped.append((path, str(error)))
                continue
            writer.write(int(rows.classes[row]), jpeg)
            kept.append((row, fingerprint))
    rec.replace(out / f"{name}.rec")
    idx.replace(out / f"{name}.idx")
    chosen = np.array([row for row, _ in kept], np.int64)
    table = pa.table(
        {
            "shard": pa.array(np.full(len(kept), shard, np.int32)),
            "record": pa.array(np.arange(len(kept), dtype=np.int64)),
            "id": pa.array([rows.ids[row] for row, _ in kept], pa.string()),
            "lat": pa.array(rows.lat[chosen]),
            "lng": pa.array(rows.lng[chosen]),
            "uploader": pa.array([rows.uploaders[row] for row, _ in kept], pa.string()),
            "phash": pa.array([fingerprint for _, fingerprint in kept], pa.uint64()),
            "class": pa.array(rows.classes[chosen].astype(np.int32)),
        }
    )
    write_text(_skipped_of(out, shard), json.dumps(skipped))
    write_table(_table_of(out, shard), table)
    return len(rows.paths)


def _shrunk_jpeg(path: Path, label: int) -> tuple[bytes, int]:
    """Return the photo as it is packed, and its difference hash.

    Raises
    ------
    InputError
        Why the photo cannot be packed.
    """
    if label < 0:
        raise InputError(NO_CELL if label == -1 else BAD_COORDINATE)
    try:
        image = shrunk(open_image(path.read_bytes()), SHORT_SIDE)
    except OSError as error:
        raise InputError(NO_FILE) from error
    except ImageTooLargeError as error:
        raise InputError(TOO_LARGE) from error
    except ImageError as error:
        raise InputError(str(error)) from error
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=_QUALITY)
    return buffer.getvalue(), difference_hash(image)


def _read_rows(
    file: Path,
    grid: Grid,
    lat_column: str | None,
    lng_column: str | None,
    group_column: str | None,
) -> Rows:
    table = read_table(file)

    def need(wanted: str | None, usual: tuple[str, ...], what: str) -> str:
        found = find_column(file, table.column_names, wanted, usual)
        if found is None:
            shown = ", ".join(map(repr, table.column_names))
            raise InputError(f"{file}: no column of {what} among {shown}")
        return found

    paths = _texts(table, need(None, PHOTO_NAMES, "paths"))
    lat, lng = (
        numbers(table[name], f"{file}: column {name!r}")
        for name in (
            need(lat_column, LAT_NAMES, "latitudes"),
            need(lng_column, LNG_NAMES, "longitudes"),
        )
    )
    valid = valid_coordinates(lat, lng)
    classes = np.full(len(paths), -2, np.int64)
    classes[valid] = grid.assign(lat[valid], lng[valid])
    id_column = find_column(file, table.column_names, None, ("id", "photo_id"))
    uploader = find_column(file, table.column_names, group_column, UPLOADER_NAMES)
    return Rows(
        paths=paths,
        ids=paths if id_column is None else _texts(table, id_column),
        uploaders=[""] * len(paths) if uploader is None else _texts(table, uploader),
        lat=lat,
        lng=lng,
        classes=classes,
    )


def _texts(table: pa.Table, column: str) -> list[str]:
    import pyarrow as pa

    return ["" if text is None else text for text in table[column].cast(pa.string()).to_pylist()]


def _begin(out: Path, begun: dict[str, Any]) -> None:
    """Claim the folder for these photos, or make sure that it was claimed for them."""
    file = out / _BEGUN
    try:
        (out / _PARTS).mkdir(parents=True, exist_ok=True)
        earlier = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if any(path.name != _PARTS for path in out.iterdir()):
            raise InputError(f"{out}: not empty, and not a pack that was begun here") from None
        write_text(file, json.dumps(begun))
        return
    except (OSError, ValueError) as error:
        raise InputError(f"{out}: not a folder that a pack can be written to") from error
    for name, value in begun.items():
        if earlier.get(name) != value:
            raise InputError(
                f"{out}: begun with another {name.replace('_', ' ')}; give another --out, or the"
                " same photos and grid to go on"
            )


def _finish(out: Path, grid: Grid, begun: dict[str, Any], shards: int) -> Pack:
    import pyarrow as pa
    from pyarrow import parquet

    tables = [parquet.read_table(_table_of(out, shard)) for shard in range(shards)]
    photos = pa.concat_tables(tables)
    if not photos.num_rows:
        raise InputError(f"{out}: none of the photos can be packed; see {SKIPPED}")
    write_table(out / PHOTOS, photos)
    reasons = Counter[str]()
    listing = io.StringIO()
    writer = csv.writer(listing, lineterminator="\n")
    writer.writerow(("path", "reason"))
    for shard in range(shards):
        skipped = json.loads(_skipped_of(out, shard).read_text(encoding="utf-8"))
        writer.writerows(skipped)
        reasons.update(reason for _, reason in skipped)
    write_text(out / SKIPPED, listing.getvalue())
    counts = np.bincount(photos["class"].to_numpy(), minlength=len(grid))
    summary = {
        **begun,
        "records": photos.num_rows,
        "shards": shards,
        "classes": len(grid),
        "counts_per_class": counts.tolist(),
        "skipped": dict(sorted(reasons.items())),
    }
    write_text(out / SUMMARY, json.dumps(summary) + "\n")
    shutil.rmtree(out / _PARTS)
    return Pack.open(out)


def _table_of(out: Path, shard: int) -> Path:
    return out / _PARTS / f"{shard_name(shard)}.parquet"


def _skipped_of(out: Path, shard: int) -> Path:
    return out / _PARTS / f"{shard_name(shard)}.json"


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
