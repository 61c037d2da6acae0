"""Boxes, licences and lists of those who opted out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from locationnet.errors import InputError
from locationnet.geo.box import Box
from locationnet.metadata.filters import Filters, licence_key, licence_name, read_opt_out

LNG = st.integers(-180, 180)
LAT = st.integers(-90, 90)


def _inside(box: Box, lat: float, lng: float) -> bool:
    return bool(box.contains(np.array([float(lat)]), np.array([float(lng)]))[0])


@given(LNG, LNG, LAT, LAT, LNG, LAT)
def test_a_box_holds_what_lies_eastwards_from_its_west(
    west: int, east: int, one: int, other: int, lng: int, lat: int
) -> None:
    box = Box(west, min(one, other), east, max(one, other))
    steps = east - west if west <= east else east + 360 - west
    meridians = {(west + step) % 360 for step in range(steps + 1)}
    expected = lng % 360 in meridians and box.south <= lat <= box.north
    assert _inside(box, lat, lng) == expected


def test_a_box_across_the_antimeridian() -> None:
    fiji = Box.parse("177,-20,-178,-15")
    assert _inside(fiji, -17.7, 178) and _inside(fiji, -17, -179.5)
    assert _inside(fiji, -17, 180) and _inside(fiji, -17, -180)
    assert not _inside(fiji, -17, 0) and not _inside(fiji, -17, -177.9)
    assert not _inside(fiji, -17, np.nan)


def test_boxes_that_differ_in_any_digit_are_told_apart() -> None:
    one, other = (Filters(box=Box.parse(f"2.35{end},48,3,49")) for end in ("00001", "00002"))
    assert one.fields() != other.fields()
    assert Filters(box=Box(2, 48, 3, 49)).fields() == Filters(box=Box.parse("2,48.0,3,49")).fields()


@pytest.mark.parametrize(
    "text", ["", "1,2,3", "1,2,3,4,5", "a,b,c,d", "0,10,5,0", "0,0,181,1", "0,-91,1,1", "nan,0,1,1"]
)
def test_what_is_no_box_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="not a valid box"):
        Box.parse(text)


@pytest.mark.parametrize(
    ("name", "url", "expected"),
    [
        ("Attribution License", "http://creativecommons.org/licenses/by/2.0/", "CC-BY-2.0"),
        ("x", "https://creativecommons.org/licenses/by-nc-sa/4.0/deed.de", "CC-BY-NC-SA-4.0"),
        ("", "http://creativecommons.org/publicdomain/mark/1.0/", "CC-PDM-1.0"),
        ("", "http://creativecommons.org/publicdomain/zero/1.0/", "CC0-1.0"),
        ("All rights", "http://example.org/licenses/by/2.0/", "All rights"),
        ("", "", ""),
    ],
)
def test_licences_get_their_spdx_identifier(name: str, url: str, expected: str) -> None:
    assert licence_name(name, url) == expected


@pytest.mark.parametrize("asked", ["by-nc", "CC-BY-NC", "cc by-nc 2.0", "CC-BY-NC-2.0", " BY-NC "])
def test_a_licence_can_be_asked_for_in_several_ways(asked: str) -> None:
    filters = Filters(licences=frozenset({licence_key(asked)}))
    assert filters.wants_licence("CC-BY-NC-2.0")
    assert not filters.wants_licence("CC-BY-2.0")
    assert not filters.wants_licence("CC-BY-NC-SA-2.0")
    assert not filters.wants_licence("")


def test_a_list_of_those_who_opted_out_may_hold_remarks(tmp_path: Path) -> None:
    path = tmp_path / "out.txt"
    path.write_text("# asked in May\n12@N01\n\n  4ccb23d8746b8d9d76ffd603fc7988 \n")
    assert read_opt_out(path) == {"12@N01", "4ccb23d8746b8d9d76ffd603fc7988"}
    with pytest.raises(InputError, match=r"none\.txt"):
        read_opt_out(tmp_path / "none.txt")
    path.write_bytes(b"\xff\xfe1")
    with pytest.raises(InputError, match=r"out\.txt"):
        read_opt_out(path)
