"""Proposals for libraries made here, each of which a person can work out by hand."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from locationnet.errors import InputError
from locationnet.library.catalog import Catalog, Photo
from locationnet.library.photo_facts import Facts
from locationnet.library.propose import Proposed, distance_text, propose, time_text
from locationnet.library.scan import scan
from locationnet.library.tracks import read_gpx

MakePhoto = Callable[..., Path]
Place = tuple[float, float]
ROME, ROME_SOUTH, TOKYO = (41.9, 12.5), (41.8, 12.5), (35.68, 139.77)


def _seconds(time: str) -> float:
    return datetime.fromisoformat(time).replace(tzinfo=UTC).timestamp()


def _photos(*rows: tuple[str, str, Place | None], zone_h: float | None = None) -> list[Photo]:
    """Return photos by camera, the time that its clock showed, and place."""
    photos = []
    for number, (camera, time, place) in enumerate(rows, 1):
        taken = _seconds(time)
        utc = None if zone_h is None else taken - 3600 * zone_h
        lat, lng = place or (None, None)
        facts = Facts("JPEG", camera, "", taken, utc, lat, lng)
        path = Path(f"/photos/IMG_{number}.jpg")
        photos.append(Photo(number, path, 1, 1, number.to_bytes(16, "big"), facts, ()))
    return photos


def _place(found: Proposed, number: int) -> Place:
    return found.proposals[number].lat, found.proposals[number].lng


def test_a_photo_is_where_the_last_one_was_before_a_long_silence() -> None:
    # 2 h before the next, but those are one silence; 3 h with photos in between count for less.
    found = propose(
        _photos(
            ("P", "2024-05-01T08:00:00", ROME),
            ("P", "2024-05-01T09:00:00", None),
            ("P", "2024-05-01T10:00:00", None),
            ("P", "2024-05-01T11:00:00", None),
            ("P", "2024-05-01T13:00:00", TOKYO),
        )
    )
    assert _place(found, 4) == ROME
    reasons = found.proposals[4].reasons
    assert reasons[0] == "3 h after IMG_1.jpg"
    assert reasons[1].startswith("2 h before IMG_5.jpg, 9,8")


def test_who_flew_was_on_the_way() -> None:
    # 9,850 km in 17 h: the flight takes 16.6 h, so half-way in time is half-way in place.
    found = propose(
        _photos(
            ("P", "2024-05-01T08:00:00", ROME),
            ("P", "2024-05-01T16:30:00", None),
            ("P", "2024-05-02T01:00:00", TOKYO),
        )
    )
    lat, lng = _place(found, 2)
    assert lat > 60  # the great circle leads over Siberia
    assert 50 < lng < 100
    assert found.proposals[2].reasons[0] == "on the way between two places"


def test_a_night_without_photos_widens_the_radius() -> None:
    rows = [("P", "2024-05-01T20:00:00", ROME), ("P", "2024-05-01T20:10:00", None)]
    soon = propose(_photos(*rows)).proposals[2].radius_50_km
    later = propose(_photos(rows[0], ("P", "2024-05-02T08:00:00", None))).proposals[2].radius_50_km
    # Believed before a library is seen: 2 km after an hour, and in proportion.
    assert soon == pytest.approx(2 * (10 / 60 + 1 / 60), rel=0.02)
    assert later == pytest.approx(2 * (12 + 1 / 60), rel=0.02)


def test_a_second_camera_gets_the_places_of_the_first() -> None:
    found = propose(
        _photos(
            ("Phone", "2024-05-01T10:00:00", ROME),
            ("Canon", "2024-05-01T10:05:00", None),
        )
    )
    assert _place(found, 2) == ROME
    assert found.proposals[2].reasons == ("5 min after IMG_1.jpg of Phone",)


def _drive(
    camera: str, ahead_h: int, *, minutes: int = 0, dark: bool = False
) -> list[tuple[str, str, Place | None]]:
    """Return photos of an afternoon's drive north, each ten minutes and 0.1 degrees on."""
    rows: list[tuple[str, str, Place | None]] = []
    for step in range(24):
        hours, rest = divmod(10 * step + minutes, 60)
        place = (40 + 0.1 * step + 0.01 * minutes, 15.0)
        time = f"2024-05-01T{10 + ahead_h + hours:02}:{rest:02}:00"
        rows.append((camera, time, None if dark and step % 3 == 0 else place))
    return rows


def test_a_clock_two_hours_ahead_is_found_and_taken_into_account() -> None:
    photos = _photos(*_drive("Phone", 0), *_drive("Canon", 2, minutes=1, dark=True))
    found = propose(photos)
    assert found.clock_h == {"Canon": 2.0}
    # Photo 37 shows 14:01, and was taken at 12:01: a minute after the phone's at 41.2.
    assert photos[36].facts.lat is None
    assert found.proposals[37].lat == pytest.approx(41.2, abs=0.02)
    assert "the camera's clock is 2 h ahead" in found.proposals[37].reasons
    right = propose(_photos(*_drive("Phone", 0), *_drive("Canon", 0, minutes=1, dark=True)))
    assert right.clock_h == {}


def test_a_camera_that_travels_elsewhere_is_not_asked() -> None:
    hers = [("Hers", f"2024-05-01T{hour:02}:30:00", TOKYO) for hour in range(8, 14)]
    his = [("His", f"2024-05-01T{hour:02}:00:00", ROME) for hour in range(8, 14)]
    found = propose(_photos(*hers, *his, ("His", "2024-05-01T12:31:00", None)))
    assert found.apart == [("Hers", "His")]
    assert _place(found, 13) == ROME


def test_zones_make_one_axis_of_time() -> None:
    # The phone says that noon in Tokyo is 03:00 UTC; the camera without a zone showed noon as well.
    phone = _photos(("Phone", "2024-05-01T12:00:00", TOKYO), zone_h=9)
    rome = _photos(("Old", "2024-05-01T04:00:00", ROME), zone_h=2)
    camera = _photos(("Canon", "2024-05-01T12:04:00", None))
    photos = [
        Photo(number, it.path, 1, 1, bytes([number]), it.facts, ())
        for number, it in enumerate([*phone, *rome, *camera], 1)
    ]
    found = propose(photos)
    assert _place(found, 3) == TOKYO
    assert found.proposals[3].reasons[0].startswith("4 min after")


def _gpx(path: Path, points: str, head: str = "") -> Path:
    path.write_text(
        f'<?xml version="1.0"?>{head}<gpx xmlns="http://www.topografix.com/GPX/1/1"><trk><trkseg>'
        f"{points}</trkseg></trk></gpx>"
    )
    return path


def test_a_track_places_photos_on_its_way(tmp_path: Path) -> None:
    track = read_gpx(
        _gpx(
            tmp_path / "a.gpx",
            '<trkpt lat="41.9" lon="12.5"><time>2024-05-01T10:00:00Z</time></trkpt>'
            '<trkpt lat="41.8" lon="12.5"><ele>5</ele>'
            "<time>2024-05-01T12:10:00+02:00</time></trkpt>"
            '<trkpt lat="0" lon="0"/>',
        )
    )
    assert track.lat.tolist() == [41.9, 41.8]
    photos = _photos(("P", "2024-05-01T12:04:00", None), zone_h=2)
    # 11.1 km in ten minutes leave no time to stay: four tenths of the way.
    found = propose(photos, [track]).proposals[1]
    assert [found.lat, found.lng] == pytest.approx([41.86, 12.5], abs=1e-6)
    assert found.reasons[1] == "4 min after a point of the track, 4.4 km from here"


@pytest.mark.parametrize(
    ("points", "head", "message"),
    [
        ("", "", "no point of the track"),
        ("<", "", "not a GPX file that can be read"),
        ("&a;", '<!DOCTYPE gpx [<!ENTITY a "x">]>', "not a GPX file that can be read"),
        ('<trkpt lat="91" lon="0"><time>2024-05-01T10:00:00Z</time></trkpt>', "", "no point"),
    ],
)
def test_a_track_that_says_nothing_is_named(
    points: str, head: str, message: str, tmp_path: Path
) -> None:
    path = _gpx(tmp_path / "a.gpx", points, head)
    with pytest.raises(InputError, match=f"a.gpx: {message}"):
        read_gpx(path)


def test_another_kind_of_xml_is_no_track(tmp_path: Path) -> None:
    (tmp_path / "a.gpx").write_text("<html/>")
    with pytest.raises(InputError, match="not a GPX file"):
        read_gpx(tmp_path / "a.gpx")
    with pytest.raises(InputError, match="cannot be read"):
        read_gpx(tmp_path / "none.gpx")


def test_every_photo_with_a_time_gets_a_proposal_once_one_place_is_known() -> None:
    far = propose(_photos(("P", "1999-01-01T00:00:00", ROME), ("P", "2024-05-01T00:00:00", None)))
    assert _place(far, 2) == ROME
    assert not far.proposals[2].offered
    assert propose(_photos(("P", "2024-05-01T00:00:00", None))).proposals == {}
    untimed = _photos(("P", "2024-05-01T00:00:00", ROME), ("P", "2024-05-01T00:00:00", None))
    known = Photo(1, Path("a"), 1, 1, b"", Facts("JPEG", lat=ROME[0], lng=ROME[1]), ())
    found = propose([known, untimed[1]])
    assert _place(found, 2) == ROME
    assert found.here is None


def test_max_radius_only_decides_what_is_offered() -> None:
    photos = _photos(("P", "2024-05-01T10:00:00", ROME), ("P", "2024-05-01T20:00:00", None))
    wide, narrow = propose(photos, max_radius_km=100), propose(photos, max_radius_km=10)
    assert wide.proposals[2].offered
    assert not narrow.proposals[2].offered
    assert _place(wide, 2) == _place(narrow, 2)


def test_the_library_says_how_good_proposals_are_here() -> None:
    # Every hour a photo, alternately 11 km apart: each hidden one is answered by a neighbour.
    rows = [
        ("P", f"2024-05-01T{hour:02}:00:00", ROME if hour % 2 else ROME_SOUTH)
        for hour in range(10, 20)
    ]
    here = propose(_photos(*rows, ("P", "2024-05-01T20:00:00", None))).here
    assert here is not None
    assert here.off_km == pytest.approx(np.full(10, 11.12), rel=0.01)


def test_a_copy_of_a_hidden_photo_does_not_tell_its_place() -> None:
    photos = _photos(
        ("P", "2024-05-01T10:00:00", ROME),
        ("P", "2024-05-01T11:00:00", TOKYO),
        ("P", "2024-05-01T11:00:00", TOKYO),
        ("P", "2024-05-01T12:00:00", None),
    )
    same = photos[2]
    photos[2] = Photo(3, same.path, 1, 1, photos[1].fingerprint, same.facts, ())
    here = propose(photos).here
    assert here is not None
    assert len(here.off_km) == 1


def test_a_voice_is_heard_only_where_it_helps() -> None:
    # Two in Rome, two in Tokyo, and so on, each a day apart: time cannot say which side.
    rows = [
        ("P", f"2024-05-{day:02}T08:00:00", ROME if day // 2 % 2 else TOKYO) for day in range(1, 28)
    ]
    photos = _photos(*rows, ("P", "2024-05-28T09:10:00", None))
    truth = {photo.number: photo.facts.lat for photo in photos}

    def helpful(asked: object) -> list[NDArray[np.float64]]:
        return [
            np.where(np.abs(density.lat - (truth[photo.number] or 41.9)) < 1, 5.0, -5.0)
            for photo, density in asked  # type: ignore[attr-defined]
        ]

    def wrong(asked: object) -> list[NDArray[np.float64]]:
        return [-logs for logs in helpful(asked)]

    heard = propose(photos, voice=helpful)
    assert heard.strength > 0
    assert propose(photos, voice=wrong).strength == 0
    assert heard.here is not None
    before = propose(photos).here
    assert before is not None
    assert (heard.here.off_km < 1).mean() > 0.9 > (before.off_km < 1).mean()


def test_the_command_line_scans_proposes_and_reports(
    make_photo: MakePhoto, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from locationnet.cli import app

    photos, library = tmp_path / "photos", tmp_path / "library"
    make_photo(photos / "a.jpg", "2024:05:01 10:00:00", ROME)
    make_photo(photos / "b.jpg", "2024:05:01 10:40:00")
    make_photo(photos / "c.jpg", "1970:01:01 00:00:00")
    for words in (["scan", str(photos), "-o", str(library)], ["propose", str(library)]):
        app(["library", *words], standalone_mode=False)
    printed = capsys.readouterr().out
    assert "reading embedded positions (only `library scan` does)" in printed
    assert "3 photos: 1 say where, 1 others when, 1 neither" in printed
    assert "1 proposals, 1 of them within 500 km, 0 left alone" in printed
    assert "1 photos say no time" in printed
    with Catalog(library) as catalog:
        (proposal,) = catalog.proposals().values()
        assert scan(photos, catalog).unchanged == 3
    assert [proposal.lat, proposal.lng] == pytest.approx(ROME)
    assert proposal.reasons == ("40 min after a.jpg",)


def test_times_and_distances_are_said_as_people_say_them() -> None:
    assert [time_text(it) for it in (12, 2400, 7200, 864000)] == [
        "12 s",
        "40 min",
        "2 h",
        "10 days",
    ]
    assert [distance_text(it) for it in (0.3, 4.44, 120, 9850)] == [
        "300 m", "4.4 km", "120 km", "9,850 km",
    ]  # fmt: skip
