"""The rows of a table of anybody's answers, every one of them, but for lines at its end.

Knows columns and lines; which photo of a benchmark a row is about is `predictions`' business.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from locationnet.errors import InputError
from locationnet.evaluation.benchmarks import Floats, Places, known_places
from locationnet.evaluation.photo_files import has_suffix
from locationnet.tables.columns import find_column, missing_columns, need_column, require_column
from locationnet.tables.read import Mask, as_utf8, names_column, number_column
from locationnet.tables.stream import BadRow, Lines, numbered_rows
from locationnet.tables.table_file import open_table

if TYPE_CHECKING:
    import pyarrow as pa

# What programs write below their answers is short; anything longer is a damaged table.
_END_LINES = 100
# In a table of files, so many rows at the end may be statistics instead.
_FEW = 20
# How a line of statistics begins in a table whose ids have no suffix.
_STATISTIC = re.compile(
    r"[-+]?(\d*\.\d+|\d+\.\d*)(e[-+]?\d+)?|[-+]?[\d.]+\s*(%|km\b).*|[#<>≤@].*"
    r"|(mean|median|average|avg|std|min|max|sum|total|count|all|overall|acc|accuracy|summary"
    r"|street|city|region|country|continent|within|error|distance|geoscore|metric|threshold)\b.*",
    re.IGNORECASE,
)
# Of a note, before it names the first and the last alone.
_SHOWN = 10

Known = Callable[[str], bool]


@dataclass(frozen=True, eq=False)
class PredictionsFile:
    """A table of answers, without the lines at its end that are none.

    Parameters
    ----------
    path
        The file.
    table
        Its rows.
    labels
        What each row is called in messages.
    ids
        What each row calls its photo, by the columns that do: paths before ids, which are often
        mere numbers of rows.
    places, truth
        Which columns hold the answers and, where they are wanted, the truths; see
        `locationnet.tables.columns.ALIASES`.
    notes
        What was skipped.
    """

    path: Path
    table: pa.Table
    labels: tuple[str, ...]
    ids: dict[str, list[str]]
    places: tuple[str, str]
    truth: tuple[str, str] | None
    notes: tuple[str, ...] = ()

    def known_places(self, fields: tuple[str, str]) -> Places:
        """Return what two columns say; see `locationnet.evaluation.benchmarks.known_places`."""
        return known_places(self.path, self.table, fields, label=self.labels.__getitem__)

    def numbers(self, field: str) -> Floats | None:
        """Return a column as float64 ``(n,)``, or None where it is not there or says nothing."""
        name = find_column(self.path, self.table.column_names, field)
        values = None if name is None else number_column(self.path, self.table, name)
        return None if values is None or np.isnan(values).all() else values

    def names(self, field: str, wanted: str | None = None) -> list[str] | None:
        """Return a column of names, or None where it is not there or says nothing."""
        name = find_column(self.path, self.table.column_names, field, wanted)
        values = names_column(self.path, self.table, name)
        return values if any(values) else None


def read_predictions(
    path: Path, known: Known | None = None, *, cluster_column: str | None = None
) -> PredictionsFile:
    """Read a table of answers.

    Parameters
    ----------
    path
        CSV or Parquet. A photo is named by its id or path; the answer is in ``predicted_lat`` and
        ``predicted_lng`` or, where there are no such columns, in ``lat`` and ``lng``.
    known
        Whether a name is that of a photo whose truth is known. Without, the truth must be in the
        file: in ``gt_lat`` and ``gt_lng``, or in ``lat`` and ``lng`` beside predicted ones.
    cluster_column
        A column that is wanted besides.

    Raises
    ------
    InputError
        The file or a column is missing, or a row is wrong; the message names it.
    """
    import pyarrow as pa

    file = open_table(path)
    names = file.names
    places, truth = _fields(path, names, known is None)
    photos = [find_column(path, names, field) for field in ("path", "photo", "id")]
    if not any(photos):
        raise missing_columns(path, names, "id", "path")
    degrees = {need_column(path, names, field): field for field in (*places, *(truth or ()))}
    others = [find_column(path, names, field) for field in ("rank", "probability", "uploader")]
    if cluster_column is not None:
        others.append(require_column(path, names, cluster_column))
    wanted = dict.fromkeys(filter(None, (*photos, *degrees, *others)))

    bad: list[BadRow] = []
    blank: list[int] = []
    batches, lines = [], []
    for batch, at in numbered_rows(file, list(wanted), bad.append, blank.append):
        batches.append(_as_texts(batch) if file.form == "csv" else batch)
        lines.append(at)
    if not batches:
        raise InputError(f"{path}: contains no rows")
    table = pa.Table.from_batches(batches)
    ids = {name: names_column(path, table, name) for name in filter(None, photos)}
    rows = _Rows(
        path,
        table,
        "row" if file.form == "parquet" else "line",
        np.concatenate(lines),
        bad,
        blank,
        list(zip(*ids.values(), strict=True)),
        degrees,
        known or (lambda _: False),
    )
    last, notes = rows.last_line()
    kept = np.flatnonzero(rows.lines <= last)
    return PredictionsFile(
        path,
        table.take(kept),
        tuple(rows.label(row) for row in kept),
        {name: [texts[row] for row in kept] for name, texts in ids.items()},
        places,
        truth,
        notes,
    )


def _fields(
    path: Path, names: Sequence[str], wants_truth: bool
) -> tuple[tuple[str, str], tuple[str, str] | None]:
    """Return which columns hold the answers, and which the truths where they are wanted."""

    def there(fields: tuple[str, str]) -> bool:
        return any(find_column(path, names, field) is not None for field in fields)

    plain, predicted, true = (
        ("lat", "lng"), ("predicted_lat", "predicted_lng"), ("true_lat", "true_lng"),
    )  # fmt: skip
    places = predicted if there(predicted) else plain
    if not wants_truth:
        return places, None
    if there(true):
        return places, true
    if places == predicted and there(plain):
        return places, plain
    raise InputError(
        f"{path}: does not say where the photos were taken; give --benchmark, or columns such as"
        " gt_lat and gt_lng"
    )


def _as_texts(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Return columns of bytes as texts, null for what is not UTF-8, so that its row is refused."""
    import pyarrow as pa

    columns = [as_utf8(column)[0] for column in batch.columns]
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)


@dataclass(frozen=True, eq=False)
class _Rows:
    """The rows of a file and where they stand, with what could not be split into columns.

    ``unit`` is what lines are: a Parquet has none but its rows. ``ids`` is what each row calls its
    photo, ``degrees`` which columns must be numbers, those of the answer first, and which of
    `ALIASES` each is.
    """

    path: Path
    table: pa.Table
    unit: str
    lines: Lines
    bad: list[BadRow]
    blank: list[int]
    ids: list[tuple[str, ...]]
    degrees: dict[str, str]
    known: Known

    def label(self, row: int) -> str:
        """Return what a row is called in messages."""
        line = int(self.lines[row])
        if self.unit == "row":
            return f"row {line}"
        return f"row {row + 1 + sum(one.line < line for one in self.bad)} (line {line})"

    def last_line(self) -> tuple[int, tuple[str, ...]]:
        """Return the last line that is about a photo, and a note on those below it.

        Such a line names a known photo, or a photo's file, or answers as those above it do.

        Raises
        ------
        InputError
            It, or a line above it, is wrong; or so much is below that the table is damaged.
        """
        faults = {int(self.lines[row]): self._fault(row) for row in np.flatnonzero(~self._whole)}
        faults |= {one.line: str(one) for one in self.bad}
        last = max(self._about_photos(), default=0)
        below = self.lines[self.lines > last].tolist()
        end = sorted({line for line in (*below, *faults, *self.blank) if line > last})
        everything = not last or len(end) > _END_LINES
        wrong = [line for line in faults if line <= last or everything]
        if wrong:
            raise InputError(f"{self.path}: {faults[min(wrong)]}")
        if not last:
            raise InputError(f"{self.path}: contains no predictions")
        if not end:
            return last, ()
        return last, (f"{self.path.name}: {self._called(end)} at its end are skipped: no answers",)

    def _about_photos(self) -> Iterator[int]:
        """Yield the lines that are about photos; of whole rows the last alone."""
        whole, broken = np.flatnonzero(self._whole)[::-1], np.flatnonzero(~self._whole)
        yield from (int(self.lines[row]) for row in islice(filter(self._is_photo, whole), 1))
        yield from (int(self.lines[row]) for row in filter(self._is_photo, broken))
        yield from (one.line for one in self.bad if self._names_photo(one.values))

    def _is_photo(self, row: int) -> bool:
        ids = self.ids[row]
        if self._names_photo(ids):
            return True
        name = next(filter(None, ids), "")
        if not name or self._are_files or _STATISTIC.fullmatch(name):
            return False
        truth = [values[row] for values in list(self._values.values())[2:]]
        return bool(self._whole[row] or (truth and np.isfinite(truth).all()))

    def _names_photo(self, texts: Sequence[str]) -> bool:
        return any(has_suffix(text) or self.known(text) for text in texts if text)

    @cached_property
    def _values(self) -> dict[str, Floats]:
        return {name: number_column(self.path, self.table, name) for name in self.degrees}

    @cached_property
    def _whole(self) -> Mask:
        """Which rows hold an id and numbers."""
        named = np.array([any(ids) for ids in self.ids], np.bool_)
        return np.asarray(named & np.isfinite(list(self._values.values())).all(axis=0))

    @cached_property
    def _are_files(self) -> bool:
        """Whether ids are names of files, but for a few rows."""
        files = np.array([any(map(has_suffix, ids)) for ids in self.ids], np.bool_)
        others = int((self._whole & ~files).sum())
        return others <= _FEW and others < files.sum()

    def _fault(self, row: int) -> str:
        if not any(self.ids[row]):
            return f"{self.label(row)}: contains no id"
        column = next(name for name, values in self._values.items() if not np.isfinite(values[row]))
        what = "latitude" if self.degrees[column].endswith("lat") else "longitude"
        value = self.table[column][row].as_py()
        return f"{self.label(row)}: {value!r} is not a valid {what} ({column})"

    def _called(self, lines: Sequence[int]) -> str:
        if len(lines) == 1:
            return f"{self.unit} {lines[0]}"
        if len(lines) > _SHOWN:
            return f"{self.unit}s {lines[0]} to {lines[-1]}"
        return f"{self.unit}s {', '.join(map(str, lines[:-1]))} and {lines[-1]}"
