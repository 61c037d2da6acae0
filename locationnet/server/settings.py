"""The service's settings, each readable from an environment variable ``LOCATIONNET_…``.

Knows nothing of the application that they configure.
"""

from __future__ import annotations

import os
from typing import Annotated, Any

from pydantic import AfterValidator, Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from locationnet.errors import InputError
from locationnet.remote import FetchPolicy
from locationnet.urls import exempt_pair, host_rule, tile_template

_PREFIX = "LOCATIONNET_"
# NoDecode: lists are written a.example,b.example and not as JSON.
_Hosts = Annotated[tuple[str, ...], NoDecode]


def _cores() -> int:
    return len(os.sched_getaffinity(0))


class Settings(BaseSettings):
    """What an operator can choose; an argument wins over the environment.

    Build it with `read_settings`, which reports a bad value in one line.
    """

    model_config = SettingsConfigDict(env_prefix=_PREFIX, frozen=True)

    model: str = Field(default="demo", description="A bundle's name or directory.")
    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: int = Field(
        default=8080, ge=0, le=65535, description="Port to listen on; 0 takes a free one."
    )
    workers: int = Field(default=1, ge=1, description="Processes; each loads the model once.")
    threads: int = Field(
        default_factory=_cores,
        ge=1,
        description="Photos that one process decodes and locates at a time.",
    )
    max_upload_bytes: int = Field(
        default=20 * 1024 * 1024,
        ge=1,
        description="Largest photo that is read, sent or fetched, bytes.",
    )
    fetch_timeout_s: float = Field(
        default=10.0, gt=0, allow_inf_nan=False, description="Deadline for fetching a URL, seconds."
    )
    allowed_hosts: _Hosts = Field(
        default=(), description="If any, the only hosts fetched from: host or .suffix, by commas."
    )
    denied_hosts: _Hosts = Field(default=(), description="Hosts never fetched from, written alike.")
    exempt_hosts: _Hosts = Field(
        default=(),
        description="host:port pairs fetched from although their address or port is private.",
    )
    tile_url: Annotated[str, AfterValidator(tile_template)] = Field(
        default="",
        description="Tiles of the map page, https://host/{z}/{x}/{y}.png; that host learns where "
        "the page's users look.",
    )
    tile_attribution: str = Field(
        default="", description="What the map page says of the tiles' origin, plain text."
    )

    @field_validator("allowed_hosts", "denied_hosts", "exempt_hosts", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("allowed_hosts", "denied_hosts")
    @classmethod
    def _check_rules(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(host_rule(rule) for rule in value)

    @field_validator("exempt_hosts")
    @classmethod
    def _check_pairs(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(exempt_pair(pair) for pair in value)

    @property
    def fetch_policy(self) -> FetchPolicy:
        """How photos named by a URL are fetched."""
        return FetchPolicy(
            timeout_s=self.fetch_timeout_s,
            max_bytes=self.max_upload_bytes,
            allowed_hosts=self.allowed_hosts,
            denied_hosts=self.denied_hosts,
            exempt=self.exempt_hosts,
        )


def read_settings(**chosen: Any) -> Settings:
    """Return the settings from arguments and the environment.

    Raises
    ------
    InputError
        A value cannot be used; the message names its variable.
    """
    try:
        return Settings(**chosen)
    except ValidationError as error:
        first = error.errors()[0]
        name = f"{_PREFIX}{first['loc'][0]}".upper()
        reason = first.get("ctx", {}).get("error", first["msg"])
        raise InputError(f"{name}: {reason}") from error
