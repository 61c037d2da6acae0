"""Checks on what a verb is to write, made before hours of work rather than after."""

from __future__ import annotations

import os
from pathlib import Path

import typer

from locationnet.names import printable


def require_folder(*paths: Path | None) -> None:
    """Refuse, as wrong usage, a file to write in a folder that is not there."""
    for path in paths:
        if path is None:
            continue
        shown = printable(path)
        if not path.absolute().parent.is_dir():
            raise typer.BadParameter(f"{shown}: the folder to write it in does not exist")
        if path.is_dir():
            raise typer.BadParameter(f"{shown}: is a folder, not a file to write")
        if not os.access(path.absolute().parent, os.W_OK):
            raise typer.BadParameter(f"{shown}: the folder to write it in is not writable")
