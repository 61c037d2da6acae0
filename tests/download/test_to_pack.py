"""Photos go straight to a pack, the same bytes whoever makes it and whatever dies meanwhile."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet
from typer.testing import CliRunner

from locationnet.cli import app
from locationnet.download.shard_buffer import ShardBuffer
from locationnet.download.source import Source
from locationnet.download.to_pack import Job, download_to_pack
from locationnet.errors import FullDiskError, InputError, LocationNetError
from locationnet.geo import s2
from locationnet.geo.grid import Grid
from locationnet.pack.format import Pack, PackedJpegs
from locationnet.pack.recordio import read_offsets, read_record

PHOTOS = 60
GONE = "007.jpg"


@pytest.fixture
def grid(tmp_path: Path) -> Path:
    lat, lng = np.array([48.8, -1.3, 37.8]), np.array([2.3, 36.8, -122.4])
    ids = s2.parent_ids(s2.leaf_ids(lat, lng), 6)
    order = np.argsort(ids)
    Grid(ids[order], lat[order], lng[order]).write(tmp_path / "grids.txt")
    return tmp_path / "grids.txt"


@pytest.fixture
def faulty(world: Any) -> Any:
    """The world with one photo gone, one twice, and one sent as a placeholder for six."""
    replies = {
        GONE: world.reply(404),
        "011.jpg": world.reply(200, world.photos["010.jpg"]),
        **{f"05{digit}.jpg": world.reply(200, world.jpeg(999)) for digit in range(6)},
    }
    for name, reply in replies.items():
        world.site.pages[f"/{name}"] = reply
        world.site.pages[f"/multimedia-commons/{world.path(name)}"] = reply
    return world


def _words(world: Any, grid: Path, out: Path, *more: str) -> list[str]:
    return [
        "download", str(world.table), "--pack", "--grid", str(grid), "-o", str(out),
        "--shard-photos", "10", "--endpoint-url", world.endpoint, *more,
    ]  # fmt: skip


def _content(pack: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(pack.iterdir()) if path.is_file()}


def _pack(world: Any, grid: Path, out: Path, *more: str) -> Any:
    return CliRunner().invoke(app, _words(world, grid, out, *more))


def test_boxes_are_not_lost_on_the_way_to_a_pack(world: Any, grid: Path, tmp_path: Path) -> None:
    rows = [f"{world.url(name)},1,1,0.1,0.1,0.5,0.5" for name in list(world.photos)[:2]]
    table = tmp_path / "boxes.csv"
    table.write_text("\n".join(["url,lat,lng,x_min,y_min,x_max,y_max", *rows]))
    out = tmp_path / "pack"
    words = ["download", str(table), "--pack", "--grid", str(grid), "-o", str(out)]
    answer = CliRunner().invoke(app, words)
    assert answer.exit_code == 1
    assert str(answer.exception) == (
        f"{table}: has boxes, which only pack cuts out; download to a folder first"
    )
    assert not out.exists()


def test_photos_go_to_a_pack_without_being_kept(faulty: Any, grid: Path, tmp_path: Path) -> None:
    out = tmp_path / "pack"
    answer = _pack(faulty, grid, out)
    assert answer.exit_code == 0, answer.output
    pack = Pack.open(out)
    assert pack.records == PHOTOS - 8
    assert json.loads((out / "pack.json").read_text())["skipped"] == {
        "a placeholder, not the photo": 6,
        "no longer there": 1,
        "the same bytes as another photo": 1,
    }
    assert {path.suffix for path in out.iterdir()} <= {
        ".rec", ".idx", ".parquet", ".csv", ".json", ".txt", ""
    }  # fmt: skip
    assert not list(out.rglob("*.jpg"))
    table = parquet.read_table(out / "photos.parquet").to_pydict()
    credited = parquet.read_table(out / "attribution.parquet").to_pydict()
    assert credited["id"] == table["id"]
    assert credited["licence"] == ["CC-BY-2.0"] * pack.records
    assert credited["attribution"][0] == '"000.jpg" by user0'
    assert credited["url"][0] == faulty.url("000.jpg")
    rec = pack.shards[0]
    label, data = read_record(rec, int(read_offsets(rec)[0]))
    assert label == pack.classes_of_records[0]
    packed, original = (
        Image.open(io.BytesIO(data)),
        Image.open(io.BytesIO(faulty.photos["000.jpg"])),
    )
    assert packed.size == original.size
    difference = np.asarray(packed, np.int16) - np.asarray(original, np.int16)
    assert np.abs(difference).mean() < 4
    assert faulty.site.photos_asked == PHOTOS


def test_a_pack_from_a_folder_is_the_same(faulty: Any, grid: Path, tmp_path: Path) -> None:
    streamed, folder, packed = (tmp_path / name for name in ("streamed", "folder", "packed"))
    assert _pack(faulty, grid, streamed).exit_code == 0
    words = ["download", str(faulty.table), "-o", str(folder), "--endpoint-url", faulty.endpoint]
    assert CliRunner().invoke(app, words).exit_code == 0
    answer = CliRunner().invoke(
        app,
        ["pack", str(folder / "photos.parquet"), "--images", str(folder), "--grid", str(grid),
         "-o", str(packed), "--processes", "1"],
    )  # fmt: skip
    assert answer.exit_code == 0, answer.output

    def jpegs(path: Path) -> dict[str, bytes]:
        table = parquet.read_table(path / "photos.parquet").to_pydict()
        photos = PackedJpegs(Pack.open(path))
        return {name: photos.read(record) for record, name in enumerate(table["id"])}

    one, other = jpegs(streamed), jpegs(packed)
    # Of two equal photos the one keeps the first by row, the other the first by path.
    assert one.keys() - {"010.jpg", "011.jpg"} == other.keys() - {"010.jpg", "011.jpg"}
    assert all(one[name] == other[name] for name in one.keys() & other.keys())
    assert len(one) == len(other)
    credited = parquet.read_table(packed / "attribution.parquet")
    assert credited["licence"].to_pylist() == ["CC-BY-2.0"] * len(other)


@pytest.mark.parametrize("asked", [9, 31, 55])
def test_a_killed_run_goes_on_and_ends_the_same(
    faulty: Any, grid: Path, tmp_path: Path, asked: int
) -> None:
    out, site = tmp_path / "pack", faulty.site
    site.delay_s = 0.05
    script = tmp_path / "run.py"
    script.write_text("from locationnet.cli import main\nmain()")
    running = subprocess.Popen(
        [sys.executable, str(script), *_words(faulty, grid, out)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    while site.photos_asked < asked and running.poll() is None:
        time.sleep(0.002)
    running.send_signal(signal.SIGKILL)
    running.wait()
    site.delay_s = 0
    answer = _pack(faulty, grid, out)
    assert answer.exit_code == 0, answer.output
    # Only what was under way at the kill is asked for again.
    assert site.photos_asked <= PHOTOS + 12
    assert _pack(faulty, grid, tmp_path / "whole").exit_code == 0
    assert _content(out) == _content(tmp_path / "whole")


def test_photos_whose_servers_fail_are_waited_for(
    faulty: Any, grid: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("locationnet.download.transfers._BACKOFF_S", 0.01)
    out = tmp_path / "pack"
    key = f"/multimedia-commons/{faulty.path('020.jpg')}"
    whole, faulty.site.pages[key] = faulty.site.pages[key], faulty.reply(500)
    answer = _pack(faulty, grid, out)
    assert answer.exit_code == 1
    assert "servers failed for 1 photos" in str(answer.exception)
    assert not (out / "pack.json").exists()
    assert faulty.site.photos_asked == PHOTOS + 4
    given_up = _pack(faulty, grid, tmp_path / "without", "--give-up")
    assert given_up.exit_code == 0, given_up.output
    assert "cannot be reached or fails" in given_up.output
    faulty.site.pages[key] = whole
    asked = faulty.site.photos_asked
    assert _pack(faulty, grid, out).exit_code == 0
    assert faulty.site.photos_asked == asked + 1
    assert Pack.open(out).records == PHOTOS - 8


class _Counted(ShardBuffer):
    """Buffers that are open, and the most that were."""

    now = most = 0

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        _Counted.now += 1
        _Counted.most = max(_Counted.most, _Counted.now)

    def close(self) -> None:
        super().close()
        _Counted.now -= 1

    def remove(self) -> None:
        super().remove()
        _Counted.now -= 1


@pytest.fixture
def spools(monkeypatch: pytest.MonkeyPatch) -> type[_Counted]:
    monkeypatch.setattr("locationnet.download.transfers._BACKOFF_S", 0.0)
    monkeypatch.setattr("locationnet.download.to_pack.ShardBuffer", _Counted)
    monkeypatch.setattr(_Counted, "now", 0)
    monkeypatch.setattr(_Counted, "most", 0)
    return _Counted


def test_shards_whose_servers_fail_do_not_stay_open(
    world: Any, grid: Path, tmp_path: Path, spools: type[_Counted]
) -> None:
    for name in world.names[::2]:
        world.site.pages[f"/multimedia-commons/{world.path(name)}"] = world.reply(500)
    job = Job(tmp_path / "pack", Source(endpoint_url=world.endpoint, connections=2))
    with pytest.raises(LocationNetError, match="servers failed for 30 photos"):
        download_to_pack(world.table, Grid.read(grid), job, shard_photos=2)
    assert spools.now == 0
    assert 1 <= spools.most <= 5
    # What came is kept for the next run.
    for name in world.names:
        page = world.reply(200, world.photos[name])
        world.site.pages[f"/multimedia-commons/{world.path(name)}"] = page
    asked = world.site.photos_asked
    assert download_to_pack(world.table, Grid.read(grid), job, shard_photos=2).records == PHOTOS
    assert world.site.photos_asked == asked + PHOTOS // 2
    assert spools.now == 0


def test_a_store_that_is_down_opens_no_shards(
    world: Any, grid: Path, tmp_path: Path, spools: type[_Counted]
) -> None:
    job = Job(tmp_path / "pack", Source(endpoint_url="http://127.0.0.1:9"))
    with pytest.raises(LocationNetError, match="servers failed for 60 photos"):
        download_to_pack(world.table, Grid.read(grid), job, shard_photos=2)
    assert spools.most == 0


def test_a_photo_that_a_table_lists_often_is_fetched_once_and_is_no_placeholder(
    world: Any, grid: Path, tmp_path: Path
) -> None:
    names = [*world.names[:2], *[world.names[2]] * 6, world.names[3], world.names[2]]
    world.site.pages[f"/multimedia-commons/{world.path(world.names[3])}"] = world.reply(
        200, world.photos[world.names[2]]
    )
    world.write_table(names)
    job = Job(tmp_path / "pack", Source(endpoint_url=world.endpoint))
    pack = download_to_pack(world.table, Grid.read(grid), job)
    assert world.site.photos_asked == 4
    assert pack.summary["skipped"] == {"the same bytes as another photo": 1}
    assert parquet.read_table(tmp_path / "pack" / "photos.parquet")["id"].to_pylist() == [
        *names[:8], names[9],
    ]  # fmt: skip


def test_blanks_around_a_url_are_no_part_of_it(world: Any, grid: Path, tmp_path: Path) -> None:
    names = world.names[:3]
    table = parquet.read_table(world.write_table(names)).drop_columns("hash")
    cells = pa.array([f" {world.url(names[0])}", f"{world.url(names[1])}\t\n", " "])
    parquet.write_table(
        table.set_column(table.schema.get_field_index("url"), "url", cells), world.table
    )
    job = Job(tmp_path / "pack", Source("urls", rate=1000, exempt=(world.host,)))
    pack = download_to_pack(world.table, Grid.read(grid), job)
    assert (pack.records, pack.summary["skipped"]) == (2, {"no address": 1})


def test_a_disk_too_full_for_a_spool_is_said(
    world: Any, grid: Path, tmp_path: Path, little_room: None
) -> None:
    job = Job(tmp_path / "pack", Source(endpoint_url=world.endpoint))
    with pytest.raises(FullDiskError, match=r"\.sqlite: the disk is full; make room"):
        download_to_pack(world.table, Grid.read(grid), job)


def test_a_column_that_holds_no_text_is_named(grid: Path, tmp_path: Path) -> None:
    table, out = tmp_path / "photos.parquet", tmp_path / "pack"
    columns = {"url": ["http://h.example/1"], "hash": [["x"]], "lat": [1.0], "lng": [2.0]}
    parquet.write_table(pa.table(columns), table)
    with pytest.raises(InputError, match=r"photos\.parquet: column 'hash' holds list.*, not texts"):
        download_to_pack(table, Grid.read(grid), Job(out, Source()))
    assert not out.exists()


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[tuple[str, list[subprocess.Popen[bytes]]]]:
    """A scheduler and two workers, processes of their own on this machine."""
    file, log = tmp_path / "scheduler.json", (tmp_path / "dask.log").open("wb")
    common = ["--host", "127.0.0.1", "--no-dashboard", "--scheduler-file", str(file)]

    def start(part: str, *words: str) -> subprocess.Popen[bytes]:
        module = f"distributed.cli.dask_{part}"
        return subprocess.Popen(
            [sys.executable, "-m", module, *words, *common],
            stdout=log, stderr=log, cwd=tmp_path,
        )  # fmt: skip

    scheduler = start("scheduler", "--port", "0")
    while not file.exists():
        assert scheduler.poll() is None
        time.sleep(0.02)
    words = ("--no-nanny", "--nthreads", "1", "--memory-limit", "0")
    workers = [start("worker", *words) for _ in range(2)]
    yield json.loads(file.read_text())["address"], workers
    for process in (*workers, scheduler):
        process.kill()
        process.wait()
    log.close()


def _wait_for_workers(address: str, count: int) -> None:
    import distributed

    dask: Any = distributed  # its client has no types
    with dask.Client(address, set_as_default=False) as client:
        client.wait_for_workers(count, timeout=60)


def test_a_cluster_that_loses_a_worker_makes_the_same_pack(
    faulty: Any, grid: Path, tmp_path: Path, cluster: tuple[str, list[subprocess.Popen[bytes]]]
) -> None:
    address, workers = cluster
    _wait_for_workers(address, 2)
    faulty.site.delay_s = 0.1
    out = tmp_path / "pack"
    script = tmp_path / "run.py"
    script.write_text("from locationnet.cli import main\nmain()")
    said = tmp_path / "said.txt"
    with said.open("wb") as file:
        running = subprocess.Popen(
            [sys.executable, str(script), *_words(faulty, grid, out, "--scheduler", address)],
            stdout=file, stderr=file,
        )  # fmt: skip
    while faulty.site.photos_asked < 25 and running.poll() is None:
        time.sleep(0.005)
    assert running.poll() is None, said.read_text()
    workers[0].kill()
    faulty.site.delay_s = 0
    assert running.wait(timeout=120) == 0, said.read_text()
    assert workers[1].poll() is None
    assert _pack(faulty, grid, tmp_path / "alone").exit_code == 0
    assert _content(out) == _content(tmp_path / "alone")


def test_no_cluster_is_said(faulty: Any, grid: Path, tmp_path: Path) -> None:
    import dask

    with dask.config.set({"distributed.comm.timeouts.connect": "300ms"}):
        answer = _pack(faulty, grid, tmp_path / "out", "--scheduler", "tcp://127.0.0.1:9")
    assert answer.exit_code == 1
    assert "no Dask scheduler answers" in str(answer.exception)
