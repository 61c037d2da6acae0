"""Photos as cameras write them: small real files with EXIF times and positions."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

MakePhoto = Callable[..., Path]


@pytest.fixture
def make_photo() -> MakePhoto:
    """Write a photo of which no two are the same file."""
    shades = itertools.count()

    def make(
        path: Path,
        time: str | None = None,
        place: tuple[float, float] | None = None,
        *,
        zone: str = "",
        camera: str = "Phone",
        serial: str = "",
        gps: dict[int, object] | None = None,
        form: str = "JPEG",
    ) -> Path:
        exif = Image.Exif()
        exif[0x0110] = camera
        own = exif.get_ifd(0x8769)
        if time is not None:
            own[0x9003] = time
        if zone:
            own[0x9011] = zone
        if serial:
            own[0xA431] = serial
        satellites = exif.get_ifd(0x8825)
        if place is not None:
            lat, lng = place
            satellites |= {1: "N" if lat >= 0 else "S", 2: _parts(lat)}
            satellites |= {3: "E" if lng >= 0 else "W", 4: _parts(lng)}
        satellites.update(gps or {})
        path.parent.mkdir(parents=True, exist_ok=True)
        shade = next(shades)
        image = Image.new("RGB", (16, 12), (shade % 256, shade // 256 % 256, 99))
        image.save(path, form, exif=exif)
        return path

    return make


def _parts(degrees: float) -> tuple[float, float, float]:
    degrees = abs(degrees)
    minutes = degrees % 1 * 60
    return float(int(degrees)), float(int(minutes)), minutes % 1 * 60
