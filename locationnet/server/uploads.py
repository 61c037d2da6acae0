"""The body of a request, in any of its forms, to the bytes of photos or their URLs.

Knows nothing of images or of fetching. A photo stays in memory: it never touches the disk, no more
than the limit of it is ever held, and every byte held is accounted for.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import unquote

from fastapi import Request
from pydantic import BaseModel, ValidationError
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from locationnet.server.admission import Account
from locationnet.server.problems import Problem, invalid
from locationnet.server.request_options import Options
from locationnet.server.schemas import PhotoURL, PhotoURLs
from locationnet.server.settings import MAX_BATCH_PHOTOS

Model = TypeVar("Model", bound=BaseModel)

# What clients send that do not look at what they send.
BYTES = "application/octet-stream"
_MAX_JSON_BYTES = 16 * 1024
_MAX_JSON_BATCH_BYTES = MAX_BATCH_PHOTOS * _MAX_JSON_BYTES
_MULTIPART_OVERHEAD = 16 * 1024
_MAX_FIELDS = 300
# Of a Content-Disposition, whose quoted values hold escapes, or backslashes that are none.
_PARAMETER = re.compile(rb';\s*([^\s=;]+)\s*=\s*("(?:[^"\\]|\\.)*"|[^;]*)')
_UNESCAPED_PARAMETER = re.compile(rb';\s*([^\s=;]+)\s*=\s*("[^"]*"|[^;]*)')


@dataclass(frozen=True)
class Submission:
    """What was sent: photos or their URLs, in order, and what is wanted of them."""

    options: Options
    photos: Sequence[bytes | str]


async def read_photo(
    request: Request, options: Options, max_bytes: int, account: Account
) -> Submission:
    """Read the body of a request for one photo; whether `check_photo` refuses it is not asked here.

    Parameters
    ----------
    request
        With a body of JSON ``{"url": …, "top_k": …}``, of multipart form data with one ``file``, or
        of an image, which may also be called `BYTES`.
    options
        From the query; fields of the body win.
    max_bytes
        Size of the largest photo; reading stops beyond it.
    account
        Is notified of every byte.

    Raises
    ------
    Problem
        400, 413, 415, 422 or 503.
    """
    kind = _kind(request)
    if kind == "application/json":
        wanted = await _read_json(request, PhotoURL, _MAX_JSON_BYTES)
        own = wanted.model_dump(exclude_unset=True, exclude={"url"})
        return Submission(_merged(options, own), [wanted.url])
    if kind == "multipart/form-data":
        photos, fields = await _read_form(request, max_bytes, account, files=1)
        options = _merged(options, fields)
    elif kind.startswith("image/") or kind == BYTES:
        photos = [await _read(request, max_bytes, "photo", account)]
    else:
        raise Problem(
            415,
            "send application/json with a url, multipart/form-data with a file, or a body of "
            f"type image/jpeg, image/png, image/webp, image/avif, image/heic or {BYTES}",
        )
    return Submission(options, photos)


async def read_photos(
    request: Request, options: Options, max_bytes: int, account: Account
) -> Submission:
    """Read the body of a request for several photos; see `read_photo`.

    It is JSON ``{"urls": […], …}`` or multipart form data with several parts named ``file``.
    """
    kind = _kind(request)
    if kind == "application/json":
        wanted = await _read_json(request, PhotoURLs, _MAX_JSON_BATCH_BYTES)
        own = wanted.model_dump(exclude_unset=True, exclude={"urls"})
        return Submission(_merged(options, own), wanted.urls)
    if kind == "multipart/form-data":
        photos, fields = await _read_form(request, max_bytes, account, files=MAX_BATCH_PHOTOS)
        return Submission(_merged(options, fields), photos)
    raise Problem(415, "send application/json with urls, or multipart/form-data with files")


def part_name(disposition: bytes) -> str:
    """Return the name of a form's part, ``""`` where its Content-Disposition gives none.

    Clients write file names in more ways than RFC 7578 allows: coded and in pieces (RFC 8187 and
    2231), quotes and backslashes escaped or as they are. None may hide the name beside it.
    """
    for parameter in (_PARAMETER, _UNESCAPED_PARAMETER):
        found: dict[bytes, bytes] = {
            key.lower(): value for key, value in parameter.findall(disposition)
        }
        if b"name" in found:
            return found[b"name"].strip(b' \t"').decode("utf-8", "replace")
        if b"name*" in found:
            return unquote(found[b"name*"].rpartition(b"'")[2].decode("ascii", "replace"))
    return ""


class _FormParser(MultiPartParser):
    """Starlette's parser, which takes a file without a plain filename for text.

    It also drops a last part that is cut off, and says nothing of it.
    """

    ended = False

    def on_headers_finished(self) -> None:
        """Have each part named file taken for one, and each that is an option for text."""
        part = self._current_part
        name = part_name(part.content_disposition or b"")
        if name == "file":
            part.content_disposition = b'form-data; name="file"; filename="photo"'
        elif name in Options.model_fields:
            part.content_disposition = f'form-data; name="{name}"'.encode()
        super().on_headers_finished()

    def on_end(self) -> None:
        """Note that the closing boundary has come."""
        self.ended = True

    def close(self) -> None:
        """Free the files, also those of parts that are cut off."""
        for file in self._files_to_close_on_error:
            file.close()


def check_photo(photo: bytes, max_bytes: int) -> None:
    """Raise a `Problem` where a photo is empty or larger than the limit."""
    if not photo:
        raise Problem(400, "the photo is empty")
    if len(photo) > max_bytes:
        raise _too_large(max_bytes, "photo")


def _kind(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _merged(options: Options, fields: dict[str, Any]) -> Options:
    try:
        return options.with_fields(fields)
    except ValidationError as error:
        raise invalid(error) from error


async def _read_json(request: Request, form: type[Model], most: int) -> Model:
    try:
        body = await _read(request, most, "JSON")
    except Problem as error:
        if error.status == 413:  # as it is where it holds a photo
            detail = f"{error.detail}; a photo itself is sent as a file, not as a data: URL"
            raise Problem(413, detail) from error
        raise
    try:
        return form.model_validate_json(body)
    except ValidationError as error:
        raise invalid(error) from error


async def _read(
    request: Request, max_bytes: int, what: str, account: Account | None = None
) -> bytes:
    body = bytearray()
    async for chunk in _capped(request, max_bytes, what, account):
        body += chunk
    return bytes(body)


async def _read_form(
    request: Request, max_bytes: int, account: Account, files: int
) -> tuple[list[bytes], dict[str, Any]]:
    """Return the parts named file, in order, and the options among the other parts."""
    most = files * (max_bytes + _MULTIPART_OVERHEAD)
    stream = _capped(request, most, "photo" if files == 1 else "form", account)
    names = Options.model_fields
    parser = _FormParser(request.headers, stream, max_files=files, max_fields=_MAX_FIELDS)
    parser.spool_max_size = most  # beyond it, it would write to the disk
    try:
        form = await parser.parse()
        if not parser.ended:
            raise MultiPartException("the last boundary is missing")
        photos: list[bytes] = []
        fields: dict[str, list[str]] = {}
        for name, value in form.multi_items():
            if isinstance(value, UploadFile) and name == "file":
                photos.append(await value.read())
            elif isinstance(value, str) and name in names:
                fields.setdefault(name, []).append(value)
            else:
                raise Problem(400, "expected parts named file, and fields that are options")
    except (MultiPartException, UnicodeError) as error:  # some charsets raise the latter
        many = "one part" if files == 1 else f"up to {files} parts"
        raise Problem(400, f"expected multipart form data with {many} named file") from error
    finally:
        parser.close()
    if not photos:
        raise Problem(400, "expected a part named file")
    # A list may be given part by part, as in a query.
    return photos, {name: own if len(own) > 1 else own[0] for name, own in fields.items()}


async def _capped(
    request: Request, max_bytes: int, what: str, account: Account | None
) -> AsyncGenerator[bytes, None]:
    announced = request.headers.get("content-length", "0")
    if not announced.isdecimal() or len(announced) > 18 or int(announced) > max_bytes:
        raise _too_large(max_bytes, what)
    received = 0
    async for chunk in request.stream():
        received += len(chunk)
        if received > max_bytes:
            raise _too_large(max_bytes, what)
        if account is not None:
            account.take(len(chunk))
        yield chunk


def _too_large(max_bytes: int, what: str) -> Problem:
    return Problem(413, f"the {what} is larger than {max_bytes} bytes")
