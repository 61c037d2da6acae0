"""``locationnet health``: whether the service on this machine answers, for a container's engine."""

from __future__ import annotations

from pathlib import Path

import typer

_HELP = """\
Ask the service on this machine whether its model answers: exit code 0 if it does, 1 if not.

Example: locationnet health, or locationnet health --port 8081

Takes the options and the environment of `locationnet serve`, of which it needs to know only where
that listens and by which name. Without options it takes those of a container's first process."""
_FIRST = Path("/proc/1/cmdline")


def health(context: typer.Context) -> None:
    """Ask the service on this machine whether its model answers."""
    from locationnet.cli.serve import settings_of
    from locationnet.server.health import ask

    arguments = context.args or options_of(_FIRST)
    ask(settings_of(arguments, "locationnet health", _HELP))


def options_of(command_line: Path) -> list[str]:
    """Return the options of `locationnet serve` where that is what a process runs.

    Parameters
    ----------
    command_line
        As Linux keeps it: words that each end with a zero byte.
    """
    try:
        words = command_line.read_bytes().decode(errors="replace").split("\0")[:-1]
    except OSError:
        return []
    for index, word in enumerate(words[:-1]):
        if Path(word).name == "locationnet" and words[index + 1] == "serve":
            return words[index + 2 :]
    return []
