"""Records spread over files by a number, so that each file's share fits into memory.

Knows nothing of what the records are.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


class Buckets:
    """Files of fixed-size records in a folder of their own.

    Parameters
    ----------
    folder
        Created; must not exist.
    dtype
        Of a record.
    """

    def __init__(self, folder: Path, dtype: np.dtype[Any]) -> None:
        folder.mkdir(parents=True)
        self._folder = folder
        self._dtype = dtype

    def add(self, records: NDArray[Any], buckets: NDArray[np.int64]) -> None:
        """Append records, each to its bucket."""
        if not len(records):
            return
        order = np.argsort(buckets, kind="stable")
        numbers, starts = np.unique(buckets[order], return_index=True)
        parts = np.split(records[order], starts[1:])
        for number, part in zip(numbers.tolist(), parts, strict=True):
            with self._file(number).open("ab") as file:
                file.write(part.tobytes())

    def load(self, bucket: int) -> NDArray[Any]:
        """Return a bucket's records in the order in which they came."""
        file = self._file(bucket)
        if not file.is_file():
            return np.empty(0, self._dtype)
        return np.fromfile(file, self._dtype)

    def _file(self, bucket: int) -> Path:
        return self._folder / f"{bucket:05d}"
