"""What a model says about each photo of a benchmark, kept so that an interrupted run goes on.

Knows photos, their truth and the locator; what the answers are worth is `scores`' business.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from locationnet.evaluation.benchmarks import Benchmark
from locationnet.evaluation.calibration import INFORMATION_KM
from locationnet.evaluation.similar_photos import OF_NEIGHBOURS, Retrieval
from locationnet.geo.sphere import antipode, great_circle_km
from locationnet.model.photo_stream import reason_of
from locationnet.model.prediction import Prediction
from locationnet.names import valid_text
from locationnet.progress import Progress
from locationnet.tables.resumable import PART_ROWS, Parts, write_parquet

if TYPE_CHECKING:
    import pyarrow as pa

    from locationnet.model.locator import Locator

PREDICTIONS = "predictions.parquet"
TOP = 5
# A photo that cannot be read is answered with the point farthest from the truth.
_FARTHEST = {
    "mode_cell": "",
    "mode_country": "",
    "mode_region": "",
    "mode_probability": 0.0,
    "near_probability": 0.0,
    "near_prior": 0.0,
    "radius_50_km": 0.0,
    "radius_90_km": 0.0,
    "information_bits": 0.0,
    "abstained": True,
}


def answer(
    locator: Locator,
    benchmark: Benchmark,
    out: Path,
    advance: Progress | None = None,
    *,
    threads: int | None = None,
    retrieval: Retrieval | None = None,
) -> pa.Table:
    """Locate all photos and write ``predictions.parquet``; the same call goes on where one ended.

    Parameters
    ----------
    locator
        The model.
    benchmark
        Photos and their truth.
    out
        Folder; created if need be.
    advance
        Called with the photos answered so far and how many there are.
    threads
        Photos worked on at a time; as many as there are processors by default.
    retrieval
        The similar photos that take part.

    Returns
    -------
    Table
        A row for each photo in the benchmark's order: ``id``, ``path``, ``uploader``, ``lat``,
        ``lng`` (the truth), ``problem`` (why it could not be read, or null), ``mode_lat``,
        ``mode_lng``, ``mode_cell``, ``mode_country`` (ISO code), ``mode_region``,
        ``mode_probability``, ``best_lat``, ``best_lng``, ``top_lat``, ``top_lng`` (lists, best
        first), ``rank`` (of the true cell, 0 for the best; the number of cells where the truth
        lies in none), ``near_probability`` and ``near_prior`` (probability within 750 km of the
        truth), ``radius_50_km``, ``radius_90_km``, ``information_bits``, ``abstained``; with
        `retrieval` also ``near_duplicate`` and ``same_uploader``, of the most similar photo.

    Raises
    ------
    LocationNetError
        The folder cannot be written.
    """
    import pyarrow as pa

    mark = photos_fingerprint(locator, benchmark)
    parts = Parts(out / "parts", mark if retrieval is None else retrieval.fingerprint(mark))
    schema = _schema(with_neighbours=retrieval is not None)
    classes = locator.grid.assign(benchmark.lat, benchmark.lng)
    tables = []
    for start in range(0, len(benchmark.paths), PART_ROWS):
        stop = min(start + PART_ROWS, len(benchmark.paths))
        if start not in parts:
            rows = _rows(
                locator, benchmark, classes, range(start, stop), threads, retrieval, advance
            )
            parts.write(start, pa.Table.from_pylist(rows, schema))
        tables.append(parts.read(start))
        if advance is not None:
            advance(stop, len(benchmark))
    table = pa.concat_tables(tables)
    write_parquet(out / PREDICTIONS, table)
    parts.remove()
    return table


def _schema(*, with_neighbours: bool) -> pa.Schema:
    import pyarrow as pa

    text, number = pa.string(), pa.float64()
    return pa.schema(
        [
            ("id", text), ("path", text), ("uploader", text), ("lat", number), ("lng", number),
            ("problem", text), ("mode_lat", number), ("mode_lng", number), ("mode_cell", text),
            ("mode_country", text), ("mode_region", text), ("mode_probability", number),
            ("best_lat", number),
            ("best_lng", number), ("top_lat", pa.list_(number)), ("top_lng", pa.list_(number)),
            ("rank", pa.int64()), ("near_probability", number), ("near_prior", number),
            ("radius_50_km", number), ("radius_90_km", number), ("information_bits", number),
            ("abstained", pa.bool_()),
            *((name, pa.bool_()) for name in OF_NEIGHBOURS if with_neighbours),
        ]
    )  # fmt: skip


def photos_fingerprint(locator: Locator, benchmark: Benchmark) -> str:
    """Return what a model's answers to a benchmark depend on, as a hash."""
    state = hashlib.sha256(locator.precision.encode())
    state.update(json.dumps(locator.bundle.manifest.files, sort_keys=True).encode())
    state.update(json.dumps([locator.bundle.manifest.temperature, PART_ROWS]).encode())
    state.update(json.dumps([benchmark.ids, [str(path) for path in benchmark.paths]]).encode())
    for values in (benchmark.lat, benchmark.lng):
        state.update(values.tobytes())
    return state.hexdigest()


def _rows(
    locator: Locator,
    benchmark: Benchmark,
    classes: Any,
    indices: range,
    threads: int | None,
    retrieval: Retrieval | None,
    advance: Progress | None,
) -> list[dict[str, Any]]:
    def told(done: int) -> None:
        if advance is not None:
            advance(indices.start + done, len(benchmark))

    if retrieval is not None:
        rows = []
        for index, one in zip(
            indices, retrieval.answers(locator, benchmark, indices, threads, told), strict=True
        ):
            if isinstance(one, Exception):
                rows.append(_wrong(locator, benchmark, index, reason_of(one)))
            else:
                found = _right(benchmark, index, one.prediction, int(classes[index]))
                flags = {name: getattr(one, name) for name in OF_NEIGHBOURS}
                rows.append({**found, **flags})
        return rows
    paths = [benchmark.paths[index] for index in indices]
    answers = locator.stream(paths, top_k=TOP, threads=threads, on_error="return")
    rows = []
    for index, (_, answer) in zip(indices, answers, strict=True):
        if isinstance(answer, Prediction):
            rows.append(_right(benchmark, index, answer, int(classes[index])))
        else:
            rows.append(_wrong(locator, benchmark, index, reason_of(answer)))
        # The last of them counts when all are written.
        if advance is not None and index < indices[-1]:
            advance(index + 1, len(benchmark))
    return rows


def _truth(benchmark: Benchmark, index: int) -> dict[str, Any]:
    uploaders = benchmark.uploaders
    return {
        "id": valid_text(benchmark.ids[index]),
        "path": valid_text(benchmark.paths[index]),
        "uploader": None if uploaders is None else uploaders[index],
        "lat": float(benchmark.lat[index]),
        "lng": float(benchmark.lng[index]),
    }


def _right(benchmark: Benchmark, index: int, prediction: Prediction, own: int) -> dict[str, Any]:
    grid, mode, best = prediction.grid, prediction.mode, prediction.best
    truth = _truth(benchmark, index)
    near = great_circle_km(truth["lat"], truth["lng"], grid.lat, grid.lng) <= INFORMATION_KM
    probabilities = prediction.probabilities
    rank = len(grid)
    if own >= 0:
        level = probabilities[own]
        rank = int((probabilities > level).sum() + (probabilities[:own] == level).sum())
    return {
        **truth,
        "problem": None,
        "mode_lat": mode.lat,
        "mode_lng": mode.lng,
        "mode_cell": mode.cell,
        "mode_country": prediction.layer.names.country[mode.class_index],
        "mode_region": prediction.layer.names.region[mode.class_index],
        "mode_probability": mode.probability,
        "best_lat": best.lat,
        "best_lng": best.lng,
        "top_lat": [one.lat for one in prediction.places],
        "top_lng": [one.lng for one in prediction.places],
        "rank": rank,
        "near_probability": float(probabilities[near].sum()),
        "near_prior": float(prediction.prior[near].sum()),
        "radius_50_km": prediction.radius_km(0.5),
        "radius_90_km": prediction.radius_km(0.9),
        "information_bits": prediction.information_bits,
        "abstained": prediction.abstained,
    }


def _wrong(locator: Locator, benchmark: Benchmark, index: int, problem: str) -> dict[str, Any]:
    truth = _truth(benchmark, index)
    lat, lng = map(float, antipode(truth["lat"], truth["lng"]))
    return {
        **truth,
        "problem": problem,
        **_FARTHEST,
        "mode_lat": lat,
        "mode_lng": lng,
        "best_lat": lat,
        "best_lng": lng,
        "top_lat": [lat],
        "top_lng": [lng],
        "rank": len(locator.grid),
    }
