"""`locationnet sagemaker` against a moto server; endpoints answer through the real service."""

from __future__ import annotations

import json
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from typer.testing import CliRunner, Result

from locationnet.aws.common import AWSError, client
from locationnet.aws.recipe import SageMakerRecipe, read_recipe
from locationnet.aws.sagemaker import endpoints, jobs
from locationnet.cli import app
from locationnet.errors import InputError, LocationNetError
from locationnet.model.locator import Locator
from locationnet.server.app import create_app
from locationnet.server.settings import read_settings
from tests.aws.policies import allowed
from tests.aws.servers import BUCKET, REGION, Answer, Asked, Proxy, spoiling_proxy

RECIPE = f"""
name = "city"
region = "{REGION}"
out = "s3://{BUCKET}/city"
image = "000000000000.dkr.ecr.us-west-2.amazonaws.com/locationnet:1"
role = "arn:aws:iam::000000000000:role/locationnet"
[data]
train = "s3://{BUCKET}/packs/train"
val = "s3://{BUCKET}/packs/val"
[train]
preset = "small"
mean = [127, 127, 127]
[training]
type = "ml.g5.12xlarge"
max_hours = 2
spot = true
max_wait_hours = 3
[endpoint]
type = "ml.c5.xlarge"
count = 2
"""


@pytest.fixture
def recipe(aws: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPE)
    monkeypatch.setattr(jobs, "POLL_S", 0.01)
    monkeypatch.setattr(endpoints, "POLL_S", 0.01)
    return path


def _run(*words: object) -> Result:
    return CliRunner().invoke(app, ["sagemaker", *map(str, words)])


def _said(result: Result) -> str:
    assert result.exit_code == 0, (result.output, result.exception)
    return result.output


def _read(path: Path) -> SageMakerRecipe:
    return read_recipe(path, SageMakerRecipe)


def _log(job: str, machine: str, *lines: str) -> None:
    """Write what a container says, as SageMaker does."""
    logs, stream = client("logs", REGION), f"{job}/{machine}-1700000000"
    for make, values in (
        (logs.create_log_group, {}), (logs.create_log_stream, {"logStreamName": stream}),
    ):  # fmt: skip
        try:
            make(logGroupName=jobs.LOG_GROUP, **values)
        except logs.exceptions.ResourceAlreadyExistsException:
            continue
    events = [{"timestamp": int(time.time() * 1000), "message": line} for line in lines]
    logs.put_log_events(logGroupName=jobs.LOG_GROUP, logStreamName=stream, logEvents=events)


def test_a_dry_run_shows_the_request_and_makes_nothing(recipe: Path) -> None:
    shown = _said(_run("train", recipe, "--dry-run"))
    request = json.loads(shown[: shown.rindex("}") + 1])
    assert request["HyperParameters"] == {
        "gpus": "0-3", "mean": "127 127 127", "preset": "small",
    }  # fmt: skip
    assert request["StoppingCondition"] == {
        "MaxRuntimeInSeconds": 7200,
        "MaxWaitTimeInSeconds": 10800,
    }
    assert request["EnableManagedSpotTraining"] is True
    assert client("sagemaker", REGION).list_training_jobs()["TrainingJobSummaries"] == []


def test_a_job_is_started_and_its_model_named(recipe: Path) -> None:
    """Moto's jobs are completed as soon as they are made."""
    said = _said(_run("train", recipe))
    (name,) = jobs.names(_read(recipe), "Completed")
    assert f"{name}: Completed" in said
    assert f"wrote s3://{BUCKET}/city/output/{name}/output/model.tar.gz" in said
    made = client("sagemaker", REGION).describe_training_job(TrainingJobName=name)
    channels = {
        channel["ChannelName"]: channel["DataSource"]["S3DataSource"]["S3Uri"]
        for channel in made["InputDataConfig"]
    }
    assert channels == {
        "train": f"s3://{BUCKET}/packs/train/", "val": f"s3://{BUCKET}/packs/val/",
    }  # fmt: skip
    assert made["CheckpointConfig"]["S3Uri"] == f"s3://{BUCKET}/city/checkpoints"


class _Course:
    """Has moto's completed job run through stages first, one for each look."""

    def __init__(self, stages: list[dict[str, str]], before: Callable[[int], object]) -> None:
        self._stages, self._before, self.looks = stages, before, 0

    def __call__(self, asked: Asked) -> Answer | None:
        if asked.action != "DescribeTrainingJob":
            return None
        look, self.looks = self.looks, self.looks + 1
        if look >= len(self._stages):
            return None
        self._before(look)
        return Answer(body=json.dumps(self._stages[look]).encode())


def test_the_log_of_all_machines_is_followed_while_the_job_runs(recipe: Path, proxy: Proxy) -> None:
    read = _read(recipe)
    job = jobs.start(read)
    says = [{}, {"algo-1": ["epoch 1"]}, {"algo-1": ["epoch 2", "epoch 3"], "algo-2": ["hello"]}]

    def say(look: int) -> None:
        for machine, lines in says[look].items():
            _log(job, machine, *lines)

    proxy.rule = _Course(
        [
            {"TrainingJobStatus": "InProgress", "SecondaryStatus": stage}
            for stage in ("Starting", "Training", "Training")
        ],
        say,
    )
    assert list(jobs.follow(read, job)) == [
        f"{job}: Starting", "epoch 1", f"{job}: Training", "algo-1: epoch 2", "algo-1: epoch 3",
        "algo-2: hello", f"{job}: Completed",
    ]  # fmt: skip


def test_a_failed_job_says_why(recipe: Path, proxy: Proxy) -> None:
    read = _read(recipe)
    job = jobs.start(read)
    facts = {"TrainingJobStatus": "Failed", "SecondaryStatus": "Failed", "FailureReason": "no\nGPU"}
    proxy.rule = _Course([facts], lambda _: _log(job, "algo-1", "last words"))
    lines = []
    with pytest.raises(LocationNetError, match=rf"{job}: failed: no GPU"):
        for line in jobs.follow(read, job):
            lines.append(line)  # noqa: PERF402 - what came before the failure is looked at
    assert lines == ["last words", f"{job}: Failed"]


def test_a_job_in_progress_is_followed_and_stopped_by_delete(recipe: Path, proxy: Proxy) -> None:
    """Moto has no jobs in progress and cannot stop any: the proxy answers for both."""
    listed = {"TrainingJobSummaries": [
        {"TrainingJobName": "city-20260101-000000", "TrainingJobArn": "arn:x",
         "CreationTime": 0, "TrainingJobStatus": "InProgress"},
        {"TrainingJobName": "city-of-others-20260101-000000", "TrainingJobArn": "arn:y",
         "CreationTime": 0, "TrainingJobStatus": "InProgress"},
    ]}  # fmt: skip

    def rule(asked: Asked) -> Answer | None:
        if asked.action == "ListTrainingJobs":
            same = json.loads(asked.body)["StatusEquals"] == status
            return Answer(body=json.dumps(listed if same else none).encode())
        return Answer(body=b"{}") if asked.action == "StopTrainingJob" else None

    none: dict[str, object] = {"TrainingJobSummaries": []}
    status = "InProgress"
    proxy.rule = rule
    assert jobs.start(_read(recipe)) == "city-20260101-000000"
    assert _said(_run("delete", recipe)) == "asked city-20260101-000000 to stop\n"
    stopped = [asked.body for asked in proxy.asked if asked.action == "StopTrainingJob"]
    assert [json.loads(body) for body in stopped] == [{"TrainingJobName": "city-20260101-000000"}]
    # Until it has stopped, it writes to where another one would begin.
    status = "Stopping"
    with pytest.raises(LocationNetError, match=r"city-20260101-000000 is stopping, and still"):
        jobs.start(_read(recipe))
    assert not [asked for asked in proxy.asked if asked.action == "CreateTrainingJob"]


@pytest.mark.parametrize("serverless", [False, True])
def test_an_endpoint_is_made_of_the_newest_job_and_removed(recipe: Path, serverless: bool) -> None:
    if serverless:
        table = "serverless_memory_mb = 4096\nserverless_concurrency = 7"
        recipe.write_text(RECIPE.replace('type = "ml.c5.xlarge"\ncount = 2', table))
    assert "no training job is completed" in str(_run("deploy", recipe).exception)
    _said(_run("train", recipe))
    (job,) = jobs.names(_read(recipe), "Completed")
    said = _said(_run("deploy", recipe))
    assert "endpoint city: InService" in said
    sagemaker = client("sagemaker", REGION)
    container = sagemaker.describe_model(ModelName="city")["PrimaryContainer"]
    assert container["Environment"] == {"LOCATIONNET_SAGEMAKER": "1"}
    assert container["ModelDataUrl"].endswith(f"{job}/output/model.tar.gz")
    found = sagemaker.describe_endpoint_config(EndpointConfigName="city")["ProductionVariants"][0]
    if serverless:
        assert found["ServerlessConfig"] == {"MemorySizeInMB": 4096, "MaxConcurrency": 7}
    else:
        assert (found["InstanceType"], found["InitialInstanceCount"]) == ("ml.c5.xlarge", 2)
    assert "there is an endpoint of that name" in str(_run("deploy", recipe).exception)
    assert _said(_run("delete", recipe)).splitlines() == [
        "removed endpoint city", "removed endpoint configuration city", "removed model city",
    ]  # fmt: skip
    assert _said(_run("delete", recipe)) == "nothing was there\n"


def test_what_is_gone_already_does_not_keep_the_rest(recipe: Path, proxy: Proxy) -> None:
    _said(_run("train", recipe))
    _said(_run("deploy", recipe))
    asked = {f"sagemaker:{asked.action}" for asked in proxy.asked if "SageMaker" in asked.target}
    assert asked <= allowed("sagemaker-researcher")
    client("sagemaker", REGION).delete_endpoint(EndpointName="city")
    assert _said(_run("delete", recipe)).splitlines() == [
        "removed endpoint configuration city", "removed model city",
    ]  # fmt: skip


def test_what_somebody_else_has_made_is_left_alone(recipe: Path) -> None:
    client("sagemaker", REGION).create_model(
        ModelName="city", ExecutionRoleArn=_read(recipe).role, PrimaryContainer={"Image": "x/y"}
    )
    result = _run("delete", recipe)
    assert "model city: was not made by locationnet; left alone" in str(result.exception)
    assert client("sagemaker", REGION).describe_model(ModelName="city")


def test_an_endpoint_that_fails_says_why(recipe: Path, proxy: Proxy) -> None:
    _said(_run("train", recipe))
    stages = iter(
        [
            {"EndpointStatus": "Creating"},
            {"EndpointStatus": "Failed", "FailureReason": "the ping\nfailed"},
        ]
    )
    made = False

    def rule(asked: Asked) -> Answer | None:
        nonlocal made
        made |= asked.action == "CreateEndpoint"
        if made and asked.action == "DescribeEndpoint":
            return Answer(body=json.dumps(next(stages)).encode())
        return None

    proxy.rule = rule
    result = _run("deploy", recipe)
    assert "endpoint city: Creating" in result.output
    assert str(result.exception) == "endpoint city failed: the ping failed"


def test_an_endpoint_that_is_left_while_it_is_made_is_said_to_cost_and_removed_later(
    recipe: Path, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SageMaker removes no endpoint that is still being made."""
    _said(_run("train", recipe))
    arn = "arn:aws:sagemaker:us-west-2:123456789012:endpoint/city"
    left, refused = 3, []

    def rule(asked: Asked) -> Answer | None:
        nonlocal left
        made = any(earlier.action == "CreateEndpoint" for earlier in proxy.asked)
        if made and left and asked.action == "DescribeEndpoint":
            left -= 1
            facts = {"EndpointStatus": "Creating", "EndpointArn": arn, "EndpointName": "city"}
            return Answer(body=json.dumps(facts).encode())
        if left and asked.action == "DeleteEndpoint":
            refused.append(asked)
            return Answer(400, b'{"__type": "ValidationException"}')
        return None

    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    proxy.rule = rule
    with monkeypatch.context() as patch:
        patch.setattr(time, "sleep", interrupt)
        result = _run("deploy", recipe)
    assert result.exit_code == 130
    said = "endpoint city is still being made, and costs until `locationnet sagemaker delete"
    assert said in result.output
    assert _said(_run("delete", recipe)).splitlines() == [
        "endpoint city: Creating, and cannot be removed before it is done",
        "removed endpoint city", "removed endpoint configuration city", "removed model city",
    ]  # fmt: skip
    assert not refused


def test_a_bundle_from_this_machine_is_deployed(recipe: Path, tiny_bundle: Path) -> None:
    _said(_run("deploy", recipe, "--model", tiny_bundle))
    sagemaker = client("sagemaker", REGION)
    url = sagemaker.describe_model(ModelName="city")["PrimaryContainer"]["ModelDataUrl"]
    key = url.removeprefix(f"s3://{BUCKET}/")
    body = client("s3", REGION).get_object(Bucket=BUCKET, Key=key)["Body"].read()
    with tarfile.open(fileobj=BytesIO(body)) as tar:
        # At the top: SageMaker unpacks them into /opt/ml/model.
        assert {"manifest.json", "model.onnx", "grids.txt"} <= set(tar.getnames())
    assert isinstance(_run("deploy", recipe, "--model", "nothing").exception, LocationNetError)


@pytest.fixture
def service(tiny_locator: Locator) -> Iterator[str]:
    """The real service, on a free port."""
    settings = read_settings(port=0)
    config = uvicorn.Config(
        create_app(settings, tiny_locator), port=0, log_level="error", ws="none"
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join()


def test_an_endpoint_is_asked_as_sagemaker_asks_its_container(
    recipe: Path, service: str, make_photo: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SageMaker passes a request's body and type on; so does the proxy here."""
    photos = [tmp_path / "bright.jpg", tmp_path / "red.png"]
    photos[0].write_bytes(make_photo((250, 250, 250)))
    photos[1].write_bytes(make_photo((250, 0, 0), form="PNG"))
    with spoiling_proxy(service, path="/locate") as runtime:
        monkeypatch.setenv("AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME", runtime.url)
        lines = _said(_run("invoke", recipe, *photos)).splitlines()
    assert [asked.path for asked in runtime.asked] == ["/endpoints/city/invocations"] * 2
    answers = [json.loads(line) for line in lines]
    assert [answer["photo"] for answer in answers] == [str(photo) for photo in photos]
    assert "Oslo" in answers[0]["predictions"][0]["place"]
    assert "San Francisco" in answers[1]["predictions"][0]["place"]


def test_a_photo_that_the_endpoint_refuses_is_named(
    recipe: Path, proxy: Proxy, tmp_path: Path
) -> None:
    photo = tmp_path / "photo.jpg"
    with pytest.raises(InputError, match=r"photo\.jpg: cannot be read"):
        endpoints.invoke(_read(recipe), photo)
    photo.write_bytes(b"no photo")
    said = {"Message": "Received client error (415) from primary", "OriginalStatusCode": 415}
    proxy.rule = lambda _: Answer(424, json.dumps(said).encode())
    with pytest.raises(AWSError, match=r"photo\.jpg at endpoint city: .*client error \(415\)"):
        endpoints.invoke(_read(recipe), photo)
    proxy.rule = lambda _: Answer(body=b"<html>")
    with pytest.raises(LocationNetError, match="answer is not JSON"):
        endpoints.invoke(_read(recipe), photo)
