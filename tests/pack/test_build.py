"""Packs hold every photo once, survive being killed, and know their grid."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pyarrow import parquet
from typer.testing import CliRunner, Result

from locationnet.cli import app
from locationnet.errors import InputError
from locationnet.geo import s2
from locationnet.geo.grid import Grid
from locationnet.pack.format import Pack
from locationnet.pack.recordio import read_offsets, read_record
from locationnet.pack.shards import difference_hash

PHOTOS = 60


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with photos, a table of them and a grid of three cells."""
    folder = tmp_path_factory.mktemp("world")
    random = np.random.default_rng(5)
    lat, lng = np.array([48.8, -1.3, 37.8]), np.array([2.3, 36.8, -122.4])
    ids = s2.parent_ids(s2.leaf_ids(lat, lng), 6)
    order = np.argsort(ids)
    Grid(ids[order], lat[order], lng[order]).write(folder / "grids.txt")
    rows = []
    for index in range(PHOTOS):
        pixels = random.integers(0, 256, (300, 400, 3), np.uint8)
        Image.fromarray(pixels).resize((800, 600)).save(folder / f"{index}.jpg", quality=80)
        rows.append((f"{index}.jpg", f"user{index % 7}", lat[index % 3], lng[index % 3]))
    (folder / "broken.jpg").write_bytes((folder / "0.jpg").read_bytes()[:5000])
    rows += [("broken.jpg", "x", lat[0], lng[0]), ("gone.jpg", "x", lat[0], lng[0])]
    rows += [("1.jpg", "x", 0, 0), ("2.jpg", "x", "north", 0), ("grids.txt", "x", lat[0], lng[0])]
    with (folder / "photos.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("path", "uploader", "lat", "lng"), *rows])
    return folder


def _words(world: Path, out: Path) -> list[str]:
    return [
        "pack", str(world / "photos.csv"), "--images", str(world), "--grid",
        str(world / "grids.txt"), "--out", str(out), "--processes", "2", "--shard-photos", "10",
    ]  # fmt: skip


@pytest.fixture(scope="module")
def whole(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pack made without interruption."""
    out = tmp_path_factory.mktemp("whole") / "pack"
    answer = CliRunner().invoke(app, _words(world, out))
    assert answer.exit_code == 0, answer.output
    assert "60 in 7 shards" in " ".join(answer.stdout.split())
    return out


def _content(pack: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(pack.iterdir()) if path.is_file()}


def test_every_readable_photo_is_packed_once_with_its_class(world: Path, whole: Path) -> None:
    pack = Pack.open(whole)
    assert pack.records == PHOTOS
    assert pack.counts.tolist() == [20, 20, 20]
    table = parquet.read_table(whole / "photos.parquet").to_pydict()
    assert table["id"] == [f"{index}.jpg" for index in range(PHOTOS)]
    assert table["uploader"][:8] == [f"user{index % 7}" for index in range(8)]
    expected = Grid.read(world / "grids.txt").assign(table["lat"], table["lng"])
    assert pack.classes_of_records.tolist() == expected.tolist()
    for row in range(PHOTOS):
        rec = pack.shards[table["shard"][row]]
        label, jpeg = read_record(rec, int(read_offsets(rec)[table["record"][row]]))
        image = Image.open(io.BytesIO(jpeg))
        assert label == expected[row]
        assert min(image.size) == 256
        original = Image.open(world / table["id"][row])
        assert bin(difference_hash(original) ^ table["phash"][row]).count("1") <= 6


def test_what_is_not_packed_is_listed_with_its_reason(whole: Path) -> None:
    rows = list(csv.DictReader(io.StringIO((whole / "skipped.csv").read_text())))
    assert {row["path"]: row["reason"] for row in rows} == {
        "broken.jpg": "the image is truncated or corrupt",
        "gone.jpg": "cannot be opened",
        "1.jpg": "at 0, 0",
        "2.jpg": "no usable coordinate",
        "grids.txt": "not a JPEG, PNG, WebP, AVIF or HEIC image",
    }
    summary = json.loads((whole / "pack.json").read_text())
    assert sum(summary["skipped"].values()) == 5


def test_packing_again_changes_nothing(world: Path, whole: Path) -> None:
    before = _content(whole)
    assert CliRunner().invoke(app, _words(world, whole)).exit_code == 0
    assert _content(whole) == before
    assert not (whole / ".parts").exists()


@pytest.mark.parametrize("finished", [1, 3, 5])
def test_a_killed_run_goes_on_and_ends_the_same(
    world: Path, whole: Path, tmp_path: Path, finished: int
) -> None:
    out = tmp_path / "pack"
    code = "import sys; from locationnet.cli import main\nif __name__ == '__main__': main()"
    script = tmp_path / "run.py"
    script.write_text(code)
    running = subprocess.Popen(
        [sys.executable, str(script), *_words(world, out)],
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    while len(list(out.glob(".parts/shard-*.parquet"))) < finished and running.poll() is None:
        time.sleep(0.002)
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    answer = CliRunner().invoke(app, _words(world, out))
    assert answer.exit_code == 0, answer.output
    assert _content(out) == _content(whole)


def test_a_folder_begun_with_another_grid_is_refused(world: Path, whole: Path) -> None:
    other = whole.parent / "other.txt"
    grid = Grid.read(world / "grids.txt")
    Grid(grid.ids[:2], grid.lat[:2], grid.lng[:2]).write(other)
    words = _words(world, whole)
    words[words.index("--grid") + 1] = str(other)
    answer = CliRunner().invoke(app, words)
    assert answer.exit_code == 1
    assert "begun with another grid sha256" in str(answer.exception)
    with pytest.raises(InputError, match="made with another grid"):
        Pack.open(whole).check_classes(Grid.read(other))


def test_an_interrupted_pack_goes_on_only_with_the_same_columns_and_photos(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table, out = tmp_path / "photos.csv", tmp_path / "pack"
    rows = [f"{index}.jpg,{'ab'[index % 2]},{'ab'[index // 2 % 2]}\n" for index in range(8)]
    table.write_text("path,first,second\n" + "".join(rows))
    (tmp_path / "labels.txt").write_text("a\nb\n")

    def pack(column: str, images: Path) -> Result:
        words = ["pack", str(table), "--images", str(images), "--label-column", column, "--labels",
                 str(tmp_path / "labels.txt"), "-o", str(out), "--processes", "1",
                 "--shard-photos", "4"]  # fmt: skip
        return CliRunner().invoke(app, words)

    with monkeypatch.context() as patch:
        patch.setattr("locationnet.pack.build.write_pack", _interrupt)
        assert pack("first", world).exit_code != 0
    assert (out / ".parts" / "shard-00000.parquet").is_file()
    (tmp_path / "other").mkdir()
    for column, images, what in (
        ("second", world, "label column"),
        ("first", tmp_path / "other", "images folder"),
    ):
        answer = pack(column, images)
        assert answer.exit_code == 1
        assert f"begun with another {what};" in str(answer.exception)
    monkeypatch.chdir(world)
    assert pack("first", Path()).exit_code == 0
    assert Pack.open(out).classes_of_records.tolist() == [0, 1] * 4
    assert "begun with another label column" in str(pack("second", world).exception)


def _interrupt(*_: object, **_more: object) -> None:
    raise KeyboardInterrupt


def test_a_pack_from_before_its_columns_were_noted_is_whole(
    world: Path, whole: Path, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(whole, tmp_path / "copy"))
    begun = json.loads((copy / ".begun.json").read_text())
    noted = {name for name in begun if name.endswith(("_column", "_folder"))}
    assert {"label_column", "lat_column", "path_column", "images_folder"} <= noted
    (copy / ".begun.json").write_text(
        json.dumps({name: value for name, value in begun.items() if name not in noted})
    )
    before = _content(copy)
    assert CliRunner().invoke(app, _words(world, copy)).exit_code == 0
    assert _content(copy) == before


def test_a_folder_with_other_things_is_refused(world: Path, tmp_path: Path) -> None:
    (tmp_path / "precious.txt").touch()
    answer = CliRunner().invoke(app, _words(world, tmp_path))
    assert answer.exit_code == 1
    assert "not empty" in str(answer.exception)
    assert (tmp_path / "precious.txt").exists()


def test_a_pack_that_was_not_finished_is_none(whole: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(whole, tmp_path / "copy"))
    (copy / "pack.json").unlink()
    with pytest.raises(InputError, match="not a finished pack"):
        Pack.open(copy)
    with pytest.raises(InputError, match="not a finished pack"):
        Pack.open(tmp_path / "missing")


def test_a_pack_whose_files_do_not_fit_is_refused(whole: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(whole, tmp_path / "copy"))
    table = parquet.read_table(copy / "photos.parquet")
    parquet.write_table(table.slice(1), copy / "photos.parquet")
    with pytest.raises(InputError, match="59 rows for 60 records"):
        Pack.open(copy)


def test_near_duplicates_share_their_hash_and_others_do_not() -> None:
    random = np.random.default_rng(2)
    first, second = (
        Image.fromarray(random.integers(0, 256, (12, 16, 3), np.uint8)).resize((640, 480))
        for _ in range(2)
    )
    smaller = first.resize((320, 240))
    assert bin(difference_hash(first) ^ difference_hash(smaller)).count("1") <= 3
    assert bin(difference_hash(first) ^ difference_hash(second)).count("1") > 15


def test_a_call_that_was_killed_as_it_started_is_no_obstacle(world: Path, tmp_path: Path) -> None:
    out = tmp_path / "pack"
    (out / ".parts").mkdir(parents=True)
    (out / ".parts" / "..begun.json.part").write_text('{"form')
    answer = CliRunner().invoke(app, _words(world, out))
    assert answer.exit_code == 0, answer.output
    assert not (out / ".parts").exists()
    assert json.loads((out / ".begun.json").read_text())["format"] == 1
