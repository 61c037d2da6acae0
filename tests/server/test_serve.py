"""``locationnet serve`` as a process: what it refuses, logs and holds in memory."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import signal
import socket
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typer.testing import CliRunner

from locationnet.cli import app
from locationnet.errors import InputError
from locationnet.model.locator import Locator
from locationnet.server.processes import banner, check_address
from locationnet.server.settings import Settings, read_settings
from tests.server.conftest import Client

Make = Callable[..., bytes]
MAX_GROWTH_MB = 300


@pytest.fixture(scope="module")
def process(
    start: Callable[..., Any], tiny_bundle: Path, photo_server: Any, make_photo: Make
) -> Iterator[Any]:
    running = start(
        "--model", str(tiny_bundle), LOCATIONNET_EXEMPT_HOSTS=photo_server.pair,
        LOCATIONNET_FETCH_TIMEOUT_S="2", LOCATIONNET_THREADS="1",
    )  # fmt: skip
    assert running.client.raw(make_photo()).status == 200
    yield running
    assert running.is_alive()
    running.stop()


# Where it may listen.


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "photos.example", ""])
def test_it_refuses_to_listen_beyond_loopback(host: str) -> None:
    result = CliRunner().invoke(app, ["serve", "--host", host])
    assert result.exit_code == 2
    assert "--insecure" in result.output


def test_the_environment_does_not_get_around_that() -> None:
    result = CliRunner().invoke(app, ["serve"], env={"LOCATIONNET_HOST": "0.0.0.0"})
    assert result.exit_code == 2


def test_a_missing_bundle_is_one_line(tmp_path: Path) -> None:
    for workers in ("1", "2"):
        code = "from locationnet.cli import main; main()"
        arguments = ["serve", "--model", str(tmp_path), "--workers", workers]
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments], capture_output=True, text=True
        )
        assert done.returncode == 1
        assert "error: " in done.stderr
        assert "Traceback" not in done.stderr


def test_a_key_or_insecure_allows_it() -> None:
    for allowed in (
        {"insecure": True},
        {"api_keys": "0123456789abcdef"},
        {"sagemaker": True},
    ):
        check_address(read_settings(host="0.0.0.0", **allowed))
    with pytest.raises(InputError, match="LOCATIONNET_API_KEYS"):
        check_address(read_settings(host="0.0.0.0"))


def test_two_workers_answer_and_end_together(
    start: Callable[..., Any], tiny_bundle: Path, make_photo: Make
) -> None:
    running = start("--model", str(tiny_bundle), "--workers", "2")
    answers = [running.client.raw(make_photo()) for _ in range(8)]
    assert {answer.status for answer in answers} == {200}
    running.stop()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", running.client.port))


# What a person at a terminal is told.


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({}, "Map: http://127.0.0.1:PORT · API: http://127.0.0.1:PORT/docs · Ctrl-C stops"),
        ({"host": "::1"}, "Map: http://[::1]:PORT · API: http://[::1]:PORT/docs · Ctrl-C stops"),
        ({"host": "localhost"}, "Map: http://localhost:PORT · "),
        ({"host": "0.0.0.0"}, "http://127.0.0.1:PORT/docs · open to other machines · Ctrl-C"),
        ({"host": "::"}, "Map: http://[::1]:PORT · "),
        ({"host": ""}, "Map: http://127.0.0.1:PORT · "),
        ({"api_keys": "0123456789abcdef"}, "/docs · asks for an API key · Ctrl-C stops"),
        ({"server_names": "photos.example"}, "Map: http://photos.example:PORT · "),
        ({"server_names": "photos.example,127.0.0.1"}, "Map: http://127.0.0.1:PORT · "),
        ({"server_names": "photos.example,[::1]", "host": "::1"}, "Map: http://[::1]:PORT · "),
        ({"sagemaker": True}, "SageMaker: POST http://127.0.0.1:PORT/invocations · open to"),
    ],
)
def test_the_banner_holds_an_address_that_a_browser_opens(
    settings: dict[str, Any], says: str
) -> None:
    read = read_settings(**settings)
    family = socket.AF_INET6 if ":" in read.host else socket.AF_INET
    with socket.socket(family) as listening:
        listening.bind((read.host, 0))
        port = listening.getsockname()[1]
        line = banner(read, [listening])
    assert says.replace("PORT", str(port)) in line
    assert "\n" not in line


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_terminal_shows_where_it_listens_and_what_was_asked_in_words(
    tiny_bundle: Path, make_photo: Make, workers: str
) -> None:
    ours, theirs = pty.openpty()
    code = "from locationnet.cli import main; main()"
    arguments = ["serve", "--port", "0", "--workers", workers, "--model", str(tiny_bundle)]
    process = subprocess.Popen(
        [sys.executable, "-c", code, *arguments], stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    shown = ""

    def read_until(text: str) -> None:
        nonlocal shown
        while text not in shown:
            shown += os.read(ours, 4096).decode()  # fails where the process has ended

    read_until("Ctrl-C stops")
    found = re.search(r"Map: http://127\.0\.0\.1:(\d+) · API: http://\S+/docs · ", shown)
    assert found is not None
    assert Client(int(found[1])).raw(make_photo()).status == 200
    read_until(" ms")
    assert re.search(r"\d\d:\d\d:\d\d POST /locate: 200 in [\d,]+ ms", shown)
    assert "{" not in shown
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=30) == 0
    os.close(ours)


# Settings.


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCATIONNET_MAX_UPLOAD_BYTES", "1000")
    monkeypatch.setenv("LOCATIONNET_FETCH_TIMEOUT_S", "2.5")
    monkeypatch.setenv("LOCATIONNET_ALLOWED_HOSTS", "A.example, .b.example,")
    monkeypatch.setenv("LOCATIONNET_EXEMPT_HOSTS", "localhost:9000")
    policy = read_settings().fetch_policy
    assert policy.max_bytes == 1000
    assert policy.timeout_s == 2.5
    assert policy.allowed_hosts == ("a.example", ".b.example")
    assert policy.denied_hosts == ()
    assert policy.exempt == ("localhost:9000",)


def test_an_argument_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCATIONNET_PORT", "1")
    assert read_settings(port=2).port == 2


def test_by_default_nothing_is_exempt() -> None:
    assert Settings().exempt_hosts == ()
    assert Settings().host == "127.0.0.1"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LOCATIONNET_PORT", "70000"),
        ("LOCATIONNET_MAX_UPLOAD_BYTES", "0"),
        ("LOCATIONNET_FETCH_TIMEOUT_S", "inf"),
        ("LOCATIONNET_THREADS", "many"),
        ("LOCATIONNET_EXEMPT_HOSTS", "localhost"),
        ("LOCATIONNET_DENIED_HOSTS", "*.example.org"),
    ],
)
def test_a_bad_setting_is_one_line(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match=name) as caught:
        read_settings()
    assert "\n" not in str(caught.value)


# The same answer as the command line.


def test_curl_the_url_form_and_the_command_line_agree(
    process: Any, photo_server: Any, make_photo: Make, tiny_bundle: Path, tmp_path: Path
) -> None:
    photo = make_photo((200, 30, 30), (300, 200))
    path = tmp_path / "red.jpg"
    path.write_bytes(photo)
    result = CliRunner().invoke(
        app, ["locate", str(path), "--model", str(tiny_bundle), "--format", "jsonl"]
    )
    from_cli = json.loads(result.stdout)
    del from_cli["evidence"], from_cli["explanation"]
    for reply in (process.client.form(photo), process.client.url(photo_server.put("/r", photo))):
        answer = reply.json
        assert {key: answer[key] for key in from_cli if key != "photo"} == {
            key: value for key, value in from_cli.items() if key != "photo"
        }


def test_the_demo_answers_with_its_prior(
    start: Callable[..., Any], rocket: Path, demo_locator: Locator
) -> None:
    running = start()
    answer = running.client.form(rocket.read_bytes()).json
    running.stop()
    expected = json.loads(json.dumps(demo_locator.locate(rocket).to_dict()))
    del expected["evidence"], expected["explanation"]
    assert {key: answer[key] for key in expected} == expected
    assert answer["demo"] is True
    assert answer["prior"]["predictions"] == demo_locator.prior().to_dict()["predictions"]


# Nothing of the photo or URL is logged.


def test_the_log_holds_neither_urls_nor_names_nor_queries(
    process: Any, photo_server: Any, make_photo: Make
) -> None:
    client, photo = process.client, make_photo()
    good = photo_server.put("/secret-good.jpg", photo)
    bounce = photo_server.put("/secret-bounce", b"http://secret.example:22/", 302)
    replies = [
        client.url(f"{good}?secret=1"),
        client.url(photo_server.put("/secret-page", b"<html>")),
        client.url(f"http://{photo_server.pair}/secret-missing"),
        client.url(bounce),
        client.url("http://user:secret@example.org/"),
        client.url("http://secret/"),
        client.url("secret"),
        client.post_json({"secret": 1}),
        client.form(photo, filename="secret.jpg"),
        client.form(photo[:-50], filename="secret.jpg"),
        client.form(photo, name="secret"),
        client.raw(photo, query="?secret=1&top_k=2"),
        client.raw(photo, query="?top_k=secret"),
        client.raw(photo, "text/secret"),
        client.get("/secret?secret"),
        client.ask("SECRET", "/locate"),
    ]
    assert {reply.status for reply in replies} == {200, 400, 403, 404, 405, 415, 502}
    with socket.create_connection(("127.0.0.1", client.port), timeout=30) as connection:
        connection.sendall(b"secret nonsense\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 400")
    log = process.log
    assert "secret" not in log.lower()
    assert "Traceback" not in log


# Image bombs: 4xx, and hardly any memory.


def _png(width: int, height: int, mode: int = 2, channels: int = 3) -> bytes:
    """A black PNG, compressed row by row so that making it costs no memory either."""
    compressor = zlib.compressobj(1)
    row = bytes(1 + width * channels)
    pixels = b"".join(compressor.compress(row) for _ in range(height)) + compressor.flush()
    header = struct.pack(">IIBBBBB", width, height, 8, mode, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in ((b"IHDR", header), (b"IDAT", pixels), (b"IEND", b""))
    )


def _jpeg(width: int, height: int, **options: Any) -> bytes:
    """A small JPEG whose frame header claims to be large."""
    buffer = io.BytesIO()
    Image.effect_noise((512, 512), 80).convert("RGB").save(buffer, "JPEG", **options)
    data = bytearray(buffer.getvalue())
    frame = data.index(b"\xff\xc2" if options.get("progressive") else b"\xff\xc0")
    data[frame + 5 : frame + 9] = struct.pack(">HH", height, width)
    return bytes(data)


BOMBS: dict[str, Callable[[], bytes]] = {
    "png 13k": lambda: _png(13_000, 13_000),
    "png of the limit, cut": lambda: _png(6_300, 6_300)[:-200],
    "rgba png of the limit, cut": lambda: _png(6_300, 6_300, 6, 4)[:-200],
    "progressive jpeg 13k": lambda: _jpeg(13_000, 13_000, progressive=True),
    "progressive jpeg 65k": lambda: _jpeg(65_500, 65_500, progressive=True),
    "jpeg 65k": lambda: _jpeg(65_500, 65_500),
    "progressive jpeg of 200 megapixels": lambda: _jpeg(16_384, 12_288, progressive=True),
    "avif that hides its size": lambda: _hidden("AVIF", speed=10),
    "heic that hides its size": lambda: _hidden("HEIF"),
    "webp 16k": lambda: _webp(16_383, 16_383),
    "tiff": lambda: _saved("TIFF"),
    "fits": lambda: b"SIMPLE  =                    T".ljust(80) + b"END".ljust(2800),
    "gif": lambda: _saved("GIF"),
    "truncated jpeg": lambda: _saved("JPEG")[:-500],
}


def _saved(form: str) -> bytes:
    buffer = io.BytesIO()
    Image.effect_noise((200, 200), 80).convert("RGB").save(buffer, form)
    return buffer.getvalue()


def _hidden(form: str, **options: Any) -> bytes:
    """49 megapixels whose boxes say 64 x 64."""
    if form == "HEIF":
        pytest.importorskip("pillow_heif").register_heif_opener()
    buffer = io.BytesIO()
    Image.new("RGB", (7_000, 7_000)).save(buffer, form, **options)
    size = struct.pack(">II", 7_000, 7_000)
    assert size in buffer.getvalue()
    return buffer.getvalue().replace(size, struct.pack(">II", 64, 64))


def _webp(width: int, height: int) -> bytes:
    """A lossless WebP of one claim and no pixels."""
    bits = (width - 1) | (height - 1) << 14
    body = b"\x2f" + struct.pack("<I", bits) + bytes(100)
    chunk = b"VP8L" + struct.pack("<I", len(body)) + body + bytes(len(body) % 2)
    return b"RIFF" + struct.pack("<I", 4 + len(chunk)) + b"WEBP" + chunk


@pytest.mark.parametrize("name", list(BOMBS))
def test_an_image_bomb_is_4xx_and_costs_little_memory(
    process: Any, photo_server: Any, name: str
) -> None:
    bomb = BOMBS[name]()
    process.forget_peak()
    before = process.memory_mb("VmRSS")
    for reply in (
        process.client.form(bomb, filename="photo.jpg"),
        process.client.raw(bomb),
        process.client.url(photo_server.put("/photo.jpg", bomb)),
    ):
        assert reply.status in (413, 415)
        assert reply.problem
    assert process.memory_mb("VmHWM") - before < MAX_GROWTH_MB


LARGEST: dict[str, Callable[[], bytes]] = {
    "rgb png": lambda: _png(6_300, 6_300),
    "rgba png": lambda: _png(6_300, 6_300, 6, 4),
    "grey png": lambda: _png(6_300, 6_300, 0, 1),
    "jpeg": lambda: _jpeg(6_300, 6_300),
    "progressive jpeg": lambda: _jpeg(6_300, 6_300, progressive=True, subsampling=0),
    "48 megapixel jpeg": lambda: _jpeg(8_064, 6_048),
    "48 megapixel progressive jpeg": lambda: _jpeg(8_064, 6_048, progressive=True),
    "200 megapixel jpeg": lambda: _jpeg(16_384, 12_288),
}


@pytest.mark.parametrize("name", list(LARGEST))
def test_the_largest_photo_that_is_read_costs_little_memory(process: Any, name: str) -> None:
    content = LARGEST[name]()
    process.forget_peak()
    before = process.memory_mb("VmRSS")
    assert process.client.raw(content).status == 200
    assert process.memory_mb("VmHWM") - before < MAX_GROWTH_MB
