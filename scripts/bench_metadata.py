"""Measures reading metadata against pandas and a plain loop: rows a second and peak memory.

Each reads the same generated shard of YFCC100M's 25 columns, drops what is no photo with a place
and what comes again, decodes, and writes the same Parquet table, in a process of its own; the
tables are compared. Times leave out starting Python. Pandas comes with `--group bench`.
"""

from __future__ import annotations

import argparse
import csv
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote_plus

import pyarrow as pa
import synthetic_commons
from pyarrow import parquet

from locationnet.commons import image_key, photo_hash
from locationnet.metadata.build_table import build_table
from locationnet.metadata.filters import Filters, licence_name
from locationnet.metadata.records import schema

MEMORY_LIMIT_MB = 500
LEAST_RATIO = 3
CHUNK = 100_000
# The columns of a row that the table is made of, in the order of the file.
PHOTO, HASH, USER, NICK, TAKEN, TITLE = 1, 2, 3, 4, 5, 8
LNG, LAT, ACCURACY, PAGE, URL, LICENCE, LICENCE_URL, MARKER = 12, 13, 14, 15, 16, 17, 18, 24
USED = (
    PHOTO, HASH, USER, NICK, TAKEN, TITLE, LNG, LAT, ACCURACY, PAGE, URL, LICENCE, LICENCE_URL,
    MARKER,
)  # fmt: skip
CONTROL = re.compile(r"[\x00-\x1f]+")


def with_locationnet(shard: Path, out: Path) -> None:
    """Call what is measured, in one process."""
    build_table([str(shard)], out, Filters())


def with_pandas(shard: Path, out: Path) -> None:
    """Do the same in chunks of pandas' fast CSV reader."""
    import pandas as pd

    seen: set[str] = set()
    with parquet.ParquetWriter(out, schema(part=False), compression="zstd") as writer:
        chunks = pd.read_csv(
            shard, sep="\t", header=None, names=list(range(25)), usecols=list(USED), dtype=str,
            quoting=csv.QUOTE_NONE, na_filter=False, on_bad_lines="skip", chunksize=CHUNK,
            encoding_errors="replace",
        )  # fmt: skip
        for rows in chunks:
            lat, lng = (pd.to_numeric(rows[column], errors="coerce") for column in (LAT, LNG))
            good = (rows[MARKER] == "0") & (lat.abs() <= 90) & (lng.abs() <= 180)
            good &= ~((lat == 0) & (lng == 0)) & ~rows[PHOTO].isin(seen)
            rows = rows[good].drop_duplicates(PHOTO)
            seen.update(rows[PHOTO])
            hashes = rows[HASH].where(rows[HASH] != "", rows[URL].map(photo_hash))
            title, nick = (rows[column].map(decoded) for column in (TITLE, NICK))
            title = ('"' + title + '"').where(title != "", "Photo")
            pairs = rows[LICENCE] + "\t" + rows[LICENCE_URL]
            names = {pair: licence_name(*pair.split("\t")) for pair in pairs.unique()}
            licence = pairs.map(names)
            made = pd.DataFrame(
                {
                    "id": rows[PHOTO],
                    "path": "data/images/" + hashes.str[:3] + "/" + hashes.str[3:6] + "/" + hashes
                    + ".jpg",
                    "lat": lat[rows.index],
                    "lng": lng[rows.index],
                    "uploader": rows[USER],
                    "accuracy": pd.to_numeric(rows[ACCURACY]),
                    "taken": rows[TAKEN],
                    "url": rows[URL],
                    "hash": hashes,
                    "licence": licence,
                    "attribution": title + " by " + nick + ", " + rows[PAGE] + ", " + licence
                    + " (" + rows[LICENCE_URL] + ")",
                }
            )  # fmt: skip
            table = pa.Table.from_pandas(made, schema(part=False), preserve_index=False)
            writer.write_table(table)


def with_a_loop(shard: Path, out: Path) -> None:
    """Do the same row by row."""
    seen: set[str] = set()
    with parquet.ParquetWriter(out, schema(part=False), compression="zstd") as writer:
        for chunk in chunked(loop_rows(shard, seen)):
            columns = [list(column) for column in zip(*chunk, strict=True)]
            writer.write_table(pa.table(columns, schema(part=False)))


def loop_rows(shard: Path, seen: set[str]) -> Iterator[tuple[object, ...]]:
    """Yield the table's rows."""
    with shard.open(encoding="utf-8", errors="replace", newline="\n") as file:
        for line in file:
            row = line.rstrip("\r\n").split("\t")
            if len(row) != 25 or row[MARKER] != "0" or not row[LAT] or not row[LNG]:
                continue
            lat, lng = float(row[LAT]), float(row[LNG])
            if abs(lat) > 90 or abs(lng) > 180 or lat == lng == 0 or row[PHOTO] in seen:
                continue
            seen.add(row[PHOTO])
            found = row[HASH] or photo_hash(row[URL])
            title = decoded(row[TITLE])
            licence = licence_name(row[LICENCE], row[LICENCE_URL])
            text = (
                f'"{title}"' if title else "Photo"
            ) + f" by {decoded(row[NICK])}, {row[PAGE]}, {licence} ({row[LICENCE_URL]})"
            yield (
                row[PHOTO], image_key(found), lat, lng, row[USER], int(row[ACCURACY]), row[TAKEN],
                row[URL], found, licence, text,
            )  # fmt: skip


def chunked(rows: Iterator[tuple[object, ...]]) -> Iterator[list[tuple[object, ...]]]:
    """Gather rows."""
    chunk = []
    for row in rows:
        chunk.append(row)
        if len(chunk) == CHUNK:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def decoded(text: str) -> str:
    """Undo percent-encoding."""
    return CONTROL.sub(" ", unquote_plus(text)).strip() if "%" in text or "+" in text else text


CONTENDERS: dict[str, Callable[[Path, Path], None]] = {
    "a plain loop": with_a_loop,
    "pandas": with_pandas,
    "locationnet metadata": with_locationnet,
}


def measure(name: str, shard: Path, out: Path) -> tuple[float, float, float]:
    """Run one in a process of its own; return seconds, the processor's seconds and peak MiB."""
    words = [sys.executable, __file__, "--run", name, str(shard), str(out)]
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    seconds, busy, peak = json.loads(done.stdout)
    return seconds, busy, peak


def report(name: str, rows: int, taken: tuple[float, float, float]) -> float:
    """Print a line of the table; return the processor's seconds."""
    seconds, busy, peak = taken
    print(f"{name:<26}{rows / seconds:>10,.0f}{rows / busy:>10,.0f}{peak:>10,.0f}", flush=True)
    return busy


def run(name: str, shard: Path, out: Path) -> None:
    """Do one's work and print what it took."""
    start, busy = time.perf_counter(), time.process_time()
    CONTENDERS[name](shard, out)
    seconds, busy = time.perf_counter() - start, time.process_time() - busy
    # Not from getrusage, whose peak starts from what the parent held.
    status = Path("/proc/self/status").read_text()
    peak = int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) / 1024
    print(json.dumps([seconds, busy, peak]))


def main() -> None:
    """Compare all, then see whether memory grows with the rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows of the timed runs")
    parser.add_argument("--many", type=int, default=4_000_000, help="rows of the run for memory")
    parser.add_argument("--run", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        run(options.run[0], Path(options.run[1]), Path(options.run[2]))
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (shard,) = synthetic_commons.make_commons(folder / "few", options.rows).shards
        busy: dict[str, float] = {}
        print(f"{options.rows:,} rows, {shard.stat().st_size / options.rows:.0f} bytes each")
        print(f"{'':<26}{'rows/s':>10}{'a busy s':>10}{'peak MiB':>10}")
        expected = None
        for name in CONTENDERS:
            if name == "pandas" and find_spec("pandas") is None:
                print(f"{name:<26}{'not installed (--group bench)':>30}")
                continue
            out = folder / "out.parquet"
            busy[name] = report(name, options.rows, measure(name, shard, out))
            table = parquet.read_table(out).sort_by("id")
            expected = expected or table
            if not table.equals(expected):
                sys.exit("the tables differ")
        ours = busy.pop("locationnet metadata")
        for name, seconds in busy.items():
            print(f"  {seconds / ours:.1f}× as fast as {name}, by the processor's time")
        shard.unlink()
        (shard,) = synthetic_commons.make_commons(folder / "many", options.many).shards
        many = measure("locationnet metadata", shard, folder / "many.parquet")
        report(f"{options.many:,} rows", options.many, many)
        peak = many[2]
    if peak > MEMORY_LIMIT_MB:
        sys.exit(f"more than {MEMORY_LIMIT_MB} MiB")
    if busy.get("pandas", ours * LEAST_RATIO) < LEAST_RATIO * ours:
        sys.exit(f"less than {LEAST_RATIO}× as fast as pandas")


if __name__ == "__main__":
    main()
