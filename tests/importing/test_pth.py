"""Files of tensors as PyTorch writes them, and files that only look like it."""

from __future__ import annotations

import io
import pickle
import pickletools
import zipfile
from collections.abc import Callable, Iterator
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from locationnet.errors import InputError
from locationnet.importing.pth import read_pth

WEIGHTS = Path(str(distribution("geoclip").locate_file("geoclip/model/weights")))
# Protocol 2, as PyTorch writes it: a storage of four float32 called 0.
STORAGE = (
    b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x04tQ"
)
REBUILD = b"ctorch._utils\n_rebuild_tensor_v2\n"
HOOKS = b"ccollections\nOrderedDict\n)R"


def tensor(
    offset: bytes = b"K\x00", shape: bytes = b"K\x02K\x02", strides: bytes = b"K\x02K\x01"
) -> bytes:
    """Return the pickle of a tensor of four numbers, without its head and its end."""
    return (
        REBUILD
        + b"("
        + STORAGE
        + offset
        + b"("
        + shape
        + b"t("
        + strides
        + b"t\x89"
        + HOOKS
        + b"tR"
    )


def file_of(
    content: bytes,
    numbers: bytes = np.arange(4, dtype="<f4").tobytes(),
    compression: int = zipfile.ZIP_STORED,
    **more: bytes,
) -> io.BytesIO:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", compression) as archive:
        archive.writestr("weights/data.pkl", content)
        archive.writestr("weights/data/0", numbers)
        for name, text in more.items():
            archive.writestr(f"weights/{name}", text)
    made.seek(0)
    return made


def test_the_weights_of_geoclip_are_read() -> None:
    with (WEIGHTS / "image_encoder_mlp_weights.pth").open("rb") as file:
        head = read_pth(file, "head")
    assert {name: tensor.shape for name, tensor in head.items()} == {
        "0.weight": (768, 768), "0.bias": (768,), "2.weight": (512, 768), "2.bias": (512,),
    }  # fmt: skip
    assert all(tensor.dtype == np.float32 for tensor in head.values())
    with (WEIGHTS / "logit_scale_weights.pth").open("rb") as file:
        scale = read_pth(file, "scale")[""]
    assert scale.shape == ()
    assert np.exp(scale) == pytest.approx(39.687, abs=1e-3)


def test_shapes_and_strides_are_kept() -> None:
    turned = read_pth(file_of(b"\x80\x02" + tensor(strides=b"K\x01K\x02") + b"."), "file")[""]
    assert turned.tolist() == [[0, 2], [1, 3]]
    part = tensor(offset=b"K\x01", shape=b"K\x03", strides=b"K\x01")
    assert read_pth(file_of(b"\x80\x02" + part + b"."), "file")[""].tolist() == [1, 2, 3]


def test_a_state_dict_with_parameters_and_notes_is_read() -> None:
    """As `torch.save(model.state_dict())` writes it: an OrderedDict that has an attribute."""
    parameter = b"ctorch._utils\n_rebuild_parameter\n(" + tensor() + b"\x88" + HOOKS + b"tR"
    content = (
        b"\x80\x02" + HOOKS + b"(X\x01\x00\x00\x00a" + tensor() + b"X\x01\x00\x00\x00b" + parameter
        + b"u}X\x09\x00\x00\x00_metadata" + HOOKS + b"sb."
    )  # fmt: skip
    found = read_pth(file_of(content, byteorder=b"little"), "file")
    assert {name: tensor.shape for name, tensor in found.items()} == {"a": (2, 2), "b": (2, 2)}


class _Runs:
    """What a hostile pickle is made of."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self._call = function, arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self._call


@pytest.mark.parametrize("protocol", [0, 1, 2, 4])
def test_nothing_that_a_pickle_asks_for_is_run(protocol: int, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    calls = [
        _Runs(Path(trace).touch),
        _Runs(eval, f"open({str(trace)!r}, 'w')"),
        _Runs(exec, f"open({str(trace)!r}, 'w')"),
        _Runs(getattr, 1, "real"),
    ]
    for call in calls:
        with pytest.raises(InputError, match=r"file: asks for .*which no file of tensors needs"):
            read_pth(file_of(pickle.dumps({"a": call}, protocol)), "file")
    assert not trace.exists()


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"cos\nsystem\n(X\x04\x00\x00\x00truetR.", "asks for os.system"),
        (b"ctorch\nload\n.", "asks for torch.load"),
        (b"ctorch._utils\n_rebuild_tensor\n.", "asks for torch._utils._rebuild_tensor,"),
        (b"ccollections\nOrderedDict.update\n.", "asks for collections.OrderedDict.update"),
        (b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93.", "asks for"),
        (b"ctorch\nBFloat16Storage\n.", "asks for torch.BFloat16Storage"),
        (tensor(offset=b"K\x01") + b".", "reaches beyond its numbers"),
        (tensor(shape=b"K\x03K\x02") + b".", "reaches beyond its numbers"),
        (tensor(strides=b"K\x08K\x01") + b".", "reaches beyond its numbers"),
        # A stride of 0 would make an array of any size out of one number.
        (tensor(shape=b"J\xff\xff\xff\x7fK\x01", strides=b"K\x00K\x00") + b".", "beyond its"),
        (tensor(offset=b"J\xff\xff\xff\xff") + b".", "shape is not valid"),
        (tensor(strides=b"J\xff\xff\xff\xffK\x01") + b".", "shape is not valid"),
        (tensor(shape=b"K\x02") + b".", "shape is not valid"),
        (tensor(shape=b"\x88\x88") + b".", "shape is not valid"),
        (REBUILD + b"(X\x01\x00\x00\x00aK\x00))\x89" + HOOKS + b"tR.", "shape is not valid"),
        (b"}X\x01\x00\x00\x00aK\x01s.", "something else than tensors by name"),
        (b"}K\x01" + tensor() + b"s.", "something else than tensors by name"),
        (b"K\x01.", "something else than tensors by name"),
        (HOOKS + b"K\x01b.", "not a file of tensors"),
        (STORAGE.replace(b"storage", b"another") + b".", "something else than tensors"),
        (STORAGE.replace(b"K\x04", b"K\x05") + b".", "not as many as it says"),
        (STORAGE.replace(b"X\x01\x00\x00\x000", b"X\x04\x00\x00\x00../0") + b".", "something else"),
        (STORAGE.replace(b"X\x01\x00\x00\x000", b"X\x01\x00\x00\x009") + b".", "not a file of"),
        # Such a number made the unpickler reserve gigabytes.
        (b"Nr\xff\xff\xff\x7f.", "not a file of tensors"),
        (b"", "not a file of tensors"),
        (b"N", "not a file of tensors"),
    ],
)  # fmt: skip
def test_what_is_no_file_of_tensors_is_said_in_one_line(content: bytes, why: str) -> None:
    with pytest.raises(InputError) as raised:
        read_pth(file_of(content), "some.pth")
    assert str(raised.value).startswith("some.pth: ")
    assert why in str(raised.value)
    assert "\n" not in str(raised.value)


def test_an_attribute_of_ours_cannot_be_set() -> None:
    """The operator BUILD sets attributes of whatever it is given."""
    for target in (REBUILD, b"ccollections\nOrderedDict\n", b"ctorch\nFloatStorage\n"):
        state = b"(N}X\x08\x00\x00\x00__name__X\x01\x00\x00\x00xst"
        with pytest.raises(InputError, match="not a file of tensors"):
            read_pth(file_of(target + state + b"b."), "file")


def test_what_is_compressed_is_not_unpacked() -> None:
    bomb = file_of(
        b"\x80\x02" + tensor() + b".", np.zeros(4, "<f4").tobytes(), zipfile.ZIP_DEFLATED
    )
    with pytest.raises(InputError, match="not as many as it says"):
        read_pth(bomb, "file")
    long = b"\x80\x02X\x00\x00\x20\x00" + bytes(1 << 21) + b"."
    with pytest.raises(InputError, match="far more than names and shapes"):
        read_pth(file_of(long, compression=zipfile.ZIP_DEFLATED), "file")


def test_other_zips_and_no_zips_are_refused() -> None:
    other = io.BytesIO()
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("readme.txt", "hello")
    other.seek(0)
    for content in (other, io.BytesIO(b"no zip"), io.BytesIO(b"")):
        with pytest.raises(InputError, match="not a file of tensors"):
            read_pth(content, "file")
    big = file_of(b"\x80\x02" + tensor() + b".", byteorder=b"big")
    with pytest.raises(InputError, match="big-endian"):
        read_pth(big, "file")


def mutations(content: bytes) -> Iterator[bytes]:
    for position in range(len(content)):
        yield content[:position] + bytes([content[position] ^ 0x55]) + content[position + 1 :]
        yield content[:position]


def test_a_damaged_pickle_is_read_or_refused() -> None:
    whole = b"\x80\x02}X\x01\x00\x00\x00a" + tensor() + b"s."
    assert list(pickletools.genops(whole))
    for content in mutations(whole):
        try:
            found = read_pth(file_of(content), "file")
        except InputError as error:
            assert "\n" not in str(error)
        else:
            assert all(isinstance(one, np.ndarray) for one in found.values())


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    for file in (io.BytesIO(content), file_of(content)):
        with pytest.raises(InputError):
            read_pth(file, "file")
