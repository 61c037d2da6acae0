"""Faiss structures over embeddings: which kind suits how many of them, made, opened and asked.

Knows vectors of length 1; nothing of photos, places or what lies beside it on the disk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from locationnet.errors import LocationNetError, MissingExtraError
from locationnet.retrieval.kinds import Kind

Vectors = NDArray[np.float32]

# Lists of an inverted file: this times the square root of the photos.
_LISTS = 2
# Photos that a centroid is learned from; Faiss warns below 39.
_POINTS_A_LIST = 40
# Lists that are looked into.
PROBES = 24
_HNSW_LINKS, _HNSW_BUILD, _HNSW_SEARCH = 32, 80, 96
_PQ_BITS = 8
_SEED = 5


def faiss_module() -> Any:
    """Return Faiss.

    Raises
    ------
    MissingExtraError
        It is not installed.
    """
    try:
        import faiss
    except ImportError as error:
        raise MissingExtraError("an index of photos", "retrieval") from error
    return faiss


def build(
    kind: Kind,
    dimensions: int,
    count: int,
    sample: Callable[[int], Vectors],
    parts: Iterator[Vectors],
    earlier: Any = None,
) -> Any:
    """Return a Faiss index over embeddings, in their order.

    Parameters
    ----------
    kind
        See `Kind`.
    dimensions, count
        Of the embeddings.
    sample
        Returns so many of them, to learn from.
    parts
        All of them, float32 ``(n, dimensions)`` each, of length 1.
    earlier
        An index of the same kind whose lists are good enough; it is emptied and used again.
    """
    index = _empty(kind, dimensions, count) if earlier is None else earlier
    index.reset()
    if not index.is_trained:
        learned_from = sample(max(_POINTS_A_LIST * index.nlist, 1 << 12))
        # Few are taken several times: Faiss wants at least one for each thing that it learns.
        fewest = max(len(learned_from), index.nlist, 1 << _PQ_BITS)
        index.train(np.resize(learned_from, (fewest, dimensions)))
    for part in parts:
        index.add(part)
    return index


def _empty(kind: Kind, dimensions: int, count: int) -> Any:
    faiss = faiss_module()
    if kind == Kind.flat:
        return faiss.IndexFlatIP(dimensions)
    if kind == Kind.hnsw:
        graph = faiss.IndexHNSWFlat(dimensions, _HNSW_LINKS, faiss.METRIC_INNER_PRODUCT)
        graph.hnsw.efConstruction = _HNSW_BUILD
        return graph
    lists = max(1, min(int(_LISTS * count**0.5), count // _POINTS_A_LIST))
    if kind == Kind.ivf:
        how = "Flat"
    elif kind == Kind.ivf_sq:
        how = "SQ8"
    else:
        # A byte for 8 dimensions or fewer, as far as they can be divided.
        groups = next(groups for groups in range(dimensions // 8 or 1, 0, -1)
                      if dimensions % groups == 0)  # fmt: skip
        how = f"PQ{groups}x{min(_PQ_BITS, max(1, int(count).bit_length() - 1))}"
    index = faiss.index_factory(dimensions, f"IVF{lists},{how}", faiss.METRIC_INNER_PRODUCT)
    index.cp.niter = 10
    index.cp.seed = _SEED
    # It would warn of few photos on standard error; what is asked again is exact in any case.
    for learned in (index, *([index.pq] if kind == Kind.ivf_pq else [])):
        learned.cp.min_points_per_centroid = 1
    index.cp.spherical = True
    return index


def write(index: Any, path: Path) -> None:
    """Write an index that `open_file` reads.

    Raises
    ------
    LocationNetError
        There is no room for it.
    """
    try:
        faiss_module().write_index(index, str(path))
    except RuntimeError as error:
        raise LocationNetError(f"{path}: cannot be written") from error


def open_file(path: Path, kind: Kind, *, to_change: bool = False) -> Any:
    """Open an index, mapped into memory unless it is to be changed.

    Raises
    ------
    RuntimeError
        The file is not one of Faiss.
    """
    faiss = faiss_module()
    flag = faiss.IO_FLAG_MMAP if kind.learns else faiss.IO_FLAG_MMAP_IFC
    return faiss.read_index(str(path), 0 if to_change else flag)


def ask(
    index: Any, kind: Kind, queries: Vectors, count: int, probes: int = PROBES
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return similarities and positions of the most similar embeddings, best first.

    Both are ``(n, count)``; where fewer were found the position is −1.
    """
    faiss = faiss_module()
    parameters = None
    if kind.learns:
        parameters = faiss.SearchParametersIVF(nprobe=min(probes, index.nlist))
    elif kind == Kind.hnsw:
        parameters = faiss.SearchParametersHNSW(efSearch=max(_HNSW_SEARCH, 2 * count))
    similarity, found = index.search(
        np.ascontiguousarray(queries, np.float32), count, params=parameters
    )
    return similarity, found
