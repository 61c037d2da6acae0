"""Tables of rows that cannot be read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from locationnet.data.download.wanted import Wanted
from locationnet.errors import InputError
from locationnet.tables.read import read_table


@pytest.mark.parametrize("name", ["photos.csv", "photos.parquet"])
@pytest.mark.parametrize("read", [read_table, Wanted])
def test_a_table_that_is_not_there_is_named_once(
    tmp_path: Path, read: Callable[[Path], object], name: str
) -> None:
    path = tmp_path / name
    with pytest.raises(InputError) as caught:
        read(path)
    assert str(caught.value) == f"{path}: no such file"
