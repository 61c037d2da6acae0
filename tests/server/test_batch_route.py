"""POST /locate/batch: in order, each on its own, within limits."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from locationnet.model.locator import Locator

Make = Callable[..., bytes]
COLOURS = {"Oslo": (250, 250, 250), "Nairobi": (10, 10, 10), "San Francisco": (200, 30, 30)}
BATCH = "/locate/batch"


def _urls(client: Any, urls: list[str], **fields: Any) -> Any:
    body = json.dumps({"urls": urls, **fields}).encode()
    return client.ask("POST", BATCH, body, {"Content-Type": "application/json"})


def _cities(reply: Any) -> list[str]:
    assert reply.status == 200, reply.body
    return [
        found["answer"]["predictions"][0]["place"].split(",")[0] for found in reply.json["results"]
    ]


def test_answers_come_in_the_order_of_the_photos(
    client: Any, photo_server: Any, make_photo: Make
) -> None:
    wanted = [*COLOURS, *reversed(COLOURS)] * 5
    photos = [make_photo(COLOURS[city]) for city in wanted]
    urls = [photo_server.put(f"/{i}.jpg", photo) for i, photo in enumerate(photos)]
    assert _cities(client.form(*photos, path=BATCH)) == wanted
    assert _cities(_urls(client, urls)) == wanted


def test_each_answer_is_what_locate_says(client: Any, make_photo: Make) -> None:
    photo = make_photo(COLOURS["Oslo"])
    [found] = client.form(photo, path=BATCH, top_k="2", coarse_km="100").json["results"]
    alone = client.form(photo, top_k="2", coarse_km="100").json
    assert found.keys() == {"status", "answer"}
    del found["answer"]["timing_ms"], alone["timing_ms"]
    assert found["answer"] == alone


def test_what_is_wrong_with_one_says_nothing_of_the_others(
    client: Any, photo_server: Any, make_photo: Make
) -> None:
    photo = make_photo()
    sent = [photo, b"no photo", photo, b"", bytes(200_001), photo[:-60], photo]
    results = client.form(*sent, path=BATCH).json["results"]
    assert [found["status"] for found in results] == [200, 415, 200, 400, 413, 415, 200]
    for found in results:
        assert ("answer" in found) == (found["status"] == 200)
        if "problem" in found:
            assert found["problem"]["status"] == found["status"]
    urls = [
        photo_server.put("/good.jpg", photo),
        f"http://{photo_server.pair}/missing",
        "http://127.0.0.1/",
        "nonsense",
        photo_server.put("/good.jpg", photo),
    ]
    assert [found["status"] for found in _urls(client, urls).json["results"]] == [
        200, 502, 403, 400, 200,
    ]  # fmt: skip


def test_a_bug_with_one_is_500_for_it_alone(
    serving: Any, tiny_locator: Locator, make_photo: Make, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(Locator):
        def __init__(self) -> None:
            self.__dict__.update(tiny_locator.__dict__)

        def prepare(self, photo: Any) -> Any:
            if photo == b"secret":
                raise RuntimeError("secret")
            return super().prepare(photo)

    with serving(Broken()) as client:
        results = client.form(make_photo(), b"secret", make_photo(), path=BATCH).json["results"]
    assert [found["status"] for found in results] == [200, 500, 200]
    assert "RuntimeError" in caplog.text
    assert "secret" not in caplog.text + json.dumps(results)


def test_a_batch_is_1_to_32(client: Any, make_photo: Make) -> None:
    photo = make_photo()
    assert len(client.form(*[photo] * 32, path=BATCH).json["results"]) == 32
    for reply in (
        client.form(*[photo] * 33, path=BATCH),
        client.form(path=BATCH),
        _urls(client, []),
        _urls(client, ["http://127.0.0.1/"] * 33),
    ):
        assert reply.status == 400
        assert reply.problem


def test_a_form_that_is_cut_off_is_400_and_not_a_shorter_batch(
    client: Any, make_photo: Make
) -> None:
    part = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
    body = part + make_photo() + b"\r\n" + part + make_photo()
    kind = {"Content-Type": "multipart/form-data; boundary=b"}
    for end in (b"", b"\r\n", b"\r\n--b"):
        reply = client.ask("POST", BATCH, body + end, kind)
        assert reply.status == 400
        assert reply.problem
    assert client.ask("POST", BATCH, body + b"\r\n--b--\r\n", kind).status == 200


def test_another_kind_of_body_is_415(client: Any, make_photo: Make) -> None:
    reply = client.ask("POST", BATCH, make_photo(), {"Content-Type": "image/jpeg"})
    assert reply.status == 415
    assert reply.problem


def test_options_hold_for_all(client: Any, make_photo: Make) -> None:
    reply = client.form(*[make_photo()] * 3, path=f"{BATCH}?top_k=1")
    assert [len(found["answer"]["predictions"]) for found in reply.json["results"]] == [1, 1, 1]
    assert client.form(make_photo(), path=f"{BATCH}?top_k=0").status == 422
    assert client.form(make_photo(), path=BATCH, near="95,0,1").status == 422


def test_a_batch_asks_for_room_for_as_many_as_it_may_hold(
    serving: Any, tiny_locator: Locator, make_photo: Make
) -> None:
    with serving(tiny_locator, queue=4) as client:
        assert len(client.form(*[make_photo()] * 6, path=BATCH).json["results"]) == 6
        assert client.raw(make_photo()).status == 200


def test_a_batch_that_can_never_be_held_is_413(
    serving: Any, tiny_locator: Locator, make_photo: Make
) -> None:
    photo = make_photo(size=(600, 400))
    with serving(tiny_locator, max_held_bytes=3 * len(photo)) as client:
        assert client.form(photo, photo, path=BATCH).status == 200
        reply = client.form(*[photo] * 5, path=BATCH)
        assert reply.status == 413
        assert "retry-after" not in reply.headers
        assert client.form(photo, photo, path=BATCH).status == 200
