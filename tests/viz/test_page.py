"""The page in a real Chromium: it draws, asks for nothing, and obeys keyboard, phone and night."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from locationnet.geo import s2
from locationnet.model.prediction import Evidence, Prediction
from locationnet.model.summary import ABSTAINED, WHAT_HELPS, percent_text, times_text
from locationnet.viz import lift_scale
from locationnet.viz.html import MapItem, write_map

# A machine with other work takes its time.
expect.set_options(timeout=20_000)

Predict = Callable[..., Prediction]
Open = Callable[..., Any]
HOSTILE = ["<img src=x onerror=window.hacked=1>.jpg", "</script><script>window.hacked=1</script>"]
DESKTOP = {"width": 1280, "height": 800}
PHONE = {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def demo_page(tmp_path_factory: pytest.TempPathFactory, predict: Predict) -> Path:
    """Several photos of a demo: one seen clearly, one in Fiji, two with hostile names."""
    seen = (Evidence("volcano", 0.91, 1.25), Evidence("lake shore", 0.06, 0.1))
    items = [
        MapItem("etna.jpg", predict(37.7, 15.0, evidence=seen), (37.75, 14.99)),
        MapItem("fiji.jpg", predict(-17.8, 179.5), (-41.3, 174.8)),
        MapItem(HOSTILE[0], predict(0.0, 0.0, km=1e6, threshold=0.5)),
        MapItem(HOSTILE[1], predict(64.0, -22.0)),
    ]
    path = tmp_path_factory.mktemp("demo") / "map.html"
    write_map(path, items, prior=predict(45.0, 0.0, km=4000.0))
    return path


@pytest.fixture(scope="module")
def plain_page(tmp_path_factory: pytest.TempPathFactory, predict: Predict) -> Path:
    """One photo of a bundle that is no demo, truth unknown."""
    path = tmp_path_factory.mktemp("plain") / "map.html"
    write_map(path, [MapItem("paris.jpg", predict(48.9, 2.3))])
    return path


def _zoom(page: Page) -> float:
    """Kilometres of the scale bar, in pixels: grows as the map zooms in."""
    bar = page.locator(".leaflet-control-scale-line")
    kilometres = float(str(bar.text_content()).split()[0]) * (
        1 if "km" in str(bar.text_content()) else 0.001
    )
    box = bar.bounding_box()
    assert box is not None
    return box["width"] / kilometres


def _colours(page: Page, pane: str, within: str = "#map") -> set[str]:
    """Return the opaque colours on a canvas of the map."""
    found = page.evaluate(
        """([pane, within]) => {
          const canvas = document.querySelector(`${within} .leaflet-${pane}-pane canvas`);
          const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
          const colours = new Set();
          for (let i = 0; i < data.length; i += 4 * 97) {
            if (data[i + 3] === 255) {
              colours.add("#" + [0, 1, 2].map((k) => data[i + k].toString(16).padStart(2, "0"))
                .join(""));
            }
          }
          return [...colours];
        }""",
        [pane, within],
    )
    return set(found)


def _inked(page: Page, pane: str, within: str = "#map") -> bool:
    """Return whether anything is drawn on a canvas of the map."""
    return bool(
        page.evaluate(
            """([pane, within]) => {
              const canvas = document.querySelector(`${within} .leaflet-${pane}-pane canvas`);
              const all = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
              return all.data.some((value) => value > 0);
            }""",
            [pane, within],
        )
    )


def _variable(page: Page, name: str) -> str:
    return str(
        page.evaluate(
            "(name) => getComputedStyle(document.body).getPropertyValue(name).trim()", name
        )
    )


def test_the_page_draws_without_asking_for_anything(visit: Open, demo_page: Path) -> None:
    visited = visit(demo_page, viewport=DESKTOP)
    page = visited.page
    markers = page.locator(".marker .pin-rank")
    expect(markers).to_have_count(5)
    area = page.locator("#map").bounding_box()
    assert area is not None
    for i in range(5):
        box = markers.nth(i).bounding_box()
        assert box is not None
        assert area["x"] <= box["x"] <= area["x"] + area["width"] - box["width"]
        assert area["y"] <= box["y"] <= area["y"] + area["height"] - box["height"]
    expect(page.locator(".marker .pin-best")).to_have_count(1)
    expect(page.locator(".marker .pin-truth")).to_have_count(1)
    assert _variable(page, "--land") in _colours(page, "land")
    assert _inked(page, "lines")
    assert _inked(page, "cells")
    assert visited.requests == [demo_page.as_uri()]
    visited.assert_quiet()


def test_the_panel_says_what_was_found(visit: Open, demo_page: Path, predict: Predict) -> None:
    page = visit(demo_page, viewport=DESKTOP).page
    answer = predict(37.7, 15.0)
    entries = page.locator(".place")
    expect(entries).to_have_count(5)
    first = entries.first
    expect(first).to_contain_text(answer.places[0].name)
    expect(first).to_contain_text(f"{answer.places[0].lat:.4f}, {answer.places[0].lng:.4f}")
    expect(first.locator(".place-lift")).to_have_text(
        times_text(answer.places[0].lift, before=True)
    )
    bars = page.locator(".bar > span").evaluate_all(
        "bars => bars.map((bar) => bar.offsetWidth / bar.parentElement.offsetWidth)"
    )
    assert max(bars) < 0.1, "a bar is a share of all, not of the first place"
    explained = page.locator("#explanation")
    expect(explained).to_contain_text("The photo shows: volcano, lake shore → ")
    panel = page.locator("#panel")
    assert "bits" not in panel.inner_text(), "words come before numbers that need explaining"
    page.locator("#details summary").click()
    expect(panel).to_contain_text(f"{answer.information_bits:.2f} bits")
    expect(page.get_by_role("row", name="volcano 91 % 1.3 bits")).to_have_count(0)
    expect(page.get_by_role("row", name="volcano 91 % 1.25 bits")).to_be_visible()
    expect(page.locator("#details")).to_contain_text(answer.places[0].cell)
    expect(page.locator("#demo")).to_contain_text("Demo model")
    expect(page.locator(".prior-places li")).to_have_count(5)
    expect(page.locator(".truth")).to_contain_text("from the best point")
    expect(page.locator("#abstained")).to_have_count(0)
    link = first.get_by_role("link")
    assert str(link.get_attribute("href")).startswith("https://www.openstreetmap.org/?mlat=")
    assert "noreferrer" in str(link.get_attribute("rel"))


def test_what_there_is_not_is_left_out_or_said(visit: Open, plain_page: Path) -> None:
    visited = visit(plain_page, viewport=DESKTOP)
    page = visited.page
    expect(page.locator(".photo-name")).to_have_text("paris.jpg")
    for absent in (
        "#demo",
        ".prior",
        ".truth",
        ".selector",
        "#abstained",
        ".pin-truth >> visible=true",
    ):
        expect(page.locator(absent)).to_have_count(0)
    expect(page.locator("#panel")).to_contain_text("names nothing in this photo as its reason")
    visited.assert_quiet()


def test_a_page_without_photos_says_so(visit: Open, tmp_path: Path) -> None:
    write_map(tmp_path / "map.html", [])
    visited = visit(tmp_path / "map.html", viewport=DESKTOP)
    expect(visited.page.locator("#panel")).to_contain_text("There are no photos to show")
    visited.assert_quiet()


def test_the_keyboard_alone_moves_between_places_and_photos(visit: Open, demo_page: Path) -> None:
    visited = visit(demo_page, viewport=DESKTOP)
    page = visited.page
    far = _zoom(page)
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.classList.contains('place-button')"):
            break
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowUp")
    focused = "Number(document.activeElement.closest('.place')?.dataset.rank)"
    assert page.evaluate(focused) == 2
    page.keyboard.press("End")
    assert page.evaluate(focused) == 5
    page.keyboard.press("Enter")
    expect(page.locator(".place.chosen")).to_have_attribute("data-rank", "5")
    expect(page.locator(".place.chosen button").first).to_have_attribute("aria-current", "true")
    expect(page.locator(".marker.chosen")).to_have_text("5")
    assert _zoom(page) > far
    page.locator("#photo-next").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#photo-list")).to_have_value("1")
    assert page.evaluate("document.activeElement.id") == "photo-next"
    expect(page.locator("#status")).to_have_text("Photo 2 of 4: fiji.jpg")
    page.locator("#photo-list").focus()
    page.keyboard.press("End")
    expect(page.locator("#photo-list")).to_have_value("3")
    expect(page.locator("#photo-next")).to_be_disabled()
    visited.assert_quiet()


def test_a_marker_answers_to_mouse_and_enter(visit: Open, demo_page: Path) -> None:
    page = visit(demo_page, viewport=DESKTOP).page
    page.locator(".marker", has=page.locator("text='4'")).dispatch_event("click")
    expect(page.locator(".place.chosen")).to_have_attribute("data-rank", "4")
    page.locator("#show-all").click()
    page.locator(".marker[aria-label^='3. ']").focus()
    page.keyboard.press("Enter")
    expect(page.locator(".place.chosen")).to_have_attribute("data-rank", "3")


def test_hostile_file_names_are_only_text(visit: Open, demo_page: Path) -> None:
    visited = visit(demo_page, viewport=DESKTOP)
    page = visited.page
    for number, name in enumerate(HOSTILE, 2):
        page.locator("#photo-list").select_option(str(number))
        assert page.locator("#photo-list option:checked").text_content() == name
        expect(page.locator("#status")).to_have_text(f"Photo {number + 1} of 4: {name}")
    assert page.evaluate("window.hacked") is None
    expect(page.locator("img")).to_have_count(0)
    visited.assert_quiet()


def test_an_abstaining_answer_says_so(visit: Open, demo_page: Path) -> None:
    page = visit(demo_page, viewport=DESKTOP).page
    page.locator("#photo-list").select_option("2")
    expect(page.locator("#headline")).to_have_text(ABSTAINED)
    expect(page.locator("#abstained")).to_have_text(WHAT_HELPS)
    expect(page.locator(".place").first).to_be_hidden()
    expect(page.locator(".marker .pin-rank")).to_have_count(0)
    page.locator(".all-the-same > summary").click()
    page.locator(".place-button").nth(1).click()
    expect(page.locator(".place.chosen")).to_have_attribute("data-rank", "2")


def test_the_policy_stops_a_script_that_is_not_ours(visit: Open, demo_page: Path) -> None:
    visited = visit(demo_page, viewport=DESKTOP)
    visited.page.evaluate(
        """() => { const script = document.createElement("script");
        script.textContent = "window.hacked = 1"; document.body.append(script);
        const image = document.createElement("img");
        image.src = "https://192.0.2.1/pixel.png"; document.body.append(image); }"""
    )
    assert visited.page.evaluate("window.hacked") is None
    assert any("Content Security Policy" in message for message in visited.messages)
    refused = [url for url in visited.requests if "192.0.2.1" in url]
    assert refused == [] or any("img-src" in message for message in visited.messages)


def test_places_on_both_sides_of_the_antimeridian_are_drawn_together(
    visit: Open, demo_page: Path
) -> None:
    page = visit(demo_page, viewport=DESKTOP).page
    page.locator("#photo-next").click()
    expect(page.locator(".selector label")).to_have_text("Photo 2 of 4")
    boxes = [marker.bounding_box() for marker in page.locator(".marker .pin-rank").all()]
    xs = [box["x"] for box in boxes if box is not None]
    assert len(xs) == 5
    assert max(xs) - min(xs) < 400
    tooltips = page.locator(".place .number").all_text_contents()
    lngs = [float(text.split(", ")[1]) for text in tooltips]
    assert min(lngs) < -170 and max(lngs) > 170


def test_lifts_have_one_scale_for_all_answers_and_probabilities_one_of_their_own(
    visit: Open, demo_page: Path
) -> None:
    page = visit(demo_page, viewport=DESKTOP).page
    legend = page.locator("#map .legend")

    def limits() -> list[float]:
        texts = legend.locator(".tick").all_text_contents()
        return [float(text.removeprefix("× ")) for text in texts if text]

    assert limits() == list(lift_scale.lift_steps())
    expect(legend.locator(".swatch")).to_have_count(6)
    page.locator("#photo-list").select_option("2")
    assert limits() == list(lift_scale.lift_steps())
    page.get_by_role("button", name="Show probabilities").click()
    expect(legend).to_contain_text("Probability of a cell, %")
    even = limits()
    page.locator("#photo-list").select_option("0")
    confident = limits()
    assert len(confident) == 5 and sorted(set(confident)) == confident
    assert confident != even
    page.get_by_role("button", name="Show what the photo changed").click()
    assert limits() == list(lift_scale.lift_steps())


@pytest.mark.parametrize("abstained", [True, False])
def test_the_page_and_pictures_draw_cells_equally_strongly(
    visit: Open, plain_page: Path, abstained: bool
) -> None:
    random = np.random.default_rng(15)
    probabilities, lifts = random.random(200) ** 4, np.exp(random.normal(0, 2, 200))
    levels = random.integers(0, 31, 200)
    leaves = s2.leaf_ids(random.uniform(-90, 90, 200), random.uniform(-180, 180, 200))
    ids = np.array([s2.parent_ids(leaves[i : i + 1], int(levels[i]))[0] for i in range(200)])
    cells = [
        {"probability": float(p), "lift": float(lift), "cell": token}
        for p, lift, token in zip(probabilities, lifts, s2.tokens(ids), strict=True)
    ]
    drawn = visit(plain_page).page.evaluate(
        "([cells, steps, abstained]) => CellShades.liftStrengths(cells, steps, abstained)",
        [cells, list(lift_scale.lift_steps()), abstained],
    )
    shades = lift_scale.shades(lifts, abstained=abstained)
    assert [cell["shade"] for cell in drawn] == shades.tolist()
    opacities = lift_scale.opacities(probabilities, levels, abstained=abstained)
    np.testing.assert_allclose([cell["opacity"] for cell in drawn], opacities)


def test_an_answer_that_abstains_is_paler_than_a_sure_one(
    visit: Open, tmp_path: Path, predict: Predict
) -> None:
    sure = predict(37.7, 15.0)
    items = [MapItem("sure", sure), MapItem("not", replace(sure, abstain_below_bits=100.0))]
    write_map(tmp_path / "map.html", items)
    page = visit(tmp_path / "map.html", viewport=DESKTOP).page
    strengths = """() => { const canvas = document.querySelector(".leaflet-cells-pane canvas");
      const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
      return data.filter((_, i) => i % 4 === 3); }"""
    page.locator("#show-all").click()
    strong = np.array(list(page.evaluate(f"() => [...({strengths})()]")))
    page.locator("#photo-next").click()
    assert page.evaluate("() => document.querySelectorAll('.marker .pin-rank').length") == 0
    pale = np.array(list(page.evaluate(f"() => [...({strengths})()]")))
    assert 0 < pale.max() < 0.5 * strong.max()


def test_shares_and_lifts_are_written_as_everywhere(visit: Open, plain_page: Path) -> None:
    page = visit(plain_page).page
    values = [0, 1e-5, 4e-4, 6e-4, 0.0123, 0.0994, 0.0996, 0.1, 0.456, 0.994, 0.996, 1]
    assert page.evaluate("(all) => all.map(AnswerView.percent)", values) == [
        percent_text(value) for value in values
    ]
    lifts = [0.0012, 0.09, 0.1, 0.96, 1, 9.94, 9.96, 43.5, 1234.6]
    assert page.evaluate("(all) => all.map(AnswerView.times)", lifts) == [
        times_text(lift, before=True) for lift in lifts
    ]


def test_the_prior_has_a_map_beside(visit: Open, demo_page: Path) -> None:
    visited = visit(demo_page, viewport=DESKTOP)
    page = visited.page
    page.locator("#photo-next").click()  # Fiji: the maps lie across ±180°
    toggle = page.locator("#prior-toggle")
    toggle.click()
    expect(toggle).to_have_attribute("aria-pressed", "true")
    expect(page.locator("#answer-badge")).to_be_visible()
    pins = page.locator("#prior-map .marker .pin-rank")
    expect(pins).to_have_count(5)
    for pin in pins.all():
        expect(pin).to_be_in_viewport()
    assert _inked(page, "cells", "#prior-map")
    assert _variable(page, "--land") in _colours(page, "land", "#prior-map")
    page.locator(".place-button").first.click()
    expect(page.locator("#map .marker.chosen")).to_have_text("1")
    expect(toggle).to_have_attribute("aria-pressed", "true")
    toggle.click()
    expect(page.locator("#prior-map")).to_be_hidden()
    expect(page.locator("#answer-badge")).to_be_hidden()
    visited.assert_quiet()


def test_coordinates_can_be_copied(visit: Open, demo_page: Path, predict: Predict) -> None:
    visited = visit(demo_page, viewport=DESKTOP, permissions=["clipboard-read", "clipboard-write"])
    page = visited.page
    page.get_by_role("button", name="Copy coordinates of place 1").click()
    place = predict(37.7, 15.0).places[0]
    expect(page.locator("#status")).to_have_text(f"Copied {place.lat:.4f}, {place.lng:.4f}")
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied == f"{place.lat:.4f}, {place.lng:.4f}"
    visited.assert_quiet()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_a_phone(visit: Open, demo_page: Path, scheme: str) -> None:
    visited = visit(demo_page, viewport=PHONE, color_scheme=scheme, has_touch=True, is_mobile=True)
    page = visited.page
    expect(page.locator(".marker .pin-rank")).to_have_count(5)
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    area = page.locator("#map").bounding_box()
    assert area is not None
    assert area["width"] == 390 and 300 < area["height"] < 844
    legend = page.locator(".legend").bounding_box()
    assert legend is not None and legend["x"] + legend["width"] <= 390
    small = page.evaluate(
        """() => [...document.querySelectorAll("button, a, select")]
          .filter((e) => e.checkVisibility())
          .filter((e) => e.getBoundingClientRect().height < 24).map((e) => e.outerHTML)"""
    )
    assert small == [], "WCAG 2.2 asks for targets of 24 pixels"
    page.locator(".place-button").last.tap()
    expect(page.locator(".place.chosen")).to_have_attribute("data-rank", "5")
    expect(page.locator("#map")).to_be_in_viewport(ratio=0.99)
    visited.assert_quiet()


def test_night_and_day_change_the_map_while_it_is_open(visit: Open, demo_page: Path) -> None:
    page = visit(demo_page, viewport=DESKTOP, color_scheme="light").page
    day = _variable(page, "--land")
    assert day in _colours(page, "land")
    page.emulate_media(color_scheme="dark")
    night = _variable(page, "--land")
    assert night != day
    page.wait_for_timeout(100)
    assert night in _colours(page, "land") and day not in _colours(page, "land")
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert background == "rgb(22, 27, 33)"


def test_every_control_has_a_name(visit: Open, demo_page: Path) -> None:
    page = visit(demo_page, viewport=DESKTOP).page
    nameless = page.evaluate(
        """() => [...document.querySelectorAll("button, a[href], select, [role=button]")]
          .filter((e) => !(e.getAttribute("aria-label") || e.textContent.trim()
            || e.labels?.length)).map((e) => e.outerHTML)"""
    )
    assert nameless == []
    expect(page.get_by_role("combobox", name="Photo 1 of 4")).to_be_visible()
    expect(page.get_by_role("list", name="Most likely places")).to_be_visible()
    assert page.locator("html").get_attribute("lang") == "en"
    assert page.locator("h1").count() == 1
