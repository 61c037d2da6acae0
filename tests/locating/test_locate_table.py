"""Tables of photos located: files, URLs and keys, after a kill, on a cluster, and what is wrong."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet
from typer.testing import CliRunner, Result

from locationnet.cli import app
from locationnet.locating.locate_table import locate_table
from locationnet.model.locator import Locator
from locationnet.tables.read import read_table
from locationnet.tables.resumable import PART_ROWS

Maker = Callable[..., bytes]
Run = Callable[..., Result]


@pytest.fixture
def images(tmp_path: Path, make_photo: Maker) -> Path:
    """A folder with a bright, a dark and a red photo, and a file that is not a photo."""
    folder = tmp_path / "images"
    folder.mkdir()
    for name, colour in {"bright": (250,) * 3, "dark": (5,) * 3, "red": (250, 5, 5)}.items():
        (folder / f"{name}.jpg").write_bytes(make_photo(colour))
    (folder / "none.jpg").write_bytes(b"no photo")
    return folder


@pytest.fixture
def run(tiny_bundle: Path) -> Run:
    """Run the command line with the tiny bundle."""

    def run(*arguments: object) -> Result:
        words = [str(argument) for argument in arguments]
        return CliRunner().invoke(app, ["locate", "--model", str(tiny_bundle), *words])

    return run


class Site:
    """A server that has the photos of a folder; it may keep one back until it is released."""

    def __init__(self, images: Path) -> None:
        self.asked: list[str] = []
        self.kept_back = ""
        self.released = threading.Event()
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                path = self.path.partition("?")[0].lstrip("/")
                site.asked.append(self.path)
                if self.path.endswith(site.kept_back) and site.kept_back:
                    site.released.wait(60)
                found = images / path
                self.send_response(200 if found.is_file() else 404)
                self.end_headers()
                if found.is_file():
                    self.wfile.write(found.read_bytes())

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign]  # who asked died
        self.host = f"127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def close(self) -> None:
        self.released.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def site(images: Path) -> Iterator[Site]:
    """A real HTTP server on loopback."""
    site = Site(images)
    yield site
    site.close()


def _table(file: Path, **columns: Any) -> Path:
    parquet.write_table(pa.table(columns), file)
    return file


def test_rows_keep_their_columns_and_get_the_answers(
    run: Run, images: Path, tmp_path: Path, tiny_locator: Locator
) -> None:
    columns: dict[str, Any] = {
        "Path": ["bright.jpg", "none.jpg", "", "missing.jpg", "dark.jpg"],
        "latitude": [1.0, 2.0, 3.0, 4.0, 5.0],
        "longitude": [6.0] * 5,
        "tags": [["a"], [], None, ["b", "c"], []],
    }
    table, out = _table(tmp_path / "photos.parquet", **columns), tmp_path / "places.parquet"
    answer = run(table, "--images", images, "-o", out)
    assert answer.exit_code == 1
    assert answer.stdout == f"2 located, 0 not sure, 3 failed\nwrote {out}\n"
    found = parquet.read_table(out)
    assert found.select(list(columns)).to_pydict() == columns
    # The truth has columns of that name already.
    assert "lat" not in found.column_names
    rows = found.to_pylist()
    expected = tiny_locator.locate(images / "bright.jpg")
    assert rows[0]["place"] == "Oslo, NO"
    assert rows[0]["predicted_lat"] == expected.mode.lat
    assert rows[0]["lift"] == expected.mode.lift
    assert rows[0]["summary"] == expected.summary
    assert [row["error"] for row in rows] == [
        None,
        "not a JPEG, PNG, WebP, AVIF or HEIC image",
        "no address",
        "cannot read the file (No such file or directory)",
        None,
    ]
    assert rows[1]["place"] is rows[1]["located"] is None
    assert not list(tmp_path.glob("*.parts"))
    # Only Parquet can hold a list, which is said before the work.
    refused = run(table, "-o", tmp_path / "places.csv")
    assert "column 'tags' holds list" in str(refused.exception)
    assert not (tmp_path / "places.csv").exists()


def test_csv_goes_in_and_out_and_regions_and_coarseness_hold(
    run: Run, images: Path, tmp_path: Path
) -> None:
    table = tmp_path / "photos.csv"
    table.write_text(f'file,note\n{images}/bright.jpg,"a, b"\n', encoding="utf-8")
    out = tmp_path / "places.tsv.gz"
    assert run(table, "-o", out, "--countries", "US").exit_code == 0
    [row] = read_table(out).to_pylist()
    assert (row["file"], row["note"], row["country"]) == (f"{images}/bright.jpg", "a, b", "US")
    assert run(table, "-o", out, "--coarse", 1000).exit_code == 0
    [row] = read_table(out).to_pylist()
    assert float(row["radius_50_km"]) >= 1000
    answer = run(table, "-o", out, "--countries", "FR")
    assert "no cell of the model lies in that region" in str(answer.exception)


def test_urls_and_keys_are_read_and_what_fails_is_named(
    run: Run, images: Path, tmp_path: Path, site: Site, s3_server: str, put: Any
) -> None:
    put("trip/red.jpg", (images / "red.jpg").read_bytes())
    names = [
        f"http://{site.host}/dark.jpg",
        f" http://{site.host}/gone.jpg",
        "s3://commons/trip/red.jpg",
        "red.jpg",
        "s3://commons/none.jpg",
        "http://127.0.0.1:9/",
        "ftp://example.org/a.jpg",
    ]
    table, out = _table(tmp_path / "photos.parquet", key=names), tmp_path / "places.csv"
    words = (table, "-o", out, "--exempt", site.host, "--endpoint-url", s3_server)
    answer = run(*words, "--images", "s3://commons/trip", "--rate", 100)
    assert answer.exit_code == 1
    rows = read_table(out).to_pylist()
    places = [row["country"] for row in rows]
    assert places == ["KE", "", "US", "US", "", "", ""]
    errors = [row["error"] for row in rows]
    assert errors[1].startswith("no longer there")
    assert errors[4].startswith("no longer there")
    assert errors[5].startswith("an address that is not contacted")


def test_a_run_that_is_killed_is_resumed_and_ends_the_same(
    run: Run, images: Path, tmp_path: Path, tiny_bundle: Path, site: Site
) -> None:
    count = 2 * PART_ROWS + 40
    names = [f"{images}/{('bright', 'dark', 'red')[row % 3]}.jpg" for row in range(count)]
    for row in (10, PART_ROWS + 100):
        names[row] = f"http://{site.host}/red.jpg?{row}"
    table = _table(tmp_path / "photos.parquet", path=names, row=list(range(count)))
    more = ["--exempt", site.host, "--rate", "1000"]
    whole, out = tmp_path / "whole.parquet", tmp_path / "places.parquet"
    assert run(table, "-o", whole, *more).exit_code == 0
    site.kept_back, site.asked[:] = f"?{PART_ROWS + 100}", []
    code = "from locationnet.cli import main; main()"
    words = ["locate", "--model", str(tiny_bundle), str(table), "-o", str(out), *more]
    with subprocess.Popen([sys.executable, "-c", code, *words]) as running:
        first = tmp_path / "places.parquet.parts" / f"{0:09d}.parquet"
        while not (first.exists() and any(path.endswith(site.kept_back) for path in site.asked)):
            assert running.poll() is None
            time.sleep(0.01)
        running.send_signal(signal.SIGKILL)
    assert not out.exists()
    site.released.set()
    site.asked[:] = []
    answer = run(table, "-o", out, *more)
    assert answer.stdout.startswith(f"{count} located, 0 not sure, 0 failed\n")
    assert site.asked == ["/robots.txt", f"/red.jpg{site.kept_back}"]
    assert parquet.read_table(out).equals(parquet.read_table(whole))


@pytest.fixture
def scheduler() -> Iterator[str]:
    """The address of a Dask cluster whose two workers are threads of this process."""
    dask: Any = pytest.importorskip("distributed", reason="needs the extra 'dask'")
    with dask.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=False, protocol="tcp", host="127.0.0.1",
        dashboard_address=None,
    ) as cluster:  # fmt: skip
        yield cluster.scheduler_address


def test_a_cluster_locates_the_same(run: Run, images: Path, tmp_path: Path, scheduler: str) -> None:
    names = ["bright.jpg", "none.jpg", "red.jpg"] * (PART_ROWS // 2)
    table = _table(tmp_path / "photos.parquet", path=names)
    for out, words in (("here", ()), ("there", ("--scheduler", scheduler))):
        answer = run(table, "--images", images, "-o", tmp_path / f"{out}.parquet", *words)
        assert answer.exit_code == 1
        assert f"{len(names) // 3} failed" in answer.stdout
    found = parquet.read_table(tmp_path / "there.parquet")
    assert found.equals(parquet.read_table(tmp_path / "here.parquet"))


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def test_parts_of_other_work_are_of_no_use(
    run: Run, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = _table(tmp_path / "photos.parquet", path=["bright.jpg"] * 3)
    out = tmp_path / "places.parquet"
    with monkeypatch.context() as patch:
        patch.setattr(f"{locate_table.__module__}.write_slices", _interrupt)
        run(table, "--images", images, "-o", out)
    assert (tmp_path / "places.parquet.parts").is_dir()
    assert run(table, "--images", images, "-o", out, "--countries", "KE").exit_code == 0
    assert set(read_table(out)["country"].to_pylist()) == {"KE"}


@pytest.mark.parametrize(
    ("names", "words", "code", "said"),
    [
        (["a.csv", "b.csv"], ["-o", "out.csv"], 2, "one table"),
        (["photo.jpg"], ["-o", "out.csv"], 2, "takes a table of photos"),
        ([""], ["-o", "out.csv"], 2, "takes a table of photos"),
        (["a.csv"], ["-o", "a.csv"], 2, "would replace"),
        (["a.csv"], ["-o", "none/out.csv"], 2, "does not exist"),
        (["a.csv"], ["-o", "out.xlsx"], 1, "name it .parquet, .csv or .tsv"),
        (["a.csv"], ["-o", "out.csv", "--format", "csv"], 2, "--out is a table"),
        (["a.csv"], [], 2, "needs --out"),
        (["a.csv"], ["--scheduler", "tcp://127.0.0.1:9"], 2, "need --out"),
        (["none.csv"], ["-o", "out.csv"], 1, "no such file"),
        (["b.csv"], ["-o", "out.csv"], 1, "no column of paths or keys or URLs"),
        (["c.csv"], ["-o", "out.csv"], 1, "has a column 'predicted_lat' already"),
        (["d.csv"], ["-o", "out.csv"], 1, "row 2 (line 3)"),
    ],
)
def test_wrong_tables_are_one_line_and_write_nothing(
    run: Run, tmp_path: Path, names: list[str], words: list[str], code: int, said: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    tables = {
        "a.csv": "path\nx.jpg\n",
        "b.csv": "lat,lng\n1,2\n",
        "c.csv": "path,lat,lng,predicted_lat\nx.jpg,1,2,3\n",
        "d.csv": "path,note\nx.jpg,a\ny.jpg\n",
    }
    for name, text in tables.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    answer = run(*(tmp_path / name for name in names), *words)
    assert answer.exit_code == code
    shown = " ".join((answer.output + str(answer.exception)).replace("│", " ").split())
    assert said in shown
    assert {path.name for path in tmp_path.iterdir()} == set(tables)
