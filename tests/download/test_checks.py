"""What came instead of a photo, and what needs more than is installed here."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest
from PIL import Image

from locationnet.download.checks import check_pixels
from locationnet.download.failures import NEEDS_HEIC, DownloadError
from locationnet.download.journal import Entry, Journal
from locationnet.images import can_read_heic


def _heic() -> bytes:
    pytest.importorskip("pillow_heif").register_heif_opener()
    buffer = io.BytesIO()
    Image.new("RGB", (64, 48), (9, 99, 9)).save(buffer, "HEIF")
    return buffer.getvalue()


def test_what_phones_write_today_is_a_whole_photo() -> None:
    check_pixels(_heic())
    buffer = io.BytesIO()
    Image.new("RGB", (64, 48)).save(buffer, "AVIF")
    check_pixels(buffer.getvalue())
    with pytest.raises(DownloadError):
        check_pixels(buffer.getvalue()[:-20])


def test_a_heic_without_the_extra_says_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    heic = _heic()
    monkeypatch.setitem(sys.modules, "pillow_heif.as_plugin", None)
    with pytest.raises(DownloadError, match=r"pip install 'locationnet\[heic\] @ git") as caught:
        check_pixels(heic)
    assert caught.value.reason == NEEDS_HEIC
    assert caught.value.tries == 1


def test_it_is_asked_for_again_once_the_extra_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pillow_heif")
    with Journal(tmp_path / "journal") as journal:
        journal.note("a.jpg", Entry(NEEDS_HEIC, source="urls"))
        assert not journal.is_final("a.jpg", lambda _: "urls")
        can_read_heic.cache_clear()
        with monkeypatch.context() as without:
            without.setitem(sys.modules, "pillow_heif.as_plugin", None)
            assert journal.is_final("a.jpg", lambda _: "urls")
        can_read_heic.cache_clear()
