"""S2 cells as arrays of 64-bit ids: the hot part of the S2 geometry, vectorised in NumPy.

Knows nothing of grids, files or photos. The algorithm is Google's S2 (a cube projected on the
sphere, the quadratic transform, a Hilbert curve on each face); `s2sphere` is the reference that
every id here is equal to, and does whatever is not hot.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import numpy as np
import s2sphere
from numpy.typing import ArrayLike, NDArray

from locationnet.errors import InputError

MAX_LEVEL = 30
FACES = 6
# Fits the second-level cache with all its temporaries.
_CHUNK = 16_384
_SIDE = 1 << MAX_LEVEL
# How close to a leaf's border, in leaves, rounding may decide on which side a point lies: SIMD
# sines differ from the C library's by a few units in the last place, 2^30 · 1e-15 ≈ 1e-6.
_DOUBT = 1e-5
# Bits of i and of j that one look-up turns into a piece of the Hilbert curve.
_BITS = 5
_STEPS = MAX_LEVEL // _BITS

Ids = NDArray[np.uint64]
FloatArray = NDArray[np.float64]


def valid_coordinates(lat: ArrayLike, lng: ArrayLike) -> NDArray[np.bool_]:
    """Return which points are on Earth: finite, ``|lat| <= 90``, ``|lng| <= 180``."""
    lat, lng = np.asarray(lat, np.float64), np.asarray(lng, np.float64)
    return np.asarray((np.abs(lat) <= 90) & (np.abs(lng) <= 180))


def leaf_ids(lat: ArrayLike, lng: ArrayLike, *, threads: int = 1) -> Ids:
    """Return the leaf cell (level 30) of each point, equal to s2sphere's bit for bit.

    Parameters
    ----------
    lat, lng
        float64 ``(n,)``, degrees.
    threads
        How many threads share the work.

    Returns
    -------
    uint64 (n,)

    Raises
    ------
    InputError
        A coordinate is NaN, infinite or out of range, or the shapes differ.
    """
    lat = np.ascontiguousarray(lat, np.float64)
    lng = np.ascontiguousarray(lng, np.float64)
    if lat.ndim != 1 or lat.shape != lng.shape:
        raise InputError(f"expected two equally long lists, not shapes {lat.shape}, {lng.shape}")
    ids = np.empty(lat.shape, np.uint64)

    def work(start: int) -> None:
        chunk = slice(start, start + _CHUNK)
        valid = valid_coordinates(lat[chunk], lng[chunk])
        if not valid.all():
            row = start + int(np.argmin(valid))
            raise InputError(
                f"point {row}: ({lat[row]}, {lng[row]}) is not a latitude and longitude in degrees"
            )
        _leaf_ids_into(lat[chunk], lng[chunk], ids[chunk])

    starts = range(0, len(ids), _CHUNK)
    if threads == 1:
        for start in starts:
            work(start)
    else:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(work, starts))
    return ids


def _leaf_ids_into(lat: FloatArray, lng: FloatArray, out: Ids) -> None:
    phi, theta = np.radians(lat), np.radians(lng)
    flat = np.cos(phi)
    x, y, z = np.cos(theta) * flat, np.sin(theta) * flat, np.sin(phi)
    ax, ay, az = np.abs(x), np.abs(y), np.abs(z)
    on_x = (ax > ay) & (ax > az)
    on_y = ~on_x & (ay > az)
    # Each face's (u, v) is a quotient of two coordinates by the dominant one (S2's face frames).
    across = np.where(on_x, x, np.where(on_y, y, z))
    negative = across < 0
    face = np.where(on_x, 0, np.where(on_y, 1, 2)) + 3 * negative
    first = np.where(on_x, y, -x)
    second = np.where(on_x | on_y, z, -y)
    u = np.where(negative, second, first) / across
    v = np.where(negative, first, second) / across
    i, doubt_i = _leaf_coordinate(u)
    j, doubt_j = _leaf_coordinate(v)
    _hilbert(face, i, j, out)
    for index in np.flatnonzero(doubt_i | doubt_j):
        point = s2sphere.LatLng.from_degrees(float(lat[index]), float(lng[index]))
        out[index] = s2sphere.CellId.from_lat_lng(point).id()


def _leaf_coordinate(u: FloatArray) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return the leaf's index along one axis, and whether rounding might have decided it."""
    half_root = 0.5 * np.sqrt(1 + 3 * np.abs(u))
    scaled = np.where(u >= 0, half_root, 1 - half_root) * _SIDE
    index = scaled.astype(np.int64)
    doubt = np.abs(scaled - index - 0.5) > 0.5 - _DOUBT
    return np.minimum(index, _SIDE - 1), doubt


def _hilbert(face: NDArray[np.int64], i: NDArray[np.int64], j: NDArray[np.int64], out: Ids) -> None:
    """Write the leaf id of each (face, i, j)."""
    table, _ = _tables()
    mask = (1 << _BITS) - 1
    orientation = face & 1
    position = face
    for step in reversed(range(_STEPS)):
        shift = step * _BITS
        pair = (((i >> shift) & mask) << _BITS) | ((j >> shift) & mask)
        found = table[(pair << 2) | orientation]
        position = (position << (2 * _BITS)) | (found >> 2)
        orientation = found & 3
    np.left_shift(position, 1, out=position)
    np.bitwise_or(position, 1, out=out.view(np.int64))


@cache
def _tables() -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the Hilbert curve over `_BITS` levels: (i, j, orientation) → position, and back.

    Entries are ``value << 2 | orientation`` after the piece, for index ``value << 2 | orientation``
    before it; orientation is S2's: bit 0 swaps the axes, bit 1 inverts them.
    """
    child_ij = np.array([[0, 1, 3, 2], [0, 2, 3, 1], [3, 2, 0, 1], [3, 1, 0, 2]])
    child_turn = np.array([1, 0, 0, 3])
    count = 1 << (2 * _BITS)
    before = np.tile(np.arange(4), count)
    position = np.repeat(np.arange(count), 4)
    after, pair = before.copy(), np.zeros_like(before)
    for level in reversed(range(_BITS)):
        child = (position >> (2 * level)) & 3
        ij = child_ij[after, child]
        pair |= (ij >> 1) << (_BITS + level) | (ij & 1) << level
        after ^= child_turn[child]
    to_position, to_pair = np.empty(4 * count, np.int64), np.empty(4 * count, np.int64)
    to_position[pair << 2 | before] = position << 2 | after
    to_pair[position << 2 | before] = pair << 2 | after
    return to_position, to_pair


def lowest_bits(ids: Ids) -> Ids:
    """Return each id's lowest set bit, ``4 ** (30 - level)``."""
    return ids & (~ids + np.uint64(1))


def levels(ids: Ids) -> NDArray[np.int64]:
    """Return the level of each cell, int64, 0 (a face) to 30 (a leaf)."""
    # A power of two is exact in float64, and its exponent is twice the levels below it.
    _, exponent = np.frexp(lowest_bits(ids).astype(np.float64))
    return np.asarray(MAX_LEVEL - (exponent - 1) // 2, np.int64)


def is_valid(ids: Ids) -> NDArray[np.bool_]:
    """Return which ids are cells: face 0–5, and the lowest bit at an even index up to 60."""
    even_places = np.uint64(0x1555555555555555)
    return np.asarray((ids >> np.uint64(61) < FACES) & ((lowest_bits(ids) & even_places) != 0))


def parent_ids(ids: Ids, level: int) -> Ids:
    """Return the ancestor of each cell at a level that is not finer than any of them."""
    lowest = np.uint64(1 << (2 * (MAX_LEVEL - level)))
    return (ids & (~lowest + np.uint64(1))) | lowest


def ancestor_ids(ids: Ids, level: int) -> Ids:
    """Return the ancestor of each cell at a level; a cell that is coarser stays."""
    ancestors, fine = ids.copy(), levels(ids) > level
    ancestors[fine] = parent_ids(ids[fine], level)
    return ancestors


def child_ids(ids: Ids) -> Ids:
    """Return the four children of each cell above level 30, uint64 ``(n, 4)``, in curve order."""
    step = lowest_bits(ids) >> np.uint64(2)
    first = ids - np.uint64(3) * step
    odd = 2 * np.arange(4, dtype=np.uint64)
    return np.asarray(first[:, None] + odd * step[:, None], np.uint64)


def range_min(ids: Ids) -> Ids:
    """Return the first leaf inside each cell."""
    return ids - (lowest_bits(ids) - np.uint64(1))


def range_max(ids: Ids) -> Ids:
    """Return the last leaf inside each cell."""
    return ids + (lowest_bits(ids) - np.uint64(1))


def tokens(ids: Ids) -> list[str]:
    """Return each id as S2's text: hexadecimal without trailing zeros."""
    return [f"{number:016x}".rstrip("0") for number in ids.tolist()]


def id_from_token(token: str) -> int:
    """Return the id that a token spells; tokens are text, even where they look like numbers.

    Raises
    ------
    ValueError
        `token` is not 1–16 lower-case hexadecimal digits that spell a valid cell in its one
        canonical form.
    """
    if not 1 <= len(token) <= 16 or not set(token) <= set("0123456789abcdef"):
        raise ValueError(f"{token!r} is not an S2 token (1-16 lower-case hexadecimal digits)")
    number = int(token.ljust(16, "0"), 16)
    if not is_valid(np.array([number], np.uint64))[0]:
        raise ValueError(f"{token!r} is not the token of any S2 cell")
    if token[-1] == "0":
        raise ValueError(f"{token!r} ends in 0, which a token leaves out")
    return number


def centers(ids: Ids) -> tuple[FloatArray, FloatArray]:
    """Return the centre of each cell: latitudes and longitudes in degrees, float64 ``(n,)``."""
    face, i, j, size = _frames(ids)
    return _degrees(face, _uv(i + size / 2), _uv(j + size / 2))


def corners(ids: Ids) -> tuple[FloatArray, FloatArray]:
    """Return the four corners of each cell, counter-clockwise, in degrees, float64 ``(n, 4)``."""
    return outline(ids, 1)


def outline(ids: Ids, pieces: int) -> tuple[FloatArray, FloatArray]:
    """Return points along the edges of each cell, counter-clockwise from its first corner.

    Parameters
    ----------
    ids
        uint64 ``(n,)``.
    pieces
        How many pieces each edge is cut into; the edges are great circles.

    Returns
    -------
    float64 (n, 4 * pieces), float64 (n, 4 * pieces)
        Latitudes and longitudes, degrees; the ring is not closed.
    """
    face, i, j, size = _frames(ids)
    low_u, high_u, low_v, high_v = (_uv(edge)[:, None] for edge in (i, i + size, j, j + size))
    along = np.arange(pieces) / pieces
    up_u, up_v = low_u + along * (high_u - low_u), low_v + along * (high_v - low_v)
    down_u, down_v = high_u - along * (high_u - low_u), high_v - along * (high_v - low_v)
    flat = np.zeros_like(along)
    u = np.concatenate([up_u, high_u + flat, down_u, low_u + flat], axis=1)
    v = np.concatenate([low_v + flat, up_v, high_v + flat, down_v], axis=1)
    return _degrees(np.repeat(face[:, None], u.shape[1], axis=1), u, v)


def sphere_shares(ids: Ids) -> FloatArray:
    """Return the share of the sphere's area that each cell covers, float64 ``(n,)``.

    The solid angle of two triangles (A. Van Oosterom and J. Strackee, "The Solid Angle of a Plane
    Triangle", IEEE Trans. Biomed. Eng. 30, 1983). Over a rectangle of a cube's face their triple
    product is Δu·Δv, so nothing cancels, even for a leaf of 10⁻¹⁹.
    """
    _, i, j, size = _frames(ids)
    low_u, high_u, low_v, high_v = (_uv(edge) for edge in (i, i + size, j, j + size))
    one = np.ones_like(low_u)
    lower_left, upper_right = np.stack([one, low_u, low_v]), np.stack([one, high_u, high_v])
    others = np.stack([one, high_u, low_v]), np.stack([one, low_u, high_v])
    triple = (high_u - low_u) * (high_v - low_v)
    halves = [_half_solid_angle(lower_left, upper_right, other, triple) for other in others]
    return np.asarray((halves[0] + halves[1]) / (2 * np.pi))


def _half_solid_angle(
    a: FloatArray, b: FloatArray, c: FloatArray, triple: FloatArray
) -> FloatArray:
    norm_a, norm_b, norm_c = (np.sqrt((point * point).sum(axis=0)) for point in (a, b, c))
    ab, bc, ca = ((p * q).sum(axis=0) for p, q in ((a, b), (b, c), (c, a)))
    below = norm_a * norm_b * norm_c + ab * norm_c + bc * norm_a + ca * norm_b
    return np.asarray(np.arctan2(triple, below))


def _frames(
    ids: Ids,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return each cell's face, its lowest i and j in leaves, and its side in leaves."""
    _, table = _tables()
    mask = (1 << (2 * _BITS)) - 1
    face = (ids >> np.uint64(61)).astype(np.int64)
    curve = (range_min(ids) >> np.uint64(1)).view(np.int64)
    orientation = face & 1
    i, j = np.zeros_like(face), np.zeros_like(face)
    for step in reversed(range(_STEPS)):
        found = table[((curve >> (2 * _BITS * step)) & mask) << 2 | orientation]
        pair, orientation = found >> 2, found & 3
        i = i << _BITS | pair >> _BITS
        j = j << _BITS | pair & ((1 << _BITS) - 1)
    size = np.int64(1) << (MAX_LEVEL - levels(ids))
    return face, i & -size, j & -size, size


def _uv(leaves: NDArray[Any]) -> FloatArray:
    """Return the face coordinate u or v of a position in leaves (S2's quadratic transform)."""
    s = leaves / _SIDE
    return np.where(s >= 0.5, (4 * s * s - 1) / 3, (1 - 4 * (1 - s) ** 2) / 3)


def _degrees(
    face: NDArray[np.int64], u: FloatArray, v: FloatArray
) -> tuple[FloatArray, FloatArray]:
    one = np.ones_like(u)
    x = np.choose(face, [one, -u, -u, -one, v, v])
    y = np.choose(face, [u, one, -v, -v, -one, u])
    z = np.choose(face, [v, v, one, -u, -u, -one])
    return np.degrees(np.arctan2(z, np.hypot(x, y))), np.degrees(np.arctan2(y, x))
