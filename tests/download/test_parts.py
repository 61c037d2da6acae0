"""The parts of a download by themselves: whom to ask when, how many at once, what came."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locationnet.commons import image_key, photo_hash
from locationnet.download.checks import Placeholders, check_answer, check_pixels
from locationnet.download.concurrency import Concurrency
from locationnet.download.failures import THROTTLED, UNREACHABLE, DownloadError
from locationnet.download.http_status import of_status, retry_after_s
from locationnet.download.journal import Entry, Journal
from locationnet.download.rate_limit import RateLimiter
from locationnet.download.scheduler import Photo, Scheduler, Task
from locationnet.download.source import Source
from locationnet.download.url_source import Urls
from locationnet.errors import InputError, LocationNetError, RemoteStatusError

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def _photos(hosts: list[str]) -> Iterator[Photo]:
    return (Photo(row, f"{row}.jpg", host) for row, host in enumerate(hosts))


def _all(scheduler: Scheduler, now: float = 0.0) -> list[tuple[float, Task]]:
    """Do every task of a scheduler, as soon as it is due."""
    done = []
    while scheduler:
        task = scheduler.due(now)
        if task is not None:
            done.append((now, task))
        elif (at := scheduler.next_at()) is not None:
            assert at > now
            now = at
    return done


@given(st.lists(st.sampled_from("abc"), max_size=40), st.sampled_from([0.0, 0.5, 2.0]))
def test_every_photo_is_due_once_and_no_host_too_often(hosts: list[str], interval: float) -> None:
    done = _all(Scheduler(_photos(hosts), lambda photo: photo.url, RateLimiter(interval)))
    assert sorted(task.photo.row for _, task in done) == list(range(len(hosts)))
    for host in set(hosts):
        times = [at for at, task in done if task.host == host]
        assert times == pytest.approx([interval * number for number in range(len(times))])
        rows = [task.photo.row for _, task in done if task.host == host]
        assert rows == sorted(rows)


def test_a_paused_host_holds_nobody_else_up() -> None:
    limiter = RateLimiter(1.0)
    scheduler = Scheduler(_photos(["a", "a", "b", "b"]), lambda photo: photo.url, limiter)
    first = scheduler.due(0.0)
    assert first is not None
    limiter.pause("a", 10.0)
    scheduler.again(first, 10.0)
    done = _all(scheduler)
    assert [(at, task.photo.row) for at, task in done] == [(0, 2), (1, 3), (10, 0), (11, 1)]


def test_a_host_that_is_given_up_is_done_with_at_once() -> None:
    limiter = RateLimiter(100.0)
    scheduler = Scheduler(_photos(["a"] * 5), lambda photo: photo.url, limiter)
    assert scheduler.due(0.0) is not None
    scheduler.release("a")
    # An answer that was under way at that moment changes nothing.
    limiter.wait("a", 10.0)
    limiter.pause("a", 1000.0)
    assert [at for at, _ in _all(scheduler)] == [0, 0, 0, 0]


def _settled(capacity: float, seconds: float, *, failing: bool = False) -> Concurrency:
    """Drive it with a server that answers in a second, `capacity` photos a second at most."""
    concurrency, now = Concurrency(most=64), 0.0
    while now < seconds:
        rate = min(concurrency.limit, capacity)
        now += 1 / rate
        concurrency.finished(now, failed=failing)
    return concurrency


@pytest.mark.parametrize("capacity", [4, 13, 40, 1000])
def test_connections_grow_while_it_pays(capacity: int) -> None:
    limit = _settled(capacity, 400).limit
    # Never so few that the server idles, never twice as many as it can use.
    assert min(capacity, 64) * 0.8 <= limit <= min(max(8, capacity * 2.3), 64)


def test_connections_shrink_when_servers_suffer() -> None:
    assert _settled(1000, 400, failing=True).limit == 1


def test_nothing_is_concluded_while_there_is_too_little_to_do() -> None:
    concurrency = Concurrency()
    for second in range(200):
        concurrency.idled()
        concurrency.finished(second / 4, failed=False)
    assert concurrency.limit == 8


def test_retry_after_is_a_number_or_a_date() -> None:
    assert retry_after_s("120", NOW) == 120
    assert retry_after_s(format_datetime(NOW + timedelta(minutes=2), usegmt=True), NOW) == 120
    assert retry_after_s(format_datetime(NOW - timedelta(days=1), usegmt=True), NOW) == 0
    for text in ("", "soon", "-5", "1.5"):
        assert retry_after_s(text, NOW) is None


@pytest.mark.parametrize(
    ("status", "retry_after", "reason", "wait_s"),
    [
        (404, "", "no longer there", None),
        (404, "60", "no longer there", None),
        (410, "", "no longer there", None),
        (400, "", "refused by the server", None),
        (403, "", "refused by the server", None),
        (304, "", "refused by the server", None),
        (501, "60", "refused by the server", None),
        (505, "", "refused by the server", None),
        (429, "", "the server asks to slow down", None),
        (429, "60", "the server asks to slow down", 60),
        (403, "60", "the server asks to slow down", 60),
        (500, "60", "the server asks to slow down", 60),
        (408, "", "the server cannot be reached or fails", None),
        (425, "", "the server cannot be reached or fails", None),
        (500, "", "the server cannot be reached or fails", None),
        (503, "soon", "the server cannot be reached or fails", None),
        (599, "", "the server cannot be reached or fails", None),
    ],
)
def test_only_a_status_that_passes_is_asked_for_again(
    status: int, retry_after: str, reason: str, wait_s: float | None
) -> None:
    failure = of_status(RemoteStatusError(status, retry_after))
    assert (failure.reason, failure.wait_s) == (reason, wait_s)
    assert failure.temporary == ("slow down" in reason or "reached" in reason)


@given(st.text(max_size=60))
def test_no_retry_after_crashes(text: str) -> None:
    found = retry_after_s(text, NOW)
    assert found is None or found >= 0


@given(st.text(max_size=80))
def test_a_table_may_hold_any_text_for_a_url(text: str) -> None:
    urls, photo = Urls(), Photo(0, "0.jpg", text)
    assert urls.failure(photo) is not None or urls.host(photo)


class _Time:
    """A clock that only sleep moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_each_request_to_a_host_has_a_slot_of_its_own() -> None:
    time = _Time()
    limiter = RateLimiter(2.0, time.clock, time.sleep)
    times = []
    for host, delay_s in [("a", 0), ("b", 0), ("a", 0), ("a", 5), ("a", 0), ("b", 0)]:
        limiter.wait(host, delay_s)
        times.append(time.now - 100)
    assert times == [0, 0, 2, 4, 9, 9]


def test_photos_of_a_host_that_asks_for_longer_pauses_start_less_often() -> None:
    time = _Time()
    limiter = RateLimiter(1.0, time.clock, time.sleep)
    scheduler = Scheduler(_photos(["a"] * 3 + ["b"] * 3), lambda photo: photo.url, limiter)
    starts: dict[str, list[float]] = {"a": [], "b": []}
    while scheduler:
        task = scheduler.due(time.now)
        if task is None:
            time.now = max(time.now, scheduler.next_at() or 0.0)
            continue
        starts[task.host].append(time.now - 100)
        if task.host == "a" and not starts["b"]:
            limiter.wait("a", 5.0)  # by its robots.txt, which the first photo waits for
    assert starts == {"a": [0, 1, 6], "b": [0, 1, 2]}


def test_who_would_wait_too_long_comes_again_later() -> None:
    time = _Time()
    limiter = RateLimiter(4.0, time.clock, lambda _seconds: None)
    for _ in range(3):  # whose slots come after 0, 4 and 8 seconds
        limiter.wait("a")
    for _ in range(2):
        with pytest.raises(DownloadError) as found:
            limiter.wait("a")
        assert found.value.temporary
        assert found.value.wait_s == 12
    limiter.wait("b")
    time.now += 12
    limiter.wait("a")
    rare = RateLimiter(60.0, time.clock, lambda _seconds: None)
    for _ in range(3):  # a redirect to the same host needs two slots, however rare they are
        rare.wait("a")


def test_placeholders_are_known_by_size_or_hash(tmp_path: Path) -> None:
    gone, other = b"gone" * 10, b"else" * 10
    listed = tmp_path / "list.txt"
    md5, sha256 = hashlib.md5(gone).hexdigest(), hashlib.sha256(gone).hexdigest()
    for line in ("40", md5, sha256.upper(), f"40 {md5}", f"  40\t{sha256}  # Flickr's"):
        listed.write_text(f"\n# {line}\n{line}\n")
        assert gone in Placeholders.read(listed)
        assert (other in Placeholders.read(listed)) == (line == "40")
    listed.write_text(f"41 {md5}\n")
    assert gone not in Placeholders.read(listed)
    for line in ("forty", "40 40", md5[:-1], f"{md5} 40"):
        listed.write_text(f"12\n{line}\n")
        with pytest.raises(InputError, match=r"list\.txt: line 2: expected a size"):
            Placeholders.read(listed)
    with pytest.raises(InputError, match="cannot be read"):
        Placeholders.read(tmp_path / "missing")


@given(st.binary(max_size=400))
def test_whatever_comes_is_a_photo_or_has_a_reason(data: bytes) -> None:
    with pytest.raises(DownloadError) as found:
        check_answer(data, Placeholders())
        check_pixels(data)
    assert not found.value.temporary


def test_a_photo_cut_anywhere_is_found_out(jpegs: list[bytes]) -> None:
    whole = jpegs[0]
    check_pixels(whole)
    for share in (0.1, 0.3, 0.5, 0.7, 0.9, 0.97):
        with pytest.raises(DownloadError):
            check_pixels(whole[: int(len(whole) * share)])


def test_web_pages_are_told_from_photos(jpegs: list[bytes]) -> None:
    check_answer(jpegs[0], Placeholders())
    for page in (b"<html>", b" \n<!DOCTYPE HTML", b"\xef\xbb\xbf<html", b"<?xml version='1.0'?>"):
        with pytest.raises(DownloadError, match="web page"):
            check_answer(page, Placeholders())


def test_copies_are_found_in_any_order_and_again_later(tmp_path: Path) -> None:
    with Journal(tmp_path / "journal") as journal:
        for path in "dbc":
            journal.note(path, Entry(None, size=3, fingerprint=b"same"))
        journal.note("z", Entry(None, size=9, fingerprint=b"other"))
        journal.find_copies()
        assert sorted(journal.rejected()) == ["c", "d"]
        assert journal.mean_bytes() == 6
        journal.note("a", Entry(None, size=3, fingerprint=b"same"))
        journal.find_copies()
        assert sorted(journal.rejected()) == ["b", "c", "d"]
        journal.note("e", Entry(None, size=3, fingerprint=b"same"))
        journal.find_copies()
        assert sorted(journal.rejected()) == ["a", "b", "c", "d", "e"]
        assert journal.placeholders() == {b"same"}


def test_a_file_that_is_no_journal_is_said(tmp_path: Path) -> None:
    (tmp_path / "journal").write_bytes(b"something else" * 100)
    with pytest.raises(LocationNetError, match="not a journal"):
        Journal(tmp_path / "journal")


def test_machines_share_a_rate() -> None:
    source = Source("urls", rate=6.0)
    assert source.shared_by(3).interval_s == pytest.approx(0.5)
    assert Source("bucket").interval_s == 0


def test_the_hash_and_key_of_the_documented_photo() -> None:
    url = "http://farm7.staticflickr.com/6167/6162540254_5d22abd711.jpg"
    assert photo_hash(url) == "4ccb23d8746b8d9d76ffd603fc7988"
    key = "data/images/4cc/b23/4ccb23d8746b8d9d76ffd603fc7988.jpg"
    assert image_key(photo_hash(url)) == key


def test_a_wrong_endpoint_is_said() -> None:
    with pytest.raises(InputError, match="nonsense"):
        Source(endpoint_url="nonsense").open()
    with pytest.raises(InputError, match="exempt: 'foo' must be host:port"):
        Source("urls", exempt=("foo",)).open()


def test_tries_belong_to_the_reason() -> None:
    tries: dict[str, Any] = {
        reason: DownloadError(reason).tries
        for reason in ("no longer there", "truncated or corrupt", "the server is too slow")
    }
    assert list(tries.values()) == [1, 2, 5]


def test_a_shorter_pause_does_not_end_a_longer_one() -> None:
    limiter = RateLimiter(0.0)
    scheduler = Scheduler(_photos(["a", "a"]), lambda photo: photo.url, limiter)
    assert scheduler.due(0.0) is not None
    limiter.pause("a", 10.0)
    limiter.pause("a", 5.0)
    assert [at for at, _ in _all(scheduler)] == [10.0]
    limiter = RateLimiter(0.0)
    scheduler = Scheduler(_photos(["a", "a"]), lambda photo: photo.url, limiter)
    assert scheduler.due(0.0) is not None
    limiter.pause("a", 5.0)
    limiter.pause("a", 10.0)
    assert [at for at, _ in _all(scheduler)] == [10.0]


@pytest.mark.parametrize(
    ("header", "reason", "wait_s"),
    [("", UNREACHABLE, None), ("soon", UNREACHABLE, None), ("7", THROTTLED, 7.0)],
)
def test_a_503_throttles_only_where_it_says_for_how_long(
    header: str, reason: str, wait_s: float | None
) -> None:
    found = of_status(RemoteStatusError(503, header))
    assert (found.reason, found.wait_s) == (reason, wait_s)
