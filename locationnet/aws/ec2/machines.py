"""Machines of EC2 that train: found, listened to, and ended.

Knows a run's tags and its addresses in S3; how machines come about is
`locationnet.aws.ec2.launch`'s business. Nothing without the run's tag is touched.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from locationnet.aws.common import AWSError, clear_errors, client
from locationnet.aws.job import LAUNCH_TAG, RUN_TAG, Job, launches_prefix, run_prefix
from locationnet.aws.recipe import EC2Recipe
from locationnet.aws.sync import listing

# A stopped machine only costs its disk, but can be started again.
_ALIVE = ["pending", "running", "stopping", "stopped", "shutting-down"]
# EC2's word for types of machines that cannot show what is on their console at this moment.
_NOT_LATEST = "UnsupportedOperation"


@dataclass(frozen=True)
class Running:
    """A machine of a run."""

    id: str
    type: str
    state: str
    launch: str
    market: str
    zone: str
    since: datetime
    reason: str = ""

    @property
    def works(self) -> bool:
        """Whether it may still say something."""
        return self.state not in ("stopped", "terminated")


def machines(recipe: EC2Recipe, *, ended: bool = False) -> list[Running]:
    """Return the run's machines that are not terminated, the newest launch first.

    Parameters
    ----------
    recipe
        Names the run.
    ended
        Whether terminated machines are returned too; EC2 knows of them for about an hour.

    Raises
    ------
    AWSError
        AWS refused.
    """
    states = [*_ALIVE, "terminated"] if ended else _ALIVE
    filters = [
        {"Name": f"tag:{RUN_TAG}", "Values": [recipe.name]},
        {"Name": "instance-state-name", "Values": states},
    ]
    found = []
    with clear_errors(recipe.name):
        pages = client("ec2", recipe.region).get_paginator("describe_instances")
        for page in pages.paginate(Filters=filters):
            for reservation in page["Reservations"]:
                found += [running_of(machine) for machine in reservation["Instances"]]
    return sorted(found, key=lambda machine: (machine.launch, machine.id), reverse=True)


def launches(recipe: EC2Recipe) -> list[str]:
    """Return the names of the run's launches, the newest first.

    Raises
    ------
    AWSError
        S3 refused.
    """
    prefix = launches_prefix(recipe.prefix)
    found = []
    with clear_errors(str(prefix)):
        pages = client("s3", recipe.region).get_paginator("list_objects_v2")
        for page in pages.paginate(Bucket=prefix.bucket, Prefix=f"{prefix.path}/", Delimiter="/"):
            folders = page.get("CommonPrefixes", [])
            found += [folder["Prefix"].rstrip("/").rpartition("/")[2] for folder in folders]
    return sorted(found, reverse=True)


def newest_launch(recipe: EC2Recipe, index: int) -> str | None:
    """Return the newest launch of which there are machines or what the one of an index has said.

    A launch that EC2 refused has left a folder in S3 and nothing else.

    Raises
    ------
    AWSError
        AWS refused.
    """
    known = {machine.launch for machine in machines(recipe, ended=True)}
    for launch in launches(recipe):
        if launch in known or read_log(recipe, launch_job(recipe, launch), index, 0):
            return launch
    return None


def read_log(recipe: EC2Recipe, job: Job, index: int, start: int) -> bytes:
    """Return what a machine has said from a byte on; nothing where there is no more.

    Raises
    ------
    AWSError
        S3 refused.
    """
    target = job.log(index)
    try:
        with clear_errors(str(target)):
            answer = client("s3", recipe.region).get_object(
                **target.arguments, Range=f"bytes={start}-"
            )
            return bytes(answer["Body"].read())
    except AWSError as error:
        if error.code in ("NoSuchKey", "InvalidRange"):
            return b""
        raise


def console(recipe: EC2Recipe, machine: Running) -> str:
    """Return what a machine has printed since it was switched on, as far as EC2 has it.

    Raises
    ------
    AWSError
        AWS refused.
    """
    ec2 = client("ec2", recipe.region)
    try:
        with clear_errors(machine.id):
            answer = ec2.get_console_output(InstanceId=machine.id, Latest=True)
    except AWSError as error:
        if error.code != _NOT_LATEST:
            raise
        with clear_errors(machine.id):
            answer = ec2.get_console_output(InstanceId=machine.id)
    return str(answer.get("Output", ""))


def ask_to_stop(recipe: EC2Recipe, found: list[Running]) -> None:
    """Ask machines to write a checkpoint and to end.

    Raises
    ------
    AWSError
        S3 refused.
    """
    s3 = client("s3", recipe.region)
    for name in sorted({machine.launch for machine in found}):
        mark = launch_job(recipe, name).stop_mark
        with clear_errors(str(mark)):
            s3.put_object(**mark.arguments, Body=b"")


def terminate(recipe: EC2Recipe, found: list[Running]) -> None:
    """End machines at once.

    Raises
    ------
    AWSError
        AWS refused.
    """
    ids = [machine.id for machine in found]
    with clear_errors(", ".join(ids)):
        client("ec2", recipe.region).terminate_instances(InstanceIds=ids)


def until_gone(recipe: EC2Recipe, seconds: float, every_s: float = 10.0) -> Iterator[list[Running]]:
    """Yield the machines that are left, again and again until there are none or time is up.

    Raises
    ------
    AWSError
        AWS refused.
    """
    until = time.monotonic() + seconds
    while True:
        left = machines(recipe)
        yield left
        if not left or time.monotonic() > until:
            return
        time.sleep(every_s)


def states(recipe: EC2Recipe) -> list[str]:
    """Return the names of the checkpoints of the run that are whole in S3, the oldest first.

    Raises
    ------
    AWSError
        S3 refused.
    """
    names = listing(client("s3", recipe.region), run_prefix(recipe.prefix))
    return sorted(name.partition("/")[0] for name in names if name.endswith("/complete.json"))


def launch_job(recipe: EC2Recipe, launch: str) -> Job:
    """Return where a launch of the run keeps its things; its options are not known any more."""
    data = recipe.data
    return Job(recipe.name, launch, recipe.region, recipe.out, data.train, data.val)


def running_of(machine: Any) -> Running:
    """Return a machine as EC2's answers describe it."""
    tags = {tag["Key"]: tag["Value"] for tag in machine.get("Tags", [])}
    return Running(
        machine["InstanceId"],
        machine["InstanceType"],
        machine["State"]["Name"],
        tags.get(LAUNCH_TAG, ""),
        machine.get("InstanceLifecycle", "on demand"),
        machine["Placement"]["AvailabilityZone"],
        machine["LaunchTime"],
        machine.get("StateReason", {}).get("Message", ""),
    )
