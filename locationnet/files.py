"""Writing files whole or not at all, and over no other; knows nothing of what is in them."""

from __future__ import annotations

import csv
import os
import tempfile
from pathlib import Path
from typing import Any, TextIO

from locationnet.errors import LocationNetError
from locationnet.names import valid_text


def same_file(one: Path, other: Path) -> bool:
    """Tell whether two paths lead to one file, links included, or would."""
    try:
        return one.samefile(other)
    except OSError:  # one of them is not there yet
        return one.resolve() == other.resolve()


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write UTF-8 text under a temporary name in the same folder, then rename it.

    Names of files in the text that are not UTF-8 are written as by `locationnet.names.valid_text`.

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
            file.write(valid_text(text))
        # Temporary files are private; what the user asked for has the usual permissions.
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(path)
    except OSError as error:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        raise LocationNetError(f"{path}: cannot be written ({error.strerror})") from error


def csv_writer(file: TextIO) -> Any:
    """Return a `csv.writer` whose rows end with a line feed.

    Readers end a row at a carriage return as well, and Python 3.11 quotes of the two only what it
    ends rows with itself: so it is told to end them with both.
    """

    class Rows:
        def write(self, row: str) -> int:
            return file.write(row.removesuffix("\r\n") + "\n")

    return csv.writer(Rows(), lineterminator="\r\n")
