"""Asks a service on this machine whether its model answers.

Knows the service's address from its settings; runs in a process of its own.
"""

from __future__ import annotations

from http.client import HTTPConnection, HTTPException
from ipaddress import ip_address

from locationnet.errors import LocationNetError
from locationnet.server.settings import Settings

_TIMEOUT_S = 5


def ask(settings: Settings) -> None:
    """Return if the model answers.

    Parameters
    ----------
    settings
        Those of the service.

    Raises
    ------
    LocationNetError
        It does not, or nothing listens there.
    """
    host, port = _reachable(settings.host), settings.port
    # The one path that is there in every mode and asks for no key.
    headers = {"Host": settings.server_names[0]} if settings.server_names else {}
    connection = HTTPConnection(host, port, timeout=_TIMEOUT_S)
    try:
        connection.request("GET", "/ping", headers=headers)
        status = connection.getresponse().status
    except (OSError, HTTPException) as error:
        raise LocationNetError(f"no answer from {host}, port {port}: {error}") from error
    finally:
        connection.close()
    if status != 200:
        raise LocationNetError(f"{host}, port {port} answers with status {status}")


def _reachable(host: str) -> str:
    """Return an address at which a server that listens on ``host`` is reached from here."""
    try:
        address = ip_address(host)
    except ValueError:
        return host or "127.0.0.1"
    if not address.is_unspecified:
        return host
    return "127.0.0.1" if address.version == 4 else "::1"
