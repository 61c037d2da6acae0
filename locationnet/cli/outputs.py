"""Checks on what a verb is to write, made before hours of work rather than after."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import typer

from locationnet.files import same_file
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


def refuse_replacing(inputs: Iterable[Path | None], *outputs: Path | None) -> None:
    """Refuse, as wrong usage, to write over what is read, by whatever links the two are one."""
    read = [path for path in inputs if path is not None]
    for out in outputs:
        for given in read:
            if out is not None and same_file(out, given):
                shown = "" if str(out) == str(given) else f" {given},"
                message = f"{out}: would replace{shown} a file that is read; give another --out"
                raise typer.BadParameter(printable(message))


def require_new_folder(path: Path) -> None:
    """Refuse, as wrong usage, a folder to write that is a file."""
    if path.exists() and not path.is_dir():
        raise typer.BadParameter(f"{printable(path)}: is a file, not a folder to write in")
