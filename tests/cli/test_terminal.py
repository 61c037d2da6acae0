"""What commands write where a name may hold any bytes and a terminal may speak any charset."""

from __future__ import annotations

import csv
import fcntl
import io
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Callable, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

Maker = Callable[..., bytes]
KML = "{http://www.opengis.net/kml/2.2}"
FORMATS = ("table", "json", "jsonl", "csv", "csv-ranked", "geojson", "kml")

# What a file is called, and how people read it. Programs read the name itself, where it is UTF-8.
NAMES = {
    b"Z\xfcrich.jpg": r"Z\xfcrich.jpg",
    b"\xff\xfe\xed\xa0\x80.jpg": r"\xff\xfe\xed\xa0\x80.jpg",
    "Zürich 日本 😀.jpg".encode(): "Zürich 日本 😀.jpg",
    b"two\nlines.jpg": r"two\nlines.jpg",
    b"re\rturn\ttab\x7f.jpg": r"re\rturn\ttab\x7f.jpg",
    b"\x1b[31mred\x1b[0m\x1b]0;title\x07.jpg": r"\x1b[31mred\x1b[0m\x1b]0;title\x07.jpg",
    "c1 \u009b31m.jpg".encode(): r"c1 \x9b31m.jpg",
    "\u202egpj.\u2066exe\u2028.jpg".encode(): r"\u202egpj.\u2066exe\u2028.jpg",
    b"[red]red[bold].jpg": "[red]red[bold].jpg",
    b":smile: \\x41.jpg": r":smile: \x41.jpg",
    b'quote", comma; <script>.jpg': 'quote", comma; <script>.jpg',
}
# Of a terminal: nothing set; C with Python's help and without; Latin-1; an unknown locale.
TERMINALS: dict[str, dict[str, str]] = {
    "utf-8": {"PYTHONIOENCODING": "utf-8"},
    "C": {"LC_ALL": "C"},
    "plain C": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    "latin-1": {"PYTHONIOENCODING": "latin-1"},
    "strict ascii": {"PYTHONIOENCODING": "ascii:strict"},
    "no such locale": {"LC_ALL": "en_US.ISO-8859-1", "PYTHONUTF8": "0"},
}


def _command(words: Sequence[object]) -> list[bytes]:
    code = "from locationnet.cli import main; main()"
    return [os.fsencode(str(word)) for word in (sys.executable, "-c", code, *words)]


def _environment(**variables: str) -> dict[str, str]:
    names = ("LANG", "LC_ALL", "PYTHONIOENCODING", "PYTHONUTF8", "PYTHONUNBUFFERED", "COLUMNS")
    return {**{key: value for key, value in os.environ.items() if key not in names}, **variables}


def _run(*words: object, **variables: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        _command(words), env=_environment(**variables), capture_output=True, check=False
    )


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory, make_photo: Maker) -> Path:
    """A folder of photos with odd names, one of them no photo."""
    folder = tmp_path_factory.mktemp("odd")
    for name in NAMES:
        Path(os.fsdecode(os.fsencode(folder) + b"/" + name)).write_bytes(
            make_photo((250, 250, 250))
        )
    Path(os.fsdecode(os.fsencode(folder) + b"/bad \xe9\x1b[31m.jpg")).write_bytes(b"no photo")
    return folder


def _named(form: str, text: str) -> list[str]:
    """Return the photos that an answer names."""
    if form == "json":
        return [entry["photo"] for entry in json.loads(text)]
    if form == "jsonl":
        return [json.loads(line)["photo"] for line in text.splitlines()]
    if form in ("csv", "csv-ranked"):
        return [row["photo"] for row in csv.DictReader(io.StringIO(text, newline=""))]
    if form == "kml":
        folders = ElementTree.fromstring(text).iter(f"{KML}Folder")
        return [folder.findtext(f"{KML}name", "") for folder in folders]
    found = json.loads(text)["features"]
    return [feature["properties"]["photo"] for feature in found]


@pytest.mark.parametrize("terminal", TERMINALS.values(), ids=TERMINALS.keys())
def test_programs_read_utf_8_whatever_names_and_terminals_are(
    odd: Path, tiny_bundle: Path, terminal: dict[str, str]
) -> None:
    names = {f"{odd}/{name.decode('utf-8', 'backslashreplace')}" for name in NAMES}
    # XML has neither most control characters nor a way to write them.
    escaped = {f"{odd}/{name}" for name in NAMES.values()}
    for form in FORMATS[1:] if terminal == TERMINALS["latin-1"] else ("json", "csv"):
        done = _run(
            "locate", odd, "--model", tiny_bundle, "--top-k", 1, "--format", form, **terminal
        )
        assert done.returncode == 1
        found = set(_named(form, done.stdout.decode()))
        assert found == (escaped if form == "kml" else names)
        assert done.stderr.count(b"\n") == 1
        assert rb"bad \xe9\x1b[31m.jpg: not a JPEG" in done.stderr
        if not form.startswith("csv"):  # which has no escapes
            shown = done.stdout.decode()
            assert all(character.isprintable() or character == "\n" for character in shown)


@pytest.mark.parametrize("terminal", TERMINALS.values(), ids=TERMINALS.keys())
def test_people_read_each_name_in_one_line(
    odd: Path, tiny_bundle: Path, terminal: dict[str, str]
) -> None:
    done = _run("locate", odd, "--model", tiny_bundle, **terminal)
    assert done.returncode == 1
    encoding = terminal.get("PYTHONIOENCODING", "utf-8").partition(":")[0]
    if "PYTHONUTF8" in terminal:
        encoding = "ascii"
    lines = done.stdout.decode(encoding).splitlines()
    for name in NAMES.values():
        shown = name.encode(encoding, "backslashreplace").decode(encoding)
        assert f"{odd}/{shown}" in [line.rstrip() for line in lines]
    for text in (done.stdout, done.stderr):
        assert not set(text) & (set(range(32)) - {10})


def _on_a_terminal(words: Sequence[object], columns: int, **variables: str) -> bytes:
    """Return what a command writes to a real terminal, which says itself how wide it is."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    read = bytearray()
    with subprocess.Popen(
        _command(words), env=_environment(**variables), stdout=theirs, stderr=theirs
    ) as process:
        os.close(theirs)
        try:
            while block := os.read(ours, 10_000):
                read += block
        except OSError:  # how a terminal on Linux says that nobody writes to it any more
            pass
    os.close(ours)
    assert process.returncode in (0, 1)
    return bytes(read)


def test_names_on_a_terminal_are_never_commands_of_it(odd: Path, tiny_bundle: Path) -> None:
    words = ["locate", odd, "--model", tiny_bundle, "--format", "csv"]
    read = _on_a_terminal(words, 80, PYTHONIOENCODING="latin-1", TERM="xterm", NO_COLOR="1")
    assert set(read) & set(range(32)) == {10, 13}
    for name in NAMES.values():
        shown = name.replace('"', '""').encode("latin-1", "backslashreplace")
        assert shown in read


@pytest.mark.parametrize("columns", [80, 140])
def test_a_terminal_shows_many_photos_in_lines_that_it_can_hold(
    tmp_path: Path, make_photo: Maker, rocket: Path, columns: int
) -> None:
    names = [
        "a.jpg",
        "holiday by the sea/IMG_20260801_131415_something_more.jpg",
        "b" * 90 + ".jpg",
    ]
    (tmp_path / "holiday by the sea").mkdir()
    for name in names[1:]:
        (tmp_path / name).write_bytes(rocket.read_bytes())
    (tmp_path / names[0]).write_bytes(make_photo((128, 128, 128)))
    (tmp_path / "no.jpg").write_bytes(b"no photo")
    words = ["locate", *(tmp_path / name for name in (*names, "no.jpg"))]
    shown = _on_a_terminal(words, columns, PYTHONUTF8="1", TERM="xterm").decode()
    red = next(line for line in shown.splitlines() if "error: " in line)
    assert red.startswith("\x1b[31merror: ")
    assert f"{tmp_path}/no.jpg: not a JPEG" in red
    lines = [line.rstrip() for line in re.sub(r"\x1b\[[\d;]*m", "", shown).splitlines()]
    for name in names:
        assert any(line.split("  ")[0] == f"{tmp_path}/{name}" for line in lines)
    long = [line for line in lines if len(line) > columns]
    assert all(str(tmp_path) in line and line.find("  ") < 0 for line in long)
    rows = [line for line in lines if "Titusville" in line]
    assert len(rows) == 2
    assert all(re.search(r"Titusville.*, US +1\.5 % +44 × +not sure$", row) for row in rows)
    assert sum(line.startswith("prior (no photo)") for line in lines) == 1
    assert "--html map.html" in " ".join(lines)
    assert lines[-1] == "0 located, 3 not sure, 1 failed"


@pytest.mark.parametrize("variables", [{"TERM": "dumb"}, {"TERM": "xterm", "NO_COLOR": "1"}])
def test_an_error_is_red_only_where_there_are_colours(
    tmp_path: Path, variables: dict[str, str]
) -> None:
    shown = _on_a_terminal(["locate", tmp_path / "none.jpg"], 80, **variables)
    assert b"error: " in shown
    assert b"\x1b" not in shown


@pytest.mark.parametrize("columns", [80, 140])
def test_a_terminal_shows_one_photo_in_words_that_are_not_broken(
    rocket: Path, columns: int
) -> None:
    shown = _on_a_terminal(["locate", rocket, "-v"], columns, PYTHONUTF8="1", TERM="dumb").decode()
    lines = [line.rstrip() for line in shown.splitlines()]
    assert lines[0] == str(rocket)
    assert all(len(line) <= min(columns, 100) for line in lines[1:])
    text = " ".join(lines)
    for words in ("locationnet import geoclip", "→ Titusville, Florida, US × 44", "0.12 bits"):
        assert words in text


def test_signs_have_letters_where_a_terminal_has_nothing_else(rocket: Path) -> None:
    done = _run("locate", rocket, **TERMINALS["plain C"])
    assert b"-> Titusville, Florida, US x 44" in done.stdout
    assert b"44 x" in done.stdout
    assert b"\\x" not in done.stdout
    assert b"\\u" not in done.stdout


def test_a_map_shows_what_people_read(odd: Path, tiny_bundle: Path, tmp_path: Path) -> None:
    class Data(HTMLParser):
        found: Any = None
        inside = False

        def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
            self.inside = ("id", "page-data") in attributes

        def handle_data(self, data: str) -> None:
            if self.inside:
                self.found = json.loads(data)
                self.inside = False

    page = Path(os.fsdecode(os.fsencode(tmp_path) + b"/m\xe4p.html"))
    done = _run("locate", odd, "--model", tiny_bundle, "--html", page)
    assert rb"m\xe4p.html" in done.stderr
    parser = Data()
    parser.feed(page.read_text(encoding="utf-8"))
    assert {item["title"] for item in parser.found["items"]} == {
        f"{odd}/{name}" for name in NAMES.values()
    }


def test_a_model_and_photos_in_a_folder_that_is_not_utf_8_are_used(
    tmp_path: Path, tiny_bundle: Path, make_photo: Maker
) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/f\xfcr \x1b[1m"))
    folder.mkdir()
    model = folder / "model"
    model.mkdir()
    for file in tiny_bundle.iterdir():
        (model / file.name).write_bytes(file.read_bytes())
    shown = f"{tmp_path}/" + r"f\xfcr \x1b[1m/model"
    done = _run("models", "--verify", model)
    assert done.stdout.decode() == f"{shown}: tiny 0.0.1 is whole\n"
    (folder / "a.jpg").write_bytes(make_photo((250, 250, 250)))
    done = _run("locate", folder / "a.jpg", "--model", model, "--format", "json")
    assert json.loads(done.stdout)[0]["photo"] == f"{tmp_path}/f\\xfcr \x1b[1m/a.jpg"
    for words in (
        ("models", folder / "none"),
        ("locate", folder / "a.jpg", "--model", folder / "none"),
        ("locate", folder / "a.jpg", "--html", folder / "none" / "map.html"),
        ("evaluate", "--benchmark", folder / "none.csv", "-o", folder / "out"),
        ("export", folder / "none", "-o", folder / "out"),
    ):
        done = _run(*words)
        assert done.returncode in (1, 2)
        assert b"Traceback" not in done.stderr
        assert rb"f\xfcr \x1b[1m" in done.stderr
        assert not set(done.stderr) & (set(range(32)) - {10})


def test_tables_and_packs_in_a_folder_that_is_not_utf_8_are_written_and_read(
    tmp_path: Path, make_photo: Maker
) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/t\xe4fel"))
    for label in ("cat", "dog"):
        (folder / "photos" / label).mkdir(parents=True)
        for number in range(3):
            photo = make_photo((number * 50, 90, 90))
            (folder / "photos" / label / f"{number} [b].jpg").write_bytes(photo)
    shown = rf"wrote {tmp_path}/t\xe4fel/"
    for suffix in ("csv", "parquet"):
        table = folder / f"l\udce9.{suffix}"
        done = _run("labels", folder / "photos", "-o", table)
        assert done.stdout.decode().splitlines()[-1] == shown + rf"l\xe9.{suffix}"
        out = folder / f"pack {suffix}"
        words = ["pack", table, "--images", folder / "photos", "--label-column", "label", "-o", out]
        done = _run(*words)
        assert done.returncode == 0, done.stderr
        assert b"photos packed             6 in 1 shards" in done.stdout
        assert done.stdout.decode().splitlines()[-1] == shown + f"pack {suffix}"
        done = _run("split", table, "-o", folder / f"sets {suffix}")
        assert done.returncode == 0, done.stderr
        assert sorted(path.stem for path in (folder / f"sets {suffix}").iterdir()) == [
            "test", "train", "val",
        ]  # fmt: skip


def test_im2gps_is_measured_whatever_its_files_are_called(
    tmp_path: Path, tiny_bundle: Path, make_photo: Maker
) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/im2gps \xfc"))
    folder.mkdir()
    comment = b"latitude: 59.9\nlongitude: 10.7"
    photo = make_photo((250, 250, 250), comment=comment)
    for name in NAMES:
        Path(os.fsdecode(os.fsencode(folder) + b"/" + name)).write_bytes(photo)
    broken = make_photo((250, 250, 250), size=(640, 480), comment=comment)
    Path(os.fsdecode(os.fsencode(folder) + b"/br\xf6ken [")).mkdir()
    Path(os.fsdecode(os.fsencode(folder) + b"/br\xf6ken [/bold].jpg")).write_bytes(broken[:-500])
    out = folder / "report"
    done = _run(
        "evaluate", "--benchmark", "im2gps", "--images", folder, "--model", tiny_bundle, "-o", out
    )
    assert done.returncode == 0, done.stderr
    (note,) = [line for line in done.stdout.decode().splitlines() if "ken [" in line]
    assert note.startswith(
        f"note: {tmp_path}/" + r"im2gps \xfc/br\xf6ken [/bold].jpg: the image is"
    )
    fields = json.loads((out / "report.json").read_text(encoding="utf-8"))
    assert fields["photos"] == len(NAMES) + 1
    assert fields["broken"] == 1
    page = (out / "report.html").read_text(encoding="utf-8")
    assert r"br\xf6ken [/bold].jpg" in page


@pytest.mark.parametrize("columns", [1, 40, 80, 200])
def test_a_path_is_never_broken(
    tmp_path: Path, tiny_bundle: Path, make_photo: Maker, columns: int
) -> None:
    deep = tmp_path / "a folder with blanks" / ("x" * 50) / "and - more, (of) them"
    deep.mkdir(parents=True)
    photo = deep / "the photo.jpg"
    photo.write_bytes(make_photo((250, 250, 250)))
    words = ["locate", photo, "--model", tiny_bundle, "-v"]
    done = _run(*words, COLUMNS=str(columns), PYTHONUTF8="1")
    lines = done.stdout.decode().splitlines()
    assert lines[0] == str(photo)
    # Rows neither: whoever cuts a column out of the table gets all of it.
    row = re.compile(r"[1-4] \S.*\d %  +[\d.e-]+ ×  +-?\d+\.\d\d, -?\d+\.\d\d  +[0-9a-f]+  +\d+")
    assert sum(row.fullmatch(line) is not None for line in lines) == 4


def test_a_table_fits_a_terminal_that_is_not_too_narrow(rocket: Path) -> None:
    for columns in (80, 100, 200):
        done = _run("locate", rocket, COLUMNS=str(columns), PYTHONUTF8="1")
        table = [line for line in done.stdout.decode().splitlines() if line.endswith(" ×")]
        assert len(table) == 5
        assert all(len(line) <= min(columns, 100) for line in table)


def test_the_id_of_a_cell_without_a_name_stays_whole(
    make_bundle: Callable[..., Path], rocket: Path
) -> None:
    bundle = make_bundle()
    places = (bundle / "places.csv").read_text(encoding="utf-8").splitlines()
    names = [f"{line.split(',')[0]},,," for line in places[1:]]
    (bundle / "places.csv").write_text("\n".join([places[0], *names]) + "\n", encoding="utf-8")
    fields = json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))
    del fields["files"]
    from locationnet.model.manifest import write_manifest

    write_manifest(bundle, fields)
    whole = json.loads(_run("locate", rocket, "--model", bundle, "--format", "json").stdout)
    done = _run("locate", rocket, "--model", bundle, COLUMNS="20", PYTHONUTF8="1")
    for place in whole[0]["predictions"]:
        assert f"cell {place['cell']} " in done.stdout.decode()


@pytest.mark.parametrize(
    ("form", "buffered"), [("table", True), ("json", True), ("csv", True), ("csv", False)]
)
def test_a_reader_that_leaves_early_is_no_error_to_speak_of(
    odd: Path, tiny_bundle: Path, form: str, buffered: bool
) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    words = ["locate", odd / "[red]red[bold].jpg", "--model", tiny_bundle, "--format", form]
    environment = _environment(**({} if buffered else {"PYTHONUNBUFFERED": "1"}))
    try:
        done = subprocess.run(
            _command(words), env=environment, stdout=writer, stderr=subprocess.PIPE, check=False
        )
    finally:
        os.close(writer)
    assert done.returncode == 1
    assert done.stderr == b""


@pytest.mark.parametrize("form", ["table", "json"])
def test_a_full_disk_is_one_line(odd: Path, tiny_bundle: Path, form: str) -> None:
    words = ["locate", odd / "[red]red[bold].jpg", "--model", tiny_bundle, "--format", form]
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            _command(words), env=_environment(), stdout=full, stderr=subprocess.PIPE, check=False
        )
    assert done.returncode == 1
    assert done.stderr.count(b"\n") == 1
    assert b"No space left on device" in done.stderr


def test_a_closed_output_is_nothing_to_die_of(tiny_bundle: Path, odd: Path) -> None:
    photo = odd / "[red]red[bold].jpg"
    words = _command(["locate", photo, "--model", tiny_bundle, "--format", "csv"])
    done = subprocess.run(
        [b"/bin/sh", b"-c", b'exec "$@" >&-', b"sh", *words], capture_output=True, check=False
    )
    assert done.returncode == 0
    assert done.stderr == b""
