"""Splitting photos into train, val and test so that no uploader is in two of them.

An uploader's set follows from a salted hash of the name alone, so that adding photos moves none;
knows nothing of images or cells.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from locationnet.errors import InputError
from locationnet.tables.columns import find_column, require_column
from locationnet.tables.read import names_column, read_table, texts

if TYPE_CHECKING:
    import pyarrow as pa

SETS = ("train", "val", "test")
TRAIN, VAL, TEST = range(3)
DEFAULT_SALT = "locationnet"


def split_uploaders(
    uploaders: Sequence[str],
    *,
    val: float = 0.1,
    test: float = 0.1,
    salt: str = DEFAULT_SALT,
    strata: Sequence[str] | None = None,
) -> NDArray[np.int8]:
    """Return the set of each photo: 0 train, 1 val, 2 test.

    Parameters
    ----------
    uploaders
        The uploader of each photo; the photos of one are never torn apart.
    val, test
        Share of the uploaders in each set.
    salt
        Another salt gives another split.
    strata
        A value of each photo (a landmark, a country) that every set is to contain: a value with
        three or more uploaders of its own is in all three sets, one with two in train and another,
        one with a single uploader in train. An uploader belongs to their most frequent value. Only
        uploaders of values that would be missing somewhere leave the set that their hash gives.

    Returns
    -------
    int8 (photos,)

    Raises
    ------
    InputError
        The shares are not between 0 and 1, or nothing is left to train on.
    """
    if not (0 <= val < 1 and 0 <= test < 1 and val + test < 1):
        raise InputError(f"shares of {val} and {test} leave nothing to train on")
    names, rows = np.unique(np.asarray(uploaders, dtype=object).astype(str), return_inverse=True)
    fractions = np.array([_fraction(name, salt) for name in names.tolist()])
    sets = np.full(len(names), TRAIN, np.int8)
    sets[fractions < test + val] = VAL
    sets[fractions < test] = TEST
    if strata is not None:
        wanted = [TRAIN, *([VAL] if val else []), *([TEST] if test else [])]
        for members in _uploaders_by_value(rows, strata, len(names)):
            _mend(sets, members[np.argsort(fractions[members])], wanted)
    return sets[rows]


def _fraction(uploader: str, salt: str) -> float:
    """Return an uploader's fraction in [0, 1), which decides the set."""
    digest = hashlib.blake2b(f"{salt}\0{uploader}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def _uploaders_by_value(
    rows: NDArray[np.int64], strata: Sequence[str], count: int
) -> list[NDArray[np.int64]]:
    """Return, for each value of the strata, the uploaders that have it most often."""
    _, codes = np.unique(np.asarray(strata, dtype=object).astype(str), return_inverse=True)
    pairs, photos = np.unique(np.stack([rows, codes]), axis=1, return_counts=True)
    # The most frequent value of an uploader comes first, the first in the alphabet on a tie.
    order = np.lexsort((pairs[1], -photos, pairs[0]))
    _, first = np.unique(pairs[0][order], return_index=True)
    home = np.empty(count, np.int64)
    home[pairs[0][order][first]] = pairs[1][order][first]
    return [np.flatnonzero(home == code) for code in np.unique(home)]


def _mend(sets: NDArray[np.int8], members: NDArray[np.int64], wanted: list[int]) -> None:
    """Move as few uploaders of a value, in the order of their hashes, as its missing sets need."""
    for missing in wanted:
        counts = np.bincount(sets[members], minlength=len(SETS))
        if counts[missing] or (missing != TRAIN and counts.max() == 1):
            continue
        # Out of the fullest set: its last uploader goes to train, its first one to the others.
        spare = members[sets[members] == counts.argmax()]
        sets[spare[-1] if missing == TRAIN else spare[0]] = missing


@dataclass(frozen=True, eq=False)
class Parts:
    """A split table.

    Parameters
    ----------
    tables
        The rows of each set, by its name.
    uploaders
        How many uploaders each set has, by its name.
    uploader_column
        The column of uploaders; None where each row is one of its own.
    """

    tables: dict[str, pa.Table]
    uploaders: dict[str, int]
    uploader_column: str | None


def split_table(
    file: Path,
    *,
    val: float,
    test: float,
    uploader_column: str | None = None,
    stratify: str | None = None,
    salt: str = DEFAULT_SALT,
) -> Parts:
    """Split the rows of a CSV or Parquet file; see `split_uploaders`.

    Raises
    ------
    InputError
        The file is not a table or lacks a column.
    """
    import pyarrow as pa

    table = read_table(file)
    column = find_column(file, table.column_names, "uploader", uploader_column)
    uploaders = _photos(file, table)
    if column is not None:
        named = names_column(file, table, column)
        # A photo without an uploader stands alone; no uploader has a NUL in the name.
        uploaders = [name or f"\0{own}" for name, own in zip(named, uploaders, strict=True)]
    strata = None
    if stratify is not None:
        strata = texts(file, table, require_column(file, table.column_names, stratify))
    sets = split_uploaders(uploaders, val=val, test=test, salt=salt, strata=strata)
    names = np.asarray(uploaders, dtype=object)
    return Parts(
        tables={name: table.filter(pa.array(sets == code)) for code, name in enumerate(SETS)},
        uploaders={name: len(set(names[sets == code])) for code, name in enumerate(SETS)},
        uploader_column=column,
    )


def balance(parts: Parts) -> Iterator[str]:
    """Yield lines that say how the photos fell."""
    photos = sum(table.num_rows for table in parts.tables.values())
    column = parts.uploader_column
    what = f"different {column}" if column else "photos, each on its own"
    for name, table in parts.tables.items():
        share, uploaders = table.num_rows / photos, parts.uploaders[name]
        yield f"{name:<5} {table.num_rows:>11,} photos {share:>7.2%}  {uploaders:,} {what}"


def _photos(file: Path, table: pa.Table) -> list[str]:
    """Return what distinguishes each photo, so that a split does not depend on other columns."""
    for field in ("path", "id", "url", "hash"):
        name = find_column(file, table.column_names, field)
        if name is not None:
            return texts(file, table, name)
    rows = zip(*(column.to_pylist() for column in table.columns), strict=True)
    return ["\0".join(map(str, row)) for row in rows]
