"""``locationnet serve``: the HTTP service."""

from __future__ import annotations

import os
from ipaddress import ip_address
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from fastapi import FastAPI


def serve(
    host: Annotated[
        str, typer.Option(envvar="LOCATIONNET_HOST", help="Address to listen on.")
    ] = "127.0.0.1",
    port: Annotated[
        int,
        typer.Option(min=0, max=65535, envvar="LOCATIONNET_PORT", help="Port; 0 takes a free one."),
    ] = 8080,
    workers: Annotated[
        int,
        typer.Option(
            min=1, envvar="LOCATIONNET_WORKERS", help="Processes; each loads the model once."
        ),
    ] = 1,
    model: Annotated[
        str,
        typer.Option(
            envvar="LOCATIONNET_MODEL",
            help="A bundle's name or directory (see `locationnet models`).",
        ),
    ] = "demo",
    insecure: Annotated[
        bool,
        typer.Option(
            "--insecure", help="Allow an address that other machines reach; nobody is asked who."
        ),
    ] = False,
) -> None:
    """Answer POST /locate over HTTP until interrupted.

    Example: locationnet serve --port 8080, then
    curl -F file=@photo.jpg http://127.0.0.1:8080/locate

    Further settings are environment variables LOCATIONNET_...; see the documentation.
    """
    if not insecure and not _is_loopback(host):
        raise typer.BadParameter(
            f"{host} can be reached from other machines, and this service asks nobody who they "
            "are; put a proxy that does in front of 127.0.0.1, or give --insecure.",
            param_hint="--host",
        )
    import uvicorn

    from locationnet.model.bundle import Bundle
    from locationnet.model.locator import load_model
    from locationnet.server.app import create_app
    from locationnet.server.settings import read_settings

    settings = read_settings(host=host, port=port, workers=workers, model=model)
    typer.echo(f"serving {model} on http://{host}:{port or '(a free port)'}", err=True)
    app: FastAPI | str
    if workers == 1:
        app = create_app(settings, load_model(model))
    else:
        # Workers that cannot start are started again and again: look for the reason here.
        Bundle.open(model).verify()
        os.environ["LOCATIONNET_MODEL"] = model
        app = "locationnet.server.app:app_from_environment"
    uvicorn.run(
        app,
        factory=workers > 1,
        workers=workers,
        host=host,
        port=port,
        access_log=False,  # it would hold every query
        server_header=False,
        proxy_headers=False,
        ws="none",
        lifespan="on",
    )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
