"""The assets are all there, ask for nothing, and their colours can be read."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest

from locationnet.viz import assets

ALL = {
    "leaflet.js": assets.leaflet_script(),
    "leaflet.css": assets.leaflet_style(),
    "arcs.js": assets.script("arcs.js"),
    "shades.js": assets.script("shades.js"),
    "map.js": assets.script("map.js"),
    "answer.js": assets.script("answer.js"),
    "prior.js": assets.script("prior.js"),
    "panel.js": assets.script("panel.js"),
    "map.css": assets.style(),
    "page.html": assets.template(),
}


@pytest.mark.parametrize("name", ALL)
def test_an_asset_refers_to_no_other_file(name: str) -> None:
    text = ALL[name]
    assert len(text) > 500
    assert not re.search(r"@import|sourceMappingURL", text)
    references = re.findall(r"""(?:url\(|\ssrc=|\shref=)["']?([^"')\s]*)""", text)
    outside = [r for r in references if not r.startswith(("data:", "#"))]
    # Leaflet's own link, which we do not show; a link leads nowhere until someone follows it.
    assert [r for r in outside if "leafletjs.com" not in r] == []


@pytest.mark.parametrize(
    "name", [name for name in ALL if name.endswith(".js") and name != "leaflet.js"]
)
def test_our_scripts_never_build_markup_from_text(name: str) -> None:
    pattern = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function"
    assert re.findall(pattern, ALL[name]) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(
    ("text", "background"),
    [
        ("ink", "paper"),
        ("ink", "hover"),
        ("ink", "notice"),
        ("quiet", "paper"),
        ("link", "paper"),
        ("paper", "ink"),
        ("pin-ink", "pin"),
        ("pin-ink", "chosen"),
        ("country", "land"),
    ],
)
def test_text_has_the_contrast_of_wcag_aa(scheme: str, text: str, background: str) -> None:
    colours = _colours(scheme)
    assert _contrast(colours[text], colours[background]) >= 4.5


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(
    ("sign", "background"),
    [
        ("circle", "land"),
        ("circle", "sea"),
        ("truth", "land"),
        ("truth", "sea"),
        ("pin", "land"),
        ("focus", "paper"),
        ("bar-full", "paper"),
    ],
)
def test_signs_have_the_contrast_of_wcag_aa(scheme: str, sign: str, background: str) -> None:
    colours = _colours(scheme)
    assert _contrast(colours[sign], colours[background]) >= 3


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_cell_colours_are_told_apart_by_lightness_alone(scheme: str) -> None:
    """So a scale reads the same to every kind of colour vision."""
    colours = _colours(scheme)
    steps = [_luminance(colours[f"cell-{i}"]) for i in range(6)]
    ordered = steps if scheme == "dark" else steps[::-1]
    assert all((brighter + 0.05) / (darker + 0.05) > 1.2 for darker, brighter in pairwise(ordered))


def _colours(scheme: str) -> dict[str, str]:
    light, dark = re.findall(r":root \{(.*?)\}", assets.style(), re.DOTALL)
    return dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", light if scheme == "light" else dark))


def _luminance(colour: str) -> float:
    """Relative luminance as WCAG 2.2 defines it."""
    shares = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    linear = [s / 12.92 if s <= 0.04045 else ((s + 0.055) / 1.055) ** 2.4 for s in shares]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _contrast(one: str, other: str) -> float:
    darker, brighter = sorted((_luminance(one), _luminance(other)))
    return (brighter + 0.05) / (darker + 0.05)
