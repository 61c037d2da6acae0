"""What is no photo is named by its bytes, and never mistaken for another."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from locationnet.file_kinds import AUDIO, PDF, SVG, TEXT, VIDEO, WEB_PAGE, other_kind


@pytest.mark.parametrize(
    ("form", "kind"),
    [
        ("GIF", "GIF"),
        ("BMP", "BMP"),
        ("ICO", "ICO"),
        ("TIFF", "TIFF"),
        ("JPEG2000", "JPEG 2000"),
        ("PDF", PDF),
        ("EPS", "PostScript"),
    ],
)
def test_what_pillow_writes_is_named(form: str, kind: str) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (32, 32)).save(buffer, form)
    assert kind in str(other_kind(buffer.getvalue()))


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"\xef\xbb\xbf \n<HTML lang=de>", WEB_PAGE),
        (b"<!-- saved --><head>", WEB_PAGE),
        (b"<script>1</script>", WEB_PAGE),
        (b"<html><body><svg/></body>", WEB_PAGE),
        (b'<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "x">\n<svg/>', SVG),
        (b"<parrot/>", "an XML document"),
        (b"<3 this photo", TEXT),
        (b"BMW drives here", TEXT),
        (b"feelfree", TEXT),
        (b"a < b", TEXT),
        (b"", TEXT),
        (b"\0\0\0\x14ftypqt  ", VIDEO),
        (b"\0\0\0\x08wide\0\0", VIDEO),
        (b"\0\0\0\x1cftypM4A ", AUDIO),
        (b"\0\0\0\x18ftypcrx ", "a camera's raw file"),
        (b"RIFF\0\0\0\0AVI LIST", VIDEO),
        (b"RIFF\0\0\0\0WAVEfmt ", AUDIO),
        (b"junk\n%PDF-1.4", PDF),
        (b"\xff" * 5000, None),
        (b"\x80\x81\0", None),
        ("ü".encode() * 2500, TEXT),  # cut within a letter
    ],
)
def test_the_bytes_say_what_they_are(data: bytes, kind: str | None) -> None:
    assert other_kind(data) == kind


@given(st.binary(max_size=200), st.text(max_size=40))
def test_whatever_comes_has_a_name_or_none(data: bytes, media_type: str) -> None:
    for start in (b"", b"<", b"<!--", b"<?", b"RIFF", b"\0\0\0\x20ftyp", b"\xff\xfe"):
        found = other_kind(start + data, media_type)
        assert found is None or found
