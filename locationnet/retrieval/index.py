"""An index as a reader sees it: photos with known places, whose they are, and the most similar.

Knows how the folder is laid out; `locationnet.retrieval.indexing` writes it.

::

    index.json              what the index is made of; replaced as a whole, and last
    photos-….npy            embeddings of length 1, float16, a row for each photo
    photos-….parquet        id, lat, lng, uploader, taken, licence, author, page of the same rows
    search-….faiss          what is searched, over all of them
    skipped.csv             photos of the last table that are not in it, and why

No file but the first is ever changed. No pixels are kept.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from locationnet.errors import InputError, MissingExtraError
from locationnet.model.bundle import Bundle
from locationnet.model.checksums import is_sha256
from locationnet.retrieval.kinds import Kind
from locationnet.retrieval.search import PROBES, Vectors, ask, open_file
from locationnet.tables.table_file import arrow_file

if TYPE_CHECKING:
    import pyarrow as pa

MANIFEST = "index.json"
FIELDS = ("id", "lat", "lng", "uploader", "taken", "licence", "author", "page")
# Two versions of one photo, or two of one moment, are at least as similar.
NEAR_DUPLICATE = 0.98
# Photos that are looked at for those that count; whoever has more copies has no neighbours.
_WIDEST = 4096
# Of an embedding's length: what rounding leaves of none.
_NOTHING = 1e-6
# For a second look at the embeddings where the search knows them by codes alone.
_CANDIDATES = {Kind.ivf_sq: 2, Kind.ivf_pq: 8}

Floats = NDArray[np.float64]
_Positive = Annotated[float, Field(ge=0)]


class Weights(BaseModel):
    """How the neighbours of a photo become an answer; see `locationnet.retrieval.refinement`.

    ``sharpness``: how much a more similar neighbour counts; ``trust_at`` and ``trust_slope``: the
    similarity at which neighbours are as often right as wrong, and how fast that changes;
    ``classifier``, ``neighbours``: the exponents of both; ``fitted_on``: photos.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    sharpness: _Positive = 20.0
    trust_at: float = 0.5
    trust_slope: _Positive = 10.0
    classifier: _Positive = 1.0
    neighbours: _Positive = 1.0
    fitted_on: int = 0


class Contents(BaseModel):
    """What ``index.json`` holds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    network_sha256: str
    model: str
    dimensions: int = Field(ge=1)
    photos: int = Field(ge=0)
    kind: Kind
    search: str
    learned_from: int = Field(ge=0)
    segments: tuple[str, ...]
    files: dict[str, str]
    opted_out: tuple[str, ...] = ()
    opted_out_uploaders: tuple[str, ...] = ()
    weights: Weights = Weights()


@dataclass(frozen=True)
class IndexedPhoto:
    """A photo of the index; texts are ``""`` where nobody knows.

    ``lat``, ``lng`` in degrees; ``taken`` as the table had it.
    """

    id: str
    lat: float
    lng: float
    uploader: str
    taken: str
    licence: str
    author: str
    page: str


@dataclass(frozen=True, eq=False)
class Found:
    """The most similar photos of some queries, best first.

    ``numbers`` int64 ``(n, k)``, −1 where there are fewer; ``similarity`` float32 ``(n, k)``, the
    cosine, −1 there. Of the most similar photo that there was before any was excluded:
    ``near_duplicate`` and ``same_uploader``, bool ``(n,)``.
    """

    numbers: NDArray[np.int64]
    similarity: NDArray[np.float32]
    near_duplicate: NDArray[np.bool_]
    same_uploader: NDArray[np.bool_]


def read_contents(folder: Path) -> Contents:
    """Read ``index.json``.

    Raises
    ------
    InputError
        It is missing or not valid.
    """
    path = folder / MANIFEST
    try:
        return Contents.model_validate_json(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"{folder}: not a finished index (it has no {MANIFEST})") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise InputError(f"{path}: not that of an index: {where} {first['msg']}".strip()) from error


def check_network(folder: Path, contents: Contents, bundle: Bundle) -> None:
    """Refuse an index whose embeddings are another network's.

    Raises
    ------
    InputError
        The message names both.
    """
    mine = bundle.network_sha256
    if contents.network_sha256 != mine:
        raise InputError(
            f"{folder}: made with another network ({contents.model}, "
            f"{contents.network_sha256[:12]}…, not {bundle.manifest.name}, {mine[:12]}…); "
            "make the index again with this bundle"
        )


class Index:
    """An open index; safe to search from several threads, and unmoved by who writes it meanwhile.

    Parameters
    ----------
    folder
        Where it lies.
    contents
        What its manifest says.

    Raises
    ------
    InputError
        A file is corrupt or truncated; the message names it.
    FileNotFoundError
        A file is not there.
    """

    def __init__(self, folder: Path, contents: Contents) -> None:
        try:
            import pyarrow as pa
            from pyarrow import parquet
        except ImportError as error:
            raise MissingExtraError("an index of photos", "retrieval") from error

        self.folder, self.contents = folder, contents
        for name, expected in contents.files.items():
            if not is_sha256(folder / name, expected):
                raise InputError(f"{folder / name}: corrupt or truncated; make the index again")
        tables, self._vectors = [], []
        for name in contents.segments:
            with arrow_file(folder / f"{name}.parquet") as file:
                tables.append(parquet.read_table(file, columns=list(FIELDS)))
            self._vectors.append(np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False))
        self._rows = pa.concat_tables(tables).combine_chunks()
        try:
            self._search = open_file(folder / contents.search, contents.kind)
        except RuntimeError as error:
            raise InputError(f"{folder / contents.search}: not a file of Faiss") from error
        self._starts = np.cumsum([0, *(len(part) for part in self._vectors)])
        self.lat: Floats = self._rows["lat"].to_numpy()
        self.lng: Floats = self._rows["lng"].to_numpy()

    @classmethod
    def open(cls, folder: str | os.PathLike[str], bundle: Bundle | None = None) -> Index:
        """Open an index.

        Parameters
        ----------
        folder
            Where it lies.
        bundle
            The model that will ask; its network must be the index's own.

        Raises
        ------
        MissingExtraError
            Faiss or pyarrow is not installed.
        InputError
            The index is missing, empty, corrupt or truncated, or another network's.
        """
        folder = Path(folder)
        contents = read_contents(folder)
        while True:
            if bundle is not None:
                check_network(folder, contents, bundle)
            try:
                opened = cls(folder, contents)
                break
            except FileNotFoundError as error:
                # Somebody may have changed the index since, and thrown its earlier files away.
                latest = read_contents(folder)
                if latest == contents:
                    raise InputError(f"{error.filename}: missing; make the index again") from error
                contents = latest
        if not len(opened):
            raise InputError(f"{folder}: contains no photos")
        return opened

    def __len__(self) -> int:
        return self.contents.photos

    def __repr__(self) -> str:
        return f"Index({self.folder}, {len(self):,} photos, {self.contents.kind})"

    @property
    def rows(self) -> pa.Table:
        """A row for each photo, with the columns of `FIELDS`."""
        return self._rows

    @cached_property
    def _uploaders(self) -> tuple[NDArray[np.int32], dict[str, int]]:
        encoded = self._rows["uploader"].combine_chunks().dictionary_encode()
        names = encoded.dictionary.to_pylist()
        return encoded.indices.to_numpy(), {name: code for code, name in enumerate(names) if name}

    def vectors(self, numbers: NDArray[np.int64]) -> Vectors:
        """Return the embeddings of photos, float32 ``(n, dimensions)``."""
        found = np.empty((len(numbers), self.contents.dimensions), np.float32)
        segments = np.searchsorted(self._starts, numbers, "right") - 1
        for segment in np.unique(segments):
            rows = segments == segment
            found[rows] = self._vectors[segment][numbers[rows] - self._starts[segment]]
        return found

    def parts(self, size: int = 8192) -> Iterator[Vectors]:
        """Yield all embeddings in order, float32 ``(up to size, dimensions)``."""
        for part in self._vectors:
            for start in range(0, len(part), size):
                yield np.asarray(part[start : start + size], np.float32)

    def photos(self, numbers: Sequence[int]) -> list[IndexedPhoto]:
        """Return photos by their number, whatever has been written to the folder since."""
        return [
            IndexedPhoto(**row) for row in self._rows.take(np.array(numbers, np.int64)).to_pylist()
        ]

    def search(
        self,
        queries: Vectors,
        count: int,
        *,
        by: Sequence[str] | None = None,
        exclude_uploader: bool = False,
        below: float | None = None,
        probes: int = PROBES,
    ) -> Found:
        """Return the photos most similar to some embeddings.

        Parameters
        ----------
        queries
            float32 ``(n, dimensions)``, of length 1.
        count
            How many for each.
        by
            The uploader of each query, ``""`` where nobody knows.
        exclude_uploader
            Whether photos by the query's uploader do not count.
        below
            Photos at least as similar do not count; see `NEAR_DUPLICATE`.
        probes
            How many lists are looked into, of the kinds that have some.
        """
        wanted = min(count, len(self))
        widest = min(_WIDEST, len(self))
        first = 2 * wanted + 8 if exclude_uploader or below is not None else wanted
        numbers = np.full((len(queries), count), -1, np.int64)
        similarity = np.full((len(queries), count), -1, np.float32)
        duplicate, same = np.zeros((2, len(queries)), bool)
        codes = None if by is None else self._codes_of(by)
        left, width = np.arange(len(queries)), min(first, widest)
        while len(left):
            cosines, found = self._nearest(queries[left], width, probes)
            there = found >= 0
            counts = there.copy()
            if below is not None:
                counts &= cosines < below
            if codes is not None:
                if exclude_uploader:
                    counts &= self._uploaders[0][found] != codes[left, None]
                same[left] = there[:, 0] & (self._uploaders[0][found[:, 0]] == codes[left])
            duplicate[left] = there[:, 0] & (cosines[:, 0] >= NEAR_DUPLICATE)
            # Those that count first, in their order.
            order = np.argsort(~counts, axis=1, kind="stable")[:, :wanted]
            kept = np.take_along_axis(counts, order, axis=1)
            numbers[left, :wanted] = np.where(kept, np.take_along_axis(found, order, axis=1), -1)
            similarity[left, :wanted] = np.where(
                kept, np.take_along_axis(cosines, order, axis=1), -1
            )
            enough = (counts.sum(axis=1) >= wanted) | ~there[:, -1]
            left = left[~enough] if width < widest else left[:0]
            width = min(4 * width, widest)
        return Found(numbers, similarity, duplicate, same)

    def _codes_of(self, uploaders: Sequence[str]) -> NDArray[np.int64]:
        codes = self._uploaders[1]
        return np.array([codes.get(name, -1) for name in uploaders], np.int64)

    def _nearest(
        self, queries: Vectors, width: int, probes: int
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Return cosines and numbers, ``(n, width)``, best first, −1 where there are fewer."""
        kind = self.contents.kind
        if kind.exact:
            return ask(self._search, kind, queries, width, probes)
        # By codes the order is a guess: of several times as many, the best by the cosine itself.
        many = min(_CANDIDATES[kind] * max(width, 10), len(self))
        _, found = ask(self._search, kind, queries, many, probes)
        vectors = self.vectors(np.maximum(found.ravel(), 0)).reshape(*found.shape, -1)
        cosines = np.where(found >= 0, np.einsum("nkd,nd->nk", vectors, queries), -np.inf)
        order = np.argsort(-cosines, axis=1, kind="stable")[:, :width]
        return (
            np.take_along_axis(cosines, order, axis=1).astype(np.float32),
            np.take_along_axis(found, order, axis=1),
        )


def unit_length(embedded: NDArray[np.float32]) -> Vectors:
    """Return embeddings ``(n, features)`` of length 1; NaN for one without features."""
    lengths = np.linalg.norm(embedded, axis=1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(lengths > _NOTHING, embedded / lengths, np.nan), np.float32)
