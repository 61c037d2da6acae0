"""Training jobs of SageMaker: started, followed with what they log, stopped.

Knows the requests and the log; what happens in the container is the business of
`locationnet.aws.sagemaker.container`. Everything that is made carries the run's name as a tag.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from locationnet.aws.common import AWSError, clear_errors, client
from locationnet.aws.instance_types import find_machine
from locationnet.aws.job import RUN_TAG
from locationnet.aws.recipe import SageMakerRecipe
from locationnet.errors import LocationNetError

LOG_GROUP = "/aws/sagemaker/TrainingJobs"
POLL_S = 10.0


def request(recipe: SageMakerRecipe) -> dict[str, Any]:
    """Return what SageMaker is asked for."""
    table, data = recipe.training, recipe.data
    channels = {"train": data.train, "val": data.val, "init": data.init}
    limits = {"MaxRuntimeInSeconds": round(table.max_hours * 3600)}
    if table.spot:
        wait = table.max_wait_hours or table.max_hours
        limits["MaxWaitTimeInSeconds"] = round(wait * 3600)
    return {
        "TrainingJobName": f"{recipe.name}-{datetime.now(UTC):%Y%m%d-%H%M%S}",
        "AlgorithmSpecification": {"TrainingImage": recipe.image, "TrainingInputMode": "File"},
        "RoleArn": recipe.role,
        "HyperParameters": recipe.options(find_machine(table.type)),
        "InputDataConfig": [
            {
                "ChannelName": name,
                "DataSource": {
                    "S3DataSource": {
                        "S3DataType": "S3Prefix",
                        # The slash, or packs/train would take packs/train-2 along.
                        "S3Uri": f"{address.rstrip('/')}/",
                        "S3DataDistributionType": "FullyReplicated",
                    }
                },
            }
            for name, address in channels.items()
            if address is not None
        ],
        "OutputDataConfig": {"S3OutputPath": str(recipe.prefix / "output")},
        "CheckpointConfig": {"S3Uri": str(recipe.prefix / "checkpoints")},
        "ResourceConfig": {
            "InstanceType": table.type,
            "InstanceCount": table.count,
            "VolumeSizeInGB": table.disk_gb,
        },
        "StoppingCondition": limits,
        "EnableManagedSpotTraining": table.spot,
        "Tags": tags(recipe),
    }


def start(recipe: SageMakerRecipe) -> str:
    """Start a job, unless one of the run is in progress, and return its name.

    Raises
    ------
    LocationNetError
        One of the run is being stopped: it still writes where the new one would begin.
    AWSError
        SageMaker refused.
    """
    running = names(recipe, "InProgress")
    if running:
        return running[0]
    for job in names(recipe, "Stopping"):
        raise LocationNetError(
            f"{job} is stopping, and still writes to {recipe.out}; start when it has stopped"
        )
    asked = request(recipe)
    with clear_errors(asked["TrainingJobName"]):
        client("sagemaker", recipe.region).create_training_job(**asked)
    return str(asked["TrainingJobName"])


def follow(recipe: SageMakerRecipe, job: str) -> Iterator[str]:
    """Yield what a job logs and how it stands, line by line, until it ends.

    Raises
    ------
    LocationNetError
        The job failed or was stopped; the message contains SageMaker's reason.
    AWSError
        AWS refused.
    """
    sagemaker, log = client("sagemaker", recipe.region), _Log(recipe, job)
    shown = ""
    while True:
        with clear_errors(job):
            fields = sagemaker.describe_training_job(TrainingJobName=job)
        status = str(fields["TrainingJobStatus"])
        # Asked for after the status, so that an ended job's last words are among them.
        yield from log.lines()
        stage = str(fields.get("SecondaryStatus", status))
        if stage != shown:
            shown = stage
            yield f"{job}: {stage}"
        if status == "Completed":
            return
        if status in ("Failed", "Stopped"):
            reason = " ".join(str(fields.get("FailureReason", "")).split())
            raise LocationNetError(f"{job}: {status.lower()}{': ' if reason else ''}{reason}")
        time.sleep(POLL_S)


def stop(recipe: SageMakerRecipe, job: str) -> None:
    """Ask a job to write a checkpoint and to end.

    Raises
    ------
    AWSError
        SageMaker refused.
    """
    with clear_errors(job):
        client("sagemaker", recipe.region).stop_training_job(TrainingJobName=job)


def names(recipe: SageMakerRecipe, status: str) -> list[str]:
    """Return the run's jobs of a status such as ``Completed``, the newest first.

    Raises
    ------
    AWSError
        SageMaker refused.
    """
    mine = re.compile(rf"{recipe.name}-\d{{8}}-\d{{6}}")
    found = []
    with clear_errors(recipe.name):
        pages = client("sagemaker", recipe.region).get_paginator("list_training_jobs")
        for page in pages.paginate(NameContains=f"{recipe.name}-", StatusEquals=status):
            found += [job["TrainingJobName"] for job in page["TrainingJobSummaries"]]
    return sorted((name for name in found if mine.fullmatch(name)), reverse=True)


def model_data(recipe: SageMakerRecipe) -> str:
    """Return where the bundle of the newest completed job lies.

    Raises
    ------
    LocationNetError
        No job of the run is completed.
    AWSError
        SageMaker refused.
    """
    done = names(recipe, "Completed")
    if not done:
        raise LocationNetError(
            f"{recipe.name}: no training job is completed; train first, or give --model"
        )
    with clear_errors(done[0]):
        fields = client("sagemaker", recipe.region).describe_training_job(TrainingJobName=done[0])
    return str(fields["ModelArtifacts"]["S3ModelArtifacts"])


def tags(recipe: SageMakerRecipe) -> list[dict[str, str]]:
    """Return what marks a thing as this run's."""
    return [{"Key": RUN_TAG, "Value": recipe.name}]


class _Log:
    """What all machines of a job have written since the last look."""

    def __init__(self, recipe: SageMakerRecipe, job: str) -> None:
        self._logs = client("logs", recipe.region)
        self._job = job
        self._next: dict[str, str] = {}

    def lines(self) -> Iterator[str]:
        try:
            with clear_errors(f"the log of {self._job}"):
                pages = self._logs.get_paginator("describe_log_streams").paginate(
                    logGroupName=LOG_GROUP, logStreamNamePrefix=f"{self._job}/"
                )
                streams = [s["logStreamName"] for page in pages for s in page["logStreams"]]
        except AWSError as error:
            if error.code == "ResourceNotFoundException":
                return  # SageMaker makes it with the first line
            raise
        for stream in streams:
            yield from self._stream(stream, len(streams) > 1)

    def _stream(self, stream: str, several: bool) -> Iterator[str]:
        machine = stream.rpartition("/")[2].rpartition("-")[0]
        while True:
            token = self._next.get(stream)
            more = {} if token is None else {"nextToken": token}
            with clear_errors(f"the log of {self._job}"):
                answer = self._logs.get_log_events(
                    logGroupName=LOG_GROUP, logStreamName=stream, startFromHead=True, **more
                )
            self._next[stream] = answer["nextForwardToken"]
            for event in answer["events"]:
                yield f"{machine}: {event['message']}" if several else event["message"]
            # The same token again is the end, for now.
            if answer["nextForwardToken"] == token:
                return
