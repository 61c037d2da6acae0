"""What columns are called, and which of several is taken."""

from __future__ import annotations

import pytest

from locationnet.errors import InputError
from locationnet.tables.columns import ALIASES, find_column, known_columns, need_column

EVERY = [(field, alias) for field, aliases in ALIASES.items() for alias in aliases]


@pytest.mark.parametrize(("field", "alias"), EVERY)
def test_every_alias_is_found_however_it_is_written(field: str, alias: str) -> None:
    for written in (
        alias, alias.upper(), f" {alias.title()} ", alias.replace("_", " "), alias.replace("_", "-")
    ):  # fmt: skip
        assert find_column("t.csv", ["other", written], field) == written
    assert find_column("t.csv", ["other", f"{alias}2"], field) is None


def test_no_alias_belongs_to_two_fields() -> None:
    assert len({alias for _, alias in EVERY}) == len(EVERY)


def test_the_preferred_name_wins() -> None:
    assert find_column("t.csv", ["author", "uploader"], "uploader") == "uploader"
    assert find_column("t.csv", ["longitude", "lon"], "lng") == "lon"


def test_two_columns_of_one_name_are_refused_where_they_are_wanted() -> None:
    names = ["Lat", "lat", "lng"]
    with pytest.raises(InputError, match=r"t\.csv: columns 'Lat' and 'lat' have one name"):
        find_column("t.csv", names, "lat")
    assert find_column("t.csv", names, "lng") == "lng"
    assert find_column("t.csv", names, "lat", "Lat") == "Lat"


def test_a_column_that_is_missing_is_named_with_those_that_are_there() -> None:
    with pytest.raises(InputError, match=r"no column of latitudes among 'a', 'b'; name it with -x"):
        need_column("t.csv", ["a", "b"], "lat", option="-x")
    with pytest.raises(InputError, match=r"t\.csv: no column 'breadth'; there are 'lat'"):
        need_column("t.csv", ["lat"], "lat", "breadth")
    many = [f"column{number}" for number in range(30)]
    with pytest.raises(InputError, match=r"'column19' and 10 more; expected one such as path"):
        need_column("t.csv", many, "path")
    with pytest.raises(InputError, match=r"'column19'; expected one such as path"):
        need_column("t.csv", many[:20], "path")


def test_known_columns_are_counted() -> None:
    assert known_columns(["LAT", "Image ID", "colour"]) == 2
