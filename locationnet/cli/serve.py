"""``locationnet serve``: the HTTP service; its options are the service's settings."""

from __future__ import annotations

import os
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from typing import TYPE_CHECKING

import typer

from locationnet.errors import InputError

if TYPE_CHECKING:
    from locationnet.server.settings import Settings

_HELP = """\
Answer POST /locate over HTTP until interrupted, and show a map page at /.

Example: locationnet serve --port 8080, then
curl -F file=@photo.jpg http://127.0.0.1:8080/locate

Every option can be given as an environment variable too, --max-batch as LOCATIONNET_MAX_BATCH; give
API keys that way, because others on the machine can see a command line. Lists are written with
commas. SIGTERM lets what is in flight end; SIGHUP loads the bundle anew."""


def serve(context: typer.Context) -> None:
    """Answer POST /locate over HTTP until interrupted, and show a map page at /."""
    # Requests keep all cores busy; NumPy's threads, which spin, would take them from one another:
    # a fifth of the photos a second on two cores. It is read when NumPy is imported.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from locationnet.server.processes import check_address, run

    settings = settings_of(context.args, "locationnet serve", _HELP)
    try:
        check_address(settings)
    except InputError as error:
        raise typer.BadParameter(str(error)) from error
    run(settings)


def settings_of(arguments: list[str], program: str, description: str) -> Settings:
    """Return the service's settings as its command line and the environment say.

    Raises
    ------
    typer.BadParameter
        A value cannot be used.
    """
    from pydantic_settings import CliSettingsSource

    from locationnet.server.settings import Settings, read_settings

    parser = ArgumentParser(
        prog=program,
        usage="%(prog)s [OPTIONS]",
        description=description,
        formatter_class=RawDescriptionHelpFormatter,
    )
    given: CliSettingsSource[ArgumentParser] = CliSettingsSource(
        Settings,
        cli_parse_args=arguments,
        root_parser=parser,
        cli_kebab_case=True,
        cli_implicit_flags=True,
        cli_hide_none_type=True,
        cli_avoid_json=True,
    )
    try:
        return read_settings(_cli_settings_source=given)
    except InputError as error:
        raise typer.BadParameter(str(error)) from error
