"""The published rows are what their sources say."""

from __future__ import annotations

import pytest

from locationnet.evaluation.published import published


def test_the_2017_network_is_there_with_its_figures() -> None:
    (row,) = [row for row in published("IM2GPS") if row.model == "LocationNet"]
    assert row.year == 2017
    assert row.within == pytest.approx({1: 0.168, 25: 0.392, 200: 0.489, 750: 0.679, 2500: 0.822})


@pytest.mark.parametrize("name", ["IM2GPS", "IM2GPS3k", "YFCC4k", "YFCC26k", "Placing2016"])
def test_every_row_names_its_source_and_grows_with_the_radius(name: str) -> None:
    rows = published(name)
    assert rows
    assert [row.year for row in rows] == sorted(row.year for row in rows)
    for row in rows:
        shares = list(row.within.values())
        assert shares == sorted(shares)
        assert 0 < shares[0] < shares[-1] < 1
        assert row.seen_in


def test_a_radius_that_was_not_given_is_missing() -> None:
    (row,) = [row for row in published("IM2GPS") if row.model == "StreetCLIP"]
    assert 1 not in row.within


def test_nobody_has_published_on_your_table() -> None:
    assert published("places") == []
