"""``locationnet locate`` and ``models`` as a user runs them."""

from __future__ import annotations

import csv
import io
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from xml.etree import ElementTree

import pytest
from typer.testing import CliRunner, Result

from locationnet.cli import app
from locationnet.model.locator import Locator

Maker = Callable[..., bytes]
Run = Callable[..., Result]


@pytest.fixture
def run(tiny_bundle: Path) -> Run:
    """Run the command line with the tiny bundle."""

    def run(*arguments: object) -> Result:
        words = [str(argument) for argument in arguments]
        return CliRunner().invoke(app, ["locate", "--model", str(tiny_bundle), *words])

    return run


@pytest.fixture
def photos(tmp_path: Path, make_photo: Maker) -> Path:
    """A folder with a bright, a dark and a red photo, and other things."""
    folder = tmp_path / "photos"
    (folder / "deeper").mkdir(parents=True)
    (folder / "bright.jpg").write_bytes(make_photo((250, 250, 250)))
    (folder / "dark.PNG").write_bytes(make_photo((5, 5, 5), form="PNG"))
    (folder / "deeper" / "red.webp").write_bytes(make_photo((250, 5, 5), form="WEBP"))
    (folder / "notes.txt").write_text("not a photo")
    return folder


def test_one_photo_is_told_in_words_before_codes(run: Run, photos: Path) -> None:
    answer = run(photos / "bright.jpg")
    assert answer.exit_code == 0
    lines = answer.stdout.splitlines()
    assert lines[1] == "Probably Oslo, NO (more than 99 %)"
    for words in ("Norway", "best (the point with", "bits from the photo"):
        assert words in answer.stdout
    assert "prior" not in answer.stdout
    for code in ("S2", "evidence:"):
        assert code not in answer.stdout
    assert "S2" in run(photos / "bright.jpg", "-v").stdout


def test_a_radius_is_around_the_place_beside_it_and_said_only_where_it_tells(
    run: Run, photos: Path, tiny_locator: Locator
) -> None:
    photo = photos / "deeper" / "red.webp"
    prediction = tiny_locator.locate(photo)
    around = prediction.radius_km(0.5, around=prediction.mode)
    assert around < 2000
    said = f"half of the probability lies within {around:,.0f} km of {prediction.mode.name}"
    assert said in run(photo).stdout
    wide = tiny_locator.prior()
    assert min(wide.radius_km(0.5, around=place) for place in wide.places) > 2000
    assert "lies within" not in run(photo, "--near", "10,10,20000", "--coarse", "6000").stdout


def test_an_answer_that_abstains_says_what_helps_and_the_rest_only_to_who_asks(
    make_bundle: Callable[..., Path], photos: Path
) -> None:
    model = make_bundle(abstain_below_bits=9.0)
    words = ["locate", str(photos / "bright.jpg"), "--model", str(model)]
    short, long = (CliRunner().invoke(app, [*words, *more]).stdout for more in ((), ("-v",)))
    for text in (short, long):
        assert text.splitlines()[1] == "This photo does not say where it was taken"
        assert "A landmark, a street" in text
    assert "Oslo" not in short
    assert "Oslo" in long


def test_the_demo_is_called_one_and_shows_the_prior_beside_it(photos: Path) -> None:
    answer = CliRunner().invoke(app, ["locate", str(photos / "bright.jpg"), "-v"])
    assert answer.exit_code == 0
    assert "demo" in answer.stdout
    assert "prior (no photo): United States" in answer.stdout


def test_many_photos_have_a_row_each_and_their_counts(
    run: Run, photos: Path, make_bundle: Callable[..., Path]
) -> None:
    answer = run(photos / "notes.txt", photos)
    assert answer.exit_code == 1
    lines = answer.stdout.splitlines()
    assert lines[-1] == "3 located, 0 not sure, 1 failed"
    assert [name for name in ("bright.jpg", "dark.PNG", "red.webp") if name in answer.stdout]
    assert "Oslo, NO" in answer.stdout
    doubtful = run(photos, "--model", make_bundle(abstain_below_bits=9.0))
    assert doubtful.exit_code == 0
    assert doubtful.stdout.count("abstained") == 3
    assert doubtful.stdout.splitlines()[-1] == "0 located, 3 not sure, 0 failed"
    assert "Oslo" not in doubtful.stdout
    nothing = run(photos / "notes.txt", photos / "none.jpg")
    assert nothing.stdout == "0 located, 0 not sure, 2 failed\n"
    told = run(photos, "-v")
    assert told.stdout.count("best (the point with") == 3
    assert told.stdout.splitlines()[-1] == "3 located, 0 not sure, 0 failed"


def test_a_folder_stands_for_the_images_below_it(run: Run, photos: Path) -> None:
    answer = run(photos, "--format", "jsonl")
    assert answer.exit_code == 0
    names = [Path(json.loads(line)["photo"]).name for line in answer.stdout.splitlines()]
    assert names == ["bright.jpg", "dark.PNG", "red.webp"]


def test_a_folder_of_every_kind_is_read_and_the_rest_counted(
    run: Run, photos: Path, make_photo: Maker
) -> None:
    register = pytest.importorskip("pillow_heif").register_heif_opener
    register()
    forms = {"a.jfif": "JPEG", "b.jpe": "JPEG", "c.avif": "AVIF", "d.HEIC": "HEIF", "e.hif": "HEIF"}
    for name, form in forms.items():
        (photos / name).write_bytes(make_photo((5, 5, 5), form=form))
    for name in ("clip.MOV", "more.mov", "._bright.jpg", "LICENCE"):
        (photos / name).write_bytes(b"no photo")
    answer = run(photos, "--format", "jsonl")
    assert answer.exit_code == 0
    names = [Path(json.loads(line)["photo"]).name for line in answer.stdout.splitlines()]
    assert sorted(names) == sorted([*forms, "bright.jpg", "dark.PNG", "red.webp"])
    assert answer.stderr == (
        f"{photos}: 5 other files are not read: 2 .mov, 1 .txt, 1 hidden, 1 without a suffix\n"
    )


def test_a_pattern_stands_for_its_matches(run: Run, photos: Path) -> None:
    answer = run(photos / "*.jpg", "--format", "jsonl")
    assert len(answer.stdout.splitlines()) == 1
    answer = run(photos / "**" / "*.webp", "--format", "jsonl")
    assert json.loads(answer.stdout)["predictions"][0]["place"] == "San Francisco, California, US"


def test_json_is_the_servers_answer_with_the_photos_name(
    run: Run, photos: Path, tiny_locator: Locator
) -> None:
    answer = run(photos / "dark.PNG", "--format", "json", "--top-k", 2)
    (entry,) = json.loads(answer.stdout)
    assert entry.pop("photo") == str(photos / "dark.PNG")
    assert entry.pop("model") == {
        "name": "tiny",
        "version": "0.0.1",
        "grid_sha256": tiny_locator.grid.sha256,
    }
    assert entry == tiny_locator.locate(photos / "dark.PNG", top_k=2).to_dict()


def test_csv_has_a_row_for_each_photo(run: Run, photos: Path, tiny_locator: Locator) -> None:
    rows = list(csv.DictReader(io.StringIO(run(photos, "--format", "csv").stdout)))
    assert len(rows) == 3
    first = tiny_locator.locate(photos / "bright.jpg")
    assert rows[0] == {
        "photo": str(photos / "bright.jpg"),
        "place": "Oslo, NO",
        "country": "NO",
        "probability": str(first.mode.probability),
        "lift": str(first.mode.lift),
        "lat": "59.91",
        "lng": "10.75",
        "radius_50_km": str(first.radius_km(0.5, around=first.mode)),
        "abstained": "False",
        "located": "True",
        "information_bits": str(first.information_bits),
        "calibrated": "True",
        "summary": first.summary,
    }


def test_ranked_csv_has_a_row_for_each_place(run: Run, photos: Path) -> None:
    answer = run(photos, "--format", "csv-ranked", "--top-k", 3)
    rows = list(csv.DictReader(io.StringIO(answer.stdout)))
    assert len(rows) == 9
    assert rows[0]["place"] == "Oslo, NO"
    assert [row["rank"] for row in rows[:3]] == ["1", "2", "3"]
    assert float(rows[0]["lift"]) > 1 > float(rows[2]["lift"])


def test_geojson_and_kml_have_points_and_cells(run: Run, photos: Path) -> None:
    words = (photos / "bright.jpg", "--top-k", 2, "--format")
    document = json.loads(run(*words, "geojson").stdout)
    assert document["type"] == "FeatureCollection"
    kinds = [feature["geometry"]["type"] for feature in document["features"]]
    assert kinds == ["Point", "Point", "MultiPolygon", "MultiPolygon"]
    first = document["features"][0]
    assert first["geometry"]["coordinates"] == [10.75, 59.91]
    assert first["properties"]["rank"] == 1
    assert first["properties"]["summary"].startswith("Probably Oslo, NO")
    text = run(*words, "kml").stdout
    places = ElementTree.fromstring(text).iter("{http://www.opengis.net/kml/2.2}Placemark")
    assert len(list(places)) == 2


@pytest.mark.parametrize(
    ("words", "city"),
    [
        (["--countries", "US"], "San Francisco"),
        (["--countries", "ke, no"], "Oslo"),
        (["--bbox", "-123,37.79,-122,38"], "Oakland"),
        (["--near", "-1.3,36.8,300"], "Nairobi"),
        (["--countries", "US", "--near", "37.8,-122.27,5"], "Oakland"),
    ],
)
def test_who_knows_roughly_where_says_so(
    run: Run, photos: Path, words: list[str], city: str
) -> None:
    answer = run(photos / "bright.jpg", "--format", "json", *words)
    assert answer.exit_code == 0, answer.output
    [found] = json.loads(answer.stdout)
    assert found["predictions"][0]["place"].startswith(city)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--countries", "ITA"], 2, "a country is a code of two letters"),
        (["--near", "1,2"], 2, "--near 1,2: expected 3 numbers"),
        (["--near", "1,2,x"], 2, "expected 3 numbers"),
        (["--near", "95,2,3"], 2, "circle: a latitude"),
        (["--bbox", "1,9,2,3"], 2, "a box is west, south, east, north"),
        (["--countries", "FR"], 1, "no cell of the model lies in that region"),
    ],
)
def test_a_region_that_is_not_valid_is_one_line(
    run: Run, photos: Path, words: list[str], code: int, said: str
) -> None:
    answer = run(photos / "bright.jpg", *words)
    assert answer.exit_code == code
    assert said in " ".join((answer.output + str(answer.exception)).replace("│", " ").split())


def test_coarse_answers_are_coarse(run: Run, photos: Path) -> None:
    answer = run(photos / "deeper/red.webp", "--format", "json", "--coarse", 200)
    (entry,) = json.loads(answer.stdout)
    assert entry["radius_km"]["50"] >= 200
    assert entry["predictions"][0]["place"] == "US"
    assert entry["predictions"][0]["level"] <= 5


def test_unreadable_photos_are_reported_and_the_rest_goes_on(
    run: Run, photos: Path, make_photo: Maker
) -> None:
    broken = photos / "broken.jpg"
    whole = make_photo(size=(640, 480))
    broken.write_bytes(whole[: len(whole) * 3 // 4])
    missing = photos / "missing.jpg"
    answer = run(photos / "notes.txt", broken, missing, photos / "dark.PNG", "--format", "jsonl")
    assert answer.exit_code == 1
    assert len(answer.stdout.splitlines()) == 1
    errors = answer.stderr.splitlines()
    assert len(errors) == 3
    assert errors[0].endswith("notes.txt: not a JPEG, PNG, WebP, AVIF or HEIC image")
    assert "broken.jpg: the image is truncated" in errors[1]
    assert "missing.jpg: cannot read the file (No such file or directory)" in errors[2]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("www.example.org/photo.jpg", "must begin with https://"),
        ("data:image/png;base64,iVBORw0KGgo=", "the photo itself"),
        ("blob:https://example.org/1", "one browser alone"),
        ("ftp://example.org/photo.jpg", "http and https"),
        ("https://127.0.0.1/photo.jpg", "not public"),
    ],
)
def test_an_address_that_cannot_be_fetched_is_told_in_the_services_words(
    run: Run, name: str, says: str
) -> None:
    answer = run(name)
    assert answer.exit_code == 1
    assert says in answer.stderr


def test_a_document_is_whole_even_where_every_photo_failed(run: Run, tmp_path: Path) -> None:
    answer = run(tmp_path / "missing.jpg", "--format", "json")
    assert answer.exit_code == 1
    assert json.loads(answer.stdout) == []


def test_a_folder_without_images_is_an_error(run: Run, tmp_path: Path) -> None:
    answer = run(tmp_path)
    assert answer.exit_code == 1
    assert (
        answer.stderr
        == f"error: {tmp_path}: no JPEG, PNG, WebP, AVIF or HEIC image below this folder\n"
    )


def test_a_folder_without_images_does_not_stop_the_others(
    run: Run, photos: Path, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    answer = run(tmp_path / "empty", tmp_path / "*.nef", photos / "dark.PNG", "--format", "jsonl")
    assert answer.exit_code == 1
    assert len(answer.stdout.splitlines()) == 1
    assert len(answer.stderr.splitlines()) == 2


def test_a_name_that_looks_like_a_pattern_is_a_name_where_it_exists(
    run: Run, tmp_path: Path, make_photo: Maker
) -> None:
    (tmp_path / "trip [1].jpg").write_bytes(make_photo())
    answer = run(tmp_path / "trip [1].jpg", "--format", "jsonl")
    assert answer.exit_code == 0


def test_a_map_in_a_folder_that_is_not_there_is_refused_before_the_work(
    run: Run, photos: Path, tmp_path: Path
) -> None:
    answer = run(photos, "--html", tmp_path / "missing" / "map.html")
    assert answer.exit_code == 2
    assert answer.stdout == ""


@pytest.mark.parametrize(
    "wrong", [["--top-k", "0"], ["--top-k", "101"], ["--format", "xml"], ["--coarse", "0"], []]
)
def test_wrong_usage_is_exit_code_two(wrong: list[str], photos: Path) -> None:
    photo = [str(photos / "bright.jpg")] if wrong else []
    assert CliRunner().invoke(app, ["locate", *wrong, *photo]).exit_code == 2


def test_the_map_is_written_beside_the_answer(run: Run, photos: Path, tmp_path: Path) -> None:
    page = tmp_path / "map.html"
    answer = run(photos, "--html", page)
    assert answer.exit_code == 0
    assert f"map: {page}" in answer.stderr
    assert "bright.jpg" in page.read_text(encoding="utf-8")


@pytest.fixture
def photo_server(photos: Path) -> Iterator[str]:
    """A real HTTP server on loopback."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write((photos / "bright.jpg").read_bytes())

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/bright.jpg"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_url_into_the_users_own_network_is_refused(run: Run, photo_server: str) -> None:
    for url in (photo_server, f" {photo_server}\t"):
        answer = run(url)
        assert answer.exit_code == 1
        assert answer.stdout == ""
        assert len(answer.stderr.splitlines()) == 1
        assert "only port 80 for http" in answer.stderr


def test_models_lists_shows_and_verifies(tiny_bundle: Path) -> None:
    listed = CliRunner().invoke(app, ["models"])
    assert listed.exit_code == 0
    assert listed.stdout.startswith("demo ")
    shown = CliRunner().invoke(app, ["models", str(tiny_bundle)])
    assert json.loads(shown.stdout)["name"] == "tiny"
    verified = CliRunner().invoke(app, ["models", str(tiny_bundle), "demo", "--verify"])
    assert verified.exit_code == 0
    assert [line.endswith("is whole") for line in verified.stdout.splitlines()] == [True, True]
