"""Endpoints of SageMaker: a model, its configuration and what answers, made, asked and removed.

Knows the requests; what happens in the container is the service's business. All three carry the
recipe's name and the run's tag, and nothing without the tag is removed.
"""

from __future__ import annotations

import hashlib
import json
import tarfile
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from locationnet.aws.common import AWSError, clear_errors, client
from locationnet.aws.job import RUN_TAG
from locationnet.aws.recipe import SageMakerRecipe
from locationnet.aws.sagemaker import jobs
from locationnet.aws.transfer import upload
from locationnet.errors import InputError, LocationNetError
from locationnet.image_formats import MEDIA_TYPES, kind_of
from locationnet.model.bundle import Bundle

POLL_S = 10.0
# SageMaker refuses to remove an endpoint while it is at these.
_BUSY = ("Creating", "Updating", "SystemUpdating", "RollingBack")
# What the service reads to know that it runs in SageMaker.
ENVIRONMENT = {"LOCATIONNET_SAGEMAKER": "1"}


@dataclass(frozen=True)
class _Kind:
    """One of the three: as people say it, as boto3's calls are named, as its keys are."""

    name: str
    suffix: str
    key: str

    def describe(self, sagemaker: Any, name: str) -> Any:
        """Return what SageMaker knows, or None where there is none."""
        return self.call(sagemaker, "describe", name)

    def call(self, sagemaker: Any, verb: str, name: str) -> Any:
        """Make a call that takes a name; None where there is nothing of that name."""
        try:
            with clear_errors(f"{self.name} {name}"):
                return getattr(sagemaker, f"{verb}_{self.suffix}")(**{f"{self.key}Name": name})
        except AWSError as error:
            # SageMaker has no code of its own for it.
            if error.code.startswith("Validation") and "Could not find" in str(error):
                return None
            raise


_ENDPOINT = _Kind("endpoint", "endpoint", "Endpoint")
# In the order in which they can be removed.
_KINDS = (
    _ENDPOINT,
    _Kind("endpoint configuration", "endpoint_config", "EndpointConfig"),
    _Kind("model", "model", "Model"),
)


def upload_bundle(recipe: SageMakerRecipe, folder: Path) -> str:
    """Put a bundle where SageMaker fetches it from, and return its address.

    Raises
    ------
    LocationNetError
        It is not a bundle, or a file is damaged.
    AWSError
        S3 refused.
    """
    Bundle.open(folder).verify()
    with tempfile.TemporaryDirectory() as temporary:
        archive = Path(temporary) / "model.tar.gz"
        with tarfile.open(archive, "w:gz") as tar:
            for path in sorted(folder.iterdir()):
                tar.add(path, path.name)
        digest = hashlib.sha256((folder / "manifest.json").read_bytes()).hexdigest()
        target = recipe.prefix / "models" / digest[:16] / archive.name
        upload(client("s3", recipe.region), archive, target, lambda _: None)
    return str(target)


def deploy(recipe: SageMakerRecipe, model_data: str) -> Iterator[str]:
    """Make an endpoint and yield how it stands until it answers.

    Parameters
    ----------
    recipe
        Names the image and the machines, or memory where there are none.
    model_data
        A bundle's ``model.tar.gz`` in S3.

    Raises
    ------
    LocationNetError
        The recipe has no ``[endpoint]``, an endpoint of that name is there, or it did not come up;
        the message contains SageMaker's reason.
    AWSError
        SageMaker refused; what was made by then is removed by `delete`.
    """
    name, sagemaker = recipe.name, client("sagemaker", recipe.region)
    variant = _variant(recipe)
    if _ENDPOINT.describe(sagemaker, name) is not None:
        raise LocationNetError(
            f"{name}: there is an endpoint of that name; `locationnet sagemaker delete` removes it"
        )
    # What an earlier attempt left behind, an older model among it.
    yield from delete(recipe)
    with clear_errors(name):
        sagemaker.create_model(
            ModelName=name,
            ExecutionRoleArn=recipe.role,
            PrimaryContainer={
                "Image": recipe.image,
                "ModelDataUrl": model_data,
                "Environment": ENVIRONMENT,
            },
            Tags=jobs.tags(recipe),
        )
        yield f"made model {name} of {model_data}"
        sagemaker.create_endpoint_config(
            EndpointConfigName=name, ProductionVariants=[variant], Tags=jobs.tags(recipe)
        )
        yield f"made endpoint configuration {name}"
        sagemaker.create_endpoint(
            EndpointName=name, EndpointConfigName=name, Tags=jobs.tags(recipe)
        )
    yield from _until_in_service(sagemaker, name)


def invoke(recipe: SageMakerRecipe, photo: Path) -> dict[str, Any]:
    """Ask an endpoint where a photo was taken and return its answer, as ``POST /locate`` gives it.

    Raises
    ------
    InputError
        The photo cannot be read.
    AWSError
        There is no such endpoint, or it refused the photo.
    """
    try:
        body = photo.read_bytes()
    except OSError as error:
        raise InputError(f"{photo}: cannot be read ({error.strerror})") from error
    runtime = client("sagemaker-runtime", recipe.region)
    with clear_errors(f"{photo} at endpoint {recipe.name}"):
        answer = runtime.invoke_endpoint(
            EndpointName=recipe.name,
            ContentType=_media_type(body),
            Accept="application/json",
            Body=body,
        )
        said = answer["Body"].read()
    try:
        return dict(json.loads(said))
    except ValueError as error:
        raise LocationNetError(f"{recipe.name}: the endpoint's answer is not JSON") from error


def delete(recipe: SageMakerRecipe) -> Iterator[str]:
    """Remove endpoint, configuration and model, in this order, and yield what is done.

    Raises
    ------
    LocationNetError
        A thing of that name was made by somebody else.
    AWSError
        SageMaker refused.
    """
    sagemaker = client("sagemaker", recipe.region)
    for kind in _KINDS:
        yield from _remove(sagemaker, recipe, kind)


def _variant(recipe: SageMakerRecipe) -> dict[str, Any]:
    table = recipe.endpoint
    if table is None:
        raise InputError(f"{recipe.name}: the recipe has no [endpoint]")
    variant: dict[str, Any] = {"VariantName": "all", "ModelName": recipe.name}
    if table.serverless_memory_mb is not None:
        serverless = {
            "MemorySizeInMB": table.serverless_memory_mb,
            "MaxConcurrency": table.serverless_concurrency,
        }
        return {**variant, "ServerlessConfig": serverless}
    return {**variant, "InstanceType": table.type, "InitialInstanceCount": table.count}


def _until_in_service(sagemaker: Any, name: str) -> Iterator[str]:
    shown = ""
    while True:
        with clear_errors(name):
            fields = sagemaker.describe_endpoint(EndpointName=name)
        status = str(fields["EndpointStatus"])
        if status != shown:
            shown = status
            yield f"endpoint {name}: {status}"
        if status == "InService":
            return
        if status == "Failed":
            reason = " ".join(str(fields.get("FailureReason", "no reason given")).split())
            raise LocationNetError(f"endpoint {name} failed: {reason}")
        time.sleep(POLL_S)


def _remove(sagemaker: Any, recipe: SageMakerRecipe, kind: _Kind) -> Iterator[str]:
    """Remove a thing if it is there and ours, and wait until it is gone."""
    fields = kind.describe(sagemaker, recipe.name)
    if fields is None:
        return
    with clear_errors(f"{kind.name} {recipe.name}"):
        tags = sagemaker.list_tags(ResourceArn=fields[f"{kind.key}Arn"])["Tags"]
    if {"Key": RUN_TAG, "Value": recipe.name} not in tags:
        raise LocationNetError(
            f"{kind.name} {recipe.name}: was not made by locationnet; left alone"
        )
    shown = ""
    while fields is not None and (status := fields.get(f"{kind.key}Status")) in _BUSY:
        if status != shown:
            shown = status
            yield f"{kind.name} {recipe.name}: {status}, and cannot be removed before it is done"
        time.sleep(POLL_S)
        fields = kind.describe(sagemaker, recipe.name)
    if fields is not None and fields.get(f"{kind.key}Status") != "Deleting":
        kind.call(sagemaker, "delete", recipe.name)
    # SageMaker refuses to remove a configuration while its endpoint is still ending.
    while kind.describe(sagemaker, recipe.name) is not None:
        time.sleep(POLL_S)
    yield f"removed {kind.name} {recipe.name}"


def _media_type(photo: bytes) -> str:
    return MEDIA_TYPES[kind_of(photo) or "JPEG"]
