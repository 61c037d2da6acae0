"""The service's settings, each readable from an environment variable ``LOCATIONNET_…``.

Knows nothing of the application that they configure.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Set
from pathlib import Path
from typing import Annotated, Any, Literal

from limits import parse as parse_rate
from pydantic import AfterValidator, Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from locationnet.errors import InputError
from locationnet.model.prediction import MAX_COARSE_KM
from locationnet.model.region import Region
from locationnet.net.fetch import FetchPolicy
from locationnet.net.urls import exempt_pair, host_rule, tile_template
from locationnet.processors import processors
from locationnet.retrieval.kinds import Mode
from locationnet.server.request_options import region

PREFIX = "LOCATIONNET_"
# Where containers find what must not stand in their environment: a file for each setting.
SECRETS = Path("/run/secrets")
# Where Amazon SageMaker unpacks the model of an endpoint.
SAGEMAKER_MODEL = Path("/opt/ml/model")
MAX_BATCH_PHOTOS = 32
_SHORTEST_KEY = 16
_MIB = 1024 * 1024
# NoDecode: lists are written a.example,b.example and not as JSON.
_Texts = Annotated[tuple[str, ...], NoDecode]
_Numbers = Annotated[tuple[float, ...], NoDecode]


class Settings(BaseSettings):
    """What an operator can choose; an argument wins over the environment.

    Build it with `read_settings`, which reports a bad value in one line.
    """

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True)

    # The model.
    model: str = Field(default="demo", description="A bundle's name or directory.")
    precision: Literal["auto", "f32", "bf16", "int8"] = Field(
        default="auto",
        description="Of the network; auto takes the first that the bundle allows and the machine "
        "can run.",
    )

    retrieval: Path | None = Field(
        default=None,
        description="An index of photos with known places, which take part in answers; see "
        "`locationnet index`.",
    )
    retrieval_mode: Mode = Field(
        default=Mode.combined,
        description="combined: the model and the similar photos answer; search: these alone.",
    )

    # Where to listen, and for whom.
    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: int = Field(
        default=8080, ge=0, le=65535, description="Port to listen on; 0 takes a free one."
    )
    insecure: bool = Field(
        default=False,
        description="Allow an address that other machines reach although no API key is asked for.",
    )
    sagemaker: bool = Field(
        default=False,
        description="Answer GET /ping and POST /invocations only, on every address, without a key: "
        "Amazon SageMaker asks who is there.",
    )
    api_keys: _Texts = Field(
        default=(),
        repr=False,
        description="Keys of which a request must bring one as X-API-Key or Bearer token, by "
        "commas: 16 characters or more each, or sha256: and the hexadecimal hash of one.",
    )
    server_names: _Texts = Field(
        default=(),
        description="Names that requests may call this server by (their Host); by default any, "
        "and on loopback only loopback's names.",
    )
    trusted_proxies: _Texts = Field(
        default=(),
        description="Addresses of proxies whose X-Forwarded-For is believed, for the rate limit.",
    )
    rate_limit: str = Field(
        default="",
        description="Most photos by one key, or address where there are no keys, in each process: "
        "60/minute, 1000/day.",
    )
    cors_origins: _Texts = Field(
        default=(), description="Origins whose pages may call this server: https://app.example."
    )

    # How much at a time.
    workers: int = Field(
        default=1, ge=1, description="Processes; each loads the model and shares nothing."
    )
    threads: int = Field(
        default_factory=processors,
        ge=1,
        description="Threads of one process: they decode photos, run the network, write answers.",
    )
    queue: int = Field(
        default=64,
        ge=1,
        description="Photos that one process deals with; beyond them, 503. Fewer where the model "
        "takes so long that the last would miss the deadline.",
    )
    max_batch: int = Field(
        default=8,
        ge=1,
        le=64,
        description="Photos that go through the network together, where that is faster.",
    )
    batch_wait_ms: float = Field(
        default=5.0,
        ge=0,
        le=1000,
        description="How long a photo waits for others to go with, milliseconds.",
    )
    request_timeout_s: float = Field(
        default=30.0,
        gt=0,
        allow_inf_nan=False,
        description="Deadline of a request, from its first byte to its answer, seconds.",
    )
    max_upload_bytes: int = Field(
        default=20 * _MIB,
        ge=1,
        description="Largest photo that is read, sent or fetched, bytes.",
    )
    max_held_bytes: int = Field(
        default=256 * _MIB,
        ge=1,
        description="Bytes of photos that one process holds before they are decoded; beyond, 503.",
    )
    cache_bytes: int = Field(
        default=0,
        ge=0,
        description="Room for answers to photos seen before, found by content, in memory; 0: none.",
    )

    # Photos by URL.
    fetch_urls: bool = Field(default=True, description="Whether photos are fetched from URLs.")
    fetch_timeout_s: float = Field(
        default=10.0, gt=0, allow_inf_nan=False, description="Deadline for fetching a URL, seconds."
    )
    allowed_hosts: _Texts = Field(
        default=(), description="If any, the only hosts fetched from: host or .suffix, by commas."
    )
    denied_hosts: _Texts = Field(default=(), description="Hosts never fetched from, in that form.")
    exempt_hosts: _Texts = Field(
        default=(),
        description="host:port pairs fetched from although their address or port is private.",
    )

    # What is answered.
    min_radius_km: float = Field(
        default=0.0,
        ge=0,
        le=MAX_COARSE_KM,
        description="No answer is finer than cells of this width, kilometres; 0 sets no bound.",
    )
    abstain_below_bits: float | None = Field(
        default=None,
        ge=0,
        allow_inf_nan=False,
        description="Answers with less information abstain; by default what the bundle says.",
    )
    countries: _Texts = Field(
        default=(), description="All photos are from these countries: ISO codes, by commas."
    )
    bbox: _Numbers = Field(
        default=(), description="All photos are from this box: west,south,east,north in degrees."
    )
    near: _Numbers = Field(
        default=(), description="All photos are from this circle: latitude,longitude,kilometres."
    )

    # What is shown and said.
    tile_url: Annotated[str, AfterValidator(tile_template)] = Field(
        default="",
        description="Tiles of the map page, https://host/{z}/{x}/{y}.png; that host learns where "
        "the page's users look.",
    )
    tile_attribution: str = Field(
        default="", description="What the map page says of the tiles' origin, plain text."
    )
    log_urls: bool = Field(
        default=False, description="Log the URLs that photos are fetched from; they may be private."
    )

    @field_validator(
        "allowed_hosts", "denied_hosts", "exempt_hosts", "api_keys", "server_names",
        "trusted_proxies", "cors_origins", "countries", "bbox", "near", mode="before",
    )  # fmt: skip
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

    @field_validator("api_keys")
    @classmethod
    def _hash_keys(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(_hashed(key) for key in value)

    @field_validator("server_names")
    @classmethod
    def _lower(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if not re.fullmatch(r"[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]", name):
                raise ValueError("a server's name is host or [IPv6 address], without a port")
        return tuple(name.lower() for name in value)

    @field_validator("cors_origins")
    @classmethod
    def _check_origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for origin in value:
            if not re.fullmatch(r"https?://[A-Za-z0-9.:\[\]-]+", origin):
                raise ValueError("an origin is https://host or https://host:port, without a path")
        return value

    @field_validator("rate_limit")
    @classmethod
    def _check_rate(cls, value: str) -> str:
        if value:
            try:
                parse_rate(value)
            except ValueError:
                raise ValueError("a rate is a number and a unit, such as 60/minute") from None
        return value

    @field_validator("countries")
    @classmethod
    def _check_countries(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return region(list(value), None, None).countries

    @field_validator("bbox", "near")
    @classmethod
    def _check_numbers(cls, value: tuple[float, ...], field: Any) -> tuple[float, ...]:
        count = 4 if field.field_name == "bbox" else 3
        if value and len(value) != count:
            raise ValueError(f"expected {count} numbers")
        box, circle = (list(value), None) if count == 4 else (None, list(value))
        region(None, box, circle)
        return value

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

    @property
    def region(self) -> Region:
        """Where all photos are from."""
        return region(list(self.countries), list(self.bbox), list(self.near))

    def described(self) -> dict[str, Any]:
        """Return all settings as plain values for the log; of the keys only how many there are."""
        return {**self.model_dump(mode="json"), "api_keys": len(self.api_keys)}


def _hashed(key: str) -> str:
    """Return ``sha256:`` and the hash of a key, also where the hash is what was given."""
    if key.startswith("sha256:"):
        if not re.fullmatch(r"sha256:[0-9a-f]{64}", key):
            raise ValueError("after sha256: come 64 hexadecimal digits, in lower case")
        return key
    if len(key) < _SHORTEST_KEY:
        raise ValueError(f"a key has at least {_SHORTEST_KEY} characters")
    if not re.fullmatch(r"[!-~]+", key):
        raise ValueError("a key is ASCII letters, digits and signs, without spaces")
    return "sha256:" + hashlib.sha256(key.encode()).hexdigest()


def read_settings(**chosen: Any) -> Settings:
    """Return the settings from arguments, the environment and the container's secrets.

    A file ``/run/secrets/locationnet_api_keys`` holds what its variable would. For Amazon
    SageMaker, a model and a port that nobody chose are those that it prepared: ``/opt/ml/model``
    where there is one, and ``SAGEMAKER_BIND_TO_PORT``.

    Raises
    ------
    InputError
        A value cannot be used; the message names its variable and never holds a key.
    """
    if SECRETS.is_dir():
        chosen["_secrets_dir"] = SECRETS
    try:
        settings = Settings(**chosen)
        if settings.sagemaker:
            settings = Settings(**chosen, **_prepared(settings.model_fields_set))
        return settings
    except ValidationError as error:
        first = error.errors()[0]
        name = f"{PREFIX}{first['loc'][0]}".upper()
        reason = first.get("ctx", {}).get("error", first["msg"])
        raise InputError(f"{name}: {reason}") from None


def _prepared(known: Set[str]) -> dict[str, Any]:
    """Return what Amazon SageMaker has prepared, but for what is known already."""
    prepared: dict[str, Any] = {}
    if SAGEMAKER_MODEL.is_dir():
        prepared["model"] = str(SAGEMAKER_MODEL)
    if port := os.environ.get("SAGEMAKER_BIND_TO_PORT"):
        prepared["port"] = port
    return {name: value for name, value in prepared.items() if name not in known}
