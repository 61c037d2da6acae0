"""``locationnet import``: networks that others trained, to bundles."""

from __future__ import annotations

import typer

from locationnet.cli import locationnet_2017

app = typer.Typer(
    help="Turn a network that others trained into a bundle.\n\n"
    "Example: locationnet import locationnet-2017 RN101-5k500-0012.params --grid grids-2017.txt",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.command("locationnet-2017")(locationnet_2017.locationnet_2017)
