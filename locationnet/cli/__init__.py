"""The command line: each verb's module parses, calls and prints; this one assembles them.

Nothing heavy is imported before a verb runs, so that ``--help`` and ``--version`` answer at once.
"""

from __future__ import annotations

import sys
import warnings
from typing import Annotated, Any

import typer

from locationnet import __version__
from locationnet.cli import (
    calibrate,
    classify,
    download,
    ec2,
    evaluate,
    export,
    health,
    importing,
    index,
    labels,
    library,
    locate,
    metadata,
    models,
    pack,
    partition,
    sagemaker,
    serve,
    split,
    train,
)
from locationnet.cli.terminal import begin_output, end_output, say_error
from locationnet.errors import LocationNetError

app = typer.Typer(
    name="locationnet",
    help="Find where on Earth a photo was probably taken.",
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"locationnet {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[  # noqa: ARG001  # its callback has ended the process by then
        bool,
        typer.Option(
            "--version", help="Print the version and stop.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Find where on Earth a photo was probably taken."""
    begin_output()


# The service's settings are its options, and say themselves how they are written.
_SETTINGS_AS_OPTIONS: Any = {
    "add_help_option": False,
    "context_settings": {"allow_extra_args": True, "ignore_unknown_options": True},
}

app.command("calibrate")(calibrate.calibrate)
app.command("classify")(classify.classify)
app.command("download")(download.download)
app.add_typer(ec2.app, name="ec2")
app.command("evaluate")(evaluate.evaluate)
app.command("export")(export.export)
app.command("health", **_SETTINGS_AS_OPTIONS)(health.health)
app.add_typer(importing.app, name="import")
app.command("index")(index.index)
app.command("labels")(labels.labels)
app.add_typer(library.app, name="library")
app.command("locate")(locate.locate)
app.command("metadata")(metadata.metadata)
app.command("models")(models.models)
app.command("pack")(pack.pack)
app.command("partition")(partition.partition)
app.add_typer(sagemaker.app, name="sagemaker")
app.command("serve", **_SETTINGS_AS_OPTIONS)(serve.serve)
app.command("split")(split.split)
app.command("train")(train.train)


def main() -> None:
    """Run the command line; exit code 2 for wrong usage, 1 for a failure, 0 otherwise."""
    # Pillow remarks on broken metadata, with paths of the installation; nobody can act on it.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    try:
        try:
            app()
        finally:
            end_output()
    except LocationNetError as error:
        say_error(str(error))
        sys.exit(1)
    except UnicodeEncodeError as error:
        # Arrow, for one, takes no path that is not UTF-8.
        say_error(f"{error.object}: holds characters that are not UTF-8")
        sys.exit(1)
    except (OSError, UnicodeError) as error:
        say_error(str(error))
        sys.exit(1)
    except KeyboardInterrupt:
        typer.echo("interrupted", err=True)
        sys.exit(130)
