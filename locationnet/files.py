"""Writing files whole or not at all, and over no other; knows nothing of what is in them."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from locationnet.errors import LocationNetError


def same_file(one: Path, other: Path) -> bool:
    """Tell whether two paths lead to one file, links included, or would."""
    try:
        return one.samefile(other)
    except OSError:  # one of them is not there yet
        return one.resolve() == other.resolve()


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write UTF-8 text under a temporary name in the same folder, then rename it.

    Raises
    ------
    LocationNetError
        The file cannot be written; what was there before is untouched.
    """
    path = Path(path)
    temporary: Path | None = None
    try:
        with tempfile.NamedTemporaryFile(
            "w",
            encoding="utf-8",
            newline="",
            dir=path.parent,
            prefix=f".{path.name}-",
            delete=False,
        ) as file:
            temporary = Path(file.name)
            file.write(text)
        # Temporary files are private; what the user asked for has the usual permissions.
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(path)
    except OSError as error:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        raise LocationNetError(f"{path}: cannot be written ({error.strerror})") from error
