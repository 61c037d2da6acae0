"""What goes wrong in earnest, with real processes: clients that leave, disks that fill, kills."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import statistics
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from locationnet.server.processes import GRACE_S

Make = Callable[..., bytes]
Start = Callable[..., Any]
HEAD = b"POST /locate HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/jpeg\r\n"


def _figure(client: Any, name: str) -> float:
    """Return the sum of a figure's samples."""
    text = client.get("/metrics").body.decode()
    samples = [s for family in text_string_to_metric_families(text) for s in family.samples]
    return float(sum(sample.value for sample in samples if sample.name == name))


def _answering(process: Any) -> int:
    """Return how many times a model has come to answer."""
    return int(process.log.count("the model answers"))


@contextmanager
def _upload(port: int, photo: bytes, sent: int) -> Iterator[socket.socket]:
    """Connect and send the first bytes of a photo."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(HEAD + f"Content-Length: {len(photo)}\r\n\r\n".encode() + photo[:sent])
        yield connection


def _status(connection: socket.socket) -> int:
    return int(connection.recv(20).split()[1])


@contextmanager
def _stalling() -> Iterator[tuple[str, list[socket.socket]]]:
    """A server that accepts and never answers: its ``host:port``, and who has come."""
    come: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as silent:

        def accept() -> None:
            while True:
                try:
                    come.append(silent.accept()[0])
                except OSError:
                    return

        thread = threading.Thread(target=accept)
        thread.start()
        yield f"127.0.0.1:{silent.getsockname()[1]}", come
        silent.shutdown(socket.SHUT_RDWR)
        thread.join()
        for connection in come:
            connection.close()


@pytest.fixture(scope="module")
def stalling() -> Iterator[tuple[str, list[socket.socket]]]:
    with _stalling() as found:
        yield found


@pytest.fixture(scope="module")
def small(start: Start, tiny_bundle: Path, stalling: Any) -> Iterator[Any]:
    """A service with little room and little patience."""
    process = start(
        "--model", str(tiny_bundle), "--threads=1", "--queue=4", "--max-held-bytes=300000",
        "--max-upload-bytes=200000", "--request-timeout-s=3", f"--exempt-hosts={stalling[0]}",
        "--rate-limit=100000/minute", "--fetch-timeout-s=0.7",
    )  # fmt: skip
    yield process
    assert process.is_alive()
    assert _figure(process.client, "locationnet_queue_photos") == 0
    assert process.stop() == 0
    for line in process.log.splitlines():
        assert json.loads(line)["level"] == "info", line


# Clients.


def test_the_photo_of_a_client_that_leaves_is_never_inferred(small: Any, make_photo: Make) -> None:
    photo = make_photo(size=(600, 400))
    before = _figure(small.client, "locationnet_batch_photos_sum")
    for sent in (0, 1, len(photo) // 2, len(photo) - 1):
        with _upload(small.client.port, photo, sent):
            pass
    small.wait_for(lambda: _figure(small.client, "locationnet_queue_photos") == 0, "leaving")
    assert _figure(small.client, "locationnet_batch_photos_sum") == before
    assert small.client.raw(photo).status == 200


def test_a_client_that_leaves_before_its_turn_is_never_inferred(
    start: Start, tiny_bundle: Path, make_photo: Make
) -> None:
    # One thread that takes a second to decode: all but the first wait, and all leave.
    slow = make_photo(size=(6000, 6000), form="PNG", compress_level=1)
    process = start("--model", str(tiny_bundle), "--threads=1", "--max-batch=1")
    for _ in range(6):
        with _upload(process.client.port, slow, len(slow)):
            process.wait_for(
                lambda: _figure(process.client, "locationnet_queue_photos") >= 1, "arrival"
            )
    process.wait_for(lambda: _figure(process.client, "locationnet_queue_photos") == 0, "leaving")
    assert process.client.raw(make_photo()).status == 200
    assert _figure(process.client, "locationnet_batch_photos_sum") == 1
    assert process.stop() == 0


def test_a_slow_upload_is_408(small: Any) -> None:
    connections = []
    for kind in (b"image/jpeg", b"application/json", b"multipart/form-data; boundary=b"):
        head = HEAD.replace(b"image/jpeg", kind) + b"Content-Length: 50\r\n\r\n--b\r\n"
        connections.append(socket.create_connection(("127.0.0.1", small.client.port), timeout=60))
        connections[-1].sendall(head)
    for connection in connections:
        assert _status(connection) == 408
        connection.close()


def test_a_remote_server_that_stalls_is_504_and_a_client_that_leaves_ends_the_fetch(
    small: Any, stalling: Any
) -> None:
    pair, come = stalling
    assert small.client.url(f"http://{pair}/photo.jpg").status == 504
    body = json.dumps({"url": f"http://{pair}/photo.jpg"}).encode()
    head = HEAD.replace(b"image/jpeg", b"application/json")
    with socket.create_connection(("127.0.0.1", small.client.port)) as connection:
        connection.sendall(head + f"Content-Length: {len(body)}\r\n\r\n".encode() + body)
        small.wait_for(lambda: len(come) == 2, "the fetch")
    come[1].settimeout(10)
    while come[1].recv(4096):
        pass  # the request, and then the end


def test_a_full_queue_is_503_at_once(small: Any, make_photo: Make) -> None:
    photo = make_photo()
    waiting = [_upload(small.client.port, photo, 5) for _ in range(4)]
    connections = [one.__enter__() for one in waiting]
    small.wait_for(
        lambda: _figure(small.client, "locationnet_queue_photos") == 4, "arrival", seconds=5
    )
    reply = small.client.raw(photo)
    assert reply.status == 503
    assert int(reply.headers["retry-after"]) >= 1
    assert reply.problem
    assert small.client.get("/healthz").status == 200
    for connection in connections:
        connection.sendall(photo[5:])
        assert _status(connection) == 200
    for one in waiting:
        one.__exit__(None, None, None)
    assert small.client.raw(photo).status == 200


def test_more_bytes_than_may_be_held_are_503_and_given_back(small: Any) -> None:
    large, client = bytes(190_000), small.client
    with _upload(client.port, large, 180_000), _upload(client.port, large, 100_000):
        small.wait_for(lambda: _figure(client, "locationnet_queue_photos") == 2, "arrival")
        time.sleep(0.3)  # until what was sent is read
        reply = client.raw(bytes(60_000))
        assert reply.status == 503
        assert reply.headers["retry-after"] == "1"
    small.wait_for(lambda: client.raw(large).status == 415, "room")


def test_forwarded_addresses_are_believed_of_named_proxies_only(
    start: Start, tiny_bundle: Path, make_photo: Make
) -> None:
    for proxies, expected in (([], [200, 429]), (["--trusted-proxies=127.0.0.1"], [200, 200])):
        process = start("--model", str(tiny_bundle), "--rate-limit=1/hour", *proxies)
        found = []
        for last in (1, 2):
            fields = {"Content-Type": "image/jpeg", "X-Forwarded-For": f"192.0.2.{last}"}
            found.append(process.client.ask("POST", "/locate", make_photo(), fields).status)
        assert found == expected
        assert process.stop() == 0


# The machine.


def test_a_full_disk_under_the_log_stops_no_answer(
    start: Start, tiny_bundle: Path, make_photo: Make
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    process = start("--model", str(tiny_bundle), port=port)
    for _ in range(20):
        assert process.client.raw(make_photo()).status == 200
        assert process.client.raw(b"no photo").status == 415
    process.signal(signal.SIGHUP)
    for _ in range(20):
        assert process.client.raw(make_photo()).status == 200
    process.stop()


def test_a_worker_that_is_killed_comes_back_while_the_others_answer(
    start: Start, tiny_bundle: Path, make_photo: Make
) -> None:
    process = start("--model", str(tiny_bundle), "--workers=2")
    photo, client = make_photo(), process.client
    process.wait_for(lambda: _answering(process) == 2, "two workers")
    before = process.workers
    assert len(before) == 2
    # Both hold photos when one of them dies.
    uploads = [_upload(client.port, photo, 5) for _ in range(6)]
    for one in uploads:
        one.__enter__()
    process.wait_for(lambda: _figure(client, "locationnet_queue_photos") == 6, "arrival")
    victim = min(before)
    os.kill(victim, signal.SIGKILL)
    answered = 0
    while len(process.workers - {victim}) < 2:
        with suppress(OSError):  # it was in the dead one's hands
            answered += client.raw(photo).status == 200
    assert answered
    for one in uploads:
        one.__exit__(None, None, None)
    process.wait_for(lambda: _answering(process) == 3, "a new worker")
    # What the dead one was dealing with is dealt with by nobody.
    process.wait_for(lambda: _figure(client, "locationnet_queue_photos") == 0, "forgetting")
    assert {client.raw(photo).status for _ in range(10)} == {200}
    assert process.stop() == 0


# Another bundle.


def _copy(bundle: Path, target: Path) -> None:
    """Put a bundle where another one is, file by file, the manifest last."""
    for source in sorted(bundle.iterdir(), key=lambda path: path.name == "manifest.json"):
        shutil.copyfile(source, target / f".{source.name}")
        (target / f".{source.name}").replace(target / source.name)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_good_bundle_is_taken_over_under_load_and_a_corrupt_one_is_not(
    start: Start, make_bundle: Callable[..., Path], make_photo: Make, workers: int, tmp_path: Path
) -> None:
    old, new = make_bundle(version="1.0.0"), make_bundle(version="2.0.0")
    bundle = tmp_path / "bundle"
    shutil.copytree(old, bundle)
    process = start("--model", str(bundle), f"--workers={workers}")
    client, photo = process.client, make_photo()
    seen: list[tuple[int, str]] = []
    enough = threading.Event()

    def ask() -> None:
        while not enough.is_set():
            reply = client.raw(photo)
            seen.append((reply.status, reply.json["model"]["version"]))

    def said(text: str) -> bool:
        return bool(process.log.count(text) == workers)

    process.wait_for(lambda: said("the model answers"), "start")
    with ThreadPoolExecutor(4) as clients:
        asking = [clients.submit(ask) for _ in range(4)]
        try:
            (bundle / "model.onnx").write_bytes(b"garbage")
            process.signal(signal.SIGHUP)
            process.wait_for(lambda: said("was not reloaded"), "refusal")
            count = len(seen)
            process.wait_for(lambda: len(seen) >= count + 20, "answers")
            assert set(seen) == {(200, "1.0.0")}

            _copy(new, bundle)
            process.signal(signal.SIGHUP)
            process.wait_for(lambda: said("the bundle was reloaded"), "takeover")
            # Those that were asked before it may still be on their way.
            count = len(seen)
            process.wait_for(lambda: len(seen) >= count + 30, "answers")
        finally:
            enough.set()
    for one in asking:
        one.result()
    assert set(seen) == {(200, "1.0.0"), (200, "2.0.0")}
    assert set(seen[count + 8 :]) == {(200, "2.0.0")}
    assert client.get("/model").json["version"] == "2.0.0"
    assert "sha256" in process.log
    assert "Traceback" not in process.log
    assert process.stop() == 0


# The end.


@pytest.mark.parametrize("workers", [1, 2])
def test_what_is_in_flight_ends_and_nothing_new_begins(
    start: Start, tiny_bundle: Path, make_photo: Make, workers: int
) -> None:
    process = start("--model", str(tiny_bundle), f"--workers={workers}")
    photo, port = make_photo(), process.client.port
    process.wait_for(lambda: _answering(process) == workers, "all workers")
    uploads = [_upload(port, photo, 5) for _ in range(4)]
    connections = [one.__enter__() for one in uploads]
    process.wait_for(lambda: _figure(process.client, "locationnet_queue_photos") == 4, "arrival")
    process.signal(signal.SIGTERM)

    def closed() -> bool:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1) as one:
                one.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
                return not one.recv(10)
        except OSError:
            return True

    if workers == 1:  # of several, the parent holds the socket too, and nobody takes from it
        process.wait_for(closed, "closing")
    else:
        process.wait_for(lambda: process.log.count("Shutting down") == 2, "closing")
    for connection in connections:
        connection.sendall(photo[5:])
        assert _status(connection) == 200
    for one in uploads:
        one.__exit__(None, None, None)
    assert process._process.wait(25) == 0
    assert closed()


def test_the_end_does_not_wait_for_ever(
    start: Start, tiny_bundle: Path, stalling: tuple[str, list[socket.socket]]
) -> None:
    pair, come = stalling
    process = start(
        "--model", str(tiny_bundle), f"--exempt-hosts={pair}", "--request-timeout-s=1000",
        "--fetch-timeout-s=1000", before="import locationnet.server.processes as r; r.GRACE_S = 1",
    )  # fmt: skip
    assert GRACE_S <= 20
    count = len(come)
    body = json.dumps({"url": f"http://{pair}/photo.jpg"}).encode()
    head = HEAD.replace(b"image/jpeg", b"application/json")
    with socket.create_connection(("127.0.0.1", process.client.port)) as connection:
        connection.sendall(head + f"Content-Length: {len(body)}\r\n\r\n".encode() + body)
        process.wait_for(lambda: len(come) > count, "the fetch")
        process.signal(signal.SIGTERM)
        assert process._process.wait(25) == 0


def test_a_hangup_before_it_is_ready_does_not_end_it(start: Start, tiny_bundle: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    heard = threading.Event()

    def hang_up() -> None:
        # From when its log says what it serves, until it listens.
        while not heard.is_set():
            for entry in Path("/proc").glob("[0-9]*"):
                try:
                    line = (entry / "cmdline").read_bytes()
                    ignored = int(
                        re.findall(r"SigIgn:\s*(\w+)", (entry / "status").read_text())[0], 16
                    )
                except (OSError, IndexError):
                    continue
                if str(port).encode() in line and ignored & 1:
                    os.kill(int(entry.name), signal.SIGHUP)
                    heard.set()
            time.sleep(0.005)

    thread = threading.Thread(target=hang_up)
    thread.start()
    try:
        process = start("--model", str(tiny_bundle), port=port)
    finally:
        heard.set()
        thread.join()
    assert process.client.get("/readyz").status == 200
    process.stop()


# Long runs.


def test_memory_stays_flat(start: Start, tiny_bundle: Path, make_photo: Make) -> None:
    process = start("--model", str(tiny_bundle))
    client = process.client
    colours = [(shade, 255 - shade, 128) for shade in range(0, 250, 5)]
    photos = [make_photo(colour, (80, 60)) for colour in colours]
    queries = ["", "?heatmap=true", "?near=37,-122,500", "?countries=NO,US&certainty=.9"]

    def some(start_at: int) -> Counter[int]:
        found: Counter[int] = Counter()
        for index in range(start_at, start_at + 250):
            query = f"?coarse_km={1 + index % 997}" if index % 5 == 4 else queries[index % 4]
            photo = b"no photo" if index % 7 == 6 else photos[index % len(photos)]
            found[client.raw(photo, query=query).status] += 1
        return found

    measured, statuses = [], Counter[int]()
    for turn in range(6):
        with ThreadPoolExecutor(2) as pool:
            for found in pool.map(some, (500 * turn, 500 * turn + 250)):
                statuses += found
        measured.append(process.memory_mb("VmRSS"))
    print(f"{sum(statuses.values())} requests, {dict(statuses)}, MB: {measured}")  # noqa: T201 - for -s
    assert statuses.keys() == {200, 415}
    assert statistics.median(measured[3:]) - measured[1] < 8
    assert process.stop() == 0
