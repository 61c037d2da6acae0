"""The map page in a real Chromium, before the real service: what it shows, asks for and refuses."""

from __future__ import annotations

import base64
import csv
import io
import json
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from locationnet.model.answer import ROW
from locationnet.model.locator import Locator, load_model
from locationnet.model.manifest import write_manifest
from locationnet.model.summary import ABSTAINED, WHAT_HELPS

# A machine with other work takes its time.
expect.set_options(timeout=20_000)

HOSTILE = "<img src=x onerror=window.hacked=1>"
LONG = "Llanfairpwllgwyngyllgogerychwyrndrobwllllantysiliogogogoch " * 3
LIMIT = 300_000
KML = "{http://www.opengis.net/kml/2.2}"
TRANSFER = """([text, kind]) => {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const data = new DataTransfer();
  if (kind === "text/plain") data.setData(kind, atob(text));
  else data.items.add(new File([bytes], "dragged.jpg", { type: kind }));
  return data;
}"""


@dataclass
class Visit:
    """An opened page with all that it said and asked for."""

    page: Page
    origin: str
    messages: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def assert_quiet(self, *expected: str) -> None:
        """Nothing on the console but what is expected, and nothing asked of another server."""
        others = [m for m in self.messages if not any(text in m for text in expected)]
        assert others == []
        own = (f"{self.origin}/", f"blob:{self.origin}/", "data:")
        assert [url for url in self.requests if not url.startswith(own)] == []

    def choose(self, photo: bytes, name: str = "photo.jpg") -> None:
        self.page.set_input_files(
            "#file", {"name": name, "mimeType": "image/jpeg", "buffer": photo}
        )

    def transfer(self, content: bytes, kind: str) -> Any:
        text = base64.b64encode(content).decode("ascii")
        return self.page.evaluate_handle(TRANSFER, [text, kind])


@pytest.fixture(scope="module")
def locator(make_bundle: Callable[..., Path]) -> Locator:
    """A demo with a hostile and a very long place name."""
    bundle = make_bundle(demo=True, abstain_below_bits=0.3)
    path = bundle / "places.csv"
    lines = path.read_text(encoding="utf-8").splitlines()
    lines[1] = f"0,{HOSTILE},,US"
    lines[2] = f"1,{LONG},,GB"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    manifest = json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))
    del manifest["files"]  # their checksums are taken again
    write_manifest(bundle, manifest)
    return load_model(bundle)


@pytest.fixture(scope="module")
def origin(serving: Any, locator: Locator, photo_server: Any) -> Iterator[str]:
    with serving(
        locator, max_upload_bytes=LIMIT, exempt_hosts=(photo_server.pair,), fetch_timeout_s=2.0
    ) as client:
        yield f"http://127.0.0.1:{client.port}"


@pytest.fixture(scope="module")
def browser(
    chromium: Path, browser_environment: dict[str, str | float | bool]
) -> Iterator[Browser]:
    arguments = [
        "--no-sandbox",
        "--disable-gpu",
        "--disable-background-networking",
        "--no-first-run",
    ]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=str(chromium), args=arguments, env=browser_environment
        )
        yield browser
        browser.close()


@pytest.fixture
def visit(browser: Browser, origin: str) -> Iterator[Callable[..., Visit]]:
    """Open the page; options go to the browser context (viewport, color_scheme, …)."""
    contexts = []

    def open_page(at: str = origin, **options: Any) -> Visit:
        options.setdefault("viewport", {"width": 1280, "height": 800})
        context = browser.new_context(reduced_motion="reduce", **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(10_000)
        visited = Visit(page, at)
        page.on("console", lambda message: visited.messages.append(message.text))
        page.on("pageerror", lambda error: visited.messages.append(str(error)))
        page.on("request", lambda request: visited.requests.append(request.url))
        page.goto(f"{at}/")
        expect(page.locator(".leaflet-land-pane canvas")).to_be_attached()
        return visited

    yield open_page
    for context in contexts:
        context.close()


@pytest.fixture(scope="module")
def photo(make_photo: Callable[..., bytes]) -> bytes:
    return make_photo(colour=(255, 0, 0))


# A photo in, an answer out.


def test_a_chosen_photo_is_located(visit: Callable[..., Visit], photo: bytes) -> None:
    visited = visit()
    page = visited.page
    expect(page).to_have_title("LocationNet: where was this photo taken?")
    visited.choose(photo)
    expect(page.locator(".marker .pin-rank")).to_have_count(4)
    expect(page.locator(".place")).to_have_count(4)
    expect(page.locator("#thumbnail")).to_be_visible()
    assert str(page.locator("#thumbnail").get_attribute("src")).startswith("blob:")
    expect(page.locator("#demo")).to_contain_text("Demo model")
    expect(page.locator(".prior-places li")).to_have_count(4)
    expect(page.locator("#timing")).to_contain_text("recognising")
    expect(page.locator("#timing")).to_be_hidden()
    headline = page.locator("#headline").inner_text()
    expect(page.locator("#status")).to_contain_text(headline.rstrip("."))
    assert page.title() == f"{headline.rstrip('.')} – LocationNet"
    assert page.evaluate("document.activeElement.id") == "result"
    page.locator("#details > summary").click()
    expect(page.locator("#timing")).to_be_visible()
    [question] = [url for url in visited.requests if "/locate" in url]
    assert question.endswith("/locate?top_k=100&heatmap=true&explain=true")
    page.locator(".place-button").nth(2).click()
    expect(page.locator(".place.chosen")).to_have_attribute("data-rank", "3")
    page.locator("#count").select_option("3")
    expect(page.locator(".marker .pin-rank")).to_have_count(3)
    expect(page.locator(".prior-places li")).to_have_count(3)
    page.locator("#another").click()
    expect(page.locator(".marker")).to_have_count(0)
    expect(page.locator("#choose")).to_be_focused()
    visited.assert_quiet()


def test_an_address_is_fetched_by_the_server(
    visit: Callable[..., Visit], photo_server: Any, photo: bytes
) -> None:
    visited = visit()
    visited.page.locator("#url").fill(photo_server.put("/map.jpg", photo))
    visited.page.keyboard.press("Enter")
    expect(visited.page.locator(".place")).to_have_count(4)
    expect(visited.page.locator("#timing")).to_contain_text("fetching")
    expect(visited.page.locator("#thumbnail")).to_be_hidden()
    visited.assert_quiet()


@pytest.mark.parametrize("how", ["paste", "paste an address", "drop"])
def test_a_photo_can_be_dropped_and_pasted(
    visit: Callable[..., Visit], photo_server: Any, photo: bytes, how: str
) -> None:
    visited = visit()
    page = visited.page
    if how == "drop":
        data = visited.transfer(photo, "image/jpeg")
        page.dispatch_event("body", "dragenter", {"dataTransfer": data})
        expect(page.locator(".drop-cover")).to_be_visible()
        page.dispatch_event("body", "drop", {"dataTransfer": data})
        expect(page.locator(".drop-cover")).to_be_hidden()
    else:
        address = photo_server.put("/pasted.jpg", photo)
        content = (photo, "image/jpeg") if how == "paste" else (address.encode(), "text/plain")
        page.evaluate(
            """(data) => document.body.dispatchEvent(new ClipboardEvent("paste",
              { clipboardData: data, bubbles: true, cancelable: true }))""",
            visited.transfer(*content),
        )
    expect(page.locator(".place")).to_have_count(4)
    visited.assert_quiet()


def test_a_photo_that_says_nothing_is_said_to(
    visit: Callable[..., Visit], make_photo: Callable[..., bytes]
) -> None:
    visited = visit()
    visited.choose(make_photo(colour=(127, 127, 127)))
    expect(visited.page.locator("#headline")).to_have_text(ABSTAINED)
    expect(visited.page.locator("#abstained")).to_have_text(WHAT_HELPS)
    expect(visited.page.locator("#status")).to_have_text(ABSTAINED)
    expect(visited.page.locator(".place").first).to_be_hidden()


def test_names_are_only_text(visit: Callable[..., Visit], photo: bytes) -> None:
    visited = visit()
    page = visited.page
    visited.choose(photo, name=f"{HOSTILE}.jpg")
    expect(page.locator(".places .place-name", has_text=HOSTILE)).to_be_visible()
    expect(page.locator("#photo-name")).to_have_text(f"{HOSTILE}.jpg")
    page.locator(f".marker[aria-label*='{HOSTILE}']").hover()
    assert page.evaluate("window.hacked") is None
    expect(page.locator("img")).to_have_count(2)  # the sign of the page, and the thumbnail
    visited.assert_quiet()


# What goes wrong.


def test_what_is_no_photo_is_not_even_sent(visit: Callable[..., Visit]) -> None:
    visited = visit()
    for content, says in (
        (b"%PDF-1.7 no photo at all", "no photo that this server reads"),
        (b"\0\0\0\x18ftypheic........", "HEIC"),
        (b"", "empty"),
        (b"\xff\xd8\xff" + bytes(LIMIT), "too large"),
    ):
        visited.choose(content)
        expect(visited.page.get_by_role("alert")).to_contain_text(says)
    assert not [url for url in visited.requests if "/locate" in url]
    visited.assert_quiet()


@pytest.mark.parametrize("form", ["AVIF", "HEIF"])
def test_what_phones_write_today_is_sent(
    visit: Callable[..., Visit], make_photo: Callable[..., bytes], form: str
) -> None:
    pytest.importorskip("pillow_heif").register_heif_opener()
    visited = visit()
    visited.choose(make_photo((250, 250, 250), form=form))
    expect(visited.page.locator(".places .place-name").first).to_be_visible()
    expect(visited.page.locator("#limits")).to_contain_text("JPEG, PNG, WebP, AVIF or HEIC")
    assert [url for url in visited.requests if "/locate" in url]


def test_what_the_server_refuses_is_said_in_its_words(
    visit: Callable[..., Visit], photo_server: Any, photo: bytes
) -> None:
    visited = visit()
    page = visited.page
    visited.choose(photo[: len(photo) // 2])
    expect(page.get_by_role("alert")).to_contain_text("That did not work. ")
    page.locator("#another").click()
    page.locator("#url").fill("nonsense")
    page.locator("#url").press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("must begin with https://")
    page.locator("#url").fill("http://10.0.0.1/photo.jpg")
    page.locator("#url").press("Enter")
    expect(page.get_by_role("alert")).to_contain_text(re.compile(r"work\. [A-Z].*\.$"))
    expect(page.locator("#again")).to_have_count(0)
    # The address waits in its field to be mended.
    address = page.locator("#url")
    expect(address).to_be_focused()
    expect(address).to_have_value("http://10.0.0.1/photo.jpg")
    expect(address).to_have_accessible_description(re.compile("^That did not work"))
    expect(page.locator("#photo")).to_be_hidden()
    address.fill(photo_server.put("/page.html", b"<!doctype html><title>A page</title>"))
    address.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("web page")
    address.fill(photo_server.put("/mended.jpg", photo))
    address.press("Enter")
    expect(page.locator(".place")).to_have_count(4)
    expect(page.get_by_role("alert")).to_be_hidden()
    visited.assert_quiet("the server responded with a status of 4")


def test_a_server_that_is_not_well_is_asked_again(
    visit: Callable[..., Visit], photo: bytes
) -> None:
    visited = visit()
    page = visited.page
    troubles: list[tuple[int, dict[str, str], str]] = [
        (503, {"Retry-After": "7"}, "busy just now. Try again in 7 seconds."),
        (429, {"Retry-After": "1"}, "one request too many. Try again in a second."),
        (502, {}, "The server answered with an error (502)."),
    ]
    left = iter(troubles)

    def trouble(route: Any) -> None:
        status, headers, _ = next(left)
        route.fulfill(status=status, headers=headers, body="<html>a proxy's page")

    page.route("**/locate?*", trouble, times=len(troubles))
    visited.choose(photo)
    for _, _, says in troubles:
        expect(page.get_by_role("alert")).to_contain_text(says)
        page.locator("#again").click()
    expect(page.locator(".place")).to_have_count(4)
    expect(page.get_by_role("alert")).to_be_hidden()
    visited.assert_quiet("the server responded with a status of")


def test_a_server_that_is_gone_is_a_sentence(
    serving: Any, visit: Callable[..., Visit], locator: Locator, photo: bytes
) -> None:
    with serving(locator) as client:
        visited = visit(f"http://127.0.0.1:{client.port}")
    visited.choose(photo)
    expect(visited.page.get_by_role("alert")).to_contain_text("The server cannot be reached.")
    visited.assert_quiet("net::ERR_")


def test_a_key_is_asked_for_only_where_it_is_needed(
    visit: Callable[..., Visit], photo: bytes
) -> None:
    visited = visit()
    page = visited.page
    keys: list[str | None] = []

    def guard(route: Any) -> None:
        keys.append(route.request.headers.get("x-api-key"))
        if keys[-1] == "right":
            route.continue_()
        else:
            route.fulfill(status=401, body="{}")

    page.route("**/locate?*", guard)
    expect(page.locator("#key")).to_be_hidden()
    visited.choose(photo)
    for key in ("wrong", "right"):
        expect(page.get_by_label("This server asks for an API key")).to_be_focused()
        page.keyboard.type(key)
        page.keyboard.press("Enter")
    expect(page.locator(".place")).to_have_count(4)
    assert keys == [None, "wrong", "right"]
    assert page.evaluate("[localStorage.length, sessionStorage.length, document.cookie]") == [
        0,
        0,
        "",
    ]


def test_a_request_can_be_cancelled_and_replaced(
    visit: Callable[..., Visit], photo_server: Any, photo: bytes
) -> None:
    """A server that takes the connection and says nothing keeps the first requests waiting."""
    visited = visit()
    page = visited.page
    held = threading.Event()
    page.route("**/locate?*", lambda route: held.set(), times=2)  # never answered
    visited.choose(photo, "first.jpg")
    expect(page.locator("#step")).to_be_visible()
    expect(page).to_have_title("Locating… – LocationNet")
    page.keyboard.press("Enter")  # the focus is on Cancel
    expect(page.locator("#choose")).to_be_focused()
    expect(page.locator("#photo")).to_be_hidden()
    visited.choose(photo, "second.jpg")
    expect(page.locator("#step")).to_be_visible()
    visited.choose(photo, "third.jpg")
    expect(page.locator(".place")).to_have_count(4)
    expect(page.locator("#photo-name")).to_have_text("third.jpg")
    assert held.is_set()
    assert "net::ERR_ABORTED" not in " ".join(visited.messages)


# The map.


def test_a_guess_and_the_model_are_scored_against_a_truth_that_the_user_sets(
    visit: Callable[..., Visit], photo: bytes
) -> None:
    visited = visit()
    page = visited.page
    visited.choose(photo)
    outcome = page.locator("#outcome")
    page.locator("#guess-now").click()
    page.mouse.click(800, 400)
    expect(outcome).to_contain_text("km from the model's best point")
    expect(page.locator(".pin-guess >> visible=true")).to_have_count(3)  # map, legend, panel
    expect(page.locator(".pin-truth >> visible=true")).to_have_count(0)
    page.locator("#set-truth").click()
    field = page.get_by_label("Latitude, longitude")
    for nonsense in ("91, 0", "0, 181", "here", "1", "1, 2, 3", "1,,2", ""):
        field.fill(nonsense)
        field.press("Enter")
        expect(field).to_have_attribute("aria-invalid", "true")
    field.fill("37.77 -122.42")  # San Francisco, where the model puts what is red
    field.press("Enter")
    expect(outcome).to_contain_text("The model wins: ")
    expect(page.locator("#score-model td").last).to_have_text(re.compile("^(5,000|4,9..)$"))
    expect(page.locator("#score-you td").last).not_to_have_text(re.compile("^[45],...$"))
    expect(page.locator(".pin-truth >> visible=true")).to_have_count(2)  # map, legend
    page.locator("#set-truth").click()
    field.fill(page.locator("#guess-at").inner_text())
    field.press("Enter")
    expect(outcome).to_contain_text("You win: 5,000 to ")
    page.locator("#remove-guess").click()
    expect(page.locator("section.guess table")).to_have_count(0)
    expect(page.locator(".pin-truth >> visible=true")).to_have_count(0)
    page.locator("#set-truth").click()
    page.locator("#map").click(position={"x": 60, "y": 300})
    expect(outcome).to_have_text(re.compile(r"^The model gets [\d,]+ of 5,000 points\.$"))
    visited.assert_quiet()


def test_the_answer_without_the_photo_has_a_map_beside(
    visit: Callable[..., Visit], photo: bytes
) -> None:
    visited = visit()
    page = visited.page
    visited.choose(photo)
    own = page.locator("#prior-map")
    with page.expect_response(lambda response: "prior.geojson" in response.url) as cells:
        page.locator("#prior-toggle").click()
    assert cells.value.json()["features"]
    expect(own.locator(".pin-rank")).to_have_count(4)
    expect(page.locator("#map .pin-rank")).to_have_count(4)
    left, right = page.locator("#map").bounding_box(), own.bounding_box()
    assert left is not None and right is not None
    assert left["height"] > 150 and right["height"] > 150
    assert left["x"] + left["width"] <= right["x"] or left["y"] + left["height"] <= right["y"]
    # Both show the same part of the world, whichever is moved.
    scales = page.locator(".leaflet-control-scale-line")
    before = scales.all_text_contents()
    own.focus()
    page.keyboard.press("+")
    page.keyboard.press("+")
    expect(scales.first).not_to_have_text(before[0])
    expect(scales.last).to_have_text(scales.first.inner_text())
    page.locator("#count").select_option("3")
    expect(own.locator(".pin-rank")).to_have_count(3)
    page.locator(".place-button").first.click()
    expect(page.locator("#map .marker.chosen")).to_have_text("1")
    page.get_by_role("button", name="Close the map without the photo").click()
    expect(own).to_be_hidden()
    expect(page.locator("#prior-toggle")).to_be_focused()
    page.locator("#prior-toggle").click()
    expect(own.locator(".pin-rank")).to_have_count(3)
    visited.choose(photo)
    expect(own).to_be_hidden()
    assert len([url for url in visited.requests if "prior.geojson" in url]) == 1
    visited.assert_quiet()


def test_who_guesses_first_sees_no_answer_before(visit: Callable[..., Visit], photo: bytes) -> None:
    visited = visit()
    page = visited.page
    page.get_by_label("Let me guess first").check()
    visited.choose(photo)
    expect(page.locator("#reveal")).to_be_visible()
    expect(page.locator(".place")).to_have_count(0)
    expect(page.locator(".marker")).to_have_count(0)
    page.locator("#map").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    expect(page.locator(".place")).to_have_count(4)
    expect(page.locator("section.guess")).to_contain_text("from the model's best point")
    visited.assert_quiet()


def test_all_cells_of_the_grid_can_be_shown(visit: Callable[..., Visit]) -> None:
    visited = visit()
    page = visited.page
    button = page.locator("#show-cells")
    inked = """() => { const canvas = document.querySelector(".leaflet-grid-pane canvas");
      return canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height)
        .data.some((value) => value > 0); }"""
    button.click()
    expect(button).to_have_attribute("aria-pressed", "true")
    expect(page.locator("#status")).to_contain_text("The grid of 4 cells is shown")
    assert page.evaluate(inked)
    # Elsewhere and closer, what is there is asked for.
    with page.expect_response(lambda response: "cells.geojson" in response.url) as asked:
        page.keyboard.press("Tab")
        page.locator("#map").focus()
        for _ in range(6):
            page.keyboard.press("+")
    assert asked.value.status == 200
    button.click()
    expect(button).to_have_attribute("aria-pressed", "false")
    visited.assert_quiet()


# Everybody, everywhere.


def test_the_keyboard_alone_is_enough(
    visit: Callable[..., Visit], photo_server: Any, photo: bytes
) -> None:
    visited = visit()
    page = visited.page

    def tab_to(test: str) -> None:
        for _ in range(60):
            page.keyboard.press("Tab")
            if page.evaluate(f"document.activeElement.matches({test!r})"):
                return
        raise AssertionError(f"the keyboard does not reach {test}")

    page.keyboard.press("Tab")
    expect(page.locator(".skip")).to_be_focused()
    tab_to("#url")
    page.keyboard.type(photo_server.put("/keys.jpg", photo))
    page.keyboard.press("Enter")
    expect(page.locator(".place")).to_have_count(4)
    tab_to(".place-button")
    page.keyboard.press("End")
    page.keyboard.press("Enter")
    expect(page.locator(".place.chosen")).to_have_attribute("data-rank", "4")
    tab_to("#map")
    tab_to("#guess")
    page.keyboard.press("Enter")
    expect(page.locator("#map")).to_be_focused()
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    expect(page.locator("#outcome")).to_contain_text("km from the model's best point")
    visited.assert_quiet()


def test_the_page_fits_a_phone(visit: Callable[..., Visit], photo: bytes) -> None:
    visited = visit(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    page = visited.page
    small = """() => [...document.querySelectorAll("button, a, select, summary, label.check, "
      + "input:not([type=checkbox]):not([type=file])")].filter((e) => e.checkVisibility()
      && !e.matches(".skip")).filter((e) => e.getBoundingClientRect().height < 44
      || (e.matches("button, select") && e.getBoundingClientRect().width < 44))
      .map((e) => e.outerHTML)"""
    page.locator("footer summary").click()
    assert page.evaluate(small) == []
    visited.choose(photo)
    expect(page.locator(".place")).to_have_count(4)
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    area = page.locator("#map").bounding_box()
    assert area is not None
    assert area["y"] < 300 and area["height"] > 300, "the map is on the first screen"
    page.locator("#guess").tap()
    assert page.evaluate(small) == []
    page.locator("#guess-here").tap()
    expect(page.locator("#set-truth")).to_be_visible()
    page.locator("#set-truth").tap()
    assert page.evaluate(small) == []
    cross, bar = (page.locator(name).bounding_box() for name in (".crosshair", "#guess-bar"))
    assert cross is not None and bar is not None
    assert cross["y"] > 0 and cross["y"] + cross["height"] < bar["y"]
    assert bar["y"] + bar["height"] <= 844
    page.locator("#guess-here").tap()
    expect(page.locator("#score-you")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    assert page.evaluate(small) == []
    page.locator(".place-button").last.tap()
    expect(page.locator("#map")).to_be_in_viewport(ratio=0.99)
    visited.assert_quiet()


CONTRAST = """() => {
  const paint = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgba = (colour) => {
    paint.clearRect(0, 0, 1, 1);
    paint.fillStyle = colour;
    paint.fillRect(0, 0, 1, 1);
    return [...paint.getImageData(0, 0, 1, 1).data];
  };
  const luminance = (colour) => colour.slice(0, 3).map((value) => value / 255)
    .map((s) => (s <= 0.04045 ? s / 12.92 : ((s + 0.055) / 1.055) ** 2.4))
    .reduce((sum, s, i) => sum + s * [0.2126, 0.7152, 0.0722][i], 0);
  const background = (element) => {
    for (let e = element; e; e = e.parentElement) {
      const colour = rgba(getComputedStyle(e).backgroundColor);
      if (colour[3] === 255) return colour;
    }
    return rgba("white");
  };
  const found = [];
  for (const element of document.querySelectorAll("body *")) {
    const speaks = [...element.childNodes].some((n) => n.nodeType === 3 && n.data.trim());
    if (!speaks || !element.checkVisibility({ checkOpacity: true })) continue;
    const [one, other] = [rgba(getComputedStyle(element).color), background(element)]
      .map(luminance).sort((a, b) => a - b);
    const ratio = (other + 0.05) / (one + 0.05);
    found.push([ratio, element.className + " " + element.textContent.slice(0, 40)]);
  }
  return found;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_has_the_contrast_of_wcag_aa(
    visit: Callable[..., Visit], photo: bytes, scheme: str
) -> None:
    visited = visit(color_scheme=scheme)
    page = visited.page
    page.locator("footer summary").click()
    page.locator("#url").press("Enter")  # brings an error up
    found = page.evaluate(CONTRAST)
    visited.choose(photo)
    expect(page.locator(".place")).to_have_count(4)
    page.locator("#guess").click()
    page.mouse.click(800, 400)
    expect(page.locator("section.guess")).to_be_visible()
    page.locator("#set-truth").click()
    found += page.evaluate(CONTRAST)
    page.locator("#guess-here").click()
    expect(page.locator("#score-you")).to_be_visible()
    found += page.evaluate(CONTRAST)
    assert len(found) > 80
    assert [entry for entry in found if entry[0] < 4.5] == []
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(22, 27, 33)"
    assert dark == (scheme == "dark")


def test_every_control_has_a_name_for_who_cannot_see_it(
    visit: Callable[..., Visit], photo: bytes
) -> None:
    visited = visit()
    page = visited.page

    def nameless() -> list[str]:
        tree = page.context.new_cdp_session(page).send("Accessibility.getFullAXTree")
        roles = {"button", "link", "textbox", "checkbox", "combobox", "img", "progressbar"}
        named = [n for n in tree["nodes"] if n.get("role", {}).get("value") in roles]
        assert len(named) > 5
        return [str(n) for n in named if not n.get("name", {}).get("value")]

    assert nameless() == []
    visited.choose(photo)
    expect(page.locator(".place")).to_have_count(4)
    page.locator("#guess").click()
    assert nameless() == []
    assert page.locator("html").get_attribute("lang") == "en"
    assert page.locator("h1").count() == 1


def test_the_policy_stops_what_is_not_ours(visit: Callable[..., Visit]) -> None:
    visited = visit()
    visited.page.evaluate(
        """() => { document.body.insertAdjacentHTML("beforeend",
          "<img src=x onerror=window.hacked=1><b style='color:red'>!</b>");
        const script = document.createElement("script");
        script.textContent = "window.hacked = 1"; document.body.append(script); }"""
    )
    expect(visited.page.locator("body > b")).not_to_have_css("color", "rgb(255, 0, 0)")
    assert visited.page.evaluate("window.hacked") is None
    assert any("Content Security Policy" in message for message in visited.messages)


def test_tiles_come_from_the_configured_server_alone(
    serving: Any, visit: Callable[..., Visit], locator: Locator, browser: Browser
) -> None:
    """The tiles' server is played by the browser itself: no request leaves this machine."""
    settings = {
        "tile_url": "https://tiles.example/{z}/{x}/{y}.png",
        "tile_attribution": "© <b>Tiles</b>",
    }
    with serving(locator, **settings) as client:
        context = browser.new_context()
        asked: list[str] = []

        def refuse(route: Any) -> None:
            asked.append(route.request.url)
            route.abort()

        context.route("https://tiles.example/**", refuse)
        page = context.new_page()
        page.goto(f"http://127.0.0.1:{client.port}/")
        expect(page.locator(".tile-attribution")).to_have_text("© <b>Tiles</b>")
        expect(page.locator("#tile-note")).to_be_attached()
        context.close()
    assert asked
    assert all(re.fullmatch(r"https://tiles\.example/\d+/\d+/\d+\.png", url) for url in asked)


# Several photos at once.


def _files(photos: dict[str, bytes]) -> list[Any]:
    return [
        {"name": name, "mimeType": "image/jpeg", "buffer": content}
        for name, content in photos.items()
    ]


def _downloaded(page: Page, kind: str) -> str:
    with page.expect_download() as download:
        page.locator(f"[data-kind={kind}]").click()
    assert download.value.suggested_filename == f"places.{kind}"
    return Path(download.value.path()).read_text(encoding="utf-8")


def test_many_photos_are_sent_in_batches_and_counted(
    visit: Callable[..., Visit], make_photo: Callable[..., bytes], photo: bytes
) -> None:
    visited = visit()
    page = visited.page
    photos = {f"{number}.jpg": make_photo(colour=(255, number, 0)) for number in range(9)}
    grey = make_photo(colour=(127, 127, 127))
    # The sixth byte of a cut one is fine: the server, not the page, finds out.
    photos |= {"grey.jpg": grey, "cut.jpg": photo[: len(photo) // 2], f"{HOSTILE}, .jpg": photo}
    page.set_input_files("#file", _files(photos | {"notes.jpg": b"no photo"}))
    count = page.locator(".album-count")
    expect(count).to_contain_text(re.compile(r"^\d+ located, \d+ not sure, 2 failed$"))
    located, unsure, failed = map(int, re.findall(r"\d+", count.inner_text()))
    assert (located + unsure, failed) == (11, 2)
    asked = [url for url in visited.requests if "/locate" in url]
    assert len(asked) == 2
    assert all("/locate/batch" in url for url in asked)
    expect(page.locator(".frame[data-state=failed]")).to_have_count(2)
    expect(page.locator(".marker .pin-rank")).to_have_count(11)
    expect(page.locator(".frame img:visible")).to_have_count(11)

    # One after the other, by keyboard; what failed says why.
    page.keyboard.press("ArrowRight")
    expect(page.locator("#photo-name")).to_have_text("0.jpg")
    expect(page.locator(".place")).to_have_count(4)
    page.locator(".frame").first.focus()
    page.keyboard.press("End")
    expect(page.locator("#photo-name")).to_have_text("notes.jpg")
    expect(page.get_by_role("alert")).to_contain_text("no photo that this server reads")
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#photo-name")).to_have_text(f"{HOSTILE}, .jpg")
    assert page.evaluate("document.activeElement.className") == "frame"
    page.locator(".album-all").click()
    expect(page.locator(".marker .pin-rank")).to_have_count(11)
    page.locator(".marker[aria-label^='2.jpg: ']").press("Enter")  # others lie above it
    expect(page.locator("#photo-name")).to_have_text("2.jpg")

    rows = list(csv.DictReader(io.StringIO(_downloaded(page, "csv"))))
    assert [row["photo"] for row in rows] == [*photos, "notes.jpg"]
    assert list(rows[0]) == ["photo", *ROW, "error"]
    assert [bool(row["error"]) for row in rows].count(True) == 2
    assert {row["located"] for row in rows[:9]} <= {"True", "False"}
    assert rows[0]["lat"]
    assert "no photo" in rows[-1]["error"]
    features = json.loads(_downloaded(page, "geojson"))["features"]
    assert features[0]["geometry"]["coordinates"] == [float(rows[0]["lng"]), float(rows[0]["lat"])]
    assert features[-1]["geometry"] is None
    marks = list(ElementTree.fromstring(_downloaded(page, "kml")).iter(f"{KML}Placemark"))
    assert [mark.findtext(f"{KML}name") for mark in marks] == [*photos, "notes.jpg"]
    longitude = marks[0].findtext(f"{KML}Point/{KML}coordinates")
    assert str(longitude).split(",")[0] == rows[0]["lng"]

    page.locator("#other-photos").click()
    expect(page.locator(".frame")).to_have_count(0)
    expect(page.locator(".marker")).to_have_count(0)
    expect(page.locator("#choose")).to_be_focused()
    visited.assert_quiet()


def test_more_photos_than_fifty_are_cut_with_a_word(
    visit: Callable[..., Visit], photo: bytes
) -> None:
    visited = visit()
    page = visited.page
    page.route("**/locate/batch*", lambda route: route.fulfill(status=503, body="{}"))
    page.set_input_files("#file", _files({f"{number}.jpg": photo for number in range(52)}))
    expect(page.locator("#status")).to_contain_text("busy")
    expect(page.locator(".frame")).to_have_count(50)
    page.locator(".album-stop").click()
    expect(page.locator(".album-count")).to_have_text("0 located, 0 not sure, 0 failed, 50 to go")


def test_many_photos_go_on_where_a_busy_server_let_them_wait(
    visit: Callable[..., Visit], photo: bytes
) -> None:
    visited = visit()
    page = visited.page
    tries = iter([
        {"status": 429, "headers": {"Retry-After": "1"}, "body": "{}"},
        {"status": 200, "body": json.dumps({"results": [{"status": 503, "problem": {
            "title": "Busy", "detail": "the server is full"}}] * 2})},
        {"status": 500, "body": "{}"},
    ])  # fmt: skip
    page.route("**/locate/batch*", lambda route: route.fulfill(**next(tries)), times=3)
    page.set_input_files("#file", _files({"a.jpg": photo, "b.jpg": photo}))
    expect(page.locator(".album-count")).to_contain_text(
        "2 to go The server answered with an error"
    )
    page.locator(".album-again").click()
    expect(page.locator(".album-count")).to_have_text(re.compile("0 failed$"))


def test_many_photos_ask_for_a_key_once_and_go_on(
    visit: Callable[..., Visit], photo: bytes
) -> None:
    visited = visit()
    page = visited.page

    def guard(route: Any) -> None:
        if route.request.headers.get("x-api-key") == "right":
            route.continue_()
        else:
            route.fulfill(status=401, body="{}")

    page.route("**/locate/batch*", guard)
    page.set_input_files("#file", _files({"a.jpg": photo, "b.jpg": photo}))
    expect(page.get_by_label("This server asks for an API key")).to_be_focused()
    page.keyboard.type("right")
    page.keyboard.press("Enter")
    expect(page.locator(".album-count")).to_have_text(re.compile("0 failed$"))
    expect(page.locator("#key")).to_be_hidden()


# What somebody knows of where a photo is from.


def test_countries_and_a_box_bound_the_answer(visit: Callable[..., Visit], photo: bytes) -> None:
    visited = visit()
    page = visited.page
    visited.choose(photo)
    expect(page.locator(".place")).to_have_count(4)
    page.locator("#region summary").click()
    page.locator("#countries").fill("Norway, Narnia")
    page.locator("#countries").press("Enter")
    expect(page.locator("#region-problem")).to_contain_text("Narnia: no country")
    page.locator("#countries").fill("united states, gb")
    with page.expect_response(lambda answer: "countries=US%2CGB" in answer.url):
        page.locator("#countries").press("Enter")
    expect(page.locator(".places .place-name").first).to_have_text(re.compile("US$|GB$"))

    page.locator("#remove-region").click()
    page.locator("#another").click()
    page.locator("#draw-box").click()
    box = page.locator("#map").bounding_box()
    assert box is not None
    middle_x, middle_y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(middle_x - 60, middle_y - 60)
    page.mouse.down()
    page.mouse.move(middle_x, middle_y)
    page.mouse.move(middle_x + 60, middle_y + 60)
    page.mouse.up()
    with page.expect_response(lambda answer: "bbox=" in answer.url) as response:
        visited.choose(photo)
    west, south, east, north = map(
        float, re.findall(r"-?\d+\.\d+", response.value.url.partition("bbox=")[2])
    )
    assert west < east
    assert south < north
    visited.assert_quiet("status of 422")
