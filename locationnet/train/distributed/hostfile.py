"""Which machines train together, as a hosts file, SageMaker or EC2 says.

Knows hosts files, SageMaker's ``resourceconfig.json`` and the variables of MXNet's own launchers;
starts nothing.
"""

from __future__ import annotations

import ipaddress
import json
import os
import re
import socket
from dataclasses import dataclass
from pathlib import Path

from locationnet.errors import InputError, LocationNetError

SAGEMAKER = Path("/opt/ml/input/config/resourceconfig.json")
# Launchers talk here; the parameter server gets the next free ports.
PORT = 9090


@dataclass(frozen=True)
class Node:
    """A machine and how many workers it runs."""

    host: str
    workers: int = 1


@dataclass(frozen=True)
class Layout:
    """The machines that train together.

    Parameters
    ----------
    nodes
        All of them; the first one leads.
    here
        Which of them this machine is.
    by_ssh
        Whether the first one starts the others through ssh; else each must be started by itself.
    """

    nodes: tuple[Node, ...]
    here: int = 0
    by_ssh: bool = True

    @property
    def workers(self) -> int:
        """How many workers there are on all machines."""
        return sum(node.workers for node in self.nodes)


def find_layout(hosts: Path | None, sagemaker: Path = SAGEMAKER) -> Layout | None:
    """Return the machines that this process is to launch workers on, or None for none but itself.

    A process that was started with ``DMLC_ROLE`` is a worker that somebody else has launched.
    A hosts file that ends in ``.json`` is one such as SageMaker writes: each machine must
    be started by itself.

    Raises
    ------
    InputError
        The file cannot be read or breaks its format; the message names the line.
    """
    if "DMLC_ROLE" in os.environ:
        if hosts is not None:
            raise InputError("DMLC_ROLE is set, so the workers are launched already: drop --hosts")
        return None
    if hosts is not None and hosts.suffix == ".json":
        return _read_sagemaker(hosts)
    if hosts is not None:
        return Layout(_read_hosts(hosts))
    if sagemaker.is_file():
        return _read_sagemaker(sagemaker)
    return None


def is_here(host: str) -> bool:
    """Whether a name or an address is this machine's."""
    if host in ("localhost", socket.gethostname()) or host.startswith("127."):
        return True
    try:
        found = {entry[4][0] for entry in socket.getaddrinfo(host, None)}
    except OSError:
        return False
    return any(_is_own(str(address)) for address in found)


def is_address(host: str) -> bool:
    """Whether a host is named by an IP address, after which it can only be bound as it is."""
    try:
        ipaddress.ip_address(host.rpartition("@")[2])
    except ValueError:
        return False
    return True


def address_of(host: str) -> str:
    """Return the IPv4 address of a host, which may be written ``user@host``.

    Raises
    ------
    LocationNetError
        It has none.
    """
    try:
        return str(socket.getaddrinfo(host.rpartition("@")[2], None, socket.AF_INET)[0][4][0])
    except OSError as error:
        raise LocationNetError(f"{host}: has no address ({error.strerror})") from error


def _is_own(address: str) -> bool:
    """Whether a socket can be bound to the address, which only its owner can do."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True


def _read_hosts(path: Path) -> tuple[Node, ...]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({error})") from error
    nodes: list[Node] = []
    for number, line in enumerate(lines, 1):
        text = line.partition("#")[0].strip()
        if not text:
            continue
        match = re.fullmatch(r"(?!-)([\w.:@-]+)(?:\s+([1-9]\d?))?", text)
        if match is None:
            raise InputError(f"{path}:{number}: expected a host and its number of workers")
        nodes.append(Node(match[1], int(match[2] or 1)))
    if not nodes:
        raise InputError(f"{path}: names no hosts")
    names = [node.host for node in nodes]
    if len(set(names)) != len(names):
        raise InputError(f"{path}: names a host twice; write its number of workers behind it")
    if not is_here(nodes[0].host):
        raise InputError(f"{path}: start on its first host, {nodes[0].host}; this is another one")
    return tuple(nodes)


def _read_sagemaker(path: Path) -> Layout | None:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        names, here = list(config["hosts"]), config["current_host"]
        nodes = tuple(Node(str(name)) for name in sorted(names))
        index = sorted(names).index(here)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: not a valid description of hosts ({error})") from error
    return Layout(nodes, index, by_ssh=False) if len(nodes) > 1 else None
