"""The review page in a real Chromium before the real server, and who is kept out of it."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from locationnet.library.catalog import Catalog
from locationnet.library.places import placed_photos
from locationnet.library.propose import propose
from locationnet.library.scan import scan
from locationnet.library.write import undo, write

MakePhoto = Callable[..., Path]
ROME = (41.9, 12.5)


@dataclass
class Review:
    """A review that is being served."""

    address: str
    library: Path
    process: subprocess.Popen[str]

    @property
    def port(self) -> int:
        return urlsplit(self.address).port or 0

    @property
    def token(self) -> str:
        return parse_qs(urlsplit(self.address).query)["token"][0]

    def ask(
        self, method: str, path: str, body: Any = None, host: str = "", **fields: str
    ) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        headers = {"Host": host or f"127.0.0.1:{self.port}"}
        headers |= {name.replace("_", "-"): value for name, value in fields.items()}
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        answer = connection.getresponse()
        found = answer.status, answer.read()
        connection.close()
        return found

    def end(self) -> dict[str, tuple[str, float | None]]:
        """End it as Ctrl-C does, and return each photo's state and latitude by name."""
        self.process.send_signal(signal.SIGINT)
        self.process.wait(30)
        with Catalog(self.library) as catalog:
            return {it.photo.path.name: (it.state, it.lat) for it in placed_photos(catalog)}


@pytest.fixture
def review(make_photo: MakePhoto, tmp_path: Path) -> Iterator[Review]:
    """Fifty photos of two days, of which the first of each day says where."""
    photos, library = tmp_path / "photos", tmp_path / "library"
    for number in range(50):
        day, minute = 1 + number // 25, number % 25
        place = (ROME[0] + day, ROME[1]) if minute == 0 else None
        time = f"2024:05:{day:02} 10:{minute:02}:00"
        make_photo(photos / f"IMG_{number:02}.jpg", time, place)
    with Catalog(library, create=True) as catalog:
        scan(photos, catalog)
        catalog.replace_proposals(propose(catalog.photos()).proposals)
    process = subprocess.Popen(
        [str(Path(sys.executable).parent / "locationnet"), "library", "review", str(library)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "COLUMNS": "200"},
    )
    assert process.stdout is not None
    address = process.stdout.readline().split()[2]
    yield Review(address, library, process)
    process.kill()
    process.wait()


def test_only_who_knows_the_token_and_asks_by_the_address_gets_in(review: Review) -> None:
    token, port = review.token, review.port
    assert review.ask("GET", f"/?token={token}")[0] == 200
    assert review.ask("GET", f"/photos.json?token={token}", host=f"localhost:{port}")[0] == 200
    for path in ("/", "/photos.json", "/thumb/1", "/review.js", "/nothing"):
        assert review.ask("GET", path)[0] == 403, path
        assert review.ask("GET", f"{path}?token={token[:-1]}x")[0] == 403, path
    # DNS rebinding: another site's name leads here.
    for host in (f"evil.example:{port}", "127.0.0.1", f"127.0.0.1.evil.example:{port}", "x"):
        assert review.ask("GET", f"/?token={token}", host=host)[0] == 421, host
    # CSRF: another site can send a form, but not the field; nor does the address's token do.
    change = {"changes": [{"number": 2, "place": [0, 0]}]}
    assert review.ask("POST", f"/decisions?token={token}", change)[0] == 403
    site = "http://evil.example"
    assert review.ask("POST", "/decisions", change, X_Token=token, Origin=site)[0] == 403
    assert review.ask("POST", "/decisions", change, X_Token=token, Origin="null")[0] == 403
    assert review.ask("GET", "/decisions", X_Token=token)[0] == 405
    assert review.end()["IMG_01.jpg"][0] == "proposed"


def test_a_change_that_cannot_be_is_refused_whole(review: Review) -> None:
    wrong: tuple[Any, ...] = (
        None,
        {},
        [{"number": 1, "place": None}],  # says itself where it was taken
        [{"number": 99, "place": None}],
        [{"number": True, "place": None}],
        [{"number": 2, "place": [91, 0]}],
        [{"number": 2, "place": [0, 181]}],
        [{"number": 2, "place": ["0", 0]}],
        [{"number": 2, "place": [0]}],
        [{"number": 2, "place": {}}],
        [{"number": 2, "place": [1, 2]}, {"number": 99, "place": None}],
    )
    for changes in wrong:
        status, _ = review.ask("POST", "/decisions", {"changes": changes}, X_Token=review.token)
        assert status == 422, changes
    assert {state for state, _ in review.end().values()} == {"known", "proposed"}


@pytest.fixture
def page(
    review: Review, chromium: Path, browser_environment: dict[str, str | float | bool]
) -> Iterator[Page]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=str(chromium),
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
            env=browser_environment,
        )
        page = browser.new_page(viewport={"width": 1280, "height": 800}, reduced_motion="reduce")
        page.set_default_timeout(15_000)
        messages: list[str] = []
        asked: list[str] = []
        page.on("console", lambda message: messages.append(message.text))
        page.on("pageerror", lambda error: messages.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(review.address)
        expect(page.locator("#name")).to_have_text("IMG_01.jpg")
        yield page
        assert messages == []
        own = (f"http://127.0.0.1:{review.port}/", "data:")
        assert [url for url in asked if not url.startswith(own)] == []
        browser.close()


def test_fifty_photos_are_reviewed_by_keyboard(review: Review, page: Page) -> None:
    name, counts = page.locator("#name"), page.locator("#counts")
    expect(page.locator("#reasons li").first).to_have_text("1 min after IMG_00.jpg")
    expect(page.locator("#film button")).to_have_count(25)
    page.keyboard.press("a")
    expect(name).to_have_text("IMG_02.jpg")
    page.keyboard.press("r")
    expect(name).to_have_text("IMG_03.jpg")
    page.keyboard.press("Shift+ArrowUp")
    page.keyboard.press("a")
    expect(counts).to_have_text("45 proposed, 2 accepted, 50 photos")
    page.keyboard.press("Shift+A")
    expect(name).to_have_text("IMG_26.jpg")
    expect(counts).to_have_text("24 proposed, 23 accepted, 50 photos")
    page.keyboard.press("u")
    expect(name).to_have_text("IMG_04.jpg")
    expect(counts).to_have_text("45 proposed, 2 accepted, 50 photos")
    page.keyboard.press("Shift+A")
    page.keyboard.press("Shift+A")
    expect(counts).to_have_text("0 proposed, 47 accepted, 50 photos")
    page.keyboard.press("PageUp")
    expect(name).to_have_text("IMG_00.jpg")
    page.keyboard.press("a")  # says where it was taken; nothing happens
    found = review.end()
    assert list(found["IMG_00.jpg"]) == ["known", pytest.approx(42.9)]
    assert list(found["IMG_01.jpg"]) == ["accepted", pytest.approx(42.9)]
    assert found["IMG_02.jpg"][0] == "left alone"
    assert found["IMG_03.jpg"][0] == "accepted"
    assert found["IMG_03.jpg"][1] > 42.91  # type: ignore[operator]
    assert list(found["IMG_49.jpg"]) == ["accepted", pytest.approx(43.9)]
    with Catalog(review.library) as catalog:
        assert write(catalog).written == 47
        assert len(list((review.library.parent / "photos").glob("*.xmp"))) == 47
        assert undo(catalog).written == 47
    assert not list((review.library.parent / "photos").glob("*.xmp"))


def test_what_was_decided_is_there_again_and_undone_step_by_step(
    review: Review, page: Page
) -> None:
    counts = page.locator("#counts")
    page.keyboard.press("r")
    expect(counts).to_have_text("47 proposed, 0 accepted, 50 photos")
    page.reload()
    expect(counts).to_have_text("47 proposed, 0 accepted, 50 photos")
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#name")).to_have_text("IMG_01.jpg")
    page.locator("#accept").click()
    expect(counts).to_have_text("47 proposed, 1 accepted, 50 photos")
    page.locator("#undo").click()
    expect(counts).to_have_text("47 proposed, 0 accepted, 50 photos")
    expect(page.locator("#undo")).to_be_disabled()
    assert review.end()["IMG_01.jpg"][0] == "left alone"
