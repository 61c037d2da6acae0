"""Photos in a folder to a pack, in many processes; a run that was killed is resumed.

A shard is the work of one process on its own rows of the table; `locationnet.pack.shards` knows
what is in one.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from locationnet.classes import ClassSet
from locationnet.errors import ImageError, ImageTooLargeError, InputError, LocationNetError
from locationnet.files import file_sha256
from locationnet.images import open_image
from locationnet.pack.format import Pack
from locationnet.pack.rows import Columns, Rows, read_rows
from locationnet.pack.shards import (
    SHARD_PHOTOS,
    Packed,
    is_finished,
    prepare_folder,
    shrink,
    whole_pack,
    write_pack,
    write_shard,
)
from locationnet.progress import Progress

NO_FILE = "cannot be opened"
TOO_LARGE = "takes too much memory to decode"


def pack_photos(
    table: Path,
    images: Path,
    classes: ClassSet,
    out: Path,
    *,
    columns: Columns | None = None,
    processes: int = 1,
    shard_photos: int = SHARD_PHOTOS,
    advance: Progress | None = None,
) -> Pack:
    """Pack the photos of a table; call it again after an interruption to resume.

    Parameters
    ----------
    table
        CSV or Parquet with the columns path (also file, filename, image), latitude and longitude
        (or a label), and perhaps id and uploader (also user, author, photographer), a box (x_min,
        y_min, x_max, y_max) and licence and attribution.
    images
        Folder that the paths start from.
    classes
        The grid or the labels that decide the classes.
    out
        The pack's folder.
    columns
        Other names of columns.
    processes
        How many photos are decoded at a time.
    shard_photos
        Rows of the table for each shard.
    advance
        Called with (rows done, rows in all) as shards are finished.

    Raises
    ------
    InputError
        The table lacks a column, the folder contains a pack of other photos, or nothing can be
        packed.
    """
    rows = read_rows(table, classes, columns or Columns())
    state = prepare_folder(out, table_sha256(table), classes, shard_photos, rows.names, images)
    if (pack := whole_pack(out)) is not None:
        return pack
    starts = range(0, len(rows), shard_photos)
    done = 0
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
        waiting = {
            pool.submit(_pack_shard, rows[start : start + shard_photos], images, out, shard)
            for shard, start in enumerate(starts)
            if not is_finished(out, shard)
        }
        missing = len(waiting)
        try:
            done = min(len(rows), (len(starts) - missing) * shard_photos)
            for finished in as_completed(waiting):
                done = min(len(rows), done + finished.result())
                if advance is not None:
                    advance(done, len(rows))
        except BrokenProcessPool as error:
            raise LocationNetError(
                f"{out}: a packing process was killed; run the same command to go on"
            ) from error
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return write_pack(out, classes, state, len(starts), credited=rows.credited)


def _pack_shard(rows: Rows, images: Path, out: Path, shard: int) -> int:
    """Write one shard; return how many rows were worked through."""
    write_shard(rows, _photos(rows, images), out, shard)
    return len(rows)


def _photos(rows: Rows, images: Path) -> Iterator[Packed | str]:
    for row, path in enumerate(rows.paths):
        failure = rows.no_class(row)
        if failure is not None:
            yield failure
            continue
        box = None if rows.boxes is None else rows.boxes[row]
        try:
            image = open_image((images / path).read_bytes())
            yield shrink(image, box, of_stored=rows.boxes_of_stored[row])
        except OSError:
            yield NO_FILE
        except ImageTooLargeError:
            yield TOO_LARGE
        except ImageError as error:
            yield str(error)


def table_sha256(path: Path) -> str:
    """Return the checksum of a file.

    Raises
    ------
    InputError
        It cannot be read.
    """
    try:
        return file_sha256(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
