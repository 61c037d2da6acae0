"""The URL parser and the address rules, with hypothesis for what nobody thought of."""

from __future__ import annotations

import contextlib
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from locationnet.errors import MalformedURLError, RefusedURLError
from locationnet.urls import (
    MAX_URL_CHARACTERS,
    Target,
    exempt_pair,
    host_matches,
    host_rule,
    is_public,
    parse_redirect,
    parse_url,
)

PUBLIC = ["93.184.216.34", "1.1.1.1", "2606:4700::1111", "2a00:1450:4001:830::200e"]
NOT_PUBLIC = [
    "0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "100.100.100.200", "127.0.0.1",
    "127.255.255.254", "168.63.129.16", "169.254.169.254", "172.16.0.1", "172.31.255.255",
    "192.0.0.1", "192.0.0.9", "192.0.0.192", "192.0.2.1", "192.31.196.1", "192.52.193.1",
    "192.88.99.1", "192.168.1.1", "192.175.48.1", "198.18.0.1", "198.19.255.255",
    "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.255", "240.0.0.1",
    "255.255.255.255",
    "::", "::1", "::7f00:1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:8.8.8.8",
    "::ffff:0:7f00:1", "64:ff9b::127.0.0.1", "64:ff9b::8.8.8.8", "64:ff9b:1::1", "100::1",
    "2001::1", "2001:0:7f00:1::", "2001:2::1", "2001:10::1", "2001:20::1", "2001:db8::1",
    "2002:7f00:1::", "2002:808:808::", "2620:4f:8000::1", "3fff::1", "4000::1", "5f00::1",
    "fc00::1", "fd00:ec2::254", "fd20:ce::254", "fe80::1", "fe80::1%eth0", "fec0::1",
    "ff02::1", "ff0e::1", "2606:4700::1111%1",
    "", "localhost", "1.2.3", "1.2.3.4.5", "01.2.3.4", "16843009", "0x1010101", "1.1.1.1 ",
]  # fmt: skip


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_is_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_anything_else_is_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("http://example.org", Target("http", "example.org", 80, "/")),
        ("HTTPS://Example.ORG/A?b=c#d", Target("https", "example.org", 443, "/A?b=c")),
        ("https://example.org:443", Target("https", "example.org", 443, "/")),
        ("http://example.org:8080/x", Target("http", "example.org", 8080, "/x")),
        ("http://example.org?x=/@y", Target("http", "example.org", 80, "/?x=/@y")),
        ("http://example.org/ü%20<", Target("http", "example.org", 80, "/%C3%BC%20%3C")),
        ("http://my_bucket.example.org/", Target("http", "my_bucket.example.org", 80, "/")),
        ("http://MÜNCHEN.example/", Target("http", "xn--mnchen-3ya.example", 80, "/")),
        ("http://1.2.3.4/", Target("http", "1.2.3.4", 80, "/")),
        ("http://[::FFFF:1.2.3.4]/", Target("http", "::ffff:102:304", 80, "/")),
        (" \t\u00a0http://example.org/a\r\n\u3000", Target("http", "example.org", 80, "/a")),
        ("http://example.org/a/./b/../c", Target("http", "example.org", 80, "/a/c")),
        ("http://example.org/../a//%2E/b/.%2e", Target("http", "example.org", 80, "/a//")),
        ("http://example.org/a/..?../..", Target("http", "example.org", 80, "/?../..")),
        ("http://example.org/a/...", Target("http", "example.org", 80, "/a/...")),
    ],
)
def test_a_url_is_taken_apart_into_one_spelling(url: str, target: Target) -> None:
    assert parse_url(url) == target


def test_a_url_may_be_long_but_not_endless() -> None:
    url = "https://example.org/"
    parse_url(url.ljust(MAX_URL_CHARACTERS, "x"))
    with pytest.raises(MalformedURLError, match="longer than"):
        parse_url(url.ljust(MAX_URL_CHARACTERS + 1, "x"))


def test_the_host_header_names_the_port_only_where_it_is_unusual() -> None:
    assert parse_url("http://example.org:80/").host_header == "example.org"
    assert parse_url("http://example.org:81/").host_header == "example.org:81"
    assert parse_url("http://[::1]/").host_header == "[::1]"
    assert parse_url("http://[::1]:81/").host_header == "[::1]:81"


@pytest.mark.parametrize(
    ("location", "url"),
    [
        ("/b", "http://example.org:80/b"),
        ("b?c", "http://example.org:80/a/b?c"),
        ("//other.example/", "http://other.example:80/"),
        ("https://other.example/", "https://other.example:443/"),
        ("#there", "http://example.org:80/a/photo"),
        ("?size=l", "http://example.org:80/a/photo?size=l"),
        ("../b", "http://example.org:80/b"),
        ("/b/../../c", "http://example.org:80/c"),
    ],
)
def test_a_redirect_may_be_relative(location: str, url: str) -> None:
    assert str(parse_redirect(parse_url("http://example.org/a/photo"), location)) == url


# What Chromium makes of each, beginning at http://example.org/a/photo.
@pytest.mark.parametrize(
    ("location", "url"),
    [
        ("/a b/ü.jpg", "http://example.org:80/a%20b/%C3%BC.jpg"),
        ("my photo.jpg?a b#c d", "http://example.org:80/a/my%20photo.jpg?a%20b"),
        (" /b\t ", "http://example.org:80/b"),
        ("/a\tb\x01", "http://example.org:80/ab"),
        ("/a\x01b", "http://example.org:80/a%01b"),
        ("/a\u3000b\u00a0", "http://example.org:80/a%E3%80%80b%C2%A0"),
        ("/a%20b%zz", "http://example.org:80/a%20b%zz"),
        ('/<a>"b"{c}', "http://example.org:80/%3Ca%3E%22b%22%7Bc%7D"),
        ("\\b\\c?d\\e", "http://example.org:80/b/c?d%5Ce"),
        ("\\\\other.example\\b", "http://other.example:80/b"),
        ("///other.example/b", "http://other.example:80/b"),
        ("HTTP://other.example\\b", "http://other.example:80/b"),
        ("http:////other.example/b", "http://other.example:80/b"),
        ("https:other.example/b", "https://other.example:443/b"),
        ("https:/other.example/b", "https://other.example:443/b"),
        ("http:b", "http://example.org:80/a/b"),
        ("http:other.example:80/b", "http://example.org:80/a/other.example:80/b"),
        ("b;c//d;", "http://example.org:80/a/b;c//d;"),
        ("[b]", "http://example.org:80/a/[b]"),
        ("?", "http://example.org:80/a/photo?"),
        ("http:/b", "http://example.org:80/b"),
        ("http://other.example?b c", "http://other.example:80/?b%20c"),
        ("http://BÜCHER.example/b", "http://xn--bcher-kva.example:80/b"),
    ],
)
def test_a_redirect_is_read_as_browsers_read_it(location: str, url: str) -> None:
    assert str(parse_redirect(parse_url("http://example.org/a/photo"), location)) == url


@pytest.mark.parametrize(
    "location",
    [
        "",
        " \t",
        "http:///",
        "//[::1",
        "http://a:b/",
        "http://a b/",
        "//a\u3000b/",
        "/\ud800",
        "a:b",
    ],
)
def test_a_malformed_redirect_is_refused(location: str) -> None:
    with pytest.raises(MalformedURLError):
        parse_redirect(parse_url("http://example.org/a"), location)


def test_a_suffix_rule_covers_the_domain_and_all_below_it() -> None:
    rule = host_rule(".Example.org")
    assert host_matches("example.org", rule)
    assert host_matches("a.b.example.org", rule)
    assert not host_matches("badexample.org", rule)
    assert not host_matches("example.org.bad.example", rule)


def test_an_exact_rule_covers_one_host() -> None:
    assert host_matches("example.org", host_rule("EXAMPLE.org"))
    assert not host_matches("a.example.org", host_rule("example.org"))
    assert host_matches("2606:4700::1111", host_rule("2606:4700:0::1111"))


@pytest.mark.parametrize("rule", ["", ".", "*.example.org", "example.org:80", "a b", "http://a"])
def test_a_rule_that_is_no_host_is_an_error(rule: str) -> None:
    with pytest.raises(ValueError, match="host"):
        host_rule(rule)


def test_an_exempt_pair_has_one_spelling() -> None:
    assert exempt_pair("LOCALHOST:8000") == "localhost:8000"
    assert exempt_pair("[0::1]:8000") == "[::1]:8000"


@pytest.mark.parametrize("pair", ["", "localhost", "::1:80", "a:0", "a:65536", "http://a:80"])
def test_a_pair_without_host_and_port_is_an_error(pair: str) -> None:
    with pytest.raises(ValueError, match="host:port"):
        exempt_pair(pair)


_AWKWARD = st.text(
    st.one_of(
        st.sampled_from(list("/\\@:.[]%?#0x127٠１。．․①ⅷ-_~\t\r\n \x00\u200b\u202e\ud800İſK")),
        st.characters(),
    ),
    max_size=40,
)
_HOSTS = st.one_of(
    _AWKWARD,
    st.integers(0, 2**33).map(str),
    st.integers(0, 2**33).map(hex),
    st.lists(st.integers(0, 300).map(str) | st.integers(0, 300).map(oct), min_size=1).map(".".join),
    st.ip_addresses(v=4).map(str),
    st.ip_addresses(v=6).map(lambda ip: f"[{ip}]"),
    st.text("abcxyz019-.", max_size=80),
)


@given(_AWKWARD)
def test_the_parser_raises_nothing_but_our_errors(text: str) -> None:
    with contextlib.suppress(MalformedURLError, RefusedURLError):
        parse_url(text)


@given(_HOSTS, _AWKWARD)
@example("xn--" + "a" * 59 + ".example", "")
@example("\u0640.example", "")
@example("a\u200d.example", "")
def test_an_accepted_url_has_one_canonical_ascii_spelling(host: str, rest: str) -> None:
    try:
        target = parse_url(f"http://{host}/{rest}")
    except (MalformedURLError, RefusedURLError):
        return
    assert str(target).isascii()
    assert str(target).isprintable()
    assert parse_url(str(target)) == target
    last = target.host.rpartition(".")[2]
    if last.isdecimal() or last.startswith("0x"):
        assert str(IPv4Address(target.host)) == target.host


@given(_AWKWARD)
def test_a_redirect_raises_nothing_but_our_errors(location: str) -> None:
    with contextlib.suppress(MalformedURLError, RefusedURLError):
        parse_redirect(parse_url("https://example.org/a"), location)


@given(st.integers(0, 2**32 - 1))
def test_no_ipv6_form_smuggles_an_ipv4_address(number: int) -> None:
    prefixes = ["::", "::ffff:0:0", "::ffff:0:0:0", "64:ff9b::", "64:ff9b:1::"]
    for prefix in prefixes:
        assert not is_public(str(IPv6Address(int(ip_address(prefix)) + number)))
    assert not is_public(str(IPv6Address((0x2002 << 112) + (number << 80))))
    assert not is_public(str(IPv6Address((0x20010000 << 96) + (number ^ 0xFFFFFFFF))))
