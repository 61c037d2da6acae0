"""Options that several verbs share, and those of ``train`` that a recipe gives in its place."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

Threads = Annotated[
    int | None,
    typer.Option(min=1, help="Photos worked on at a time.", show_default="all processors"),
]


class Reduced(StrEnum):
    """Precisions that a bundle can offer beside float32."""

    bf16 = "bf16"
    int8 = "int8"


Reducing = Annotated[
    list[Reduced] | None,
    typer.Option(help="Also measure a reduced precision; repeat for several."),
]

# typer has no name of its own for what all wrong usage is.
_UsageError: Any = typer.BadParameter.__bases__[0]


def check_train_options(recipe: Path, options: Mapping[str, str]) -> None:
    """Refuse options that ``locationnet train`` would refuse.

    Raises
    ------
    InputError
        There is no such option, or its value is not valid; the message names the recipe.
    """
    from typer.main import get_command

    from locationnet.aws.train_options import as_words
    from locationnet.cli.train import train
    from locationnet.errors import InputError

    app = typer.Typer()
    app.command()(train)
    try:
        get_command(app).make_context("train", ["PACK", "--val", "PACK", *as_words(options)])
    except _UsageError as error:
        raise InputError(f"{recipe}: [train] {error.format_message()}") from error
