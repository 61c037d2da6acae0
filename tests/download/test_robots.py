"""Rules of ``robots.txt`` as RFC 9309 reads them, and what is asked of hosts that have none."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locationnet.download.failures import FAULTY, FORBIDDEN, THROTTLED, UNREACHABLE
from locationnet.download.robots import Robots, Rules, parse
from locationnet.errors import (
    FetchError,
    RefusedURLError,
    RemoteFailedError,
    RemoteLastingError,
    RemoteRedirectError,
    RemoteStatusError,
    RemoteTimeoutError,
)
from locationnet.net.urls import parse_url

ASKED = parse_url("http://h.example/a.jpg")


def _allowed(rules: Rules, path: str) -> bool:
    return rules.failure(parse_url(f"http://h.example{path}")) is None


def _told_apart(text: str, *paths: str) -> tuple[list[str], list[str]]:
    """Which of some paths are allowed, and which are not."""
    rules, each = parse(text.encode()), " ".join(paths).split()
    return (
        [path for path in each if _allowed(rules, path)],
        [path for path in each if not _allowed(rules, path)],
    )


@pytest.mark.parametrize(
    ("text", "allowed", "forbidden"),
    [
        # A blank line, a comment or an unknown record ends no group.
        ("User-agent: *\n\nDisallow: /a", "/b", "/a"),
        ("User-agent: *\n# ours\n\n\nDisallow: /a", "/b", "/a"),
        ("User-agent: *\nSitemap: http://h/s\nUser-agent: x\nDisallow: /a", "/b", "/a"),
        ("User-agent: *\nNoindex: /b\nHost: h\nUser-agent: x\nDisallow: /a", "/b", "/a"),
        # The longest match wins, and of two as long the one that allows.
        ("User-agent: *\nAllow: /\nDisallow: /private/", "/b /private", "/private/a"),
        ("User-agent: *\nDisallow: /\nAllow: /photos/", "/photos/a.jpg", "/ /photo /a.jpg"),
        ("User-agent: *\nDisallow: /a\nAllow: /a", "/a/b", ""),
        ("User-agent: *\nDisallow: /a*.jpg\nAllow: /a", "/a.png", "/a/b.jpg /ab.jpg?c"),
        # Wildcards, and ends.
        ("User-agent: *\nDisallow: /*.jpg$", "/a.jpg?b /a.jpgs /a.png", "/a.jpg /b/c.jpg"),
        ("User-agent: *\nDisallow: *.jpg", "/a.png", "/a.jpg /b/c.jpg?d"),
        ("User-agent: *\nDisallow: /a/*/c", "/a/c /a", "/a/b/c /a/b/d/cc /a//c"),
        ("User-agent: *\nDisallow: /a**b", "/a", "/ab /acb"),
        ("User-agent: *\nDisallow: /$", "/a", "/"),
        ("User-agent: *\nDisallow: /a$b", "/a /ab", "/a$b /a%24b/c"),
        ("User-agent: *\nDisallow: /a.b", "/aXb", "/a.b"),
        # Queries are matched too.
        ("User-agent: *\nDisallow: /*?size=", "/a /a?b", "/a?size=o"),
        ("User-agent: *\nDisallow: /a?b", "/a /a?c", "/a?b=c"),
        # One spelling for each path.
        ("User-agent: *\nDisallow: /ü", "/u", "/ü /%C3%BC /%c3%bca"),
        ("User-agent: *\nDisallow: /%c3%bc", "/u", "/ü"),
        ("User-agent: *\nDisallow: /%7Eme/a%2fb", "/~me/a/b", "/~me/a%2Fb /%7eme/a%2fb"),
        ("User-agent: *\nDisallow: /my photos/", "/my", "/my%20photos/a"),
        ("User-agent: *\nDisallow: /private/", "/a", "/a/../private/b /./private/b /%2e/private/"),
        ("User-agent: *\nDisallow: /A", "/a", "/A"),
        # What says nothing forbids nothing.
        ("", "/a", ""),
        ("User-agent: *\nDisallow:", "/a", ""),
        ("User-agent: *\nDisallow: # all\nDisallow:\t", "/a", ""),
        ("Disallow: /a", "/a", ""),
        ("<html><body>Disallow: / nothing</body></html>", "/a", ""),
        # Ends of lines, marks of encodings, blanks, case and comments.
        ("User-agent: *\r\nDisallow: /a\r\n", "/b", "/a"),
        ("User-agent: *\rDisallow: /a\r", "/b", "/a"),
        ("\ufeffUser-agent: *\nDisallow: /a", "/b", "/a"),
        ("  USER-AGENT :*  # all\n\tdisAllow\t:\t/a#b\n", "/b", "/a"),
        ("User-agent: *\nDisallow: /a\x85Allow: /a/b\u2028Allow: /a/c", "/a /b", ""),
        ("User-agent *\nDisallow /a\nUseragent: x", "/b", "/a"),
        ("User-agent: *\nDissalow: /a", "/b", "/a"),
    ],
)
def test_a_robots_txt_is_read_as_the_rfc_reads_it(text: str, allowed: str, forbidden: str) -> None:
    assert _told_apart(text, allowed, forbidden) == (allowed.split(), forbidden.split())


@pytest.mark.parametrize(
    ("text", "allowed", "forbidden"),
    [
        # Groups that name us win over those for everybody, in whatever order.
        ("User-agent: *\nDisallow: /\n\nUser-agent: LocationNet\nDisallow: /x", "/y", "/x"),
        ("User-agent: locationnet\nDisallow: /x\n\nUser-agent: *\nDisallow: /", "/y", "/x"),
        ("User-agent: *\nDisallow: /\nUser-agent: locationnet\nDisallow:", "/x", ""),
        ("User-agent: *\nDisallow: /\nUser-agent: locationnet", "/x", ""),
        # Several groups of one agent are one.
        ("User-agent: *\nDisallow: /a\n\nUser-agent: *\nDisallow: /b", "/c", "/a /b"),
        (
            "User-agent: locationnet\nDisallow: /a\n\nUser-agent: LOCATIONNET\nDisallow: /b",
            "/c",
            "/a /b",
        ),
        # Several agents of one group.
        ("User-agent: x\nUser-agent: locationnet\nUser-agent: y\nDisallow: /a", "/b", "/a"),
        ("User-agent: x\nDisallow: /b\nUser-agent: locationnet\nDisallow: /a", "/b", "/a"),
        ("User-agent: x\nCrawl-delay: 5\nUser-agent: *\nDisallow: /a", "/b", "/a"),
        # Agents are matched whole.
        ("User-agent: location\nDisallow: /", "/a", ""),
        ("User-agent: net\nDisallow: /", "/a", ""),
        ("User-agent: l\nDisallow: /", "/a", ""),
        ("User-agent: location*\nDisallow: /", "/a", ""),
        ("User-agent: *net\nDisallow: /", "/a", ""),
        ("User-agent: locationnet2\nDisallow: /", "/a", ""),
        ("User-agent: locationnet-images\nDisallow: /", "/a", ""),
        ("User-agent: my-locationnet\nDisallow: /", "/a", ""),
        ("User-agent: location net\nDisallow: /", "/a", ""),
        ("User-agent:\nDisallow: /", "/a", ""),
        ("User-agent: locationnet/1.0 (+https://h)\nDisallow: /a", "/b", "/a"),
        ("User-agent: locationnet # us\nDisallow: /a", "/b", "/a"),
    ],
)
def test_rules_are_those_of_our_name(text: str, allowed: str, forbidden: str) -> None:
    assert _told_apart(text, allowed, forbidden) == (allowed.split(), forbidden.split())


def test_rules_in_utf_16_are_rules_too() -> None:
    assert not _allowed(parse("User-agent: *\nDisallow: /a".encode("utf-16")), "/a")


@pytest.mark.parametrize(
    ("records", "delay_s"),
    [
        ("Crawl-delay: 2.5", 2.5),
        ("crawl-delay:2,5 # s", 2.5),
        ("Crawl-delay: 10 seconds", 10),
        ("Crawl-delay: .5", 0.5),
        ("Crawl-delay: 0", 0),
        ("Crawl-delay: -5", 0),
        ("Crawl-delay: NaN", 0),
        ("Crawl-delay: soon", 0),
        ("Crawl-delay:", 0),
        ("Crawl-delay: 10\nCrawl-delay: 2\nCrawl-delay: x", 10),
        ("Request-rate: 1/7", 7),
        ("Request-rate: 30/1m 0900-1700", 2),
        ("Request-rate: 0/5", 0),
        ("Request-rate: 5", 0),
        ("Crawl-delay: 3\nRequest-rate: 1/7", 7),
        ("Disallow: /a\nUser-agent: x\nCrawl-delay: 9", 0),
        ("Disallow: /a\nUser-agent: *\nCrawl-delay: 9", 9),
        ("Crawl-delay: 9\nUser-agent: locationnet\nCrawl-delay: 1", 1),
    ],
)
def test_delays_are_those_of_our_group(records: str, delay_s: float) -> None:
    rules = parse(f"User-agent: *\n{records}".encode())
    assert rules.delay_s == delay_s
    assert _allowed(rules, "/b")


@pytest.mark.parametrize("asked", ["86400", "1e9", "1e999", "9" * 5000, "101"])
def test_who_asks_for_absurd_delays_wants_no_visits(asked: str) -> None:
    failure = parse(f"User-agent: *\nCrawl-delay: {asked}".encode()).failure(ASKED)
    assert failure is not None
    assert failure.reason == FORBIDDEN
    assert not failure.temporary
    assert "\n" not in failure.detail


@given(st.binary(max_size=300))
def test_no_robots_txt_crashes(data: bytes) -> None:
    rules = parse(b"User-agent: locationnet\nDisallow: /a\n\n" + data)
    rules.failure(ASKED)
    assert rules.delay_s >= 0


_LINES = st.lists(
    st.tuples(
        st.sampled_from(["User-agent", "Disallow", "Allow", "Crawl-delay", "Sitemap", ""]),
        st.sampled_from(["*", "locationnet", "x", "/", "/a", "/a*b$", "3", "", "/a/b.jpg"]),
    ),
    max_size=12,
)


@given(_LINES)
def test_blanks_comments_and_ends_of_lines_change_nothing(lines: list[tuple[str, str]]) -> None:
    plain = parse("\n".join(f"{field}: {value}" for field, value in lines).encode())
    other = "\r\n\r\n".join(f"  {field.upper()}\t:{value}  # {value}" for field, value in lines)
    changed = parse(b"\xef\xbb\xbf# first\r\n" + other.encode())
    assert changed.delay_s == plain.delay_s
    for path in ("/", "/a", "/acb", "/a/b.jpg", "/c"):
        assert _allowed(changed, path) == _allowed(plain, path)


class _Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def _answering(*answers: bytes | FetchError) -> tuple[Callable[[str], bytes], list[str]]:
    asked: list[str] = []
    left = list(answers)

    def fetch(url: str) -> bytes:
        asked.append(url)
        answer = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(answer, FetchError):
            raise answer
        return answer

    return fetch, asked


@pytest.mark.parametrize("status", [204, 304, 400, 401, 403, 404, 410, 451])
def test_who_has_no_rules_allows_everything(status: int) -> None:
    fetch, _ = _answering(RemoteStatusError(status))
    assert Robots(fetch).rules(ASKED).failure(ASKED) is None


@pytest.mark.parametrize(
    "error",
    [
        RemoteRedirectError("the remote server redirected more than 5 times"),
        RefusedURLError("the URL's host has no address, or one that is not public"),
    ],
)
def test_rules_that_lead_nowhere_are_none(error: FetchError) -> None:
    fetch, _ = _answering(error)
    assert Robots(fetch).rules(ASKED).failure(ASKED) is None


@pytest.mark.parametrize(
    ("error", "reason", "wait_s"),
    [
        (RemoteStatusError(500), UNREACHABLE, None),
        (RemoteStatusError(503, "120"), THROTTLED, 120),
        (RemoteStatusError(429), THROTTLED, None),
        (RemoteTimeoutError("it says nothing"), UNREACHABLE, None),
        (RemoteFailedError("the remote server could not be reached"), UNREACHABLE, None),
        (RemoteLastingError("its certificate is not valid"), FAULTY, None),
    ],
)
def test_who_cannot_say_allows_nothing(
    error: FetchError, reason: str, wait_s: float | None
) -> None:
    fetch, _ = _answering(error)
    failure = Robots(fetch).rules(ASKED).failure(ASKED)
    assert failure is not None
    assert failure.detail.startswith("its robots.txt: ")
    assert (failure.reason, failure.wait_s) == (reason, wait_s)
    assert failure.temporary == (reason != FAULTY)


def test_rules_that_cannot_be_had_are_asked_for_again_only_after_a_while() -> None:
    clock = _Clock()
    fetch, asked = _answering(
        RemoteStatusError(500), RemoteStatusError(503, "60"), b"User-agent: *\nCrawl-delay: 3\n"
    )
    robots = Robots(fetch, clock)
    for expected, later_s in [(1, 4), (1, 1), (2, 59), (2, 1), (3, 86_399), (3, 1), (4, 0)]:
        rules = robots.rules(ASKED)
        assert len(asked) == expected
        assert (rules.failure(ASKED) is None) == (expected > 2)
        clock.now += later_s
    assert robots.rules(ASKED).delay_s == 3


def test_each_site_has_rules_of_its_own() -> None:
    fetch, asked = _answering(b"")
    robots = Robots(fetch)
    for url in (
        "http://a.example/1",
        "http://a.example/2",
        "https://a.example/",
        "http://b.example/",
    ):
        robots.rules(parse_url(url))
    assert asked == [
        "http://a.example:80/robots.txt",
        "https://a.example:443/robots.txt",
        "http://b.example:80/robots.txt",
    ]


def test_who_waits_for_the_same_rules_shares_the_answer() -> None:
    asked, answer = [], threading.Event()

    def fetch(url: str) -> bytes:
        asked.append(url)
        assert answer.wait(60)
        raise RemoteTimeoutError("it says nothing")

    robots = Robots(fetch, lambda: 0.0)
    with ThreadPoolExecutor(8) as pool:
        waiting = [pool.submit(robots.rules, ASKED) for _ in range(8)]
        answer.set()
        assert all(one.result().reason == UNREACHABLE for one in waiting)
    assert len(asked) == 1
