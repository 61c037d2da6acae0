"""What verbs write to standard output and error, so that every terminal, file and program takes it.

Knows nothing of what is written. Whatever a name holds, and whatever the terminal can show, nothing
here fails: people read an escape in place of a character, programs read UTF-8.
"""

from __future__ import annotations

import codecs
import errno
import io
import json
import os
import re
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from locationnet.names import UNSEEN, printable, valid_text

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

    from locationnet.progress import StageProgress

# Control characters of ASCII are escaped in all JSON.
_UNSEEN = re.compile(f"[{UNSEEN}]")
_UNBOUNDED = 10_000
# Longer lines are hard to read.
_WIDEST_TEXT = 100
# Neither a number and its sign nor a command is broken.
_KEPT_BLANK = re.compile(r"(?<=\d) (?=[×%])|(?<=×) (?=\d)|(?<=locationnet) |(?<=import) ")
# How the signs of our own sentences are written where there are only letters.
_STAND_INS = {"×": "x", "→": "->", "±": "+-", "°": " deg", "·": "-", "–": "-", "—": "-", "−": "-"}
_ERRORS = "locationnet.stand_ins"


def _stand_in(error: UnicodeError) -> tuple[str | bytes, int]:
    if isinstance(error, UnicodeEncodeError):
        sign = _STAND_INS.get(error.object[error.start])
        if sign is not None:
            return sign, error.start + 1
        error.end = error.start + 1  # of the others behind it, some may have a stand-in
    return codecs.backslashreplace_errors(error)


codecs.register_error(_ERRORS, _stand_in)


def begin_output() -> None:
    """Have characters that a terminal's encoding lacks escaped, for all that this process writes.

    Python would stop at them, or write the bytes of a name that is not UTF-8 as they are. Signs
    such as × get a plain letter.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # whoever started us has closed it
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_ERRORS)


def end_output() -> None:
    """Write out what is still held back; end quietly where the reader has left, as ``head`` does.

    Raises
    ------
    OSError
        It cannot be written for another reason.
    """
    if sys.stdout is None:  # closed, and nothing was written
        return
    try:
        sys.stdout.flush()
    except OSError as error:
        # Python tries again when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if error.errno == errno.EPIPE:
            sys.exit(1)
        raise


def data_output() -> TextIO:
    """Return standard output for programs: UTF-8 in a file or a pipe, whatever terminals speak."""
    if isinstance(sys.stdout, io.TextIOWrapper) and not sys.stdout.isatty():
        sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace")
    return sys.stdout


def say(text: str, *, error: bool = False) -> None:
    """Print one line for people, whose names of files may hold anything."""
    file = sys.stderr if error else sys.stdout
    file.write(f"{printable(text)}\n")
    file.flush()


def say_error(text: str) -> None:
    """Print in one line on standard error what went wrong, in red on a terminal with colours."""
    from rich.console import Console

    # FORCE_COLOR colours logs as well, which rich heeds; a file is read by programs.
    if sys.stderr.isatty():
        console = Console(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True)
        console.print(f"error: {printable(text)}", style="red")
    else:
        say(f"error: {text}", error=True)


def wrapped(text: str) -> str:
    """Return a sentence broken between words as wide as the terminal is; whole in files and pipes.

    Names of files do not go through here: who copies them gets them whole.
    """
    if not sys.stdout.isatty():
        return text
    width = min(terminal_width(), _WIDEST_TEXT)
    kept = _KEPT_BLANK.sub("\xa0", text)
    lines = textwrap.fill(kept, width, break_long_words=False, break_on_hyphens=False)
    return lines.replace("\xa0", " ")


def json_text(value: object, file: TextIO, *, indent: int | None = None) -> str:
    """Return JSON that reads back the same and that a terminal only shows.

    Parameters
    ----------
    value
        Plain values.
    file
        Where it goes: what does not speak Unicode gets ASCII, for which JSON has its own escapes.
    indent
        As for `json.dumps`.
    """
    unicode = (file.encoding or "utf-8").lower().startswith("utf")
    text = json.dumps(value, indent=indent, ensure_ascii=not unicode)
    return _UNSEEN.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def csv_name(name: str, file: TextIO) -> str:
    """Return a file's name for CSV, which has no escapes: only people get those of `printable`."""
    return printable(name) if file.isatty() else valid_text(name)


def people_console(*, fitting: bool = False) -> Console:
    """Return a console that prints text as it is: no markup in it, and nothing broken or cut.

    A terminal that is narrower than a table wraps whole rows, so that names can be copied.

    Parameters
    ----------
    fitting
        Know how wide the terminal is, where there is one, for what can be made to fit.
    """
    from rich.console import Console

    width = terminal_width() if fitting and sys.stdout.isatty() else _UNBOUNDED
    return Console(width=width, highlight=False, markup=False, emoji=False, soft_wrap=True)


def terminal_width() -> int:
    """Return how many characters a line of the terminal holds, 80 where there is none."""
    from rich.console import Console

    return Console().width


def showable(text: str, console: Console) -> str:
    """Return a cell of a table as wide as the terminal will show it: what it lacks as ``?``."""

    def known(sign: str) -> str:
        try:
            sign.encode(console.encoding)
        except UnicodeEncodeError:
            return _STAND_INS.get(sign, "?")
        return sign

    return "".join(map(known, printable(text)))


def readable(name: str, console: Console) -> str:
    """Return a name of a file as the terminal will show it: what it lacks escaped."""
    return printable(name).encode(console.encoding, _ERRORS).decode(console.encoding)


def stages(bar: Progress) -> StageProgress:
    """Return what shows each stage of some work as a line of its own."""
    tasks: dict[str, TaskID] = {}

    def advance(stage: str, done: int, total: int) -> None:
        if stage not in tasks:
            tasks[stage] = bar.add_task(stage, total=total)
        bar.update(tasks[stage], completed=done, total=total or None)

    return advance


def progress_bar() -> Progress:
    """Return the moving bar of long work on stderr, drawn for a person at a terminal alone.

    rich's own ``is_terminal`` also holds where ``FORCE_COLOR`` is set, as notebooks and build
    servers do for colours: a bar in a file is pages of control characters.
    """
    from rich.console import Console
    from rich.progress import Progress

    return Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty())
