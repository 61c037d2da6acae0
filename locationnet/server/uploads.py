"""The body of ``POST /locate``, in any of its three forms, to the bytes of a photo or its URL.

Knows nothing of images or of fetching. A photo stays in memory: it never touches the disk, and no
more than the limit of it is ever held.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass

from fastapi import Request
from pydantic import ValidationError
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from locationnet.server.problems import Problem, invalid
from locationnet.server.schemas import PhotoURL

_MAX_JSON_BYTES = 16 * 1024
_MULTIPART_OVERHEAD = 16 * 1024


@dataclass(frozen=True)
class Submission:
    """What was sent: the bytes of a photo, or a URL and perhaps what is wanted of the answer."""

    photo: bytes = b""
    url: str | None = None
    top_k: int | None = None
    heatmap: bool | None = None


async def read_submission(request: Request, max_bytes: int) -> Submission:
    """Read the body of a request.

    Parameters
    ----------
    request
        With a body of JSON ``{"url": …, "top_k": …}``, of multipart form data with one ``file``, or
        of an image.
    max_bytes
        Size of the largest photo; reading stops beyond it.

    Raises
    ------
    Problem
        400, 413, 415 or 422.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "application/json":
        body = await _read(request, _MAX_JSON_BYTES, "JSON")
        try:
            wanted = PhotoURL.model_validate_json(body)
        except ValidationError as error:
            raise invalid(error) from error
        return Submission(url=wanted.url, top_k=wanted.top_k, heatmap=wanted.heatmap)
    if kind == "multipart/form-data":
        photo = await _read_form(request, max_bytes)
    elif kind.startswith("image/"):
        photo = await _read(request, max_bytes, "photo")
    else:
        raise Problem(
            415,
            "send application/json with a url, multipart/form-data with a file, or a body of "
            "type image/jpeg, image/png or image/webp",
        )
    if not photo:
        raise Problem(400, "the photo is empty")
    return Submission(photo=photo)


async def _read(request: Request, max_bytes: int, what: str) -> bytes:
    body = bytearray()
    async for chunk in _capped(request, max_bytes, what):
        body += chunk
    return bytes(body)


async def _read_form(request: Request, max_bytes: int) -> bytes:
    stream = _capped(request, max_bytes + _MULTIPART_OVERHEAD, "photo")
    parser = MultiPartParser(request.headers, stream, max_files=1, max_fields=0)
    parser.spool_max_size = max_bytes + _MULTIPART_OVERHEAD  # beyond it, it would write to the disk
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise Problem(400, "expected multipart form data with one part, a file") from error
    try:
        file = form.get("file")
        if not isinstance(file, UploadFile):
            raise Problem(400, "expected a part named file")
        photo = await file.read()
    finally:
        await form.close()
    if len(photo) > max_bytes:
        raise _too_large(max_bytes, "photo")
    return photo


async def _capped(request: Request, max_bytes: int, what: str) -> AsyncGenerator[bytes, None]:
    announced = request.headers.get("content-length", "0")
    if not announced.isdecimal() or len(announced) > 18 or int(announced) > max_bytes:
        raise _too_large(max_bytes, what)
    received = 0
    async for chunk in request.stream():
        received += len(chunk)
        if received > max_bytes:
            raise _too_large(max_bytes, what)
        yield chunk


def _too_large(max_bytes: int, what: str) -> Problem:
    return Problem(413, f"the {what} is larger than {max_bytes} bytes")
