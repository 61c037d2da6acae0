"""Columns of text as people read them: what percent-encoding hides.

Knows nothing of photos.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import unquote_to_bytes

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]

_CONTROL = re.compile(r"[\x00-\x1f]+")


def decoded(column: Any) -> Any:
    """Undo percent-encoding with ``+`` for a space; a control character becomes a space."""
    import pyarrow as pa
    import pyarrow.compute as pc

    column = pc.replace_substring(column, "+", " ")
    escaped = pc.match_substring(column, "%")
    if _bytes(column).min(initial=ord(" ")) < ord(" "):
        escaped = pc.or_(escaped, pc.match_substring_regex(column, _CONTROL.pattern))
    if not pc.any(escaped).as_py():
        return column
    coded = column.filter(escaped).dictionary_encode()  # names come again and again
    plain = [
        _CONTROL.sub(" ", unquote_to_bytes(text).decode(errors="replace"))
        for text in coded.dictionary.to_pylist()
    ]
    decoded = pa.array(plain, pa.string()).take(coded.indices)
    return pc.replace_with_mask(column, escaped, decoded)


def _bytes(column: Any) -> NDArray[np.uint8]:
    """Return the bytes of all texts of a column, perhaps with some that lie around them."""
    data = column.buffers()[2]
    return np.empty(0, np.uint8) if data is None else np.frombuffer(data, np.uint8)


def as_numpy(column: Any) -> NDArray[Any]:
    """Return an Arrow array's values."""
    return np.asarray(column.to_numpy(zero_copy_only=False))
