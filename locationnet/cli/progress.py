"""The moving bar of long work, for a person at a terminal and nobody else.

Knows nothing of what the work is.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress


def progress_bar() -> Progress:
    """Return a bar on stderr, which must be a terminal for it to be drawn.

    rich's own ``is_terminal`` also holds where ``FORCE_COLOR`` is set, as notebooks and build
    servers do for colours: a bar in a file is pages of control characters.
    """
    from rich.console import Console
    from rich.progress import Progress

    return Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty())
