"""Measure a bundle on photos with known places, always beside its prior and a shuffled control.

Knows nothing of how the bundle was made, save that the demo's table of ratios can be shuffled::

    .venv/bin/python scripts/eval_demo_bundle.py landmarks.csv places.csv

A CSV has the columns path (relative to it), lat, lng and source. Intervals are 95 %, by bootstrap
over clusters: photos of one source within one square degree count as one draw.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper
from onnxruntime import InferenceSession

import locationnet
from locationnet.geo.sphere import geoscore, great_circle_km
from locationnet.model.sessions import OnnxSession

RADII_KM = (1, 25, 200, 750, 2500)
INFORMATION_KM = 750
FLOOR = 1e-6
RESAMPLES = 10_000
SHUFFLES = 100
TOP = 5
TABLE = "ratios_half"

FloatArray = NDArray[np.float64]
Interval = tuple[float, float, float]


@dataclass(frozen=True)
class Photos:
    """Photos with their true places; ``cluster`` numbers the draws of the bootstrap."""

    name: str
    paths: list[Path]
    lat: FloatArray
    lng: FloatArray
    cluster: NDArray[np.int64]

    @classmethod
    def read(cls, path: Path) -> Photos:
        """Read a CSV with the columns path, lat, lng, source."""
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        lat = np.array([float(row["lat"]) for row in rows])
        lng = np.array([float(row["lng"]) for row in rows])
        squares = zip((row["source"] for row in rows), np.floor(lat), np.floor(lng), strict=True)
        numbers: dict[tuple[str, float, float], int] = {}
        cluster = [numbers.setdefault(square, len(numbers)) for square in squares]
        paths = [path.parent / row["path"] for row in rows]
        return cls(path.stem, paths, lat, lng, np.array(cluster))

    def every(self, step: int) -> Photos:
        """Return every `step`-th photo."""
        _, cluster = np.unique(self.cluster[::step], return_inverse=True)
        return Photos(self.name, self.paths[::step], self.lat[::step], self.lng[::step], cluster)

    @cached_property
    def weights(self) -> NDArray[np.int64]:
        """How often each cluster is drawn in each resample, ``(RESAMPLES, clusters)``."""
        clusters = int(self.cluster.max()) + 1
        draws = np.random.default_rng(0).integers(0, clusters, (RESAMPLES, clusters))
        return np.stack([np.bincount(draw, minlength=clusters) for draw in draws])

    def estimate(self, values: FloatArray) -> Interval:
        """Return the mean of a value per photo and its 95 % interval: mean, low, high."""
        sums = self.weights @ np.bincount(self.cluster, values)
        low, high = np.percentile(sums / (self.weights @ np.bincount(self.cluster)), [2.5, 97.5])
        return float(np.mean(values)), float(low), float(high)


@dataclass(frozen=True)
class Answers:
    """Distributions over the cells and the classes picked from them, one row for each photo."""

    probabilities: FloatArray
    best: NDArray[np.int64]
    top: NDArray[np.int64]

    @classmethod
    def of(cls, predictions: list[locationnet.Prediction]) -> Answers:
        """Stack what the locator answered."""
        return cls(
            np.stack([one.probabilities for one in predictions]),
            np.array([one.best.class_index for one in predictions]),
            np.array([[place.class_index for place in one.places] for one in predictions]),
        )


@dataclass(frozen=True)
class Figures:
    """Everything measured on one set of photos.

    ``model`` and ``prior`` map each measure to its interval, the gains are paired with the prior's,
    and ``shuffled_bits`` is the mean information of each shuffle of the table.
    """

    photos: int
    clusters: int
    model: dict[str, Interval]
    prior: dict[str, Interval]
    geoscore_gain: Interval
    information_bits: Interval
    abstained: float
    shuffled_bits: list[float]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("photos", nargs="+", type=Path, help="CSVs: path, lat, lng, source")
    parser.add_argument("--model", default="demo", help="name or directory of a bundle")
    parser.add_argument("--shuffles", type=int, default=SHUFFLES, help="size of the control")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    options = parser.parse_args()

    locator = locationnet.load_model(options.model)
    found = {}
    for path in options.photos:
        photos = Photos.read(path)
        found[photos.name] = evaluate(locator, photos, options.shuffles)
        show(photos.name, found[photos.name])
    if options.json:
        manifest = locator.bundle.manifest
        fields = {"model": manifest.name, "version": manifest.version}
        photos_fields = {name: asdict(figures) for name, figures in found.items()}
        text = json.dumps({**fields, "photos": photos_fields}, indent=1)
        options.json.write_text(f"{text}\n", encoding="utf-8")


def evaluate(locator: locationnet.Locator, photos: Photos, shuffles: int) -> Figures:
    """Measure one set of photos, with as many shuffles of the table as control."""
    grid = locator.grid
    kilometres = great_circle_km(photos.lat[:, None], photos.lng[:, None], grid.lat, grid.lng)
    predictions = locator.locate_many(photos.paths, top_k=TOP)
    after = Answers.of(predictions)
    before = Answers.of([locator.prior(top_k=TOP)] * len(predictions))
    return Figures(
        photos=len(predictions),
        clusters=int(photos.cluster.max()) + 1,
        model=measures(photos, after, kilometres),
        prior=measures(photos, before, kilometres),
        geoscore_gain=photos.estimate(scores(after, kilometres) - scores(before, kilometres)),
        information_bits=photos.estimate(
            information(after.probabilities, before.probabilities, kilometres)
        ),
        abstained=float(np.mean([one.abstained for one in predictions])),
        shuffled_bits=[
            float(information(probabilities, before.probabilities, kilometres).mean())
            for probabilities in shuffled_answers(locator, photos, shuffles)
        ],
    )


def measures(photos: Photos, answers: Answers, kilometres: FloatArray) -> dict[str, Interval]:
    """Return the GeoScore of the best point and how often the named cells' centroids are near."""
    top = np.take_along_axis(kilometres, answers.top, axis=1)
    found = {"geoscore": photos.estimate(scores(answers, kilometres))}
    for radius in RADII_KM:
        for count in (1, TOP):
            near = top[:, :count].min(axis=1) <= radius
            found[f"top{count}_{radius}km"] = photos.estimate(near.astype(np.float64))
    return found


def scores(answers: Answers, kilometres: FloatArray) -> FloatArray:
    """Return the GeoScore of each photo's best point."""
    return geoscore(np.take_along_axis(kilometres, answers.best[:, None], axis=1)[:, 0])


def information(after: FloatArray, before: FloatArray, kilometres: FloatArray) -> FloatArray:
    """Return by how many bits each answer beats the prior within 750 km of the truth."""
    near = kilometres <= INFORMATION_KM
    q, p = (after * near).sum(axis=1), (before * near).sum(axis=1)
    return np.asarray(np.log2((q + FLOOR) / (p + FLOOR)))


def shuffled_answers(
    locator: locationnet.Locator, photos: Photos, shuffles: int
) -> Iterator[FloatArray]:
    """Answer again with the demo's table in random order: each concept with another one's row.

    Yields the probabilities of each shuffle; nothing for a bundle without such a table.
    """
    path = locator.bundle.path / "model.onnx"
    model = onnx.load(path)
    if not shuffles or all(weight.name != TABLE for weight in model.graph.initializer):
        return
    network = OnnxSession(path)
    posterior = np.concatenate(
        [network.run(locator.prepare(photo)[None])["posterior"] for photo in photos.paths]
    )
    # The extractor knows only inner values, and `posterior` is an output.
    model.graph.value_info.extend(model.graph.output)
    last_steps = onnx.utils.Extractor(model).extract_model(["posterior"], ["probabilities"])
    weight = next(item for item in last_steps.graph.initializer if item.name == TABLE)
    table = numpy_helper.to_array(weight)
    random = np.random.default_rng(0)
    for _ in range(shuffles):
        weight.CopyFrom(numpy_helper.from_array(random.permutation(table), TABLE))
        session = InferenceSession(
            last_steps.SerializeToString(), providers=["CPUExecutionProvider"]
        )
        (probabilities,) = session.run(None, {"posterior": posterior})
        yield np.asarray(probabilities, np.float64)


def show(name: str, figures: Figures) -> None:
    """Print one set's figures as a table."""
    print(f"\n{name}: {figures.photos} photos in {figures.clusters} clusters")
    print(f"{'':18}{'model':>24}{'prior alone':>24}{'gain':>24}")
    for key in figures.model:
        form = "{:.0f} [{:.0f}, {:.0f}]" if key == "geoscore" else "{:.1%} [{:.1%}, {:.1%}]"
        line = (
            f"{key:18}{form.format(*figures.model[key]):>24}{form.format(*figures.prior[key]):>24}"
        )
        if key == "geoscore":
            line += f"{'{:+.0f} [{:+.0f}, {:+.0f}]'.format(*figures.geoscore_gain):>24}"
        print(line)
    gain = "{:+.2f} [{:+.2f}, {:+.2f}]".format(*figures.information_bits)
    print(f"{'information, bits':18}{'':48}{gain:>24}")
    if figures.shuffled_bits:
        shuffled = np.array(figures.shuffled_bits)
        control = "{:+.2f} [{:+.2f}, {:+.2f}]".format(
            shuffled.mean(), *np.percentile(shuffled, [2.5, 97.5])
        )
        below = f"{(shuffled < 0).mean():.0%} of {len(shuffled)} below the prior"
        print(f"{'... table shuffled':18}{below:>48}{control:>24}")
    print(f"{'abstained':18}{figures.abstained:>24.1%}")


if __name__ == "__main__":
    main()
