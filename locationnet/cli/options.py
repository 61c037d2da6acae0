"""Options that several verbs share, and those of ``train`` that a recipe gives in its place."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from locationnet.retrieval.kinds import Mode

if TYPE_CHECKING:
    from locationnet.model.region import Region

Threads = Annotated[
    int | None,
    typer.Option(min=1, help="Photos worked on at a time.", show_default="all processors"),
]

RetrievalIndex = Annotated[
    Path | None,
    typer.Option(
        "--retrieval", metavar="INDEX", help="Similar photos of this index take part in answers."
    ),
]
RetrievalMode = Annotated[
    Mode, typer.Option(help="Whether the model answers too, or the similar photos alone.")
]


class Reduced(StrEnum):
    """Precisions that a bundle can offer beside float32."""

    bf16 = "bf16"
    int8 = "int8"


Reducing = Annotated[
    list[Reduced] | None,
    typer.Option(help="Also measure a reduced precision; repeat for several."),
]

Countries = Annotated[
    str | None,
    typer.Option(metavar="CODES", help="The photos are from one of these: IT or IT,FR,CH."),
]
Near = Annotated[
    str | None,
    typer.Option(metavar="LAT,LNG,KM", help="They are from this circle."),
]
Bbox = Annotated[
    str | None,
    typer.Option(metavar="W,S,E,N", help="They are from this box, in degrees."),
]

# typer has no name of its own for what all wrong usage is.
_UsageError: Any = typer.BadParameter.__bases__[0]


def region_of(countries: str | None, near: str | None, bbox: str | None) -> Region:
    """Return the region that the options name; what is not given sets no bound.

    Raises
    ------
    typer.BadParameter
        An option's value is not valid.
    """
    from locationnet.model.region import Region

    codes = tuple(code.strip() for code in countries.split(",")) if countries else ()
    try:
        return Region(codes, _numbers("--bbox", bbox, 4), _numbers("--near", near, 3))
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def _numbers(option: str, text: str | None, count: int) -> Any:
    if text is None:
        return None
    try:
        numbers = tuple(float(part) for part in text.split(","))
    except ValueError:
        numbers = ()
    if len(numbers) != count:
        raise typer.BadParameter(f"{option} {text}: expected {count} numbers with commas between")
    return numbers


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
