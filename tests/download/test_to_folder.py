"""Photos come once, whole, from both sources, whatever servers and kills do to them."""

from __future__ import annotations

import csv
import gzip
import hashlib
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet
from typer.testing import CliRunner, Result

from locationnet.cli import app
from locationnet.commons import photo_hash
from locationnet.download import transfers
from locationnet.download.disk_space import Space
from locationnet.download.journal import Journal
from locationnet.download.source import Source
from locationnet.download.to_folder import download_photos
from locationnet.errors import FullDiskError, InputError, LocationNetError, MissingExtraError

PHOTOS = 60
SOURCES = ("bucket", "urls")
# Seven waits of a twentieth of a second; by the site's clock the first request may come late.
_EIGHT_AT_20_S = 7 / 20 / 2


def _words(world: Any, out: Path, source: str) -> list[str]:
    where = ["--endpoint-url", world.endpoint]
    if source == "urls":
        where = ["--exempt", world.host, "--rate", "1000"]
    return ["download", str(world.table), "--out", str(out), "--from", source, *where]


def _run(world: Any, out: Path, source: str = "urls", *more: str) -> Result:
    return CliRunner().invoke(app, [*_words(world, out, source), *more])


def _content(folder: Path) -> dict[str, bytes]:
    """All files but the journal, by path."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith(".journal")
    }


def _failures(out: Path) -> dict[str, str]:
    with (out / "problems.csv").open(newline="") as file:
        return {row["id"]: row["reason"] for row in csv.DictReader(file)}


@pytest.mark.parametrize("source", SOURCES)
def test_all_photos_come_once_with_a_table_beside_them(
    world: Any, tmp_path: Path, source: str
) -> None:
    out = tmp_path / "out"
    answer = _run(world, out, source)
    assert answer.exit_code == 0, answer.output
    assert world.site.photos_asked == PHOTOS
    table = parquet.read_table(out / "photos.parquet").to_pydict()
    assert table["id"] == world.names
    assert table["path"] == [world.path(name) for name in world.names]
    assert table["attribution"][3] == '"003.jpg" by user3'
    for name, path in zip(table["id"], table["path"], strict=True):
        assert (out / path).read_bytes() == world.photos[name]
    assert _failures(out) == {}
    assert _run(world, out, source).exit_code == 0
    assert world.site.photos_asked == PHOTOS


def test_what_came_can_be_split_and_packed(world: Any, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert _run(world, out).exit_code == 0
    (tmp_path / "grid.txt").write_text("0c\t45\t10\n")
    split = CliRunner().invoke(
        app, ["split", str(out / "photos.parquet"), "-o", str(tmp_path / "split")]
    )
    assert split.exit_code == 0, split.output
    rows = [parquet.read_table(tmp_path / "split" / f"{name}.parquet") for name in ("train", "val")]
    assert all("path" in part.column_names for part in rows)


@pytest.fixture
def moto() -> Iterator[str]:
    """A store that speaks S3, with a bucket of that name."""
    from moto.moto_api._internal.models import moto_api_backend
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()
    moto_api_backend.reset()


def test_a_bucket_of_a_real_store_is_read_without_an_account(
    world: Any, tmp_path: Path, moto: str
) -> None:
    import boto3

    client = boto3.client(
        "s3", endpoint_url=moto, region_name="us-west-2",
        aws_access_key_id="test", aws_secret_access_key="test",
    )  # fmt: skip
    client.create_bucket(
        Bucket="multimedia-commons", ACL="public-read",
        CreateBucketConfiguration={"LocationConstraint": "us-west-2"},
    )  # fmt: skip
    for name in world.names[1:]:
        client.put_object(
            Bucket="multimedia-commons", Key=world.path(name), Body=world.photos[name]
        )
    done = download_photos(world.table, tmp_path / "out", Source(endpoint_url=moto))
    assert done.photos == PHOTOS - 1
    assert _failures(tmp_path / "out") == {"000.jpg": "no longer there"}
    assert not world.site.asked


def test_a_store_without_the_bucket_is_said(world: Any, tmp_path: Path, moto: str) -> None:
    with pytest.raises(LocationNetError, match="no bucket multimedia-commons"):
        download_photos(world.table, tmp_path / "out", Source(endpoint_url=moto))


@pytest.mark.parametrize("source", SOURCES)
def test_what_is_no_photo_is_listed_with_its_reason(
    world: Any, tmp_path: Path, source: str
) -> None:
    site, names = world.site, world.names
    photos = list(world.photos.values())
    gone = b"GIF89a" + bytes(2000)
    faults = {
        0: world.reply(404),
        1: world.reply(410),
        2: world.reply(403),
        3: world.reply(200, b""),
        4: world.reply(200, b"\n<!DOCTYPE html><html>Not found</html>"),
        5: world.reply(200, b"plain words"),
        6: world.reply(200, photos[6][: len(photos[6]) // 2]),
        7: world.reply(200, photos[8]),  # a duplicate of the next one
        9: world.reply(200, gone),
        **{number: world.reply(200, world.jpeg(999)) for number in range(20, 25)},
    }
    for number, reply in faults.items():
        site.pages[f"/{names[number]}"] = reply
        site.pages[f"/multimedia-commons/{world.path(names[number])}"] = reply
    listed = tmp_path / "placeholders.txt"
    listed.write_text(f"# a known one\n{len(gone)}\n")
    out = tmp_path / "out"
    answer = _run(world, out, source, "--placeholders", str(listed))
    assert answer.exit_code == 0, answer.output
    found = _failures(out)
    duplicate = max(names[7], names[8], key=world.path)
    assert found == {
        names[0]: "no longer there",
        names[1]: "no longer there",
        names[2]: "refused by the server",
        names[3]: "empty",
        names[4]: "a web page, not a photo",
        names[5]: "not a JPEG, PNG, WebP, AVIF or HEIC image",
        names[6]: "truncated or corrupt",
        duplicate: "the same bytes as another photo",
        names[9]: "a placeholder, not the photo",
        **{names[number]: "a placeholder, not the photo" for number in range(20, 25)},
    }
    kept = parquet.read_table(out / "photos.parquet")["id"].to_pylist()
    assert sorted([*kept, *found]) == names
    files = {path for path in _content(out) if path.startswith("data/")}
    assert files == {world.path(name) for name in kept}
    # A photo that comes later with the bytes of a placeholder is known at once.
    asked = site.photos_asked
    site.pages["/new.jpg"] = world.reply(200, world.jpeg(999))
    site.pages[f"/multimedia-commons/{world.path('new.jpg')}"] = site.pages["/new.jpg"]
    world.write_table([*names, "new.jpg"])
    assert _run(world, out, source, "--placeholders", str(listed)).exit_code == 0
    assert _failures(out)["new.jpg"] == "a placeholder, not the photo"
    assert site.photos_asked == asked + 1


@pytest.mark.parametrize("source", SOURCES)
def test_faults_that_pass_cost_nothing_but_time(world: Any, tmp_path: Path, source: str) -> None:
    site, names = world.site, world.names
    photos = list(world.photos.values())

    def at_first(number: int, fault: Any) -> None:
        whole = world.reply(200, photos[number])
        for path in (f"/{names[number]}", f"/multimedia-commons/{world.path(names[number])}"):
            site.pages[path] = lambda count, whole=whole: fault if count == 1 else whole

    at_first(0, world.reply(500))
    at_first(1, world.reply(200, photos[1], cut=len(photos[1]) // 2))
    at_first(2, world.reply(503, headers={"Retry-After": "1"}))
    at_first(3, world.reply(200, photos[3][:-300]))  # announced as if it were all
    out = tmp_path / "out"
    answer = _run(world, out, source)
    assert answer.exit_code == 0, answer.output
    assert _failures(out) == {}
    assert site.photos_asked == PHOTOS + 4


def test_retry_after_is_kept_to(world: Any, tmp_path: Path) -> None:
    limit = world.reply(429, headers={"Retry-After": "1"})
    whole = world.reply(200, world.photos["000.jpg"])
    world.site.pages["/000.jpg"] = lambda count: limit if count == 1 else whole
    world.write_table(["000.jpg", "001.jpg"])
    assert _run(world, tmp_path / "out", "urls", "--rate", "2").exit_code == 0
    times = [moment for moment, path in world.site.times if path != "/robots.txt"]
    assert len(times) == 3
    assert times[-1] - times[0] >= 1.0


def test_who_asks_for_a_long_pause_is_left_alone(world: Any, tmp_path: Path) -> None:
    for name in world.names:
        world.site.pages[f"/{name}"] = world.reply(429, headers={"Retry-After": "4000"})
    answer = _run(world, tmp_path / "out", "urls")
    assert answer.exit_code == 1
    assert "servers failed for 60 photos" in answer.output
    assert world.site.photos_asked <= 8
    assert set(_failures(tmp_path / "out").values()) == {"the server asks to slow down"}
    for name in world.names:
        world.site.pages[f"/{name}"] = world.reply(200, world.photos[name])
    assert _run(world, tmp_path / "out", "urls").exit_code == 0
    assert _failures(tmp_path / "out") == {}


def test_a_silent_server_is_left(
    world: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfers, "_BACKOFF_S", 0.01)
    for name in world.names:
        world.site.pages[f"/{name}"] = world.reply(200, b"x", stall_s=20)
    world.write_table(world.names[:3])
    source = Source("urls", rate=1000, exempt=(world.host,), timeout_s=0.2)
    done = download_photos(world.table, tmp_path / "out", source)
    assert done.failures == {"the server is too slow": 3}
    assert done.postponed == 3


def test_robots_txt_is_read_once_and_obeyed(world: Any, tmp_path: Path) -> None:
    rules = b"User-agent: *\nDisallow: /000\n\nUser-agent: locationnet\nDisallow: /00\n"
    world.site.pages["/robots.txt"] = world.reply(200, rules)
    assert _run(world, tmp_path / "out").exit_code == 0
    forbidden = {name for name in world.names if name.startswith("00")}
    assert _failures(tmp_path / "out") == dict.fromkeys(forbidden, "forbidden by robots.txt")
    assert world.site.asked["/robots.txt"] == 1
    assert not forbidden & {path.strip("/") for path in world.site.asked}
    assert all(agent.startswith("locationnet/") for agent in world.site.agents)


def test_a_host_whose_rules_cannot_be_had_is_not_asked(
    world: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfers, "_BACKOFF_S", 0.01)
    world.site.pages["/robots.txt"] = world.reply(500)
    world.write_table(world.names[:2])
    assert _run(world, tmp_path / "out").exit_code == 1
    assert world.site.photos_asked == 0


@pytest.mark.parametrize(
    ("rules", "forbidden"),
    [
        (b"User-agent: *\n\nDisallow: /000.jpg\n", {"000.jpg"}),
        (b"User-agent: *\nAllow: /\nDisallow: /00\n", {"000.jpg", "001.jpg", "002.jpg"}),
        (b"User-agent: *\nDisallow: /*1.jpg$\n", {"001.jpg"}),
        (b"User-agent: *\nDisallow: /000\n\nUser-agent: *\nDisallow: /001", {"000.jpg", "001.jpg"}),
        (b"User-agent: *\nDisallow: /\nAllow: /002\n", {"000.jpg", "001.jpg"}),
        (b"User-agent: location\nDisallow: /\n", set()),
        (b"\n" * 600_000 + b"User-agent: *\nDisallow: /\n", set()),
        # Cut within its last line, it would forbid everything.
        (b"User-agent: *\nDisallow: /000\n#".ljust(524_276, b"x") + b"\nDisallow: /x", {"000.jpg"}),
    ],
)
def test_what_robots_txt_forbids_is_not_asked_for(
    world: Any, tmp_path: Path, rules: bytes, forbidden: set[str]
) -> None:
    world.site.pages["/robots.txt"] = world.reply(200, rules)
    world.write_table(world.names[:3])
    answer = _run(world, tmp_path / "out")
    assert answer.exit_code == 0, answer.output
    assert _failures(tmp_path / "out") == dict.fromkeys(forbidden, "forbidden by robots.txt")
    assert {f"/{name}" for name in forbidden}.isdisjoint(world.site.asked)
    # Its owner may think again, and who runs the command again is not told what was true once.
    world.site.pages["/robots.txt"] = world.reply(404)
    assert _run(world, tmp_path / "out").exit_code == 0
    assert _failures(tmp_path / "out") == {}


def test_robots_txt_may_be_elsewhere_or_compressed(world: Any, tmp_path: Path) -> None:
    rules = world.reply(
        200, gzip.compress(b"User-agent: *\nDisallow: /000"), headers={"Content-Encoding": "gzip"}
    )
    steps = ["/robots.txt", *(f"/robots {number}.txt" for number in range(5))]
    for step, following in pairwise(steps):
        world.site.pages[step.replace(" ", "%20")] = world.reply(
            302, headers={"Location": following}
        )
    world.site.pages[steps[-1].replace(" ", "%20")] = rules
    world.write_table(world.names[:2])
    assert _run(world, tmp_path / "out").exit_code == 0
    assert _failures(tmp_path / "out") == {"000.jpg": "forbidden by robots.txt"}
    world.site.pages["/robots.txt"] = world.reply(302, headers={"Location": "/robots.txt"})
    assert _run(world, tmp_path / "out").exit_code == 0
    assert _failures(tmp_path / "out") == {}


def test_the_rules_of_the_host_that_a_redirect_leads_to_count(world: Any, tmp_path: Path) -> None:
    other = world.host.replace("127.0.0.1", "localhost")

    def rules(_: int) -> Any:
        asked_first = world.site.asked["/robots.txt"] == 1
        return world.reply(200, b"" if asked_first else b"User-agent: *\nDisallow: /000.jpg")

    world.site.pages["/robots.txt"] = rules
    world.site.pages["/from"] = world.reply(302, headers={"Location": world.url("000.jpg")})
    parquet.write_table(pa.table({"id": ["a"], "url": [f"http://{other}/from"]}), world.table)
    answer = _run(world, tmp_path / "out", "urls", "--exempt", other)
    assert answer.exit_code == 0, answer.output
    assert _failures(tmp_path / "out") == {"a": "forbidden by robots.txt"}
    assert dict(world.site.asked) == {"/robots.txt": 2, "/from": 1}


def test_a_fault_that_lasts_is_not_put_off(world: Any, tmp_path: Path) -> None:
    site, photo = world.site, world.photos["000.jpg"]
    faults = {
        "loop.jpg": world.reply(302, headers={"Location": "/loop.jpg"}),
        "nowhere.jpg": world.reply(302),
        "broken.jpg": world.reply(302, headers={"Location": "http://[::1"}),
        "brotli.jpg": world.reply(200, photo, headers={"Content-Encoding": "br"}),
        "damaged.jpg": world.reply(200, photo, headers={"Content-Encoding": "gzip"}),
        "never.jpg": world.reply(501),
    }
    site.pages |= {f"/{name}": fault for name, fault in faults.items()}
    world.write_table(list(faults))
    answer = _run(world, tmp_path / "out")
    assert answer.exit_code == 0, answer.output
    assert "later" not in answer.output
    refused = {"never.jpg": "refused by the server"}
    assert (
        _failures(tmp_path / "out")
        == dict.fromkeys(faults, "the server is set up wrongly") | refused
    )
    # Once for each, and three times round.
    assert site.photos_asked == len(faults) + 3
    site.pages |= {
        f"/{name}": world.reply(200, world.jpeg(number)) for number, name in enumerate(faults)
    }
    assert _run(world, tmp_path / "out").exit_code == 0
    assert _failures(tmp_path / "out") == refused


def test_what_browsers_show_is_fetched(world: Any, tmp_path: Path) -> None:
    photos = list(world.photos.values())
    at = {
        "/my%20photo.jpg": "/my photo.jpg",
        "/fr%C3%BCh.jpg": "/fr\u00fch.jpg".encode().decode("latin-1"),
        "/fr%FCh.jpg": "/fr\u00fch.jpg",  # sent as Latin-1
        "/a/b.jpg": "\\a\\x\\..\\b.jpg#c",
    }
    names = []
    for number, (path, location) in enumerate(at.items()):
        names.append(f"{number}.jpg")
        world.site.pages[f"/{number}.jpg"] = world.reply(302, headers={"Location": location})
        world.site.pages[path] = world.reply(200, photos[number])
    for number, (name, packed) in enumerate(
        {"gzip": gzip.compress(photos[10]), "deflate": zlib.compress(photos[11])}.items()
    ):
        names.append(f"{name}.jpg")
        world.site.pages[f"/{name}.jpg"] = world.reply(
            200, packed, headers={"Content-Encoding": name}, chunked=bool(number)
        )
    world.write_table(names)
    answer = _run(world, tmp_path / "out")
    assert answer.exit_code == 0, answer.output
    assert _failures(tmp_path / "out") == {}
    kept = [(tmp_path / "out" / world.path(name)).read_bytes() for name in names]
    assert kept == [*photos[:4], *photos[10:12]]


@pytest.mark.parametrize(
    ("file", "placeholder"),
    [
        ("photo_unavailable.gif", True),
        ("photo_unavailable_l.png", True),
        ("photo_unavailable_3k.png?v=1", True),
        ("Photo_Unavailable_large_1024.JPG", True),
        ("photo%5Funavailable_s.png", True),
        ("photo-unavailable@2x.png", True),
        ("photo_unavailable_z.png#top", True),
        ("photo_unavailability.jpg", False),
        ("my_photo_unavailable.jpg", False),
        ("photo_unavailable/1.jpg", False),
    ],
)
def test_a_placeholder_is_one_in_every_size(
    world: Any, tmp_path: Path, file: str, placeholder: bool
) -> None:
    where = f"/images/{file}"
    world.site.pages["/000.jpg"] = world.reply(302, headers={"Location": where})
    world.site.pages[where.partition("?")[0]] = world.reply(200, world.photos["001.jpg"])
    parquet.write_table(
        pa.table({"url": [world.url("000.jpg"), world.url(where[1:])]}), world.table
    )
    assert _run(world, tmp_path / "out").exit_code == 0
    with (tmp_path / "out" / "problems.csv").open(newline="") as lines:
        reasons = [row["reason"] for row in csv.DictReader(lines)]
    assert reasons == ["a placeholder, not the photo"] * 2 * placeholder + [
        "the same bytes as another photo"
    ] * (not placeholder)


@pytest.mark.parametrize("source", SOURCES)
def test_blanks_around_an_address_are_no_part_of_it(
    world: Any, tmp_path: Path, source: str
) -> None:
    urls = [world.url(name) for name in world.names[:4]]
    columns = {
        "id": world.names[:4],
        "url": [f" {urls[0]}", f"{urls[1]}\t", f"\u00a0{urls[2]}\r\n", " "],
        "hash": ["", "", "", f" {photo_hash(urls[3])} "],
    }
    parquet.write_table(pa.table(columns), world.table)
    out = tmp_path / "out"
    answer = _run(world, out, source)
    assert answer.exit_code == 0, answer.output
    assert _failures(out) == ({"003.jpg": "no address"} if source == "urls" else {})
    for name in parquet.read_table(out / "photos.parquet")["id"].to_pylist():
        assert (out / world.path(name)).read_bytes() == world.photos[name]


def test_a_redirect_is_checked_too(world: Any, tmp_path: Path) -> None:
    site = world.site
    site.pages["/robots.txt"] = world.reply(200, b"User-agent: *\nDisallow: /private/\n")
    to = {
        "000.jpg": "/elsewhere.jpg",
        "001.jpg": "/images/photo_unavailable.png",
        "002.jpg": "/private/photo.jpg",
        "003.jpg": "http://169.254.169.254/latest/meta-data",
    }
    for name, where in to.items():
        site.pages[f"/{name}"] = world.reply(302, headers={"Location": where})
    site.pages["/elsewhere.jpg"] = world.reply(200, world.photos["000.jpg"])
    world.write_table(list(to))
    assert _run(world, tmp_path / "out").exit_code == 0
    assert _failures(tmp_path / "out") == {
        "001.jpg": "a placeholder, not the photo",
        "002.jpg": "forbidden by robots.txt",
        "003.jpg": "an address that is not contacted",
    }
    assert not {"/private/photo.jpg", "/images/photo_unavailable.png"} & set(site.asked)


def test_a_private_address_is_not_contacted_unless_it_is_exempt(world: Any, tmp_path: Path) -> None:
    done = download_photos(world.table, tmp_path / "out", Source("urls", rate=1000))
    assert done.failures == {"an address that is not contacted": PHOTOS}
    assert not world.site.asked


def test_no_host_is_asked_more_often_than_allowed(world: Any, tmp_path: Path) -> None:
    world.write_table(world.names[:8])
    assert _run(world, tmp_path / "out", "urls", "--rate", "20").exit_code == 0
    times = sorted(moment for moment, path in world.site.times if path != "/robots.txt")
    # The threads that ask may be a little late, never the plan.
    assert times[-1] - times[0] >= _EIGHT_AT_20_S


def test_who_waited_for_the_rules_does_not_ask_all_at_once(world: Any, tmp_path: Path) -> None:
    world.site.pages["/robots.txt"] = world.reply(404, stall_s=0.8)
    world.write_table(world.names[:8])
    assert _run(world, tmp_path / "out", "urls", "--rate", "20").exit_code == 0
    times = sorted(moment for moment, path in world.site.times if path != "/robots.txt")
    assert len(times) == 8
    assert times[-1] - times[0] >= _EIGHT_AT_20_S


def test_a_host_that_others_lead_to_is_not_asked_more_often_either(
    world: Any, tmp_path: Path
) -> None:
    site = world.site
    other = world.host.replace("127.0.0.1", "localhost")
    urls = []
    for name in world.names[:4]:
        site.pages[f"/from/{name}"] = world.reply(302, headers={"Location": world.url(name)})
        urls.append(f"http://{other}/from/{name}")
    urls += [world.url(name) for name in world.names[4:8]]
    parquet.write_table(pa.table({"url": urls}), world.table)
    answer = _run(world, tmp_path / "out", "urls", "--exempt", other, "--rate", "20")
    assert answer.exit_code == 0, answer.output
    assert _failures(tmp_path / "out") == {}
    direct = {f"/{name}" for name in world.names}
    times = sorted(moment for moment, path in site.times if path in direct)
    assert len(times) == 8
    assert times[-1] - times[0] >= _EIGHT_AT_20_S


def test_rows_without_a_usable_address_are_done_with_at_once(world: Any, tmp_path: Path) -> None:
    out = tmp_path / "out"
    names = world.names[:4]
    columns: dict[str, list[Any]] = {
        "hash": [photo_hash(world.url(name)) for name in names],
        "url": ["", "ftp://h.example/a.jpg", "no address", None],
    }
    parquet.write_table(pa.table(columns), world.table)
    done = download_photos(world.table, out, Source("urls", rate=0.001))
    assert done.failures == {"an address that is not contacted": 2, "no address": 2}
    columns["url"][0] = world.url(names[0])
    parquet.write_table(pa.table(columns), world.table)
    done = download_photos(world.table, out, Source("urls", rate=1000, exempt=(world.host,)))
    assert done.photos == 1
    assert download_photos(world.table, out, Source(endpoint_url=world.endpoint)).photos == 4


def test_a_crawl_delay_counts_for_more_than_the_rate(world: Any, tmp_path: Path) -> None:
    rules = b"User-agent: *\nRequest-rate: 5/1\n"
    world.site.pages["/robots.txt"] = world.reply(200, rules)
    world.write_table(world.names[:20])
    assert _run(world, tmp_path / "out", "urls", "--rate", "1000").exit_code == 0
    times = sorted(moment for moment, path in world.site.times if path != "/robots.txt")
    assert times[-1] - times[0] >= 19 / 5 * 0.9


@pytest.mark.parametrize("source", SOURCES)
def test_killed_anywhere_it_goes_on_and_asks_for_nothing_twice(
    world: Any, tmp_path: Path, source: str
) -> None:
    out = tmp_path / "out"
    site = world.site
    site.delay_s = 0.05
    site.pages[f"/{world.names[5]}"] = world.reply(404)
    site.pages[f"/multimedia-commons/{world.path(world.names[5])}"] = world.reply(404)
    script = tmp_path / "run.py"
    script.write_text("from locationnet.cli import main\nmain()")
    chance = random.Random(11)
    kills = 0
    here: set[str] = set()
    asked_before: Counter[str] = Counter()
    for _ in range(3):
        began = site.photos_asked
        goal = min(began + chance.randint(3, 25), 2 * PHOTOS)
        running = subprocess.Popen(
            [sys.executable, str(script), *_words(world, out, source)],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        while site.photos_asked < goal and running.poll() is None:
            time.sleep(0.002)
        time.sleep(chance.uniform(0, 0.06))
        if running.poll() is None:
            os.killpg(running.pid, signal.SIGKILL)
            kills += 1
        running.wait()
        while site.now:
            time.sleep(0.005)
        again = {path for path in here if site.asked[path] > asked_before[path]}
        assert not again
        asked_before = site.asked.copy()
        here = {
            path
            for name in world.names
            for path in (f"/{name}", f"/multimedia-commons/{world.path(name)}")
            if (out / world.path(name)).exists()
        }
    assert kills >= 2
    before = {path: site.asked[path] for path in here}
    assert _run(world, out, source).exit_code == 0
    assert {path: site.asked[path] for path in here} == before
    # Only what was under way at a kill is asked for again.
    assert site.photos_asked <= PHOTOS + kills * 12
    site.delay_s = 0
    assert _run(world, tmp_path / "whole", source).exit_code == 0
    assert _content(out) == _content(tmp_path / "whole")


def test_what_one_source_lacks_another_is_asked_for(world: Any, tmp_path: Path) -> None:
    out, site = tmp_path / "out", world.site
    for name in world.names[:5]:
        site.pages[f"/multimedia-commons/{world.path(name)}"] = world.reply(404)
    assert _run(world, out, "bucket").exit_code == 0
    assert _failures(out) == dict.fromkeys(world.names[:5], "no longer there")
    site.pages["/001.jpg"] = world.reply(302, headers={"Location": "/photo_unavailable.png"})
    assert _run(world, out, "urls").exit_code == 0
    assert _failures(out) == {"001.jpg": "a placeholder, not the photo"}
    asked = site.photos_asked
    assert asked == PHOTOS + 5
    assert _run(world, out, "urls").exit_code == 0
    assert site.photos_asked == asked


def test_an_exemption_that_is_given_later_counts(world: Any, tmp_path: Path) -> None:
    out = tmp_path / "out"
    world.write_table(world.names[:4])
    world.site.pages["/003.jpg"] = world.reply(404)
    assert download_photos(world.table, out, Source("urls", rate=1000)).photos == 0
    source = Source("urls", rate=1000, exempt=(world.host,))
    assert download_photos(world.table, out, source).failures == {"no longer there": 1}
    asked = world.site.photos_asked
    more = Source("urls", rate=1000, exempt=(world.host, "127.0.0.1:9"))
    assert download_photos(world.table, out, more).failures == {"no longer there": 1}
    assert world.site.photos_asked == asked == 4


def test_an_old_journal_is_read_and_its_verdicts_are_asked_for_again(
    world: Any, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    site = world.site
    site.pages[f"/multimedia-commons/{world.path('001.jpg')}"] = world.reply(404)
    assert _run(world, out, "bucket").exit_code == 0
    with closing(sqlite3.connect(out / ".journal.sqlite")) as base:
        base.execute("ALTER TABLE photos DROP COLUMN source")
    assert _run(world, out, "bucket").exit_code == 0
    assert _failures(out) == {"001.jpg": "no longer there"}
    assert site.photos_asked == PHOTOS + 1


@pytest.mark.parametrize("by", ["size", "md5", "both"])
def test_a_list_of_placeholders_that_is_given_later_counts(
    world: Any, tmp_path: Path, by: str
) -> None:
    out, site = tmp_path / "out", world.site
    same = world.jpeg(999, (400, 300))
    for name in world.names[:3]:
        site.pages[f"/multimedia-commons/{world.path(name)}"] = world.reply(200, same)
    assert _run(world, out, "bucket").exit_code == 0
    assert set(_failures(out).values()) == {"the same bytes as another photo"}
    md5 = hashlib.md5(same).hexdigest()
    listed = tmp_path / "list.txt"
    listed.write_text({"size": f"{len(same)}", "md5": md5, "both": f"{len(same)} {md5}"}[by])
    assert _run(world, out, "bucket", "--placeholders", str(listed)).exit_code == 0
    assert _failures(out) == dict.fromkeys(world.names[:3], "a placeholder, not the photo")
    assert not any((out / world.path(name)).exists() for name in world.names[:3])
    assert site.photos_asked == PHOTOS


def test_a_disk_too_full_for_the_journal_is_said(
    world: Any, tmp_path: Path, little_room: None
) -> None:
    with pytest.raises(FullDiskError, match=r"\.journal\.sqlite: the disk is full; make room"):
        download_photos(world.table, tmp_path / "out", Source(endpoint_url=world.endpoint))


def test_two_runs_cannot_use_a_folder_at_once(world: Any, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    with Journal(out / ".journal.sqlite") as journal:
        journal.entry("x")
        answer = _run(world, out)
    assert answer.exit_code == 1
    assert "another run is using it" in str(answer.exception)


@pytest.mark.parametrize("source", SOURCES)
def test_a_damaged_file_that_is_already_there_is_fetched_anew(
    world: Any, tmp_path: Path, source: str
) -> None:
    out = tmp_path / "out"
    found = {0: b"", 1: world.photos["001.jpg"][:900], 2: b"<html>", 3: world.photos["003.jpg"]}
    for number, data in found.items():
        file = out / world.path(world.names[number])
        file.parent.mkdir(parents=True)
        file.write_bytes(data)
    assert _run(world, out, source).exit_code == 0
    assert _failures(out) == {}
    assert world.site.photos_asked == PHOTOS - 1  # one was whole
    for name in world.names[:4]:
        assert (out / world.path(name)).read_bytes() == world.photos[name]


def test_too_little_room_is_said_before_anything_is_asked(world: Any, tmp_path: Path) -> None:
    answer = _run(world, tmp_path / "out", "urls", "--min-free", "1e9")
    assert answer.exit_code == 1
    assert "GB are free" in str(answer.exception)
    assert not world.site.asked


def test_a_disk_that_fills_up_stops_the_run_and_the_next_goes_on(
    world: Any, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    world.site.delay_s = 0.3

    def free(folder: Path) -> int:
        return 10**9 - 10**8 * len(list(folder.rglob("data/**/*.jpg")))

    source = Source(endpoint_url=world.endpoint)
    said: list[str] = []
    with pytest.raises(FullDiskError, match="make room"):
        download_photos(
            world.table, out, source, space=Space(out, 5 * 10**8, free), say=said.append
        )
    asked = world.site.photos_asked
    assert 5 <= asked < PHOTOS
    world.site.delay_s = 0
    download_photos(world.table, out, source)
    assert world.site.photos_asked == PHOTOS
    assert not said


def test_a_download_that_will_not_fit_is_announced(world: Any, tmp_path: Path) -> None:
    out = tmp_path / "out"
    said: list[str] = []
    download_photos(
        world.table, out, Source(endpoint_url=world.endpoint),
        space=Space(out, 0, lambda _folder: 1_000_000), say=said.append,
    )  # fmt: skip
    assert said == [
        "60 photos need about 0.0 GB (an estimate: 130 kB each), and 0.0 GB may be used"
    ]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--pack"], "go together"),
        (["--scheduler", "tcp://x:1"], "need --pack"),
        (["--give-up"], "need --pack"),
        (["--from", "urls", "--endpoint-url", "http://x"], "is of a bucket"),
        (["--exempt", "localhost:1"], "needs --from urls"),
        (["--from", "urls", "--exempt", "foo"], "'foo' must be host:port"),
        (["--from", "urls", "--rate", "nan"], "'--rate'"),
        (["--from", "urls", "--rate", "inf"], "--rate is not a number"),
        (["--min-free", "inf"], "--min-free is not a number"),
    ],
)
def test_options_that_do_not_fit_are_wrong_usage(
    world: Any, tmp_path: Path, words: list[str], said: str
) -> None:
    answer = CliRunner().invoke(app, ["download", str(world.table), "-o", str(tmp_path), *words])
    assert answer.exit_code == 2
    assert said in " ".join(answer.output.split())


def test_a_table_without_addresses_is_refused(tmp_path: Path) -> None:
    table = tmp_path / "photos.csv"
    table.write_text("id,lat\n1,2\n")
    with pytest.raises(InputError, match="no column of hashes or URLs among 'id', 'lat'"):
        download_photos(table, tmp_path / "out", Source())
    table.write_text("id,hash,url\n1,,\n2,nonsense,\n")
    done = download_photos(table, tmp_path / "out", Source(endpoint_url="http://127.0.0.1:9"))
    assert done.failures == {"no address": 2}


@pytest.mark.parametrize(
    ("column", "values"),
    [("hash", [["a"], ["b"]]), ("url", [{"a": "b"}, {"a": "c"}])],
)
def test_a_column_that_holds_no_text_is_named(
    tmp_path: Path, column: str, values: list[Any]
) -> None:
    table, out = tmp_path / "photos.parquet", tmp_path / "out"
    parquet.write_table(pa.table({"id": ["1", "2"], column: values}), table)
    with pytest.raises(
        InputError, match=rf"photos\.parquet: column '{column}' holds .*, not texts"
    ):
        download_photos(table, out, Source(endpoint_url="http://127.0.0.1:9"))
    assert not out.exists()


def test_a_url_that_is_no_text_is_named(tmp_path: Path) -> None:
    table = tmp_path / "photos.parquet"
    urls = [b"http://h.example/1", b"http://h.example/\xff"]
    parquet.write_table(pa.table({"id": ["1", "2"], "url": urls}), table)
    with pytest.raises(InputError, match=r"photos\.parquet: column 'url': row 2 is not UTF-8"):
        download_photos(table, tmp_path / "out", Source(endpoint_url="http://127.0.0.1:9"))


def test_a_store_may_leave_out_how_long_an_object_is(
    world: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("locationnet.download.bucket_source._MAX_BYTES", 50_000)
    photo = world.photos["000.jpg"]
    replies = {
        "000.jpg": world.reply(200, photo, chunked=True),
        "001.jpg": world.reply(200, bytes(60_000), chunked=True),
        "002.jpg": world.reply(200, bytes(60_000)),
    }
    for name, reply in replies.items():
        world.site.pages[f"/multimedia-commons/{world.path(name)}"] = reply
    world.write_table(list(replies))
    out = tmp_path / "out"
    assert _run(world, out, "bucket").exit_code == 0
    assert _failures(out) == {"001.jpg": "too large", "002.jpg": "too large"}
    assert (out / world.path("000.jpg")).read_bytes() == photo


@pytest.mark.parametrize(
    ("wrong", "pack"),
    [("table", False), ("endpoint", False), ("table", True), ("endpoint", True), ("grid", True)],
)
def test_what_is_wrong_is_said_before_anything_is_written(
    world: Any, tmp_path: Path, wrong: str, pack: bool
) -> None:
    grid, out = tmp_path / "grid.txt", tmp_path / "deep" / "out"
    if wrong != "grid":
        grid.write_text("0c\t45\t10\n")
    table = tmp_path / "none.parquet" if wrong == "table" else world.table
    endpoint = "nonsense" if wrong == "endpoint" else world.endpoint
    words = ["download", str(table), "-o", str(out), "--endpoint-url", endpoint]
    if pack:
        words += ["--pack", "--grid", str(grid)]
    answer = CliRunner().invoke(app, words)
    assert answer.exit_code == 1
    assert isinstance(answer.exception, LocationNetError)
    assert not out.parent.exists()


def test_a_host_that_wants_hardly_any_visits_gets_none(world: Any, tmp_path: Path) -> None:
    rules = b"User-agent: *\nCrawl-delay: 86400\n"
    world.site.pages["/robots.txt"] = world.reply(200, rules)
    answer = _run(world, tmp_path / "out")
    assert answer.exit_code == 0, answer.output
    assert "later" not in answer.output
    assert dict(world.site.asked) == {"/robots.txt": 1}
    assert set(_failures(tmp_path / "out").values()) == {"forbidden by robots.txt"}
    assert "pauses of 86,400 seconds" in (tmp_path / "out" / "problems.csv").read_text()


def test_without_protego_the_extra_is_named(
    world: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "protego", None)
    with pytest.raises(MissingExtraError, match=r"locationnet\[data\]"):
        download_photos(world.table, tmp_path / "out", Source("urls"))
    assert not (tmp_path / "out").exists()


def test_without_boto3_the_extra_is_named(
    world: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(MissingExtraError, match=r"locationnet\[aws\]"):
        download_photos(world.table, tmp_path / "out", Source())
