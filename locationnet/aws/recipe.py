"""Recipes: TOML files that say what to train, on what, and where it goes.

Knows what may stand in a recipe; nothing of how it is carried out.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from locationnet.aws.instance_types import Machine, find_machine
from locationnet.aws.job import shutdown_minutes
from locationnet.aws.train_options import Value, as_strings
from locationnet.aws.transfer import Location
from locationnet.errors import InputError, LocationNetError


def _checked(text: str, read: Any) -> str:
    # pydantic reports a ValueError under the key's name.
    try:
        read(text)
    except LocationNetError as error:
        raise ValueError(str(error)) from error
    return text


_Place = Annotated[str, AfterValidator(lambda text: _checked(text, Location.parse))]
_Type = Annotated[str, AfterValidator(lambda text: _checked(text, find_machine))]
_Hours = Annotated[float, Field(gt=0, le=24 * 28)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Data(_Table):
    """Where packs lie in S3: ``train``, ``val`` and a folder with the file of ``init``."""

    train: _Place
    val: _Place
    init: _Place | None = None


class _Recipe(_Table):
    """What recipes for EC2 and for SageMaker share."""

    # A name of everything that is made; as strict as the strictest of them.
    name: str = Field(pattern=r"^[a-z][a-z0-9-]{0,30}[a-z0-9]$")
    region: str = Field(pattern=r"^[a-z]{2}(-[a-z]+)+-\d$")
    out: _Place
    data: Data
    train: dict[str, Value] = Field(default_factory=dict)

    @property
    def prefix(self) -> Location:
        """Where everything of the run lies in S3."""
        return Location.parse(self.out)

    @model_validator(mode="after")
    def _check_init(self) -> _Recipe:
        named = as_strings({name: value for name, value in self.train.items() if name == "init"})
        if bool(named) != (self.data.init is not None):
            raise ValueError(
                "[data] init (a folder in S3) and [train] init (a file in it) belong together"
            )
        return self

    def options(self, machine: Machine) -> dict[str, str]:
        """Return the options of ``train``: the recipe's, and all GPUs unless it says otherwise."""
        given = as_strings(self.train)
        devices = {} if {"gpus", "devices"} & set(given) else machine.default_options
        return {**devices, **given}


class MachineTable(_Table):
    """``[machine]`` of a recipe for EC2."""

    type: _Type
    count: int = Field(default=1, ge=1, le=16)
    ami: str = Field(pattern=r"^(ami-[0-9a-f]+|/.+)$")
    instance_profile: str = Field(min_length=1)
    spot: bool = False
    max_price: float | None = Field(default=None, gt=0)
    max_hours: _Hours
    checkpoint_minutes: float = Field(default=10, gt=0)
    disk_gb: int = Field(default=200, ge=20, le=16_000)
    subnet: str | None = Field(default=None, pattern=r"^subnet-[0-9a-f]+$")
    security_group: str | None = Field(default=None, pattern=r"^sg-[0-9a-f]+$")
    tags: dict[str, str] = Field(default_factory=dict)
    price_per_hour: float | None = Field(default=None, gt=0)

    @property
    def paid_hours(self) -> float:
        """How long a machine costs at most."""
        return shutdown_minutes(self.max_hours) / 60

    @model_validator(mode="after")
    def _check(self) -> MachineTable:
        if self.type.startswith("ml."):
            raise ValueError("types of machines that begin with ml. are SageMaker's: leave it out")
        if self.max_price is not None and not self.spot:
            raise ValueError("max_price is a limit for spot machines: add spot = true")
        if any(name.startswith(("aws:", "locationnet:")) for name in self.tags):
            raise ValueError("tags that begin with aws: or locationnet: are not yours to give")
        return self


class EC2Recipe(_Recipe):
    """A recipe for ``locationnet ec2``."""

    machine: MachineTable


class Training(_Table):
    """``[training]`` of a recipe for SageMaker."""

    type: _Type
    count: int = Field(default=1, ge=1, le=16)
    disk_gb: int = Field(default=200, ge=20, le=16_000)
    max_hours: _Hours
    spot: bool = False
    max_wait_hours: _Hours | None = None
    price_per_hour: float | None = Field(default=None, gt=0)

    @property
    def paid_hours(self) -> float:
        """How long a machine costs at most."""
        return self.max_hours

    @model_validator(mode="after")
    def _check(self) -> Training:
        if not self.type.startswith("ml."):
            raise ValueError("SageMaker's types of machines begin with ml.")
        if self.max_wait_hours is not None and not self.spot:
            raise ValueError("max_wait_hours is for spot machines: add spot = true")
        if self.max_wait_hours is not None and self.max_wait_hours < self.max_hours:
            raise ValueError("max_wait_hours includes the training: at least max_hours")
        return self


class Endpoint(_Table):
    """``[endpoint]``: machines that wait for requests, or none until one comes."""

    type: str | None = Field(default=None, pattern=r"^ml\.[a-z0-9-]+\.[a-z0-9-]+$")
    count: int = Field(default=1, ge=1)
    serverless_memory_mb: int | None = Field(default=None, ge=1024, le=6144, multiple_of=1024)
    serverless_concurrency: int = Field(default=5, ge=1, le=200)

    @model_validator(mode="after")
    def _check(self) -> Endpoint:
        if (self.type is None) == (self.serverless_memory_mb is None):
            raise ValueError("give type for machines, or serverless_memory_mb for none")
        return self


class SageMakerRecipe(_Recipe):
    """A recipe for ``locationnet sagemaker``."""

    image: str = Field(pattern=r"^\S+/\S+$")
    role: str = Field(pattern=r"^arn:aws[a-z-]*:iam::\d{12}:role/\S+$")
    training: Training
    endpoint: Endpoint | None = None


def cost(machines: MachineTable | Training, price: float | None = None) -> str:
    """Return in one line what machines cost at most, at the price that the user has given."""
    price = price if price is not None else machines.price_per_hour
    if price is None:
        return "price: not given (price_per_hour in the recipe)"
    hourly, hours = price * machines.count, machines.paid_hours
    return (
        f"price, as given: {hourly:,.2f} an hour for {machines.count} x {machines.type}, at most"
        f" {hourly * hours:,.2f} in {hours:.4g} hours; disks, requests and traffic not counted"
    )


_Kind = TypeVar("_Kind", EC2Recipe, SageMakerRecipe)


def read_recipe(path: Path, kind: type[_Kind]) -> _Kind:
    """Read a recipe.

    Raises
    ------
    InputError
        It cannot be read, or a key is missing, unknown or wrong; the message names it.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({error})") from error
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        first = min(error.errors(), key=_order)
        raise InputError(f"{path}: {_sentence(first)}") from error


def _order(problem: Any) -> tuple[bool, bool]:
    """Rank a key too many first, often the missing one misspelt; then a machine that cannot be."""
    return problem["type"] != "extra_forbidden", problem["loc"][-1:] != ("type",)


def _sentence(problem: Any) -> str:
    keys = [str(part) for part in problem["loc"]]
    *tables, key = keys or [""]
    where = f"[{tables[0]}] {key}" if tables else key
    if problem["type"] == "extra_forbidden":
        return f"{where}: there is no such key"
    if problem["type"] == "missing":
        return f"{where}: is missing"
    reason = re.sub(r"^Value error, ", "", problem["msg"])
    if problem["type"] == "value_error" and isinstance(problem["input"], dict | BaseModel):
        where = f"[{key}]" if key else ""
    return f"{where}: {reason}" if where else reason
