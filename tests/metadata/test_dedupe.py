"""Duplicates, hashes and the cap, against dictionaries in memory."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

pytest.importorskip("pyarrow", reason="needs the extra 'data'")

from locationnet.metadata import dedupe
from locationnet.metadata.dedupe import DUPLICATE, KEYED, LISTED, OVER_CAP, Deduplicator
from locationnet.metadata.keys import mixed, text_keys
from locationnet.metadata.records import OPTED_OUT
from locationnet.metadata.row_groups import GROUP_BITS

ROWS_A_GROUP = 7


def _deduplicated(
    folder: Path,
    rows: list[tuple[int, int, int]],
    listed: dict[int, str],
    opt_out: set[str],
    per_cell: int | None,
) -> tuple[list[bool], dict[int, str], Deduplicator]:
    """Return which rows stay, and the hashes of those that get one."""
    made = Deduplicator(folder, len(rows))
    for start in range(0, len(rows), ROWS_A_GROUP):
        group = rows[start : start + ROWS_A_GROUP]
        records = np.empty(len(group), KEYED)
        for name, column in zip(
            ("key", "uploader_cell", "content"), zip(*group, strict=True), strict=True
        ):
            records[name] = column
        number = start // ROWS_A_GROUP
        records["position"] = (number << GROUP_BITS) + np.arange(len(group), dtype=np.uint64)
        made.add_rows(records)
    made.add_hashes(np.array(list(listed.items()), LISTED))
    steps = []
    made.decide(opt_out, per_cell, lambda: steps.append(1))
    assert len(steps) == made.steps(per_cell)
    keep: list[bool] = []
    hashes: dict[int, str] = {}
    for start in range(0, len(rows), ROWS_A_GROUP):
        count = len(rows[start : start + ROWS_A_GROUP])
        decision = made.decision(start // ROWS_A_GROUP, count)
        keep += decision.keep.tolist()
        for row, text in zip(decision.hashed.tolist(), decision.hashes.tolist(), strict=True):
            hashes[start + row] = text.decode()
    return keep, hashes, made


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 30), st.integers(0, 4), st.integers(0, 3)), max_size=60),
    st.dictionaries(st.integers(0, 30), st.text("0123456789abcdef", min_size=16, max_size=32)),
    st.sets(st.integers(0, 30), max_size=3),
    st.none() | st.integers(1, 4),
    st.integers(1, 9),
)
def test_rows_fall_as_they_would_in_memory(
    rows: list[tuple[int, int, int]],
    listed: dict[int, str],
    refused: set[int],
    per_cell: int | None,
    bucket_rows: int,
) -> None:
    # A photo's uploader and cell follow from its content, as its place does from its coordinates.
    rows = [(key, (key + content) % 5, content) for key, _, content in rows]
    opt_out = {listed[key] for key in refused if key in listed} | {"12@N01", "é"}
    with TemporaryDirectory() as scratch, pytest.MonkeyPatch.context() as patch:
        patch.setattr(dedupe, "_BUCKET_ROWS", bucket_rows)
        keep, hashes, made = _deduplicated(Path(scratch) / "s", rows, listed, opt_out, per_cell)
    best: dict[int, tuple[int, int]] = {}
    for position, (key, _, content) in enumerate(rows):
        best[key] = min(best.get(key, (content, position)), (content, position))
    alive = {position for _, position in best.values()}
    duplicates = len(rows) - len(alive)
    out = {at for at in alive if listed.get(rows[at][0]) in opt_out}
    alive -= out
    over = set()
    if per_cell is not None:
        groups = defaultdict(list)
        for at in alive:
            groups[rows[at][1]].append(at)
        for members in groups.values():
            members.sort(key=lambda at: int(mixed(np.array([rows[at][0]], np.uint64))[0]))
            over |= set(members[per_cell:])
    assert {at for at, kept in enumerate(keep) if kept} == alive - over
    for at in alive - over:
        assert hashes.get(at) == listed.get(rows[at][0])
    expected = {DUPLICATE: duplicates, OPTED_OUT: len(out), OVER_CAP: len(over)}
    assert made.dropped == {reason: count for reason, count in expected.items() if count}


def test_keys_are_mixed_one_to_one() -> None:
    keys: NDArray[np.uint64] = np.arange(100_000, dtype=np.uint64)
    assert len(np.unique(mixed(keys))) == len(keys)
    assert np.bincount((mixed(keys) % np.uint64(10)).astype(np.int64)).min() > 9_000
    assert len(set(text_keys([str(number) for number in range(1000)]).tolist())) == 1000
