"""Who is let in: names, keys, rates, other sites' pages; and that keys never come out."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from locationnet.errors import InputError
from locationnet.model.locator import Locator
from locationnet.server import access
from locationnet.server.access import PROTECTED, is_loopback
from locationnet.server.settings import read_settings

Make = Callable[..., bytes]
KEY, OTHER, HASHED = "k-0123456789abcdef", "other-0123456789ab", "hashed-0123456789a"
HASH = hashlib.sha256(HASHED.encode()).hexdigest()
JPEG = {"Content-Type": "image/jpeg"}


def _ask(client: Any, photo: bytes, path: str = "/locate", **headers: str) -> Any:
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    return client.ask("POST", path, photo, {**JPEG, **fields})


# Keys.


@pytest.fixture(scope="module")
def guarded(serving: Any, tiny_locator: Locator) -> Iterator[Any]:
    with serving(tiny_locator, api_keys=f"{KEY},{OTHER},sha256:{HASH}") as client:
        yield client


@pytest.mark.parametrize("key", [KEY, OTHER, HASHED])
def test_any_of_the_keys_opens(guarded: Any, make_photo: Make, key: str) -> None:
    assert _ask(guarded, make_photo(), X_API_Key=key).status == 200
    assert _ask(guarded, make_photo(), Authorization=f"Bearer {key}").status == 200
    assert _ask(guarded, make_photo(), Authorization=f"bearer  {key}").status == 200
    assert guarded.ask("GET", "/metrics", headers={"X-API-Key": key}).status == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-API-Key": ""},
        {"X-API-Key": KEY[:-1]},
        {"X-API-Key": KEY + "x"},
        {"X-API-Key": KEY.upper()},
        {"X-API-Key": HASH},
        {"X-API-Key": f"sha256:{HASH}"},
        {"X-API-Key": f"{KEY},{OTHER}"},
        {"X-API-Key": "wrong" * 1000},
        {"Authorization": "Bearer"},
        {"Authorization": f"Basic {KEY}"},
        {"Authorization": KEY},
        {"X-API-Key": "é" * 16},
    ],
)
def test_nothing_else_opens(guarded: Any, make_photo: Make, headers: dict[str, str]) -> None:
    for path in sorted(PROTECTED):
        method = "GET" if path == "/metrics" else "POST"
        reply = guarded.ask(method, path, make_photo(), {**JPEG, **headers})
        assert reply.status == 401
        assert reply.headers["www-authenticate"] == "Bearer"
        assert "X-API-Key" in reply.problem


def test_what_needs_no_key_needs_none(guarded: Any) -> None:
    for path in ("/", "/healthz", "/readyz", "/ping", "/model", "/docs", "/openapi.json"):
        assert guarded.get(path).status == 200


@pytest.mark.parametrize("path", ["/locate/", "//locate", "/LOCATE", "/locate/batch/", "/./locate"])
def test_no_spelling_of_a_path_gets_around_the_keys(
    guarded: Any, make_photo: Make, path: str
) -> None:
    assert _ask(guarded, make_photo(), path).status in (401, 404)
    assert _ask(guarded, make_photo(), "/%6cocate").status == 401


def test_all_keys_are_compared_in_constant_time(
    guarded: Any, make_photo: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[tuple[int, int]] = []

    def watch(own: bytes, known: bytes) -> bool:
        compared.append((len(own), len(known)))
        return own == known

    monkeypatch.setattr("locationnet.server.access.hmac.compare_digest", watch)
    for key in (KEY, "x", "wrong" * 100):
        compared.clear()
        _ask(guarded, make_photo(), X_API_Key=key)
        assert compared == [(64, 64)] * 3


def test_keys_never_come_out(
    guarded: Any, make_photo: Make, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "locationnet")
    replies = [
        _ask(guarded, b"no photo", X_API_Key=KEY),
        _ask(guarded, make_photo(), X_API_Key=KEY),
        _ask(guarded, make_photo(), X_API_Key="guessed-0123456789"),
        guarded.ask("GET", "/metrics", headers={"X-API-Key": KEY}),
        guarded.get("/openapi.json"),
    ]
    settings = read_settings(api_keys=f"{KEY},{OTHER}")
    shown = [repr(settings), str(settings), json.dumps(settings.described()), caplog.text]
    shown += [str(reply.headers) + reply.body.decode() for reply in replies]
    own = hashlib.sha256(KEY.encode()).hexdigest()
    for text in shown:
        for secret in (KEY, OTHER, HASHED, HASH, own, "guessed-0123456789"):
            assert secret not in text
    assert settings.described()["api_keys"] == 2


@pytest.mark.parametrize(
    "key", ["short", "sha256:abc", "sha256:" + "Z" * 64, "ключ" * 5, "two words" * 2, "tab\t" * 5]
)
def test_a_key_that_is_none_is_refused_without_being_told(key: str) -> None:
    with pytest.raises(InputError, match="LOCATIONNET_API_KEYS") as caught:
        read_settings(api_keys=(key,))
    assert key not in str(caught.value)


# Names: a page whose own name points at loopback must not get in (DNS rebinding).


def _status(client: Any, host: str, path: str = "/healthz") -> int:
    return int(client.ask("GET", path, headers={"Host": host}).status)


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST:8080",
        "127.0.0.1",
        "127.0.0.1:9",
        "[::1]",
        "[::1]:8080",
        "localhost:",
    ],
)
def test_loopback_has_loopbacks_names(client: Any, host: str) -> None:
    assert _status(client, host) == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example", "evil.example:8080", "localhost.evil.example", "127.0.0.1.evil.example",
        "[::1].evil.example", "[::2]:8080", "localhost:8080:8080", "evil@localhost", "", ":8080",
        "0.0.0.0", "127.1", "localhost, evil.example",
    ],
)  # fmt: skip
def test_loopback_has_no_other_name(client: Any, make_photo: Make, host: str) -> None:
    for path in ("/", "/healthz", "/metrics", "/model", "/static/x"):
        assert _status(client, host, path) == 400
    reply = _ask(client, make_photo(), Host=host)
    assert reply.status == 400
    assert "Host" in reply.problem


def test_a_server_answers_by_the_address_that_it_listens_on() -> None:
    for host, own in (("127.0.0.2", "127.0.0.2"), ("::1", "[::1]"), ("localhost", "localhost")):
        checked = access.Access(lambda *_: None, read_settings(host=host))  # type: ignore[arg-type]
        assert own in checked._names


def test_a_server_may_be_given_names(serving: Any, tiny_locator: Locator) -> None:
    with serving(tiny_locator, server_names="Photos.example,[2001:db8::1]") as client:
        for host in ("photos.example", "PHOTOS.example:443", "[2001:db8::1]:80"):
            assert _status(client, host) == 200
        for host in ("localhost", "127.0.0.1", "evil.example"):
            assert _status(client, host) == 400


@pytest.mark.parametrize("name", ["photos.example:443", "https://photos.example", "::1", "a b"])
def test_a_name_that_never_fits_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="LOCATIONNET_SERVER_NAMES"):
        read_settings(server_names=name)


def test_beyond_loopback_any_name_will_do_unless_some_are_given() -> None:
    reached = read_settings(host="0.0.0.0", api_keys=KEY)
    assert not access.Access(lambda *_: None, reached)._names  # type: ignore[arg-type]


def test_which_addresses_are_loopback() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "127.9.9.9", "::1", "localhost")))
    assert not any(map(is_loopback, ("", "0.0.0.0", "::", "192.168.0.1", "localhost.example")))


# Other sites' pages.


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_pages_of_other_sites_may_not_keep_it_busy(
    serving: Any, tiny_locator: Locator, make_photo: Make, site: str
) -> None:
    foreign = {"Origin": "https://app.example", "Sec_Fetch_Site": site}
    with serving(tiny_locator, rate_limit="1/hour") as client:
        reply = _ask(client, make_photo(), **foreign)
        assert reply.status == 403
        assert reply.problem
        # It has cost nothing; the map page and what is no browser may ask.
        assert _ask(client, make_photo(), Sec_Fetch_Site="same-origin").status == 200
    with serving(tiny_locator, cors_origins="https://app.example") as client:
        assert _ask(client, make_photo(), **foreign).status == 200
        foreign["Origin"] = "https://evil.example"
        assert _ask(client, make_photo(), **foreign).status == 403
        assert _ask(client, make_photo(), Sec_Fetch_Site="none").status == 200


def test_cors_is_off_unless_an_origin_is_named(
    client: Any, serving: Any, tiny_locator: Locator, make_photo: Make
) -> None:
    asked = {
        "Origin": "https://app.example",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "x-api-key",
    }
    for reply in (
        client.ask("OPTIONS", "/locate", headers=asked),
        _ask(client, make_photo(), Origin="https://app.example"),
    ):
        assert not [name for name in reply.headers if name.lower().startswith("access-control")]
    with serving(tiny_locator, cors_origins="https://app.example", api_keys=KEY) as open_client:
        reply = open_client.ask("OPTIONS", "/locate", headers=asked)
        assert reply.status == 200
        assert reply.headers["access-control-allow-origin"] == "https://app.example"
        assert "access-control-allow-credentials" not in reply.headers
        refused = open_client.ask("OPTIONS", "/locate", headers={**asked, "Origin": "https://x.y"})
        assert "access-control-allow-origin" not in refused.headers
        # Whoever has no key is told so, and may read it.
        reply = _ask(open_client, make_photo(), Origin="https://app.example")
        assert reply.status == 401
        assert reply.headers["access-control-allow-origin"] == "https://app.example"


@pytest.mark.parametrize("origin", ["*", "app.example", "https://app.example/", "https://a b"])
def test_an_origin_that_is_none_is_refused(origin: str) -> None:
    with pytest.raises(InputError, match="LOCATIONNET_CORS_ORIGINS"):
        read_settings(cors_origins=origin)


# Rates.


def _statuses(client: Any, photo: bytes, count: int, **headers: str) -> list[int]:
    return [_ask(client, photo, **headers).status for _ in range(count)]


def test_beyond_the_rate_it_is_429_for_each_key(
    serving: Any, tiny_locator: Locator, make_photo: Make
) -> None:
    photo = make_photo()
    with serving(tiny_locator, rate_limit="3/hour", api_keys=f"{KEY},{OTHER}") as client:
        assert _statuses(client, photo, 4, X_API_Key=KEY) == [200, 200, 200, 429]
        reply = _ask(client, photo, "/invocations", Authorization=f"Bearer {KEY}")
        assert reply.status == 429
        assert 0 < int(reply.headers["retry-after"]) <= 3600
        assert "3 per 1 hour" in reply.problem
        assert _statuses(client, photo, 1, X_API_Key=OTHER) == [200]
        # Guesses cost the owner of a key nothing, and metrics cost nothing.
        assert _statuses(client, photo, 1, X_API_Key="guess") == [401]
        assert client.ask("GET", "/metrics", headers={"X-API-Key": KEY}).status == 200


def test_without_keys_the_rate_is_for_each_network(
    serving: Any, tiny_locator: Locator, make_photo: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo, client_is = make_photo(), "127.0.0.1"
    original = access._address
    monkeypatch.setattr(
        access, "_address", lambda scope: original({**scope, "client": (client_is, 1)})
    )
    with serving(tiny_locator, rate_limit="1/hour") as client:
        for client_is, status in [
            ("192.0.2.1", 200), ("192.0.2.1", 429), ("192.0.2.2", 200),
            ("2001:db8:0:1::1", 200), ("2001:db8:0:1:ffff::2", 429), ("2001:db8:0:2::1", 200),
            ("::ffff:192.0.2.3", 200), ("::ffff:192.0.2.4", 200), ("::ffff:192.0.2.1", 429),
            ("fe80::1%eth0", 200), ("garbage", 200), ("other", 429),
        ]:  # fmt: skip
            assert _statuses(client, photo, 1) == [status], client_is


def test_a_batch_pays_for_each_photo(serving: Any, tiny_locator: Locator, make_photo: Make) -> None:
    photo = make_photo()
    with serving(tiny_locator, rate_limit="5/hour") as client:
        assert client.form(*[photo] * 6, path="/locate/batch").status == 429
    with serving(tiny_locator, rate_limit="5/hour") as client:
        assert client.form(*[photo] * 4, path="/locate/batch").status == 200
        assert _statuses(client, photo, 2) == [200, 429]


# SageMaker asks two things.


def test_a_sagemaker_container_answers_ping_and_invocations_only(
    serving: Any, tiny_locator: Locator, make_photo: Make
) -> None:
    with serving(tiny_locator, sagemaker=True) as client:
        assert _status(client, "10.32.0.2:8080", "/ping") == 200
        reply = _ask(client, make_photo(), "/invocations", Host="model.aws.local:8080")
        assert reply.status == 200
        assert reply.json["predictions"]
        for path in ("/", "/locate", "/locate/batch", "/metrics", "/model", "/docs", "/healthz"):
            for method in ("GET", "POST"):
                missing = client.ask(method, path, make_photo(), JPEG)
                assert missing.status == 404
                assert missing.problem


def test_invocations_answer_what_locate_answers(client: Any, make_photo: Make) -> None:
    photo = make_photo((200, 30, 30))
    [one, other] = [
        _ask(client, photo, f"{path}?top_k=2&coarse_km=50").json
        for path in ("/locate", "/invocations")
    ]
    del one["timing_ms"], other["timing_ms"]
    assert one == other
    assert _ask(client, b"no photo", "/invocations").status == 415
