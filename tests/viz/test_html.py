"""The page as a file: closed against every network and every name, and written at once."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest

from locationnet.errors import LocationNetError
from locationnet.model.prediction import Prediction
from locationnet.viz import assets, payload
from locationnet.viz.html import MapItem, page_html, write_map

Predict = Callable[..., Prediction]
HOSTILE = [
    "<img src=x onerror=alert(1)>.jpg",
    "</script><script>alert(1)</script>.jpg",
    "<!--<script>.jpg",
    '{{scripts}}\\u003c\u2028".jpg',
]


class _Elements(HTMLParser):
    """Every element with its attributes and, for scripts and styles, its text."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None], str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs), ""))

    def handle_data(self, data: str) -> None:
        if self.cdata_elem:
            tag, attributes, text = self.found[-1]
            self.found[-1] = (tag, attributes, text + data)


def _elements(text: str) -> list[tuple[str, dict[str, str | None], str]]:
    parser = _Elements()
    parser.feed(text)
    parser.close()
    return parser.found


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory, predict: Predict) -> str:
    path = tmp_path_factory.mktemp("map") / "map.html"
    items = [MapItem(name, predict(-17.8, 178.0)) for name in HOSTILE]
    write_map(path, items, title="Tom & <b>Jerry</b>", prior=predict(0.0, 0.0, km=5000.0))
    return path.read_text(encoding="utf-8")


def test_the_policy_allows_exactly_the_scripts_and_styles_inside(page: str) -> None:
    elements = _elements(page)
    (policy,) = [
        attributes["content"] or ""
        for tag, attributes, _ in elements
        if tag == "meta" and attributes.get("http-equiv") == "Content-Security-Policy"
    ]
    rules = {rule.split()[0]: rule.split()[1:] for rule in policy.split("; ")}
    for tag in ("script", "style"):
        texts = [
            text
            for name, attributes, text in elements
            if name == tag and attributes.get("type") != "application/json"
        ]
        hashes = [base64.b64encode(hashlib.sha256(t.encode()).digest()).decode() for t in texts]
        assert rules[f"{tag}-src"] == [f"'sha256-{digest}'" for digest in hashes]
        assert len(texts) > 1
    assert rules["default-src"] == ["'none'"]
    assert rules["img-src"] == ["data:"]
    assert rules["base-uri"] == rules["form-action"] == ["'none'"]
    assert len(rules) == 6


def test_no_element_asks_for_anything(page: str) -> None:
    for tag, attributes, text in _elements(page):
        assert tag not in {"img", "iframe", "object", "embed", "base", "form", "video", "audio"}
        for name in ("src", "srcset", "href", "action", "poster", "data", "style"):
            assert (attributes.get(name) or "data:").startswith("data:"), (tag, name)
        if tag == "style":
            assert re.findall(r"@import|url\((?!data:|#)", text) == []


def test_addresses_are_only_those_of_links_and_names(page: str) -> None:
    hosts = set(re.findall(r"https?://([\w.-]+)", page))
    # The last two are Leaflet's own: its link, which we do not show, and a comment.
    assert hosts <= {
        "www.openstreetmap.org",
        "www.w3.org",
        "leafletjs.com",
        "bugzilla.mozilla.org",
    }


def test_hostile_names_are_inert_and_unharmed(page: str) -> None:
    elements = _elements(page)
    scripts = [attributes for tag, attributes, _ in elements if tag == "script"]
    assert len(scripts) == page.count("<script")
    assert "<img" not in page.replace(assets.leaflet_script(), "")
    (data,) = [text for _, attributes, text in elements if attributes.get("id") == "page-data"]
    assert "<" not in data
    assert [item["title"] for item in json.loads(data)["items"]] == HOSTILE


def test_the_title_is_plain_text(page: str) -> None:
    assert page.count("Tom &amp; &lt;b&gt;Jerry&lt;/b&gt;") == 2
    assert "<b>Jerry" not in page


def test_the_same_answers_give_the_same_bytes(predict: Predict) -> None:
    texts = {page_html(payload.page([MapItem("a.jpg", predict(1.0, 2.0))])) for _ in range(2)}
    assert len(texts) == 1


def test_a_file_that_is_there_is_replaced_at_once(tmp_path: Path, predict: Predict) -> None:
    path = tmp_path / "map.html"
    path.write_text("old")
    with path.open() as before:
        write_map(path, [MapItem("a.jpg", predict(1.0, 2.0))])
        assert before.read() == "old"
    assert path.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert [entry.name for entry in tmp_path.iterdir()] == ["map.html"]


def test_a_failed_write_leaves_nothing_behind(tmp_path: Path, predict: Predict) -> None:
    (tmp_path / "map.html").mkdir()
    with pytest.raises(LocationNetError, match=r"map\.html: cannot be written"):
        write_map(tmp_path / "map.html", [MapItem("a.jpg", predict(1.0, 2.0))])
    assert [entry.name for entry in tmp_path.iterdir()] == ["map.html"]


def test_a_name_that_is_not_utf_8_can_be_written(tmp_path: Path, predict: Predict) -> None:
    write_map(tmp_path / "map.html", [MapItem("caf\udce9.jpg", predict(1.0, 2.0))], title="\udce9")
    assert "caf\\udce9.jpg" in (tmp_path / "map.html").read_text(encoding="utf-8")


def test_a_page_with_1500_large_cells_stays_small(page: str) -> None:
    assert len(page.encode()) < 1_200_000
