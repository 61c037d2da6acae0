"""The settings of a training run: what they are, their checks, how they are kept for a resumed run.

Knows names and numbers only; imports neither mxnet nor NumPy, so that options are listed and a
wrong one is answered at once.
"""
# ruff: noqa: RUF009 - `_option` returns fields

from __future__ import annotations

import dataclasses
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from locationnet.errors import InputError
from locationnet.train.devices import Devices

if TYPE_CHECKING:
    from locationnet.preprocess import Preprocessing

# 1 for the worker that leads and 0 for the others: which of them is rank 0 is the parameter
# server's choice, and the run's folder is on the leading machine. Without it rank 0 leads.
LEADS = "LOCATIONNET_LEADS"

Triple = tuple[float, float, float]
ClassWeights = Literal["none", "sqrt", "inverse"]
Objective = Literal["cross-entropy", "triplet"]
# Validation metrics that the best checkpoint can be chosen by; for these two, less is better.
LESS_IS_BETTER = ("loss", "median_km")
MORE_IS_BETTER = (
    "top1",
    "top5",
    "geoscore",
    "within_1_km",
    "within_25_km",
    "within_200_km",
    "within_750_km",
    "within_2500_km",
)
# Those of the objective `triplet` alone; more is better.
OF_NEIGHBOURS = ("recall_at_1", "recall_at_5", "recall_at_10", "nearest_within_25_km")
# Photos of two places that are nearer to each other count as neither, unless it is said otherwise.
_NEGATIVE_KM = 25.0
# A rate of 0.1 for each 256 photos of a batch (Goyal et al., "Accurate, Large Minibatch SGD",
# 2017), as in MXNet's image-classification example.
_PHOTOS_PER_RATE = 256
# What may differ when a run is resumed, because its result does not depend on it.
FREE_ON_RESUME = (
    "train",
    "validation",
    "devices",
    "batch_size",
    "threads",
    "every_batches",
    "every_minutes",
    "log_every",
    "patience",
)


def _option(default: Any, text: str, **how: Any) -> Any:
    """Return a field that ``locationnet train`` has an option for, with its help."""
    return dataclasses.field(default=default, metadata={"help": text, **how})


def _mean_2017() -> Triple:
    # Not at import: with it comes NumPy, which verbs that list options only do not need.
    from locationnet.preprocess import MEAN_2017

    return MEAN_2017


@dataclass(frozen=True)
class Augmentation:
    """How training photos are varied.

    Parameters
    ----------
    min_area
        The smallest share of the photo that a crop keeps; the share is uniform up to 1.
    max_aspect
        Crops are between ``1 / max_aspect`` and `max_aspect` times as wide as high.
    flip
        Mirror half of the photos.
    colour
        Brightness, contrast and saturation vary by up to this share each; 0 for none.
    """

    min_area: float = _option(0.25, "Smallest share of a photo that a random crop keeps.")
    max_aspect: float = 4 / 3
    flip: bool = _option(True, "Mirror half of the photos.")
    colour: float = _option(0.2, "Vary brightness, contrast, saturation by this share.")


@dataclass(frozen=True)
class Settings:
    """Everything that a run depends on.

    Parameters
    ----------
    train, validation
        Folders made by ``pack``.
    out
        The run's folder.
    network
        ``resnet-18`` … ``resnet-152``; ignored where `init` is given.
    init
        ``PREFIX-0012.params`` or a ``.onnx`` file to start from; its last layer is replaced.
    freeze
        Freeze the network up to this stage.
    body_rate
        Learning rate of the layers before the last, relative to the last one's.
    image_size
        Side of the network's input, pixels.
    mean, std
        Of red, green and blue on 0–255; ``(x - mean) / std`` enters the network.
    devices
        See `Devices.parse`.
    batch_size
        Photos on each device in each step.
    epochs
        Passes over the training photos.
    rate
        Learning rate after the warm-up; None for 0.1 for each 256 photos of a batch, all devices
        of all machines together.
    momentum, weight_decay
        Of the SGD; biases and normalisations do not decay.
    schedule
        ``step``: × 0.1 at each of `steps`; ``cosine``: half a cosine to zero.
    warmup
        Epochs, or a fraction of one.
    steps
        Where the step schedule falls, as shares of the epochs.
    smooth_km, class_weights
        See `locationnet.train.soft_labels.SoftLabels`.
    objective
        ``cross-entropy``: tell the classes apart. ``triplet``: put photos of one place closer
        together than photos of others; see `locationnet.train.triplet`.
    photos_per_place, place_km, positive_km, negative_km
        Of the objective ``triplet``; see `locationnet.train.place_batches`.
    margin
        By how much a negative must be farther than a positive, in squared distances of embeddings
        of length 1 (0 to 4).
    augmentation
        Random crops, flips and colours.
    fp16
        Compute in float16 with float32 master weights; GPUs only.
    best_by, patience
        The validation metric that names the best epoch (None for GeoScore, for top-1 where classes
        are labels, for recall@1 with the objective ``triplet``), and after how many epochs without
        a better one the run ends; 0 never ends it.
    every_batches, every_minutes
        Write a checkpoint within an epoch as well; 0 for never.
    log_every
        Batches between two log records.
    seed
        Of the initial weights, the order of the photos and their random variants.
    threads
        That decode photos.
    """

    train: Path
    validation: Path
    out: Path
    network: str = _option("resnet-101", "resnet-18, -34, -50, -101 or -152.")
    init: Path | None = _option(
        None, "Start from PREFIX-0012.params or an .onnx file.", metavar="FILE"
    )
    freeze: str | None = _option(None, "Leave it as it is up to this stage.", metavar="STAGE")
    body_rate: float = _option(1.0, "With --init: rate of the body relative to the last layer.")
    image_size: int = _option(224, "Side of the network's input, pixels.")
    mean: Triple = dataclasses.field(
        default_factory=_mean_2017,
        metadata={"help": "Subtracted from the pixels, 0-255.", "metavar": "R G B"},
    )
    std: Triple = _option((1.0, 1.0, 1.0), "Divides the pixels, 0-255.", metavar="R G B")
    devices: str = _option("cpu:1", "cpu, cpu:16 (sixteen CPU devices) or gpu:0-15.")
    batch_size: int = _option(32, "Photos on each device in each step.")
    epochs: int = _option(12, "Passes over the photos.")
    rate: float | None = _option(
        None, "Learning rate; by default 0.1 for 256 photos a step, in proportion."
    )
    momentum: float = _option(0.9, "Of the SGD.")
    weight_decay: float = _option(1e-4, "Not of biases and normalisations.")
    schedule: Literal["step", "cosine"] = _option(
        "step", "step: x 0.1 at --steps; cosine: down to zero."
    )
    steps: tuple[float, ...] = _option(
        (0.5, 0.75), "Of the run, such as 0.5,0.75.", metavar="SHARES"
    )
    warmup: float = _option(0.1, "Epochs in which the rate rises, or part of one.")
    smooth_km: float = _option(0.0, "Smooth labels over cells around; 75 is usual, 0 is none.")
    class_weights: ClassWeights = _option("none", "How much photos of rare classes count.")
    objective: Objective = _option(
        "cross-entropy", "cross-entropy: tell classes apart; triplet: embeddings to search with."
    )
    photos_per_place: int = _option(4, "Triplet: photos of each place in a batch of a device.")
    place_km: float | None = _option(
        None, "Triplet: places are circles of this radius, not the pack's cells."
    )
    positive_km: float | None = _option(
        None, "Triplet: photos so near show one place; by default those of one cell or circle."
    )
    negative_km: float | None = _option(
        None, "Triplet: photos of other places count beyond this distance; 25 by default."
    )
    margin: float = _option(0.2, "Triplet: by how much others must be farther than one's own.")
    augmentation: Augmentation = dataclasses.field(default_factory=Augmentation)
    fp16: bool = _option(False, "Compute in float16; GPUs only.", names=("--fp16",))
    best_by: str | None = _option(None, "geoscore, top1, top5, loss, median_km, within_25_km, ...")
    patience: int = _option(0, "End after so many epochs without a better one; 0: never.")
    every_batches: int = _option(0, "Also write a checkpoint every so many batches.")
    every_minutes: float = _option(30.0, "Also write a checkpoint every so many minutes.")
    log_every: int = _option(50, "Batches between log lines.")
    seed: int = _option(0, "Of everything that is random.")
    threads: int = _option(4, "That decode photos.")

    def __post_init__(self) -> None:
        devices = Devices.parse(self.devices)
        checks = {
            "fp16 needs GPUs: MXNet computes float16 convolutions on no CPU": (
                not self.fp16 or devices.kind == "gpu"
            ),
            f"image size {self.image_size}: expected 16 to 1024 pixels": (
                16 <= self.image_size <= 1024
            ),
            f"batch size {self.batch_size}: expected at least 1": self.batch_size >= 1,
            f"epochs {self.epochs}: expected 1 to 9999": 1 <= self.epochs <= 9999,
            f"rate {self.rate}: expected a number above 0": self.rate is None or self.rate > 0,
            f"momentum {self.momentum}: expected at least 0 and below 1": 0 <= self.momentum < 1,
            f"weight decay {self.weight_decay}: expected at least 0": self.weight_decay >= 0,
            f"warm-up of {self.warmup} epochs: expected 0 to {self.epochs}": (
                0 <= self.warmup <= self.epochs
            ),
            f"body rate {self.body_rate}: expected 0 to 1": 0 <= self.body_rate <= 1,
            f"best by {self.best_by!r}: expected one of {', '.join(self.metrics)}": (
                self.best_by is None or self.best_by in self.metrics
            ),
            f"{self.objective!r} is not a valid objective; expected cross-entropy or triplet": (
                self.objective in ("cross-entropy", "triplet")
            ),
            **self._checks_of_triplets(),
            f"seed {self.seed}: expected at least 0": self.seed >= 0,
            f"threads {self.threads}: expected at least 1": self.threads >= 1,
            f"a record every {self.log_every} batches: expected at least 1": self.log_every >= 1,
            "the standard deviations must be above 0": min(self.std) > 0,
        }
        for message, fine in checks.items():
            if not fine:
                raise InputError(message)
        if self.init is None:
            self.depth  # noqa: B018 - reading it checks the network's name

    def _checks_of_triplets(self) -> dict[str, bool]:
        """Return what must be true of the settings of one objective, by what is said if not."""
        if not self.triplets:
            alone = ("photos_per_place", "place_km", "positive_km", "negative_km", "margin")
            usual = {field.name: field.default for field in dataclasses.fields(self)}
            return {
                f"--{name.replace('_', '-')} needs --objective triplet": (
                    getattr(self, name) == usual[name]
                )
                for name in alone
            }
        near, far = self.pair_km
        return {
            "class weights and smoothed labels belong to the objective cross-entropy": (
                self.class_weights == "none" and self.smooth_km == 0
            ),
            f"{self.photos_per_place} photos of each place: expected at least 2": (
                self.photos_per_place >= 2
            ),
            f"batch size {self.batch_size}: expected two places or more of"
            f" {self.photos_per_place} photos each (--photos-per-place)": (
                self.batch_size % max(self.photos_per_place, 1) == 0
                and self.batch_size >= 2 * self.photos_per_place
            ),
            f"margin {self.margin}: expected above 0 and at most 4": 0 < self.margin <= 4,
            f"places of {self.place_km} km: expected a number above 0": (
                self.place_km is None or 0 < self.place_km < math.inf
            ),
            f"positives within {near or 0:g} km, negatives beyond {far:g} km: expected 0 or more,"
            " and the second no smaller": 0 <= (near or 0) <= far < math.inf,
        }

    @property
    def triplets(self) -> bool:
        """Whether embeddings are trained to be searched."""
        return self.objective == "triplet"

    @property
    def pair_km(self) -> tuple[float | None, float]:
        """Up to where photos show one place, and beyond where two; None for those of a class."""
        near = self.positive_km
        if near is None and self.place_km is not None:
            near = 2 * self.place_km
        if self.negative_km is not None:
            return near, self.negative_km
        return near, max(_NEGATIVE_KM, near or 0.0)

    @property
    def metrics(self) -> tuple[str, ...]:
        """The validation metrics that there are to choose by."""
        if self.triplets:
            return OF_NEIGHBOURS + MORE_IS_BETTER + ("median_km",)
        return LESS_IS_BETTER + MORE_IS_BETTER

    @property
    def depth(self) -> int:
        """The ResNet's depth."""
        match = re.fullmatch(r"resnet-(18|34|50|101|152)", self.network)
        if match is None:
            raise InputError(
                f"{self.network!r} is not a valid network; expected resnet-18, 34, 50, 101 or 152"
            )
        return int(match[1])

    @property
    def preprocessing(self) -> Preprocessing:
        """How photos must be prepared for the trained network: 7/8 of the short side is kept."""
        from locationnet.preprocess import Preprocessing

        return Preprocessing(
            "pillow", self.image_size, round(self.image_size * 8 / 7), self.mean, self.std
        )

    def base_rate(self, global_batch: int) -> float:
        """Return the rate after the warm-up for batches of so many photos on all devices."""
        return self.rate if self.rate is not None else 0.1 * global_batch / _PHOTOS_PER_RATE

    def to_json(self) -> dict[str, Any]:
        """Return plain values that `from_json` reads."""
        return {
            name: str(value) if isinstance(value, Path) else value
            for name, value in dataclasses.asdict(self).items()
        }

    @classmethod
    def from_json(cls, values: dict[str, Any], *, out: Path) -> Settings:
        """Rebuild the settings of a run, wherever its folder lies now.

        Raises
        ------
        InputError
            A setting is missing, unknown or invalid.
        """
        known = dict(values)
        try:
            for name in ("train", "validation"):
                known[name] = Path(known[name])
            known["init"] = None if known["init"] is None else Path(known["init"])
            known["augmentation"] = Augmentation(**known["augmentation"])
            for name in ("mean", "std", "steps"):
                known[name] = tuple(known[name])
            return cls(**{**known, "out": out})
        except (KeyError, TypeError) as error:
            raise InputError(f"{out}: the run's settings cannot be read ({error})") from error

    def differing(self, other: Settings) -> list[str]:
        """Return the names of settings that differ and that the run's result depends on."""
        fixed = {field.name for field in dataclasses.fields(self)} - {*FREE_ON_RESUME, "out"}
        if self.triplets:
            # Which photos are compared depends on what each device holds.
            fixed.add("batch_size")
        return sorted(name for name in fixed if getattr(self, name) != getattr(other, name))
