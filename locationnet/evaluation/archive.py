"""One large file over HTTP to disk, going on where an earlier call broke off.

Knows nothing of what is in it. The links are ours, not a stranger's, so this is not
`locationnet.net.fetch`: it may take as long as it needs and uses the proxy that the environment
names.
"""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import cast
from urllib.error import HTTPError

from locationnet.errors import RemoteFailedError, RemoteTooLargeError
from locationnet.files import write_text
from locationnet.net.urls import parse_url
from locationnet.progress import Progress

_BLOCK_BYTES = 1 << 16
# Another day may be better: asked too often, or a server in trouble.
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+)", re.ASCII)


@dataclass(frozen=True)
class _State:
    """What an unfinished download is a part of; kept beside it."""

    url: str
    validator: str
    total: int | None


def download(
    url: str,
    path: Path,
    *,
    max_bytes: int,
    page: str = "",
    advance: Progress | None = None,
    timeout_s: float = 30.0,
) -> None:
    """Make `path` the whole file behind a link; a JSON beside it says what it is a part of.

    A part is only resumed where the server proves, by ETag or Last-Modified, that the file is
    still the same; else it starts anew.

    Parameters
    ----------
    url
        The link; redirects are followed.
    path
        The file, a part of which an earlier call may have left; `discard` it when it is done with.
    max_bytes
        The most that is accepted.
    page
        Where to look when the link is dead.
    advance
        Called with the bytes that are there and all there are, 0 while that is not known.
    timeout_s
        Seconds that the server may be silent.

    Raises
    ------
    RemoteFailedError
        The link is dead, or the server refused or broke off; the next call goes on from there.
    RemoteTooLargeError
        The file is larger than accepted.
    OSError
        A file cannot be written.
    """
    state = _read_state(path, url)
    done = path.stat().st_size if state else 0
    if state and done == state.total:
        return
    if state and not (done and state.validator):
        state = None
    response = _open(url, page, timeout_s, done, state)
    if state and response.status == 206 and not _continues(response, done, state):
        response.close()
        response = _open(url, page, timeout_s)
        state = None
    with response:
        if response.headers.get("Content-Encoding", "identity").strip().lower() != "identity":
            raise RemoteFailedError(f"{url}: the server compressed its answer, unasked")
        if response.status == 206 and state:
            total = state.total
        elif response.status == 200:
            # The first time, or another version than the one that we have a part of.
            done, total = 0, _length(response)
            discard(path)
            # Before the first byte, so that no byte is ever taken for another version's.
            _write_state(path, _State(url, _validator(response), total))
        else:
            raise RemoteFailedError(f"{url}: answered {response.status}, not 200")
        with path.open("ab") as file:
            for block in _blocks(url, response, done, total):
                done += len(block)
                if max(done, total or 0) > max_bytes:
                    discard(path)
                    raise RemoteTooLargeError(f"{url}: is larger than {max_bytes:,} bytes")
                file.write(block)
                if advance is not None:
                    advance(done, total or 0)


def discard(path: Path) -> None:
    """Remove a file that `download` has written, whole or in part."""
    path.unlink(missing_ok=True)
    _state_path(path).unlink(missing_ok=True)


def _open(
    url: str, page: str, timeout_s: float, done: int = 0, state: _State | None = None
) -> HTTPResponse:
    """Ask for the file, or for what is missing of it."""
    headers = {"User-Agent": "locationnet", "Accept-Encoding": "identity"}
    if state is not None:
        headers |= {"Range": f"bytes={done}-", "If-Range": state.validator}
    parse_url(url)  # refuses all but http and https
    request = urllib.request.Request(url, headers=headers)  # noqa: S310
    try:
        return cast(HTTPResponse, _opener().open(request, timeout=timeout_s))
    except HTTPError as error:
        error.close()
        if error.code == 416 and state is not None:  # it has become shorter
            return _open(url, page, timeout_s)
        what = "the link is dead" if error.code in (404, 410) else "the server refused"
        see = f"; see {page}" if page else ""
        later = "; run again later" if error.code in _PASSING else ""
        raise RemoteFailedError(f"{url}: {what} ({error.code}){later}{see}") from error
    except (OSError, HTTPException, ValueError) as error:
        raise RemoteFailedError(f"{url}: cannot be reached ({_reason(error)})") from error


def _opener() -> urllib.request.OpenerDirector:
    """Return the usual one without FTP and files, where a redirect might lead."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler,
        urllib.request.HTTPHandler,
        urllib.request.HTTPSHandler,
        urllib.request.HTTPRedirectHandler,
        urllib.request.HTTPErrorProcessor,
        urllib.request.HTTPDefaultErrorHandler,
        urllib.request.UnknownHandler,
    ):
        opener.add_handler(handler())
    return opener


def _continues(response: HTTPResponse, done: int, state: _State) -> bool:
    """Whether a partial answer goes on exactly where we are, in the same version."""
    found = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
    if found is None or int(found[1]) != done:
        return False
    same = _validator(response) in ("", state.validator)
    return same and state.total in (None, int(found[2]))


def _length(response: HTTPResponse) -> int | None:
    text = response.headers.get("Content-Length", "")
    return int(text) if text.isascii() and text.isdigit() else None


def _validator(response: HTTPResponse) -> str:
    """Return what names the version in ``If-Range``, or nothing (RFC 9110, section 13.1.5)."""
    etag = response.headers.get("ETag", "")
    found = etag if etag.startswith('"') else response.headers.get("Last-Modified", "")
    return found if found.isascii() and found.isprintable() else ""


def _blocks(url: str, response: HTTPResponse, done: int, total: int | None) -> Iterator[bytes]:
    try:
        while block := response.read1(_BLOCK_BYTES):
            done += len(block)
            yield block
    except (OSError, HTTPException) as error:
        raise RemoteFailedError(
            f"{url}: broke off after {done:,} bytes ({_reason(error)}); run again to go on"
        ) from error
    if total is not None and done != total:
        raise RemoteFailedError(
            f"{url}: broke off after {done:,} of {total:,} bytes; run again to go on"
        )


def _state_path(part: Path) -> Path:
    return part.with_suffix(".json")


def _read_state(part: Path, url: str) -> _State | None:
    """Return what the part is of, None where there is none or it came from elsewhere."""
    try:
        state = _State(**json.loads(_state_path(part).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    return state if state.url == url and part.is_file() else None


def _write_state(part: Path, state: _State) -> None:
    write_text(_state_path(part), json.dumps(asdict(state)) + "\n")


def _reason(error: Exception) -> str:
    lines = str(getattr(error, "reason", error)).splitlines()
    return lines[0] if lines else type(error).__name__
