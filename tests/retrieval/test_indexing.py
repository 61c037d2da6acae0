"""An index is made, added to, taken from and killed, and readers never see a half of it."""

from __future__ import annotations

import io
import json
import multiprocessing
import random
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from locationnet.cli import app
from locationnet.cli.index import index as index_verb
from locationnet.geo import s2
from locationnet.geo.grid import Grid
from locationnet.model.bundle import Bundle
from locationnet.model.locator import load_model
from locationnet.pack.build import pack_photos
from locationnet.retrieval import embedding, indexing
from locationnet.retrieval.index import Index, unit_length
from locationnet.retrieval.indexed_photos import photos_to_index

pytest.importorskip("faiss", reason="needs the extra 'retrieval'")

HEADER = "id,path,lat,lng,uploader,taken,licence,attribution,page"


def _colour(number: int) -> tuple[int, int, int]:
    rng = random.Random(number)
    return rng.randrange(256), rng.randrange(256), rng.randrange(256)


def _line(number: int) -> str:
    return (
        f"photo-{number},{number}.png,{number % 80}.5,{number}.25,user{number % 5},"
        f"2024-01-0{1 + number % 9},CC BY {number},Author {number},https://example.org/{number}"
    )


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 60 photos of different colours, and two tables: of the first 40 and the rest."""
    folder = tmp_path_factory.mktemp("photos")
    for number in range(60):
        Image.new("RGB", (40, 40), _colour(number)).save(folder / f"{number}.png")
    for name, numbers in (("first", range(40)), ("second", range(40, 60))):
        (folder / f"{name}.csv").write_text("\n".join([HEADER, *map(_line, numbers)]) + "\n")
    return folder


@pytest.fixture(scope="module")
def made(photos: Path, embedding_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index of the first 40, not to be changed."""
    out = tmp_path_factory.mktemp("made") / "index"
    result = _run(photos / "first.csv", "--model", embedding_bundle, "-o", out)
    assert result.exit_code == 0, result.output
    return out


@pytest.fixture
def index(made: Path, tmp_path: Path) -> Path:
    """A copy to change."""
    return Path(shutil.copytree(made, tmp_path / "index"))


def _run(*words: object) -> Result:
    return CliRunner().invoke(app, ["index", *map(str, words)])


def _ids(folder: Path) -> set[str]:
    return set(Index.open(folder).rows["id"].to_pylist())


def _check(folder: Path, bundle: Path, photos: Path, among: set[str]) -> set[str]:
    """Open an index and make sure that each photo has its own place, author and embedding."""
    opened = Index.open(folder, Bundle.open(bundle))
    rows = opened.photos(range(len(opened)))
    locator = load_model(bundle)
    images = np.stack([locator.prepare(photos / f"{one.id[6:]}.png") for one in rows])
    found = opened.search(unit_length(locator.embed(images)), 1)
    assert found.numbers[:, 0].tolist() == list(range(len(rows)))
    for one in rows:
        number = int(one.id.removeprefix("photo-"))
        assert one.author == f"Author {number}"
        assert one.lng == number + 0.25
        assert one.page == f"https://example.org/{number}"
    ids = {one.id for one in rows}
    assert ids <= among
    return ids


def test_a_photo_is_found_with_its_place_and_whose_it_is(
    made: Path, photos: Path, embedding_bundle: Path
) -> None:
    every = {f"photo-{number}" for number in range(40)}
    assert _check(made, embedding_bundle, photos, every) == every
    one = Index.open(made).photos([7])[0]
    assert (one.uploader, one.taken, one.licence) == ("user2", "2024-01-08", "CC BY 7")
    # No pixels: all files together are far smaller than one photo for each row would be.
    assert not [path for path in made.rglob("*") if path.suffix in (".png", ".jpg", ".rec")]


def test_photos_are_added_once_and_found_beside_the_others(
    index: Path, photos: Path, embedding_bundle: Path
) -> None:
    words = (photos / "second.csv", "--model", embedding_bundle, "-o", index)
    assert _run(*words).exit_code == 2  # it is there, and --add was not given
    result = _run(*words, "--add")
    assert result.exit_code == 0, result.output
    every = {f"photo-{number}" for number in range(60)}
    assert _check(index, embedding_bundle, photos, every) == every
    again = _run(*words, "--add")
    assert again.exit_code == 0, again.output
    assert "already in the index" in again.stdout
    assert _ids(index) == every


def test_a_removed_photo_is_gone_from_every_file_and_may_come_back(
    index: Path, photos: Path, embedding_bundle: Path
) -> None:
    before = Index.open(index)  # a reader of the earlier files keeps them
    result = _run("--remove", "photo-3", "--remove", "photo-9", "-o", index)
    assert result.exit_code == 0, result.output
    left = {f"photo-{number}" for number in range(40)} - {"photo-3", "photo-9"}
    assert _check(index, embedding_bundle, photos, left) == left
    assert not any(b"Author 9\0" in path.read_bytes() or b"photo-9" in path.read_bytes()
                   for path in index.glob("photos-*.parquet"))  # fmt: skip
    assert before.photos([9])[0].author == "Author 9"
    asked = _run("--remove", "photo-3", "-o", index)
    assert asked.exit_code == 1
    assert str(asked.exception) == f"{index}: photo 'photo-3' is not in the index"
    back = _run(photos / "first.csv", "--add", "--model", embedding_bundle, "-o", index)
    assert back.exit_code == 0, back.output
    assert "photos added              2" in back.stdout
    assert len(_ids(index)) == 40


def test_who_has_opted_out_never_comes_back(
    index: Path, photos: Path, embedding_bundle: Path, tmp_path: Path
) -> None:
    listing = tmp_path / "out.txt"
    listing.write_text("photo-0\nuploader:user4\nphoto-55\n")
    result = _run("--opt-out", listing, "-o", index)
    assert result.exit_code == 0, result.output
    for table in ("first.csv", "second.csv"):
        assert (
            _run(photos / table, "--add", "--model", embedding_bundle, "-o", index).exit_code == 0
        )
    left = {f"photo-{n}" for n in range(60) if n % 5 != 4} - {"photo-0", "photo-55"}
    assert _check(index, embedding_bundle, photos, left) == left
    assert "opted out" in (index / "skipped.csv").read_text()


def test_an_interrupted_call_goes_on_where_it_ended(
    photos: Path, embedding_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedding, "_PART", 8)
    locator = load_model(embedding_bundle)
    source = photos_to_index(photos / "first.csv")

    def stop(done: int, _: int) -> None:
        if done == 24:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        indexing.add(tmp_path / "index", locator, source, advance=stop)
    assert not (tmp_path / "index" / "index.json").exists()
    seen: list[int] = []
    embed = locator.embed_and_classify

    def counted(images: Any) -> Any:
        seen.append(len(images))
        return embed(images)

    monkeypatch.setattr(locator, "embed_and_classify", counted)
    assert indexing.add(tmp_path / "index", locator, source).added == 40
    assert sum(seen) == 16
    assert not (tmp_path / "index" / ".adding").exists()


def test_killed_at_any_moment_it_loses_no_photo_and_serves_no_wrong_one(
    index: Path, photos: Path, embedding_bundle: Path
) -> None:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["locationnet.retrieval.indexing", "onnxruntime", "faiss"])
    before = {f"photo-{number}" for number in range(40)}
    every = before | {f"photo-{number}" for number in range(40, 60)}

    def start() -> Any:
        process = context.Process(
            target=index_verb,
            kwargs={"out": index, "source": photos / "second.csv", "add": True,
                    "model": str(embedding_bundle)},
        )  # fmt: skip
        process.start()
        return process

    original = shutil.copytree(index, index.with_name("copy"))
    begun = time.monotonic()
    whole = start()
    whole.join()
    assert whole.exitcode == 0
    lasts = time.monotonic() - begun
    assert _check(index, embedding_bundle, photos, every) == every
    rng = random.Random(16)
    shutil.rmtree(index)
    shutil.copytree(original, index)
    for _ in range(10):
        process = start()
        time.sleep(rng.uniform(0.05, 1) * lasts)
        process.kill()
        process.join()
        assert _check(index, embedding_bundle, photos, every) in (before, every)
    whole = start()
    whole.join()
    assert whole.exitcode == 0
    assert _check(index, embedding_bundle, photos, every) == every
    named = set(json.loads((index / "index.json").read_text())["files"])
    assert named == {path.name for path in index.glob("*-*")}


def test_another_network_is_refused(made: Path, photos: Path, index: Path) -> None:
    for words in (("--add", photos / "second.csv", "--model", "demo", "-o", index),):
        result = _run(*words)
        assert result.exit_code == 1
        assert "made with another network (tiny 0.0.1" in str(result.exception)
    with pytest.raises(Exception, match="made with another network"):
        Index.open(made, Bundle.open("demo"))


@pytest.mark.parametrize("suffix", [".npy", ".parquet", ".faiss"])
@pytest.mark.parametrize("how", ["truncated", "changed", "missing"])
def test_a_damaged_file_is_named(index: Path, suffix: str, how: str) -> None:
    [path] = index.glob(f"*-*{suffix}")
    content = path.read_bytes()
    if how == "missing":
        path.unlink()
    else:
        path.write_bytes(
            content[:-9] if how == "truncated" else content[:-1] + bytes([content[-1] ^ 1])
        )
    wrong = "missing" if how == "missing" else "corrupt or truncated"
    with pytest.raises(Exception, match=rf"{path.name}: {wrong}; make the index again"):
        Index.open(index)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "not a finished index"),
        ("", "not that of an index"),
        ("{}", "network_sha256 Field required"),
        ('{"format": 2}', "format"),
        ("[1]", "not that of an index"),
    ],
)
def test_a_manifest_that_is_not_valid_is_named(
    index: Path, content: str | None, message: str
) -> None:
    (index / "index.json").unlink()
    if content is not None:
        (index / "index.json").write_text(content)
    with pytest.raises(Exception, match=message):
        Index.open(index)
    assert _run("--remove", "photo-1", "-o", index).exit_code == 1


def test_a_photo_without_features_and_one_that_is_broken_are_skipped_with_reasons(
    embedding_bundle: Path, tmp_path: Path
) -> None:
    # The middle of all colours is 0 in every feature.
    Image.new("RGB", (32, 32), (200, 10, 10)).save(tmp_path / "red.png")
    image = np.full((32, 32, 3), 127, np.uint8)
    image[::2] = 128
    Image.fromarray(image).save(tmp_path / "grey.png")
    (tmp_path / "broken.png").write_bytes(b"not a photo")
    rows = ["red.png,1,2", "grey.png,3,4", "broken.png,5,6", "gone.png,7,8", "red.png,1,2"]
    rows += ["zero.png,0,0", "nowhere.png,,", "far.png,95,1"]
    (tmp_path / "photos.csv").write_text("\n".join(["path,lat,lng", *rows]) + "\n")
    result = _run(tmp_path / "photos.csv", "--model", embedding_bundle, "-o", tmp_path / "index")
    assert result.exit_code == 0, result.output
    assert _ids(tmp_path / "index") == {"red.png"}
    skipped = (tmp_path / "index" / "skipped.csv").read_text()
    for name, reason in (("grey.png", "no features"), ("broken.png", "not a JPEG"),
                         ("gone.png", "No such file"), ("zero.png", "at 0, 0"),
                         ("nowhere.png", "missing"), ("far.png", "out of range"),
                         ("red.png", "same id")):  # fmt: skip
        assert any(line.startswith(name) and reason in line for line in skipped.splitlines()), name


def test_a_folder_needs_a_table_and_its_photos_places_are_not_read(
    tmp_path: Path, embedding_bundle: Path
) -> None:
    exif = Image.Exif()
    exif.get_ifd(0x8825).update({1: "N", 2: (48.0, 51.0, 0.0), 3: "E", 4: (2.0, 21.0, 0.0)})
    photo = io.BytesIO()
    Image.new("RGB", (32, 32), (200, 10, 10)).save(photo, "JPEG", exif=exif)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "red.jpg").write_bytes(photo.getvalue())
    words = (tmp_path / "photos", "--model", embedding_bundle, "-o", tmp_path / "index")
    refused = _run(*words)
    assert refused.exit_code == 1
    assert "the places in the photos themselves are not read" in str(refused.exception)
    assert not (tmp_path / "index").exists()
    (tmp_path / "photos" / "places.csv").write_text("path,lat,lng\nred.jpg,-33.9,151.2\n")
    assert _run(*words).exit_code == 0
    assert Index.open(tmp_path / "index").lat.tolist() == [-33.9]


def test_a_pack_is_indexed_with_its_attribution(
    photos: Path, embedding_bundle: Path, tmp_path: Path
) -> None:
    rows = [_line(number).split(",") for number in range(40)]
    lat, lng = (np.array([float(row[column]) for row in rows]) for column in (2, 3))
    ids = np.unique(s2.parent_ids(s2.leaf_ids(lat, lng), 3))
    pack_photos(photos / "first.csv", photos, Grid(ids, *s2.centers(ids)), tmp_path / "pack")
    result = _run(tmp_path / "pack", "--model", embedding_bundle, "-o", tmp_path / "index")
    assert result.exit_code == 0, result.output
    first = Index.open(tmp_path / "index").photos([0])[0]
    number = int(first.id.removeprefix("photo-"))
    assert (first.author, first.licence) == (f"Author {number}", f"CC BY {number}")


def test_uploaders_and_near_duplicates_can_be_left_out(
    made: Path, photos: Path, embedding_bundle: Path
) -> None:
    opened, locator = Index.open(made), load_model(embedding_bundle)
    query = unit_length(locator.embed(locator.prepare(photos / "7.png")[None]))
    found = opened.search(query, 5, by=["user2"], exclude_uploader=True, below=0.999)
    assert found.same_uploader.all()
    assert found.near_duplicate.all()
    kept = opened.photos(found.numbers[0].tolist())
    assert "user2" not in {one.uploader for one in kept}
    assert (found.similarity[0] < 0.999).all()
    assert (np.diff(found.similarity[0]) <= 0).all()
    nobody = opened.search(query, 50, by=["somebody else"], exclude_uploader=True)
    assert (nobody.numbers[0, :40] >= 0).all()
    assert (nobody.numbers[0, 40:] == -1).all()


def test_many_photos_at_one_coordinate_and_of_one_embedding_are_one_answer(tmp_path: Path,
    embedding_bundle: Path, make_photo: Callable[..., bytes],
) -> None:  # fmt: skip
    (tmp_path / "red.jpg").write_bytes(make_photo((200, 10, 10)))
    lines = [f"{number},red.jpg,10,20" for number in range(300)]
    (tmp_path / "photos.csv").write_text("\n".join(["id,path,lat,lng", *lines]) + "\n")
    words = ("--model", embedding_bundle, "--kind", "ivf-sq", "-o", tmp_path / "index")
    result = _run(tmp_path / "photos.csv", *words)
    assert result.exit_code == 0, result.output
    opened = Index.open(tmp_path / "index")
    found = opened.search(opened.vectors(np.array([5])), 10)
    assert (found.numbers >= 0).all()
    np.testing.assert_allclose(found.similarity, 1, atol=2e-3)
