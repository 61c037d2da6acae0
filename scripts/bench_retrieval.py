"""What each kind of index costs and finds: recall against exact search, queries, memory, files.

    python scripts/bench_retrieval.py [--photos 100000 1000000] [--kinds flat ivf-sq sklearn]

The embeddings are made. A place is a centre near one of 200 themes; how many photos it has falls
off as a power (Zipf's law, exponent 1), as in photo collections. Photos lie around their centre,
most of all along 24 directions that their theme has (embeddings fill few dimensions of their many),
further from it in some places than in others; unrelated photos have cosines about 0. Queries are
further photos of the same places, in no index. All are asked on one thread, after building, which
may use all.

Beside the kinds stands what tutorials do: scikit-learn's brute force, one query at a time, where
scikit-learn is installed. Each kind is measured in a process of its own, for its peak memory.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from bench_locate import cpu_features
from numpy.typing import NDArray

from locationnet.retrieval.index import Contents, Index
from locationnet.retrieval.indexing import search_over
from locationnet.retrieval.kinds import Kind, kind_for
from locationnet.tables.read import write_table

DIMENSIONS, QUERIES, NAIVE_QUERIES = 512, 500, 5
_THEMES, _DIRECTIONS = 200, 24


def made(photos: int, queries: int) -> tuple[NDArray[np.float16], NDArray[np.float32]]:
    """Return embeddings of photos ``(photos, 512)`` and of queries, of length 1."""
    rng = np.random.default_rng(16)
    places = max(10, photos // 50)
    theme = rng.integers(_THEMES, size=places)
    centres = _normal(rng, places, DIMENSIONS) + _normal(rng, _THEMES, DIMENSIONS)[theme]
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    directions = _normal(rng, _THEMES, _DIRECTIONS, DIMENSIONS) / DIMENSIONS**0.5
    spread = rng.uniform(0.3, 1.2, places).astype(np.float32)
    share = 1 / np.arange(1, places + 1)
    share /= share.sum()

    def draw(count: int) -> NDArray[np.float32]:
        place = rng.choice(places, count, p=share)
        along = _normal(rng, count, _DIRECTIONS) * spread[place, None] / _DIRECTIONS**0.5
        found = centres[place] + 0.1 / DIMENSIONS**0.5 * _normal(rng, count, DIMENSIONS)
        for one in range(_THEMES):
            rows = np.flatnonzero(theme[place] == one)
            found[rows] += along[rows] @ directions[one]
        return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True), np.float32)

    parts = [draw(min(50_000, photos - start)) for start in range(0, photos, 50_000)]
    return np.concatenate([part.astype(np.float16) for part in parts]), draw(queries)


def _normal(rng: np.random.Generator, *shape: int) -> NDArray[np.float32]:
    return rng.standard_normal(shape, np.float32)


def write_photos(folder: Path, photos: int) -> None:
    """Write what all kinds share: segments of an index, the queries, the exact answers."""
    import faiss
    import pyarrow as pa

    vectors, queries = made(photos, QUERIES)
    names = []
    for start in range(0, photos, 1 << 16):
        part = vectors[start : start + (1 << 16)]
        names.append(f"photos-{start:09d}")
        np.save(folder / f"{names[-1]}.npy", part)
        nothing = pa.array([""] * len(part))
        ids = pa.array([str(number) for number in range(start, start + len(part))])
        place = pa.array(np.zeros(len(part)))
        columns = {"id": ids, "lat": place, "lng": place}
        columns |= dict.fromkeys(("uploader", "taken", "licence", "author", "page"), nothing)
        write_table(folder / f"{names[-1]}.parquet", pa.table(columns))
    np.save(folder / "queries.npy", queries)
    faiss.omp_set_num_threads(os.cpu_count() or 1)
    best, found = np.empty((QUERIES, 0), np.float32), np.empty((QUERIES, 0), np.int64)
    for start in range(0, photos, 1 << 16):
        exact = faiss.IndexFlatIP(DIMENSIONS)
        exact.add(vectors[start : start + (1 << 16)].astype(np.float32))
        cosines, numbers = exact.search(queries, 10)
        best = np.concatenate([best, cosines], axis=1)
        found = np.concatenate([found, numbers + start], axis=1)
    order = np.argsort(-best, axis=1, kind="stable")[:, :10]
    np.save(folder / "truth.npy", np.take_along_axis(found, order, axis=1))
    (folder / "segments.json").write_text(json.dumps(names))


def measure(folder: Path, kind: Kind) -> dict[str, float]:
    """Build one kind, ask it, and return what that took."""
    import faiss

    segments = json.loads((folder / "segments.json").read_text())
    queries, truth = np.load(folder / "queries.npy"), np.load(folder / "truth.npy")
    started = time.perf_counter()
    identity = {"network_sha256": "", "model": "bench"}
    contents = search_over(folder, identity, segments, {}, kind, None)
    build = time.perf_counter() - started
    index = Index(folder, Contents.model_validate({**contents.model_dump(), "files": {}}))
    faiss.omp_set_num_threads(1)
    index.search(queries[:8], 10)
    count = QUERIES if kind != Kind.flat else QUERIES // 2
    started = time.perf_counter()
    found = index.search(queries[:count], 10).numbers
    seconds = time.perf_counter() - started
    started = time.perf_counter()
    singles = 20
    for query in queries[:singles]:
        index.search(query[None], 10)
    alone = (time.perf_counter() - started) / singles
    hits = (found[:, :, None] == truth[:count, None, :]).any(axis=2)
    return {
        "recall@1": float((found[:, 0] == truth[:count, 0]).mean()),
        "recall@10": float(hits.mean()),
        "queries/s": count / seconds,
        "ms alone": 1000 * alone,
        "build s": build,
        "file MB": (folder / contents.search).stat().st_size / 1e6,
        "peak MB": peak_mb(),
    }


def naive(folder: Path) -> dict[str, float]:
    """Return what scikit-learn's brute force takes, a query at a time."""
    from sklearn.neighbors import NearestNeighbors

    segments = json.loads((folder / "segments.json").read_text())
    vectors = np.concatenate([np.load(folder / f"{name}.npy").astype("f") for name in segments])
    queries, truth = np.load(folder / "queries.npy"), np.load(folder / "truth.npy")
    started = time.perf_counter()
    nearest = NearestNeighbors(n_neighbors=10, algorithm="brute", metric="cosine").fit(vectors)
    build = time.perf_counter() - started
    started = time.perf_counter()
    found = np.array([nearest.kneighbors(query[None])[1][0] for query in queries[:NAIVE_QUERIES]])
    seconds = (time.perf_counter() - started) / NAIVE_QUERIES
    hits = (found[:, :, None] == truth[:NAIVE_QUERIES, None, :]).any(axis=2)
    return {
        "recall@1": float((found[:, 0] == truth[:NAIVE_QUERIES, 0]).mean()),
        "recall@10": float(hits.mean()),
        "queries/s": 1 / seconds, "ms alone": 1000 * seconds, "build s": build,
        "file MB": 0.0, "peak MB": peak_mb(),
    }  # fmt: skip


def peak_mb() -> float:
    """Return the most memory that this process held by itself: mapped files do not count."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    [peak] = [line.split()[1] for line in lines if line.startswith("VmHWM")]
    return int(peak) / 1024


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--kinds", nargs="+", default=[*Kind, "sklearn"])
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.folder is not None:
        [kind] = arguments.kinds
        found = naive(arguments.folder) if kind == "sklearn" else measure(arguments.folder, kind)
        print(json.dumps(found))
        return
    print(cpu_features(), flush=True)
    for photos in arguments.photos:
        with tempfile.TemporaryDirectory() as folder:
            write_photos(Path(folder), photos)
            print(f"\n{photos:,} photos; `index` chooses {kind_for(photos)}")
            for number, kind in enumerate(arguments.kinds):
                words = [sys.executable, __file__, "--folder", folder, "--kinds", kind]
                environment = {**os.environ, "OMP_NUM_THREADS": ""} if kind != "sklearn" else {
                    **os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # fmt: skip
                environment = {name: value for name, value in environment.items() if value}
                done = subprocess.run(words, capture_output=True, text=True, env=environment)
                if done.returncode:
                    print(f"{kind}: {done.stderr.strip().splitlines()[-1]}", flush=True)
                    continue
                found = json.loads(done.stdout.splitlines()[-1])
                if not number:
                    print(f"{'':10}" + "".join(f"{name:>11}" for name in found))
                print(f"{kind:10}" + "".join(f"{value:>11,.3f}" if "recall" in name else
                      f"{value:>11,.1f}" for name, value in found.items()), flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
