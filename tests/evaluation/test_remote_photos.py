"""Archives come from a real server on this machine, in pieces, damaged, or not at all."""

from __future__ import annotations

import hashlib
import io
import json
import threading
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from locationnet.errors import InputError, LocationNetError, RemoteFailedError, RemoteTooLargeError
from locationnet.evaluation import remote_photos as module
from locationnet.evaluation.remote_photos import ARCHIVES, RECORD, Archive, fetch

Answer = Callable[["Handler"], None]


@dataclass
class Site:
    """What the server has, and what it was asked."""

    url: str = ""
    content: bytes = b""
    headers: dict[str, str] = field(default_factory=lambda: {"ETag": '"one"'})
    # Bytes of a body after which the server hangs up, or falls silent.
    breaks_after: int | None = None
    silent_after: int | None = None
    ranges: bool = True
    special: Answer | None = None
    asked: list[dict[str, str]] = field(default_factory=list)
    done: threading.Event = field(default_factory=threading.Event)

    def archive(self, photos: int = 3, **more: Any) -> Archive:
        return Archive(self.url, "http://example.org/page", photos, **more)


class Handler(BaseHTTPRequestHandler):
    site: Site

    def do_GET(self) -> None:
        site = self.site
        site.asked.append({name.lower(): value for name, value in self.headers.items()})
        if site.special is not None:
            site.special(self)
            return
        start = 0
        asked = self.headers.get("Range")
        if asked and site.ranges and self.headers.get("If-Range") in site.headers.values():
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
        body = site.content[start:]
        fields = dict(site.headers, **{"Content-Length": str(len(body))})
        if start:
            total = len(site.content)
            fields["Content-Range"] = f"bytes {start}-{total - 1}/{total}"
        self.answer(206 if start else 200, fields, body)

    def answer(self, status: int, fields: dict[str, str], body: bytes = b"") -> None:
        self.send_response(status)
        for name, value in fields.items():
            self.send_header(name, value)
        self.end_headers()
        site = self.site
        if site.silent_after is not None:
            self.wfile.write(body[: site.silent_after])
            self.wfile.flush()
            site.done.wait(5)
        else:
            self.wfile.write(body[: site.breaks_after])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def server() -> Iterator[Site]:
    site = Site()
    handler = type("Ours", (Handler,), {"site": site})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        site.url = f"http://127.0.0.1:{running.server_port}/photos.zip"
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield site
        running.shutdown()
        thread.join()


@pytest.fixture
def site(server: Site, monkeypatch: pytest.MonkeyPatch) -> Site:
    monkeypatch.setenv("no_proxy", "*")
    server.__dict__.update(Site(url=server.url, content=_zip()).__dict__)
    return server


def _photo(number: int) -> bytes:
    noise = np.random.default_rng(number).bytes(50_000)
    return b"\xff\xd8" + noise + b"\xff\xd9"


PHOTOS = {f"Rome_{number}_x@N00.jpg": _photo(number) for number in range(3)}


def _zip(files: dict[str, bytes] | None = None) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.mkdir("imgs")
        for name, data in (files or {f"imgs/{n}": d for n, d in PHOTOS.items()}).items():
            packed.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def _files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def _all_there(folder: Path) -> None:
    assert _files(folder) == {f"im2gps/{name}" for name in (*PHOTOS, RECORD)}
    for name, data in PHOTOS.items():
        assert (folder / "im2gps" / name).read_bytes() == data


def test_photos_are_fetched_unpacked_and_recorded(site: Site, tmp_path: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    found = fetch(
        "IM2GPS",
        tmp_path / "new" / "folder",
        archive=site.archive(),
        advance=lambda done, total: seen.append((done, total)),
    )
    assert found == tmp_path / "new" / "folder" / "im2gps"
    _all_there(found.parent)
    record = json.loads((found / RECORD).read_text())
    assert record["url"] == site.url
    assert record["sha256"] == hashlib.sha256(site.content).hexdigest()
    assert (record["bytes"], record["photos"]) == (len(site.content), 3)
    assert record["fetched"].endswith("+00:00")
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})
    assert seen[-1] == (len(site.content), len(site.content))
    (asked,) = site.asked
    assert "range" not in asked
    assert asked["accept-encoding"] == "identity"


def test_what_is_there_is_not_fetched_again(site: Site, tmp_path: Path) -> None:
    folder = fetch("im2gps", tmp_path, archive=site.archive())
    fetch("im2gps", tmp_path, archive=site.archive())
    assert len(site.asked) == 1
    (folder / next(iter(PHOTOS))).unlink()
    fetch("im2gps", tmp_path, archive=site.archive())
    assert len(site.asked) == 2
    (folder / RECORD).write_text("[1, 2")
    fetch("im2gps", tmp_path, archive=site.archive())
    assert len(site.asked) == 3
    _all_there(tmp_path)


def test_a_table_beside_the_photos_stays(site: Site, tmp_path: Path) -> None:
    (tmp_path / "im2gps").mkdir()
    table = tmp_path / "im2gps" / "im2gps_places365.csv"
    table.write_text("mine")
    fetch("im2gps", tmp_path, archive=site.archive())
    assert table.read_text() == "mine"


def _break_off(site: Site, folder: Path) -> int:
    """Get the first 70,000 bytes."""
    site.breaks_after = 70_000
    with pytest.raises(RemoteFailedError, match=r"broke off after 70,000 of 15\d,\d{3} bytes"):
        fetch("im2gps", folder, archive=site.archive())
    assert not (folder / "im2gps").exists()
    site.breaks_after = None
    return 70_000


@pytest.mark.parametrize(
    ("headers", "validator"),
    [
        ({"ETag": '"one"', "Last-Modified": "Wed, 01 Jan 2020 00:00:00 GMT"}, '"one"'),
        (
            {"ETag": 'W/"weak"', "Last-Modified": "Wed, 01 Jan 2020 00:00:00 GMT"},
            "Wed, 01 Jan 2020 00:00:00 GMT",
        ),
    ],
)
def test_a_broken_download_goes_on(
    site: Site, tmp_path: Path, headers: dict[str, str], validator: str
) -> None:
    site.headers = headers
    done = _break_off(site, tmp_path)
    seen: list[int] = []
    fetch("im2gps", tmp_path, archive=site.archive(), advance=lambda done, total: seen.append(done))
    assert site.asked[1]["range"] == f"bytes={done}-"
    assert site.asked[1]["if-range"] == validator
    assert seen[0] > done
    assert len(site.asked) == 2
    _all_there(tmp_path)


@pytest.mark.parametrize("headers", [{}, {"ETag": 'W/"weak"'}, {"ETag": '"\xfc"'}])
def test_without_a_proof_of_the_version_it_starts_anew(
    site: Site, tmp_path: Path, headers: dict[str, str]
) -> None:
    site.headers = headers
    _break_off(site, tmp_path)
    fetch("im2gps", tmp_path, archive=site.archive())
    assert "range" not in site.asked[1]
    _all_there(tmp_path)


def test_a_changed_archive_starts_anew(site: Site, tmp_path: Path) -> None:
    site.content = b"PK" + bytes(150_000)
    _break_off(site, tmp_path)
    site.content, site.headers = _zip(), {"ETag": '"two"'}
    fetch("im2gps", tmp_path, archive=site.archive())
    assert len(site.asked) == 2
    _all_there(tmp_path)


def test_a_server_that_knows_no_ranges_sends_all(site: Site, tmp_path: Path) -> None:
    _break_off(site, tmp_path)
    site.ranges = False
    fetch("im2gps", tmp_path, archive=site.archive())
    assert "range" in site.asked[1]
    _all_there(tmp_path)


@pytest.mark.parametrize(
    ("status", "fields"),
    [
        (416, {}),
        (206, {}),
        (206, {"Content-Range": "bytes 0-9/10"}),
        (206, {"Content-Range": "bytes 70000-70009/70010"}),
        (206, {"Content-Range": "bytes 70000-{last}/{total}", "ETag": '"two"'}),
    ],
)
def test_a_part_that_does_not_fit_starts_anew(
    site: Site, tmp_path: Path, status: int, fields: dict[str, str]
) -> None:
    _break_off(site, tmp_path)

    def once(handler: Handler) -> None:
        site.special = None
        total = len(site.content)
        handler.answer(
            status, {n: v.format(last=total - 1, total=total) for n, v in fields.items()}
        )

    site.special = once
    fetch("im2gps", tmp_path, archive=site.archive())
    assert "range" in site.asked[1]
    assert "range" not in site.asked[2]
    _all_there(tmp_path)


def test_a_part_of_another_link_is_not_gone_on_with(site: Site, tmp_path: Path) -> None:
    _break_off(site, tmp_path)
    other = Archive(f"{site.url}?other", "", 3)
    fetch("im2gps", tmp_path, archive=other)
    assert "range" not in site.asked[1]


def test_a_whole_archive_that_could_not_be_unpacked_is_not_fetched_again(
    site: Site, tmp_path: Path
) -> None:
    (tmp_path / "im2gps").write_text("in the way")
    with pytest.raises(LocationNetError, match="cannot be written"):
        fetch("im2gps", tmp_path, archive=site.archive())
    (tmp_path / "im2gps").unlink()
    fetch("im2gps", tmp_path, archive=site.archive())
    assert len(site.asked) == 1
    _all_there(tmp_path)


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (404, r"the link is dead \(404\); see http://example\.org/page"),
        (410, r"the link is dead \(410\)"),
        (403, r"the server refused \(403\)"),
        (503, r"the server refused \(503\)"),
        (416, r"the server refused \(416\)"),
        (204, "answered 204, not 200"),
        (206, "answered 206, not 200"),
    ],
)
def test_a_dead_link_is_said_with_its_status(
    site: Site, tmp_path: Path, status: int, said: str
) -> None:
    site.special = lambda handler: handler.answer(status, {"Content-Length": "0"})
    with pytest.raises(RemoteFailedError, match=said):
        fetch("im2gps", tmp_path, archive=site.archive())
    assert list(tmp_path.iterdir()) == []


def test_nobody_there_is_said(site: Site, tmp_path: Path) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as closed:
        url = f"http://127.0.0.1:{closed.server_port}/a.zip"
    with pytest.raises(RemoteFailedError, match=r"cannot be reached \(.*refused"):
        fetch("im2gps", tmp_path, archive=Archive(url, "", 3))


@pytest.mark.parametrize("status", [408, 429, 500, 503, 504])
def test_a_fault_that_passes_is_said_to(site: Site, tmp_path: Path, status: int) -> None:
    site.special = lambda handler: handler.answer(status, {"Content-Length": "0"})
    with pytest.raises(
        RemoteFailedError, match=rf"refused \({status}\); run again later; see http"
    ):
        fetch("im2gps", tmp_path, archive=site.archive())


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (403, {}),
        (404, {}),
        (501, {}),
        (302, {"Location": "/photos.zip"}),
        (302, {}),
        (200, {"Content-Encoding": "gzip"}),
    ],
)
def test_a_fault_that_lasts_is_not(
    site: Site, tmp_path: Path, status: int, headers: dict[str, str]
) -> None:
    site.special = lambda handler: handler.answer(status, {"Content-Length": "0", **headers})
    with pytest.raises(RemoteFailedError) as caught:
        fetch("im2gps", tmp_path, archive=site.archive())
    assert "again" not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_an_archive_that_is_compressed_unasked_is_refused(site: Site, tmp_path: Path) -> None:
    site.headers["Content-Encoding"] = "gzip"
    with pytest.raises(RemoteFailedError, match="compressed its answer, unasked"):
        fetch("im2gps", tmp_path, archive=site.archive())
    assert list(tmp_path.iterdir()) == []
    site.headers["Content-Encoding"] = "Identity"
    fetch("im2gps", tmp_path, archive=site.archive())
    _all_there(tmp_path)


@pytest.mark.parametrize(
    "location", ["/elsewhere.zip", "/else where.zip#a", "/fr\u00fch.zip", "?size=l x", "//{host}/a"]
)
def test_a_redirect_is_followed(site: Site, tmp_path: Path, location: str) -> None:
    def once(handler: Handler) -> None:
        site.special = None
        host = handler.headers["Host"]
        handler.answer(302, {"Location": location.format(host=host), "Content-Length": "0"})

    site.special = once
    fetch("im2gps", tmp_path, archive=site.archive())
    _all_there(tmp_path)


@pytest.mark.parametrize(
    "location", ["file:///etc/passwd", "ftp://127.0.0.1/a.zip", "http://[::1", "/photos.zip"]
)
def test_a_redirect_to_nowhere_is_not(site: Site, tmp_path: Path, location: str) -> None:
    site.special = lambda handler: handler.answer(302, {"Location": location})
    with pytest.raises(RemoteFailedError, match=r"302|unknown url type|Invalid IPv6"):
        fetch("im2gps", tmp_path, archive=site.archive())


@pytest.mark.parametrize("announced", [True, False])
def test_too_large_an_archive_is_refused(site: Site, tmp_path: Path, announced: bool) -> None:
    if not announced:
        site.special = lambda handler: handler.answer(200, {"ETag": '"one"'}, site.content)
    with pytest.raises(RemoteTooLargeError, match="larger than 100,000 bytes"):
        fetch("im2gps", tmp_path, archive=site.archive(max_bytes=100_000))
    assert list(tmp_path.iterdir()) == []


def test_a_length_need_not_be_announced(site: Site, tmp_path: Path) -> None:
    site.special = lambda handler: handler.answer(200, {"ETag": '"one"'}, site.content)
    fetch("im2gps", tmp_path, archive=site.archive())
    _all_there(tmp_path)


def test_a_silent_server_is_left_and_gone_back_to(site: Site, tmp_path: Path) -> None:
    site.silent_after = 70_000
    with pytest.raises(RemoteFailedError, match=r"broke off after \d+,\d+ bytes \(timed out\)"):
        fetch("im2gps", tmp_path, archive=site.archive(), timeout_s=0.2)
    site.done.set()
    site.silent_after = None
    fetch("im2gps", tmp_path, archive=site.archive())
    assert "range" in site.asked[1]
    _all_there(tmp_path)


def _changed(at: int, to: bytes) -> bytes:
    whole = _zip()
    return whole[:at] + to + whole[at + len(to) :]


def _with_size(size: int) -> bytes:
    """An archive whose directory lies about the size of a photo."""
    whole = _zip({"a.jpg": bytes(100_000), "b.jpg": b"b", "c.jpg": b"c"})
    offset = whole.index(b"PK\x01\x02", whole.index(b"PK\x01\x02") + 1) + 24
    assert int.from_bytes(whole[offset : offset + 4], "little") == 100_000
    return whole[:offset] + size.to_bytes(4, "little") + whole[offset + 4 :]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"<html>this domain is for sale</html>", "not a valid zip archive"),
        (_zip()[:-30], "not a valid zip archive"),
        (_changed(40_000, b"\0\0\0\0"), "not a valid zip archive"),
        (_with_size(10), "not a valid zip archive"),
        (_with_size(200_000), "a.jpg is cut short"),
        (_with_size(300 << 20), "holds more than"),
        (_zip({"../a.jpg": b"a", "b.jpg": b"b", "c.jpg": b"c"}), r"a file named '\.\./a\.jpg'"),
        (_zip({"x/../../a.txt": b"a", **PHOTOS}), "a file named"),
        (_zip({"/etc/a.jpg": b"a", "b.jpg": b"b", "c.jpg": b"c"}), "a file named '/etc/a.jpg'"),
        (_zip({"..\\a.jpg": b"a", "b.jpg": b"b", "c.jpg": b"c"}), "a file named"),
        (_zip({"a\n.jpg": b"a", "b.jpg": b"b", "c.jpg": b"c"}), "a file named"),
        (_zip({"x/a.jpg": b"a", "y/a.jpg": b"b", "c.jpg": b"c"}), r"a\.jpg twice"),
        (_zip({"a.jpg": b"a"}), "holds 1 photos, expected 3"),
    ],
)
def test_an_archive_that_is_not_valid_leaves_nothing(
    site: Site, tmp_path: Path, content: bytes, said: str
) -> None:
    site.content = content
    with pytest.raises(RemoteFailedError, match=said):
        fetch("im2gps", tmp_path / "in", archive=site.archive())
    assert _files(tmp_path) == set()


def test_an_archive_that_inflates_too_far_is_refused(site: Site, tmp_path: Path) -> None:
    site.content = _zip({f"{number}.jpg": bytes(1 << 20) for number in range(3)})
    assert len(site.content) < 100_000
    with pytest.raises(RemoteFailedError, match="holds more than 2,000,000 bytes"):
        fetch("im2gps", tmp_path, archive=site.archive(max_bytes=2_000_000))


def test_only_photos_are_unpacked(site: Site, tmp_path: Path) -> None:
    site.content = _zip(
        {**PHOTOS, "__MACOSX/._Rome_0_x@N00.jpg": b"twin", "run.sh": b"rm", "b.png": b"b"}
    )
    fetch("im2gps", tmp_path, archive=site.archive())
    _all_there(tmp_path)


# One server for all examples; each has its own folder.
@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 1500), st.integers(0, 255)), max_size=6),
    st.one_of(st.none(), st.integers(0, 1500)),
)
def test_no_damage_to_an_archive_crashes_or_escapes(
    server: Site, changes: list[tuple[int, int]], cut: int | None
) -> None:
    content = bytearray(_zip({f"{letter}.jpg": letter.encode() * 300 for letter in "abc"}))
    for offset, value in changes:
        content[offset % len(content)] = value
    server.__dict__.update(Site(url=server.url, content=bytes(content[:cut])).__dict__)
    with TemporaryDirectory() as outer, pytest.MonkeyPatch.context() as patch:
        patch.setenv("no_proxy", "*")
        folder = Path(outer) / "in"
        try:
            fetch("im2gps", folder, archive=server.archive())
        except RemoteFailedError as error:
            assert "\n" not in str(error)
            assert _files(Path(outer)) == set()
        else:
            assert len(_files(folder)) == 4
        assert [path.name for path in Path(outer).iterdir()] == ["in"]


@pytest.mark.parametrize("name", ["im2gps3k", "YFCC4k", "placing2016"])
def test_what_has_no_link_is_to_be_got_by_hand(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=f"{name}: has no direct link; get .*http"):
        fetch(name, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_benchmark_gets_the_known_ones_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"'kitti' is not a benchmark .* im2gps, im2gps3k"):
        fetch("kitti", tmp_path)


def test_the_one_link_is_the_authors_own() -> None:
    assert list(ARCHIVES) == ["im2gps"]
    assert ARCHIVES["im2gps"].photos == 237
    assert ARCHIVES["im2gps"].url.endswith("/im2gps/gps_query_imgs.zip")
    assert set(ARCHIVES).isdisjoint(module._BY_HAND)
