"""Names of files as text that any file can hold, and as text that any terminal can show.

Knows nothing of where the text goes. A file is opened by its name as it is, never by these.
"""

from __future__ import annotations

import os
import re

# What starts a command of the terminal, ends a line or turns the order of letters, beside the
# control characters of ASCII.
UNSEEN = "\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff"
_UNSEEN = re.compile(f"[\x00-\x1f{UNSEEN}]")


def valid_text(name: str | os.PathLike[str]) -> str:
    r"""Return a name as text that can be encoded: a byte that is not UTF-8 becomes ``\xff``.

    Python carries such bytes as lone surrogates, which no UTF-8 file, JSON or Parquet may hold.
    """
    text = os.fspath(name)
    try:
        content = text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # surrogates that stand for no byte
        content = text.encode("utf-8", "backslashreplace")
    return content.decode("utf-8", "backslashreplace")


def printable(text: str | os.PathLike[str]) -> str:
    r"""Return text that a terminal shows in one line and does not act upon.

    It is `valid_text` with escapes such as ``\n``, ``\x1b`` and ``\u202e``.
    """
    return _UNSEEN.sub(
        lambda found: found[0].encode("unicode_escape").decode("ascii"), valid_text(text)
    )
