"""``locationnet serve``: the HTTP service; its options are the service's settings."""

from __future__ import annotations

from argparse import ArgumentParser, RawDescriptionHelpFormatter

import typer

from locationnet.errors import InputError

_HELP = """\
Answer POST /locate over HTTP until interrupted, and show a map page at /.

Example: locationnet serve --port 8080, then
curl -F file=@photo.jpg http://127.0.0.1:8080/locate

Every option can be given as an environment variable too, --max-batch as LOCATIONNET_MAX_BATCH; give
API keys that way, because others on the machine can see a command line. Lists are written with
commas. SIGTERM lets what is in flight end; SIGHUP loads the bundle anew."""


def serve(context: typer.Context) -> None:
    """Answer POST /locate over HTTP until interrupted, and show a map page at /."""
    from pydantic_settings import CliSettingsSource

    from locationnet.server.run import check_address, run
    from locationnet.server.settings import Settings, read_settings

    parser = ArgumentParser(
        prog="locationnet serve",
        usage="%(prog)s [OPTIONS]",
        description=_HELP,
        formatter_class=RawDescriptionHelpFormatter,
    )
    given: CliSettingsSource[ArgumentParser] = CliSettingsSource(
        Settings,
        cli_parse_args=context.args,
        root_parser=parser,
        cli_kebab_case=True,
        cli_implicit_flags=True,
        cli_hide_none_type=True,
        cli_avoid_json=True,
    )
    try:
        settings = read_settings(_cli_settings_source=given)
        check_address(settings)
    except InputError as error:
        raise typer.BadParameter(str(error)) from error
    run(settings)
