"""Photos of every format that phones and cameras write, whatever is wrong with their metadata."""

from __future__ import annotations

import io
import math
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from locationnet.errors import ImageError, ImageTooLargeError, install_command
from locationnet.heif import av1_pixels
from locationnet.image_formats import (
    is_photo_name,
    jpeg_segments,
    kind_of,
    kind_of_name,
    without_metadata,
)
from locationnet.images import (
    cropped,
    opaque,
    open_image,
    orientation,
    shrunk,
    upright,
    upright_box,
)
from locationnet.preprocess import Preprocessing, recipe_2017, tensor

Maker = Callable[..., bytes]
MIB = 1 << 20
TURNED = 6  # stored lying on its left side


def _corners(width: int, height: int) -> Image.Image:
    """Red left, green at the top right, blue at the bottom right."""
    image = Image.new("RGB", (width, height), (250, 0, 0))
    image.paste((0, 250, 0), (width // 2, 0, width, height // 2))
    image.paste((0, 0, 250), (width // 2, height // 2, width, height))
    return image


def _layout(image: Image.Image) -> str:
    """Name the colours of the four quarters: top left, top right, bottom left, bottom right."""
    small = np.asarray(image.convert("RGB").resize((4, 4), Image.Resampling.BOX), np.int16)
    return "".join("rgb"[int(small[row, column].argmax())] for row in (0, 3) for column in (0, 3))


UPRIGHT = "rgrb"


def _saved(image: Image.Image, form: str, **options: Any) -> bytes:
    if form == "HEIF":
        pytest.importorskip("pillow_heif").register_heif_opener()
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def _exif(turn: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = turn
    return exif


def _chunk(kind: bytes, body: bytes, *, broken: bool = False) -> bytes:
    check = zlib.crc32(kind + body) ^ broken
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", check)


def _segment(marker: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


# Metadata never stands between a photo and its pixels.

LARGE = zlib.compress(bytes(3 * MIB))
JUNK = bytes(range(256))
PNG_CHUNKS = {
    "profile of 3 MiB": _chunk(b"iCCP", b"p\0\0" + LARGE),
    "packed text of 3 MiB": _chunk(b"zTXt", b"k\0\0" + LARGE),
    "international text of 3 MiB": _chunk(b"iTXt", b"k\0\1\0\0\0" + LARGE),
    "XMP of 3 MiB": _chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + LARGE),
    "EXIF as packed text of 3 MiB": _chunk(b"zTXt", b"Raw profile type exif\0\0" + LARGE),
    "profile of nothing": _chunk(b"iCCP", b""),
    "profile packed otherwise": _chunk(b"iCCP", b"p\0\5abc"),
    "text packed otherwise": _chunk(b"zTXt", b"k\0\7abc"),
    "text that is cut": _chunk(b"iTXt", b"k\0"),
    "a wrong checksum": _chunk(b"tEXt", b"k\0v", broken=True),
    "EXIF with a wrong checksum": _chunk(b"eXIf", JUNK, broken=True),
    "EXIF of junk": _chunk(b"eXIf", JUNK),
    "short gamma": _chunk(b"gAMA", b"g"),
    "short resolution": _chunk(b"pHYs", b"g"),
    "short transparency": _chunk(b"tRNS", b""),
    "short primaries": _chunk(b"cHRM", b"ab"),
    "an animation of no frames": _chunk(b"acTL", bytes(8)),
    "an animation of 2 billion": _chunk(b"acTL", struct.pack(">II", 2**31 - 1, 0)),
    "half a frame control": _chunk(b"fcTL", b"ab"),
    "70 MB of text": b"".join(
        _chunk(b"tEXt", b"k%d\0" % number + bytes(1_000_000)) for number in range(70)
    ),
}


@pytest.mark.parametrize("name", list(PNG_CHUNKS))
@pytest.mark.parametrize("late", [False, True], ids=["before", "after"])
def test_no_chunk_beside_the_pixels_stops_a_png(name: str, late: bool) -> None:
    data = _saved(_corners(64, 48), "PNG")
    offset = len(data) - 12 if late else 33
    data = data[:offset] + PNG_CHUNKS[name] + data[offset:]
    assert _layout(shrunk(open_image(data), 32)) == UPRIGHT


JPEG_SEGMENTS = {
    "EXIF of junk": _segment(0xE1, b"Exif\0\0" + JUNK),
    "EXIF whose entries lie outside": _segment(0xE1, b"Exif\0\0II*\0\xff\xff\xff\x7f"),
    "EXIF of a thousand entries": _segment(0xE1, b"Exif\0\0MM\0*\0\0\0\x08\x03\xe8" + JUNK * 9),
    "EXIF of nothing": _segment(0xE1, b"Exif\0\0"),
    "half a profile": _segment(0xE2, b"ICC_PROFILE\0"),
    "16 MB of profile": b"".join(
        _segment(0xE2, b"ICC_PROFILE\0" + bytes((number, 255)) + bytes(65_000))
        for number in range(1, 256)
    ),
    "half an Adobe": _segment(0xEE, b"Adobe"),
    "half a JFIF": _segment(0xE0, b"JFIF"),
    "pictures that are not there": _segment(0xE2, b"MPF\0II*\0\x08\0\0\0\xff\xff" + JUNK),
    "Photoshop's junk": _segment(0xED, b"Photoshop 3.0\x008BIM" + JUNK),
    "XMP of junk": _segment(0xE1, b'http://ns.adobe.com/xap/1.0/\0<x tiff:Orientation="99">'),
    "a comment of markers": _segment(0xFE, b"\xff\xd8\xff\xc2" * 99),
}


@pytest.mark.filterwarnings("ignore:.*EXIF")  # Pillow says so in passing
@pytest.mark.parametrize("name", list(JPEG_SEGMENTS))
@pytest.mark.parametrize("offset", [2, 20], ids=["before JFIF", "after JFIF"])
def test_no_segment_beside_the_pixels_stops_a_jpeg(name: str, offset: int) -> None:
    data = _saved(_corners(64, 48), "JPEG")
    data = data[:offset] + JPEG_SEGMENTS[name] + data[offset:]
    assert _layout(shrunk(open_image(data), 32)) == UPRIGHT


@pytest.mark.filterwarnings("ignore:.*EXIF")
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "AVIF", "HEIF"])
@pytest.mark.parametrize("exif", [b"Exif\0\0" + JUNK, b"Exif\0\0II*\0\xff\xff\xff\x7f", b"x" * 99])
def test_broken_exif_says_nothing_about_the_pixels(form: str, exif: bytes) -> None:
    if form == "AVIF":  # which Pillow does not write, so a good one is spoilt
        good = _saved(_corners(64, 48), form, exif=b"Exif\0\0MM\0*\0\0\0\x08\0\0" + bytes(300))
        offset = good.index(b"MM\0*")
        data = good[:offset] + exif[6:][:300] + good[offset + len(exif[6:][:300]) :]
    else:
        data = _saved(_corners(64, 48), form, exif=exif)
    assert _layout(shrunk(open_image(data), 32)) == UPRIGHT


@pytest.mark.parametrize("form", ["WEBP", "AVIF", "HEIF"])
def test_profiles_and_xmp_of_megabytes_are_left_out(form: str) -> None:
    large = np.random.default_rng(0).bytes(5 * MIB)
    data = _saved(_corners(64, 48), form, icc_profile=large, xmp=large)
    assert len(data) > 10 * MIB
    image = open_image(data)
    assert sum(len(value) for value in image.info.values() if isinstance(value, bytes)) < MIB
    assert _layout(shrunk(image, 32)) == UPRIGHT


def test_a_webp_whose_last_metadata_is_cut_off_is_whole() -> None:
    data = _saved(_corners(64, 48), "WEBP", exif=_exif(1), xmp=bytes(1000))
    assert _layout(shrunk(open_image(data[:-500]), 32)) == UPRIGHT


@pytest.mark.parametrize("kept", [(), ("exif",), ("xmp",), ("exif", "xmp")])
def test_the_flags_of_a_webp_name_the_metadata_that_stays(kept: tuple[str, ...]) -> None:
    contents = {name: bytes(200) for name in (*kept, "icc_profile")}
    slim = without_metadata(_saved(_corners(64, 48), "WEBP", **contents), "WEBP")
    assert slim[12:16] == b"VP8X"
    assert slim[20] & 0x2C == 0x08 * ("exif" in kept) + 0x04 * ("xmp" in kept)
    for name, chunk in (("exif", b"EXIF"), ("xmp", b"XMP "), ("icc_profile", b"ICCP")):
        assert slim.count(chunk) == (name in kept)


def test_of_several_exif_in_a_jpeg_the_first_stays() -> None:
    first, second = (_segment(0xE1, _exif(turn).tobytes()) for turn in (TURNED, 3))
    data = _saved(_corners(64, 48), "JPEG")
    slim = without_metadata(data[:2] + first + second + data[2:], "JPEG")
    assert first in slim
    assert second not in slim
    assert orientation(open_image(slim)) == TURNED


def test_a_segment_of_a_jpeg_may_end_with_the_file_but_not_behind_it() -> None:
    comment = b"\xff\xd8" + _segment(0xFE, b"here")
    assert [segment.body for segment in jpeg_segments(comment)] == [b"here"]
    assert list(jpeg_segments(comment[:-1])) == []


def test_grey_of_16_bits_is_divided_not_clipped() -> None:
    grey = np.arange(1 << 16, dtype=np.uint16).reshape(256, 256)
    assert np.array_equal(np.asarray(opaque(Image.fromarray(grey)))[:, :, 0], grey // 257)


def test_the_first_picture_of_several_in_a_jpeg_is_read() -> None:
    other = Image.new("RGB", (64, 48), "white")
    data = _saved(_corners(64, 48), "MPO", save_all=True, append_images=[other])
    image = open_image(data)
    assert image.format == "JPEG"
    assert _layout(shrunk(image, 32)) == UPRIGHT


def test_an_animated_png_shows_its_first_frame() -> None:
    frames = [Image.new("RGB", (64, 48), colour) for colour in ("white", "black")]
    data = _saved(_corners(64, 48), "PNG", save_all=True, append_images=frames)
    assert _layout(shrunk(open_image(data), 32)) == UPRIGHT


# Which way up.


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "AVIF", "HEIF"])
@pytest.mark.parametrize("turn", range(1, 9))
def test_every_orientation_of_every_format_is_put_upright_once(form: str, turn: int) -> None:
    back = upright(_corners(96, 64), {6: 8, 8: 6}.get(turn, turn))
    image = shrunk(open_image(_saved(back, form, exif=_exif(turn).tobytes())), 32)
    assert image.size == (48, 32)
    assert _layout(image) == UPRIGHT


def test_exif_is_not_asked_where_a_heic_says_which_way_up_it_is() -> None:
    """As iPhones write it: the property turns, and EXIF says the same again."""
    data = _saved(upright(_corners(96, 64), 8), "HEIF", exif=_exif(TURNED).tobytes())
    image = open_image(data)
    assert image.size == (96, 64)
    assert orientation(image) == 1


def test_exif_kept_as_text_by_older_programs_is_read() -> None:
    raw = b"II*\0\x08\0\0\0\1\0\x12\1\3\0\1\0\0\0\6\0\0\0\0\0\0\0"
    text = b"\nexif\n%8d\n%s\n" % (len(raw) + 6, (b"Exif\0\0" + raw).hex().encode())
    data = _saved(upright(_corners(96, 64), 8), "PNG")
    for chunk in (
        _chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(text)),
        _chunk(b"tEXt", b"Raw profile type exif\0" + text),
        _chunk(b"eXIf", raw),
    ):
        assert _layout(shrunk(open_image(data[:33] + chunk + data[33:]), 32)) == UPRIGHT


BOXES = st.tuples(*[st.integers(0, 40)] * 2, *[st.integers(1, 20)] * 2)


@given(turn=st.integers(1, 8), box=BOXES)
def test_a_box_of_stored_pixels_is_turned_with_the_photo(
    turn: int, box: tuple[int, int, int, int]
) -> None:
    rows, columns = np.mgrid[0:60, 0:60]
    stored = Image.fromarray(np.dstack([rows * 4, columns * 4, rows * 0]).astype(np.uint8))
    left, top, right, bottom = box[0], box[1], box[0] + box[2], box[1] + box[3]
    shares = (left / 60, top / 60, right / 60, bottom / 60)
    expected = np.asarray(upright(stored.crop((left, top, right, bottom)), turn))

    def cut(*args: object, **options: bool) -> NDArray[np.uint8]:
        data = _saved(stored, "PNG", exif=_exif(turn))
        return np.asarray(cropped(open_image(data), *args, **options))  # type: ignore[arg-type]

    assert np.array_equal(cut(shares, None, of_stored=True), expected)
    assert np.array_equal(cut(upright_box(shares, turn), None), expected)


def test_a_small_part_of_a_large_photo_keeps_its_pixels() -> None:
    large = _corners(2400, 1600)
    image = open_image(_saved(large, "JPEG"))
    part = cropped(image, (0.4, 0.4, 0.6, 0.6), 64)
    assert part.size == (240, 160)  # 480 x 320, halved once while decoding
    assert _layout(part) == UPRIGHT


# How much is decoded.

HEADERS: dict[str, tuple[int, int, dict[str, Any], tuple[int, int]]] = {
    # Width, height, options: what the smallest scale that is enough is.
    "48 megapixels of a phone": (8064, 6048, {}, (1008, 756)),
    "108 megapixels": (12_000, 9_000, {}, (1500, 1125)),
    "200 megapixels": (16_384, 12_288, {}, (2048, 1536)),
    "progressive, 48 megapixels": (
        8064,
        6048,
        {"progressive": True, "subsampling": 0},
        (1008, 756),
    ),
    "progressive, 108 megapixels": (12_000, 9_000, {"progressive": True}, (1500, 1125)),
}


def _claiming(width: int, height: int, **options: Any) -> bytes:
    """A small JPEG whose frame header claims to be large; decoders fill up with grey."""
    mode = options.pop("mode", "RGB")
    data = bytearray(_saved(_corners(512, 512).convert(mode), "JPEG", **options))
    frame = data.index(b"\xff\xc2" if options.get("progressive") else b"\xff\xc0")
    data[frame + 5 : frame + 9] = struct.pack(">HH", height, width)
    return bytes(data)


@pytest.mark.parametrize("name", list(HEADERS))
def test_a_jpeg_of_any_size_is_decoded_as_small_as_is_enough(name: str) -> None:
    width, height, options, size = HEADERS[name]
    image = open_image(_claiming(width, height, **options))
    assert image.size == (width, height)
    how = Preprocessing("pillow", 224, 256, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    assert tensor(image, how).shape == (3, 224, 224)
    assert image.size == size


@pytest.mark.parametrize(
    ("width", "height", "options", "size"),
    [
        (8064, 6048, {}, (8064, 6048)),
        (8064, 6048, {"progressive": True}, (4032, 3024)),
        (8064, 6048, {"progressive": True, "subsampling": 0}, (2016, 1512)),
        (12_000, 9_000, {}, (6000, 4500)),
        (16_384, 12_288, {}, (8192, 6144)),
    ],
)
def test_the_2017_recipe_decodes_all_that_fits(
    width: int, height: int, options: dict[str, object], size: tuple[int, int]
) -> None:
    image = open_image(_claiming(width, height, **options))
    assert tensor(image, recipe_2017()).shape == (3, 224, 224)
    assert image.size == size


@pytest.mark.parametrize(
    ("width", "height", "options"),
    [
        (16_384, 12_288, {"progressive": True}),
        (11_000, 9_000, {"progressive": True, "subsampling": 0}),
        (65_500, 65_500, {}),
        (65_500, 65_500, {"progressive": True}),
        # Three of its four layers would fit: see the same size in RGB above.
        (8064, 6048, {"progressive": True, "subsampling": 0, "mode": "CMYK"}),
    ],
)
def test_a_jpeg_that_fits_at_no_scale_is_refused(
    width: int, height: int, options: dict[str, object]
) -> None:
    with pytest.raises(ImageTooLargeError, match=f"{width} x {height} pixels"):
        open_image(_claiming(width, height, **options))


@pytest.mark.parametrize(
    ("mode", "pixels"), [("L", 166_400_000), ("RGB", 55_300_000), ("CMYK", 41_600_000)]
)
def test_the_memory_of_a_progressive_jpeg_counts_each_of_its_layers(mode: str, pixels: int) -> None:
    # Two bytes a layer and pixel are kept whatever the scale, beside the pixels at an eighth of it.
    fits, too_large = (math.isqrt(int(pixels * share)) // 8 * 8 for share in (0.99, 1.01))
    options = {"mode": mode, "progressive": True} | ({} if mode == "L" else {"subsampling": 0})
    assert open_image(_claiming(fits, fits, **options)).mode == mode
    with pytest.raises(ImageTooLargeError):
        open_image(_claiming(too_large, too_large, **options))


def test_a_jpeg_in_a_scan_for_each_colour_costs_as_much_as_a_progressive_one() -> None:
    data = bytearray(_claiming(11_000, 9_000, subsampling=0))
    assert open_image(bytes(data)).size == (11_000, 9_000)
    scan = data.index(b"\xff\xda")
    data[scan + 2 : scan + 14] = struct.pack(">HBBBBBB", 8, 1, 1, 0, 0, 63, 0)
    with pytest.raises(ImageTooLargeError):
        open_image(bytes(data))


PEAK = """
import io, sys
from locationnet.images import open_image, shrunk
from PIL import Image
small = io.BytesIO()
Image.new("RGB", (64, 64)).save(small, sys.argv[2])
shrunk(open_image(small.getvalue()), 32)
data = open(sys.argv[1], "rb").read()
open("/proc/self/clear_refs", "w").write("5")
def held(field):
    return next(int(x.split()[1]) for x in open("/proc/self/status") if x.startswith(field))
before = held("VmRSS")
shrunk(open_image(data), 256)
print((held("VmHWM") - before) // 1024)
"""


@pytest.mark.parametrize(
    ("name", "most"),
    [
        ("48 megapixels of a phone", 64),
        ("200 megapixels", 64),
        ("progressive, 108 megapixels", 400),
    ],
)
def test_a_large_jpeg_takes_the_memory_of_what_is_decoded(
    name: str, most: int, tmp_path: Path
) -> None:
    width, height, options, _ = HEADERS[name]
    (tmp_path / "photo.jpg").write_bytes(_claiming(width, height, **options))
    command = [sys.executable, "-c", PEAK, str(tmp_path / "photo.jpg"), "JPEG"]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(answer.stdout) < most


# HEIC and AVIF.


@pytest.mark.parametrize("form", ["AVIF", "HEIF"])
def test_what_phones_write_today_is_read(form: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (32, 48, 3), np.uint8)
    smooth = Image.fromarray(noise).resize((480, 320), Image.Resampling.BICUBIC)
    image = shrunk(open_image(_saved(smooth, form, quality=90)), 320)
    assert np.abs(np.asarray(image, np.int16) - np.asarray(smooth)).mean() < 6


@pytest.mark.parametrize("form", ["AVIF", "HEIF"])
def test_of_several_images_the_primary_one_is_read(form: str) -> None:
    others = [Image.new("RGB", (96, 64), colour) for colour in ("white", "black")]
    data = _saved(_corners(96, 64), form, save_all=True, append_images=others)
    assert _layout(shrunk(open_image(data), 32)) == UPRIGHT
    if form == "HEIF":
        first = _saved(others[0], form, save_all=True, append_images=[_corners(96, 64)],
                       primary_index=1)  # fmt: skip
        assert _layout(shrunk(open_image(first), 32)) == UPRIGHT


@pytest.mark.parametrize("brand", [b"mif1", b"miaf", b"heim"])
def test_a_heic_is_known_by_any_of_its_brands(brand: bytes) -> None:
    data = _saved(_corners(96, 64), "HEIF")
    assert _layout(shrunk(open_image(data[:8] + brand + data[12:]), 32)) == UPRIGHT


@pytest.mark.parametrize(
    ("major", "minor", "compatible", "kind"),
    [
        (b"isom", b"avif", b"iso2", None),
        (b"isom", b"iso2", b"avif", "AVIF"),
        (b"mif1", bytes(4), b"miaf", "HEIF"),
        (b"isom", bytes(4), b"mif1", None),
    ],
)
def test_brands_are_read_where_they_stand(
    major: bytes, minor: bytes, compatible: bytes, kind: str | None
) -> None:
    assert kind_of(struct.pack(">I4s4s4s4s", 20, b"ftyp", major, minor, compatible)) == kind


@pytest.mark.parametrize("form", ["AVIF", "HEIF"])
def test_what_a_phone_appends_does_not_matter(form: str) -> None:
    data = _saved(_corners(96, 64), form) + b"SEFT no box at all"
    assert _layout(shrunk(open_image(data), 32)) == UPRIGHT


@pytest.mark.parametrize("form", ["AVIF", "HEIF"])
def test_an_image_that_is_cut_off_is_an_image_error(form: str) -> None:
    data = _saved(_corners(320, 240), form)
    for share in (0.02, 0.3, 0.6, 0.95):
        with pytest.raises(ImageError):
            shrunk(open_image(data[: int(len(data) * share)]), 32)


def _sized(data: bytes, now: tuple[int, int], claimed: tuple[int, int]) -> bytes:
    """Change the size that an AVIF's or HEIC's boxes claim; what is coded stays."""
    head = b"ispe" + bytes(4)
    before, after = head + struct.pack(">II", *now), head + struct.pack(">II", *claimed)
    assert before in data
    return data.replace(before, after)


@pytest.mark.parametrize(("form", "most"), [("AVIF", "24"), ("HEIF", "52")])
def test_a_size_beyond_the_limit_is_refused_by_the_header(form: str, most: str) -> None:
    data = _sized(_saved(_corners(320, 240), form), (320, 240), (9_000, 9_000))
    with pytest.raises(ImageTooLargeError, match=f"9000 x 9000 pixels; the limit is {most} mega"):
        open_image(data)


def test_an_avif_that_hides_its_size_is_refused() -> None:
    data = _saved(Image.new("RGB", (8_000, 8_000)), "AVIF", speed=10)
    with pytest.raises(ImageTooLargeError, match="more pixels than its header says"):
        open_image(_sized(data, (8_000, 8_000), (64, 64)))


def test_a_heic_that_hides_its_size_is_refused() -> None:
    data = _saved(Image.new("RGB", (1_000, 1_000)), "HEIF")
    with pytest.raises(ImageError):
        shrunk(open_image(_sized(data, (1_000, 1_000), (64, 64))), 32)


@settings(max_examples=30, deadline=None)
@given(width=st.integers(16, 300), height=st.integers(16, 300), clear=st.booleans())
def test_the_coded_size_of_an_avif_is_counted(width: int, height: int, clear: bool) -> None:
    image = Image.new("RGBA", (width, height), (0, 0, 0, 99 if clear else 255))
    data = _saved(image if clear else image.convert("RGB"), "AVIF", speed=10)
    assert av1_pixels(data) == width * height * (1 + clear)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_no_boxes_crash(data: st.DataObject) -> None:
    whole = bytearray(_saved(_corners(32, 32), "AVIF", speed=10))
    for _ in range(data.draw(st.integers(1, 6))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    with suppress(ImageError):
        assert shrunk(open_image(bytes(whole)), 32).mode == "RGB"


@pytest.mark.parametrize("form", ["AVIF", "HEIF"])
def test_a_colour_profile_stays_while_it_is_small(form: str) -> None:
    for size, kept in ((60_000, True), (70_000, False)):
        profile = np.random.default_rng(0).bytes(size)
        info = open_image(_saved(_corners(64, 48), form, icc_profile=profile)).info
        assert (info.get("icc_profile") == profile) == kept


def _box(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", 8 + len(body)) + kind + body


def _avif(stream: bytes, *, open_ended: bool = False) -> bytes:
    """An AVIF whose one item is a stream of AV1; its last box may reach to the end of the file."""
    start = _box(b"ftyp", b"avif" + bytes(4) + b"mif1") + _box(b"mdat", stream)
    where = struct.pack(">HHHHII", 1, 1, 0, 1, len(start) - len(stream), len(stream))
    item = _box(b"infe", b"\2\0\0\0" + struct.pack(">HH4s", 1, 0, b"av01") + b"\0")
    meta = _box(b"iloc", bytes(4) + b"\x44\0" + where)
    meta = bytes(4) + meta + _box(b"iinf", bytes(4) + b"\0\1" + item)
    return start + (b"\0\0\0\0meta" + meta if open_ended else _box(b"meta", meta))


def _sequence_header(width: int, height: int, before: str = "1" + "0" * 5) -> bytes:
    """A unit of AV1 (5.3, 5.5.1) with the bits that stand between the profile and the size."""
    wide, high = width.bit_length(), height.bit_length()
    bits = f"0001{before}{wide - 1:04b}{high - 1:04b}{width - 1:0{wide}b}{height - 1:0{high}b}"
    body = int(bits.ljust(-(-len(bits) // 8) * 8, "0"), 2).to_bytes(-(-len(bits) // 8), "big")
    return bytes([1 << 3 | 2, len(body)]) + body


def test_the_largest_picture_of_a_stream_counts_wherever_it_stands() -> None:
    small, large = _sequence_header(16, 8), _sequence_header(1000, 600)
    for stream in (small + large, large + small):
        assert av1_pixels(_avif(stream)) == 600_000


def test_a_last_box_without_a_size_reaches_to_the_end() -> None:
    assert av1_pixels(_avif(_sequence_header(1000, 600), open_ended=True)) == 600_000


@given(
    interval=st.integers(-1, 20), delay=st.integers(0, 32), display=st.booleans(),
    levels=st.lists(st.integers(0, 31), min_size=1, max_size=4), used=st.booleans(),
)  # fmt: skip
def test_all_that_stands_before_the_size_of_a_sequence_is_passed(
    interval: int, delay: int, display: bool, levels: list[int], used: bool
) -> None:
    """Timing, the decoder's model and operating points; ones wherever a value does not matter."""
    bits = "0"  # not reduced
    if delay == 0 and interval < 0:
        bits += "0"  # no timing_info
    else:
        bits += "1" + "1" * 64
        bits += "0" if interval < 0 else "1" + "0" * interval + "1" + "1" * interval
        bits += f"1{delay - 1:05b}" + "1" * 42 if delay else "0"
    bits += f"{display:b}{len(levels) - 1:05b}"
    for level in levels:
        bits += "1" * 12 + f"{level:05b}" + "1" * (level > 7)
        if delay:
            bits += "1" + "1" * (2 * delay + 1) if used else "0"
        if display:
            bits += "1" + "1" * 4 if used else "0"
    assert av1_pixels(_avif(_sequence_header(1000, 600, bits))) == 600_000


def test_without_the_extra_a_heic_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "photo.heic").write_bytes(_saved(_corners(96, 64), "HEIF"))
    code = (
        "import sys; sys.modules['pillow_heif'] = None\n"
        "from locationnet.cli import main\n"
        "sys.argv[1:1] = ['locate']; main()"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert answer.returncode == 1
    line = f"error: {tmp_path / 'photo.heic'}: reading HEIC needs an optional part: "
    assert answer.stderr == f"{line}{install_command('heic')}\n"


# Names.


@pytest.mark.parametrize(
    "name", ["a.JPG", "a.jpe", "a.jfif", "a.pjpeg", "a.png", "a.webp", "a.avif", "a.HEIC", "a.hif"]
)
def test_photos_go_by_many_names(name: str) -> None:
    assert is_photo_name(Path(name))


def test_what_is_no_photo_by_its_name_is_of_a_kind() -> None:
    kinds = {"a.TXT": ".txt", "IMG": "without a suffix", "._a.jpg": "hidden", ".DS_Store": "hidden"}
    for name, kind in kinds.items():
        assert not is_photo_name(Path(name))
        assert kind_of_name(Path(name)) == kind


# Limits of the other formats, and bytes that are no photo.


def _png_header(width: int, height: int) -> bytes:
    """A PNG that announces a size and holds almost nothing."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(bytes(1000)))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    ("width", "height"), [(13_000, 13_000), (6_325, 6_325), (2**31 - 1, 2**31 - 1), (40_000_001, 1)]
)
def test_more_than_forty_megapixels_are_refused_by_the_header(width: int, height: int) -> None:
    with pytest.raises(ImageTooLargeError):
        open_image(_png_header(width, height))


def test_forty_megapixels_pass_the_header() -> None:
    assert open_image(_png_header(8_000, 5_000)).size == (8_000, 5_000)


def test_a_webp_is_limited_to_sixteen_megapixels(make_photo: Maker) -> None:
    data = make_photo(size=(4_001, 4_000), form="WEBP", quality=1, method=0)
    with pytest.raises(ImageTooLargeError, match="16 megapixels"):
        open_image(data)


@pytest.mark.parametrize(
    "form", ["TIFF", "GIF", "BMP", "ICO", "PPM", "TGA", "JPEG2000", "EPS", "PDF"]
)
def test_other_formats_are_refused_whatever_they_are_called(form: str, make_photo: Maker) -> None:
    with pytest.raises(ImageError, match="not a JPEG, PNG, WebP, AVIF or HEIC"):
        open_image(make_photo(form=form))


def test_a_fits_file_is_refused() -> None:
    cards = [
        "SIMPLE  =                    T",
        "BITPIX  =                    8",
        "NAXIS   =  2",
        "END",
    ]
    data = "".join(card.ljust(80) for card in cards).ljust(2880).encode() + bytes(2880)
    with pytest.raises(ImageError):
        open_image(data)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "AVIF"])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.9])
def test_a_truncated_file_is_an_image_error(form: str, share: float, make_photo: Maker) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    data = make_photo(image=Image.fromarray(noise), form=form)
    with pytest.raises(ImageError):
        shrunk(open_image(data[: int(len(data) * share)]), 4)


@pytest.mark.filterwarnings("ignore:.*EXIF")  # Pillow says so in passing
@settings(max_examples=300, deadline=None)
@given(
    form=st.sampled_from(["JPEG", "PNG", "WEBP", "AVIF"]),
    flips=st.lists(st.tuples(st.integers(0, 10**6), st.integers(1, 255)), min_size=1, max_size=8),
)
def test_flipped_bits_end_in_pixels_or_an_image_error(
    form: str, flips: list[tuple[int, int]]
) -> None:
    buffer = io.BytesIO()
    _corners(20, 16).save(buffer, form)
    data = bytearray(buffer.getvalue())
    for position, mask in flips:
        data[position % len(data)] ^= mask
    try:
        image = shrunk(open_image(bytes(data)), 4)
    except ImageError:
        return
    assert image.mode == "RGB"


@given(st.binary(max_size=200))
def test_random_bytes_are_an_image_error(data: bytes) -> None:
    with pytest.raises(ImageError):
        shrunk(open_image(data), 4)
