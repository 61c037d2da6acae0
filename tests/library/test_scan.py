"""Trees of real photos are listed: each once, only what changed again, and nothing is lost."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pillow_heif
import pytest
from PIL import Image

from locationnet.errors import FullDiskError, InputError
from locationnet.library import xmp
from locationnet.library.catalog import FILE, Catalog, Photo
from locationnet.library.photo_facts import read_photo
from locationnet.library.scan import Scanned, scan

MakePhoto = Callable[..., Path]
EIFFEL = (48.8584, 2.2945)
SIDECAR = b"""<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF
 xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description
 xmlns:exif="http://ns.adobe.com/exif/1.0/" exif:GPSLatitude="48,51.504N"
 exif:GPSLongitude="2,17,40.2W" exif:DateTimeOriginal="2024-05-01T10:00:00+02:00"/>
</rdf:RDF></x:xmpmeta>"""


def _scan(folder: Path, library: Path) -> tuple[Scanned, list[Photo]]:
    with Catalog(library, create=True) as catalog:
        return scan(folder, catalog), catalog.photos()


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "AVIF", "HEIF", "TIFF in a raw file"])
def test_each_format_says_when_and_where(form: str, make_photo: MakePhoto, tmp_path: Path) -> None:
    path = tmp_path / "photo"
    make_photo(path, "2024:05:01 10:00:00", EIFFEL, zone="+02:00", serial="7", gps={31: 12.0})
    with Image.open(path) as image:
        exif = image.getexif().tobytes()
        pixels = image.copy()
    if form == "HEIF":
        pillow_heif.from_pillow(pixels).save(path, exif=exif, format="HEIF")
    elif form.startswith("TIFF"):
        path = path.with_suffix(".dng")
        path.write_bytes(exif.removeprefix(b"Exif\0\0"))
    elif form != "JPEG":
        pixels.save(path, form, exif=exif)
    _, facts = read_photo(path)
    assert facts.kind == {"T": "RAW"}.get(form[0], form)
    assert (facts.camera, facts.serial) == ("Phone", "7")
    assert facts.taken == 1714557600  # 10:00 of that day, as the clock showed it
    assert facts.utc == 1714557600 - 2 * 3600
    assert facts.lat == pytest.approx(EIFFEL[0], abs=1e-6)
    assert facts.lng == pytest.approx(EIFFEL[1], abs=1e-6)
    assert facts.error_m == 12


def test_satellites_say_the_moment_where_the_camera_says_no_zone(
    make_photo: MakePhoto, tmp_path: Path
) -> None:
    gps = {7: (8.0, 0.0, 5.0), 29: "2024:05:01"}
    path = make_photo(tmp_path / "a.jpg", "2024:05:01 10:00:00", EIFFEL, gps=gps)
    assert read_photo(path)[1].utc == 1714557600 - 2 * 3600 + 5


@pytest.mark.parametrize(
    ("time", "gps"),
    [
        ("1970:01:01 00:00:12", {}),
        ("0000:00:00 00:00:00", {}),
        ("    :  :     :  :  ", {}),
        (None, {1: "N", 2: (0.0, 0.0, 0.0), 3: "E", 4: (0.0, 0.0, 0.0)}),
        (None, {1: "N", 2: (91.0, 0.0, 0.0), 3: "E", 4: (2.0, 0.0, 0.0)}),
        (None, {1: "X", 2: (48.0, 0.0, 0.0), 3: "E", 4: (2.0, 0.0, 0.0)}),
        (None, {1: "N", 2: (48.0, 0.0, 0.0), 3: "E", 4: (2.0, 0.0, 0.0), 9: "V"}),
        (None, {2: (48.0, 0.0, 0.0), 4: (2.0, 0.0, 0.0)}),
    ],
)
def test_what_cameras_write_when_they_know_nothing_is_nothing(
    time: str | None, gps: dict[int, object], make_photo: MakePhoto, tmp_path: Path
) -> None:
    facts = read_photo(make_photo(tmp_path / "a.jpg", time, gps=gps))[1]
    assert (facts.taken, facts.utc, facts.lat, facts.lng) == (None, None, None, None)


def test_a_sidecar_says_where_and_when(make_photo: MakePhoto, tmp_path: Path) -> None:
    photo = make_photo(tmp_path / "photos" / "a.jpg")
    (tmp_path / "photos" / "a.jpg.xmp").write_bytes(SIDECAR)
    facts = _scan(photo.parent, tmp_path / "library")[1][0].facts
    assert [facts.lat, facts.lng] == pytest.approx([48.8584, -2.2945])
    assert (facts.taken, facts.utc) == (1714557600, 1714557600 - 2 * 3600)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<",
        b"\xff" * 50,
        b'<!DOCTYPE x [<!ENTITY a "48,51.5N">]>' + SIDECAR.replace(b"48,51.504N", b"&a;"),
        SIDECAR.replace(b"48,51.504N", b"98,51.504N"),
    ],
)
def test_a_broken_or_hostile_sidecar_says_no_place(data: bytes) -> None:
    assert xmp.parse(data).lat is None


def test_only_what_changed_is_read_again_and_moved_files_are_known(
    make_photo: MakePhoto, tmp_path: Path
) -> None:
    photos, library = tmp_path / "photos", tmp_path / "library"
    for name in ("a.jpg", "b.jpg", "c.jpg", "d.jpg"):
        make_photo(photos / name, "2024:05:01 10:00:00")
    before = {photo.path.name: photo.number for photo in _scan(photos, library)[1]}
    (photos / "deep").mkdir()
    (photos / "a.jpg").rename(photos / "deep" / "new.jpg")
    make_photo(photos / "b.jpg", "2024:05:02 10:00:00")
    # Two names exchanged: what was decided of a photo must go with it.
    (photos / "c.jpg").rename(photos / "x")
    (photos / "d.jpg").rename(photos / "c.jpg")
    (photos / "x").rename(photos / "d.jpg")
    os.utime(photos / "c.jpg", (1, 1))
    os.utime(photos / "d.jpg", (2, 2))
    found, after = _scan(photos, library)
    assert (found.read, found.unchanged, found.moved, found.missing) == (4, 0, 3, 0)
    assert {photo.path.name: photo.number for photo in after} == {
        "new.jpg": before["a.jpg"],
        "b.jpg": before["b.jpg"],
        "c.jpg": before["d.jpg"],
        "d.jpg": before["c.jpg"],
    }
    again, _ = _scan(photos, library)
    assert (again.read, again.unchanged) == (0, 4)


def test_a_photo_that_is_gone_comes_back_as_itself(make_photo: MakePhoto, tmp_path: Path) -> None:
    photo, library = make_photo(tmp_path / "photos" / "a.jpg"), tmp_path / "library"
    number = _scan(photo.parent, library)[1][0].number
    shutil.move(photo, tmp_path / "away.jpg")
    found, photos = _scan(photo.parent, library)
    assert (found.missing, photos) == (1, [])
    shutil.move(tmp_path / "away.jpg", photo)
    assert _scan(photo.parent, library)[1][0].number == number


def test_links_copies_and_names_that_are_no_utf_8_are_listed_once_each(
    make_photo: MakePhoto, tmp_path: Path
) -> None:
    photos = tmp_path / "photos"
    odd = make_photo(photos / os.fsdecode(b"caf\xe9.jpg"), camera="\udce9 Odd")
    shutil.copy2(odd, photos / "copy.jpg")
    (photos / "link.jpg").symlink_to(odd)
    (photos / "loop").symlink_to(photos)
    (photos / "gone.jpg").symlink_to(tmp_path / "nowhere.jpg")
    outside = make_photo(tmp_path / "outside" / "o.jpg")
    (photos / "a-folder").symlink_to(outside.parent)
    (photos / "notes.txt").write_text("x")
    found, listed = _scan(photos, tmp_path / "library")
    names = [os.fsencode(photo.path.name) for photo in listed]
    assert sorted(names) == [b"caf\xe9.jpg", b"copy.jpg", b"o.jpg"]
    assert (found.read, found.duplicates, found.links) == (3, 1, 2)
    assert found.other == {".txt": 1}
    assert len(found.unreadable) == 1
    assert "gone.jpg" in found.unreadable[0]


def test_a_tree_that_is_read_only_is_read_and_stays_as_it_is(
    make_photo: MakePhoto, tmp_path: Path
) -> None:
    photo = make_photo(tmp_path / "photos" / "a.jpg", "2024:05:01 10:00:00", EIFFEL)
    photo.chmod(0o400)
    photo.parent.chmod(0o500)
    before = photo.read_bytes(), photo.stat().st_mtime_ns, sorted(photo.parent.iterdir())
    try:
        assert _scan(photo.parent, tmp_path / "library")[0].read == 1
        after = photo.read_bytes(), photo.stat().st_mtime_ns, sorted(photo.parent.iterdir())
    finally:
        photo.parent.chmod(0o700)
    assert before == after


def test_two_libraries_know_nothing_of_each_other(make_photo: MakePhoto, tmp_path: Path) -> None:
    one, other = make_photo(tmp_path / "1" / "a.jpg"), make_photo(tmp_path / "2" / "b.jpg")
    _scan(one.parent, tmp_path / "one")
    assert [photo.path for photo in _scan(other.parent, tmp_path / "other")[1]] == [other]
    # And one library takes photos of two folders.
    assert [photo.path for photo in _scan(other.parent, tmp_path / "one")[1]] == [one, other]


def test_what_is_called_a_photo_and_is_none_is_named(make_photo: MakePhoto, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    make_photo(tmp_path / "photos" / "right.jpg")
    (tmp_path / "photos" / "notes.jpg").write_text("not a photo")
    (tmp_path / "photos" / "empty.jpg").touch()
    found, photos = _scan(tmp_path / "photos", tmp_path / "library")
    assert [photo.path.name for photo in photos] == ["right.jpg"]
    assert sorted(line.rpartition("/")[2].split(":")[0] for line in found.unreadable) == [
        "empty.jpg",
        "notes.jpg",
    ]
    assert all("not a JPEG" in line for line in found.unreadable)


def test_a_folder_or_a_library_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere: no such folder"):
        _scan(tmp_path / "nowhere", tmp_path / "library")
    with pytest.raises(InputError, match="empty: no library"):
        Catalog(tmp_path / "empty")


def test_a_full_disk_is_said_and_what_was_written_stays(
    make_photo: MakePhoto, tmp_path: Path
) -> None:
    photos, library = tmp_path / "photos", tmp_path / "library"
    first = make_photo(photos / "first.jpg")
    _scan(photos, library)
    for number in range(60):
        make_photo(photos / f"{number}.jpg", camera="x" * 2000)
    with Catalog(library) as catalog:
        pages = catalog._base.execute("PRAGMA page_count").fetchone()[0]
        catalog._base.execute(f"PRAGMA max_page_count = {pages + 2}")
        with pytest.raises(FullDiskError, match="disk is full"):
            scan(photos, catalog)
        assert [photo.path for photo in catalog.photos()] == [first]
    assert _scan(photos, library)[0].read == 60


def test_a_kill_loses_nothing(make_photo: MakePhoto, tmp_path: Path) -> None:
    photos, library = tmp_path / "photos", tmp_path / "library"
    for number in range(400):
        make_photo(photos / f"{number}.jpg", "2024:05:01 10:00:00")
    # It commits after each fifty, and is killed when the file has grown.
    code = """
import sys, time
from pathlib import Path
from locationnet.library import scan as it
from locationnet.library.catalog import Catalog
it._COMMIT_S = 0
with Catalog(Path(sys.argv[2]), create=True) as catalog:
    it.scan(Path(sys.argv[1]), catalog, lambda _: (print("on", flush=True), time.sleep(0.3)))
"""
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(photos), str(library)], stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    for _ in range(3):
        assert process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    process.wait()
    time.sleep(0.1)
    found, listed = _scan(photos, library)
    assert found.unchanged >= 100
    assert found.read == 400 - found.unchanged
    assert len({photo.path for photo in listed}) == 400
    assert (library / FILE).is_file()
