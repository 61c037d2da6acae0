"""Names and continents of countries by their ISO 3166-1 alpha-2 code (``countries.csv``).

Knows codes and names; nothing of where countries lie.
"""

from __future__ import annotations

import csv
from functools import cache
from pathlib import Path


def country_name(code: str) -> str:
    """Return a country's English name; a code that nobody has named is its own."""
    known = _countries().get(code)
    return known[0] if known else code


def continent(code: str) -> str:
    """Return the one of seven continents that a country is counted under, ``""`` if unknown."""
    known = _countries().get(code)
    return known[1] if known else ""


@cache
def _countries() -> dict[str, tuple[str, str]]:
    with Path(__file__).with_name("countries.csv").open(encoding="utf-8", newline="") as file:
        return {row["code"]: (row["name"], row["continent"]) for row in csv.DictReader(file)}
