"""Batches of P places × K photos, and which pairs of their photos show one place or two.

Knows places and records; nothing of pixels, embeddings or losses.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from locationnet.errors import InputError
from locationnet.geo.grid import Grid
from locationnet.geo.sphere import EARTH_RADIUS_KM, great_circle_km, unit_vectors
from locationnet.pack.format import Pack
from locationnet.train.config import Settings
from locationnet.train.devices import Devices

# Circles are drawn in this order of the photos, in every run.
_SEED = 0
# Blocks of the first epoch that are looked at before a run starts.
_TRIED = 64

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Pairs:
    """Says of two photos of a pack whether they show the same place, two, or neither for sure.

    Parameters
    ----------
    pack
        Its classes, and its coordinates where they are places.
    positive_km
        Photos at most so far apart show the same place; None for photos of the same class.
    negative_km
        Others show two places where they are farther apart than this; with labels always.
    """

    pack: Pack
    positive_km: float | None = None
    negative_km: float = 0.0

    def alike(self, first: Ints, second: Ints) -> NDArray[np.bool_]:
        """Return whether two different photos show the same place; records broadcast."""
        if self.positive_km is not None:
            return np.asarray((first != second) & (self._km(first, second) <= self.positive_km))
        classes = self.pack.classes_of_records
        return np.asarray((first != second) & (classes[first] == classes[second]))

    def relations(self, records: Ints, block: int) -> NDArray[np.float32]:
        """Return what each photo of a batch is to those that its device compares it with.

        Parameters
        ----------
        records
            int64 ``(n,)``; each device holds `block` consecutive ones.
        block
            Photos on each device; divides n.

        Returns
        -------
        float32 (n, block)
            1 for the same place, −1 for another, 0 for the photo itself and what is in between.
        """
        first, second = np.broadcast_arrays(
            records.reshape(-1, block, 1), records.reshape(-1, 1, block)
        )
        alike = self.alike(first, second)
        other = ~alike & (first != second)
        if self._located:
            other &= self._km(first, second) > self.negative_km
        return np.asarray(alike.astype(np.float32) - other).reshape(-1, block)

    @cached_property
    def accompanied(self) -> NDArray[np.bool_]:
        """Whether some other photo of the pack shows the same place, bool ``(records,)``."""
        if self.positive_km is None:
            classes = self.pack.classes_of_records
            return np.asarray(np.bincount(classes)[classes] > 1)
        from scipy.spatial import cKDTree

        vectors = unit_vectors(self.pack.lat, self.pack.lng)
        # The nearest is the photo itself, or one that lies on it.
        chords, _ = cKDTree(vectors).query(vectors, k=2)
        return np.asarray(chords[:, 1] <= _chord(self.positive_km))

    @property
    def _located(self) -> bool:
        return isinstance(self.pack.class_set, Grid)

    def _km(self, first: Ints, second: Ints) -> Floats:
        lat, lng = self.pack.lat, self.pack.lng
        return great_circle_km(lat[first], lng[first], lat[second], lng[second])


@dataclass(frozen=True, eq=False)
class PlaceOrder:
    """The order of an epoch in blocks of P different places × K photos.

    Every place is cut into groups of K photos, the last filled up with photos of the same place,
    and each block gets groups of P places. So an epoch shows every photo about once, but of a place
    with more groups than there are blocks only a random part, and photos that stand alone at their
    place never.

    Parameters
    ----------
    places
        int64 ``(n,)``: the place of each photo.
    per_block, photos
        P and K.
    blocks
        In each batch of all devices of all workers: an epoch is whole batches.
    seed
        Of the order, with the epoch's number.

    Raises
    ------
    InputError
        Fewer than P places have two photos or more.
    """

    places: Ints
    per_block: int
    photos: int
    blocks: int
    seed: int

    def __post_init__(self) -> None:
        if len(self._counts) < self.per_block:
            raise InputError(
                f"{len(self._counts)} places have two photos or more, and a batch of a device takes"
                f" {self.per_block} places x {self.photos} photos: lower --batch-size or raise"
                " --photos-per-place"
            )

    def __str__(self) -> str:
        alone = len(self.places) - int(self._counts.sum())
        left_out = f"; {alone:,} photos stand alone at their place" if alone else ""
        return (
            f"{self.per_block} of {len(self._counts):,} places x {self.photos} photos on each"
            f" device{left_out}"
        )

    @property
    def records(self) -> int:
        """Photos of an epoch, a multiple of those of a batch of all devices."""
        block = self.per_block * self.photos
        return max(self._blocks // self.blocks, 1) * self.blocks * block

    def __call__(self, epoch: int) -> Ints:
        """Return the photos of an epoch, int64 ``(records,)``, block by block."""
        needed = self.records // (self.per_block * self.photos)
        # More than one round only where there are fewer blocks than a batch has.
        rounds = -(-needed // self._blocks)
        dealt = [self._deal(np.random.default_rng([self.seed, epoch, r])) for r in range(rounds)]
        return np.concatenate(dealt)[:needed].reshape(-1)

    def _deal(self, random: np.random.Generator) -> Ints:
        """Return blocks of photos, int64 ``(blocks, P · K)``."""
        # Places in random order, and the photos of each in random order.
        ranks = random.permutation(len(self._counts))
        of_photo = np.repeat(ranks, self._counts)
        shuffled = self._by_place[np.lexsort((random.random(len(of_photo)), of_photo))]
        order = np.argsort(ranks)
        counts, groups = self._counts[order], np.minimum(self._groups[order], self._blocks)
        starts = np.cumsum(counts) - counts
        # Groups lie place by place, so that dealt like cards no two of a place meet in a block.
        place = np.repeat(np.arange(len(groups)), groups)
        number = np.arange(len(place)) - np.repeat(np.cumsum(groups) - groups, groups)
        taken = self._blocks * self.per_block
        place, number = place[:taken, None], number[:taken, None]
        within = (number * self.photos + np.arange(self.photos)) % counts[place]
        cards = shuffled[starts[place] + within]
        blocks = cards.reshape(self.per_block, self._blocks, self.photos).swapaxes(0, 1)
        return np.asarray(blocks[random.permutation(self._blocks)].reshape(self._blocks, -1))

    @cached_property
    def _by_place(self) -> Ints:
        """Photos that are not alone, place by place."""
        order = np.argsort(self.places, kind="stable")
        _, place, counts = np.unique(self.places[order], return_inverse=True, return_counts=True)
        return np.asarray(order[counts[place] > 1])

    @cached_property
    def _counts(self) -> Ints:
        """Photos of each place that has two or more."""
        counts = np.unique(self.places, return_counts=True)[1]
        return np.asarray(counts[counts > 1], np.int64)

    @cached_property
    def _groups(self) -> Ints:
        return -(-self._counts // self.photos)

    @cached_property
    def _blocks(self) -> int:
        """Blocks that the groups fill, at most one group of a place in each."""
        low, high = 1, int(self._groups.sum()) // self.per_block
        while low < high:
            middle = (low + high + 1) // 2
            if np.minimum(self._groups, middle).sum() >= middle * self.per_block:
                low = middle
            else:
                high = middle - 1
        return low


def circles(lat: Floats, lng: Floats, radius_km: float) -> Ints:
    """Return the circle that each point belongs to, int64 ``(n,)``.

    In random order, each point that is in no circle yet becomes the centre of one, which takes all
    other such points within the radius: two points of a circle are at most twice that apart.

    Parameters
    ----------
    lat, lng
        Degrees, float64 ``(n,)``.
    radius_km
        Above 0.
    """
    from scipy.spatial import cKDTree

    vectors = unit_vectors(lat, lng)
    tree = cKDTree(vectors)
    chord = _chord(radius_km)
    found = np.full(len(vectors), -1)
    for centre in np.random.default_rng(_SEED).permutation(len(vectors)):
        if found[centre] < 0:
            near = np.array(tree.query_ball_point(vectors[centre], chord))
            found[near[found[near] < 0]] = centre
    return found


def _chord(km: float) -> float:
    """Return how far apart two unit vectors are whose points are so far apart on the ground."""
    return float(2 * np.sin(min(km / EARTH_RADIUS_KM, np.pi) / 2))


@dataclass(frozen=True, eq=False)
class Places:
    """How the photos of a run are compared; see `places_of`.

    Parameters
    ----------
    training, validation
        The pairs of both packs.
    order
        Of the training photos.
    """

    training: Pairs
    validation: Pairs
    order: PlaceOrder


def places_of(settings: Settings, training: Pack, validation: Pack, workers: int) -> Places:
    """Find out which photos of a run belong together.

    Parameters
    ----------
    settings
        Of the objective ``triplet``.
    training, validation
        The packs.
    workers
        That train together.

    Raises
    ------
    InputError
        Distances are asked for where classes are labels; too few places have two photos; no two
        photos count as one place, or as two.
    """
    distances = (settings.place_km, settings.positive_km, settings.negative_km)
    if not isinstance(training.class_set, Grid) and any(km is not None for km in distances):
        raise InputError(
            "--place-km, --positive-km and --negative-km need coordinates, and the classes of"
            f" {training.path} are labels"
        )
    near, far = settings.pair_km
    pairs, held_out = (Pairs(pack, near, far) for pack in (training, validation))
    if settings.place_km is None:
        places = training.classes_of_records.astype(np.int64)
    else:
        places = circles(training.lat, training.lng, settings.place_km)
    photos, block = settings.photos_per_place, settings.batch_size
    blocks = workers * len(Devices.parse(settings.devices))
    order = PlaceOrder(places, block // photos, photos, blocks, settings.seed)
    drawn = pairs.relations(order(0)[: _TRIED * block], block)
    for kind, what in ((1, "the same place"), (-1, "different places")):
        if not (drawn == kind).any():
            raise InputError(
                f"{training.path}: no two photos of a batch show {what}, with photos of one place"
                f" {'in one class' if near is None else f'within {near:g} km'} and those of others"
                f" beyond {far:g} km (--positive-km, --negative-km)"
            )
    if not held_out.accompanied.any():
        raise InputError(f"{validation.path}: no two photos show the same place")
    return Places(pairs, held_out, order)
