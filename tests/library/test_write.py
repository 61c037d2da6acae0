"""Accepted places in files that other programs read, and every file back as it was."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from locationnet.library import xmp
from locationnet.library.catalog import Catalog
from locationnet.library.photo_facts import read_photo
from locationnet.library.places import placed_photos
from locationnet.library.scan import scan
from locationnet.library.write import sidecar_for, undo, with_position, write

MakePhoto = Callable[..., Path]
PLACE = (-33.857400123, 151.217256)
EDITS = b"""<?xml version='1.0'?>
<x:xmpmeta xmlns:x='adobe:ns:meta/'>\r
 <rdf:RDF xmlns:rdf='http://www.w3.org/1999/02/22-rdf-syntax-ns#'>
  <rdf:Description rdf:about='uuid:7' xmlns:xmp='http://ns.adobe.com/xap/1.0/' xmp:Rating='4'/>
 </rdf:RDF>
</x:xmpmeta>   """


@pytest.fixture(scope="session")
def exiftool() -> str:
    """A system ExifTool; `.ci/run` installs one."""
    found = shutil.which("exiftool")
    if found is None:
        if os.environ.get("TESTS_SKIP_NOTHING"):
            pytest.fail("ExifTool is not installed, and nothing may be skipped")
        pytest.skip("ExifTool is not installed")
    return found


def _tags(exiftool: str, path: Path) -> dict[str, Any]:
    words = [exiftool, "-j", "-n", "-G1", str(path)]
    run = subprocess.run(words, capture_output=True, check=True)
    tags: dict[str, Any] = json.loads(run.stdout)[0]
    return tags


def _tree(folder: Path) -> dict[str, tuple[bytes, int]]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


@pytest.fixture
def accepted(make_photo: MakePhoto, tmp_path: Path) -> Catalog:
    """A library of four photos with accepted places: two have sidecars already, one is raw."""
    photos = tmp_path / "photos"
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        make_photo(photos / name, "2024:05:01 10:00:00")
    make_photo(photos / "d", "2024:05:01 10:00:00")
    shutil.move(photos / "d", photos / "d.nef")
    (photos / "b.jpg.xmp").write_bytes(EDITS)
    (photos / "c.xmp").write_bytes(EDITS)
    os.utime(photos / "c.xmp", ns=(5, 1_000_000_007))
    catalog = Catalog(tmp_path / "library", create=True)
    scan(photos, catalog)
    with catalog.changes():
        for it in catalog.photos():
            catalog.decide(it.number, PLACE)
    return catalog


def test_sidecars_say_the_place_and_are_given_back_to_the_byte(
    accepted: Catalog, tmp_path: Path, exiftool: str
) -> None:
    photos = tmp_path / "photos"
    before = _tree(photos)
    with accepted:
        found = write(accepted)
        assert (found.written, found.failed) == (4, [])
        after = _tree(photos)
        assert {path: after[path] for path in before if not path.endswith("xmp")} == {
            path: before[path] for path in before if not path.endswith("xmp")
        }
        new = {Path(path).name for path in set(after) - set(before)}
        assert new == {"a.jpg.xmp", "d.xmp"}
        for name in ("a.jpg.xmp", "b.jpg.xmp", "c.xmp", "d.xmp"):
            tags = _tags(exiftool, photos / name)
            assert tags["XMP-exif:GPSLatitude"] == pytest.approx(PLACE[0], abs=1e-8)
            assert tags["XMP-exif:GPSLongitude"] == pytest.approx(PLACE[1], abs=1e-8)
            assert tags.get("XMP-xmp:Rating") == (4 if name[0] in "bc" else None)
        # All that was there is there still, to the byte.
        assert (photos / "b.jpg.xmp").read_bytes().startswith(EDITS[:200])
        assert (photos / "b.jpg.xmp").read_bytes().endswith(EDITS[-30:])
        assert write(accepted).unchanged == 4
        assert undo(accepted).written == 4
        assert _tree(photos) == before
        assert undo(accepted).written == 0


def test_a_place_that_is_changed_later_is_written_anew(accepted: Catalog, tmp_path: Path) -> None:
    before = _tree(tmp_path / "photos")
    with accepted:
        write(accepted)
        with accepted.changes():
            accepted.decide(1, (10.0, 20.0))
        assert write(accepted).written == 1
        assert xmp.parse((tmp_path / "photos" / "a.jpg.xmp").read_bytes()).lat == 10
        undo(accepted)
    assert _tree(tmp_path / "photos") == before


def test_what_others_have_changed_since_is_left_as_it_is(accepted: Catalog, tmp_path: Path) -> None:
    sidecar = tmp_path / "photos" / "b.jpg.xmp"
    with accepted:
        write(accepted)
        sidecar.write_bytes(sidecar.read_bytes() + b" ")
        mine = sidecar.read_bytes()
        found = undo(accepted)
    assert found.written == 3
    assert len(found.failed) == 1
    assert "b.jpg.xmp: was changed by others since" in found.failed[0]
    assert sidecar.read_bytes() == mine


def test_after_another_scan_the_sidecar_makes_the_place_known(
    accepted: Catalog, tmp_path: Path
) -> None:
    with accepted:
        write(accepted)
        scan(tmp_path / "photos", accepted)
        assert {it.state for it in placed_photos(accepted)} == {"known"}
        undo(accepted)
        scan(tmp_path / "photos", accepted)
        assert {it.state for it in placed_photos(accepted)} == {"accepted"}


def test_exiftool_writes_into_the_photo_and_it_is_given_back_to_the_byte(
    accepted: Catalog, tmp_path: Path, exiftool: str
) -> None:
    photos = tmp_path / "photos"
    (photos / "d.nef").unlink()
    before = _tree(photos)
    with accepted:
        found = write(accepted, in_place=True)
        assert found.written == 3
        assert len(found.failed) == 1
        assert "d.nef: is no longer there" in found.failed[0]
        for name in ("a.jpg", "b.jpg", "c.jpg"):
            facts = read_photo(photos / name)[1]
            assert [facts.lat, facts.lng] == pytest.approx(PLACE, abs=1e-6)
            assert (photos / name).stat().st_mtime_ns // 10**9 == (
                before[str(photos / name)][1] // 10**9
            )
            assert _tags(exiftool, photos / name)["ExifIFD:DateTimeOriginal"] == (
                "2024:05:01 10:00:00"
            )
        assert set(_tree(photos)) == set(before)
        assert write(accepted, in_place=True).unchanged == 3
        assert undo(accepted).written == 3
    assert _tree(photos) == before


def test_a_file_that_cannot_be_written_is_reported_and_the_rest_goes_on(
    accepted: Catalog, tmp_path: Path
) -> None:
    (tmp_path / "photos" / "a.jpg.xmp").mkdir()
    with accepted:
        found = write(accepted)
        assert (found.written, len(found.failed)) == (3, 1)
        assert "a.jpg.xmp: " in found.failed[0]
        assert undo(accepted).written == 3


@pytest.mark.parametrize("broken", [b"", b"<", b"<a/>", EDITS.replace(b"4", b"\xff"), b"\x00" * 9])
def test_a_sidecar_that_is_no_xmp_is_left_as_it_is(
    broken: bytes, accepted: Catalog, tmp_path: Path
) -> None:
    sidecar = tmp_path / "photos" / "b.jpg.xmp"
    sidecar.write_bytes(broken)
    with accepted:
        found = write(accepted)
    if broken:  # an empty file is a sidecar that holds nothing yet
        assert sidecar.read_bytes() == broken
        assert [line for line in found.failed if "b.jpg.xmp" in line]
    assert found.written == 4 - len(found.failed)


def test_a_kill_while_writing_loses_nothing(accepted: Catalog, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    before = _tree(photos)
    with accepted:
        pass
    code = """
import sys, time
from pathlib import Path
from locationnet.library import write as it
from locationnet.library.catalog import Catalog
real = it._replace
def slow(path, data):
    print("before", flush=True)
    time.sleep(0.5)
    real(path, data)
    print("after", flush=True)
    time.sleep(0.5)
it._replace = slow
with Catalog(Path(sys.argv[1])) as catalog:
    it.write(catalog)
"""
    for lines in (2, 3):  # after the first file, and in the middle of the second
        process = subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path / "library")], stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        for _ in range(lines):
            assert process.stdout.readline()
        process.send_signal(signal.SIGKILL)
        process.wait()
    with Catalog(tmp_path / "library") as catalog:
        found = undo(catalog)
        assert found.failed == []
        assert _tree(photos) == before
        assert catalog.writes() == []


def test_raw_files_have_the_name_that_lightroom_looks_for(tmp_path: Path) -> None:
    assert sidecar_for(tmp_path / "a.jpg").name == "a.jpg.xmp"
    assert sidecar_for(tmp_path / "a.NEF").name == "a.xmp"
    (tmp_path / "a.NEF.xmp").write_bytes(EDITS)
    assert sidecar_for(tmp_path / "a.NEF").name == "a.NEF.xmp"


@given(lat=st.floats(-90, 90), lng=st.floats(-180, 180))
def test_what_is_written_is_read_back(lat: float, lng: float) -> None:
    # 0, 0 is what software writes when it knows nothing.
    assume(abs(lat) > 1e-8 or abs(lng) > 1e-8)
    said = xmp.parse(with_position(EDITS, lat, lng))
    assert [said.lat, said.lng] == pytest.approx([lat, lng], abs=2e-9)
