"""Hostile URLs against `fetch`: what is foreign is fake, what is real is on loopback."""

from __future__ import annotations

import gzip
import socket
import socketserver
import ssl
import threading
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial

import anyio
import httpcore2
import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from locationnet.errors import (
    FetchError,
    MalformedURLError,
    RefusedURLError,
    RemoteFailedError,
    RemoteLastingError,
    RemoteRedirectError,
    RemoteTimeoutError,
    RemoteTooLargeError,
)
from locationnet.net.fetch import FetchPolicy, fetch, fetch_sync
from locationnet.net.inflate import decoder
from locationnet.net.urls import Target, is_public

PUBLIC = "93.184.216.34"
PUBLIC_V6 = "2606:4700::1111"
PHOTO = b"not really a photo, but nobody here looks"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(PHOTO), PHOTO)


class FakeNames:
    """A resolver whose answers are listed; each question takes the next answer, then the last."""

    def __init__(self, *answers: Sequence[str] | OSError) -> None:
        self._answers = list(answers)
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append(host)
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, OSError):
            raise answer
        return answer


class FakeStream(httpcore2.AsyncNetworkStream):
    def __init__(self, network: FakeNetwork, answer: bytes) -> None:
        self._network = network
        self._answer = answer

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        chunk, self._answer = self._answer[:max_bytes], self._answer[max_bytes:]
        return chunk

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._network.sent.append(buffer)

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        self._network.tls_names.append(server_hostname)
        return self

    async def aclose(self) -> None:
        pass


class FakeNetwork(httpcore2.AsyncNetworkBackend):
    """Sockets that lead nowhere: records what is dialled and plays listed answers."""

    def __init__(self, *answers: bytes, dead: Iterable[str] = ()) -> None:
        self._answers = list(answers) or [OK]
        self._dead = set(dead)
        self.dialled: list[tuple[str, int]] = []
        self.sent: list[bytes] = []
        self.tls_names: list[str | None] = []

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        self.dialled.append((host, port))
        if host in self._dead:
            raise httpcore2.ConnectError(f"no route to {host}")
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        return FakeStream(self, answer)


def get(
    url: str,
    policy: FetchPolicy | None = None,
    *,
    names: FakeNames | None = None,
    network: FakeNetwork | None = None,
) -> bytes:
    """Fetch over the fake network."""
    return anyio.run(
        partial(
            fetch,
            url,
            policy or FetchPolicy(),
            resolver=names or FakeNames([PUBLIC]),
            backend=network or FakeNetwork(),
        )
    )


def redirect(location: str | bytes, status: int = 302) -> bytes:
    where = location.encode() if isinstance(location, str) else location
    return b"HTTP/1.1 %d Moved\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n" % (status, where)


# URLs that end before any name is looked up.

MALFORMED = [
    "",
    "example.org/photo.jpg",
    "//example.org/",
    "http:",
    "http:/example.org/",
    "http:example.org",
    "http://",
    "http:///photo.jpg",
    "javascript:alert(1)",
    "data:image/png;base64,AAAA",
    "mailto:a@example.org",
    "http://example.org/a b",
    "http://exa mple.org/",
    "http://example.org/\r\nHost: 127.0.0.1",
    "http://example.org\n/",
    "http://example.org/\x00.jpg",
    "http://example.org/\x7f",
    "http://exam\tple.org/",
    "ht\ntp://example.org/",
    "http://example.org\u2028/",
    "http://example.org\u3000/",
    "http://example.org\u00a0/",
    "http:\\\\127.0.0.1\\",
    "http://example.org\\@127.0.0.1/",
    "http://example.org\\.127.0.0.1/",
    "http://127.0.0.1\\.example.org/",
    # Other spellings of 127.0.0.1.
    "http://2130706433/",
    "http://0x7f000001/",
    "http://0X7F000001/",
    "http://017700000001/",
    "http://0x7f.0.0.1/",
    "http://0177.0.0.1/",
    "http://127.1/",
    "http://127.0.1/",
    "http://127.0.0.01/",
    "http://127.0.0.0x1/",
    "http://127.0.0.1./",
    "http://127.0.0.1.1/",
    "http://0/",
    "http://00000000/",
    "http://256.256.256.256/",
    "http://4294967297/",
    "http://-1/",
    "http://1270.0.1/",
    "http://0x/",
    "http://127.0.0.0x/",
    "http://１２７.0.0.1/",
    "http://①②⑦.⓪.⓪.①/",
    "http://127。0。0。1/",
    "http://127．0．0．1/",
    "http://127｡0｡0｡1/",
    "http://١٢٧.٠.٠.١/",
    "http://localhost\u200b/",
    "http://ⓛⓞⓒⓐⓛⓗⓞⓢⓣ/",
    "http://%31%32%37.0.0.1/",
    "http://%6c%6fcalhost/",
    "http://127.0.0.1%2f@example.org/".replace("@", "."),
    "http://localhost%00.example.org/",
    "http://example.org./",
    "http://localhost./",
    "http://.example.org/",
    "http://example..org/",
    "http://-example.org/",
    "http://example.org-/",
    "http://" + "a" * 64 + ".example.org/",
    "http://" + "a." * 127 + "org/",
    "http://exa*mple.org/",
    "http://[::1/",
    "http://::1/",
    "http://[]/",
    "http://[127.0.0.1]/",
    "http://[::1%25lo]/",
    "http://[fe80::1%eth0]/",
    "http://[::1]a/",
    "http://a[::1]/",
    "http://[[::1]]/",
    "http://[::1].example.org/",
    "http://[v1.fe80::a]/",
    "http://[::ffff:0x7f.0.0.1]/",
    "http://example.org:/",
    "http://example.org:0/",
    "http://example.org:080/",
    "http://example.org:65536/",
    "http://example.org:99999/",
    "http://example.org:８０/",
    "http://example.org:+80/",
    "http://example.org:80:80/",
    "http://example.org:http/",
    "http://\ud800.example.org/",
    "http://example.org/\ud800",
    "http://" + "a" * 5000,
    "httpſ://example.org/",
]

REFUSED = [
    # Other schemes.
    "ftp://example.org/photo.jpg",
    "file:///etc/passwd",
    "file://localhost/etc/passwd",
    "gopher://127.0.0.1:6379/_INFO",
    "dict://127.0.0.1:11211/stat",
    "ldap://127.0.0.1/",
    "ws://example.org/",
    "https+unix://%2Frun%2Fdocker.sock/",
    "view-source://example.org/",
    # Credentials, and hosts hidden behind or before them.
    "http://user@example.org/",
    "http://user:secret@example.org/",
    "http://:@example.org/",
    "http://@127.0.0.1/",
    "http://example.org@127.0.0.1/",
    "http://example.org:80@127.0.0.1/",
    "http://127.0.0.1:80@example.org/",
    "http://a@b@127.0.0.1/",
    "http://[::1]@example.org/",
    "http://example.org%40@127.0.0.1/",
    # Ports.
    "http://example.org:22/",
    "http://example.org:443/",
    "https://example.org:80/",
    "http://example.org:8080/",
    "https://example.org:8443/",
    "http://example.org:6379/",
    "http://example.org:65535/",
    # Names that only this network completes.
    "http://localhost/",
    "http://LOCALHOST/",
    "http://metadata/",
    "http://intranet/",
    "http://kubernetes/",
    # Addresses as they are written.
    "http://127.0.0.1/",
    "https://127.0.0.1/",
    "http://127.8.8.8/",
    "http://0.0.0.0/",
    "http://10.0.0.1/",
    "http://172.16.0.1/",
    "http://192.168.0.1/",
    "http://100.64.0.1/",
    "http://100.100.100.200/latest/meta-data/",
    "http://168.63.129.16/machine",
    "http://169.254.169.254/latest/meta-data/",
    "http://169.254.170.2/v2/credentials",
    "http://192.0.0.192/opc/v2/instance/",
    "http://192.88.99.1/",
    "http://198.18.0.1/",
    "http://224.0.0.1/",
    "http://240.0.0.1/",
    "http://255.255.255.255/",
    "http://[::]/",
    "http://[::1]/",
    "http://[0:0:0:0:0:0:0:1]/",
    "http://[::127.0.0.1]/",
    "http://[::ffff:127.0.0.1]/",
    "http://[::FFFF:7F00:1]/",
    "http://[::ffff:169.254.169.254]/",
    "http://[::ffff:93.184.216.34]/",
    "http://[64:ff9b::127.0.0.1]/",
    "http://[64:ff9b::a9fe:a9fe]/",
    "http://[64:ff9b:1::1]/",
    "http://[2002:7f00:1::]/",
    "http://[2001:0:7f00:1::]/",
    "http://[fc00::1]/",
    "http://[fd00:ec2::254]/latest/meta-data/",
    "http://[fd20:ce::254]/",
    "http://[fe80::1]/",
    "http://[fe80::a9fe:a9fe]/",
    "http://[fec0::1]/",
    "http://[ff02::1]/",
    "http://[2001:db8::1]/",
    "http://[3fff::1]/",
    "http://[5f00::1]/",
]

# Names of whose records at least one leads where we do not go.
RECORDS = [
    ["127.0.0.1"],
    ["0.0.0.0"],
    ["10.1.2.3"],
    ["100.64.0.1"],
    ["168.63.129.16"],
    ["169.254.169.254"],
    ["192.0.0.192"],
    ["192.88.99.1"],
    ["224.0.0.1"],
    ["255.255.255.255"],
    ["::1"],
    ["::ffff:127.0.0.1"],
    ["::7f00:1"],
    ["64:ff9b::7f00:1"],
    ["64:ff9b:1::7f00:1"],
    ["2002:7f00:1::1"],
    ["2001:0:1::1"],
    ["fd00:ec2::254"],
    ["fe80::1%eth0"],
    ["fec0::1"],
    ["ff0e::1"],
    ["3fff::1"],
    ["5f00::1"],
    [PUBLIC, "127.0.0.1"],
    ["127.0.0.1", PUBLIC],
    [PUBLIC, PUBLIC_V6, "::1"],
    [PUBLIC, PUBLIC, PUBLIC, PUBLIC, "10.0.0.1"],
    [PUBLIC, "nonsense"],
    [],
]


@pytest.mark.parametrize("url", MALFORMED)
def test_a_malformed_url_contacts_nobody(url: str) -> None:
    names, network = FakeNames([PUBLIC]), FakeNetwork()
    with pytest.raises(MalformedURLError) as caught:
        get(url, names=names, network=network)
    assert "\n" not in str(caught.value)
    assert not names.asked
    assert not network.dialled


@pytest.mark.parametrize("url", REFUSED)
def test_a_refused_url_contacts_nobody(url: str) -> None:
    names, network = FakeNames([PUBLIC]), FakeNetwork()
    with pytest.raises(RefusedURLError) as caught:
        get(url, names=names, network=network)
    assert "\n" not in str(caught.value)
    assert not names.asked
    assert not network.dialled


@pytest.mark.parametrize("records", RECORDS)
def test_a_name_with_a_private_record_is_refused_without_telling_it(records: list[str]) -> None:
    network = FakeNetwork()
    with pytest.raises(RefusedURLError) as caught:
        get("https://example.org/", names=FakeNames(records), network=network)
    assert not network.dialled
    assert not any(record in str(caught.value) for record in records)


def test_a_missing_name_and_a_private_one_cannot_be_told_apart() -> None:
    answers: list[Sequence[str] | OSError] = [
        socket.gaierror(socket.EAI_NONAME, "no such name"),
        [],
        ["10.0.0.1"],
        [PUBLIC, "10.0.0.1"],
    ]
    said = set()
    for answer in answers:
        with pytest.raises(RefusedURLError) as caught:
            get("http://db.example.org/", names=FakeNames(answer))
        said.add(str(caught.value))
    assert len(said) == 1


def test_a_failing_name_server_is_a_remote_failure() -> None:
    names = FakeNames(socket.gaierror(socket.EAI_AGAIN, "try again"))
    with pytest.raises(RemoteFailedError, match="looked up"):
        get("http://example.org/", names=names)


def test_a_name_is_resolved_once_and_the_checked_address_is_dialled() -> None:
    # The second answer is what a rebinding name server would give to a second question.
    names, network = FakeNames([PUBLIC], ["127.0.0.1"]), FakeNetwork()
    assert get("http://rebind.example.org/", names=names, network=network) == PHOTO
    assert names.asked == ["rebind.example.org"]
    assert network.dialled == [(PUBLIC, 80)]


def test_a_redirect_to_the_same_host_is_checked_again() -> None:
    names = FakeNames([PUBLIC], ["127.0.0.1"])
    network = FakeNetwork(redirect("/again"), OK)
    with pytest.raises(RefusedURLError):
        get("http://rebind.example.org/", names=names, network=network)
    assert network.dialled == [(PUBLIC, 80)]


def test_the_name_is_kept_for_tls_and_the_host_header() -> None:
    network = FakeNetwork()
    get("https://Example.org/a/ü?b=1#c", network=network)
    assert network.dialled == [(PUBLIC, 443)]
    assert network.tls_names == ["example.org"]
    request = b"".join(network.sent).decode()
    assert request.startswith("GET /a/%C3%BC?b=1 HTTP/1.1\r\nHost: example.org\r\n")
    assert "\r\nAccept-Encoding: identity\r\n" in request


def test_a_dead_address_is_followed_by_the_next() -> None:
    network = FakeNetwork(dead=[PUBLIC_V6])
    names = FakeNames([PUBLIC_V6, PUBLIC])
    assert get("http://example.org/", names=names, network=network) == PHOTO
    assert network.dialled == [(PUBLIC_V6, 80), (PUBLIC, 80)]


def test_a_host_whose_addresses_are_all_dead_fails_without_telling_them() -> None:
    addresses = [f"93.184.216.{last}" for last in range(20)]
    network = FakeNetwork(dead=addresses)
    with pytest.raises(RemoteFailedError, match="could not be reached") as caught:
        get("http://example.org/", names=FakeNames(addresses), network=network)
    assert len(network.dialled) == 3
    assert "93." not in str(caught.value)


def test_proxies_from_the_environment_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9/")
        monkeypatch.setenv(name.upper(), "http://127.0.0.1:9/")
    network = FakeNetwork()
    get("http://example.org/", network=network)
    assert network.dialled == [(PUBLIC, 80)]


# Redirects.

HOSTILE_REDIRECTS = [
    "http://169.254.169.254/latest/meta-data/",
    "//169.254.169.254/",
    "http://[::ffff:169.254.169.254]/",
    "http://127.0.0.1/",
    "//user@127.0.0.1/",
    "http://example.org:8080/",
    "file:///etc/passwd",
    "gopher://127.0.0.1/",
    "//localhost/",
    "\\\\127.0.0.1\\",
    "https:127.0.0.1",
    "http://127.0.0.1\\@example.org/",
]
BROKEN_REDIRECTS = [
    "",
    "http://exa mple.org/",
    b"http://example.org\xff/",
    "http://2130706433/",
    "http://0x7f.1/",
    "http://127.1/",
    "http:///",
    "http://[::1",
    "javascript:alert(1)",
    "http://" + "a" * 5000,
]


@pytest.mark.parametrize("location", HOSTILE_REDIRECTS)
def test_a_redirect_to_a_private_place_is_refused(location: str) -> None:
    network = FakeNetwork(redirect(location), OK)
    with pytest.raises(RefusedURLError):
        get("http://example.org/", network=network)
    assert network.dialled == [(PUBLIC, 80)]


@pytest.mark.parametrize("location", BROKEN_REDIRECTS)
def test_a_malformed_redirect_is_the_servers_failure(location: str | bytes) -> None:
    network = FakeNetwork(redirect(location), OK)
    with pytest.raises(RemoteRedirectError):
        get("http://example.org/", network=network)
    assert network.dialled == [(PUBLIC, 80)]


@pytest.mark.parametrize(
    "headers", [b"", b"Location: /a\r\nLocation: /b\r\n", b"Refresh: 0; url=/a\r\n"]
)
def test_a_redirect_without_one_place_is_the_servers_failure(headers: bytes) -> None:
    network = FakeNetwork(b"HTTP/1.1 302 Found\r\n%sContent-Length: 0\r\n\r\n" % headers, OK)
    with pytest.raises(RemoteRedirectError, match="without saying where"):
        get("http://example.org/", network=network)


@pytest.mark.parametrize(
    ("location", "asked"),
    [
        ("/my photo.jpg", b"/my%20photo.jpg"),
        ("/früh.jpg#oben", b"/fr%C3%BCh.jpg"),
        (b"/fr\xfch.jpg", b"/fr%FCh.jpg"),  # Latin-1
        ("/a\tb", b"/ab"),
        ("\\a\\b", b"/a/b"),
        ("?size=l m", b"/x/photo?size=l%20m"),
        ("../b", b"/b"),
        ("/same\r\nLocation: /same", b"/same"),
    ],
)
def test_a_redirect_is_followed_as_browsers_follow_it(location: str | bytes, asked: bytes) -> None:
    network = FakeNetwork(redirect(location), OK)
    assert get("http://example.org/x/photo", network=network) == PHOTO
    assert b"GET %s HTTP/1.1\r\n" % asked in b"".join(network.sent)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_three_redirects_are_followed(status: int) -> None:
    steps = [redirect(f"https://{host}.example/", status) for host in "abc"]
    network = FakeNetwork(*steps, OK)
    assert get("http://example.org/", network=network) == PHOTO
    assert network.tls_names == ["a.example", "b.example", "c.example"]


def test_a_fourth_redirect_is_not() -> None:
    network = FakeNetwork(redirect("http://example.org/"))
    with pytest.raises(RemoteRedirectError, match="more than 3 times"):
        get("http://example.org/", network=network)
    assert len(network.dialled) == 4


# Policies.


def test_only_allowed_hosts_are_contacted() -> None:
    policy = FetchPolicy(allowed_hosts=("example.org", ".example.net"))
    assert get("http://example.org/", policy) == PHOTO
    assert get("http://a.example.net/", policy) == PHOTO
    for host in ("a.example.org", "badexample.net", PUBLIC):
        with pytest.raises(RefusedURLError, match="allowed"):
            get(f"http://{host}/", policy)


def test_denied_hosts_are_not_even_where_allowed() -> None:
    policy = FetchPolicy(allowed_hosts=(".example.org",), denied_hosts=("bad.example.org", PUBLIC))
    assert get("http://example.org/", policy) == PHOTO
    for host in ("bad.example.org", "BAD.example.org", PUBLIC):
        with pytest.raises(RefusedURLError, match="denied"):
            get(f"http://{host}/", policy)


def test_a_redirect_is_held_to_the_lists() -> None:
    policy = FetchPolicy(denied_hosts=("bad.example",))
    with pytest.raises(RefusedURLError, match="denied"):
        get("http://example.org/", policy, network=FakeNetwork(redirect("//bad.example/")))


def test_an_exempt_pair_is_reached_on_its_port_and_private_address() -> None:
    policy = FetchPolicy(exempt=("photos.internal:9000",))
    network = FakeNetwork()
    url = "http://photos.internal:9000/a.jpg"
    assert get(url, policy, names=FakeNames(["10.0.0.7"]), network=network) == PHOTO
    assert network.dialled == [("10.0.0.7", 9000)]


@pytest.mark.parametrize(
    "url",
    [
        "http://photos.internal/",
        "http://photos.internal:9001/",
        "http://a.photos.internal:9000/",
        "http://10.0.0.7:9000/",
        "http://user@photos.internal:9000/",
    ],
)
def test_an_exemption_covers_nothing_but_its_pair(url: str) -> None:
    policy = FetchPolicy(exempt=("photos.internal:9000",))
    with pytest.raises(RefusedURLError):
        get(url, policy, names=FakeNames(["10.0.0.7"]))


def test_an_exempt_pair_is_still_held_to_the_lists() -> None:
    pair = "photos.internal:9000"
    for policy in (
        FetchPolicy(exempt=(pair,), denied_hosts=(".internal",)),
        FetchPolicy(exempt=(pair,), allowed_hosts=("example.org",)),
    ):
        with pytest.raises(RefusedURLError):
            get(f"http://{pair}/", policy, names=FakeNames(["10.0.0.7"]))


def test_a_public_server_cannot_redirect_to_an_exempt_pair() -> None:
    policy = FetchPolicy(exempt=("photos.internal:9000",))
    network = FakeNetwork(redirect("http://photos.internal:9000/delete"))
    with pytest.raises(RefusedURLError):
        get("http://example.org/", policy, network=network)
    assert network.dialled == [(PUBLIC, 80)]


def test_an_exempt_pair_may_redirect_to_another() -> None:
    policy = FetchPolicy(exempt=("a.internal:9000", "b.internal:9000"))
    network = FakeNetwork(redirect("http://b.internal:9000/"), OK)
    names = FakeNames(["10.0.0.7"])
    assert get("http://a.internal:9000/", policy, names=names, network=network) == PHOTO


@pytest.mark.parametrize(
    "policy",
    [
        partial(FetchPolicy, timeout_s=0),
        partial(FetchPolicy, max_bytes=0),
        partial(FetchPolicy, max_redirects=-1),
    ],
)
def test_a_limit_that_is_none_is_an_error(policy: Callable[[], FetchPolicy]) -> None:
    with pytest.raises(ValueError, match="positive"):
        policy()


# Answers.


@pytest.mark.parametrize("status", [204, 206, 300, 304, 400, 401, 403, 404, 418, 500, 503])
def test_anything_but_200_is_a_failure(status: int) -> None:
    answer = b"HTTP/1.1 %d Hm\r\nContent-Length: 0\r\n\r\n" % status
    advice = {401: "download the photo", 403: "download the photo", 404: "there is nothing at"}
    advice |= {500: "try again later", 503: "try again later"}
    with pytest.raises(RemoteFailedError, match=f"{status}.*{advice.get(status, '')}"):
        get("http://example.org/", network=FakeNetwork(answer))


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200",
        b"garbage\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\nContent-Length: five\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxy",
        b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 200_000 + b"\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n",
        b"HTTP/2 200\r\n\r\n",
    ],
)
def test_a_broken_answer_is_a_failure(answer: bytes) -> None:
    with pytest.raises(RemoteFailedError) as caught:
        get("http://example.org/", network=FakeNetwork(answer))
    assert "\n" not in str(caught.value)


def _encoded(name: bytes, body: bytes) -> bytes:
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: %s\r\nContent-Length: %d\r\n\r\n"
    return head % (name, len(body)) + body


def _gzip(data: bytes) -> bytes:
    """Compress without the time, which would give a test another name in each process."""
    return gzip.compress(data, mtime=0)


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        (b"gzip", _gzip(PHOTO)),
        (b"X-GZip", _gzip(PHOTO)),
        (b"identity, gzip", _gzip(PHOTO)),
        (b"gzip", _gzip(PHOTO) + bytes(512)),  # padding is no part of it
        (b"deflate", zlib.compress(PHOTO)),
        (b"deflate", zlib.compress(PHOTO, wbits=-15)),
        (b"gzip", b""),
        (b"Identity", PHOTO),
        (b"none", PHOTO),
        (b"aws-chunked", PHOTO),  # which S3 repeats of an upload
    ],
)
def test_an_answer_is_inflated_though_nobody_asked_for_it(encoding: bytes, body: bytes) -> None:
    network = FakeNetwork(_encoded(encoding, body))
    assert get("http://example.org/", network=network) == (PHOTO if body else b"")


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        (b"br", PHOTO),
        (b"zstd", PHOTO),
        (b"x-bomb", PHOTO),
        (b"gzip, gzip", _gzip(_gzip(PHOTO))),
        (b"gzip", PHOTO),
        (b"gzip", zlib.compress(PHOTO)),
        (b"gzip", _gzip(PHOTO)[:-8] + bytes(8)),  # its checksum is another
        (b"deflate", b"\xff" * 99),
    ],
)
def test_a_compression_that_is_not_read_will_not_pass(encoding: bytes, body: bytes) -> None:
    with pytest.raises(RemoteLastingError, match="compressed its answer, unasked") as caught:
        get("http://example.org/", network=FakeNetwork(_encoded(encoding, body)))
    assert "\n" not in str(caught.value)


@given(st.binary(max_size=300), st.sampled_from([b"gzip", b"deflate"]))
def test_whatever_is_said_to_be_compressed_ends_in_bytes_or_an_error(
    body: bytes, name: bytes
) -> None:
    with suppress(RemoteLastingError):
        get("http://example.org/", network=FakeNetwork(_encoded(name, body)))


@given(st.binary(max_size=5000), st.integers(1, 400), st.sampled_from([-15, 15, 31]))
def test_an_answer_is_inflated_in_whatever_pieces_it_comes(
    data: bytes, size: int, wbits: int
) -> None:
    packed = zlib.compress(data * 50, wbits=wbits)
    decoded = decoder("gzip" if wbits > 15 else "deflate")
    parts = [part for at in range(0, len(packed), size) for part in decoded(packed[at : at + size])]
    assert b"".join(parts) == data * 50
    assert max(map(len, parts)) <= 1 << 16


def test_an_answer_may_be_cut_rather_than_refused() -> None:
    policy = FetchPolicy(max_bytes=10, cut=True)
    for answer in (OK, b"HTTP/1.1 200 OK\r\n\r\n" + PHOTO, _encoded(b"gzip", gzip.compress(PHOTO))):
        assert get("http://example.org/", policy, network=FakeNetwork(answer)) == PHOTO[:10]


def test_what_follows_the_announced_body_is_not_read() -> None:
    assert get("http://example.org/", network=FakeNetwork(OK + b"surplus")) == PHOTO


def test_a_body_of_exactly_the_limit_is_accepted() -> None:
    assert get("http://example.org/", FetchPolicy(max_bytes=len(PHOTO))) == PHOTO


def test_one_byte_more_is_not() -> None:
    policy = FetchPolicy(max_bytes=len(PHOTO) - 1)
    unannounced = b"HTTP/1.1 200 OK\r\n\r\n" + PHOTO
    for answer in (OK, unannounced):
        with pytest.raises(RemoteTooLargeError):
            get("http://example.org/", policy, network=FakeNetwork(answer))


# Whatever the records, only public addresses are dialled.


@given(
    host=st.text("abz019x.-%@:[]/\\１。", min_size=1, max_size=20) | st.ip_addresses().map(str),
    records=st.lists(
        st.ip_addresses(v=4).map(str) | st.ip_addresses(v=6).map(str) | st.just(PUBLIC), max_size=4
    ),
)
def test_an_accepted_url_never_leads_to_a_forbidden_address(host: str, records: list[str]) -> None:
    network = FakeNetwork()
    try:
        get(f"http://{host}/", names=FakeNames(records), network=network)
    except FetchError:
        assert not network.dialled
    assert all(is_public(address) and port == 80 for address, port in network.dialled)


# A real server on loopback.

Play = Callable[[socket.socket, threading.Event], None]


class PhotoServer(socketserver.ThreadingTCPServer):
    """Reads one request from each connection, then plays what is listed for its path."""

    daemon_threads = True

    def __init__(self, plays: dict[str, Play]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.plays = plays
        self.stop = threading.Event()
        self.hung_up = threading.Event()

    @property
    def pair(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"


class _Handler(socketserver.BaseRequestHandler):
    server: PhotoServer

    def handle(self) -> None:
        connection: socket.socket = self.request
        head = b""
        while b"\r\n\r\n" not in head:
            received = connection.recv(4096)
            if not received:
                self.server.hung_up.set()
                return
            head += received
        self.server.plays[head.split()[1].decode()](connection, self.server.stop)


def _say(answer: bytes) -> Play:
    def play(connection: socket.socket, stop: threading.Event) -> None:
        connection.sendall(answer)

    return play


def _drip(head: bytes, drop: bytes) -> Play:
    def play(connection: socket.socket, stop: threading.Event) -> None:
        try:
            connection.sendall(head)
            while not stop.wait(0.02):
                connection.sendall(drop)
        except OSError:
            pass  # the client had enough

    return play


ENDLESS = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.fixture(scope="module")
def server() -> Iterator[PhotoServer]:
    bomb = gzip.compress(bytes(50_000_000))
    plays = {
        "/photo": _say(OK),
        "/one": _say(redirect("/two")),
        "/two": _say(redirect("/photo")),
        "/loop": _say(redirect("/loop")),
        "/metadata": _say(redirect("http://169.254.169.254/latest/meta-data/")),
        "/short": _say(OK.replace(b": %d" % len(PHOTO), b": 999")),
        "/missing": _say(b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n"),
        "/bomb": _say(
            b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(bomb)
            + bomb
        ),
        # Empty blocks without end.
        "/hollow": _drip(
            b"HTTP/1.1 200 OK\r\nContent-Encoding: deflate\r\n\r\n",
            b"\x00\x00\x00\xff\xff" * 20_000,
        ),
        "/announced": _say(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n"),
        "/flood": _drip(ENDLESS, b"10000\r\n" + bytes(0x10000) + b"\r\n"),
        "/drip-body": _drip(ENDLESS, b"1\r\nx\r\n"),
        "/drip-known": _drip(b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n", b"x"),
        "/drip-head": _drip(b"HTTP/1.1 200 OK\r\nX-Slow: ", b"x"),
        "/drip-continue": _drip(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        "/silent": _drip(b"", b""),
    }
    with PhotoServer(plays) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield running
        running.stop.set()
        running.shutdown()
        thread.join()


def get_local(server: PhotoServer, path: str, **limits: float) -> bytes:
    policy = FetchPolicy(
        timeout_s=limits.get("timeout_s", 10.0),
        max_bytes=int(limits.get("max_bytes", 1_000_000)),
        exempt=(server.pair,),
    )
    return fetch_sync(f"http://{server.pair}{path}", policy)


def test_a_photo_is_fetched_from_an_exempt_server(server: PhotoServer) -> None:
    assert get_local(server, "/photo") == PHOTO


def test_without_the_exemption_it_is_not(server: PhotoServer) -> None:
    with pytest.raises(RefusedURLError):
        fetch_sync(f"http://{server.pair}/photo", FetchPolicy())


def test_an_exempt_name_goes_through_the_systems_names(server: PhotoServer) -> None:
    pair = f"localhost:{server.server_address[1]}"
    assert fetch_sync(f"http://{pair}/photo", FetchPolicy(exempt=(pair,))) == PHOTO


def test_a_real_redirect_chain_is_followed(server: PhotoServer) -> None:
    assert get_local(server, "/one") == PHOTO


def test_who_looks_at_a_redirect_may_take_longer_than_the_server(server: PhotoServer) -> None:
    seen = []

    async def look(target: Target) -> None:
        await anyio.sleep(1.2)
        seen.append(target.path)

    policy = FetchPolicy(timeout_s=1.0, exempt=(server.pair,))
    assert fetch_sync(f"http://{server.pair}/two", policy, look) == PHOTO
    assert len(seen) == 1


def test_a_real_redirect_loop_ends(server: PhotoServer) -> None:
    with pytest.raises(RemoteFailedError, match="redirected"):
        get_local(server, "/loop")


def test_a_real_redirect_to_the_metadata_address_is_refused(server: PhotoServer) -> None:
    with pytest.raises(RefusedURLError):
        get_local(server, "/metadata")


@pytest.mark.parametrize(
    "path", ["/drip-body", "/drip-known", "/drip-head", "/drip-continue", "/silent"]
)
def test_a_drip_feed_does_not_outlast_the_deadline(server: PhotoServer, path: str) -> None:
    with pytest.raises(RemoteTimeoutError, match=r"0\.5 seconds"):
        get_local(server, path, timeout_s=0.5)


def test_a_stalled_tls_handshake_ends_and_is_hung_up(server: PhotoServer) -> None:
    server.hung_up.clear()
    with pytest.raises(RemoteTimeoutError):
        fetch_sync(f"https://{server.pair}/", FetchPolicy(timeout_s=0.5, exempt=(server.pair,)))
    assert server.hung_up.wait(10)


def test_a_stalling_name_server_does_not_outlast_the_deadline() -> None:
    async def stalls(host: str, port: int) -> Sequence[str]:
        await anyio.sleep_forever()
        return []

    policy = FetchPolicy(timeout_s=0.2)
    with pytest.raises(RemoteTimeoutError):
        anyio.run(partial(fetch, "http://example.org/", policy, resolver=stalls))


def test_a_truncated_body_is_a_failure(server: PhotoServer) -> None:
    with pytest.raises(RemoteFailedError, match="broke off"):
        get_local(server, "/short")


def test_a_real_missing_page_is_a_failure(server: PhotoServer) -> None:
    with pytest.raises(RemoteFailedError, match="404"):
        get_local(server, "/missing")


def test_a_gzip_bomb_is_unpacked_no_further_than_the_limit(server: PhotoServer) -> None:
    policy = FetchPolicy(max_bytes=1_000_000, exempt=(server.pair,))
    received: list[int] = []
    url = f"http://{server.pair}/bomb"
    with pytest.raises(RemoteTooLargeError, match="1000000 bytes"):
        anyio.run(partial(fetch, url, policy, receive=received.append))
    assert sum(received) <= 1_000_000


def test_what_never_inflates_to_anything_is_not_read_for_ever(server: PhotoServer) -> None:
    with pytest.raises(RemoteTooLargeError):
        get_local(server, "/hollow", max_bytes=100_000)


@pytest.mark.parametrize("path", ["/announced", "/flood"])
def test_too_much_is_refused_announced_or_not(server: PhotoServer, path: str) -> None:
    with pytest.raises(RemoteTooLargeError, match="1000000 bytes"):
        get_local(server, path)


def test_a_closed_port_is_a_failure() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        pair = f"127.0.0.1:{listener.getsockname()[1]}"
    with pytest.raises(RemoteFailedError, match="could not be reached") as caught:
        fetch_sync(f"http://{pair}/", FetchPolicy(exempt=(pair,)))
    assert "127.0.0.1" not in str(caught.value)


# TLS: a public address is dialled, which this network takes to a server on loopback.


class Detour(httpcore2.AsyncNetworkBackend):
    def __init__(self, port: int) -> None:
        self._port = port
        self.dialled: list[tuple[str, int]] = []

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        self.dialled.append((host, port))
        return await httpcore2.AnyIOBackend().connect_tcp("127.0.0.1", self._port)


class TLSPhotoServer(PhotoServer):
    def __init__(self, authority: trustme.CA, name: str) -> None:
        super().__init__({"/photo": _say(OK)})
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(name).configure_cert(self.context)
        self.asked_for: list[str | None] = []
        self.context.sni_callback = lambda _, name, __: self.asked_for.append(name)

    def finish_request(
        self,
        request: socket.socket | tuple[bytes, socket.socket],
        client_address: object,
    ) -> None:
        assert isinstance(request, socket.socket)
        try:
            with self.context.wrap_socket(request, server_side=True) as secured:
                super().finish_request(secured, client_address)
        except ssl.SSLError:
            pass  # the client did not like our certificate


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def tls_server(authority: trustme.CA) -> Iterator[TLSPhotoServer]:
    with TLSPhotoServer(authority, "photos.example") as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def get_tls(authority: trustme.CA, network: Detour, host: str) -> bytes:
    trust = ssl.create_default_context()
    authority.configure_trust(trust)
    return anyio.run(
        partial(
            fetch,
            f"https://{host}/photo",
            FetchPolicy(),
            resolver=FakeNames([PUBLIC]),
            backend=network,
            ssl_context=trust,
        )
    )


def test_tls_checks_the_name_while_the_checked_address_is_dialled(
    authority: trustme.CA, tls_server: TLSPhotoServer
) -> None:
    network = Detour(tls_server.server_address[1])
    assert get_tls(authority, network, "photos.example") == PHOTO
    assert network.dialled == [(PUBLIC, 443)]
    assert tls_server.asked_for[-1] == "photos.example"


def test_a_certificate_for_another_name_is_refused(
    authority: trustme.CA, tls_server: TLSPhotoServer
) -> None:
    with pytest.raises(RemoteLastingError, match="its certificate is not valid"):
        get_tls(authority, Detour(tls_server.server_address[1]), "other.example")


def test_a_certificate_of_an_unknown_authority_is_refused(tls_server: TLSPhotoServer) -> None:
    with pytest.raises(RemoteLastingError, match="its certificate is not valid"):
        get_tls(trustme.CA(), Detour(tls_server.server_address[1]), "photos.example")
