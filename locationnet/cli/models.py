"""``locationnet models``: list, show and verify bundles."""

from __future__ import annotations

from typing import Annotated

import typer

from locationnet.cli.terminal import data_output, json_text, say


def models(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[MODEL]...", help="Bundles to show, by name or directory; none lists all."
        ),
    ] = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Check every file, and run the network once.")
    ] = False,
) -> None:
    """List the bundles that ship with the package, or show or verify some.

    Example: locationnet models demo --verify
    """
    from locationnet.model.bundle import Bundle, available_models

    if verify:
        from locationnet.model.classifier import load_classifier
        from locationnet.model.locator import load_model

        for name in names or available_models():
            load = load_classifier if Bundle.open(name).has_labels else load_model
            manifest = load(name, verify=True).bundle.manifest
            say(f"{name}: {manifest.name} {manifest.version} is whole")
    elif names:
        for name in names:
            manifest = Bundle.open(name).manifest
            file = data_output()
            file.write(json_text(manifest.model_dump(mode="json"), file, indent=1) + "\n")
    else:
        for name in available_models():
            manifest = Bundle.open(name).manifest
            say(f"{name}  {manifest.version}  {manifest.description}")
