"""`locationnet ec2` against a moto server: what is asked for, found, followed and removed."""

from __future__ import annotations

import base64
import json
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import unquote_plus

import pytest
from typer.testing import CliRunner, Result

from locationnet.aws.common import AWSError, client
from locationnet.aws.ec2 import groups, machines
from locationnet.aws.job import Job
from locationnet.aws.recipe import EC2Recipe, read_recipe
from locationnet.cli import app
from locationnet.cli import ec2 as cli
from locationnet.errors import LocationNetError
from tests.aws.policies import allowed
from tests.aws.servers import BUCKET, IMAGE, REGION, Answer, Asked, Proxy

# AWS's own begin with /aws and cannot be made here.
PARAMETER = "/ours/images/training"


def _recipe(**machine: Any) -> str:
    table = {
        "type": "g5.12xlarge", "ami": PARAMETER, "instance_profile": "training", "max_hours": 2,
        **machine,
    }  # fmt: skip
    # TOML writes numbers, words and lists as JSON does.
    lines = "\n".join(f"{name} = {json.dumps(value)}" for name, value in table.items())
    return f"""
name = "town"
region = "{REGION}"
out = "s3://{BUCKET}/town"
[data]
train = "s3://{BUCKET}/packs/train"
val = "s3://{BUCKET}/packs/val"
[train]
epochs = 3
[machine]
{lines}
"""


@pytest.fixture
def image(profile: str) -> str:
    """A machine image, and the parameter that names it."""
    client("ssm", REGION).put_parameter(Name=PARAMETER, Value=IMAGE, Type="String")
    return IMAGE


@pytest.fixture
def package(tmp_path: Path) -> Path:
    folder = tmp_path / "dist"
    folder.mkdir()
    (folder / "locationnet-1.0-py3-none-any.whl").write_bytes(b"wheel")
    locked = [f"{name}==1 --hash=sha256:0\n" for name in ("boto3", "mxnet", "mxnet-cu112")]
    (folder / "requirements.txt").write_text("".join(locked))
    return folder


@pytest.fixture
def recipe(tmp_path: Path, image: str) -> Path:
    path = tmp_path / "recipe.toml"
    path.write_text(_recipe())
    return path


def _run(*words: object) -> Result:
    return CliRunner().invoke(app, ["ec2", *map(str, words)])


def _said(result: Result) -> str:
    assert result.exit_code == 0, (result.output, result.exception)
    return result.output


def _instance(machine_id: str) -> Any:
    answer = client("ec2", REGION).describe_instances(InstanceIds=[machine_id])
    return answer["Reservations"][0]["Instances"][0]


def _read(path: Path) -> EC2Recipe:
    return read_recipe(path, EC2Recipe)


def test_a_dry_run_shows_everything_and_makes_nothing(
    recipe: Path, package: Path, image: str, proxy: Proxy
) -> None:
    shown = _said(_run("train", recipe, "--package", package, "--dry-run", "--price", "5"))
    request = json.loads(shown[shown.index("{\n") : shown.index("\n}\n") + 2])
    assert request["ImageId"] == image
    assert "#!/bin/bash" in shown
    assert "5.00 an hour for 1 x g5.12xlarge, at most 11.25 in 2.25 hours" in shown
    assert f"locationnet-1.0-py3-none-any.whl to s3://{BUCKET}/town/launches/" in shown
    reading = {"DescribeImages", "GetParameter"}
    assert {asked.action for asked in proxy.asked} <= reading
    assert not client("s3", REGION).list_objects_v2(Bucket=BUCKET).get("Contents")


def test_a_launch_asks_for_what_the_dry_run_showed(
    recipe: Path, package: Path, image: str, proxy: Proxy
) -> None:
    shown = _said(_run("train", recipe, "--package", package, "--dry-run"))
    said = _said(_run("train", recipe, "--package", package))
    machine = _instance(said.split()[0])
    assert machine["ImageId"] == image
    assert machine["InstanceType"] == "g5.12xlarge"
    assert machine["IamInstanceProfile"]["Arn"].endswith("/training")
    assert machine["MetadataOptions"]["HttpTokens"] == "required"
    tags = {tag["Key"]: tag["Value"] for tag in machine["Tags"]}
    assert tags["locationnet:run"] == "town"
    launch = tags["locationnet:launch"]
    attribute = client("ec2", REGION).describe_instance_attribute
    answer = attribute(
        InstanceId=machine["InstanceId"], Attribute="instanceInitiatedShutdownBehavior"
    )
    assert answer["InstanceInitiatedShutdownBehavior"]["Value"] == "terminate"
    answer = attribute(InstanceId=machine["InstanceId"], Attribute="userData")
    script = base64.b64decode(answer["UserData"]["Value"]).decode()
    earlier = shown.split("/launches/")[1].split("/")[0]
    assert script.strip() in shown.replace(earlier, launch)
    job = Job(**json.loads(script.split("<<'JOB'\n")[1].split("\nJOB\n")[0]))
    assert job.options == {"epochs": "3", "gpus": "0-3"}
    kept = client("s3", REGION).list_objects_v2(Bucket=BUCKET)["Contents"]
    assert [entry["Key"] for entry in kept] == [
        f"town/launches/{launch}/package/{name}"
        for name in ("locationnet-1.0-py3-none-any.whl", "requirements.txt")
    ]
    sent = next(asked for asked in proxy.asked if asked.action == "RunInstances")
    body = unquote_plus(sent.body.decode())
    assert "Ebs.Encrypted=true" in body
    # Without, gp3 writes 125 MiB/s: hours for packs that the network brings in minutes.
    assert "Ebs.Throughput=1000" in body
    assert "Ebs.Iops=4000" in body
    assert f"ClientToken={launch}" in body
    assert "MaintenanceOptions.AutoRecovery=disabled" in body


def test_a_spot_machine_is_asked_for_with_its_price(
    recipe: Path, package: Path, proxy: Proxy
) -> None:
    recipe.write_text(_recipe(spot=True, max_price=1.5, checkpoint_minutes=5))
    _said(_run("train", recipe, "--package", package))
    body = unquote_plus(next(a for a in proxy.asked if a.action == "RunInstances").body.decode())
    assert "InstanceMarketOptions.MarketType=spot" in body
    assert "SpotOptions.MaxPrice=1.5" in body
    assert "SpotOptions.SpotInstanceType=one-time" in body
    assert "spot" in _said(_run("status", recipe))


def test_two_machines_are_one_group(recipe: Path, package: Path, proxy: Proxy) -> None:
    """Moto knows no placement groups: the proxy answers for it."""
    recipe.write_text(_recipe(type="g5.48xlarge", count=2))
    proxy.rule = _placement_groups
    shown = _said(_run("train", recipe, "--package", package, "--dry-run", "--price", "5"))
    assert "would make security group locationnet-town: TCP 1024-65535 among its" in shown
    assert "would make placement group locationnet-town: cluster" in shown
    assert "10.00 an hour for 2 x g5.48xlarge" in shown
    said = _said(_run("train", recipe, "--package", package))
    machines = [_instance(line.split()[0]) for line in said.splitlines()[:2]]
    group = machines[0]["SecurityGroups"][0]["GroupId"]
    assert machines[1]["SecurityGroups"] == machines[0]["SecurityGroups"]
    found = client("ec2", REGION).describe_security_groups(GroupIds=[group])["SecurityGroups"][0]
    (rule,) = found["IpPermissions"]
    assert (rule["IpProtocol"], rule["FromPort"], rule["ToPort"]) == ("tcp", 1024, 65535)
    assert [pair["GroupId"] for pair in rule["UserIdGroupPairs"]] == [group]
    assert not rule["IpRanges"]
    body = unquote_plus(next(a for a in proxy.asked if a.action == "RunInstances").body.decode())
    assert "Placement.GroupName=locationnet-town" in body
    assert "MinCount=2" in body
    # Stopped and cleaned, nothing of it is left, and cleaning again finds nothing.
    said = _said(_run("stop", recipe, "--now"))
    assert f"removed security group {group}" in said
    assert "removed placement group locationnet-town" in said
    proxy.rule = lambda asked: _placement_groups(asked, there=False)
    assert _said(_run("stop", recipe)) == "no machines are left\n"
    asked = {f"ec2:{asked.action}" for asked in proxy.asked if asked.body.startswith(b"Action=")}
    assert asked <= allowed("ec2-researcher")


def test_a_security_group_that_was_left_half_made_gets_its_rule(recipe: Path, proxy: Proxy) -> None:
    def ports() -> list[tuple[int, int]]:
        found = client("ec2", REGION).describe_security_groups(GroupIds=[group])["SecurityGroups"]
        return [(rule["FromPort"], rule["ToPort"]) for rule in found[0]["IpPermissions"]]

    read, ec2_client = _read(recipe), client("ec2", REGION)
    proxy.rule = lambda asked: (
        Answer(400, _error("InvalidGroup.NotFound", "It is too new."))
        if asked.action == "AuthorizeSecurityGroupIngress"
        else None
    )
    with pytest.raises(AWSError, match="It is too new"):
        groups.make_security_group(ec2_client, read)
    proxy.rule = lambda _: None
    group = groups.make_security_group(ec2_client, read)
    assert ports() == [(1024, 65535)]
    # Whole, it is used as it is; in another network it is of no use.
    assert groups.make_security_group(ec2_client, read) == group
    assert ports() == [(1024, 65535)]
    network = ec2_client.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2_client.create_subnet(VpcId=network, CidrBlock="10.9.0.0/24")["Subnet"]["SubnetId"]
    recipe.write_text(_recipe(subnet=subnet))
    other = groups.make_security_group(ec2_client, _read(recipe))
    assert other != group
    assert len(groups.clean(read)) == 2


def _placement_groups(asked: Asked, *, there: bool = True) -> Answer | None:
    if asked.action == "CreatePlacementGroup":
        return Answer(body=b"<CreatePlacementGroupResponse/>")
    if asked.action == "DeletePlacementGroup" and there:
        return Answer(body=b"<DeletePlacementGroupResponse><return>true</return>"
                           b"</DeletePlacementGroupResponse>")  # fmt: skip
    if asked.action == "DeletePlacementGroup":
        return Answer(400, _error("InvalidPlacementGroup.Unknown", "There is none."))
    return None


def _error(code: str, message: str) -> bytes:
    return (
        f"<Response><Errors><Error><Code>{code}</Code><Message>{message}</Message></Error></Errors>"
        "</Response>"
    ).encode()


def test_a_second_launch_of_a_running_run_is_refused(recipe: Path, package: Path) -> None:
    _said(_run("train", recipe, "--package", package))
    result = _run("train", recipe, "--package", package)
    assert isinstance(result.exception, LocationNetError)
    assert "is running already, and two runs would write to" in str(result.exception)
    assert len(machines.machines(_read(recipe))) == 1


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("InsufficientInstanceCapacity", "RunInstances was refused: the words"),
        ("UnauthorizedOperation", "access denied: RunInstances is not permitted"),
        ("RequestLimitExceeded", "AWS asked to slow down (RequestLimitExceeded)"),
        ("AuthFailure", "AWS does not know these credentials"),
        ("RequestExpired", "the credentials of AWS have expired"),
    ],
)
def test_a_refused_launch_says_why(
    recipe: Path, package: Path, proxy: Proxy, code: str, said: str
) -> None:
    words = "the words Encoded authorization failure message: abcdefgh"
    proxy.rule = lambda asked: (
        Answer(503 if code == "RequestLimitExceeded" else 400, _error(code, words))
        if asked.action == "RunInstances"
        else None
    )
    result = _run("train", recipe, "--package", package)
    assert isinstance(result.exception, AWSError)
    assert str(result.exception).startswith(f"g5.12xlarge: {said}")
    assert "abcdefgh" not in str(result.exception)
    assert "a-secret-that" not in result.output + str(result.exception)


def test_a_launch_that_may_not_hand_its_role_on_names_that_permission(
    recipe: Path, package: Path, proxy: Proxy
) -> None:
    words = (
        "You are not authorized to perform this operation. User: arn:aws:iam::0:user/x is not"
        " authorized to perform: iam:PassRole on resource: arn:aws:iam::0:role/y because"
    )
    proxy.rule = lambda asked: (
        Answer(403, _error("UnauthorizedOperation", words))
        if asked.action == "RunInstances"
        else None
    )
    result = _run("train", recipe, "--package", package)
    said = "g5.12xlarge: access denied: iam:PassRole is not permitted"
    assert str(result.exception) == said


def test_a_launch_without_capacity_says_where_there_is_some(
    recipe: Path, package: Path, proxy: Proxy
) -> None:
    words = (
        "We do not have sufficient capacity in us-west-2a. You can get it by choosing us-west-2b."
    )
    proxy.rule = lambda asked: (
        Answer(500, _error("InsufficientInstanceCapacity", words))
        if asked.action == "RunInstances"
        else None
    )
    result = _run("train", recipe, "--package", package)
    assert str(result.exception) == f"g5.12xlarge: RunInstances was refused: {words}"


def test_an_image_that_is_not_there_is_named(recipe: Path, package: Path) -> None:
    recipe.write_text(_recipe(ami="/no/such/parameter"))
    result = _run("train", recipe, "--package", package)
    assert "parameter /no/such/parameter in us-west-2" in str(result.exception)
    recipe.write_text(_recipe(ami="ami-0123456789abcdef0"))
    result = _run("train", recipe, "--package", package)
    assert "ami-0123456789abcdef0 in us-west-2" in str(result.exception)


def test_status_shows_machines_and_the_newest_whole_checkpoint(recipe: Path, package: Path) -> None:
    assert "no machines" in _said(_run("status", recipe))
    said = _said(_run("train", recipe, "--package", package))
    s3 = client("s3", REGION)
    for name in ("state-0001-0000000/complete.json", "state-0002-0000000/weights.params"):
        s3.put_object(Bucket=BUCKET, Key=f"town/run/{name}", Body=b"")
    shown = _said(_run("status", recipe))
    assert said.split()[0] in shown
    assert "running  g5.12xlarge" in shown
    assert "newest checkpoint in S3: state-0001-0000000" in shown


def test_logs_follow_a_machine_until_it_is_gone(
    recipe: Path, package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = _run("logs", recipe)
    assert "neither a log in s3://photos-of-places/town nor a machine" in str(result.exception)
    _said(_run("train", recipe, "--package", package))
    read = _read(recipe)
    (machine,) = machines.machines(read)
    said = f"{machine.id} is running and has not started to train; its console:"
    assert said in _said(_run("logs", recipe))
    target = machines.launch_job(read, machine.launch).log(0)
    s3 = client("s3", REGION)
    s3.put_object(**target.arguments, Body="épo".encode())

    def time_passes(_: float) -> None:
        s3.put_object(**target.arguments, Body="époch 1\nepoch 2\n".encode())
        machines.terminate(read, [machine])

    with monkeypatch.context() as patch:
        patch.setattr(time, "sleep", time_passes)
        assert _said(_run("logs", recipe, "--follow")) == "époch 1\nepoch 2\n"
    # What was said stays when the machine is gone.
    assert _said(_run("logs", recipe)) == "époch 1\nepoch 2\n"


@pytest.mark.parametrize("latest", [True, False])
def test_logs_show_why_machines_ended_before_they_trained(
    recipe: Path, package: Path, proxy: Proxy, latest: bool
) -> None:
    """Not every type of machine tells what is on its console now; moto tells nothing."""
    _said(_run("train", recipe, "--package", package))
    read = _read(recipe)
    (machine,) = machines.machines(read)
    machines.terminate(read, [machine])
    words = base64.b64encode(b"error: no space left").decode()

    def rule(asked: Asked) -> Answer | None:
        if asked.action != "GetConsoleOutput":
            return None
        if not latest and b"Latest=true" in asked.body:
            return Answer(400, _error("UnsupportedOperation", "Not for this type."))
        return Answer(body=f"<R><output>{words}</output></R>".encode())

    proxy.rule = rule
    said = _said(_run("logs", recipe, "--follow"))
    assert f"{machine.id} is terminated (" in said
    assert "Client.UserInitiatedShutdown" in said
    assert said.endswith("its console:\nerror: no space left\n")


def test_logs_are_of_the_newest_launch_that_came_about(
    recipe: Path, package: Path, proxy: Proxy
) -> None:
    """A refused launch leaves its package in S3."""
    read, s3 = _read(recipe), client("s3", REGION)
    s3.put_object(**machines.launch_job(read, "20200101T000000-a").log(0).arguments, Body=b"old\n")
    proxy.rule = lambda asked: Answer(500) if asked.action == "RunInstances" else None
    assert _run("train", recipe, "--package", package).exit_code == 1
    assert len(machines.launches(read)) == 2
    assert _said(_run("logs", recipe)) == "old\n"
    # One that has machines is what is looked at, whether it has said something or not.
    proxy.rule = lambda _: None
    machine = _said(_run("train", recipe, "--package", package)).split()[0]
    assert _said(_run("logs", recipe)).startswith(f"{machine} is running")


def test_stop_asks_the_machines_and_waits(
    recipe: Path, package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _said(_run("train", recipe, "--package", package))
    read = _read(recipe)
    (machine,) = machines.machines(read)
    mark = machines.launch_job(read, machine.launch).stop_mark

    def time_passes(_: float) -> None:
        # What the machine does when it finds the mark: it shuts down, which terminates it.
        client("s3", REGION).head_object(**mark.arguments)
        machines.terminate(read, [machine])

    with monkeypatch.context() as patch:
        patch.setattr(time, "sleep", time_passes)
        assert _said(_run("stop", recipe)) == "no machines are left\n"
    assert machines.machines(read) == []


def test_a_stopped_machine_is_seen_and_ended(
    recipe: Path, package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody stopped it in the console: it can be started again and its disk costs."""
    machine = _said(_run("train", recipe, "--package", package)).split()[0]
    client("ec2", REGION).stop_instances(InstanceIds=[machine])
    assert f"{machine}  stopped" in _said(_run("status", recipe))
    result = _run("train", recipe, "--package", package)
    assert f"{machine} is stopped already" in str(result.exception)
    monkeypatch.setattr(time, "sleep", lambda _: None)
    assert _said(_run("stop", recipe)) == "no machines are left\n"
    assert _instance(machine)["State"]["Name"] == "terminated"


def test_a_machine_that_does_not_end_is_named(
    recipe: Path, package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _said(_run("train", recipe, "--package", package))
    monkeypatch.setattr(cli, "_STOPPING_S", 0.0)
    result = _run("stop", recipe)
    assert "is still running: see `locationnet ec2 logs`, or give --now" in str(result.exception)


def test_groups_of_others_are_left_alone(recipe: Path) -> None:
    ec2_client = client("ec2", REGION)
    ec2_client.create_security_group(GroupName="locationnet-town", Description="somebody else's")
    assert groups.clean(_read(recipe)) == []
    names = {"Name": "group-name", "Values": ["locationnet-town"]}
    assert ec2_client.describe_security_groups(Filters=[names])["SecurityGroups"]


def test_sync_goes_both_ways(aws: str, tmp_path: Path) -> None:
    (tmp_path / "pack").mkdir()
    (tmp_path / "pack" / "pack.json").write_text("{}")
    place = f"s3://{BUCKET}/packs/x"
    assert _said(_run("sync", tmp_path / "pack", place)).startswith("copied 1 files (2 bytes)")
    assert "1 were the same" in _said(_run("sync", tmp_path / "pack", place))
    _said(_run("sync", place, tmp_path / "back"))
    assert (tmp_path / "back" / "pack.json").read_text() == "{}"
    assert _run("sync", "a", "b").exit_code == 2


def test_what_the_launch_does_not_know_is_refused_before_aws_is_asked(
    recipe: Path, package: Path, proxy: Proxy
) -> None:
    recipe.write_text(_recipe().replace("epochs = 3", "epoch = 3"))
    result = _run("train", recipe, "--package", package)
    assert "[train] No such option: --epoch" in str(result.exception)
    assert not proxy.asked


def test_without_boto3_the_extra_is_named(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("botocore", "botocore.config", "botocore.exceptions", "boto3"):
        monkeypatch.setitem(sys.modules, name, None)
    result = _run("sync", tmp_path, f"s3://{BUCKET}/x")
    assert "pip install 'locationnet[aws] @ git+https://github.com/locationnet/locationnet'" in str(
        result.exception
    )
    assert "pip install 'locationnet[aws] @ git+https://github.com/locationnet/locationnet'" in str(
        _run("status", recipe).exception
    )
