"""``locationnet import``: networks that others trained, to bundles."""

from __future__ import annotations

import typer

from locationnet.cli import geoclip, locationnet_2017

app = typer.Typer(
    help="Turn a network that others trained into a bundle.\n\nExample: locationnet import geoclip",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.command("geoclip")(geoclip.geoclip)
app.command("locationnet-2017")(locationnet_2017.locationnet_2017)
