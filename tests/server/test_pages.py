"""The map page's files over HTTP: kept by browsers, packed, and closed to everybody else."""

from __future__ import annotations

import gzip
import re
from typing import Any

import pytest

from locationnet.errors import InputError
from locationnet.geo import s2
from locationnet.model.locator import Locator
from locationnet.server.settings import read_settings


def _policy(reply: Any) -> dict[str, list[str]]:
    rules = [rule.split() for rule in reply.headers["content-security-policy"].split("; ")]
    return {rule[0]: rule[1:] for rule in rules}


def test_the_page_allows_scripts_styles_and_requests_of_its_own_server_only(client: Any) -> None:
    reply = client.get("/")
    assert reply.status == 200
    assert reply.headers["content-type"] == "text/html; charset=utf-8"
    assert _policy(reply) == {
        "default-src": ["'none'"],
        "script-src": ["'self'"],
        "style-src": ["'self'"],
        "img-src": ["'self'", "blob:", "data:"],
        "connect-src": ["'self'"],
        "base-uri": ["'none'"],
        "form-action": ["'none'"],
        "frame-ancestors": ["'none'"],
    }
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert reply.headers["referrer-policy"] == "no-referrer"
    assert "geolocation=()" in reply.headers["permissions-policy"]
    text = reply.body.decode()
    assert "{{" not in text
    assert not re.search(r"<script(?![^>]* src=)|<style|\sstyle=|\son\w+=|//(?!example)", text)


def test_what_the_page_loads_can_be_kept_for_ever(client: Any) -> None:
    page = client.get("/").body.decode()
    names = set(re.findall(r"static/[\w.-]+", page))
    assert len(names) == 20
    for name in names:
        reply = client.get(f"/{name}")
        assert reply.status == 200
        assert "immutable" in reply.headers["cache-control"]
        packed = client.ask("GET", f"/{name}", headers={"Accept-Encoding": "gzip"})
        assert packed.headers["content-encoding"] == "gzip"
        assert gzip.decompress(packed.body) == reply.body
        assert packed.headers["etag"] != reply.headers["etag"]


@pytest.mark.parametrize("path", ["/static/map.js", "/static/..%2fpages.py", "/static/"])
def test_nothing_else_is_served(client: Any, path: str) -> None:
    assert client.get(path).status == 404


@pytest.mark.parametrize("path", ["/", "/cells.geojson"])
def test_what_has_not_changed_is_not_sent_again(client: Any, path: str) -> None:
    first = client.get(path)
    assert first.headers["cache-control"] == "no-cache"
    tag = first.headers["etag"]
    for sent in (tag, f"W/{tag}", f'"other", {tag}'):
        again = client.ask("GET", path, headers={"If-None-Match": sent})
        assert (again.status, again.body, again.headers["etag"]) == (304, b"", tag)
    assert client.ask("GET", path, headers={"If-None-Match": '"other"'}).status == 200
    head = client.ask("HEAD", path)
    assert (head.status, head.body) == (200, b"")


def test_all_cells_are_those_of_the_grid(client: Any, tiny_locator: Locator) -> None:
    reply = client.get("/cells.geojson")
    assert reply.headers["content-type"] == "application/geo+json"
    cells = [feature["properties"]["cell"] for feature in reply.json["features"]]
    assert cells == s2.tokens(tiny_locator.grid.ids)


def test_cells_come_as_a_map_can_show_them(client: Any, tiny_locator: Locator) -> None:
    def cells(query: str) -> set[str]:
        features = client.get(f"/cells.geojson?{query}").json["features"]
        return {feature["properties"]["cell"] for feature in features}

    tokens = set(s2.tokens(tiny_locator.grid.ids))
    assert cells("zoom=19") == tokens
    # Oslo alone, then San Francisco and Oakland, which are one from afar.
    assert len(cells("zoom=19&bbox=10,59,12,61") & tokens) == 1
    assert len(cells("zoom=12&bbox=-123,37,-122,38")) == 2
    assert len(cells("zoom=3&bbox=-123,37,-122,38")) == 1
    assert not cells("zoom=12&bbox=170,-20,-170,-10")


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("zoom=31", "less than or equal"),
        ("zoom=x", "integer"),
        ("zoom=3&bbox=1,2,3", "four numbers"),
        ("zoom=3&bbox=1,nan,3,4", "not a valid box"),
        ("zoom=3&bbox=1,20,3,4", "not a valid box"),
        ("bbox=1,2,3,4", "zoom"),
    ],
)
def test_a_view_that_is_none_is_said_to_be_wrong(client: Any, query: str, words: str) -> None:
    reply = client.get(f"/cells.geojson?{query}")
    assert reply.status == (400 if query == "zoom=x" else 422)
    assert words in reply.problem


def test_a_heat_map_comes_only_when_asked_for(
    client: Any, make_photo: Any, photo_server: Any
) -> None:
    photo = make_photo()
    url = photo_server.put("/heat.jpg", photo)
    assert "heatmap" not in client.raw(photo).json
    assert "heatmap" not in client.url(url, heatmap=False).json
    for reply in (client.raw(photo, query="?heatmap=true"), client.url(url, heatmap=True)):
        features = reply.json["heatmap"]["features"]
        assert sum(f["properties"]["probability"] for f in features) >= 0.95
        assert features[0]["properties"]["cell"] == reply.json["predictions"][0]["cell"]


def test_the_cells_of_the_answer_without_a_photo_keep_to_a_region(client: Any) -> None:
    reply = client.get("/prior.geojson")
    assert reply.headers["content-type"] == "application/geo+json"
    shares = [feature["properties"]["probability"] for feature in reply.json["features"]]
    assert 0.95 <= sum(shares) <= 1.00001
    [oslo] = client.get("/prior.geojson?countries=NO").json["features"]
    assert oslo["properties"]["probability"] == 1
    assert client.get("/prior.geojson?bbox=1,2,3,4").status == 422


def test_tiles_widen_the_policy_by_exactly_their_server(
    serving: Any, tiny_locator: Locator
) -> None:
    tiles = "https://tiles.example:8443/{z}/{x}/{y}.png?key=1&b=2"
    with serving(tiny_locator, tile_url=tiles) as client:
        reply = client.get("/")
    assert _policy(reply)["img-src"] == ["'self'", "blob:", "data:", "https://tiles.example:8443"]
    assert 'data-tile-url="https://tiles.example:8443/{z}/{x}/{y}.png?key=1&amp;b=2"' in str(
        reply.body
    )


@pytest.mark.parametrize(
    "url",
    [
        "http://tiles.example/{z}/{x}/{y}.png",
        "https://{s}.tiles.example/{z}/{x}/{y}.png",
        "https://tiles.example/{z}/{x}.png",
        "https://tiles.example/{z}/{x}/{y}/{key}.png",
        "https://a.example;script-src/{z}/{x}/{y}",
        "https://user@tiles.example/{z}/{x}/{y}",
    ],
)
def test_a_tile_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(InputError, match="LOCATIONNET_TILE_URL"):
        read_settings(tile_url=url)


def test_the_page_offers_the_kinds_of_photos_that_are_read(client: Any) -> None:
    pytest.importorskip("pillow_heif")
    page = client.get("/").body.decode()
    kinds = "image/jpeg,image/png,image/webp,image/avif,image/heic"
    assert f'accept="{kinds}"' in page
