"""Takes URLs that strangers chose apart, and says which IP addresses are public.

Knows nothing of sockets or of who asks: it looks nothing up and contacts nobody.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from urllib.parse import quote

import idna

from locationnet.errors import MalformedURLError, RefusedURLError

PORTS = {"http": 80, "https": 443}
MAX_URL_CHARACTERS = 4096

# Beyond what `is_global` refuses, and what it forgot in one Python release or another: see the
# IANA special-purpose registries; 168.63.129.16 is the host agent of every Azure machine.
_PRIVATE_V4 = tuple(
    IPv4Network(network)
    for network in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "168.63.129.16/32",
        "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.31.196.0/24",
        "192.52.193.0/24", "192.88.99.0/24", "192.168.0.0/16", "192.175.48.0/24", "198.18.0.0/15",
        "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
    )
)  # fmt: skip
# In IPv6 the allocated global unicast space is the exception, so everything else is refused:
# ::/96, IPv4-mapped, both NAT64 prefixes, unique local, link-local, site-local, multicast, 5f00::.
_PUBLIC_V6 = IPv6Network("2000::/3")
_PRIVATE_V6 = tuple(
    IPv6Network(network)
    for network in (
        "2001::/23",  # Teredo, ORCHID, benchmarking and other protocol assignments
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4: holds an IPv4 address that a relay would contact
        "2620:4f:8000::/48",  # AS112
        "3fff::/20",  # documentation
    )
)

# \s adds the other Unicode spaces.
_UNESCAPED = re.compile(r"[\x00-\x20\x7f-\xa0\\]|\s")
# Surrogates cannot be encoded.
_FORBIDDEN = re.compile(rf"{_UNESCAPED.pattern}|[\ud800-\udfff]")
_URL = re.compile(r"([a-z][a-z0-9+.-]*)://([^/?#]*)([^#]*)(?:#.*)?", re.IGNORECASE | re.ASCII)
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*:", re.IGNORECASE | re.ASCII)
_WEB_SCHEME = re.compile(r"(https?):(/*)", re.IGNORECASE | re.ASCII)
_AUTHORITY = re.compile(
    r"(?:\[(?P<v6>[0-9a-f:.]+)\]|(?P<name>[^:\[\]]+))(?::(?P<port>[1-9][0-9]{0,4}))?",
    re.IGNORECASE | re.ASCII,
)
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*", re.ASCII)
# What the C library, and browsers, take for a number: 2130706433, 0x7f.1, 0177.0.0.1, 127.1.
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*", re.ASCII)
_CONTROLS_AND_SPACE = "".join(map(chr, range(0x21)))
_KEPT_IN_TARGET = "%/:?#[]@!$&'()*+,;=-._~"


@dataclass(frozen=True)
class Target:
    """A URL taken apart: only what a request needs, in one canonical spelling.

    Parameters
    ----------
    scheme
        ``"http"`` or ``"https"``.
    host
        Lower-case ASCII name, or canonical address without brackets.
    port
        1–65535.
    path
        Path and query, percent-encoded ASCII.
    """

    scheme: str
    host: str
    port: int
    path: str

    @property
    def pair(self) -> str:
        """``host:port``, with brackets around an IPv6 address."""
        return f"{_bracketed(self.host)}:{self.port}"

    @property
    def host_header(self) -> str:
        """Value of the ``Host`` header."""
        return _bracketed(self.host) if self.port == PORTS[self.scheme] else self.pair

    def __str__(self) -> str:
        return f"{self.scheme}://{self.pair}{self.path}"


def parse_url(url: str) -> Target:
    """Take a URL apart, strictly: whatever two parsers could read differently is refused.

    Blanks around it are not part of it, and segments ``.`` and ``..`` are gone from its path.

    Raises
    ------
    MalformedURLError
        It is not ``http(s)://host[:port]/path``, or spells its host in an unusual way.
    RefusedURLError
        It is well-formed, but has another scheme or carries credentials.
    """
    url = url.strip()
    if len(url) > MAX_URL_CHARACTERS:
        raise MalformedURLError(f"the URL is longer than {MAX_URL_CHARACTERS} characters")
    if _FORBIDDEN.search(url):
        raise MalformedURLError("the URL contains a space, a control character or a backslash")
    match = _URL.fullmatch(url)
    if match is None:
        raise MalformedURLError("the URL must look like https://host/path")
    scheme, authority, path = match[1].lower(), match[2], match[3]
    if scheme not in PORTS:
        raise RefusedURLError("only http and https URLs are fetched")
    if "@" in authority:
        raise RefusedURLError("the URL contains a user name or password")
    host, port = _host_and_port(authority)
    path, mark, query = path.partition("?")
    target = quote(f"{_without_dots(path)}{mark}{query}", safe=_KEPT_IN_TARGET)
    return Target(scheme, host, port or PORTS[scheme], target)


def parse_redirect(base: Target, location: str) -> Target:
    """Resolve a redirect's ``Location``, absolute or relative to `base`, as browsers do.

    They drop tabs and line ends, take backslashes for slashes and escape what is left of spaces and
    control characters (https://url.spec.whatwg.org/#url-parsing). Of the host nothing is forgiven:
    it is read as strictly as `parse_url` does.

    Raises
    ------
    MalformedURLError, RefusedURLError
        As `parse_url` does.
    """
    location = re.sub(r"[\t\r\n]", "", location).strip(_CONTROLS_AND_SPACE)
    if not location:
        raise MalformedURLError("the redirect names no URL")
    address, mark, query = location.partition("#")[0].partition("?")
    address = _escaped(address.replace("\\", "/"))
    rest = mark + _escaped(query)
    if scheme := _WEB_SCHEME.match(address):
        address = address[scheme.end() :]
        if len(scheme[2]) > 1 or scheme[1].lower() != base.scheme:
            return parse_url(f"{scheme[1]}://{address}{rest}")
        address = scheme[2] + address  # http:x is relative to a URL of http
    elif _SCHEME.match(address):
        return parse_url(address + rest)
    if address.startswith("//"):
        return parse_url(f"{base.scheme}://{address.lstrip('/')}{rest}")
    there, there_mark, there_query = base.path.partition("?")
    if not address:
        address, rest = there, rest or there_mark + there_query
    elif not address.startswith("/"):
        address = f"{there.rpartition('/')[0]}/{address}"
    return parse_url(f"{base.scheme}://{base.pair}{address}{rest}")


def is_public(address: str) -> bool:
    """Return whether a textual IP address belongs to the public Internet, as a photo server's does.

    Anything that is not a plain address (a zone id, a malformed answer of a name server) does not.
    """
    try:
        ip = ip_address(address)
    except ValueError:
        return False
    if isinstance(ip, IPv4Address):
        return ip.is_global and not any(ip in network for network in _PRIVATE_V4)
    return (
        ip.is_global
        and ip.scope_id is None
        and ip in _PUBLIC_V6
        and not any(ip in network for network in _PRIVATE_V6)
    )


def host_matches(host: str, rule: str) -> bool:
    """Return whether a host falls under a rule of `host_rule`."""
    if rule.startswith("."):
        return host == rule[1:] or host.endswith(rule)
    return host == rule


def host_rule(rule: str) -> str:
    """Return the canonical spelling of ``"host"`` or ``".suffix"``, or raise `ValueError`."""
    dot, name = ("." if rule.startswith(".") else ""), rule.removeprefix(".")
    try:
        host, port = _host_and_port(_bracketed(name) if is_address(name) else name)
    except MalformedURLError as error:
        raise ValueError(f"{rule!r} is not a host or .suffix") from error
    if port is not None:
        raise ValueError(f"{rule!r} must name a host without a port")
    return dot + host


def exempt_pair(pair: str) -> str:
    """Return the canonical spelling of ``"host:port"``, or raise `ValueError`."""
    try:
        host, port = _host_and_port(pair)
    except MalformedURLError as error:
        raise ValueError(f"{pair!r} is not host:port") from error
    if port is None:
        raise ValueError(f"{pair!r} must be host:port, with the port")
    return f"{_bracketed(host)}:{port}"


def tile_template(template: str) -> str:
    """Return the URL of a map's tiles, with ``{z}/{x}/{y}``, or raise `ValueError`."""
    if template:
        tile_origin(template)
    return template.strip()


def tile_origin(template: str) -> str:
    """Return ``https://host[:port]`` of a tile template, or raise `ValueError`."""
    names = re.findall(r"\{(.*?)\}", template)
    try:
        target = parse_url(template)
    except (MalformedURLError, RefusedURLError) as error:
        raise ValueError(f"not a tile URL: {error}") from error
    if target.scheme != "https" or sorted(names) != ["x", "y", "z"]:
        raise ValueError("a tile URL looks like https://host/{z}/{x}/{y}.png")
    return f"https://{target.host_header}"


def is_address(host: str) -> bool:
    """Return whether a host is an IP address rather than a name."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _escaped(text: str) -> str:
    return _UNESCAPED.sub(lambda found: quote(found[0], safe=""), text)


def _without_dots(path: str) -> str:
    """Return a path without the segments that stand for itself or the one before."""
    kept: list[str] = []
    dots = ""
    for segment in path.removeprefix("/").split("/"):
        dots = segment.lower().replace("%2e", ".")
        if dots == "..":
            del kept[-1:]
        elif dots != ".":
            kept.append(segment)
    if dots in (".", ".."):
        kept.append("")
    return "/" + "/".join(kept)


def _host_and_port(authority: str) -> tuple[str, int | None]:
    match = _AUTHORITY.fullmatch(authority)
    if match is None:
        raise MalformedURLError("the URL's host or port is malformed")
    port = int(match["port"]) if match["port"] else None
    if port is not None and port > 65535:
        raise MalformedURLError("the URL's port is not a number from 1 to 65535")
    if match["v6"] is None:
        return _host_name(match["name"]), port
    try:
        return str(IPv6Address(match["v6"])), port
    except ValueError as error:
        raise MalformedURLError("the URL's IPv6 address is malformed") from error


def _host_name(text: str) -> str:
    """Return a name in lower-case ASCII, or a dotted quad; every other spelling is malformed."""
    malformed = MalformedURLError("the URL's host is not a well-formed name")
    if len(text) > 253:
        raise malformed
    if not text.isascii():
        try:
            # IDNA 2008, not the codec of the standard library: that one maps full-width digits and
            # ideographic dots to ASCII, and with them 127.0.0.1 has hundreds of spellings.
            text = idna.encode(text.lower(), strict=True, std3_rules=True).decode("ascii")
        except UnicodeError as error:
            raise malformed from error
    text = text.lower()
    if len(text) > 253 or not _NAME.fullmatch(text):
        raise malformed
    if _NUMBER.fullmatch(text.rpartition(".")[2]):
        try:
            return str(IPv4Address(text))
        except ValueError as error:
            raise MalformedURLError(
                "an IPv4 address in a URL must be four decimal numbers"
            ) from error
    return text


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host and not host.startswith("[") else host
