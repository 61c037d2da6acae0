"""Photos with known places put through a network, so that who was killed goes on where it stopped.

Knows photos, their embeddings and a few of the classifier's answers; not the files of an index.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from locationnet.errors import InputError, LocationNetError
from locationnet.images import Photo
from locationnet.model.photo_stream import answer_photos, reason_of
from locationnet.progress import Progress
from locationnet.retrieval.index import FIELDS, unit_length
from locationnet.retrieval.indexed_photos import PhotosToIndex, counts_text
from locationnet.retrieval.refinement import Sample
from locationnet.retrieval.search import Vectors
from locationnet.tables.resumable import Parts

if TYPE_CHECKING:
    import pyarrow as pa

    from locationnet.model.locator import Locator

NO_FEATURES = "the network sees no features in it"
# Photos between two saves: what an interruption costs at most.
_PART = 512
# Numbers of the classifier's answers that are kept to fit the weights by: 200 MB as float16.
_SAMPLED_NUMBERS, _SAMPLED_PHOTOS = 100_000_000, 2000
_EMBEDDING, _ANSWER, _REASON = "embedding", "probabilities", "reason"


class Embedded:
    """What the network saw in some photos.

    Parameters
    ----------
    table
        A row for each photo: `FIELDS`; ``embedding``, a list of float32 of length 1; the
        classifier's ``probabilities``, a list of float16, of a sample; ``reason``, why a photo has
        no embedding.
    """

    def __init__(self, table: pa.Table) -> None:
        self._table = table

    @property
    def unread(self) -> list[tuple[str, str]]:
        """The photos without an embedding, and why."""
        left = self._table.filter(self._table[_REASON].is_valid())
        return list(zip(left["id"].to_pylist(), left[_REASON].to_pylist(), strict=True))

    @cached_property
    def _read(self) -> pa.Table:
        return self._table.filter(self._table[_REASON].is_null())

    @property
    def rows(self) -> pa.Table:
        """`FIELDS` of the others."""
        return self._read.select(list(FIELDS))

    @property
    def vectors(self) -> Vectors:
        """Their embeddings, float32 ``(n, features)``."""
        return _matrix(self._read[_EMBEDDING])

    def sample(self) -> Sample:
        """Return the photos to fit the weights on."""
        chosen = self._read.filter(self._read[_ANSWER].is_valid())
        return Sample(
            _matrix(chosen[_EMBEDDING]),
            _matrix(chosen[_ANSWER]),
            chosen["lat"].to_numpy(),
            chosen["lng"].to_numpy(),
            tuple(chosen["uploader"].to_pylist()),
        )


class Embedding:
    """The work of putting photos through the network, part by part.

    Parameters
    ----------
    work
        A folder for the parts; those of other photos or another network are removed.
    locator
        The network.
    photos
        What goes through it.

    Raises
    ------
    LocationNetError
        The folder cannot be written.
    """

    def __init__(self, work: Path, locator: Locator, photos: PhotosToIndex) -> None:
        self._locator, self._photos = locator, photos
        state = f"{photos.fingerprint} {locator.bundle.network_sha256} {locator.precision} {_PART}"
        self._parts = Parts(work, hashlib.sha256(state.encode()).hexdigest())
        self._starts = range(0, photos.rows.num_rows, _PART)

    def complete(self, threads: int | None, advance: Progress | None) -> None:
        """Make the parts that are missing."""
        total = self._photos.rows.num_rows
        for start in self._starts:
            rows = range(start, min(start + _PART, total))
            if start not in self._parts:
                self._parts.write(start, _embedded(self._locator, self._photos, rows, threads))
            if advance is not None:
                advance(rows.stop, total)

    def read(self, photos: int) -> Iterator[Embedded]:
        """Yield what was seen, of about so many photos at a time."""
        import pyarrow as pa

        step = max(1, photos // _PART)
        for at in range(0, len(self._starts), step):
            yield Embedded(pa.concat_tables(map(self._parts.read, self._starts[at : at + step])))

    def remove(self) -> None:
        """Remove the parts: they are in the index."""
        self._parts.remove()


def embed_all(locator: Locator, photos: PhotosToIndex, threads: int | None) -> Embedded:
    """Put photos through the network at once.

    Raises
    ------
    InputError
        None of them can be read.
    """
    table = _embedded(locator, photos, range(photos.rows.num_rows), threads)
    found = Embedded(table)
    if not found.rows.num_rows:
        raise InputError(
            f"{photos.name}: none of its photos can be read ({counts_text(found.unread)})"
        )
    return found


def embed_photos(
    locator: Locator, photos: Iterable[Photo], threads: int | None
) -> Iterator[tuple[Vectors, NDArray[np.float64]] | LocationNetError | OSError]:
    """Yield each photo's embedding of length 1 and probabilities, or why it has none.

    float32 ``(features,)``, NaN for a photo without features, and float64 ``(classes,)``.
    """

    def compute(images: NDArray[np.float32]) -> Sequence[tuple[Vectors, NDArray[np.float64]]]:
        embedded, probabilities = locator.embed_and_classify(images)
        return list(zip(unit_length(embedded), probabilities, strict=True))

    for _, answer in answer_photos(
        photos, locator.prepare, compute, threads=threads, on_error="return"
    ):
        yield answer


def _embedded(
    locator: Locator, photos: PhotosToIndex, rows: range, threads: int | None
) -> pa.Table:
    """Return some of the photos as a table of `Embedded`."""
    import pyarrow as pa

    most = min(_SAMPLED_PHOTOS, _SAMPLED_NUMBERS // len(locator.grid))
    every = max(1, -(-photos.rows.num_rows // most))
    vectors: list[Vectors | None] = []
    answers: list[NDArray[np.float16] | None] = []
    reasons: list[str | None] = []
    found = embed_photos(locator, map(photos.photo, rows), threads)
    for row, answer in zip(rows, found, strict=True):
        vector = sampled = reason = None
        if not isinstance(answer, tuple):
            reason = reason_of(answer)
        elif not np.isfinite(answer[0]).all():
            reason = NO_FEATURES
        else:
            vector = answer[0]
            sampled = answer[1].astype(np.float16) if row % every == 0 else None
        vectors.append(vector)
        answers.append(sampled)
        reasons.append(reason)
    table = photos.rows.slice(rows.start, len(rows)).select(list(FIELDS))
    table = table.append_column(_EMBEDDING, _lists(vectors, np.float32))
    table = table.append_column(_ANSWER, _lists(answers, np.float16))
    return table.append_column(_REASON, pa.array(reasons, pa.string()))


def _lists(arrays: Sequence[NDArray[Any] | None], dtype: type[np.floating[Any]]) -> pa.Array:
    """Return arrays as lists of numbers, null for None."""
    import pyarrow as pa

    there = [array for array in arrays if array is not None]
    values = pa.array(np.concatenate(there) if there else np.empty(0, dtype))
    ends = np.cumsum([0, *(0 if array is None else len(array) for array in arrays)])
    missing = np.array([array is None for array in arrays], bool)
    return pa.LargeListArray.from_arrays(pa.array(ends), values, mask=pa.array(missing))


def _matrix(column: pa.ChunkedArray) -> NDArray[Any]:
    """Return lists of one length as ``(rows, length)``."""
    values = column.combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return np.asarray(values.reshape(len(column), -1) if len(column) else values[None, :][:0])
