"""Every verb that reads a table reads the same tables: aliases, delimiters, encodings, refusals."""

from __future__ import annotations

import gzip
import http.server
import io
import lzma
import threading
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from locationnet.cli import app
from locationnet.errors import InputError
from locationnet.geo.grid import Grid
from locationnet.tables.columns import ALIASES
from locationnet.tables.read import read_table

pa = pytest.importorskip("pyarrow", reason="needs the extra 'data'")
parquet = pytest.importorskip("pyarrow.parquet", reason="needs the extra 'data'")

PLACES = [(59.91, 10.75), (-1.29, 36.82), (37.77, -122.42), (37.8, -122.27)]
FIELDS = ("id", "path", "url", "uploader", "lat", "lng")


@dataclass
class World:
    """Photos on disk and on a server, and what says where they are."""

    folder: Path
    host: str
    bundle: Path

    @property
    def grid(self) -> Path:
        return self.bundle / "grids.txt"

    def rows(self) -> list[dict[str, str]]:
        return [
            {
                "id": f"{number}", "path": f"photos/{number}.jpg",
                "url": f"http://{self.host}/{number}.jpg", "uploader": f"user{number % 3}",
                "lat": str(lat), "lng": str(lng),
            }
            for number, (lat, lng) in enumerate(PLACES)
        ]  # fmt: skip

    def write(
        self,
        folder: Path,
        names: Mapping[str, str] | None = None,
        *,
        delimiter: str = ",",
        ends: str = "\n",
        rows: list[dict[str, str]] | None = None,
        name: str = "photos.csv",
    ) -> Path:
        """Write the table with other names of columns."""
        path = folder / name
        lines = [delimiter.join((names or {}).get(field, field) for field in FIELDS)]
        lines += [
            delimiter.join(row[field] for field in FIELDS)
            for row in (self.rows() if rows is None else rows)
        ]
        path.write_bytes("".join(line + ends for line in lines).encode())
        return path


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, tiny_bundle: Path) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("world")
    (folder / "photos").mkdir()
    random = np.random.default_rng(1)
    for number in range(len(PLACES)):
        pixels = random.integers(0, 256, (300, 300, 3), np.uint8)
        Image.fromarray(pixels).save(folder / "photos" / f"{number}.jpg")

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *given: Any) -> None:
            super().__init__(*given, directory=str(folder / "photos"))

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield World(folder, f"127.0.0.1:{server.server_port}", tiny_bundle)
        server.shutdown()
        thread.join()


def _run(*words: object) -> tuple[int, str]:
    answer = CliRunner().invoke(app, list(map(str, words)))
    if answer.exception is not None and not isinstance(answer.exception, SystemExit):
        return 1, str(answer.exception)
    return answer.exit_code, answer.output


def _partition(world: World, table: Path, out: Path) -> tuple[int, str]:
    few = ("--max-photos", 1, "--min-photos", 1)
    return _run("partition", table, "-o", out / "grids.txt", *few)


def _metadata(world: World, table: Path, out: Path) -> tuple[int, str]:
    return _run("metadata", table, "-o", out / "made.parquet")


def _split(world: World, table: Path, out: Path) -> tuple[int, str]:
    return _run("split", table, "-o", out / "sets")


def _pack(world: World, table: Path, out: Path) -> tuple[int, str]:
    grid = ("--grid", world.grid, "--processes", 1)
    return _run("pack", table, "--images", world.folder, *grid, "-o", out / "pack")


def _download(world: World, table: Path, out: Path) -> tuple[int, str]:
    source = ("--from", "urls", "--exempt", world.host, "--rate", 1000)
    return _run("download", table, *source, "-o", out / "photos")


def _download_pack(world: World, table: Path, out: Path) -> tuple[int, str]:
    source = ("--from", "urls", "--exempt", world.host, "--rate", 1000)
    return _run("download", table, *source, "--pack", "--grid", world.grid, "-o", out / "packed")


def _evaluate(world: World, table: Path, out: Path) -> tuple[int, str]:
    photos = ("--benchmark", table, "--images", world.folder)
    return _run("evaluate", *photos, "--model", world.bundle, "-o", out / "report")


Verb = Callable[[World, Path, Path], tuple[int, str]]
VERBS: dict[str, Verb] = {
    "partition": _partition,
    "metadata": _metadata,
    "split": _split,
    "pack": _pack,
    "download": _download,
    "download --pack": _download_pack,
    "evaluate": _evaluate,
}
# Each alias of each field once; where a field has fewer, they come again.
ROUNDS = [
    {field: ALIASES[field][turn % len(ALIASES[field])] for field in FIELDS}
    for turn in range(max(len(ALIASES[field]) for field in FIELDS))
]
all_verbs = pytest.mark.parametrize("verb", VERBS)


def _check(verb: str, out: Path) -> None:
    """Make sure that nothing of the table was lost."""
    if verb == "partition":
        assert len(Grid.read(out / "grids.txt")) >= 3
    elif verb == "metadata":
        rows = parquet.read_table(out / "made.parquet").to_pylist()
        assert [row["id"] for row in rows] == ["0", "1", "2", "3"]
        assert [(row["lat"], row["lng"]) for row in rows] == PLACES
        assert [row["uploader"] for row in rows] == ["user0", "user1", "user2", "user0"]
        assert [row["url"][-6:] for row in rows] == ["/0.jpg", "/1.jpg", "/2.jpg", "/3.jpg"]
    elif verb == "split":
        sets = [table for path in (out / "sets").iterdir() for table in _not_empty(path)]
        users = [set(table.column(3).to_pylist()) for table in sets]
        assert sum(table.num_rows for table in sets) == len(PLACES)
        assert sum(map(len, users)) == len(set().union(*users)) == 3
    elif verb == "download":
        table = parquet.read_table(out / "photos" / "photos.parquet")
        assert table.num_rows == len(PLACES)
    elif verb == "evaluate":
        rows = parquet.read_table(out / "report" / "predictions.parquet").to_pylist()
        assert [row["problem"] for row in rows] == [None] * 4
        assert [(row["lat"], row["lng"]) for row in rows] == PLACES
        assert [row["uploader"] for row in rows] == ["user0", "user1", "user2", "user0"]
    else:
        folder = out / ("pack" if verb == "pack" else "packed")
        rows = parquet.read_table(folder / "photos.parquet").to_pylist()
        assert [row["id"] for row in rows] == ["0", "1", "2", "3"]
        assert [(row["lat"], row["lng"]) for row in rows] == PLACES
        assert [row["uploader"] for row in rows] == ["user0", "user1", "user2", "user0"]


def _not_empty(path: Path) -> Iterator[Any]:
    """Yield a table, unless it has no rows."""
    try:
        yield read_table(path)
    except InputError as error:
        assert "contains no rows" in str(error)


@all_verbs
@pytest.mark.parametrize("turn", range(len(ROUNDS)))
def test_every_verb_knows_every_alias(world: World, tmp_path: Path, verb: str, turn: int) -> None:
    table = world.write(tmp_path, ROUNDS[turn])
    code, said = VERBS[verb](world, table, tmp_path)
    assert code == 0, said
    _check(verb, tmp_path)


FORMS: dict[str, Callable[[World, Path], Path]] = {
    "semicolons": lambda world, folder: world.write(folder, delimiter=";"),
    "tabs": lambda world, folder: world.write(folder, delimiter="\t", name="photos.tsv"),
    "tabs, named csv": lambda world, folder: world.write(folder, delimiter="\t"),
    "bars": lambda world, folder: world.write(folder, delimiter="|", name="photos.txt"),
    "Windows": lambda world, folder: world.write(folder, ends="\r\n"),
    "old Mac": lambda world, folder: world.write(folder, ends="\r"),
    "blank lines": lambda world, folder: _rewritten(
        world.write(folder), lambda data: b"\n\n" + data.replace(b"\n", b"\n\n")
    ),
    "byte order mark": lambda world, folder: _rewritten(
        world.write(folder), lambda data: b"\xef\xbb\xbf" + data
    ),
    "UTF-16": lambda world, folder: _rewritten(
        world.write(folder), lambda data: data.decode().encode("utf-16")
    ),
    "gzip": lambda world, folder: _rewritten(
        world.write(folder, name="photos.csv.gz"), gzip.compress
    ),
    "gzip, named csv": lambda world, folder: _rewritten(world.write(folder), gzip.compress),
    "plain, named gzip": lambda world, folder: world.write(folder, name="photos.csv.gz"),
    "xz": lambda world, folder: _rewritten(world.write(folder, name="photos.xz"), lzma.compress),
    "zip": lambda world, folder: _rewritten(world.write(folder, name="photos.zip"), _zipped),
    "Parquet": lambda world, folder: _as_parquet(world, folder / "photos.parquet"),
    "Parquet, named csv": lambda world, folder: _as_parquet(world, folder / "photos.csv"),
}  # fmt: skip


def _rewritten(path: Path, change: Callable[[bytes], bytes]) -> Path:
    path.write_bytes(change(path.read_bytes()))
    return path


def _zipped(data: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("photos.csv", data)
    return file.getvalue()


def _as_parquet(world: World, path: Path) -> Path:
    parquet.write_table(pa.Table.from_pylist(world.rows()), path)
    return path


@all_verbs
@pytest.mark.parametrize("form", FORMS)
def test_every_verb_reads_every_form(world: World, tmp_path: Path, verb: str, form: str) -> None:
    code, said = VERBS[verb](world, FORMS[form](world, tmp_path), tmp_path)
    assert code == 0, said
    _check(verb, tmp_path)


@all_verbs
@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda text: text.replace("photos/1.jpg", '"photos/1.jpg'), "row 2 (line 3): a quote"),
        (lambda text: text.replace("id,path", "id,path,lat"), "two columns are named 'lat'"),
        (lambda text: text.split("\n", 1)[1], ""),
        (lambda _: "", ""),
        (lambda _: "%PDF-1.7\n%âã\n", "a PDF"),
    ],
    ids=["open quote", "a name twice", "no header", "empty", "PDF"],
)
def test_every_verb_refuses_what_it_cannot_be_sure_of(
    world: World, tmp_path: Path, verb: str, change: Callable[[str], str], says: str
) -> None:
    table = world.write(tmp_path)
    text = change(table.read_text())
    table.write_text(text)
    before = sorted(tmp_path.iterdir())
    code, said = VERBS[verb](world, table, tmp_path)
    assert code == 1, said
    assert "photos.csv" in said or "all empty" in said
    assert says in said
    assert len(said.strip().splitlines()) == 1
    assert said.strip().isprintable()
    assert sorted(tmp_path.iterdir()) == before
    assert table.read_text() == text


@pytest.mark.parametrize("verb", ["pack", "download", "download --pack", "evaluate", "metadata"])
@pytest.mark.parametrize("column", ["list", "struct", "bytes"])
def test_a_parquet_column_that_holds_no_texts_is_named(
    world: World, tmp_path: Path, verb: str, column: str
) -> None:
    wrong: dict[str, list[Any]] = {
        "list": [["a"]] * 4, "struct": [{"a": "b"}] * 4, "bytes": [b"\xff"] * 4,
    }  # fmt: skip
    wanted = "url" if verb.startswith("download") else "path"
    rows = {field: [row[field] for row in world.rows()] for field in FIELDS}
    table = tmp_path / "photos.parquet"
    parquet.write_table(pa.table({**rows, wanted: wrong[column]}), table)
    code, said = VERBS[verb](world, table, tmp_path)
    assert code == 1
    if (verb, column) != ("metadata", "bytes"):  # which counts its rows, and has none left
        assert f"{wanted}" in said
        assert "not texts" in said or "not UTF-8" in said
    assert len(said.strip().splitlines()) == 1


@all_verbs
def test_a_row_that_does_not_fit_is_counted_or_named(
    world: World, tmp_path: Path, verb: str
) -> None:
    table = world.write(tmp_path)
    table.write_text(table.read_text() + "4,photos/0.jpg,x\n")
    code, said = VERBS[verb](world, table, tmp_path)
    counts = {"partition": "photos read 5", "metadata": "rows read 5"}
    if verb in counts:
        assert code == 0
        plain = " ".join(said.split())
        assert counts[verb] in plain
        assert "1 wrong number of columns" in plain
    else:
        assert code == 1
        assert "photos.csv: row 5 (line 6): 3 columns, expected 6" in said


@pytest.mark.parametrize("verb", ["partition", "metadata", "pack", "download --pack", "evaluate"])
def test_a_photo_at_0_0_is_dropped_and_counted(world: World, tmp_path: Path, verb: str) -> None:
    extra = {**world.rows()[0], "id": "9", "lat": "0.0", "lng": "-0"}
    table = world.write(tmp_path, rows=[*world.rows(), extra])
    code, said = VERBS[verb](world, table, tmp_path)
    assert code == 0, said
    _check(verb, tmp_path)
    plain = " ".join(said.split())
    assert "1 at 0, 0" in plain or "1 photos whose truth is 0, 0 are left out" in plain


@pytest.mark.parametrize("verb", ["evaluate", "pack", "partition", "metadata"])
def test_numbers_are_the_same_for_every_verb(world: World, tmp_path: Path, verb: str) -> None:
    for odd in ("1_0", "٣", "0x1p3", "nan", "inf", "1,5", ""):
        rows = world.rows()
        rows[3]["lat"] = f'"{odd}"'
        table = world.write(tmp_path, rows=rows)
        folder = tmp_path / f"{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        code, said = VERBS[verb](world, table, folder)
        if verb == "evaluate":
            assert code == 1
            assert f"row 4: {odd!r} is not a valid latitude" in said
        else:
            assert code == 0
            reasons = ("not a number", "coordinate missing", "no usable coordinate")
            assert any(f"1 {reason}" in " ".join(said.split()) for reason in reasons)
