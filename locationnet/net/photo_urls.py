"""Fetches a photo by its URL, and says what is there instead and what to do about it.

Decodes nothing; what may be contacted is for `locationnet.net.fetch`. Every door says the same.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial

from locationnet.errors import (
    ImageError,
    MalformedURLError,
    RefusedURLError,
    RemoteTooLargeError,
)
from locationnet.file_kinds import (
    ARCHIVE,
    IMAGE,
    PDF,
    TEXT,
    VIDEO,
    WEB_PAGE,
    asks_for_password,
    other_kind,
)
from locationnet.image_formats import READ, kind_of
from locationnet.net.fetch import FetchPolicy, fetch, waited
from locationnet.net.urls import Target, parse_url

_PHOTO = f"use a photo, as {READ}"
_COPY = "copy the image's own address"
_DOWNLOAD = "download the photo, and use the file"
_ADVICE = {
    WEB_PAGE: _COPY,
    TEXT: _COPY,
    PDF: "save the photo in it as JPEG, and use that file",
    VIDEO: "save one of its frames as JPEG, and use that file",
    ARCHIVE: "unpack the photo in it, and use that file",
}
_SCHEME = "the address must begin with https:// or http://"
_FILE = "that is the path of a file, not an address on the web: use the file itself"
# What an address is instead, and the words for it; "" where its form is right at least.
_WRONG = [
    (re.compile(pattern, re.IGNORECASE), says)
    for pattern, says in (
        (r"data:", "that is the photo itself, written as text (data:): save it, and use the file"),
        (
            r"blob:",
            "that address (blob:) works in one browser alone: save it, and use the file",
        ),
        (r"file:|[a-z]:[\\/]|\\\\|~|\.{1,2}[\\/]|/(?!/)", _FILE),
        (r"[\"'`<(\[“„«‘]", "leave out the quotes or brackets around the address"),
        (r"https?://", ""),
        (r"(?!https?:)[a-z][a-z0-9+.-]*://", "only addresses of http and https are fetched"),
    )
]
_MEANT = re.compile(r"(?:data|blob|file):|[a-z][a-z0-9+.-]+:/|www\.", re.IGNORECASE)


async def fetch_photo(
    url: str, policy: FetchPolicy, *, receive: Callable[[int], None] = lambda _: None
) -> bytes:
    """Return the bytes of the photo behind a URL; whether they decode is not looked at.

    Parameters
    ----------
    url, policy, receive
        As for `locationnet.net.fetch.fetch`.

    Raises
    ------
    ImageError
        There is something else, or nothing.
    FetchError
        As `locationnet.net.fetch.fetch` does.
    """
    where, media_type = [], ""

    def on_answer(target: Target, named: str) -> None:
        nonlocal media_type
        where.append(target)
        media_type = named

    try:
        asked = parse_url(url)
        content = await fetch(url, policy, receive=receive, on_answer=on_answer)
    except (MalformedURLError, RefusedURLError) as error:
        raise type(error)(wrong_address(url) or str(error)) from error
    except RemoteTooLargeError as error:
        kind = other_kind(b"\0", media_type)
        if kind is None:
            raise
        raise ImageError(_says(kind)) from error
    if kind_of(content) is None:
        redirected = _place(where[-1]) != _place(asked)
        raise ImageError(_why_not(content, media_type, redirected=redirected))
    return content


def fetch_photo_sync(url: str, policy: FetchPolicy) -> bytes:
    """Return the bytes of the photo behind a URL, for callers who do not await."""
    return waited(partial(fetch_photo, url, policy))


def wrong_address(text: str) -> str:
    """Return why what somebody wrote is no address of a photo, ``""`` where it looks like one."""
    text = text.strip()
    if not text:
        return "the address is empty"
    return next((says for pattern, says in _WRONG if pattern.match(text)), _SCHEME)


def is_meant_as_address(name: str) -> bool:
    """Return whether a name that is no file's was meant as an address on the web."""
    return _MEANT.match(name.strip()) is not None


def _why_not(content: bytes, media_type: str, *, redirected: bool) -> str:
    if not content:
        return "there is an empty file at this address (0 bytes)"
    kind = other_kind(content, media_type)
    if kind == WEB_PAGE and asks_for_password(content):
        return f"that is a web page to log in: {_DOWNLOAD}"
    if kind == WEB_PAGE and redirected:
        return f"the address redirects to a web page, perhaps to log in: {_COPY}, or {_DOWNLOAD}"
    return f"not a {READ} image" if kind is None else _says(kind)


def _says(kind: str) -> str:
    if kind.startswith(IMAGE):
        return f"that is {kind}: save it as JPEG, and use that file"
    return f"that is {kind}: {_ADVICE.get(kind, _PHOTO)}"


def _place(target: Target) -> tuple[str, str]:
    """Return what stays of a URL where a server but mends it: https, www, the last slash."""
    path = target.path.partition("?")[0]
    return target.host.removeprefix("www."), path.rstrip("/")
