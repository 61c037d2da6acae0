"""The service over real HTTP, with the tiny bundle: answers, errors, and what it keeps quiet."""

from __future__ import annotations

import gzip
import io
import json
import logging
import re
import socket
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from locationnet.model.locator import Locator

Make = Callable[..., bytes]
DARK = (10, 10, 10)


def without_timing(reply: Any) -> Any:
    assert reply.status == 200, reply.body
    return {key: value for key, value in reply.json.items() if key != "timing_ms"}


def test_all_three_forms_give_the_locators_answer(
    client: Any, photo_server: Any, make_photo: Make, tiny_locator: Locator
) -> None:
    photo = make_photo(DARK)
    url = photo_server.put("/dark.jpg", photo)
    answers = [
        without_timing(client.raw(photo, query="?explain=true")),
        without_timing(client.raw(photo, "image/png; charset=binary", "?explain=true")),
        without_timing(client.raw(photo, "Image/JPEG;charset=UTF-8", "?explain=true")),
        without_timing(client.raw(photo, "Application/Octet-Stream ; a=b", "?explain=true")),
        without_timing(client.form(photo, explain="true")),
        without_timing(client.url(url, explain=True)),
    ]
    expected = json.loads(json.dumps(tiny_locator.locate(photo).to_dict()))
    model = {"name": "tiny", "version": "0.0.1", "grid_sha256": tiny_locator.grid.sha256}
    assert answers == [{**expected, "model": model}] * 6
    assert answers[0]["predictions"][0]["place"] == "Nairobi, Nairobi County, KE"


def test_the_answer_has_the_documented_shape(client: Any, make_photo: Make) -> None:
    answer = client.raw(make_photo()).json
    assert list(answer) == [
        "summary", "located", "predictions", "mode_radius_km", "cities", "raised", "countries",
        "hint", "best", "radius_km", "abstained", "information_bits", "model", "timing_ms",
    ]  # fmt: skip
    assert list(answer["predictions"][0]) == [
        "rank", "probability", "lift", "lat", "lng", "cell", "level", "place",
    ]  # fmt: skip
    assert answer["best"].keys() == {"lat", "lng", "place"}
    assert answer["radius_km"].keys() == {"50", "90"}
    assert answer["timing_ms"].keys() == {"fetch", "decode", "queue", "infer"}


def test_a_demo_never_answers_without_the_prior(
    serving: Any, tiny_locator: Locator, make_photo: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = tiny_locator.bundle.manifest.model_copy(update={"demo": True})
    monkeypatch.setitem(tiny_locator.bundle.__dict__, "manifest", manifest)
    with serving(tiny_locator) as client:
        answer = client.raw(make_photo(DARK), query="?top_k=2").json
        assert client.get("/model").json["demo"] is True
    assert answer["demo"] is True
    assert answer["prior"].keys() == {"predictions", "best", "radius_km"}
    expected = tiny_locator.prior(2).to_dict()
    assert answer["prior"]["predictions"] == expected["predictions"]
    assert answer["prior"]["radius_km"] == expected["radius_km"]


def test_top_k_comes_from_the_query_or_the_json(
    client: Any, photo_server: Any, make_photo: Make
) -> None:
    photo = make_photo()
    url = photo_server.put("/grey.jpg", photo)
    assert len(client.raw(photo, query="?top_k=1").json["predictions"]) == 1
    assert len(client.raw(photo, query="?top_k=100").json["predictions"]) == 4
    assert len(client.url(url, top_k=2).json["predictions"]) == 2
    assert len(client.post_json({"url": url}, "?top_k=3").json["predictions"]) == 3
    assert len(client.post_json({"url": url, "top_k": 1}, "?top_k=3").json["predictions"]) == 1


def test_nothing_of_an_answer_may_be_stored(client: Any, make_photo: Make) -> None:
    assert client.raw(make_photo()).headers["cache-control"] == "no-store"


def test_a_chunked_body_is_read(client: Any, make_photo: Make) -> None:
    photo = make_photo(size=(600, 400))
    pieces = (photo[start : start + 1000] for start in range(0, len(photo), 1000))
    assert client.raw(pieces, chunked=True).status == 200


def test_a_large_upload_never_touches_the_disk(
    serving: Any, tiny_locator: Locator, make_photo: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo = make_photo(image=Image.effect_noise((2000, 1500), 80), quality=95)
    assert len(photo) > 1_500_000
    monkeypatch.setattr("tempfile.tempdir", "/nowhere")
    with serving(tiny_locator) as client:
        assert client.form(photo).status == 200


# Errors.


@pytest.mark.parametrize("top_k", ["0", "-1", "101", "99999999999999999999"])
def test_a_top_k_out_of_range_is_422(client: Any, make_photo: Make, top_k: str) -> None:
    assert "top_k" in client.raw(make_photo(), query=f"?top_k={top_k}").problem
    for reply in (
        client.raw(make_photo(), query=f"?top_k={top_k}"),
        client.post_json(f'{{"url": "http://example.org/", "top_k": {top_k}}}'.encode()),
    ):
        assert reply.status == 422
        assert "top_k" in reply.problem


@pytest.mark.parametrize("top_k", ["five", "", "1.5", "1e9", "NaN", "0x5", "5;6"])
def test_a_top_k_that_is_no_number_is_400(client: Any, make_photo: Make, top_k: str) -> None:
    reply = client.raw(make_photo(), query=f"?top_k={top_k}")
    assert reply.status == 400
    assert "top_k" in reply.problem


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'"http://example.org/"',
        b"{}",
        b'{"url": null}',
        b'{"url": 5}',
        b'{"url": ["http://example.org/"]}',
        b'{"url": "http://example.org/", "top_k": "5"}',
        b'{"url": "http://example.org/", "top_k": true}',
        b'{"url": "http://example.org/", "top_k": 1.5}',
        b'{"url": "http://example.org/", "secret": "hush"}',
        b'{"url": "\xff"}',
        b'{"url": "\\ud800"}',
        b"[" * 10_000,
        b'{"a":' * 2_000,
        "{“url”: 1}".encode("utf-16"),
    ],
)
def test_malformed_json_is_400(client: Any, body: bytes) -> None:
    reply = client.post_json(body)
    assert reply.status == 400
    assert "secret" not in reply.problem
    assert "hush" not in reply.problem


@pytest.mark.parametrize("url", ["", "photo.jpg", "http://2130706433/", "http://a b/", "http://"])
def test_a_malformed_url_is_400(client: Any, url: str) -> None:
    assert client.url(url).status == 400
    assert client.url(url).problem


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "http://127.0.0.1/",
        "http://localhost/",
        "http://169.254.169.254/latest/meta-data/",
        "http://[::ffff:127.0.0.1]/",
        "http://example.org:22/",
        "http://user:secret@example.org/",
    ],
)
def test_a_refused_url_is_403(client: Any, url: str) -> None:
    reply = client.url(url)
    assert reply.status == 403
    assert "secret" not in reply.problem


def test_only_the_exempt_port_of_a_host_is_exempt(client: Any) -> None:
    assert client.url(f"http://127.0.0.1:{client.port}/healthz").status == 403


def test_a_redirect_to_the_metadata_address_is_403(client: Any, photo_server: Any) -> None:
    url = photo_server.put("/bounce", b"http://169.254.169.254/latest/", 302)
    assert client.url(url).status == 403


def test_a_url_is_followed_as_browsers_follow_it(
    client: Any, photo_server: Any, make_photo: Make
) -> None:
    photo = make_photo(DARK)
    photo_server.put("/my%20photo%20%C3%BC.png", gzip.compress(photo))
    url = photo_server.put("/moved", "/my photo ü.png#top".encode(), 302)
    assert without_timing(client.url(f" {url}\n")) == without_timing(client.raw(photo))
    batch = client.ask(
        "POST",
        "/locate/batch",
        json.dumps({"urls": [f"\t{url} "]}).encode(),
        {"Content-Type": "application/json"},
    )
    assert [result["status"] for result in batch.json["results"]] == [200]


def test_a_remote_photo_that_inflates_beyond_the_limit_is_413(
    client: Any, photo_server: Any
) -> None:
    reply = client.url(photo_server.put("/bomb.png", gzip.compress(bytes(10_000_000))))
    assert reply.status == 413
    assert "200000 bytes" in reply.problem


def test_a_failing_remote_server_is_502(client: Any, photo_server: Any) -> None:
    assert client.url(f"http://{photo_server.pair}/missing.jpg").status == 502
    assert "404" in client.url(f"http://{photo_server.pair}/missing.jpg").problem


def test_a_stalling_remote_server_is_504(serving: Any, tiny_locator: Locator) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        pair = f"127.0.0.1:{silent.getsockname()[1]}"
        with serving(tiny_locator, fetch_timeout_s=0.3, exempt_hosts=(pair,)) as client:
            reply = client.url(f"http://{pair}/photo.jpg")
    assert reply.status == 504
    assert "0.3 seconds" in reply.problem


def test_a_remote_photo_over_the_limit_is_413(client: Any, photo_server: Any) -> None:
    url = photo_server.put("/large.jpg", bytes(200_001))
    assert client.url(url).status == 413
    assert "200000 bytes" in client.url(url).problem


@pytest.mark.parametrize(
    ("content", "kind", "says"),
    [
        (b"<html>", "", "that is a web page: copy the image's own address"),
        (b"\n<!-- x --><!DOCTYPE html><p>", "text/html", "that is a web page: copy the image's"),
        ("<?xml version='1.0'?><!DOCTYPE html><html>".encode("utf-16"), "", "that is a web page"),
        ("Grüße".encode("latin-1"), "text/html; charset=x", "that is a web page: copy"),
        (b"<div>caf\xe9" + b" " * 9000, "text/html", "that is a web page"),
        (b"<form><input name=p TYPE='password'>", "", "a web page to log in: download the photo"),
        (b"<?xml version='1.0'?>\n<!-- x --><svg xmlns='x'/>", "image/svg+xml",
         "that is an SVG drawing: use a photo, as JPEG"),
        (b"<error>", "application/xml", "that is an XML document: use a photo"),
        (b'{"error": "no"}', "application/json", "that is text: copy the image's own address"),
        (b"%PDF-1.7", "application/octet-stream", "that is a PDF document: save the photo in it"),
        (b"\0\0\0\x18ftypmp42", "image/jpeg", "that is a video: save one of its frames as JPEG"),
        (b"\x1a\x45\xdf\xa3", "", "that is a video: "),
        (b"\1\2\3\0", "video/mp2t", "that is a video: "),
        (bytes(200_001), "video/mp4", "that is a video: "),
        (b"GIF89a", "image/gif", "an image of the format GIF: save it as JPEG, and use that file"),
        (b"II*\0", "", "an image of the format TIFF, or a camera's raw file: save it as JPEG"),
        (b"PK\3\4", "", "that is a ZIP archive or an office document: "),
        (b"\1\2\3\0", "image/jpeg", "not a JPEG, PNG, WebP, AVIF or HEIC image"),
        (b"", "", "there is an empty file at this address"),
    ],
)  # fmt: skip
def test_what_is_behind_a_url_instead_of_a_photo_is_named(
    client: Any, photo_server: Any, content: bytes, kind: str, says: str
) -> None:
    reply = client.url(photo_server.put("/instead", content, kind=kind))
    photo_server.kinds.clear()
    assert reply.status == 415
    assert says in reply.problem


def test_a_redirect_to_a_page_is_said_to_be_one(client: Any, photo_server: Any) -> None:
    photo_server.put("/login", b"<html>Who are you?")
    photo_server.put("/page/", b"<html>")
    moved = client.url(photo_server.put("/shared.jpg", b"/login?next=/shared.jpg", 302))
    mended = client.url(photo_server.put("/page", b"/page/", 302))
    assert "redirects to a web page, perhaps to log in: copy the image's own" in moved.problem
    assert mended.problem == "that is a web page: copy the image's own address"


def test_a_photo_counts_as_one_whatever_its_server_calls_it(
    client: Any, photo_server: Any, make_photo: Make
) -> None:
    url = photo_server.put("/called.html", make_photo(), kind="text/html")
    photo_server.kinds.clear()
    assert client.url(url).status == 200


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("", "the address is empty"),
        ("www.example.org/photo.jpg", "must begin with https:// or http://"),
        ("example.org:443/photo.jpg", "must begin with https:// or http://"),
        ("//example.org/photo.jpg", "must begin with https:// or http://"),
        ("https:/example.org/photo.jpg", "must begin with https:// or http://"),
        ("data:image/png;base64,iVBORw0KGgo=", "the photo itself, written as text (data:)"),
        ("DATA:," + "x" * 9000, "the photo itself, written as text (data:)"),
        ("blob:https://example.org/1", "works in one browser alone"),
        ("C:\\Photos\\1.jpg", "that is the path of a file"),
        ("/home/1.jpg", "that is the path of a file"),
        ("file:///home/1.jpg", "that is the path of a file"),
        ('"https://example.org/1.jpg"', "leave out the quotes or brackets"),
        ("<https://example.org/1.jpg>", "leave out the quotes or brackets"),
        ("ftp://example.org/1.jpg", "only addresses of http and https are fetched"),
        ("https://example.org/my photo.jpg", "contains a space"),
    ],
)
def test_what_is_wrong_with_an_address_is_said(client: Any, url: str, says: str) -> None:
    reply = client.url(url)
    assert reply.status in (400, 403)
    assert says in reply.problem
    assert "example" not in reply.problem  # nothing of what was sent


def test_a_photo_written_into_json_is_said_to_be_one(client: Any) -> None:
    reply = client.url("data:image/png;base64," + "A" * 20_000)
    assert reply.status == 413
    assert "sent as a file, not as a data: URL" in reply.problem


def test_a_body_over_the_limit_is_413_in_every_form(client: Any) -> None:
    photo = bytes(200_001)
    pieces = (photo[start : start + 1000] for start in range(0, len(photo), 1000))
    for reply in (
        client.raw(photo),
        client.form(photo),
        client.form(bytes(2_000_000)),
        client.raw(pieces, chunked=True),
        client.post_json({"url": "http://example.org/" + "a" * 20_000}),
    ):
        assert reply.status == 413
        assert "bytes" in reply.problem


@pytest.mark.parametrize("kind", ["image/jpeg", "multipart/form-data; boundary=b"])
def test_an_endless_body_is_answered_while_it_is_sent(client: Any, kind: str) -> None:
    head = (
        f"POST /locate HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\n"
        "Transfer-Encoding: chunked\r\n\r\n"
    )
    part = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
    with socket.create_connection(("127.0.0.1", client.port), timeout=30) as connection:
        connection.sendall(head.encode())
        connection.sendall(f"{len(part):x}\r\n".encode() + part + b"\r\n")
        chunk = b"4000\r\n" + bytes(0x4000) + b"\r\n"
        for _ in range(20):
            connection.sendall(chunk)
        assert connection.recv(100).startswith(b"HTTP/1.1 413 ")


def test_a_boundary_that_never_comes_is_400(client: Any) -> None:
    for kind in ("multipart/form-data", "multipart/form-data; boundary=b"):
        for body in (b"", b"x" * 1000, b"--b\r\n\r\n", b"--b\r\nContent-Disposition: form-data"):
            reply = client.raw(body, kind)
            assert reply.status == 400
            assert reply.problem


def test_a_form_is_one_file(client: Any, make_photo: Make) -> None:
    photo = make_photo()
    assert client.form(photo, name="image").status == 400
    assert "file" in client.form(photo, name="image").problem
    part = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
    reply = client.raw(
        part + photo + b"\r\n" + part + photo + b"\r\n--b--\r\n",
        "multipart/form-data; boundary=b",
    )
    assert reply.status == 400
    assert reply.problem


def test_an_empty_photo_is_400(client: Any) -> None:
    assert client.raw(b"").status == 400
    assert client.form(b"").status == 400


@pytest.mark.parametrize("kind", ["", "text/plain", "application/x-www-form-urlencoded", "\xff"])
def test_another_kind_of_body_is_415(client: Any, make_photo: Make, kind: str) -> None:
    reply = client.raw(make_photo(), kind)
    assert reply.status == 415
    assert "multipart/form-data" in reply.problem


def _png(width: int, height: int, *chunks: tuple[bytes, bytes]) -> bytes:
    header = (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in (header, *chunks, (b"IEND", b""))
    )


def _saved(form: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (40, 30)).save(buffer, form, **options)
    return buffer.getvalue()


NOT_PHOTOS = {
    "text": b"hello",
    "html": b"<!doctype html><script>alert(1)</script>",
    "svg": b'<svg xmlns="http://www.w3.org/2000/svg"/>',
    "fits": b"SIMPLE  =                    T".ljust(80) + b"END".ljust(2800),
    "eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
    "zip": b"PK\x03\x04" + bytes(100),
    "jpeg magic only": b"\xff\xd8\xff",
    "jpeg without a frame": b"\xff\xd8\xff\xd9",
    "png magic only": b"\x89PNG\r\n\x1a\n",
    "png without pixels": _png(40, 30),
    "png of no size": _png(0, 0),
    "webp magic only": b"RIFF\x00\x00\x00\x00WEBP",
    "truncated jpeg": _saved("JPEG")[:-60],
    "truncated png": _saved("PNG")[:-40],
    "truncated webp": _saved("WEBP")[:-8],
    "jpeg cut in its header": _saved("JPEG")[:200],
    **{
        form.lower(): _saved(form)
        for form in ("TIFF", "BMP", "GIF", "ICO", "PPM", "TGA", "PCX", "SGI", "DDS", "JPEG2000")
    },
}


@pytest.mark.parametrize("name", sorted(NOT_PHOTOS))
def test_what_is_no_photo_is_415_in_every_form(client: Any, photo_server: Any, name: str) -> None:
    content = NOT_PHOTOS[name]
    for reply in (
        client.raw(content),
        client.form(content),
        client.url(photo_server.put("/photo.jpg", content)),
    ):
        assert reply.status == 415
        assert reply.problem


@pytest.mark.parametrize(
    ("form", "kind"), [("AVIF", "image/avif"), ("HEIF", "image/heic"), ("HEIF", "image/heif")]
)
def test_what_phones_write_today_is_located(
    client: Any, photo_server: Any, form: str, kind: str
) -> None:
    pytest.importorskip("pillow_heif").register_heif_opener()
    content = _saved(form)
    for reply in (
        client.raw(content, kind),
        client.raw(content, "image/jpeg"),  # the bytes say what it is
        client.form(content, filename="IMG_0001.HEIC"),
        client.url(photo_server.put("/photo.heic", content)),
    ):
        assert reply.status == 200


def test_an_image_of_too_many_pixels_is_413(client: Any) -> None:
    assert client.raw(_png(13_000, 13_000)).status == 413
    assert client.raw(_png(2**31 - 1, 2**31 - 1)).status in (413, 415)


def test_bombs_in_the_metadata_do_no_harm(client: Any) -> None:
    bomb = zlib.compress(bytes(60_000_000), 9)
    pixels = (b"IDAT", zlib.compress(bytes(30 * (1 + 40 * 3))))
    for chunk in (
        (b"zTXt", b"a\x00\x00" + bomb),
        (b"iTXt", b"a\x00\x01\x00\x00\x00" + bomb),
        (b"iCCP", b"a\x00\x00" + bomb),
    ):
        assert client.raw(_png(40, 30, chunk, pixels)).status in (200, 415)


def test_an_unknown_page_is_404(client: Any) -> None:
    assert client.get("/nothing").status == 404
    assert client.get("/nothing").problem


def test_another_method_is_405(client: Any) -> None:
    reply = client.get("/locate")
    assert reply.status == 405
    assert reply.headers["allow"] == "POST"
    assert reply.problem
    assert client.ask("DELETE", "/model").status == 405


class _Broken(Locator):
    """A locator with a bug that is triggered by secrets."""

    def __init__(self, locator: Locator, *, runs: bool) -> None:
        self.__dict__.update(locator.__dict__)
        self._runs = runs

    def prepare(self, photo: Any) -> Any:
        raise RuntimeError("secret: the photo is of a castle")

    def predict(self, images: Any, *, top_k: int = 5) -> Any:
        if not self._runs:
            raise RuntimeError("the network is broken")
        return super().predict(images, top_k=top_k)


def test_a_bug_is_500_and_neither_shown_nor_logged_with_its_data(
    serving: Any, tiny_locator: Locator, make_photo: Make, caplog: pytest.LogCaptureFixture
) -> None:
    with serving(_Broken(tiny_locator, runs=True)) as client:
        reply = client.raw(make_photo())
    assert reply.status == 500
    assert b"Traceback" not in reply.body
    assert b"secret" not in reply.body
    assert reply.problem
    said = caplog.text
    assert "RuntimeError" in said
    assert "prepare" in said
    assert "secret" not in said


def test_a_model_that_does_not_answer_is_alive_but_not_ready(
    serving: Any, tiny_locator: Locator, make_photo: Make
) -> None:
    with serving(_Broken(tiny_locator, runs=False)) as client:
        assert client.get("/healthz").json == {"status": "ok"}
        for reply in (client.get("/readyz"), client.get("/ping"), client.raw(make_photo())):
            assert reply.status == 503
            assert reply.headers["retry-after"]
            assert reply.problem


def test_a_model_that_answers_is_ready(client: Any) -> None:
    assert client.get("/healthz").json == {"status": "ok"}
    assert client.get("/readyz").json == {"status": "ready"}


def test_the_model_says_what_it_is(client: Any, tiny_locator: Locator) -> None:
    fields = client.get("/model").json
    assert fields["name"] == "tiny"
    assert fields["demo"] is False
    assert fields["classes"] == 4
    assert fields["grid_sha256"] == tiny_locator.grid.sha256
    assert fields["license"] == "Apache-2.0"
    assert fields["preprocessing"]["recipe"] == "pillow"


# What the service says about itself.


def test_the_description_has_examples_for_every_form(client: Any) -> None:
    described = client.get("/openapi.json").json
    operation = described["paths"]["/locate"]["post"]
    content = operation["requestBody"]["content"]
    assert content.keys() == {
        "application/json", "multipart/form-data", "image/*", "application/octet-stream",
    }  # fmt: skip
    assert content["application/json"]["schema"]["example"]["url"]
    assert {"400", "403", "413", "415", "422", "502", "504"} < operation["responses"].keys()
    problem = operation["responses"]["422"]["content"]
    assert list(problem) == ["application/problem+json"]


def test_the_documentation_page_loads_nothing(client: Any) -> None:
    reply = client.get("/docs")
    page = reply.body.decode()
    assert reply.status == 200
    assert "POST /locate" in page
    assert "Minato, Tokyo, JP" in page
    assert "<script" not in page
    assert not re.search(r"(src|href|url)\s*[=(]\s*[\"']?(https?:)?//", page)
    assert "default-src 'none'" in reply.headers["content-security-policy"]


def test_the_pages_that_load_from_elsewhere_are_off(client: Any) -> None:
    assert client.get("/redoc").status == 404
    assert client.get("/docs/oauth2-redirect").status == 404


def test_a_client_that_goes_away_is_no_error(
    client: Any, make_photo: Make, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    with socket.create_connection(("127.0.0.1", client.port), timeout=30) as connection:
        connection.sendall(
            b"POST /locate HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/jpeg\r\n"
            b"Content-Length: 1000\r\n\r\nabc"
        )
    assert client.raw(make_photo()).status == 200
    assert not caplog.records


def test_the_example_in_the_docs_is_what_the_service_answers(
    serving: Callable[..., Any], demo_locator: Locator, rocket: Path
) -> None:
    page = Path(__file__).parents[2] / "docs" / "http.md"
    written = json.loads(page.read_text(encoding="utf-8").split("```json\n")[1].split("```")[0])
    with serving(demo_locator) as client:
        found = client.raw(rocket.read_bytes(), query="?top_k=1").json
    assert written.pop("timing_ms").keys() == found.pop("timing_ms").keys()
    assert _nearly(written) == found


def _nearly(value: Any) -> Any:
    """Return JSON whose numbers equal what other processors make of them."""
    if isinstance(value, dict):
        return {name: _nearly(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_nearly(item) for item in value]
    return pytest.approx(value, rel=1e-2) if isinstance(value, float) else value
