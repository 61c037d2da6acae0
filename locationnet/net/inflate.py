"""Undoes the compression that an HTTP answer names, in steps that no small answer makes large.

Knows nothing of requests or of what the bytes are; how much is too much is the caller's.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterable, Iterator

from locationnet.errors import RemoteLastingError

_DEFLATED = frozenset({"gzip", "x-gzip", "deflate"})
# What servers say where nothing is compressed.
_PLAIN = frozenset({"", "identity", "none", "binary", "utf-8", "aws-chunked"})
_PART_BYTES = 1 << 16


def decoder(encoding: str) -> Callable[[bytes], Iterable[bytes]]:
    """Return what undoes a ``Content-Encoding``: gzip and deflate, as browsers do.

    Returns
    -------
    Callable
        To be given the chunks of the answer in order. It yields each one's bytes in parts of 64 KiB
        at most, or the chunk itself where nothing is compressed, and raises `RemoteLastingError`
        where the answer is not what it is said to be.

    Raises
    ------
    RemoteLastingError
        It is compressed in another way, or more than once.
    """
    names = [name for name in re.split(r"[\s,]+", encoding.lower()) if name not in _PLAIN]
    if not names:
        return lambda chunk: (chunk,)
    if len(names) > 1 or names[0] not in _DEFLATED:
        raise RemoteLastingError(
            "the remote server compressed its answer, unasked and in a way that is not read"
        )
    return _Inflating(names[0]).parts


class _Inflating:
    def __init__(self, name: str) -> None:
        self._stream = None if name == "deflate" else zlib.decompressobj(zlib.MAX_WBITS | 16)
        self._head = b""

    def parts(self, chunk: bytes) -> Iterator[bytes]:
        try:
            yield from self._parts(chunk)
        except zlib.error as error:
            raise RemoteLastingError(
                "the remote server compressed its answer, unasked and wrongly"
            ) from error

    def _parts(self, chunk: bytes) -> Iterator[bytes]:
        if self._stream is None:
            chunk = self._head = self._head + chunk
            if len(chunk) < 2:
                return
            # Servers send the zlib format or bare deflate under one name. RFC 1950, section 2.2:
            # the method is 8, and the header a multiple of 31.
            zlib_format = chunk[0] & 15 == 8 and int.from_bytes(chunk[:2], "big") % 31 == 0
            self._stream = zlib.decompressobj(zlib.MAX_WBITS if zlib_format else -zlib.MAX_WBITS)
        # What follows the end is not part of the answer.
        while not self._stream.eof:
            part = self._stream.decompress(chunk, _PART_BYTES)
            yield part
            chunk = self._stream.unconsumed_tail
            if not chunk and len(part) < _PART_BYTES:
                return
