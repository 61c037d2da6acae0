"""Checks on what a verb is to write, made before hours of work rather than after."""

from __future__ import annotations

from pathlib import Path

import typer


def require_folder(*paths: Path | None) -> None:
    """Refuse, as wrong usage, a file to write in a folder that is not there."""
    for path in paths:
        if path is not None and not path.absolute().parent.is_dir():
            raise typer.BadParameter(f"{path}: the folder to write it in does not exist")
