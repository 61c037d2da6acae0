"""Keeps a Python process, and all that it starts, from reaching beyond this machine.

Python imports this by its name where the folder is on ``PYTHONPATH``. Whatever is asked of another
machine fails, and is written to the file that ``NETWORK_LOG`` names, so that nothing can swallow
it. Warnings about our own code, or about code in a notebook, are errors.
"""

from __future__ import annotations

import ipaddress
import os
import sys
import warnings
from pathlib import Path
from typing import Any

_LOG = Path(os.environ["NETWORK_LOG"])
# The index of the address among the arguments of each event that the socket module audits.
_EVENTS = {
    "socket.connect": 1,
    "socket.sendto": 1,
    "socket.sendmsg": 1,
    "socket.getaddrinfo": 0,
    "socket.getnameinfo": 0,
    "socket.gethostbyname": 0,
    "socket.gethostbyaddr": 0,
}


def _guard(event: str, arguments: tuple[Any, ...]) -> None:
    index = _EVENTS.get(event)
    if index is None:
        return
    address = arguments[index]
    host = address[0] if isinstance(address, tuple) else address
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg") and host is address:
        return  # a path of this machine, or the address that is connected already
    if not _is_here(host):
        with _LOG.open("a", encoding="utf-8") as log:
            log.write(f"{event} {host}\n")
        raise PermissionError(f"tests stay on this machine: {event} {host}")


def _is_here(host: object) -> bool:
    name = host.decode() if isinstance(host, bytes) else str(host or "localhost")
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"


sys.addaudithook(_guard)
warnings.filterwarnings("error", module="(locationnet|synthetic_world|__main__)")
