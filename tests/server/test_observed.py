"""What the service says of its work: one JSON object a line, and metrics for Prometheus."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from locationnet.model.locator import Locator
from locationnet.server.logs import JsonFormatter

Make = Callable[..., bytes]
KEY = "k-0123456789abcdef"


def _samples(client: Any, **headers: str) -> dict[tuple[str, ...], float]:
    reply = client.ask("GET", "/metrics", headers=headers)
    assert reply.status == 200
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(reply.body.decode())
        for sample in family.samples
    }


def _lines(process: Any) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in process.log.splitlines()]
    assert all(isinstance(line, dict) for line in lines)
    return lines


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.binary(), st.lists, max_leaves=4
)


@given(st.text(), st.dictionaries(st.text(min_size=1), anything))
def test_whatever_is_logged_is_one_json_object_on_one_line(
    message: str, fields: dict[str, Any]
) -> None:
    record = logging.LogRecord("x", logging.INFO, "", 0, "%s", (message,), None)
    record.fields = {f"_{name}": value for name, value in fields.items()}
    line = JsonFormatter().format(record)
    assert "\n" not in line
    assert "\r" not in line
    line.encode()  # whatever it says can be written
    read = json.loads(line)
    assert read["message"] == message
    assert read["level"] == "info"


def test_an_exception_is_on_the_same_line() -> None:
    try:
        raise ValueError("why")
    except ValueError:
        record = logging.LogRecord("x", logging.ERROR, "", 0, "m", (), sys.exc_info())
    line = JsonFormatter().format(record)
    assert "\n" not in line
    assert "ValueError: why" in json.loads(line)["exception"]


def test_each_request_is_a_line_with_the_id_that_the_client_got(
    start: Callable[..., Any], tiny_bundle: Path, make_photo: Make, photo_server: Any
) -> None:
    url = photo_server.put("/private-name.jpg", make_photo())
    quiet, telling = (
        start("--model", str(tiny_bundle), *extra, LOCATIONNET_EXEMPT_HOSTS=photo_server.pair)
        for extra in ([], ["--log-urls"])
    )
    for process in (quiet, telling):
        client = process.client
        replies = [
            client.raw(make_photo()), client.url(url), client.raw(b"x"), client.get("/private"),
            client.ask("PRIVATE", "/locate"), client.form(make_photo(), path="/locate/batch"),
        ]  # fmt: skip
        for _ in range(3):
            assert client.get("/healthz").headers["x-request-id"]
        assert process.stop() == 0
        lines = {line["request_id"]: line for line in _lines(process) if "request_id" in line}
        assert list(lines) == [reply.headers["x-request-id"] for reply in replies]
        for reply in replies:
            line = lines[reply.headers["x-request-id"]]
            assert line["status"] == reply.status
            assert line["ms"] > 0
            assert line["time"].endswith("+00:00")
        found = list(lines.values())
        assert [line["path"] for line in found] == [
            "/locate", "/locate", "/locate", "other", "/locate", "/locate/batch",
        ]  # fmt: skip
        assert found[4]["method"] == "other"
        assert found[0]["timing_ms"].keys() == {"fetch", "decode", "queue", "infer"}
        assert found[5]["photos"] == 1
    assert "private" not in quiet.log.lower()
    assert telling.log.count(url) == 1


def test_figures_count_what_came_of_requests(
    serving: Any, tiny_locator: Locator, make_photo: Make
) -> None:
    with serving(tiny_locator) as client:
        client.raw(make_photo())
        client.raw(make_photo())
        client.raw(b"no photo")
        client.form(*[make_photo()] * 3, path="/locate/batch")
        client.get("/nowhere")
        client.get("/elsewhere")
        found = _samples(client)
    name = "locationnet_requests_total"
    assert found[name, "/locate", "200"] == 2
    assert found[name, "/locate", "415"] == 1
    assert found[name, "/locate/batch", "200"] == 1
    assert found[name, "other", "404"] == 2
    assert found["locationnet_request_seconds_count", "/locate"] == 3
    for stage in ("fetch", "decode", "queue", "infer"):
        assert found["locationnet_stage_seconds_count", stage] == 5
    assert found["locationnet_batch_photos_sum",] == 5
    assert found["locationnet_queue_photos",] == 0
    info = ("locationnet_model_info", tiny_locator.grid.sha256, "tiny", "f32", "0.0.1")
    assert found[info] == 1
    assert not [key for key in found if "nowhere" in str(key)]


def test_figures_of_two_workers_are_added(
    start: Callable[..., Any], tiny_bundle: Path, make_photo: Make
) -> None:
    process = start("--model", str(tiny_bundle), "--workers", "2", "--api-keys", KEY)
    client, key = process.client, {"X-API-Key": KEY}
    for body in [make_photo(), b"no photo"] * 10:
        client.ask("POST", "/locate", body, {"Content-Type": "image/jpeg", **key})
    for _ in range(4):  # whichever of the two is asked
        found = _samples(client, **key)
        for status in ("200", "415"):
            assert found["locationnet_requests_total", "/locate", status] == 10
        assert found["locationnet_queue_photos",] == 0
    assert process.stop() == 0
    assert KEY not in process.log
    _lines(process)
