"""The reader of MXNet's arrays: against MXNet's own, for every version, and on hostile files."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from locationnet.errors import InputError
from locationnet.importing.ndarray_list import read_arrays
from locationnet.train.compat import mx

FLOATS = np.arange(6, dtype="<f4").reshape(2, 3)
CPU, GPU = (1, 0), (2, 3)


def version_0(array: NDArray[Any] = FLOATS, device: tuple[int, int] = CPU) -> bytes:
    shape = struct.pack(f"<{1 + array.ndim}I", array.ndim, *array.shape)
    return shape + struct.pack("<3i", *device, 0) + array.tobytes()


def version_1(array: NDArray[Any] = FLOATS, device: tuple[int, int] = CPU) -> bytes:
    shape = struct.pack(f"<Ii{array.ndim}q", 0xF993FAC8, array.ndim, *array.shape)
    return shape + struct.pack("<3i", *device, 0) + array.tobytes()


def version_2(shape: tuple[int, ...] = (2, 3), stype: int = 0, kind: int = 0) -> bytes:
    head = struct.pack(f"<Iii{len(shape)}q", 0xF993FAC9, stype, len(shape), *shape)
    return head + struct.pack("<3i", *CPU, kind) + FLOATS.tobytes()


def listed(*arrays: bytes, names: tuple[bytes, ...] = (b"arg:x",)) -> bytes:
    texts = b"".join(struct.pack("<Q", len(name)) + name for name in names)
    counts = struct.pack("<QQQ", 0x112, 0, len(arrays))
    return counts + b"".join(arrays) + struct.pack("<Q", len(names)) + texts


@pytest.mark.parametrize("write", [version_0, version_1], ids=["before 0.11", "0.11"])
@pytest.mark.parametrize("device", [CPU, GPU], ids=["cpu", "gpu"])
def test_arrays_of_old_versions_are_read_as_mxnet_reads_them(
    tmp_path: Path, write: Callable[..., bytes], device: tuple[int, int]
) -> None:
    path = tmp_path / "old.params"
    path.write_bytes(listed(write(device=device), write(FLOATS[0]), names=(b"arg:x", b"aux:y")))
    found, expected = read_arrays(path), mx.nd.load(str(path))
    assert list(found) == ["arg:x", "aux:y"]
    for name, array in found.items():
        assert np.array_equal(array, expected[name].asnumpy())


kinds = st.sampled_from(["float32", "float64", "float16", "uint8", "int8", "int32", "int64"])
shapes = st.lists(st.integers(1, 4), min_size=1, max_size=5).map(tuple)


@given(st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=9), st.tuples(kinds, shapes)))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_what_mxnet_writes_is_read(
    tmp_path: Path, wanted: dict[str, tuple[str, tuple[int, ...]]]
) -> None:
    random = np.random.default_rng(0)
    arrays = {
        # A name goes to MXNet as a C string.
        name.replace("\0", ""): random.integers(0, 100, shape).astype(kind)
        for name, (kind, shape) in wanted.items()
    }
    path = tmp_path / "any.params"
    mx.nd.save(str(path), {name: mx.nd.array(a, dtype=a.dtype) for name, a in arrays.items()})
    found = read_arrays(path)
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype
        assert np.array_equal(found[name], array)


def test_arrays_of_numpy_s_shapes_are_read(tmp_path: Path) -> None:
    path = tmp_path / "np.params"
    with mx.util.np_shape(True):
        arrays = {"number": mx.nd.ones(()), "nothing": mx.nd.ones((0, 3)), "row": mx.nd.ones((2,))}
        arrays["flags"] = arrays["row"].astype("bool")
        mx.nd.save(str(path), arrays)
    found = read_arrays(path)
    assert [array.shape for array in found.values()] == [(), (0, 3), (2,), (2,)]
    assert found["number"] == 1
    assert found["flags"].dtype == bool


def test_a_file_cut_off_anywhere_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "cut.params"
    whole = listed(version_2(), version_1(), version_0(), names=(b"a", b"b", b"c"))
    path.write_bytes(whole)
    assert list(read_arrays(path)) == ["a", "b", "c"]
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(
            InputError, match=r"cut\.params: (empty|not a list|cut off|3 arrays|arr)"
        ):
            read_arrays(path)


@given(st.integers(0, 150), st.binary(min_size=1, max_size=8))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_a_damaged_file_is_read_or_one_line(tmp_path: Path, place: int, damage: bytes) -> None:
    path = tmp_path / "damaged.params"
    whole = listed(version_2(), version_1(), version_0(), names=(b"a", b"b", b"c"))
    place = min(place, len(whole) - len(damage))
    path.write_bytes(whole[:place] + damage + whole[place + len(damage) :])
    try:
        arrays = read_arrays(path)
    except InputError as error:
        assert str(error).startswith(f"{path}: ")
    else:
        assert len(arrays) == 3
        assert sum(array.nbytes for array in arrays.values()) <= len(whole)


HUGE = 2**62
BROKEN = {
    "not a list of MXNet's arrays": b"\x89PNG\r\n\x1a\n" + bytes(40),
    "empty, not a list": b"",
    "it says 4611686018427387904 arrays": struct.pack("<QQQ", 0x112, 0, HUGE),
    "1 arrays with 0 names": listed(version_2(), names=()),
    "array 1 is sparse": listed(version_2(stype=1)),
    "array 1 is of the unknown type 99": listed(version_2(kind=99)),
    "cut off or damaged in array 1 of shape": listed(version_2((HUGE, HUGE))),
    "array 1 is damaged: its shape is": listed(version_2((-2, -3))),
    "array 1 is damaged: array is too big": listed(version_2((0, HUGE))[:-24]),
    "array 1 is damaged, or of an unknown version": listed(struct.pack("<I", 0xF993FACB)),
    "name 1 is not UTF-8": listed(version_2(), names=(b"\xff\xfe",)),
    "two arrays are called a": listed(version_2(), version_2(), names=(b"a", b"a")),
    "3 bytes follow after its last name": listed(version_2()) + b"end",
}


@pytest.mark.parametrize("message", BROKEN)
def test_a_hostile_file_is_one_line(tmp_path: Path, message: str) -> None:
    path = tmp_path / "x.params"
    path.write_bytes(BROKEN[message])
    with pytest.raises(InputError, match=f"x.params: .*{message}"):
        read_arrays(path)


def test_what_is_no_file_is_one_line(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none.params"):
        with pytest.raises(InputError, match="cannot be read"):
            read_arrays(path)
