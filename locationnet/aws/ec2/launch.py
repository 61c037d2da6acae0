"""Launching a run on EC2: all that is asked for, worked out first and then carried out.

Knows requests; what the machines do is the business of `locationnet.aws.ec2.worker`. Everything
that is made carries the run's name as a tag.
"""

from __future__ import annotations

import json
import re
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import resources
from importlib.metadata import version
from pathlib import Path
from typing import Any

from locationnet.aws.common import clear_errors, client
from locationnet.aws.ec2 import groups
from locationnet.aws.ec2.machines import Running, machines, running_of
from locationnet.aws.instance_types import find_machine
from locationnet.aws.job import LAUNCH_TAG, RUN_TAG, Job
from locationnet.aws.package import package_files
from locationnet.aws.recipe import EC2Recipe
from locationnet.errors import InputError, LocationNetError

# Of gp3, which has 125 MiB/s unless asked for more: packs come with up to a gigabyte a second and
# are read again in every epoch. A MiB/s needs 4 operations a second, and 500 of those a GiB of
# disk; the smallest disk of a recipe has 20.
_DISK_MIB_S = 1000
_DISK_IOPS = 4 * _DISK_MIB_S
# Where the machine image has none of its own.
_UV = "0.13.9"
_PYTHON = "3.11"
# EC2 refuses longer user data.
_MOST_BYTES = 16_384


@dataclass(frozen=True)
class Plan:
    """All that a launch would make.

    Parameters
    ----------
    job
        What each machine does.
    package
        The files that go to `job.package`.
    request
        What EC2 is asked for, without the user data and the groups made for this launch.
    script
        The user data.
    group
        The name of the security group and the placement group of machines that train together;
        empty for a machine alone.
    own_security_group
        Whether the former is to be made, as the recipe names none.
    """

    job: Job
    package: list[Path]
    request: dict[str, Any]
    script: str
    group: str
    own_security_group: bool


def plan(recipe: EC2Recipe, package: Path) -> Plan:
    """Work out what a launch would make; reads from AWS which image is meant, makes nothing.

    Raises
    ------
    InputError
        The machine cannot train, or the package is not complete.
    AWSError
        The image does not exist, or AWS refused.
    """
    table = recipe.machine
    machine = find_machine(table.type)
    files = package_files(package, gpus=machine.gpus > 0)
    launch = f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:6]}"
    job = Job(
        recipe.name,
        launch,
        recipe.region,
        recipe.out,
        recipe.data.train,
        recipe.data.val,
        recipe.data.init,
        recipe.options(machine),
        table.count,
        table.max_hours,
        table.checkpoint_minutes,
    )
    group = groups.name_of(recipe) if table.count > 1 else ""
    request = _request(recipe, launch, group)
    own = bool(group) and table.security_group is None
    return Plan(job, files, request, user_data(job), group, own)


def launch(recipe: EC2Recipe, plan: Plan) -> list[Running]:
    """Carry a plan out and return the machines.

    Raises
    ------
    LocationNetError
        Machines of this run are there already.
    AWSError
        AWS refused; groups that were made stay for the next attempt or `groups.clean`.
    """
    found = machines(recipe)
    if found:
        raise LocationNetError(
            f"{recipe.name}: {found[0].id} is {found[0].state} already, and two runs would write to"
            f" {recipe.out}; end it with `locationnet ec2 stop`, or change the name and out"
        )
    s3 = client("s3", recipe.region)
    for path in plan.package:
        target = plan.job.package / path.name
        with clear_errors(str(target)):
            s3.put_object(**target.arguments, Body=path.read_bytes())
    ec2 = client("ec2", recipe.region)
    request = {**plan.request, "UserData": plan.script}
    if plan.own_security_group:
        request["SecurityGroupIds"] = [groups.make_security_group(ec2, recipe)]
    if plan.group:
        groups.make_placement_group(ec2, recipe)
    with clear_errors(recipe.machine.type):
        answer = ec2.run_instances(**request)
    return [running_of(machine) for machine in answer["Instances"]]


def user_data(job: Job) -> str:
    """Return the script that a machine runs when it first starts: ``userdata.sh`` for a job.

    Raises
    ------
    InputError
        It is longer than EC2 allows.
    """
    values = {
        "JOB": job.to_json(),
        "MINUTES": str(job.shutdown_minutes),
        "UV": _UV,
        "PYTHON": _PYTHON,
        "BOTO3": version("boto3"),
        # A list of JSON is one of Python too.
        "PACKAGE": json.dumps([job.region, job.package.bucket, f"{job.package.path}/"]),
    }
    template = (resources.files(__package__) / "userdata.sh").read_text(encoding="utf-8")
    text = re.sub(r"@([A-Z0-9]+)@", lambda match: values[match[1]], template)
    if len(text.encode()) > _MOST_BYTES:
        raise InputError("[train]: so many options do not fit into the user data of EC2")
    return text


def _request(recipe: EC2Recipe, launch: str, group: str) -> dict[str, Any]:
    """Return what EC2 is asked for, without what a launch makes first."""
    table = recipe.machine
    image, device = _image(recipe)
    tags = {"Name": f"locationnet {recipe.name}", RUN_TAG: recipe.name, LAUNCH_TAG: launch}
    kinds = ["instance", "volume", *(["spot-instances-request"] if table.spot else [])]
    profile = "Arn" if table.instance_profile.startswith("arn:") else "Name"
    request: dict[str, Any] = {
        "ImageId": image,
        "InstanceType": table.type,
        # All or none: half of the machines would only wait and cost.
        "MinCount": table.count,
        "MaxCount": table.count,
        "ClientToken": launch,
        "IamInstanceProfile": {profile: table.instance_profile},
        "InstanceInitiatedShutdownBehavior": "terminate",
        # Moved to other hardware it would start anew, and nobody would know of its time.
        "MaintenanceOptions": {"AutoRecovery": "disabled"},
        "MetadataOptions": {
            "HttpTokens": "required",
            "HttpEndpoint": "enabled",
            "HttpPutResponseHopLimit": 1,
        },
        "BlockDeviceMappings": [
            {
                "DeviceName": device,
                "Ebs": {
                    "VolumeSize": table.disk_gb,
                    "VolumeType": "gp3",
                    "Throughput": _DISK_MIB_S,
                    "Iops": _DISK_IOPS,
                    "Encrypted": True,
                    "DeleteOnTermination": True,
                },
            }
        ],
        "TagSpecifications": [
            {"ResourceType": kind, "Tags": groups.tags({**table.tags, **tags})} for kind in kinds
        ],
    }
    if table.spot:
        price = {} if table.max_price is None else {"MaxPrice": str(table.max_price)}
        request["InstanceMarketOptions"] = {
            "MarketType": "spot",
            "SpotOptions": {
                "SpotInstanceType": "one-time",
                "InstanceInterruptionBehavior": "terminate",
                **price,
            },
        }
    if table.subnet is not None:
        request["SubnetId"] = table.subnet
    if table.security_group is not None:
        request["SecurityGroupIds"] = [table.security_group]
    if group:
        request["Placement"] = {"GroupName": group}
    return request


def _image(recipe: EC2Recipe) -> tuple[str, str]:
    """Return the id of the machine image and the name of its first disk."""
    image = recipe.machine.ami
    if image.startswith("/"):
        name = image
        with clear_errors(f"parameter {name} in {recipe.region}"):
            answer = client("ssm", recipe.region).get_parameter(Name=name)
            image = str(answer["Parameter"]["Value"])
    with clear_errors(f"{image} in {recipe.region}"):
        found = client("ec2", recipe.region).describe_images(ImageIds=[image])["Images"]
    if not found:
        raise InputError(f"{image}: there is no such machine image in {recipe.region}")
    if found[0].get("Architecture", "x86_64") != "x86_64":
        raise InputError(f"{image}: is for {found[0]['Architecture']}, and MXNet's wheels x86_64")
    return image, str(found[0].get("RootDeviceName", "/dev/sda1"))
